"""Opening a split of a dataset folder for training: whoever made it, if it is Parquet, with a card or without."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.checks.dataset import Footer, read_dataset
from pipeline.checks.files import LocalFiles
from pipeline.checks.lfs_pointer import LFS_POINTER, LFS_PULL
from pipeline.checks.media_rows import holds_media
from pipeline.checks.media_sources import Source, beside, sources_of
from pipeline.checks.value_hashes import is_list, plain
from pipeline.document import nearest
from pipeline.executor import default_workers
from pipeline.media.bounded import BoundedProcesses
from pipeline.printable import escaped
from train.example import TrainError
from train.feed.column_types import types_of
from train.feed.conversation_view import checked_column, view_from
from train.feed.found_conversation import found_view
from train.feed.index import index_shards
from train.feed.plan import Plan
from train.feed.training_data import TrainingData

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from pipeline.checks.dataset import Dataset, Split
    from train.feed.conversation_view import Conversation, View
    from train.feed.decoded_image import Picture
    from train.feed.frame_sampling import FrameSampling

_FIRST_ROWS = 1_000
"""Rows by which it is told whether texts hold placeholders."""


def open_training_data(
    folder: Path,
    *,
    config: str | None,
    split: str,
    conversation: Conversation | None,
    frames: FrameSampling,
    longest_side: int | None,
    id_column: str | None,
    cache: Path,
    frame_cache: Picture | None = None,
    processes: int | None = None,
    advance: Callable[[int], object] = lambda _: None,
) -> TrainingData:
    """Open a split of a dataset folder.

    `conversation` is a schema file, or what a schema has under `conversation`; without it, a column must hold
    conversations. Pictures and frames whose longer side is more than `longest_side` pixels are made smaller.
    `frame_cache` says as what frames are kept, see `build_frame_cache`. The media of shards that nobody has looked at
    before are looked at once, in bounded `processes`; `advance` is called with how many were.

    Raises:
        TrainError: there is no such config, split or column, a shard cannot be read, or the conversation does not fit.
        UsageError: there is no such folder.
        RecipeError: mistakes in the schema.
    """
    if longest_side is not None and longest_side < 1:
        raise TrainError(f"`longest_side` is {longest_side}", allowed="a number of pixels above 0")
    folder = folder.absolute()
    dataset, chosen = _split_of(folder, config, split)
    footers = _footers(dataset, chosen)
    schema = next(iter(footers.values())).schema
    count = processes or default_workers()
    with BoundedProcesses(count) as decoders:
        sources = sources_of(dataset, [chosen], decoders)
    types = types_of(schema, sources)
    if id_column is not None:
        checked_column(id_column, list(types), "id_column")
    if conversation is None:
        first = next(iter(footers))
        view = found_view(schema, types, partial(_first_values, folder / first, first))
    else:
        view = view_from(conversation, types, paths=_paths(schema) if beside(dataset) else frozenset())
    used = _used(view, sources, schema)
    _check_columns(footers, used, [*view.texts, *filter(None, [id_column])])
    index = cache.absolute() / "train" / "index"
    shards = index_shards(dataset, list(footers), used, index, processes=count, advance=advance)
    plan = Plan(
        root=folder,
        shards=tuple(shards),
        groups=tuple(tuple(group.rows for group in footer.groups) for footer in footers.values()),
        sources=tuple(used),
        types={name: kind for name, kind in types.items() if name in {*view.texts, id_column}},
        view=view,
        frames=frames,
        longest_side=longest_side,
        id_column=id_column,
        picture=frame_cache,
        cache=cache.absolute() / "train" / "frames",
    )
    return TrainingData(plan)


def _split_of(folder: Path, config: str | None, split: str) -> tuple[Dataset, Split]:
    """Return the dataset and the split.

    Raises:
        TrainError: there is none of this name.
    """
    dataset, problems = read_dataset(LocalFiles(folder))
    if dataset is None or not dataset.splits:
        what = "; ".join(problem.message for problem in problems) or "there are no Parquet files in it"
        hint = f"`shardwright validate {folder}` says more"
        raise TrainError(f"{folder} is no dataset that can be read: {what}", hint=hint)
    configs = dataset.configs
    if config is None and len(configs) > 1 and "default" not in configs:
        raise TrainError(f"{folder} has {len(configs):,} configs", hint=f"choose one: {_list(configs)}")
    config = config or ("default" if "default" in configs else configs[0])
    if config not in configs:
        raise TrainError(
            f"{folder} has no config {config!r}; there are: {_list(configs)}", hint=nearest(config, configs)
        )
    splits = dataset.splits_of(config)
    names = [one.name for one in splits]
    if split not in names:
        what = f"the config {config!r} of {folder} has no split {split!r}; there are: {_list(names)}"
        raise TrainError(what, hint=nearest(split, names))
    return dataset, splits[len(names) - 1 - names[::-1].index(split)]


def _footers(dataset: Dataset, split: Split) -> dict[str, Footer]:
    """Return the shards of a split that hold rows, each with its footer.

    Raises:
        TrainError: one cannot be read, or there are none.
    """
    if split.is_elsewhere or split.others:
        which = "URLs" if split.is_elsewhere else escaped(split.others[0])
        what = f"the split {split.place} holds {which}, and only Parquet shards in the folder are trained on"
        raise TrainError(what, hint="build a dataset from it with a recipe, or save it as Parquet with `datasets`")
    found: dict[str, Footer] = {}
    for name in split.shards:
        footer = dataset.footers[name]
        if not isinstance(footer, Footer):
            hint = LFS_PULL if footer == LFS_POINTER else "download or build it again; `shardwright validate` says more"
            raise TrainError(f"the shard {escaped(name)} cannot be read: {escaped(footer)}", hint=hint)
        if footer.rows:
            found[name] = footer
    if not found:
        raise TrainError(f"the split {split.place} has no rows")
    return found


def _first_values(path: Path, name: str, column: str) -> pa.Array:
    """Return the first values of a column of a shard."""
    try:
        with pq.ParquetFile(path, memory_map=True, pre_buffer=False) as file:
            batches = file.iter_batches(batch_size=_FIRST_ROWS, columns=[column], use_threads=False)
            return plain(next(iter(batches)).column(0))
    except (pa.ArrowException, OSError, StopIteration) as error:
        what = " ".join(str(error).split())[:300]
        raise TrainError(f"the column {column!r} of {name} cannot be read: {escaped(what)}") from None


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
        TrainError: a column is missing, is there twice, or holds no media.
    """
    hint = "`shardwright validate` says which shards differ; build the dataset again"
    for shard, footer in footers.items():
        for name in [*texts, *(source.name for source in used)]:
            count = footer.schema.names.count(name)
            if count != 1:
                what = "is missing in" if not count else f"is there {count} times in"
                raise TrainError(f"the column {name!r} {what} the shard {escaped(shard)}", hint=hint)
        for source in used:
            kind = footer.schema.field(source.name).type
            if not holds_media(kind) or is_list(kind) != source.is_list:
                what = f"the column {source.name!r} of the shard {escaped(shard)} holds {kind}, which are no media"
                raise TrainError(what, hint=hint)


def _list(names: list[str]) -> str:
    return ", ".join(repr(escaped(name)) for name in names)
