"""Rows, bytes and sizes of the card against the shards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.card_text import CARD_SIZES, size_category
from pipeline.checks.data_files import PARQUET
from pipeline.checks.dataset import REBUILD
from pipeline.checks.lfs_pointer import LFS_POINTER, LFS_PULL, is_lfs_pointer
from pipeline.checks.problem import Problem
from pipeline.checks.read_card import CARD
from pipeline.checks.said_bytes import bitmap_bytes, is_ours, is_right, sum_of_splits, written_splits
from pipeline.recorded_bytes import num_bytes, read_back

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.checks.dataset import Dataset, Split
    from pipeline.executor import Executor
    from pipeline.recorded_bytes import Recorded

READABLE = "it was cut off or changed after it was written: put back the whole file, or build the dataset again"


def check_footers(dataset: Dataset) -> Iterator[Problem]:
    """Every shard is a Parquet file with rows, as far as its footer tells."""
    for name, footer in dataset.footers.items():
        if footer is LFS_POINTER:
            yield Problem(code="SW301", file=name, message=footer, hint=LFS_PULL)
        elif isinstance(footer, str):
            yield Problem(code="SW301", file=name, message=f"the shard cannot be read: {footer}", hint=READABLE)
        elif not footer.rows:
            message = "the shard has no rows; some loaders fail on it"
            yield Problem(code="SW302", file=name, message=message, hint="leave it out, and build the dataset again")
        elif empty := sum(not group.rows for group in footer.groups):
            message = f"{empty} of its {len(footer.groups)} row groups have no rows"
            yield Problem(code="SW302", file=name, message=message, hint="write it again without them")
    for split in dataset.splits:  # of other files one a split is looked at, for there may be a million of pictures
        others = [name for name in split.files if not name.endswith(PARQUET)]
        if others and is_lfs_pointer(dataset.files, others[0], dataset.sizes[others[0]]):
            yield Problem(code="SW301", file=others[0], config=split.config, message=LFS_POINTER, hint=LFS_PULL)


def check_counts(dataset: Dataset) -> Iterator[Problem]:
    """Rows and bytes that the card says, against footers and file sizes; `num_bytes` needs the rows themselves."""
    for config in dataset.configs:
        info = dataset.info(config)
        splits = dataset.splits_of(config)
        written = written_splits(info)
        for split in splits:
            entry = written.get(split.name)
            rows = rows_of(dataset, [split])
            if entry is None or rows is None:
                continue
            if entry.get("num_examples") is None:
                message = (
                    f"the card says no num_examples, the shards have {rows:,}; `datasets` takes it for 0 and fails"
                )
                yield _problem("SW106", split, "num_examples", message)
            yield from _differs("SW106", split, "num_examples", entry.get("num_examples"), rows)
            if "num_bytes" in entry and type(entry["num_bytes"]) is not int:
                yield _no_number(split.config, split.name, "num_bytes", entry["num_bytes"])
        if info and rows_of(dataset, splits) is not None:
            yield from _sizes(dataset, config, info, splits)
    yield from _category(dataset)


def rows_of(dataset: Dataset, splits: list[Split]) -> int | None:
    """Return the rows of splits, each shard counted once; None: other files or damaged ones belong to them."""
    names = {name for split in splits for name in split.files}
    footers = [dataset.footer(name) if name.endswith(PARQUET) else None for name in names]
    return None if None in footers else sum(footer.rows for footer in footers if footer is not None)


def _category(dataset: Dataset) -> Iterator[Problem]:
    """Compare the size category with the rows of all configs, or of one; people mean either."""
    written = dataset.metadata.get("size_categories")
    total = rows_of(dataset, dataset.splits)
    if written is None or total is None or not dataset.splits:
        return
    each = [rows_of(dataset, dataset.splits_of(config)) or 0 for config in dataset.configs]
    right = [size_category(rows) for rows in (total, sum(each), *each)]
    if not any(category in right for category in (written if isinstance(written, list) else [written])):
        known = ", ".join(name for _, name in CARD_SIZES)
        message = f"the card says {written!r}, the shards hold {total:,} rows, which is {size_category(total)}"
        yield Problem(code="SW111", file=CARD, key="size_categories", message=message[:500], hint=f"known: {known}")


def _sizes(dataset: Dataset, config: str, info: dict[str, Any], splits: list[Split]) -> Iterator[Problem]:
    """Compare the sizes of a config with the files."""
    for key in ("download_size", "dataset_size"):
        if info.get(key) is not None and type(info[key]) is not int:
            yield _no_number(config, "", key, info[key])
    names = {name for split in splits for name in split.files}
    found = sum(dataset.sizes[name] for name in names)
    yield from _size_differs(config, info, "download_size", found, "the files have")


def _size_differs(config: str, info: dict[str, Any], key: str, found: int, what: str) -> Iterator[Problem]:
    if type(info.get(key)) is int and info[key] != found:
        message = f"the card says {key} {info[key]:,}, {what} {found:,}"
        yield Problem(code="SW108", file=CARD, config=config, key=key, message=message, hint=REBUILD)


def check_sums(dataset: Dataset) -> Iterator[Problem]:
    """`dataset_size` is the sum of what the card says of its splits, which is all that can be said without rows."""
    for config in dataset.configs:
        yield from _sum_differs(dataset, config)


def _sum_differs(dataset: Dataset, config: str) -> Iterator[Problem]:
    info = dataset.info(config)
    total = sum_of_splits(info)
    if total is not None:
        yield from _size_differs(config, info, "dataset_size", total, "its splits add up to")


def _differs(code: str, split: Split, key: str, written: Any, found: int) -> Iterator[Problem]:
    if written is None:
        return
    if type(written) is not int:
        yield _no_number(split.config, split.name, key, written)
    elif written != found:
        yield _problem(code, split, key, f"the card says {key} {written:,}, the shards have {found:,}")


def _problem(code: str, split: Split, key: str, message: str) -> Problem:
    return Problem(code=code, file=CARD, config=split.config, split=split.name, key=key, message=message, hint=REBUILD)


def _no_number(config: str, split: str, key: str, value: Any) -> Problem:
    message = f"{key} is {value!r}, a {type(value).__name__}; the Hub wants a whole number"
    return Problem(code="SW117", file=CARD, config=config, split=split, key=key, message=message, hint=REBUILD)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadBack:
    """A shard to be read whole, as `datasets` reads it (a worker's task)."""

    name: str
    path: Path

    def run(self) -> tuple[Recorded | None, int, str]:
        """Return what `datasets` records of it, its rows, and what is wrong with it."""
        try:
            recorded, rows = read_back(self.path)
        except (pa.ArrowException, OSError) as error:
            return None, 0, " ".join(str(error).split())[:300]
        return recorded, rows, ""


def _run(task: ReadBack) -> tuple[Recorded | None, int, str]:
    return task.run()


def check_recorded(dataset: Dataset, executor: Executor) -> Iterator[Problem]:
    """Read every shard with its page checksums, and compare `num_bytes` with what `datasets` will record."""
    names = [name for name in dataset.shards if dataset.footer(name) is not None]
    paths = {name: dataset.files.path(name) for name in names}
    tasks = [ReadBack(name=name, path=path) for name, path in paths.items() if path is not None]
    work = sum(dataset.sizes[task.name] for task in tasks)
    results = dict(zip((task.name for task in tasks), executor.map(_run, tasks, work_bytes=work), strict=True))
    for name, (_, _, wrong) in results.items():
        if wrong:
            yield Problem(code="SW301", file=name, message=f"the shard cannot be read: {wrong}", hint=READABLE)
    for config in dataset.configs:
        info = dataset.info(config)
        total: int | None = 0
        for split in dataset.splits_of(config):
            recorded = [results[name][0] for name in split.shards if name in results]
            whole = [one for one in recorded if one is not None]
            if len(whole) != len(split.files):
                total = None
                continue
            found = num_bytes(whole)
            total = None if total is None else total + found
            said = written_splits(info).get(split.name, {}).get("num_bytes")
            if type(said) is int and not is_right(dataset, split, said, found):
                yield from _differs("SW107", split, "num_bytes", said, found)
        yield from _total_differs(dataset, config, total)


def _total_differs(dataset: Dataset, config: str, total: int | None) -> Iterator[Problem]:
    """Compare `dataset_size` with the bytes of the shards, where they are known; of others' cards, with its own sum."""
    info = dataset.info(config)
    said = info.get("dataset_size")
    if total is not None and is_ours(dataset):
        yield from _size_differs(config, info, "dataset_size", total, "the shards have")
    elif total is None or type(said) is not int or abs(said - total) > _bitmaps(dataset, config):
        yield from _sum_differs(dataset, config)


def _bitmaps(dataset: Dataset, config: str) -> int:
    names = {name for split in dataset.splits_of(config) for name in split.shards}
    return sum(bitmap_bytes(footer) for name in names if (footer := dataset.footer(name)) is not None)
