"""Files that list datasets: LLaMA-Factory's `dataset_info.json`, and the meta file of InternVL's training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from pipeline.new.endings import ANNOTATIONS, ending_of
from pipeline.printable import escaped

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 16 << 20
"""Bytes of such a list at the most."""
MAX_ENTRIES = 500
MAX_ABOVE = 3
"""Folders above the list in which the paths of its entries may start."""
ELSEWHERE = ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")
"""Keys of entries whose rows lie somewhere else."""
FORMATTING = {"alpaca": "alpaca", "sharegpt": "llama-factory"}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One dataset of a list."""

    name: str
    files: tuple[str, ...]
    """Annotation files, from the folder in which the list's paths start."""
    dialect: str
    root: str = ""
    """The folder of its media, likewise; empty: not said."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DatasetList:
    """A list of datasets."""

    title: str
    base: Path
    """The folder in which its paths start."""
    entries: tuple[Entry, ...]
    elsewhere: dict[str, str] = field(default_factory=dict)
    """Entry -> why it is no part of this: its rows are not here."""

    def root_of(self, entry: Entry) -> Path | None:
        """Return the folder of an entry's media, if it lies where the list's paths start; others are for `--media`."""
        if not entry.root or "\0" in entry.root:
            return None
        root = (self.base / entry.root).resolve()
        return root if root.is_relative_to(self.base.resolve()) and root.is_dir() else None


def list_of_datasets(path: Path) -> DatasetList | None:
    """Return what a file lists; None: it is no list of datasets."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        value = orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(value, dict) or not 0 < len(value) <= MAX_ENTRIES:
        return None
    if not all(isinstance(entry, dict) for entry in value.values()):
        return None
    if all(isinstance(entry.get("root"), str) and _is_text(entry.get("annotation")) for entry in value.values()):
        return _of_internvl(path, value)
    keys = ("file_name", *ELSEWHERE)
    if all(any(isinstance(entry.get(key), str) for key in keys) for entry in value.values()):
        return _of_llama_factory(path, value)
    return None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and bool(value) and all(map(_is_text, value)))


def _base(path: Path, files: list[str]) -> Path:
    """Return the folder from which most of some paths lead to files; the list's own where it is one of the best."""
    here = path.absolute().parent
    folders = [here, *here.parents[:MAX_ABOVE]]
    return max(folders, key=lambda folder: sum((folder / file).is_file() for file in files))


def _of_internvl(path: Path, value: dict[str, dict[str, Any]]) -> DatasetList:
    files = {
        name: [entry["annotation"]] if isinstance(entry["annotation"], str) else entry["annotation"]
        for name, entry in value.items()
    }
    base = _base(path, [file for names in files.values() for file in names])
    entries = []
    gone = {}
    for name, entry in value.items():
        missing = [file for file in files[name] if not (base / file).is_file()]
        if missing:
            gone[name] = f"there is no {escaped(missing[0])}"
            continue
        notes = []
        repeat = entry.get("repeat_time", 1)
        if repeat != 1:
            notes.append(f"`repeat_time: {str(repeat)[:20]}` is not taken over: every row stands once.")
        if entry.get("data_augment"):
            notes.append("`data_augment` is not taken over: pictures are as they are.")
        entries.append(
            Entry(name=name, files=_inside(files[name]), dialect="internvl", root=entry["root"], notes=tuple(notes))
        )
    return DatasetList(title="InternVL's list of datasets", base=base, entries=tuple(entries), elsewhere=gone)


def _of_llama_factory(path: Path, value: dict[str, dict[str, Any]]) -> DatasetList:
    base = path.absolute().parent
    entries = []
    gone = {}
    for name, entry in value.items():
        file = entry.get("file_name")
        if not isinstance(file, str):
            gone[name] = "its rows are in a repository or a script"
            continue
        files = _files(base, file)
        if not files:
            gone[name] = f"there is no {escaped(file)}"
            continue
        formatting = entry.get("formatting", "alpaca")
        notes = ["Its rows are ranked pairs; only what a chat takes is read."] if entry.get("ranking") else []
        dialect = FORMATTING.get(formatting) if isinstance(formatting, str) else None
        if dialect is None:
            gone[name] = f"`formatting: {escaped(str(formatting)[:50])}` is none of {', '.join(FORMATTING)}"
            continue
        entries.append(Entry(name=name, files=files, dialect=dialect, notes=tuple(notes)))
    return DatasetList(title="LLaMA-Factory's list of datasets", base=base, entries=tuple(entries), elsewhere=gone)


def _files(base: Path, name: str) -> tuple[str, ...]:
    """Return the annotation files that an entry means: one, or all of a folder."""
    try:
        if (base / name).is_dir():
            found = sorted(path.name for path in (base / name).iterdir() if ending_of(path.name) in ANNOTATIONS)
            return _inside([f"{name.rstrip('/')}/{file}" for file in found])
        return _inside([name]) if (base / name).is_file() else ()
    except (OSError, ValueError):
        return ()


def _inside(names: list[str]) -> tuple[str, ...]:
    """Return the names that stay below the folder in which they start."""
    return tuple(
        name for name in names if not name.startswith("/") and ".." not in name.split("/") and "\0" not in name
    )
