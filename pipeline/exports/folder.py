"""Plain folders of media with a file of metadata: ImageFolder and VideoFolder of `datasets`.

    folder/images/README.md                                rows without videos: an ImageFolder for each config
    folder/images/<config>/<split>/metadata.jsonl
    folder/images/<config>/<split>/cat-0f3a….jpg
    folder/videos/<config>/<split>/metadata.jsonl          rows with videos: a VideoFolder
    folder/videos/<config>/<split>/clip-77b1….mp4
    folder/videos/<config>/<split>/images/cat-0f3a….jpg    pictures of such a row, which are paths in `images` there

    {"id": "7", "file_name": "cat-0f3a….jpg", "messages": [typed parts], …}      where a row has one at the most
    {"id": "7", "images_file_names": ["cat-0f3a….jpg", …], "messages": […], …}   where it may have several

`load_dataset` makes `image` (or `images`) of `file_name` (or `images_file_names`), and `x` of `x_file_name`.
"""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import orjson

from pipeline.column_type import ColumnType, ListOf, Struct, media_kind
from pipeline.errors import RowRejected
from pipeline.exports.extra_columns import extra_columns, is_single, json_extras, plain_type, single_kinds, stored
from pipeline.exports.folder_metadata import JSONL, guessable, is_guessed, metadata_rows, to_parquet
from pipeline.exports.loading_card import LoadedSplit, write_loading_card
from pipeline.exports.messages_in_parts import MESSAGES, TEXT, typed_messages, typed_messages_problem
from pipeline.exports.writer import Format, SplitWriter, Written, missing_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from pipeline.exports.losses import Losses
    from pipeline.exports.place import Place
    from pipeline.rows.canonical import CanonicalRow, Medium

Kind = Literal["image", "video"]
KINDS: tuple[Kind, Kind] = ("image", "video")
FILE, FILES = "file_name", "_file_names"
"""How a column of one file, or of several, is called for the loader, behind the column's own name."""
OWN = ("messages", "image", "images", "video", "videos")
_OPENED_VIDEOS = (".mkv", ".mp4", ".avi", ".mpeg", ".mov")
"""Endings by which `datasets` (5.2) tells that a folder is a VideoFolder."""
_ENDING = "by its ending, that a file is a video: `load_dataset` must be told `videofolder` where many are so"
_UNSAFE = re.compile(r"[^\w.() -]+")
_MOST_NAME = 80


@dataclass(slots=True)
class _Group:
    """The rows of one config that are in an ImageFolder, or in a VideoFolder."""

    columns: dict[str, ColumnType]
    files: dict[str, str] = field(default_factory=dict)
    """Split -> metadata, as a path below the format's folder."""
    media: dict[str, str] = field(default_factory=dict)
    """Split -> one of its files of the folder's own kind, likewise."""


class MediaFolder(Format):
    """ImageFolder and VideoFolder."""

    name: ClassVar[str] = "folder"
    title: ClassVar[str] = "ImageFolder and VideoFolder"
    source: ClassVar[str] = "huggingface/datasets, docs/source/image_dataset.mdx and video_dataset.mdx"
    rule: ClassVar[str] = (
        "every row names files below its own folder that are there, and all splits have the same columns and types"
    )
    usage: ClassVar[str] = 'load_dataset("{folder}/images") and load_dataset("{folder}/videos"), those that are there'
    needs_conversation: ClassVar[bool] = False

    def __init__(self) -> None:
        """Begin with no rows."""
        self._groups: dict[tuple[str, Kind], _Group] = {}

    def begin(self, place: Place, losses: Losses) -> SplitWriter:
        """Return the writer of a split."""
        return _Writer(place, losses, self._groups)

    def conclude(self, folder: Path, written: list[Written]) -> None:
        """Write metadata anew that the loader would take for something else, and the README.md of both folders."""
        for group in self._groups.values():
            if not all(is_guessed(folder / file, group.columns) for file in group.files.values()):
                for split, file in group.files.items():
                    group.files[split] = to_parquet(folder / file, group.columns).relative_to(folder).as_posix()
        for number, one in enumerate(written):
            found = [
                self._groups[one.config, kind].files.get(one.split)
                for kind in KINDS
                if (one.config, kind) in self._groups
            ]
            written[number] = replace(one, files=tuple(file for file in found if file is not None))
        for kind in KINDS:
            groups = {config: group for (config, which), group in self._groups.items() if which == kind}
            media = next((path for group in groups.values() for path in group.media.values()), None)
            splits = [
                LoadedSplit(config=config, split=split, patterns=_patterns(file, group.media.get(split, media)))
                for config, group in groups.items()
                for split, file in group.files.items()
            ]
            if splits:
                text = f'`load_dataset("{kind}folder", data_dir=…)` opens the folder of a config as well.'
                write_loading_card(folder / f"{kind}s", splits, f"{kind.capitalize()}Folder", text)

    def check(self, folder: Path, written: list[Written]) -> list[str]:
        """Return the rows that the loader would refuse, or whose files are not there."""
        problems = []
        for one in written:
            count = 0
            for file in one.files:
                kind: Kind = "video" if file.startswith("videos/") else "image"
                for number, row in enumerate(metadata_rows(folder / file)):
                    count += 1
                    said = _problem((folder / file).parent, kind, row)
                    problems += [f"{file} row {number}: {said}"] if said else []
            problems += missing_rows(one, count)
        return problems


