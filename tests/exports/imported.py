"""What was exported, read back: by the readers and the dialect of the same name that a recipe would use."""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from pipeline.dialects.registry import dialect
from pipeline.errors import RowRejected
from pipeline.media.examiners import Examiners
from pipeline.readers.read import read
from pipeline.readers.record import BadRecord, ReadOptions
from pipeline.rows.opened_split import dataset_in, open_split, splits_of_config
from pipeline.rows.read_rows import RowReader, UnreadRow
from pipeline.sources.webdataset import samples_listed
from tests.exports.canonical_rows import Plain, but_for_losses, plain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.exports.format_folder import Exported
    from pipeline.rows.canonical import CanonicalRow
    from pipeline.rows.conversation_view import Conversation

_MEDIA = re.compile("(<image>|<video>)")


def imported(name: str, folder: Path, file: str, *, refused: list[RowRejected] | None = None) -> list[Plain]:
    """Return the rows of a file of an export.

    A row that the dialect refuses goes to `refused`, and is an error where there is no such list.
    """
    reader = dialect(name)
    found = []
    for record in records(name, folder / file):
        try:
            read_so = reader.read(record)
        except RowRejected as error:
            if refused is None:
                raise
            refused.append(error)
        else:
            found.append(_plain(read_so, folder, (folder / file).parent))
    return found


def records(name: str, path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a file, as a recipe's `rows` would."""
    if name == "webdataset":
        yield from _samples(path)
        return
    for batch in read(path, ReadOptions()):
        assert not isinstance(batch, BadRecord), batch
        yield from batch.rows


def _samples(path: Path) -> Iterator[dict[str, Any]]:
    contents = _members(path)
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
        data = _members(folder / f"{archive}.tar")[member] if member else (beside / value).read_bytes()
    return hashlib.sha256(data).hexdigest()


@lru_cache(maxsize=2)
def _members(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        found = {member.name: tar.extractfile(member) for member in tar}
        return {name: content.read() for name, content in found.items() if content is not None}


def rows_in(folder: Path, config: str, conversation: Conversation) -> dict[str, list[CanonicalRow]]:
    """Return the rows of each split of a dataset's config."""
    dataset = dataset_in(folder)
    found: dict[str, list[CanonicalRow]] = {}
    with Examiners(1) as processes:
        for split in splits_of_config(dataset, folder, config):
            for row in RowReader(open_split(dataset, split, processes, conversation=conversation)):
                assert not isinstance(row, UnreadRow), row
                found.setdefault(split.name, []).append(row)
    return found


def assert_comes_back(done: Exported, rows: list[CanonicalRow]) -> None:
    """Assert that every row that was written is read back as one of these, but for what the losses name."""
    codes = {loss.code for loss in done.losses.found if not loss.whole_rows}
    left = Counter(one for row in rows for one in {plain(row), but_for_losses(row, codes)})
    files = [file for one in done.written if one.rows for file in one.files]
    found = [row for file in files for row in imported(done.format.name, done.folder, file)]
    assert len(found) == done.rows
    for row in found:
        assert left[row], row
        left[row] -= 1
