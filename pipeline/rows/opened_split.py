"""A split of a dataset folder, opened: its shards, its columns of media, and what its rows say as conversations.

Whoever made it, if it is Parquet, with a card or without.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.checks.dataset import Footer, read_dataset
from pipeline.checks.files import LocalFiles
from pipeline.checks.lfs_pointer import LFS_POINTER, LFS_PULL
from pipeline.checks.media_rows import holds_media
from pipeline.checks.media_sources import Source, beside, sources_of
from pipeline.checks.value_hashes import is_list, plain
from pipeline.document import nearest
from pipeline.errors import DatasetError
from pipeline.printable import escaped
from pipeline.rows.column_types import types_of
from pipeline.rows.conversation_view import checked_column, view_from
from pipeline.rows.found_conversation import found_view

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pipeline.checks.dataset import Dataset, Split
    from pipeline.column_type import ColumnType
    from pipeline.media.bounded import BoundedProcesses
    from pipeline.rows.conversation_view import Conversation, View

_FIRST_ROWS = 1_000
"""Rows by which it is told whether texts hold placeholders."""


@dataclass(frozen=True, kw_only=True)
class OpenedSplit:
    """What is known of a split before any of its rows is read."""

    dataset: Dataset
    split: Split
    footers: dict[str, Footer]
    """The shards that hold rows, in their order."""
    schema: pa.Schema
    """Of the first of them."""
    sources: list[Source]
    """All columns of media, those that the conversation uses first; the number of each is its place here."""
    types: dict[str, ColumnType | None]
    """All columns; None: texts that are paths of media."""
    view: View | None
    """None: nothing says how rows become conversations, and nobody insisted."""

    @property
    def used(self) -> list[Source]:
        """The columns of media that the conversation uses."""
        return self.sources[: len(self.view.media)] if self.view is not None else []


def dataset_in(folder: Path) -> Dataset:
    """Return the dataset of a folder.

    Raises:
        DatasetError: there is none that can be read.
        UsageError: there is no such folder.
    """
    dataset, problems = read_dataset(LocalFiles(folder))
    if dataset is None or not dataset.splits:
        what = "; ".join(problem.message for problem in problems) or "there are no Parquet files in it"
        hint = f"`shardwright validate {folder}` says more"
        raise DatasetError(f"{folder} is no dataset that can be read: {what}", hint=hint)
    return dataset


def split_named(dataset: Dataset, folder: Path, config: str | None, split: str) -> Split:
    """Return a split; without a config that of the only config, or of the one called default.

    Raises:
        DatasetError: there is none of this name, or several could be meant.
    """
    configs = dataset.configs
    if config is None and len(configs) > 1 and "default" not in configs:
        raise DatasetError(f"{folder} has {len(configs):,} configs", hint=f"choose one: {_list(configs)}")
    config = config or ("default" if "default" in configs else configs[0])
    splits = splits_of_config(dataset, folder, config)
    names = [one.name for one in splits]
    if split not in names:
        what = f"the config {config!r} of {folder} has no split {split!r}; there are: {_list(names)}"
        raise DatasetError(what, hint=nearest(split, names))
    return splits[len(names) - 1 - names[::-1].index(split)]


def splits_of_config(dataset: Dataset, folder: Path, config: str) -> list[Split]:
    """Return the splits of a config.

    Raises:
        DatasetError: there is no such config.
    """
    if config not in dataset.configs:
        raise DatasetError(
            f"{folder} has no config {config!r}; there are: {_list(dataset.configs)}",
            hint=nearest(config, dataset.configs),
        )
    return dataset.splits_of(config)


def open_split(
    dataset: Dataset,
    split: Split,
    processes: BoundedProcesses,
    *,
    conversation: Conversation | None = None,
    id_column: str | None = None,
    insist: bool = True,
) -> OpenedSplit:
    """Open a split.

    `conversation` is a schema file, or what a schema has under `conversation`; without it, a column must hold
    conversations, unless nobody insists on that.

    Raises:
        DatasetError: a shard cannot be read, a column is not there, or the conversation does not fit.
        RecipeError: mistakes in the schema.
    """
    footers = _footers(dataset, split)
    schema = next(iter(footers.values())).schema
    sources = sources_of(dataset, [split], processes)
    types = types_of(schema, sources)
    if id_column is not None:
        checked_column(id_column, list(types), "id_column")
    view: View | None
    if conversation is not None:
        view = view_from(conversation, types, paths=_paths(schema) if beside(dataset) else frozenset())
    else:
        name = next(iter(footers))
        path = dataset.files.path(name)
        assert path is not None
        try:
            view = found_view(schema, types, partial(_first_values, path, name), partial(_has_media, path))
        except DatasetError:
            if insist:
                raise
            view = None
    used = _used(view, sources, schema) if view is not None else []
    _check_columns(footers, used, [*(view.texts if view is not None else ()), *filter(None, [id_column])])
    others = [source for source in sources if source.name not in {one.name for one in used}]
    ordered = [*used, *(replace(source, number=number) for number, source in enumerate(others, len(used)))]
    return OpenedSplit(
        dataset=dataset, split=split, footers=footers, schema=schema, sources=ordered, types=types, view=view
    )


def _footers(dataset: Dataset, split: Split) -> dict[str, Footer]:
    """Return the shards of a split that hold rows, each with its footer.

    Raises:
        DatasetError: one cannot be read, or there are none.
    """
    if split.is_elsewhere or split.others:
        which = "URLs" if split.is_elsewhere else escaped(split.others[0])
        what = f"the split {split.place} holds {which}, and only Parquet shards in the folder are read"
        raise DatasetError(what, hint="build a dataset from it with a recipe, or save it as Parquet with `datasets`")
    found: dict[str, Footer] = {}
    for name in split.shards:
        footer = dataset.footers[name]
        if not isinstance(footer, Footer):
            hint = LFS_PULL if footer == LFS_POINTER else "download or build it again; `shardwright validate` says more"
            raise DatasetError(f"the shard {escaped(name)} cannot be read: {escaped(footer)}", hint=hint)
        if footer.rows:
            found[name] = footer
    if not found:
        raise DatasetError(f"the split {split.place} has no rows")
    return found


def _first_values(path: Path, name: str, column: str) -> pa.Array:
    """Return the first values of a column of a shard."""
    try:
        with pq.ParquetFile(path, memory_map=True, pre_buffer=False) as file:
            batches = file.iter_batches(batch_size=_FIRST_ROWS, columns=[column], use_threads=False)
            return plain(next(iter(batches)).column(0))
    except (pa.ArrowException, OSError, StopIteration) as error:
        what = " ".join(str(error).split())[:300]
        raise DatasetError(f"the column {column!r} of {name} cannot be read: {escaped(what)}") from None


def _has_media(path: Path, column: str) -> bool:
    """Tell whether any of the first values of a column of media is one; of media inside, no byte is read."""
    with pq.ParquetFile(path, memory_map=True, pre_buffer=False) as file:
        leaves = [file.schema.column(number).path for number in range(len(file.schema))]
        mine = [leaf for leaf in leaves if leaf == column or leaf.startswith(f"{column}.")]
        light = [leaf for leaf in mine if not leaf.endswith(".bytes")] or mine
        batches = file.iter_batches(batch_size=_FIRST_ROWS, columns=light[:1], use_threads=False)
        values = plain(next(iter(batches)).column(0))
    if is_list(values.type):
        lengths = pc.list_value_length(values)
        return bool(pc.any(pc.greater(lengths, 0)).as_py())
    return bool(values.null_count < len(values))


def _paths(schema: pa.Schema) -> frozenset[str]:
    """Return the columns of texts, or lists of texts, which may be paths."""
    kinds = {field.name: field.type.value_type if is_list(field.type) else field.type for field in schema}
    texts = (pa.string(), pa.large_string(), pa.string_view())
    return frozenset(name for name, kind in kinds.items() if kind in texts)


def _used(view: View, sources: list[Source], schema: pa.Schema) -> list[Source]:
    """Return the columns of media that a view looks at."""
    known = {source.name: source for source in sources}
    used = []
    for number, (name, kind) in enumerate(view.media.items()):
        listed = is_list(schema.field(name).type)
        source = known.get(name) or Source(name=name, number=number, kind=kind, is_list=listed)
        used.append(replace(source, number=number, kind=kind, declared={}))
    return used


def _check_columns(footers: dict[str, Footer], used: list[Source], texts: Iterable[str]) -> None:
    """Refuse shards whose columns are others than those of the first.

    Raises:
        DatasetError: a column is missing, is there twice, or holds no media.
    """
    hint = "`shardwright validate` says which shards differ; build the dataset again"
    for shard, footer in footers.items():
        for name in [*texts, *(source.name for source in used)]:
            count = footer.schema.names.count(name)
            if count != 1:
                what = "is missing in" if not count else f"is there {count} times in"
                raise DatasetError(f"the column {name!r} {what} the shard {escaped(shard)}", hint=hint)
        for source in used:
            kind = footer.schema.field(source.name).type
            if not holds_media(kind) or is_list(kind) != source.is_list:
                what = f"the column {source.name!r} of the shard {escaped(shard)} holds {kind}, which are no media"
                raise DatasetError(what, hint=hint)


def _list(names: list[str]) -> str:
    return ", ".join(repr(escaped(name)) for name in names)
