"""`data_files` of a config as `datasets` reads it: splits, patterns, and the files of a listing that they match."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from fsspec.utils import glob_translate

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

PARQUET = ".parquet"
IGNORED = frozenset(
    ("README.md", "config.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json", "dummy_data.zip")
)
"""Names that are data files only where they are asked for in full."""
METADATA = frozenset(("metadata.csv", "metadata.jsonl", "metadata.parquet"))
"""Files that belong to the media beside them."""


def entries_of(data_files: Any) -> tuple[list[tuple[str, list[str]]], list[str]]:
    """Return splits and patterns of `data_files`, in any of the ways it may be written; and what is wrong with it."""
    if isinstance(data_files, str):
        return [("train", [data_files])], []
    if not isinstance(data_files, list) or not data_files:
        return [], [f"`data_files` is {'empty' if data_files in ([], {}) else 'a ' + type(data_files).__name__}"]
    if all(isinstance(entry, str) for entry in data_files):
        return [("train", list(data_files))], []
    entries: list[tuple[str, list[str]]] = []
    wrong = []
    for entry in data_files:
        split = entry.get("split") if isinstance(entry, dict) else None
        path = entry.get("path") if isinstance(entry, dict) else None
        paths = [path] if isinstance(path, str) else path
        if split is None or not isinstance(paths, list) or not paths or not all(isinstance(one, str) for one in paths):
            wrong.append(f"the entry {str(entry)[:100]!r} of `data_files` has no split or no path")
        elif not isinstance(split, str):
            wrong.append(f"the split {split!r} is a {type(split).__name__}; put it in quotes")
        elif len(entry) > 2:
            wrong.append(f"the entry of {split!r} has more keys than `split` and `path`")
        elif split in [name for name, _ in entries]:
            wrong.append(f"the split {split!r} stands twice in `data_files`")
        else:
            entries.append((split, paths))
    return entries, wrong


def is_elsewhere(pattern: str) -> bool:
    """Tell whether a pattern is a URL, whose files are not those of the dataset."""
    return "://" in pattern


def matching_names(names: Iterable[str], pattern: str, folder: str = "") -> list[str]:
    """Return the names below a folder that a pattern matches, by the rules of fsspec, which `datasets` follows."""
    pattern = pattern.removeprefix("./")
    if not pattern or pattern.startswith("/") or is_elsewhere(pattern):
        return []
    try:
        match = re.compile(glob_translate(pattern)).match
    except (re.error, ValueError):
        return []
    special = "__" in pattern
    found = []
    for name in names:
        inner = name.removeprefix(folder)
        if (not folder or inner != name) and match(inner):
            *folders, last = inner.split("/")
            if (last not in IGNORED or inner == pattern) and (special or not any(map(_is_special, folders))):
                found.append(name)
    return found


def _is_special(folder: str) -> bool:
    return folder.startswith("__")


def guessed_patterns(names: Collection[str], folder: str = "") -> dict[str, list[str]]:
    """Return splits and patterns as `datasets` guesses them below a folder where the card names none.

    Raises:
        FileNotFoundError: nothing there looks like data.
        ValueError: a split has no proper name.
    """
    from datasets.data_files import _get_data_files_patterns  # late: it takes a second

    def resolve(pattern: str) -> list[str]:
        found = matching_names(names, pattern, folder)
        if not found:
            raise FileNotFoundError(pattern)
        return found

    return {str(split): list(patterns) for split, patterns in _get_data_files_patterns(resolve).items()}


def of_one_kind(files: list[str]) -> list[str]:
    """Leave out what `datasets` leaves out beside Parquet: it reads files of the commonest ending."""
    if all(name.endswith(PARQUET) for name in files):
        return files
    endings = Counter(
        name.rpartition(".")[2].lower() for name in files if name.rpartition("/")[2] not in METADATA and "." in name
    )
    most = max(endings, key=lambda ending: (endings[ending], ending == "parquet"), default="")
    return [name for name in files if name.endswith(PARQUET)] if most == "parquet" else files
