"""WebDataset: tar archives in which the files of one row have one name and several endings.

    webdataset/README.md                      configs, splits and fields, for `load_dataset`
    webdataset/<split>-000000.tar             000000000.jpg  000000000.json  000000000.txt  000000001.mp4  …

    KEY.jpg, KEY.mp4            the medium of a row; KEY.0.jpg, KEY.1.png … where it has several of a kind
    KEY.json                    all else: id, messages with typed parts, which media they show, the other columns
    KEY.txt                     the answer, where a row is one question and one answer

Media are copied, because archives hold them. The same rows give the same bytes: names, order, times and owners are
fixed. The library `webdataset` reads rows with different fields as they are. `datasets` wants to know all fields
beforehand: the README.md says them.
"""

from __future__ import annotations

import io
import re
import tarfile
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import orjson

from pipeline.column_type import ColumnType, ListOf, Media, Struct, feature_yaml
from pipeline.exports.extra_columns import extra_columns, is_single, json_extras, json_type
from pipeline.exports.loading_card import splits_of, write_loading_card
from pipeline.exports.messages_in_parts import MESSAGES, TEXT, typed_messages, typed_messages_problem
from pipeline.exports.proved_bytes import proved_bytes
from pipeline.exports.writer import Format, SplitWriter, Written, missing_rows
from pipeline.printable import escaped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.exports.losses import Losses
    from pipeline.exports.place import Place
    from pipeline.rows.canonical import CanonicalRow, Medium

SHARD_BYTES = 1_000_000_000
"""Media in one archive, and at least one row."""
SHARD_ROWS = 10_000
JSON, TXT = "json", "txt"
OWN = ("messages", "images", "videos")
_MEMBER = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)\Z")
"""How `webdataset` cuts the name of a member into key and field."""


class WebDataset(Format):
    """Tar archives of rows."""

    name: ClassVar[str] = "webdataset"
    title: ClassVar[str] = "WebDataset"
    source: ClassVar[str] = "webdataset/webdataset, README.md; the loader `webdataset` of huggingface/datasets"
    rule: ClassVar[str] = (
        "files of one key stand together and no field is there twice; messages have a member for each medium they show"
    )
    usage: ClassVar[str] = 'load_dataset("{folder}"), or the archives for the library webdataset'
    needs_conversation: ClassVar[bool] = False

    def __init__(self, *, shard_bytes: int = SHARD_BYTES) -> None:
        """`shard_bytes`: media in one archive."""
        self._shard_bytes = shard_bytes
        self._fields: dict[str, dict[str, ColumnType]] = {}

    def begin(self, place: Place, losses: Losses) -> SplitWriter:
        """Return the writer of a split."""
        return _Writer(place, losses, self._shard_bytes, self._fields.setdefault(place.config, {}))

    def conclude(self, folder: Path, written: list[Written]) -> None:
        """Write the README.md that `load_dataset` reads."""
        features = {
            config: [{"name": name, **feature_yaml(fields[name])} for name in sorted(fields)]
            for config, fields in self._fields.items()
        }
        write_loading_card(
            folder, splits_of(written, features), self.title, "`json` has all of a row but its media, and names these."
        )

    def check(self, folder: Path, written: list[Written]) -> list[str]:
        """Return the members that a reader of WebDataset would take for something else, or miss."""
        problems: list[str] = []
        for one in written:
            last, count = "", 0
            for file in one.files:
                for key, members in samples_of(folder / file, problems):
                    count += 1
                    said = _problem(key, last, members)
                    problems += [f"{file}: {key}: {said}"] if said else []
                    last = key
            problems += missing_rows(one, count)
        return problems


