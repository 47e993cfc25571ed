"""Rows, bytes and sizes of the card against the shards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.card_text import CARD_SIZES, size_category
from pipeline.checks.dataset import REBUILD
from pipeline.checks.problem import Problem
from pipeline.checks.read_card import CARD
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
        if isinstance(footer, str):
            yield Problem(code="SW301", file=name, message=f"the shard cannot be read: {footer}", hint=READABLE)
        elif not footer.rows:
            message = "the shard has no rows; some loaders fail on it"
            yield Problem(code="SW302", file=name, message=message, hint="leave it out, and build the dataset again")
        elif empty := sum(not group.rows for group in footer.groups):
            message = f"{empty} of its {len(footer.groups)} row groups have no rows"
            yield Problem(code="SW302", file=name, message=message, hint="write it again without them")


def check_counts(dataset: Dataset) -> Iterator[Problem]:
    """Rows and bytes that the card says, against footers and file sizes; `num_bytes` needs the rows themselves."""
    total = 0
    for config in dataset.configs:
        info = dataset.info(config)
        splits = dataset.splits_of(config)
        whole = all(dataset.footer(name) is not None for split in splits for name in split.shards)
        whole = whole and all(len(split.shards) == len(split.files) for split in splits)
        written = _written_splits(info)
        for split in splits:
            footers = [dataset.footer(name) for name in split.shards]
            rows = sum(footer.rows for footer in footers if footer is not None)
            total += rows
            entry = written.get(split.name)
            if entry is None or len(split.shards) != len(split.files) or None in footers:
                continue
            yield from _differs("SW106", split, "num_examples", entry.get("num_examples"), rows)
            if "num_bytes" in entry and type(entry["num_bytes"]) is not int:
                yield _no_number(split.config, split.name, "num_bytes", entry["num_bytes"])
        if whole and info:
            yield from _sizes(dataset, config, info, splits)
    category = dataset.metadata.get("size_categories")
    wanted = size_category(total)
    if category is not None and category not in ([wanted], wanted):
        known = ", ".join(name for _, name in CARD_SIZES)
        message = f"the card says {category!r}, the shards hold {total:,} rows, which is {wanted}"
        yield Problem(code="SW111", file=CARD, key="size_categories", message=message, hint=f"known: {known}")


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
        entries = _written_splits(dataset.info(config)).values()
        each = [entry["num_bytes"] for entry in entries if type(entry.get("num_bytes")) is int]
        if each and len(each) == len(entries):
            yield from _size_differs(config, dataset.info(config), "dataset_size", sum(each), "its splits add up to")


def _written_splits(info: dict[str, Any]) -> dict[str, dict[str, Any]]:
    entries = info.get("splits")
    entries = entries if isinstance(entries, list) else []
    return {str(entry.get("name")): entry for entry in entries if isinstance(entry, dict)}


def _differs(code: str, split: Split, key: str, written: Any, found: int) -> Iterator[Problem]:
    if written is None:
        return
    if type(written) is not int:
        yield _no_number(split.config, split.name, key, written)
    elif written != found:
        message = f"the card says {key} {written:,}, the shards have {found:,}"
        yield Problem(
            code=code, file=CARD, config=split.config, split=split.name, key=key, message=message, hint=REBUILD
        )


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
            entry = _written_splits(info).get(split.name, {})
            if type(entry.get("num_bytes")) is int:
                yield from _differs("SW107", split, "num_bytes", entry["num_bytes"], found)
        if total is not None:
            yield from _size_differs(config, info, "dataset_size", total, "the shards have")
