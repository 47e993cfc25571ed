"""A dataset as its card describes it: configs, splits, and the shards of each, with what their footers say."""

from __future__ import annotations

import functools
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.utils import glob_translate

from pipeline.checks.problem import Problem
from pipeline.checks.read_card import CARD, read_card

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.checks.files import DatasetFiles
    from pipeline.checks.read_card import Card

REBUILD = "run `shardwright validate --fix`, or build the dataset again"
PARQUET = ".parquet"
FOOTERS_AT_ONCE = 16
"""Footers read beside each other, which matters where they come over a network."""


@dataclass(kw_only=True)
class Split:
    """A split of a config, as the card names it."""

    config: str
    name: str
    patterns: list[str]
    files: list[str] = field(default_factory=list)
    """Its files in the order of the rows, of whatever kind."""

    @property
    def shards(self) -> list[str]:
        """Its Parquet files."""
        return [name for name in self.files if name.endswith(PARQUET)]

    @property
    def place(self) -> str:
        """What people call it."""
        return f"{self.config}/{self.name}"


@dataclass(frozen=True, slots=True)
class RowGroup:
    """One row group, as the footer describes it."""

    rows: int
    bytes: int
    """Uncompressed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footer:
    """What the end of a shard says."""

    rows: int
    schema: pa.Schema
    groups: tuple[RowGroup, ...]
    metadata: pq.FileMetaData


@dataclass(kw_only=True)
class Dataset:
    """A dataset, wherever it lies."""

    files: DatasetFiles
    sizes: dict[str, int]
    """Every file by its POSIX path, with its bytes."""
    card: Card | None
    splits: list[Split] = field(default_factory=list)
    footers: dict[str, Footer | str] = field(default_factory=dict)
    """Shard -> its footer, or why it cannot be read."""

    @property
    def metadata(self) -> dict[str, Any]:
        """The card's front matter."""
        return self.card.metadata if self.card is not None else {}

    @property
    def shards(self) -> list[str]:
        """Every Parquet file, whether or not a split names it."""
        return [name for name in self.sizes if name.endswith(PARQUET)]

    @property
    def configs(self) -> list[str]:
        """The configs in the order of the card."""
        return list(dict.fromkeys(split.config for split in self.splits))

    def splits_of(self, config: str) -> list[Split]:
        """Return the splits of a config."""
        return [split for split in self.splits if split.config == config]

    def footer(self, name: str) -> Footer | None:
        """Return the footer of a shard, or None when it cannot be read."""
        footer = self.footers.get(name)
        return footer if isinstance(footer, Footer) else None

    def infos(self) -> list[dict[str, Any]]:
        """Return the entries of the card's `dataset_info`."""
        infos = self.metadata.get("dataset_info")
        return [info for info in (infos if isinstance(infos, list) else [infos]) if isinstance(info, dict)]

    def info(self, config: str) -> dict[str, Any]:
        """Return the card's `dataset_info` of a config, or an empty one."""
        return next((info for info in self.infos() if info.get("config_name", "default") == config), {})


def read_dataset(files: DatasetFiles) -> tuple[Dataset | None, list[Problem]]:
    """Read the card and the footers of a dataset, and find the shards of each split.

    Raises:
        SourceError: the listing cannot be had.
    """
    sizes = files.sizes()
    card, problems = read_card(files, sizes)
    if card is None and CARD in sizes:
        return None, problems
    dataset = Dataset(files=files, sizes=sizes, card=card)
    problems += _declared(dataset) if dataset.metadata.get("configs") else _guessed(dataset)
    with ThreadPoolExecutor(FOOTERS_AT_ONCE) as threads:
        read = functools.partial(_footer, files)
        dataset.footers = dict(zip(dataset.shards, threads.map(read, dataset.shards), strict=True))
    return dataset, problems


def _footer(files: DatasetFiles, name: str) -> Footer | str:
    try:
        with files.open(name) as file:
            metadata = pq.read_metadata(file)
        groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
        return Footer(
            rows=metadata.num_rows,
            schema=metadata.schema.to_arrow_schema(),
            groups=tuple(RowGroup(group.num_rows, group.total_byte_size) for group in groups),
            metadata=metadata,
        )
    except (pa.ArrowException, OSError, ValueError) as error:
        return " ".join(str(error).split())[:300]


