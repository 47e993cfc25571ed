"""A dataset as its card describes it: configs, splits, and the shards of each, with what their footers say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.checks.data_files import (
    METADATA,
    PARQUET,
    entries_of,
    guessed_patterns,
    is_elsewhere,
    matching_names,
    of_one_kind,
)
from pipeline.checks.footers import Footer, RowGroup, read_footers
from pipeline.checks.problem import Problem
from pipeline.checks.read_card import CARD, read_card
from pipeline.checks.saved_to_disk import saved_to_disk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.checks.files import DatasetFiles
    from pipeline.checks.read_card import Card

__all__ = ["REBUILD", "Dataset", "Footer", "RowGroup", "Split", "matching", "read_dataset"]
REBUILD = "run `shardwright validate --fix`, or build the dataset again"
TWICE = "give one of them another name, or leave it out"


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
        """Its Parquet files, unless they only describe media beside them."""
        found = [name for name in self.files if name.endswith(PARQUET)]
        if len(found) < len(self.files):
            return [name for name in found if name.rpartition("/")[2] not in METADATA]
        return found

    @property
    def others(self) -> list[str]:
        """Its files that are not read as Parquet."""
        shards = set(self.shards)
        return [name for name in self.files if name not in shards]

    @property
    def is_elsewhere(self) -> bool:
        """Whether the card names URLs as its files."""
        return any(map(is_elsewhere, self.patterns))

    @property
    def place(self) -> str:
        """What people call it."""
        return f"{self.config}/{self.name}"


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
        found: dict[str, Any] = {}
        for info in self.infos():  # of two, `datasets` takes the last
            found = info if info.get("config_name", "default") == config else found
        return found


def read_dataset(files: DatasetFiles, *, footers: bool = True) -> tuple[Dataset | None, list[Problem]]:
    """Read the card and the footers of a dataset, and find the shards of each split.

    Without `footers` those are left to the caller, who may know some of them already.

    Raises:
        SourceError: the listing cannot be had.
    """
    sizes = files.sizes()
    card, problems = read_card(files, sizes)
    if saved := saved_to_disk(files, sizes):
        problems = [*(problem for problem in problems if problem.code != "SW100"), saved]
    if card is None and CARD in sizes:
        return None, problems
    dataset = Dataset(files=files, sizes=sizes, card=card)
    if dataset.metadata.get("configs"):
        problems += _declared(dataset)
    else:
        named = [info["config_name"] for info in dataset.infos() if isinstance(info.get("config_name"), str)]
        problems += _guessed(dataset, named[0] if len(named) == 1 else "default")
    if footers:
        dataset.footers = read_footers(files, sizes, dataset.shards)
    return dataset, problems


def _declared(dataset: Dataset) -> Iterator[Problem]:
    """Take up the splits that the card names."""
    configs = dataset.metadata["configs"]
    if not isinstance(configs, list):
        message = f"`configs` is a {type(configs).__name__}, and must be a list"
        yield Problem(code="SW102", file=CARD, key="configs", message=message, hint="list the configs under it")
        return
    bare = [config for config in configs if not isinstance(config, dict)]
    if bare:
        message = f"{len(bare):,} of its entries are no mappings, e.g. {str(bare[0])[:60]!r}; `datasets` fails on that"
        hint = "write each as `- config_name: NAME`, with its `data_files` below"
        yield Problem(code="SW103", file=CARD, key="configs", message=message, hint=hint)
    for number, config in enumerate(configs):
        if not isinstance(config, dict):
            continue
        here, name = f"configs[{number}]", config.get("config_name")
        if not isinstance(name, str) or not name:
            message = f"the name of config {number + 1} is {name!r}; `datasets` fails on it"
            hint = "give it a name" if name in (None, "") else f'put it in quotes: "{str(name)[:50]}"'
            yield Problem(code="SW103", file=CARD, key=f"{here}.config_name", message=message, hint=hint)
            continue
        if name in dataset.configs:
            message = "the config stands twice in `configs`; loaders take the last of them"
            yield Problem(code="SW103", file=CARD, key=f"{here}.config_name", config=name, message=message, hint=TWICE)
            dataset.splits = [split for split in dataset.splits if split.config != name]
        folder = config.get("data_dir")
        if not isinstance(folder, str | None):
            message = f"`data_dir` is a {type(folder).__name__}, and must be the path of a folder"
            yield Problem(code="SW103", file=CARD, key=f"{here}.data_dir", config=name, message=message)
            continue
        folder = _folder(folder)
        if "data_files" not in config:
            yield from _guessed(dataset, name, folder, f"{here}.data_dir" if folder else here)
            continue
        entries, wrong = entries_of(config["data_files"])
        for message in wrong:
            hint = "a pattern, a list of patterns, or a list of {split: NAME, path: PATTERN}"
            yield Problem(code="SW103", file=CARD, key=f"{here}.data_files", config=name, message=message, hint=hint)
        for split_name, patterns in entries:
            split = Split(config=name, name=split_name, patterns=[folder + pattern for pattern in patterns])
            for pattern in patterns:
                found = matching_names(dataset.sizes, pattern, folder)
                split.files += found
                if not found and not is_elsewhere(pattern):
                    message = f"the pattern {folder + pattern!r} matches no file"
                    yield Problem(code="SW104", config=name, split=split_name, message=message, hint=REBUILD)
            split.files = of_one_kind(list(dict.fromkeys(split.files)))
            dataset.splits.append(split)


def _folder(data_dir: str | None) -> str:
    """Return a folder of the dataset as names below it begin."""
    parts = [part for part in (data_dir or "").split("/") if part not in ("", ".")]
    return "/".join([*parts, ""]) if parts else ""


def matching(dataset: Dataset, pattern: str) -> list[str]:
    """Return the files that a pattern of `data_files` matches."""
    return matching_names(dataset.sizes, pattern)


def _guessed(dataset: Dataset, config: str, folder: str = "", key: str = "configs") -> Iterator[Problem]:
    """Find splits as `datasets` does where the card names none."""
    try:
        patterns = guessed_patterns(dataset.sizes, folder)
    except (FileNotFoundError, ValueError) as error:
        patterns = {}
        where = f" in {folder.rstrip('/')}" if folder else ""
        message = f"no data files are found{where}" + (f": {error}" if isinstance(error, ValueError) else "")
        hint = "name them under `configs`" if dataset.shards else "put Parquet files beside the card, or another kind"
        yield Problem(code="SW104", file=CARD, key=key, message=message, hint=hint)
    for name, globs in patterns.items():
        files = (file for pattern in globs for file in matching_names(dataset.sizes, pattern, folder))
        split = Split(config=config, name=name, patterns=[folder + pattern for pattern in globs])
        split.files = of_one_kind(list(dict.fromkeys(files)))
        if split.files:
            dataset.splits.append(split)
