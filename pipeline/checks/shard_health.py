"""The health of shards as their footers tell it: what the Hub's viewer can read, and what every reader pays for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from pipeline.checks.columns import columns_of
from pipeline.checks.problem import Problem
from pipeline.checks.value_hashes import is_list
from pipeline.printable import escaped

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow.parquet as pq

    from pipeline.checks.dataset import Dataset, Footer, Split

VIEWER_BYTES = 300_000_000
"""What the Hub's viewer reads of a file at once, 286 MiB (`ROWS_INDEX_MAX_ARROW_DATA_IN_MEMORY` of huggingface's
dataset-viewer). Without a page index that is a whole row group, with one the pages of the rows that are shown."""
VIEWER_ROWS = 100
"""Rows that it shows at once."""
WORTH_SAYING = 10_000_000
"""Bytes from which on it matters that a row group has no page index, or that media are encoded twice."""
NO_GAIN = 0.95
"""The share of their bytes above which media were compressed for nothing."""
DICTIONARY_BYTES = 2_000_000
"""Media of a row group that are more than a dictionary holds, whose limit is usually 1 MiB."""
OFFSETS, NEAR_OFFSETS = 2**31, 2_000_000_000
"""Bytes or items that 32-bit offsets count; and where it begins to be close."""

BESIDE = "keep media that large beside the shards"
SMALLER = "write smaller row groups, e.g. of 100 MB, with a page index"
ON_FOOT = "write them uncompressed and without a dictionary, as `datasets` itself does"


def check_shard_health(dataset: Dataset) -> Iterator[Problem]:
    """Row groups that the viewer cannot read or that overflow, shards without a page index, media encoded twice."""
    for split in dataset.splits:
        whole = _Whole()
        for name in split.shards:
            if (footer := dataset.footer(name)) is not None:
                yield from _too_large_for_the_viewer(split, name, footer)
                yield from _near_overflow(split, name, footer)
                whole.add(name, footer)
        yield from _without_index(split, whole)
        yield from _media_encoded_twice(split, whole)


@dataclass
class _Twice:
    """Media of a column that are encoded twice in some way."""

    first: str = ""
    """The first shard with such media."""
    before: int = 0
    after: int = 0
    codecs: set[str] = field(default_factory=set)

    def add(self, name: str, chunk: pq.ColumnChunkMetaData) -> None:
        self.first = self.first or name
        self.before += chunk.total_uncompressed_size
        self.after += chunk.total_compressed_size
        self.codecs.add(chunk.compression)


@dataclass
class _Whole:
    """What all shards of a split tell together, added up so that no footer is held."""

    shards: int = 0
    schema: pa.Schema | None = None
    media: list[str] = field(default_factory=list)
    """Media columns of this schema."""
    lacking: dict[str, int] = field(default_factory=dict)
    """Shards without a page index, with the bytes of their largest row group."""
    packed: dict[str, _Twice] = field(default_factory=dict)
    indexed: dict[str, _Twice] = field(default_factory=dict)

    def add(self, name: str, footer: Footer) -> None:
        self.shards += 1
        metadata = footer.metadata
        if footer.schema is not self.schema:  # most shards share one
            self.schema, self.media = footer.schema, [column.name for column in columns_of(footer.schema).media]
        for number in range(len(footer.groups)):
            chunks = _chunks(metadata, number)
            stored = sum(chunk.total_compressed_size for chunk in chunks)
            if stored >= WORTH_SAYING and not _has_index(chunks):
                self.lacking[name] = max(self.lacking.get(name, 0), stored)
            for column in self.media:
                for chunk in chunks:
                    path = chunk.path_in_schema
                    if path.startswith(f"{column}.") and path.endswith(".bytes"):
                        self._add_media(name, column, chunk)

    def _add_media(self, name: str, column: str, chunk: pq.ColumnChunkMetaData) -> None:
        if chunk.compression != "UNCOMPRESSED":
            self.packed.setdefault(column, _Twice()).add(name, chunk)
        if chunk.has_dictionary_page and chunk.total_uncompressed_size >= DICTIONARY_BYTES:
            self.indexed.setdefault(column, _Twice()).add(name, chunk)


def _problem(split: Split, name: str, message: str, hint: str, *, code: str, key: str = "") -> Problem:
    return Problem(
        code=code, file=name, config=split.config, split=split.name, key=escaped(key), message=message, hint=hint
    )


def _chunks(metadata: pq.FileMetaData, group: int) -> list[pq.ColumnChunkMetaData]:
    described = metadata.row_group(group)
    return [described.column(number) for number in range(described.num_columns)]


def _has_index(chunks: list[pq.ColumnChunkMetaData]) -> bool:
    return all(chunk.has_offset_index for chunk in chunks)


def _too_large_for_the_viewer(split: Split, name: str, footer: Footer) -> Iterator[Problem]:
    worst, message, hint = 0, "", ""
    metadata = footer.metadata
    for number, group in enumerate(footer.groups):
        chunks = _chunks(metadata, number)
        stored = sum(chunk.total_compressed_size for chunk in chunks)
        what, how = f"row group {number} has {stored:,} bytes", SMALLER
        if _has_index(chunks):
            rows = min(VIEWER_ROWS, group.rows)
            stored = stored * rows // max(group.rows, 1)
            what, how = f"{rows} rows of row group {number} have about {stored:,} bytes", BESIDE
        if stored > max(VIEWER_BYTES, worst):
            worst, message, hint = stored, f"{what}; the Hub's viewer reads {VIEWER_BYTES:,} at once", how
    if worst:
        yield _problem(split, name, message, hint, code="SW303")


def _without_index(split: Split, whole: _Whole) -> Iterator[Problem]:
    if whole.lacking:
        message = (
            f"{len(whole.lacking):,} of {whole.shards:,} shards have no page index, "
            f"so a few rows cost a whole row group, up to {max(whole.lacking.values()):,} bytes"
        )
        yield _problem(
            split, next(iter(whole.lacking)), message, "write them with `write_page_index=True`", code="SW304"
        )


def _media_encoded_twice(split: Split, whole: _Whole) -> Iterator[Problem]:
    for column in dict.fromkeys([*whole.packed, *whole.indexed]):
        packed, indexed = whole.packed.get(column, _Twice()), whole.indexed.get(column, _Twice())
        if packed.before >= WORTH_SAYING and packed.after > NO_GAIN * packed.before:
            codecs = " and ".join(sorted(packed.codecs))
            message = f"media are compressed once more, with {codecs}: {packed.before:,} bytes became {packed.after:,}"
            yield _problem(split, packed.first, message, ON_FOOT, key=column, code="SW305")
        if indexed.before >= WORTH_SAYING:
            message = f"{indexed.before:,} bytes of media are stored with a dictionary, though they do not repeat"
            yield _problem(split, indexed.first, message, ON_FOOT, key=column, code="SW305")


def _near_overflow(split: Split, name: str, footer: Footer) -> Iterator[Problem]:
    metadata = footer.metadata
    leaves = [leaf for column in footer.schema for leaf in _leaves(column.type)]
    if len(leaves) != metadata.num_columns:
        return  # types that we do not know
    worst: dict[str, tuple[int, int, str]] = {}
    for number in range(len(footer.groups)):
        for chunk, (texts, lists) in zip(_chunks(metadata, number), leaves, strict=True):
            # of each text its length stands before it
            size = chunk.total_uncompressed_size - 4 * chunk.num_values if texts else chunk.num_values if lists else 0
            if size >= max(NEAR_OFFSETS, worst.get(chunk.path_in_schema, (0, 0, ""))[0]):
                worst[chunk.path_in_schema] = size, number, "bytes" if texts else "items"
    for column, (size, number, what) in worst.items():
        how = "more than" if size >= OFFSETS else "near to"
        message = f"{size:,} {what} in row group {number}, {how} the {OFFSETS:,} that 32-bit offsets count"
        yield _problem(split, name, message, "write smaller row groups, e.g. of 100 MB", key=column, code="SW306")


def _leaves(kind: pa.DataType, *, in_list: bool = False) -> Iterator[tuple[bool, bool]]:
    """Yield of a column, Parquet column by column, whether 32-bit offsets count its bytes, and whether its items."""
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_map(kind):
        yield from _leaves(kind.key_type, in_list=True)
        yield from _leaves(kind.item_type, in_list=True)
    elif pa.types.is_struct(kind):
        for field in kind:
            yield from _leaves(field.type, in_list=in_list)
    elif is_list(kind):
        yield from _leaves(kind.value_type, in_list=in_list or pa.types.is_list(kind))
    else:
        yield pa.types.is_string(kind) or pa.types.is_binary(kind), in_list