def _declared(dataset: Dataset) -> Iterator[Problem]:
    """Take up the splits that the card names."""
    configs = dataset.metadata["configs"]
    if not isinstance(configs, list):
        message = f"`configs` is a {type(configs).__name__}, and must be a list"
        yield Problem(code="SW102", file=CARD, key="configs", message=message, hint="list the configs under it")
        return
    for number, config in enumerate(configs):
        here = f"configs[{number}]"
        name = config.get("config_name") if isinstance(config, dict) else None
        if not isinstance(name, str) or not name:
            message = f"the name of config {number + 1} is {name!r}; `datasets` fails on it"
            yield Problem(code="SW103", file=CARD, key=f"{here}.config_name", message=message, hint="give it a name")
            continue
        data_files = config.get("data_files")
        if data_files is None:
            folder = config.get("data_dir")
            data_files = f"{folder.strip('/')}/**" if isinstance(folder, str) and folder.strip("/") else "**"
        entries, wrong = _entries(data_files)
        if wrong:
            hint = "a pattern, a list of patterns, or a list of {split: NAME, path: PATTERN}"
            yield Problem(code="SW103", file=CARD, key=f"{here}.data_files", config=name, message=wrong, hint=hint)
        for split_name, patterns in entries:
            split = Split(config=name, name=split_name, patterns=patterns)
            for pattern in patterns:
                found = matching(dataset, pattern)
                split.files += [file for file in found if file not in split.files]
                if not found:
                    message = f"the pattern {pattern!r} matches no file"
                    yield Problem(code="SW104", config=name, split=split_name, message=message, hint=REBUILD)
            dataset.splits.append(split)


def _entries(data_files: Any) -> tuple[list[tuple[str, list[str]]], str]:
    """Return splits and patterns of `data_files`, in any of the ways it may be written; and what is wrong with it."""
    entries: list[tuple[str, list[str]]] = []
    wrong = ""
    if isinstance(data_files, str):
        return [("train", [data_files])], ""
    if isinstance(data_files, dict):
        data_files = [{"split": split, "path": path} for split, path in data_files.items()]
    if not isinstance(data_files, list):
        return [], f"`data_files` is a {type(data_files).__name__}"
    if data_files and all(isinstance(entry, str) for entry in data_files):
        return [("train", list(data_files))], ""
    for entry in data_files:
        split = entry.get("split") if isinstance(entry, dict) else None
        path = entry.get("path") if isinstance(entry, dict) else None
        paths = [path] if isinstance(path, str) else path
        if split is None or not isinstance(paths, list) or not all(isinstance(one, str) for one in paths):
            wrong = f"the entry {str(entry)[:100]!r} of `data_files` has no split or no path"
            continue
        if str(split) in [name for name, _ in entries]:
            wrong = f"the split {split!r} stands twice in `data_files`"
            continue
        entries.append((str(split), paths))
    return entries, wrong


def matching(dataset: Dataset, pattern: str) -> list[str]:
    """Return the files that a pattern of `data_files` matches, by the rules of fsspec, which `datasets` follows."""
    pattern = pattern.removeprefix("./")
    if not pattern or pattern.startswith("/") or "://" in pattern:
        return []
    try:
        expression = re.compile(glob_translate(pattern))
    except (re.error, ValueError):
        return []
    ignored = {"README.md", "config.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json"}
    return [
        name
        for name in dataset.sizes
        if expression.match(name)
        and (name.rpartition("/")[2] not in ignored or name == pattern)
        and (not any(part.startswith("__") for part in name.split("/")[:-1]) or "__" in pattern)
    ]


def _guessed(dataset: Dataset) -> Iterator[Problem]:
    """Find splits as `datasets` does when the card names none."""
    from datasets.data_files import _get_data_files_patterns  # late: it takes a second

    def resolve(pattern: str) -> list[str]:
        found = matching(dataset, pattern)
        if not found:
            raise FileNotFoundError(pattern)
        return found

    try:
        patterns = _get_data_files_patterns(resolve)
    except (FileNotFoundError, ValueError) as error:
        patterns = {}
        message = f"no data files are found: {error}" if isinstance(error, ValueError) else "no data files are found"
        yield Problem(code="SW104", file=CARD, key="configs", message=message, hint="name them under `configs`")
    named = [info["config_name"] for info in dataset.infos() if isinstance(info.get("config_name"), str)]
    config = named[0] if len(named) == 1 else "default"
    for name, globs in patterns.items():
        split = Split(config=config, name=str(name), patterns=list(globs))
        for pattern in globs:
            split.files += [file for file in matching(dataset, pattern) if file not in split.files]
        if split.files:
            dataset.splits.append(split)
