"""Opening a split of a dataset folder for training: whoever made it, if it is Parquet, with a card or without."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.executor import default_workers
from pipeline.media.bounded import BoundedProcesses
from pipeline.rows.opened_split import dataset_in, open_split, split_named
from train.example import TrainError
from train.feed.index import index_shards
from train.feed.plan import Plan
from train.feed.training_data import TrainingData

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipeline.rows.conversation_view import Conversation
    from train.feed.decoded_image import Picture
    from train.feed.frame_sampling import FrameSampling


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
        DatasetError: there is no such config, split or column, a shard cannot be read, or the conversation does not
            fit.
        TrainError: a shard changed while it was looked at.
        UsageError: there is no such folder.
        RecipeError: mistakes in the schema.
    """
    if longest_side is not None and longest_side < 1:
        raise TrainError(f"`longest_side` is {longest_side}", allowed="a number of pixels above 0")
    folder = folder.absolute()
    dataset = dataset_in(folder)
    chosen = split_named(dataset, folder, config, split)
    count = processes or default_workers()
    with BoundedProcesses(count) as decoders:
        opened = open_split(dataset, chosen, decoders, conversation=conversation, id_column=id_column)
    footers, view = opened.footers, opened.view
    assert view is not None
    index = cache.absolute() / "train" / "index"
    shards = index_shards(dataset, list(footers), opened.used, index, processes=count, advance=advance)
    plan = Plan(
        root=folder,
        shards=tuple(shards),
        groups=tuple(tuple(group.rows for group in footer.groups) for footer in footers.values()),
        sources=tuple(opened.used),
        types={name: kind for name, kind in opened.types.items() if name in {*view.texts, id_column}},
        view=view,
        frames=frames,
        longest_side=longest_side,
        id_column=id_column,
        picture=frame_cache,
        cache=cache.absolute() / "train" / "frames",
    )
    return TrainingData(plan)
