"""The media of a dataset, cut into orders for bounded processes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.checks.dataset import Dataset, Footer
    from pipeline.checks.media_sources import Source
    from pipeline.media.facts import Kind

MOST_MEDIA, MOST_BYTES = 32, 2 << 20
"""Media of one order, which are examined one after the other and answered together."""
BATCH_BYTES, BATCH_ROWS = 1 << 20, 256
"""What is read of a column at a time."""
PATIENCE_FOR_ALL_FRAMES = 4
"""How many times longer it may take to decode a medium whole."""


class Look(TypedDict):
    """What the process is told of a column."""

    column: str
    number: int
    kind: Kind | None
    declared: dict[str, str]
    rows_at_once: int
    full: bool
    hashes: bool
    root: str
    near: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LookOrder:
    """Some rows of a column in a row group, to be looked at."""

    shard: str
    path: Path
    group: int
    start: int
    """The first row of the row group, counted from 0 in the shard."""
    first: int
    """The first row of the order, counted from 0 in the row group."""
    count: int
    position: int | None = None
    """The only medium of the row's list that is looked at."""
    source: Source
    size: int
    """Bytes, as far as the footer tells."""
    how: Look

    @property
    def patience(self) -> float:
        """How many times longer than others it may take."""
        return PATIENCE_FOR_ALL_FRAMES if self.how["full"] and self.source.kind != "image" else 1

    def arguments(self) -> list[Any]:
        """Return what `look` is called with."""
        return [[str(self.path), self.group, self.start, self.first, self.count, self.position], self.how]

    def rows(self) -> list[LookOrder]:
        """Return an order for each of its rows."""
        size = self.size // self.count
        return [replace(self, first=self.first + row, count=1, size=size) for row in range(self.count)]

    def media(self, count: int) -> list[LookOrder]:
        """Return an order for each medium of its only row."""
        return [replace(self, position=number, size=self.size // count) for number in range(count)]


@dataclass(frozen=True, slots=True)
class PlacesOrder:
    """A question how many media a row has."""

    order: LookOrder

    @property
    def size(self) -> int:
        """Bytes of the row."""
        return self.order.size

    @property
    def patience(self) -> float:
        """As long as others."""
        return 1

    def arguments(self) -> list[Any]:
        """Return what `places` is called with."""
        order = self.order
        return [str(order.path), order.group, order.first, order.source.name, order.how["rows_at_once"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutting:
    """How media are cut into orders, and how deep they are looked at."""

    full: bool
    hashes: bool
    """Whether pictures get a perceptual hash."""
    each_beside: int
    """Bytes of a medium beside the shards, on average."""


def orders_of(
    dataset: Dataset, shard: str, groups: list[int], sources: list[Source], cutting: Cutting
) -> Iterator[LookOrder]:
    """Cut the media of some row groups of a shard into orders."""
    path, footer = dataset.files.path(shard), dataset.footer(shard)
    if path is None or footer is None:
        return
    near = PurePosixPath(shard).parts
    root = str(path.parents[len(near) - 1])
    starts = [0, *accumulate(group.rows for group in footer.groups)]
    for group in sorted(groups):
        rows = footer.groups[group].rows
        for source in sources:
            if footer.schema.names.count(source.name) != 1 or not rows:
                continue  # told as SW109
            held = column_bytes(footer, group, source.name) // rows
            each = max(1, held, cutting.each_beside)
            count = max(1, min(MOST_MEDIA, MOST_BYTES // each))
            told: Look = {
                "column": source.name,
                "number": source.number,
                "kind": source.kind,
                "declared": {key: name for key, name in source.declared.items() if name in footer.schema.names},
                "rows_at_once": max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, held))),
                "root": root,
                "near": list(near[:-1]),
                "full": cutting.full,
                "hashes": cutting.hashes and source.kind != "video",
            }
            for first in range(0, rows, count):
                some = min(count, rows - first)
                yield LookOrder(
                    shard=shard,
                    path=path,
                    group=group,
                    start=starts[group],
                    first=first,
                    count=some,
                    source=source,
                    size=each * some,
                    how=told,
                )


def column_bytes(footer: Footer, group: int, name: str) -> int:
    """Return the uncompressed bytes of a column in a row group."""
    metadata = footer.metadata.row_group(group)
    columns = (metadata.column(number) for number in range(metadata.num_columns))
    return sum(
        column.total_uncompressed_size
        for column in columns
        if column.path_in_schema == name or column.path_in_schema.startswith(f"{name}.")
    )
