"""What the tests of the archives share: a folder to unpack in, and a zip that may lie in every field."""

from __future__ import annotations

import hashlib
import io
import struct
import tarfile
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.errors import SourceError
from pipeline.media.location import FilePart
from pipeline.sources.archive import ArchiveLimits, UnpackReport, unpack

if TYPE_CHECKING:
    from pathlib import Path


def files_below(folder: Path) -> dict[str, bytes]:
    """Each file below a folder by its relative name; anything but files and folders fails the test."""
    found = {}
    for path in folder.rglob("*"):
        assert not path.is_symlink()
        assert path.is_file() or path.is_dir()
        if path.is_file():
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


def unpacked(archive: Path, limits: ArchiveLimits | None = None, *, name_encoding: str | None = None) -> UnpackReport:
    """Unpack to the folder `out` beside the archive."""
    return unpack(archive, archive.parent / "out", limits or ArchiveLimits(), name_encoding=name_encoding)


def everything(name: str) -> bool:  # noqa: ARG001
    """Let every member stay that can."""
    return True


def left_in_place(archive: Path, limits: ArchiveLimits | None = None, **options: Any) -> dict[str, bytes]:
    """Unpack to the folder `out`, but for what may stay in the archive; returns all of it, from where it lies."""
    stays = options.pop("stays", everything)
    out = archive.parent / "out"
    report = unpack(archive, out, limits or ArchiveLimits(), stays=stays, **options)
    found = files_below(out)
    assert (report.files, report.bytes) == (len(found), sum(map(len, found.values())))
    for member in report.staying.table().to_pylist():
        name = member["name"]
        assert name not in found
        assert stays(name)
        assert (out / name).parent.is_dir()
        found[name] = FilePart(archive, member["offset"], member["size"]).read_bytes()
        assert hashlib.sha256(found[name]).digest() == member["sha256"]
    return found


def assert_refused(archive: Path, word: str, limits: ArchiveLimits | None = None) -> SourceError:
    """Assert that an archive is refused with a word, wherever its members go, and its folder is as it was before."""
    before = sorted(archive.parent.iterdir())
    in_place = refusal(archive, limits)
    assert sorted(archive.parent.iterdir()) == before
    with pytest.raises(SourceError) as caught:
        unpacked(archive, limits)
    assert word in str(caught.value)
    assert repr(archive.name) in caught.value.what
    assert sorted(archive.parent.iterdir()) == before
    assert str(caught.value) == in_place
    return caught.value


def refusal(archive: Path, limits: ArchiveLimits | None = None) -> str:
    """Return why an archive is refused whose members would stay."""
    try:
        left_in_place(archive, limits)
    except SourceError as error:  # not `pytest.raises`, which would hold on to what the archive took of memory
        return str(error)
    pytest.fail("it is not refused")


def tar_of(path: Path, *members: tarfile.TarInfo | tuple[str, bytes], mode: str = "w") -> Path:
    """Write a tar of files and of headers that come without content."""
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                header = tarfile.TarInfo(member[0])
                header.size = len(member[1])
                tar.addfile(header, io.BytesIO(member[1]))
    return path


def header_of(name: str, kind: bytes = tarfile.REGTYPE, **attributes: object) -> tarfile.TarInfo:
    """Make the header of a tar member."""
    header = tarfile.TarInfo(name)
    header.type = kind
    for key, value in attributes.items():
        setattr(header, key, value)
    return header


@dataclass(kw_only=True)
class Lie:
    """One member of a zip; None means: tell the truth."""

    name: bytes = b"a.txt"
    data: bytes = b"hello"
    local_name: bytes | None = None
    method: int = 8
    flags: int = 0
    packed: bytes | None = None
    """The compressed bytes that are written."""
    crc: int | None = None
    size: int | None = None
    packed_size: int | None = None
    local_size: int | None = None
    mode: int = 0o100644
    offset: int | None = None
    extra: bytes = b""
    local_extra: bytes = b""
    after: bytes = b""
    """Bytes behind the member, such as a data descriptor."""


@dataclass(kw_only=True)
class EndLie:
    """The end record of a zip; None means: tell the truth."""

    members: int | None = None
    directory_size: int | None = None
    directory_offset: int | None = None
    disk: int = 0
    before: bytes = field(default=b"")
    """Bytes between directory and end record, such as a ZIP64 end record."""


def deflated(data: bytes) -> bytes:
    """Compress as zip does."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return compressor.compress(data) + compressor.flush()


def zip_of(path: Path, *lies: Lie, end: EndLie | None = None) -> Path:
    """Write a zip field by field."""
    end = end or EndLie()
    body = directory = b""
    for lie in lies:
        packed = lie.packed if lie.packed is not None else deflated(lie.data) if lie.method == 8 else lie.data
        crc = zlib.crc32(lie.data) if lie.crc is None else lie.crc
        size = len(lie.data) if lie.size is None else lie.size
        local_size = size if lie.local_size is None else lie.local_size
        packed_size = len(packed) if lie.packed_size is None else lie.packed_size
        name = lie.name if lie.local_name is None else lie.local_name
        offset = len(body) if lie.offset is None else lie.offset
        body += struct.pack("<4s5H3L2H", b"PK\3\4", 45, lie.flags, lie.method, 0, 33, crc, packed_size, local_size,
                            len(name), len(lie.local_extra)) + name + lie.local_extra + packed + lie.after  # fmt: skip
        directory += struct.pack("<4s6H3L5H2L", b"PK\1\2", 3 << 8 | 45, 45, lie.flags, lie.method, 0, 33, crc,
                                 packed_size, size, len(lie.name), len(lie.extra), 0, 0, 0, lie.mode << 16,
                                 offset) + lie.name + lie.extra  # fmt: skip
    members = len(lies) if end.members is None else end.members
    directory_size = len(directory) if end.directory_size is None else end.directory_size
    directory_offset = len(body) if end.directory_offset is None else end.directory_offset
    record = struct.pack(
        "<4s4H2LH", b"PK\5\6", end.disk, end.disk, members, members, directory_size, directory_offset, 0
    )
    path.write_bytes(body + directory + end.before + record)
    return path
