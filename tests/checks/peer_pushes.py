"""Pushes to a hub by today's `datasets`, and what people do wrong with them; runs in a process of its own.

    HF_ENDPOINT=http://127.0.0.1:PORT python -m tests.checks.peer_pushes SCRATCH

Each function of `GOOD` and `FAULTY` pushes to the repository of its name.
"""

from __future__ import annotations

import sys
from pathlib import Path

import datasets
from datasets import Dataset, DatasetDict

from tests.checks import peer_columns as columns

GOOD = {}
FAULTY = {}


def good(make):
    GOOD[make.__name__] = make
    return make


def faulty(make):
    FAULTY[make.__name__] = make
    return make


@good
def one_split(repo: str, scratch: Path) -> None:
    columns.texts(30).push_to_hub(repo)


@good
def three_splits(repo: str, scratch: Path) -> None:
    DatasetDict(train=columns.texts(30), validation=columns.texts(7, 30), test=columns.texts(5, 40)).push_to_hub(repo)


@good
def odd_split_names(repo: str, scratch: Path) -> None:
    DatasetDict({"train.clean.100": columns.texts(30), "dev_2": columns.texts(7, 30)}).push_to_hub(repo)


@good
def splits_one_by_one(repo: str, scratch: Path) -> None:
    columns.texts(30).push_to_hub(repo, split="train")
    columns.texts(7, 30).push_to_hub(repo, split="test")
    columns.texts(9, 30).push_to_hub(repo, split="test")


@good
def several_configs(repo: str, scratch: Path) -> None:
    DatasetDict(train=columns.texts(30), test=columns.texts(7, 30)).push_to_hub(repo, "words")
    columns.texts(5, 50).push_to_hub(repo, "en-US_2")
    columns.pictures(9).push_to_hub(repo, "pictures", set_default=True)


@good
def data_dir(repo: str, scratch: Path) -> None:
    DatasetDict(train=columns.texts(30), test=columns.texts(7, 30)).push_to_hub(repo, "words", data_dir="parts/words")
    columns.texts(12).push_to_hub(repo, data_dir="parts/all")


@good
def many_shards(repo: str, scratch: Path) -> None:
    columns.pictures(120).push_to_hub(repo, max_shard_size="1KB")


@good
def shards_by_number(repo: str, scratch: Path) -> None:
    DatasetDict(train=columns.texts(30), test=columns.texts(7, 30)).push_to_hub(repo, num_shards={"train": 5, "test": 1})


@good
def fewer_shards_than_before(repo: str, scratch: Path) -> None:
    DatasetDict(train=columns.texts(30), test=columns.texts(7, 30)).push_to_hub(repo, num_shards={"train": 5, "test": 2})
    columns.texts(25).push_to_hub(repo, num_shards=3)


@good
def splits_of_one_table(repo: str, scratch: Path) -> None:
    columns.pictures(60).train_test_split(0.3, seed=1).push_to_hub(repo)


@good
def filtered(repo: str, scratch: Path) -> None:
    data = columns.texts(60)
    data.filter(lambda row: row["label"] == 1).push_to_hub(repo)


@good
def shuffled_and_selected(repo: str, scratch: Path) -> None:
    columns.albums(60).shuffle(seed=1).select(range(13)).push_to_hub(repo)


@good
def joined(repo: str, scratch: Path) -> None:
    data = datasets.concatenate_datasets([columns.texts(9), columns.texts(8, 9).select([0, 3, 7])])
    data.add_column("more", list(range(12))).push_to_hub(repo)


@good
def mapped(repo: str, scratch: Path) -> None:
    columns.texts(30).map(lambda row: {"length": len(row["text"])}).push_to_hub(repo)


@good
def files_of_pictures(repo: str, scratch: Path) -> None:
    columns.picture_files(scratch / "files_of_pictures", 40).push_to_hub(repo)


@good
def files_of_pictures_split(repo: str, scratch: Path) -> None:
    columns.picture_files(scratch / "files_of_pictures_split", 40).train_test_split(4, seed=3).push_to_hub(repo)


@good
def files_of_clips(repo: str, scratch: Path) -> None:
    columns.clips(5).push_to_hub(repo)


@good
def albums(repo: str, scratch: Path) -> None:
    columns.albums(23).push_to_hub(repo)


@good
def plain(repo: str, scratch: Path) -> None:
    DatasetDict(train=columns.plain(23), test=columns.plain(1)).push_to_hub(repo)


@good
def nested(repo: str, scratch: Path) -> None:
    DatasetDict(train=columns.nested(23), test=columns.nested(1)).push_to_hub(repo)


@good
def streamed(repo: str, scratch: Path) -> None:
    columns.pictures(23).to_iterable_dataset(num_shards=3).push_to_hub(repo)


@good
def streamed_splits(repo: str, scratch: Path) -> None:
    datasets.IterableDatasetDict(
        train=columns.texts(23).to_iterable_dataset(num_shards=3).map(lambda row: {"again": row["text"]}),
        test=columns.texts(5, 40).to_iterable_dataset().map(lambda row: {"again": row["text"]}),
    ).push_to_hub(repo, "second")


@faulty
def changed_columns(repo: str, scratch: Path) -> None:
    """A push of the only split leaves the features of the one before in the card."""
    columns.texts(30).push_to_hub(repo)
    columns.texts(30).map(lambda row: {"length": len(row["text"])}).push_to_hub(repo)


@faulty
def many_shards_again(repo: str, scratch: Path) -> None:
    """A second push of more than 50 shards takes the new ones for old ones, and subtracts their sizes."""
    columns.texts(120).push_to_hub(repo, num_shards=60)
    columns.texts(119).push_to_hub(repo, num_shards=60)


def main() -> None:
    datasets.disable_progress_bars()
    scratch = Path(sys.argv[1])
    for name, make in {**GOOD, **FAULTY}.items():
        try:
            make(f"alice/{name}", scratch)
        except Exception as e:
            print(name, type(e), e, flush=True)


if __name__ == "__main__":
    main()
