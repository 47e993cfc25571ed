"""What names of annotation files say: which files are parts of one config, and which split each is."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.new.endings import ending_of

if TYPE_CHECKING:
    from collections.abc import Iterable

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval", "evaluation"), "validation"),
}
"""What split names in file names, folders and columns mean."""
IN_ORDER = {"train": 0, "validation": 1, "test": 2}
PARTS = 2
"""From so many numbered files on, one pattern stands for them."""
_WORD = re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(SPLITS)})(?![A-Za-z0-9])", re.IGNORECASE)
_NUMBER = re.compile(r"-[0-9]{5}-of-[0-9]{5}(?=\.)")
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")
_WORDS_OF_YAML = frozenset({"null", "none", "true", "false", "yes", "no", "on", "off", "media", "readme.md", ""})


@dataclass
class Group:
    """Files that are parts of one config, by their names."""

    key: str
    """What is left of their names without the words for splits."""
    splits: dict[str, list[str]] = field(default_factory=dict)


def split_of(word: str) -> str | None:
    """Return the split that a whole name says, such as `val`; None: it says none."""
    return SPLITS.get(word.lower())


def groups_of(names: Iterable[str]) -> list[Group]:
    """Put names of annotation files into groups, in the order of the names."""
    groups: dict[tuple[str, str], Group] = {}
    for name in sorted(names):
        key, split = _without_split(name)
        group = groups.setdefault((key, ending_of(name)), Group(key=key))
        group.splits.setdefault(split or "train", []).append(name)
    for group in groups.values():
        group.splits = dict(sorted(group.splits.items(), key=lambda item: IN_ORDER[item[0]]))
    return list(groups.values())


def _without_split(name: str) -> tuple[str, str | None]:
    """Return a name without its ending, its number of parts and its word for a split; and that split."""
    path = _NUMBER.sub("", name)
    path = path[: len(path) - len(ending_of(path)) - 1] if ending_of(path) else path
    folders, _, stem = path.rpartition("/")
    for text in (stem, *reversed(folders.split("/"))):
        if match := _WORD.search(text):
            without = _WORD.sub("", text, count=1).strip("-_. ")
            parts = [without if part == text else part for part in path.split("/")]
            return "/".join(part for part in parts if part), SPLITS[match[0].lower()]
    return path, None


def patterns(names: list[str]) -> list[str]:
    """Return the patterns of a recipe that match these files: numbered parts of one file become one."""
    by_shape: dict[str, list[str]] = {}
    for name in names:
        by_shape.setdefault(_NUMBER.sub("-*", name), []).append(name)
    return [shape if len(parts) >= PARTS else parts[0] for shape, parts in by_shape.items()]


def plain_name(text: str, *, otherwise: str) -> str:
    """Return a text as the name of a dataset, a config or a file: letters, digits, `.`, `_` and `-`."""
    name = re.sub(r"-{2,}", "-", re.sub(r"\.{2,}", ".", _UNFIT.sub("_", text)))[:90].strip("._-")
    return name if name.lower() not in _WORDS_OF_YAML else otherwise