class _Writer(SplitWriter):
    """Writes the rows with videos into one folder, and all others into another."""

    def __init__(self, place: Place, losses: Losses, groups: dict[tuple[str, Kind], _Group]) -> None:
        self._place, self._losses, self._groups = place, losses, groups
        taken = {name for name in place.extras if _is_taken(name, place.columns[name])}
        own = {*(OWN if place.has_conversation else ()), *taken, place.id_column}
        self._extras = extra_columns(place, "the metadata", own, loose=True)
        self._media = {kind: list(_media_columns(place, self._extras.loose, kind)) for kind in KINDS}
        self._without: Kind = "image" if self._media["image"] else "video"
        self._files: dict[Kind, BinaryIO] = {}
        self._rows = 0
        self._kinds: dict[Kind, bool] = {"image": False, "video": False}

    def add(self, row: CanonicalRow) -> None:
        media = [*row.images, *row.videos, *(one for one in row.loose if one.column in self._extras.loose)]
        here: Kind = "video" if any(one.kind == "video" for one in media) else "image" if media else self._without
        if not self._media[here]:
            raise RowRejected("export.no_media", "the dataset has no column of media, which these folders are made of")
        place = self._place
        record: dict[str, Any] = {} if place.id_column is None else {place.id_column: row.id}
        for column in self._media[here]:
            record[column.key] = self._paths(row, column, here)
        if place.has_conversation:
            record["messages"] = typed_messages(row)
        values = json_extras(row, self._extras, self._losses)
        record |= {name: stored(value, _extra_type(place, name)) for name, value in values.items()}
        if here not in self._files:
            self._open(here)
        group = self._groups[place.config, here]
        for column in self._media[here]:
            if column.kind == here and (paths := record[column.key]):
                path = paths if column.single else paths[0]
                group.media.setdefault(place.split, f"{_folder(place, here)}/{path}")
        self._files[here].write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
        self._rows += 1
        for medium in media:
            self._kinds[medium.kind] = True
            if medium.kind == "video" and medium.ending not in _OPENED_VIDEOS:
                self._losses.note("export.ending", _ENDING, row, f"{medium.column}: {medium.ending}")

    def _paths(self, row: CanonicalRow, column: _MediaColumn, here: Kind) -> Any:
        """Put the media of a column into a folder, and return what the metadata say of them."""
        shown = row.images if column.kind == "image" else row.videos
        media = shown if column.loose is None else [one for one in row.loose if one.column == column.loose]
        if column.single and len(media) > 1:
            raise RowRejected(
                "export.shown_twice", "a row shows the medium of a column twice, and metadata name it once"
            )
        folder = _folder(self._place, here)
        within = folder if column.kind == here else f"{folder}/{column.kind}s"
        paths = [self._place.media(one, f"{within}/{_file_name(one)}").removeprefix(f"{folder}/") for one in media]
        return (paths[0] if paths else None) if column.single else paths

    def _open(self, here: Kind) -> None:
        """Begin the metadata of a folder."""
        place = self._place
        columns: dict[str, ColumnType] = {} if place.id_column is None else {place.id_column: TEXT}
        columns |= {column.key: TEXT if column.single else ListOf(TEXT) for column in self._media[here]}
        columns |= {"messages": MESSAGES} if place.has_conversation else {}
        columns |= {name: _extra_type(place, name) for name in self._extras.kept}
        name = f"{_folder(place, here)}/{JSONL}"
        self._groups.setdefault((place.config, here), _Group(columns)).files[place.split] = name
        path = place.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._files[here] = path.open("wb")

    def finish(self) -> Written:
        self.abandon()
        return Written(
            config=self._place.config,
            split=self._place.split,
            files=tuple(f"{_folder(self._place, here)}/{JSONL}" for here in self._files),
            rows=self._rows,
            kinds=tuple(kind for kind, found in self._kinds.items() if found),
        )

    def abandon(self) -> None:
        for file in self._files.values():
            file.close()


