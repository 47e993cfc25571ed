"""What was exported, read back: by the readers and the dialect of the same name that a recipe would use."""

from __future__ import annotations

import hashlib
import re
import tarfile
from typing import TYPE_CHECKING, Any

import orjson

from pipeline.dialects.registry import dialect
from pipeline.readers.read import read
from pipeline.readers.record import BadRecord, ReadOptions
from pipeline.sources.webdataset import samples_listed
from tests.exports.canonical_rows import Plain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MEDIA = re.compile("(<image>|<video>)")


def imported(name: str, folder: Path, file: str) -> list[Plain]:
    """Return the rows of a file of an export; a row that the dialect refuses is an error."""
    reader = dialect(name)
    return [_plain(reader.read(record), folder, (folder / file).parent) for record in records(name, folder / file)]


def records(name: str, path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a file, as a recipe's `rows` would."""
    if name == "webdataset":
        yield from _samples(path)
        return
    for batch in read(path, ReadOptions()):
        assert not isinstance(batch, BadRecord), batch
        yield from batch.rows


def _samples(path: Path) -> Iterator[dict[str, Any]]:
    with tarfile.open(path) as tar:
        members = {member.name: tar.extractfile(member) for member in tar}
        contents = {member: content.read() for member, content in members.items() if content is not None}
    lost, lines = samples_listed(path.name, list(contents), contents.get)
    assert lost == 0
    for line in lines:
        yield orjson.loads(line)["row"]


def _plain(record: dict[str, Any], folder: Path, beside: Path) -> Plain:
    media = {"<image>": iter(record["images"]), "<video>": iter(record["videos"])}
    turns = []
    for message in record["messages"]:
        parts = [piece for piece in _MEDIA.split(message["content"]) if piece]
        said = [
            f"{piece[1:-1]}:{_hash(next(media[piece]), folder, beside)}" if piece in media else piece for piece in parts
        ]
        if said or message["role"] != "system":
            turns.append((message["role"], tuple(said)))
    assert not [left for waiting in media.values() for left in waiting]
    return Plain(record.get("id") or "", tuple(turns))


def _hash(value: Any, folder: Path, beside: Path) -> str:
    """Return the hash of a medium as a record names it: bytes, a file, or a member of an archive."""
    if isinstance(value, dict):
        data = value["bytes"]
    else:
        archive, _, member = value.partition(".tar/")
        if member:
            with tarfile.open(folder / f"{archive}.tar") as tar:
                content = tar.extractfile(member)
                assert content is not None
                data = content.read()
        else:
            data = (beside / value).read_bytes()
    return hashlib.sha256(data).hexdigest()