class _Writer(SplitWriter):
    """Writes rows into archives that are full in turn."""

    def __init__(self, place: Place, losses: Losses, shard_bytes: int, fields: dict[str, ColumnType]) -> None:
        self._place, self._losses, self._shard_bytes = place, losses, shard_bytes
        own = {*(OWN if place.has_conversation else ()), place.id_column}
        self._extras = extra_columns(place, "the JSON of a row", own, loose=True)
        self._fields = fields
        fields |= {"__key__": TEXT, "__url__": TEXT, JSON: self._json_type()}
        self._archive: tarfile.TarFile | None = None
        self._files: list[str] = []
        self._archive_bytes = self._archive_rows = self._rows = 0
        self._kinds: dict[Literal["image", "video"], bool] = {"image": False, "video": False}

    def add(self, row: CanonicalRow) -> None:
        key = f"{self._rows:09d}"
        members = _Members()
        own: dict[str, Any] = {} if self._place.id_column is None else {self._place.id_column: row.id}
        if self._place.has_conversation:
            shown = {f"{kind}s": members.named(media) for kind, media in (("image", row.images), ("video", row.videos))}
            own |= {"messages": typed_messages(row)}
            own |= {name: [f"{key}.{field}" for field in fields] for name, fields in shown.items()}
        for name in self._extras.loose:
            media = [medium for medium in row.loose if medium.column == name]
            alone = not self._place.has_conversation and len(self._place.loose) == 1
            found = [f"{key}.{field}" for field in members.named(media, "" if alone else name)]
            own[name] = (found[0] if found else None) if is_single(self._place, name) else found
        data = {field: proved_bytes(medium) for field, medium in members.media.items()}
        text = _caption(row)
        own |= json_extras(row, self._extras, self._losses)
        data[JSON] = orjson.dumps(own)
        if text is not None:
            data[TXT] = text.encode()
        self._write(key, data)
        for field, medium in members.media.items():
            self._fields[field] = Media(medium.kind)
            self._kinds[medium.kind] = True
        if text is not None:
            self._fields[TXT] = TEXT

    def _write(self, key: str, data: dict[str, bytes]) -> None:
        """Write the members of a row, into the next archive where this one is full."""
        size = sum(map(len, data.values()))
        full = self._archive_bytes + size > self._shard_bytes or self._archive_rows >= SHARD_ROWS
        if self._archive is None or (full and self._archive_rows):
            self.abandon()
            self._files.append(f"{self._place.stem}-{len(self._files):06d}.tar")
            path = self._place.folder / self._files[-1]
            self._archive = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115  (closed when full)
            self._archive_bytes = self._archive_rows = 0
        for field, content in data.items():
            # owner, mode and time of a TarInfo are the same everywhere
            member = tarfile.TarInfo(f"{key}.{field}")
            member.size = len(content)
            self._archive.addfile(member, io.BytesIO(content))
        self._archive_bytes += size
        self._archive_rows += 1
        self._rows += 1

    def _json_type(self) -> ColumnType:
        """Return what is in the JSON of a row."""
        place = self._place
        fields: dict[str, ColumnType] = {} if place.id_column is None else {place.id_column: TEXT}
        if place.has_conversation:
            fields |= {"messages": MESSAGES, "images": ListOf(TEXT), "videos": ListOf(TEXT)}
        fields |= {name: TEXT if is_single(place, name) else ListOf(TEXT) for name in self._extras.loose}
        fields |= {name: json_type(place.columns[name]) for name in self._extras.kept}
        return Struct(tuple(fields.items()))

    def finish(self) -> Written:
        self.abandon()
        return Written(
            config=self._place.config,
            split=self._place.split,
            files=tuple(self._files),
            rows=self._rows,
            kinds=tuple(kind for kind, found in self._kinds.items() if found),
        )

    def abandon(self) -> None:
        if self._archive is not None:
            self._archive.close()
            self._archive = None


class _Members:
    """The media of one row, and the fields that they are in: the same medium once."""

    def __init__(self) -> None:
        self.media: dict[str, Medium] = {}
        self._known: dict[tuple[str, str], str] = {}

    def named(self, media: list[Medium], column: str = "") -> list[str]:
        """Return the fields of some media of a row; `column` is where they are from, unless turns show them."""
        different = len({medium.sha256 for medium in media})
        fields = []
        for medium in media:
            known = (medium.kind, medium.sha256)
            if known not in self._known:
                number = f"{len(self.media)}" if different > 1 else ""
                self._known[known] = self._free(medium, re.sub(r"[^a-z0-9_]+", "_", column.lower()), number)
                self.media[self._known[known]] = medium
            fields.append(self._known[known])
        return fields

    def _free(self, medium: Medium, column: str, number: str) -> str:
        """Return a field that no other medium of the row has."""
        ending = re.sub(r"[^a-z0-9]", "", medium.ending.lower()) or "bin"
        before = [part for part in (column, number) if part]
        for more in ([], [medium.kind], [medium.kind, str(len(self.media))]):
            field = ".".join([*before, *more, ending])
            if field not in self.media and field not in (JSON, TXT):
                return field
        raise AssertionError(field)


def _caption(row: CanonicalRow) -> str | None:
    """Return the text of a row that is one question and its answer, or that has no turns and one text."""
    spoken = [turn for turn in row.turns if turn.role != "system"]
    if [turn.role for turn in spoken] == ["user", "assistant"]:
        parts = spoken[1].parts
        return parts[0] if len(parts) == 1 and isinstance(parts[0], str) else None
    for name in ("caption", "text") if not row.turns else ():
        if isinstance(row.extras.get(name), str):
            return str(row.extras[name])
    return None


def samples_of(archive: Path, problems: list[str]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield the rows of an archive as a reader of WebDataset sees them: key, and fields; of media only that they are.

    What is wrong with members goes to `problems`.
    """
    key, members = "", dict[str, bytes]()
    with tarfile.open(archive, "r:") as tar:
        for member in tar:
            cut = _MEMBER.match(member.name)
            if cut is None:
                problems.append(f"{archive.name}: the member {escaped(member.name)!r} has no key and field")
                continue
            if cut[1] != key:
                if members:
                    yield key, members
                key, members = cut[1], {}
            if cut[2] in members:
                problems.append(f"{archive.name}: {key}: the field {cut[2]!r} is there twice")
            content = tar.extractfile(member)
            members[cut[2]] = content.read() if content is not None and cut[2] in (JSON, TXT) else b""
    if members:
        yield key, members


def _problem(key: str, last: str, members: dict[str, bytes]) -> str | None:
    if key <= last:
        return f"stands behind {last}, so it may be there twice"
    try:
        row = orjson.loads(members.get(JSON, b""))
    except orjson.JSONDecodeError:
        return "there is no field 'json' that is JSON"
    listed = [item for value in row.values() for item in (value if isinstance(value, list) else [value])]
    for name in (item for item in listed if isinstance(item, str) and item.startswith(f"{key}.")):
        if name.removeprefix(f"{key}.") not in members:
            return f"the member {name!r} is not there"
    if "messages" not in row:
        return None
    return typed_messages_problem(row["messages"], {"image": len(row["images"]), "video": len(row["videos"])})
