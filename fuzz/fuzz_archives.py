"""Archives: whatever the bytes, they unpack whole into their folder or are refused with nothing left behind.

What may stay in an archive is the same bytes there.

An input:

    byte 0     bits 0-3: how the archive is made of the rest, one of `MAKERS`; bits 4-6: its name, one of `NAMES`;
               bit 7: a codec for names is given
    byte 1     the limits, one of `LIMITS`, and the codec, one of `CODECS`
    the rest   the archive, a tar whose header checksums are put right (and which is compressed), or a description of
               a zip: mutations of plain bytes would rarely come through its checksums and lengths
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import zstandard

from pipeline.errors import SourceError
from pipeline.media.location import FilePart
from pipeline.sources.archive import SUFFIXES, ArchiveLimits, UnpackReport, is_archive, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[1]

NAMES = ("a.zip", "a.tar", "a.tgz", "a.tar.bz2", "a.tar.xz", "a.tar.zst", "a.bin", "ä a.TAR.GZ")
LIMITS = (
    ArchiveLimits(),
    ArchiveLimits(max_members=2),
    ArchiveLimits(max_bytes=100),
    ArchiveLimits(max_ratio=2, ratio_floor_bytes=1000),
    ArchiveLimits(max_members=0, max_bytes=0),
)
CODECS = ("gbk", "shift_jis", "cp437", "utf-16-le", "unicode_escape", "raw_unicode_escape", "idna", "undefined", "hz")
DICTIONARY = (
    *(b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"PK\7\x08", b"\xff\xff\xff\xff"),
    *(b"\x01\0\x10\0", b"\x75\x70"),
    *(b"\x1f\x8b\x08", b"BZh91AY&SY", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18"),
    *(b"ustar\x0000", b"ustar  \0", b"././@LongLink", b"12 path=abc\n", b"10 size=1\n"),
    *(b"GNU.sparse.", b"SCHILY.realsize"),
    *(b"../", b"/", b"./", b"\\", b"C:", b"__MACOSX/", b".DS_Store", b"\xc3\xa4", b"a\xcc\x88", b"\xff", b"\0" * 16),
)


def _plain(data: bytes) -> bytes:
    return data


def _tar(data: bytes) -> bytes:
    """Put the checksum of each header right, and give the tar its end marker."""
    fixed, at = bytearray(data + bytes(-len(data) % 512) + bytes(1024)), 0
    while at + 512 <= len(fixed) - 1024:
        block = fixed[at : at + 512]
        block[148:156] = b" " * 8
        fixed[at + 148 : at + 156] = b"%06o\0 " % sum(block)
        digits = bytes(fixed[at + 124 : at + 136]).strip(b"\0 ")
        size = int(digits, 8) if re.fullmatch(rb"[0-7]+", digits) else 0
        at += 512 + (size + -size % 512 if size <= len(fixed) else 0)
    return bytes(fixed)


def _short_tar(data: bytes) -> bytes:
    """Make a tar of a description: kind, length of the name, bytes of content, then those."""
    out, at = b"", 0
    while at + 4 <= len(data) and at < 2000:
        kind, name_length, size, odd = data[at : at + 4]
        name = data[at + 4 : at + 4 + name_length]
        at += 4 + name_length
        content = data[at : at + size]
        at += size
        header = bytearray(512)
        header[: min(100, len(name))] = name[:100]
        header[100:108] = b"0000644\0"
        header[124:136] = b"%011o\0" % (len(content) + (odd if odd < 8 else 0))
        header[136:148] = b"%011o\0" % 0
        header[156:157] = b"0057xgLKS125\0"[kind % 13 : kind % 13 + 1]
        header[257:265] = b"ustar  \0" if kind & 64 else b"ustar\x0000"
        if kind & 128:
            header[345:355] = name[100:110].ljust(10, b"p")
        out += bytes(header) + content + bytes(-len(content) % 512)
    return _tar(out)


def _described_zip(data: bytes) -> bytes:
    """Make a zip of a description: method, lengths and what it lies about, then name, extra field and content."""
    body = directory = b""
    members = at = 0
    while at + 6 <= len(data) and members < 12:
        method, name_length, extra_length, size, lie, amount = data[at : at + 6]
        at += 6
        name, at = data[at : at + name_length % 64], at + name_length % 64
        extra, at = data[at : at + extra_length % 32], at + extra_length % 32
        content, at = data[at : at + size], at + size
        kind = (0, 8, 12, 0, 8, 14)[method % 6]
        compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = {0: content, 8: compressor.compress(content) + compressor.flush(), 12: bz2.compress(content)}.get(
            kind, content
        )
        flags = (0x0800 if method & 64 else 0) | (0x0008 if method & 128 else 0) | (1 if lie == 1 else 0)
        crc, full = zlib.crc32(content) ^ (lie == 2), len(content) + (amount if lie == 3 else 0)
        length = len(packed) + (amount if lie == 4 else 0)
        offset = max(0, len(body) - (amount if lie == 5 else 0))
        mode = {6: 0o120777, 7: 0o040755, 8: 0o010644, 9: 0o104755}.get(lie, 0o100644)
        written = (0, 0, 0) if flags & 8 else (crc, length, full)
        local_name = name + b"x" if lie == 10 else name
        header = struct.pack("<4s5H3L2H", b"PK\3\4", 45, flags, kind, 0, 33, *written, len(local_name), len(extra))
        after = (b"PK\7\x08" if amount & 1 else b"") + struct.pack("<3L", crc, length, full) if flags & 8 else b""
        directory += struct.pack(
            "<4s6H3L5H2L", b"PK\1\2", 0x32D, 45, flags, kind, 0, 33, crc,
            *(0xFFFF_FFFF if lie == 11 else length, 0xFFFF_FFFF if lie == 12 else full),
            *(len(name), len(extra), 0, 0, 0, mode << 16, offset),
        ) + name + extra  # fmt: skip
        body += header + local_name + extra + packed + after
        members += 1
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, members, members, len(directory), len(body), 0)
    return body + directory + end


MAKERS: tuple[Callable[[bytes], bytes], ...] = (
    _plain,
    _described_zip,
    _tar,
    _short_tar,
    lambda data: gzip.compress(_tar(data), 1, mtime=0),
    lambda data: bz2.compress(_short_tar(data), 1),
    lambda data: lzma.compress(_short_tar(data), preset=0),
    lambda data: zstandard.ZstdCompressor(level=1, write_checksum=True).compress(_short_tar(data)),
    lambda data: gzip.compress(_short_tar(data), 1, mtime=0) + data[-40:],
)


def _tree_of(build: Callable[[io.BytesIO], None]) -> bytes:
    buffer = io.BytesIO()
    build(buffer)
    return buffer.getvalue()


def _zip(buffer: io.BytesIO) -> None:
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("images/1.jpg", b"x" * 300, zipfile.ZIP_DEFLATED)
        archive.writestr("images/ä.jpg", b"y" * 30, zipfile.ZIP_BZIP2)
        archive.writestr("folder/", b"")
        archive.writestr("__MACOSX/x", b"z")


def _tar_of(kind: int) -> Callable[[io.BytesIO], None]:
    def build(buffer: io.BytesIO) -> None:
        with tarfile.open(fileobj=buffer, mode="w", format=kind, bufsize=512) as tar:
            for name, content in (("images/1.jpg", b"x" * 300), ("n" * 120, b"long"), ("ä", b"")):
                header = tarfile.TarInfo(name)
                header.size = len(content)
                tar.addfile(header, io.BytesIO(content))

    return build


def seeds() -> Iterator[tuple[str, bytes]]:
    """Yield a name and an input for each small real archive and for some made ones."""
    suffixes = tuple(SUFFIXES)
    for path in sorted((ROOT / "tests" / "data" / "archives").rglob("*")):
        if path.name.endswith(suffixes) and path.is_file() and path.stat().st_size <= 3_000:
            content = path.read_bytes()
            yield f"{path.parent.name}-{path.name}", bytes([0x60, 0]) + content
            if path.suffix == ".tar":
                yield f"{path.parent.name}-{path.name}-packed", bytes([0x64, 0]) + content
    yield "made.zip", b"\x60\0" + _tree_of(_zip)
    for kind in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        try:
            tar = _tree_of(_tar_of(kind)).rstrip(b"\0")
        except ValueError:  # ustar has no room for a long name
            continue
        yield f"made-{kind}.tar", b"\x62\0" + tar
        yield f"made-{kind}.tgz", b"\x64\0" + tar
        whole = _tar(tar)
        for number, packed in enumerate((gzip.compress(whole), bz2.compress(whole), lzma.compress(whole))):
            yield f"made-{kind}-{number}", b"\x60\0" + packed
        yield f"made-{kind}.tzst", b"\x60\0" + zstandard.ZstdCompressor().compress(whole)
    for number in range(len(CODECS)):
        yield f"codec-{number}", bytes([0xE3, len(LIMITS) * number]) + b"\x00\x08\x01\0\xff\\ud800ax"
    for number in (3, 5, 6, 7, 8):
        members = b"\x01\x03\x02\0a/bhi" + b"\2\x02\0\0d/" + b"\3\x05\x0b\x0010 path=u\n" + b"\0\x01\x01\0cx"
        yield f"described-{number}", bytes([0x60 | number, 0]) + members
    zipped = b"\1\x03\0\x05\0\0a/bhello" + b"\x42\x04\0\x02\0\0\xc3\xa4/chi" + b"\x81\1\0\3\0\1xabc" + b"\0\2\0\0\7\0d/"
    yield "described-zip", b"\x61\0" + zipped


def check(data: bytes) -> None:
    """Unpack the archive in a folder of its own, and look at all that is there afterwards."""
    if len(data) < 2:
        return
    content = MAKERS[(data[0] & 15) % len(MAKERS)](data[2:])
    limits = LIMITS[data[1] % len(LIMITS)]
    codec = CODECS[data[1] // len(LIMITS) % len(CODECS)] if data[0] & 128 else None
    with tempfile.TemporaryDirectory(prefix="fuzz-archives-") as top:
        folder = Path(top, "a", "b")
        folder.mkdir(parents=True)
        archive = folder / NAMES[(data[0] >> 4) & 7]
        archive.write_bytes(content)
        known = is_archive(archive)
        out = folder / "out"
        try:
            report = unpack(archive, out, limits, name_encoding=codec)
        except SourceError as error:
            assert str(error).strip()
            assert repr(archive.name) in error.what
            assert list(folder.iterdir()) == [archive], "something is left behind"
        else:
            assert known, "what is no archive was unpacked"
            assert sorted(folder.iterdir()) == sorted([archive, out])
            _check_tree(out, report, limits, len(content))
            _check_contents(out, content, report)
            _check_in_place(archive, out, limits, codec)
        assert archive.read_bytes() == content
        assert [path.name for path in Path(top).iterdir()] == ["a"], "something lies outside of the folder"
        assert [path.name for path in Path(top, "a").iterdir()] == ["b"], "something lies outside of the folder"
        if out.exists():
            shutil.rmtree(out)


def _check_tree(out: Path, report: UnpackReport, limits: ArchiveLimits, packed: int) -> None:
    """Only plain files and folders, as many and as large as the report says, and no more than the limits allow."""
    files = size = others = 0
    for path in out.rglob("*"):
        mode = path.lstat().st_mode
        assert not mode & 0o7000, f"{path} has special permissions"
        if stat.S_ISREG(mode):
            assert not mode & 0o111, f"{path} is executable"
            files += 1
            size += path.lstat().st_size
        else:
            assert stat.S_ISDIR(mode), f"{path} is no file or folder"
            others += 1
    assert (files, size) == (report.files, report.bytes)
    assert files + report.junk <= limits.max_members
    assert size <= limits.max_bytes
    assert size <= max(limits.ratio_floor_bytes, limits.max_ratio * packed)
    assert others == 0 or files + others < 2_000


def _check_in_place(archive: Path, out: Path, limits: ArchiveLimits, codec: str | None) -> None:
    """What stays in the archive is where it is said to be, and with the rest it is what unpacking gives."""
    other = out.with_name("rest")
    staying = unpack(archive, other, limits, name_encoding=codec, stays=lambda _: True).staying.table().to_pylist()
    there = {path.relative_to(out): path.read_bytes() if path.is_file() else None for path in out.rglob("*")}
    rest = {path.relative_to(other): path.read_bytes() if path.is_file() else None for path in other.rglob("*")}
    for member in staying:
        name = Path(member["name"])
        assert name not in rest
        rest[name] = FilePart(archive, member["offset"], member["size"]).read_bytes()
    assert rest == there
    shutil.rmtree(other)


def _check_contents(out: Path, content: bytes, report: UnpackReport) -> None:
    """What the standard library finds under the same name is the same."""
    there = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    seen = 0
    try:
        if report.format == "zip":
            with zipfile.ZipFile(io.BytesIO(content)) as zipped:
                for info in zipped.infolist():
                    name = info.filename.removeprefix("./")
                    if name in there and not info.is_dir():
                        assert zipped.read(info) == there[name].read_bytes(), name
                        seen += 1
        elif report.format in ("tar", "tar.gz", "tar.bz2", "tar.xz"):
            with tarfile.open(fileobj=io.BytesIO(content)) as tar:
                for member in tar:
                    name = member.name.removeprefix("./")
                    stream = tar.extractfile(member) if member.isfile() else None
                    if stream is not None and name in there:
                        assert stream.read() == there[name].read_bytes(), name
                        seen += 1
    except AssertionError:
        raise
    except Exception:  # noqa: BLE001, S110  what the standard library cannot read proves nothing
        pass
    assert seen <= report.files
