"""The `configs` of a card from the names of the shards: what they leave no doubt about, and nothing that is a guess."""

from __future__ import annotations

import copy
import posixpath
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.checks.data_files import is_elsewhere
from pipeline.checks.dataset import matching
from pipeline.checks.membership import leftovers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.checks.dataset import Dataset

NUMBERED = re.compile(
    r"(?P<folder>(?:[^/]+/)*)(?P<split>\w+(?:\.\w+)*)-(?P<number>\d{5,})-of-(?P<count>\d{5,})(?:-[0-9a-f]+)?\.parquet\Z"
)
"""A shard whose name says of which split it is, and of how many."""
BAD_NAME = re.compile(r"[<>:/\\|?*]")
USUAL_ORDER = ("train", "validation", "test")
PLAIN_FOLDER = "data"
"""The folder of the shards of a dataset with one config."""


@dataclass(frozen=True, slots=True)
class ShardSet:
    """The numbered shards of one split and one count in one folder."""

    folder: str
    """Ends in a slash, or is empty."""
    split: str
    count: int
    names: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether none is missing."""
        return len(self.names) == self.count

    @property
    def config(self) -> str:
        """The config that its folder means."""
        folder = self.folder.strip("/")
        return "default" if folder in ("", PLAIN_FOLDER) else folder


def shard_sets(names: Iterable[str]) -> list[ShardSet]:
    """Gather numbered shards into sets, in the order of their names."""
    found: dict[tuple[str, str, int], list[str]] = defaultdict(list)
    for name in names:
        if match := NUMBERED.match(name):
            found[match["folder"], match["split"], int(match["count"])].append(name)
    return [ShardSet(*key, tuple(sorted(names))) for key, names in found.items()]


def set_aside(dataset: Dataset) -> list[str]:
    """Return the shards that an earlier count left over: a whole set of another count stands beside them."""
    odd = {name for _, _, _, names in leftovers(dataset) for name in names}
    owned = {name for split in dataset.splits for name in split.shards}
    sets = shard_sets(dataset.shards)
    whole = {(one.folder, one.split): one.count for one in sets if one.whole and owned >= set(one.names)}
    for one in sets:
        count = whole.get((one.folder, one.split))
        if count is not None and count != one.count and not owned & set(one.names):
            odd.update(one.names)
    return sorted(odd)


def arranged(dataset: Dataset, order: list[str], aside: set[str]) -> Any:
    """Return `configs` with the names and patterns that the shards leave no doubt about.

    Where the card has none, they are made of the layout; `order` names configs and splits as they came once.
    """
    written = dataset.metadata.get("configs")
    sets = [one for one in shard_sets(dataset.shards) if one.whole and not aside & set(one.names)]
    if not isinstance(written, list) or not written:
        return _of_layout(dataset, order, sets, aside)
    configs = copy.deepcopy(written)
    _name(configs, [str(info.get("config_name", "default")) for info in dataset.infos()])
    for config in configs:
        entries = _entries(config)
        if entries is not None:
            _correct(dataset, config, entries, sets)
    owned = {name for config in configs for entry in _entries(config) or [] for name in _files(dataset, entry)}
    known = [config.get("config_name") for config in configs if _entries(config) is not None]
    owned |= {name for split in dataset.splits if split.config not in known for name in split.files}
    for one in sets:
        rivals = [other for other in sets if (other.folder, other.split) == (one.folder, one.split)]
        if owned & set(one.names) or len(rivals) > 1:
            continue
        owners = [config for config in configs if _entries(config) is not None and _lies_in(config, one)]
        entry = {"split": one.split, "path": _pattern(one, owners[0] if owners else {})}
        if _files(dataset, entry) != set(one.names):
            continue
        if len(owners) == 1 and one.split not in [known.get("split") for known in _entries(owners[0]) or []]:
            owners[0]["data_files"].append(entry)
        elif not owners and _is_new(configs, one):
            configs.append({"config_name": one.config, "data_files": [entry]})
    return configs


def _is_new(configs: list[Any], one: ShardSet) -> bool:
    named = [config.get("config_name") if isinstance(config, dict) else None for config in configs]
    return one.config not in named and not BAD_NAME.search(one.config) and all(isinstance(name, str) for name in named)


def _of_layout(dataset: Dataset, order: list[str], sets: list[ShardSet], aside: set[str]) -> Any:
    """Return `configs` as folders and names of shards say; None: they do not say it of all of them."""
    inside = {name for one in sets for name in one.names}
    places = [(one.config, one.split) for one in sets]
    if not sets or inside | aside < set(dataset.shards) or len(set(places)) < len(places):
        return None
    if any(BAD_NAME.search(config) for config, _ in places):
        return None
    places_of = {name: number for number, name in enumerate([*order, *USUAL_ORDER])}
    found: dict[str, list[dict[str, str]]] = {}
    for one in sorted(sets, key=lambda one: [places_of.get(name, len(places_of)) for name in (one.config, one.split)]):
        found.setdefault(one.config, []).append({"split": one.split, "path": _pattern(one, {})})
    return [{"config_name": config, "data_files": entries} for config, entries in found.items()]


def _name(configs: list[Any], described: list[str]) -> None:
    """Give the one config whose name is none the one name that `dataset_info` has more."""
    named = [config.get("config_name") for config in configs if isinstance(config, dict)]
    lost = [
        config
        for config in configs
        if isinstance(config, dict)
        and (not isinstance(name := config.get("config_name"), str) or not name or BAD_NAME.search(name))
    ]
    more = [name for name in described if name not in named]
    if len(lost) == len(more) == 1:
        lost[0]["config_name"] = more[0]


def _entries(config: Any) -> list[dict[str, Any]] | None:
    """Return the entries of `data_files`, where they are a list of splits; None: they are written in another way."""
    entries = config.get("data_files") if isinstance(config, dict) else None
    if not isinstance(entries, list) or not isinstance(config.get("config_name"), str) or config.get("data_dir"):
        return None
    return entries if all(map(_is_plain, entries)) else None


def _is_plain(entry: Any) -> bool:
    """Tell whether an entry of `data_files` is about files of the dataset."""
    return isinstance(entry, dict) and "split" in entry and not any(map(is_elsewhere, _patterns(entry)))


def _patterns(entry: dict[str, Any]) -> list[str]:
    path = entry.get("path")
    return [one for one in (path if isinstance(path, list) else [path]) if isinstance(one, str)]


def _files(dataset: Dataset, entry: dict[str, Any]) -> set[str]:
    return {name for pattern in _patterns(entry) for name in matching(dataset, pattern)}


def _correct(dataset: Dataset, config: dict[str, Any], entries: list[dict[str, Any]], sets: list[ShardSet]) -> None:
    """Correct the patterns of a config that match nothing, or the shards of another split as well."""
    files = [_files(dataset, entry) for entry in entries]
    for number, entry in enumerate(entries):
        others: set[str] = set().union(*(found for place, found in enumerate(files) if place != number))
        named = {name: match["split"] for name in files[number] & others if (match := NUMBERED.match(name))}
        of_others = any(split != entry["split"] for split in named.values())
        if not of_others and all(matching(dataset, pattern) for pattern in _patterns(entry)):
            continue
        mine = [one for one in sets if one.split == entry["split"]]
        near = [one for one in mine if _lies_in(config, one)] or mine
        if len(near) == 1 and (of_others or not others & set(near[0].names)):
            corrected = {"split": entry["split"], "path": _pattern(near[0], config)}
            if _files(dataset, corrected) == set(near[0].names):
                entry.update(corrected)
                files[number] = set(near[0].names)


def _lies_in(config: dict[str, Any], one: ShardSet) -> bool:
    """Tell whether a set lies where the other files of a config lie, or in a folder of its name."""
    folders = {posixpath.dirname(pattern) for entry in _entries(config) or [] for pattern in _patterns(entry)}
    return one.folder.strip("/") in {folder for folder in folders if "*" not in folder} | {config["config_name"]}


def _pattern(one: ShardSet, config: dict[str, Any]) -> str:
    """Return a pattern for a set, written like those beside it."""
    written = [pattern for entry in _entries(config) or [] for pattern in _patterns(entry)]
    short = any(pattern.endswith("-*") for pattern in written)
    return f"{one.folder}{one.split}-*{'' if short else '.parquet'}"