@dataclass(frozen=True, kw_only=True, slots=True)
class _MediaColumn:
    """A column of paths in the metadata."""

    key: str
    kind: Kind
    single: bool
    """Whether it is one path or none, and no list."""
    loose: str | None = None
    """The column of the dataset; None: those that the conversation shows."""


def _media_columns(place: Place, loose: tuple[str, ...], here: Kind) -> Iterator[_MediaColumn]:
    """Yield the columns of paths in a folder of a kind: the loader opens those of that kind, the others stay texts."""
    singles = single_kinds(place)
    shown = [kind for name, kind in place.columns.items() if name not in place.loose] if place.has_conversation else []
    for kind in KINDS[: KINDS.index(here) + 1]:
        if any(column is None or media_kind(column) == kind for column in shown):
            single = kind in singles
            key = kind if single else f"{kind}s"
            opened = FILE if single else f"{key}_{FILE}s"
            yield _MediaColumn(key=opened if kind == here else key, kind=kind, single=single)
    for name in loose:
        column = place.columns[name]
        kind = (media_kind(column) if column is not None else None) or here
        single = is_single(place, name)
        alone = len(loose) == 1 and not place.has_conversation and single and name == here
        opened = FILE if alone else f"{name}_{FILE}{'' if single else 's'}"
        if kind in KINDS[: KINDS.index(here) + 1]:
            yield _MediaColumn(key=opened if kind == here else name, kind=kind, single=single, loose=name)


def _folder(place: Place, here: Kind) -> str:
    return f"{here}s/{place.config}/{place.split}"


def _extra_type(place: Place, name: str) -> ColumnType:
    return guessable(plain_type(place.columns[name]))


def _is_taken(name: str, kind: ColumnType | None) -> bool:
    """Tell whether the loader would take a column for the paths of files, or find such a one inside of it."""
    if name in (FILE, f"{FILE}s") or name.endswith((f"_{FILE}", f"_{FILE}s")):
        return True
    match kind:
        case ListOf(item):
            return _is_taken("", item)
        case Struct(fields):
            return any(_is_taken(inner, item) for inner, item in fields)
    return False


def _patterns(metadata: str, medium: str | None) -> tuple[str, ...]:
    """Return the patterns of a split, with one of its media or of another split's.

    The loader tells by the files that it is given what kind of dataset this is, for every split; so a split whose rows
    have no media is given one that its metadata do not name, and that becomes no row. What lies in folders further down
    is not given.
    """
    within = PurePosixPath(metadata).parent
    own = f"{glob.escape(PurePosixPath(*within.parts[1:]).as_posix())}/*"
    if medium is None or PurePosixPath(medium).parent == within:
        return (own,)
    return own, glob.escape(PurePosixPath(*PurePosixPath(medium).parts[1:]).as_posix())


def _file_name(medium: Medium) -> str:
    """Return a name for a file: as it was called, and what no other file has."""
    name = re.split(r"[/\\]", medium.name)[-1]
    stem = _UNSAFE.sub("_", name.rpartition(".")[0] or name).strip(" .")[:_MOST_NAME]
    return f"{stem or medium.kind}-{medium.sha256[:12]}{medium.ending}"


def _problem(folder: Path, kind: Kind, row: dict[str, Any]) -> str | None:
    """Say why the loader would refuse a row of a folder of a kind."""
    opened = {key for key in row if _is_taken(key, None)}
    if not opened:
        return f"there is no column of {kind}s"
    for key in opened | ({"image", "images"} & row.keys()):
        paths = row[key] if isinstance(row[key], list) else [row[key]] if row[key] is not None else []
        for path in paths:
            if "://" in path or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
                return f"the path {path!r} leads out of its folder"
            if not (folder / path).is_file():
                return f"the file {path!r} is not there"
    if "messages" not in row:
        return None
    return typed_messages_problem(row["messages"], {one: _count(row, one, kind) for one in KINDS})


def _count(row: dict[str, Any], kind: Kind, here: Kind) -> int:
    """Return how many media of a kind a row names for its conversation."""
    one, many = (FILE, f"{kind}s_{FILE}s") if kind == here else (kind, f"{kind}s")
    return len(row[many]) if row.get(many) is not None else int(row.get(one) is not None)
