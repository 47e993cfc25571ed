"""Pushes to a hub by today's `datasets`, and what goes wrong with them; runs in a process of its own.

    HF_ENDPOINT=http://127.0.0.1:PORT python -m tests.checks.peer_pushes SCRATCH

Each function of `PUSHES` fills the repository of its name.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
from datasets import DatasetDict, Features, Image, IterableDatasetDict, Value

from tests.checks import peer_columns as columns

if TYPE_CHECKING:
    from collections.abc import Callable

    from datasets import Dataset

PUSHES: dict[str, Callable[[str, Path], None]] = {}


def push(make: Callable[[str, Path], None]) -> Callable[[str, Path], None]:
    """Take up a push by its name."""
    PUSHES[make.__name__] = make
    return make


def _with_length(row: dict[str, Any]) -> dict[str, Any]:
    return {"length": len(row["text"])}


def _again(row: dict[str, Any]) -> dict[str, Any]:
    return {"again": row["text"].upper()}


def _lengths(count: int) -> Dataset:
    """Texts of very different lengths, so that an average says little."""
    return columns.texts(count).map(lambda _, at: {"text": f"{at} " * (at * at + 1)}, with_indices=True)


@push
def one_split(repo: str, scratch: Path) -> None:  # noqa: ARG001
    """Push the simplest dataset."""
    columns.texts(30).push_to_hub(repo)


@push
def odd_names(repo: str, scratch: Path) -> None:  # noqa: ARG001
    """Push splits and a config with unusual names."""
    DatasetDict({"train.clean.100": columns.texts(30), "dev_2": columns.texts(7, 30)}).push_to_hub(repo, "en-US v1.0")


@push
def splits_one_by_one(repo: str, scratch: Path) -> None:  # noqa: ARG001
    """Push a split after another, one of them twice and with fewer shards."""
    columns.texts(30).push_to_hub(repo, split="train", num_shards=5)
    columns.texts(7, 30).push_to_hub(repo, split="test")
    columns.texts(25).push_to_hub(repo, split="train", num_shards=3)


@push
def several_configs(repo: str, scratch: Path) -> None:  # noqa: ARG001
    """Push configs into folders of their own, one of them as the default."""
    splits = DatasetDict(train=columns.texts(30), test=columns.texts(7, 30))
    splits.push_to_hub(repo, "words", data_dir="parts/words")
    columns.texts(5, 50).push_to_hub(repo, "more_words")
    columns.pictures(9).push_to_hub(repo, "pictures", set_default=True)


@push
def all_kinds(repo: str, scratch: Path) -> None:
    """Push every kind of column, and tables that were made in every way, each as a config."""
    made: dict[str, Any] = {
        "albums": columns.albums(23),
        "plain": DatasetDict(train=columns.plain(23), test=columns.plain(1)),
        "nested": DatasetDict(train=columns.nested(23), test=columns.nested(1)),
        "files_of_pictures": columns.picture_files(scratch / "pictures", 40),
        "files_of_pictures_split": columns.picture_files(scratch / "split", 40).train_test_split(4, seed=3),
        "files_of_clips": columns.clips(),
        "filtered": _lengths(40).filter(lambda row: len(row["text"]) < 500),
        "mapped": columns.texts(30).map(_with_length),
        "joined": datasets.concatenate_datasets([columns.texts(9), columns.texts(8, 9).select([0, 3, 7])]),
        "selected": columns.albums(60).shuffle(seed=1).select(range(13)),
        "split": columns.pictures(60).train_test_split(0.3, seed=1),
        "streamed": columns.pictures(23).to_iterable_dataset(num_shards=3),
        "streamed_splits": IterableDatasetDict(
            train=columns.texts(23).to_iterable_dataset(num_shards=3).map(_again),
            test=columns.texts(5, 40).to_iterable_dataset().map(_again),
        ),
    }
    for name, data in made.items():
        data.push_to_hub(repo, name)
    columns.pictures(120, 200).push_to_hub(repo, "many_shards", max_shard_size="1KB")


@push
def changed_columns(repo: str, scratch: Path) -> None:  # noqa: ARG001
    """Push the only split twice: the card keeps the features of the first time."""
    columns.texts(30).push_to_hub(repo)
    columns.texts(30).map(_with_length).push_to_hub(repo)


@push
def dropped_column(repo: str, scratch: Path) -> None:  # noqa: ARG001
    """Push the only split twice, the second time with a column less."""
    columns.texts(30).push_to_hub(repo)
    columns.texts(30).remove_columns("label").push_to_hub(repo)


@push
def another_type(repo: str, scratch: Path) -> None:  # noqa: ARG001
    """Push the only split twice, the second time with labels for texts."""
    features = Features(text=Value("string"), label=Value("string"))
    columns.texts(30).remove_columns("label").add_column("label", ["a"] * 30).cast(features).push_to_hub(repo)
    columns.texts(30).push_to_hub(repo)


@push
def many_shards_again(repo: str, scratch: Path) -> None:  # noqa: ARG001
    """Push more than 50 shards twice: the new ones are taken for old ones, and their sizes are subtracted."""
    columns.texts(120).push_to_hub(repo, num_shards=60)
    columns.texts(119).push_to_hub(repo, num_shards=60)


@push
def paths_of_this_machine(repo: str, scratch: Path) -> None:
    """Push pictures as paths, which lead nowhere elsewhere."""
    data = columns.picture_files(scratch / "paths", 3).cast_column("image", Image(decode=False))
    data.push_to_hub(repo, embed_external_files=False)


def main() -> None:
    """Push everything."""
    datasets.disable_progress_bars()
    for name, make in PUSHES.items():
        make(f"alice/{name}", Path(sys.argv[1]))


if __name__ == "__main__":
    main()
