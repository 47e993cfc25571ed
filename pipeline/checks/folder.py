"""A dataset folder as its card describes it: configs, splits, and the shards of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from glob import glob
from typing import TYPE_CHECKING, Any

import yaml

from pipeline.card_text import split_front_matter
from pipeline.checks.problem import Problem

if TYPE_CHECKING:
    from pathlib import Path

REBUILD = "run `shardwright build` again"


@dataclass(kw_only=True)
class Split:
    """A split of a config, as the card names it."""

    config: str
    name: str
    patterns: list[str]
    shards: list[Path] = field(default_factory=list)

    @property
    def place(self) -> str:
        """Where a problem of it is."""
        return f"{self.config}/{self.name}"


@dataclass(kw_only=True)
class Folder:
    """A dataset folder and what its card says."""

    path: Path
    metadata: dict[str, Any]
    splits: list[Split] = field(default_factory=list)

    @property
    def parquet_files(self) -> list[Path]:
        """Every Parquet file in the folder, hidden ones left out."""
        files = (path for path in self.path.rglob("*.parquet") if path.is_file())
        return sorted(p for p in files if not any(part.startswith(".") for part in p.relative_to(self.path).parts))

    def info(self, config: str) -> dict[str, Any]:
        """Return the card's `dataset_info` of a config, or an empty one."""
        infos = self.metadata.get("dataset_info")
        infos = infos if isinstance(infos, list) else [infos]
        for info in infos:
            if isinstance(info, dict) and info.get("config_name", "default") == config:
                return info
        return {}


def read_folder(path: Path) -> tuple[Folder | None, list[Problem]]:
    """Read the card of a dataset folder and find the shards it names."""
    card = path / "README.md"
    try:
        text = card.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return None, [
            Problem(
                code="SW101",
                place=str(card),
                message=f"the card cannot be read: {getattr(error, 'strerror', None) or error}",
                hint=REBUILD,
            )
        ]
    try:
        metadata = yaml.safe_load(split_front_matter(text)[0]) or {}
    except yaml.YAMLError as error:
        message = "the front matter is not YAML: " + " ".join(str(error).split())
        return None, [Problem(code="SW101", place="README.md", message=message, hint="mend it, or run the build again")]
    if not isinstance(metadata, dict):
        message = f"the front matter is a {type(metadata).__name__}, not a mapping"
        return None, [Problem(code="SW101", place="README.md", message=message)]
    folder = Folder(path=path, metadata=metadata)
    problems = _splits(folder)
    return folder, problems


def _splits(folder: Folder) -> list[Problem]:
    problems: list[Problem] = []
    configs = folder.metadata.get("configs")
    if not isinstance(configs, list) or not configs:
        message = "the card names no configs, so `datasets` guesses which files belong together"
        return [Problem(code="SW102", place="README.md", message=message, hint="list them under `configs`")]
    for number, config in enumerate(configs):
        name = config.get("config_name") if isinstance(config, dict) else None
        if not isinstance(name, str) or not name:
            message = f"the name of config {number + 1} is {name!r}; `datasets` fails on it"
            problems.append(
                Problem(code="SW103", place=f"configs[{number}].config_name", message=message, hint="give it a name")
            )
            continue
        data_files = config.get("data_files")
        if not isinstance(data_files, list):
            data_files = [{"split": "train", "path": data_files}]
        for entry in data_files:
            patterns = entry["path"] if isinstance(entry.get("path"), list) else [entry.get("path")]
            split = Split(config=name, name=str(entry.get("split")), patterns=[str(pattern) for pattern in patterns])
            for pattern in split.patterns:
                found = sorted(glob(pattern, root_dir=folder.path, recursive=True))  # noqa: PTH207  (patterns hold `..` or `/` at will)
                split.shards += [folder.path / file for file in found]
                if not found:
                    message = f"the pattern {pattern!r} matches no file"
                    problems.append(Problem(code="SW104", place=split.place, message=message, hint=REBUILD))
            folder.splits.append(split)
    return problems
