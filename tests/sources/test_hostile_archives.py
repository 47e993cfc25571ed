"""Archives built to do harm: each is refused with its reason, and nothing is written anywhere."""

from __future__ import annotations

import bz2
import gzip
import lzma
import signal
import stat
import struct
import subprocess
import sys
import tarfile
import time
import tracemalloc
import zlib
from pathlib import Path

import pytest
import zstandard
from unpacking import EndLie, Lie, assert_refused, deflated, files_below, header_of, tar_of, unpacked, zip_of

from pipeline.errors import SourceError, WorkspaceError
from pipeline.sources.archive import ArchiveLimits, is_archive, unpack

BAD_NAMES = [
    ("/etc/passwd", "absolute path"),
    ("//server/share", "absolute path"),
    ("C:/windows/x", "drive letter"),
    ("c:x", "drive letter"),
    ("../up", "climbs"),
    ("a/../../up", "climbs"),
    ("a/../b", "climbs"),
    ("..", "climbs"),
    ("a\nb", "control character"),
    ("a\x1b[2Jb", "control character"),
    ("a\x7fb", "control character"),
    ("a\x85b", "control character"),
    ("x" * 256, "255 bytes"),
    ("é" * 128, "255 bytes"),
    ("a/" * 101 + "b", "folders deep"),
    (f"{'x' * 250}/" * 9 + "b", "2048 bytes"),
    ("__MACOSX/../../up", "climbs"),
]


@pytest.mark.parametrize(
    ("name", "word"), [*BAD_NAMES, ("a\0b", "control character"), ("..\\up", "climbs"), ("", "no name")]
)
def test_bad_names_in_a_zip(name: str, word: str, tmp_path: Path) -> None:
    """A zip member that would leave its folder, or whose name no disk should see, is refused, with its name escaped."""
    error = assert_refused(zip_of(tmp_path / "a.zip", Lie(), Lie(name=name.encode(), flags=0x800)), word)
    assert error.what.isprintable()


@pytest.mark.parametrize(("name", "word"), [*BAD_NAMES, ("a\\b", "backslash")])
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_bad_names_in_a_tar(name: str, word: str, form: int, tmp_path: Path) -> None:
    """A tar member that would leave its folder is refused, also when an extension header gives its name."""
    data = header_of(name).tobuf(form)
    archive = tmp_path / "a.tar"
    archive.write_bytes(data + bytes(1024))
    assert_refused(archive, word)


@pytest.mark.parametrize(
    ("member", "word"),
    [
        (header_of("a", tarfile.SYMTYPE, linkname="/etc/passwd"), "symbolic link"),
        (header_of("a", tarfile.SYMTYPE, linkname="b"), "symbolic link"),
        (header_of("a", tarfile.LNKTYPE, linkname="/etc/passwd"), "hard link"),
        (header_of("a", tarfile.CHRTYPE, devmajor=1, devminor=5), "character device"),
        (header_of("a", tarfile.BLKTYPE, devmajor=8), "block device"),
        (header_of("a", tarfile.FIFOTYPE), "FIFO"),
        (header_of("a", tarfile.GNUTYPE_SPARSE), "sparse"),
        (header_of("a", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}), "sparse"),
        (header_of("a", pax_headers={"GNU.sparse.map": "0,1", "GNU.sparse.size": "99999999999"}), "sparse"),
        (header_of("a", pax_headers={"size": "-512"}), "size"),
        (header_of("a", pax_headers={"size": "nan"}), "size"),
        (header_of("a", pax_headers={"size": "9" * 30}), "size"),
        (header_of("a", b"V"), "type 'V'"),
        (header_of("a", tarfile.DIRTYPE, size=512), "declares 512"),
    ],
)
def test_other_kinds_of_members_in_a_tar(member: tarfile.TarInfo, word: str, tmp_path: Path) -> None:
    """Links, devices, FIFOs, sparse files and lying sizes in a tar are refused."""
    assert_refused(tar_of(tmp_path / "a.tar", ("fine.txt", b"fine"), member), word)


def test_writing_through_a_link(tmp_path: Path) -> None:
    """A link out of the folder and a file written through it reach nothing, in a tar as in a zip."""
    outside = tmp_path / "outside"
    outside.mkdir()
    folder = tmp_path / "in"
    folder.mkdir()
    link = header_of("door", tarfile.SYMTYPE, linkname=str(outside))
    assert_refused(tar_of(folder / "a.tar", link, ("door/x", b"x")), "symbolic link")
    door = Lie(name=b"door", data=bytes(outside), mode=stat.S_IFLNK | 0o777)
    assert_refused(zip_of(folder / "a.zip", door, Lie(name=b"door/x")), "symbolic link")
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    ("lie", "word"),
    [
        (Lie(flags=1), "encrypted"),
        (Lie(flags=0x41), "encrypted"),
        (Lie(method=99), "encrypted"),
        (Lie(method=9), "method 9"),
        (Lie(method=14), "method 14"),
        (Lie(mode=stat.S_IFCHR | 0o666), "device"),
        (Lie(mode=stat.S_IFIFO | 0o666), "FIFO"),
        (Lie(mode=stat.S_IFDIR | 0o755), "slash"),
        (Lie(name=b"folder/"), "has content"),
        (Lie(size=4), "longer than the 4 bytes"),
        (Lie(size=6), "shorter than the 6 bytes"),
        (Lie(size=4, crc=zlib.crc32(b"hell")), "longer"),
        (Lie(method=0, size=4), "stored"),
        (Lie(local_size=4), "contradicts"),
        (Lie(local_name=b"b.txt"), "contradicts"),
        (Lie(crc=1), "checksum"),
        (Lie(packed=b"\xff" * 20), "damaged compressed data"),
        (Lie(packed=deflated(b"hello")[:-2]), "truncated"),
        (Lie(packed=deflated(b"hello") + b"tail"), "foreign bytes"),
        (Lie(packed_size=10_000), "overlaps"),
        (Lie(offset=10_000), "no header"),
        (Lie(offset=7), "no header"),
        (Lie(size=0xFFFF_FFFF), "no ZIP64 field"),
        (
            Lie(size=0xFFFF_FFFF, extra=struct.pack("<HHQ", 1, 8, 5), local_extra=struct.pack("<HHQ", 1, 8, 6)),
            "contradicts",
        ),
        (
            Lie(size=0xFFFF_FFFF, extra=struct.pack("<HHQ", 1, 8, 6), local_extra=struct.pack("<HHQ", 1, 8, 6)),
            "shorter",
        ),
        (Lie(size=0xFFFF_FFFF, extra=struct.pack("<HHQ", 1, 8, 1 << 60)), "no ZIP64 field"),
        (Lie(flags=8, size=0xFFFF_FFFF, extra=struct.pack("<HHQ", 1, 8, 1 << 60)), "more than is left"),
        (Lie(flags=8), "data descriptor"),
        (Lie(flags=8, after=b"PK\7\x08" + struct.pack("<3L", zlib.crc32(b"hello"), 7, 6)), "data descriptor"),
        (Lie(name=b"\xb4\xed"), "not UTF-8"),
        (Lie(name=b"\xff", flags=0x800), "not UTF-8"),
    ],
    ids=str,
)
def test_lies_in_a_zip(lie: Lie, word: str, tmp_path: Path) -> None:
    """A zip member whose directory entry, header and bytes do not agree, or that is of another kind, is refused."""
    assert_refused(zip_of(tmp_path / "a.zip", lie), word)


@pytest.mark.parametrize(
    ("end", "word"),
    [
        (EndLie(members=2), "says 2"),
        (EndLie(members=0), "says 0"),
        (EndLie(directory_size=40), "not where"),
        (EndLie(directory_offset=3), "not where"),
        (EndLie(disk=1), "several parts"),
        (EndLie(before=b"junk"), "not where"),
        (EndLie(before=struct.pack("<4sLQL", b"PK\6\7", 0, 1 << 50, 1)), "points nowhere"),
        (EndLie(before=struct.pack("<4sLQL", b"PK\6\7", 0, 0, 1)), "points nowhere"),
        (
            EndLie(
                before=struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, 51, 2)
                + struct.pack("<4sLQL", b"PK\6\7", 0, 93, 1)
            ),
            "contradict",
        ),
    ],
    ids=str,
)
def test_lies_at_the_end_of_a_zip(end: EndLie, word: str, tmp_path: Path) -> None:
    """A zip whose end records lie about its directory is refused."""
    assert_refused(zip_of(tmp_path / "a.zip", Lie(), end=end), word)


def test_bytes_after_the_end(tmp_path: Path) -> None:
    """Foreign bytes after the end of an archive are refused; zero bytes after a tar are padding."""
    good = zip_of(tmp_path / "a.zip", Lie()).read_bytes()
    (tmp_path / "a.zip").write_bytes(good + b"x")
    assert_refused(tmp_path / "a.zip", "foreign bytes")
    tar = tar_of(tmp_path / "a.tar", ("a", b"1")).read_bytes()
    (tmp_path / "a.tar").write_bytes(tar + tar)
    assert_refused(tmp_path / "a.tar", "after its end marker")
    for suffix, compress in COMPRESS.items():
        archive = tmp_path / f"a.{suffix}"
        archive.write_bytes(compress(tar) + b"\0\0x")
        assert_refused(archive, "foreign bytes")
        archive.write_bytes(compress(tar) + b"tail" * 8)
        assert_refused(archive, "damaged")
    (tmp_path / "b.tgz").write_bytes(gzip.compress(tar + bytes(5000)) + bytes(5000))
    assert unpacked(tmp_path / "b.tgz").files == 1


def test_overlapping_members(tmp_path: Path) -> None:
    """Two members that share bytes are refused: that is how small zips become huge."""
    kernel = Lie(name=b"a", data=bytes(1000))
    assert_refused(zip_of(tmp_path / "a.zip", kernel, Lie(name=b"a", packed=b"", offset=0)), "overlaps")
    inner = zip_of(tmp_path / "b.zip", Lie(name=b"b")).read_bytes()
    quoted = inner[: inner.index(b"PK\1\2")]
    outer = Lie(name=b"c", data=quoted, method=0)
    inside = Lie(name=b"b", packed=b"", packed_size=7, offset=31)
    assert_refused(zip_of(tmp_path / "b.zip", outer, inside), "overlaps")


COMPRESS = {"tar.gz": gzip.compress, "tar.bz2": bz2.compress, "tar.xz": lzma.compress, "tar.zst": zstandard.compress}


@pytest.mark.parametrize("suffix", ["zip", *COMPRESS])
def test_bombs(suffix: str, tmp_path: Path) -> None:
    """Little that unpacks to much is refused at the ratio, soon and in little memory."""
    size = 300 << 20
    archive = tmp_path / f"bomb.{suffix}"
    if suffix == "zip":
        compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = b"".join(compressor.compress(bytes(1 << 20)) for _ in range(40)) + compressor.flush()
        zip_of(archive, Lie(packed=packed, size=size))
    else:
        # The header promises much; a shorter run of zeros does, since the ratio is what ends it.
        plain = header_of("bomb", size=size).tobuf() + bytes(40 << 20)
        archive.write_bytes(COMPRESS[suffix](plain))
    tracemalloc.start()
    assert_refused(archive, "bomb", ArchiveLimits(ratio_floor_bytes=8 << 20))
    assert tracemalloc.get_traced_memory()[1] < 80 << 20
    tracemalloc.stop()


def test_limits(tmp_path: Path) -> None:
    """Members, bytes and the ratio have limits that count what is really there; at the limit an archive is fine."""
    for suffix in ("zip", "tar"):
        archive = tmp_path / f"a.{suffix}"
        if suffix == "zip":
            zip_of(archive, Lie(name=b"a"), Lie(name=b"b"))
        else:
            tar_of(archive, ("a", b"hello"), ("b", b"hello"))
        assert_refused(archive, "max_members", ArchiveLimits(max_members=1))
        assert_refused(archive, "max_bytes", ArchiveLimits(max_bytes=9))
        assert unpack(archive, tmp_path / suffix, ArchiveLimits(max_members=2, max_bytes=10)).bytes == 10


def test_extension_headers_are_bounded(tmp_path: Path) -> None:
    """Huge, negative and endless extension headers of a tar neither fill the memory nor the stack."""
    archive = tmp_path / "a.tar"
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE):
        archive.write_bytes(header_of("x", kind, size=1 << 40).tobuf(tarfile.GNU_FORMAT))
        assert_refused(archive, "extension header")
    block = bytearray(header_of("x", tarfile.GNUTYPE_LONGNAME).tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\xff" * 12
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    archive.write_bytes(block)
    assert_refused(archive, "extension header of -")
    archive.write_bytes(header_of("x", tarfile.XHDTYPE).tobuf() * 5000 + header_of("x").tobuf() + bytes(1024))
    assert unpacked(archive).files == 1


@pytest.mark.parametrize(
    "pair",
    [
        ("a.txt", "a.txt"),
        ("a.txt", "./a.txt"),
        ("a.txt", "A.TXT"),
        ("straße", "STRASSE"),
        ("caf\u00e9/x", "cafe\u0301/x"),
        ("\u212bngstr\u00f6m", "\u00e5ngstr\u00f6m"),
        ("a", "a/b"),
        ("a/b", "a"),
        ("A", "a/b"),
        ("Dir/x", "dir"),
    ],
)
def test_collisions(pair: tuple[str, str], tmp_path: Path) -> None:
    """Two members that are one file on some disk, or a file where a folder is needed, are refused."""
    for archive in (
        zip_of(tmp_path / "a.zip", *(Lie(name=name.encode()) for name in pair)),
        tar_of(tmp_path / "a.tar", *((name, b"x") for name in pair)),
    ):
        error = assert_refused(archive, "")
        assert any(word in error.what for word in ("twice", "one file on a disk", "folder"))


def test_harmless_oddities(tmp_path: Path) -> None:
    """Folders named twice or in two cases, `./`, double slashes, junk and nested archives are fine; junk is counted."""
    nested = zip_of(tmp_path / "n.zip", Lie()).read_bytes()
    folder = header_of("d/", tarfile.DIRTYPE)
    tar_of(
        tmp_path / "a.tar",
        header_of("./", tarfile.DIRTYPE),
        folder,
        folder,
        ("./d//x", b"1"),
        ("D/y", b"2"),
        ("nested.zip", nested),
        ("__MACOSX/d/._x", b"junk" * 1000),
        ("d/.DS_Store", b"junk"),
        ("Thumbs.db", b"junk"),
    )
    report = unpacked(tmp_path / "a.tar")
    assert files_below(tmp_path / "out") == {"d/x": b"1", "D/y": b"2", "nested.zip": nested}
    assert (report.format, report.files, report.junk) == ("tar", 3, 3)


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    """Names in another encoding are refused with a hint, and read when the encoding is given; UTF-8 needs no flag."""
    gbk = "数据/猫.jpg".encode("gbk")
    zip_of(tmp_path / "a.zip", Lie(name=gbk), Lie(name="狗".encode()))
    assert "gbk" in assert_refused(tmp_path / "a.zip", "not UTF-8").hint
    unpacked(tmp_path / "a.zip", name_encoding="gbk")
    assert set(files_below(tmp_path / "out")) == {"数据/猫.jpg", "狗"}
    for encoding in ("no-such-codec", "ascii"):
        with pytest.raises(SourceError, match="neither UTF-8 nor"):
            unpack(tmp_path / "a.zip", tmp_path / "out2", ArchiveLimits(), name_encoding=encoding)


def test_unicode_path_field(tmp_path: Path) -> None:
    """The UTF-8 name that a zip tool adds for a name in another encoding is used when it belongs to that name."""
    gbk = "猫".encode("gbk")
    body = b"\1" + struct.pack("<L", zlib.crc32(gbk)) + "猫".encode()
    extra = struct.pack("<HH", 0x7075, len(body)) + body
    unpacked(zip_of(tmp_path / "a.zip", Lie(name=gbk, extra=extra)))
    assert set(files_below(tmp_path / "out")) == {"猫"}
    (tmp_path / "out").rename(tmp_path / "done")
    evil = b"\1" + struct.pack("<L", zlib.crc32(b"fine")) + b"../up"
    extra = struct.pack("<HH", 0x7075, len(evil)) + evil
    assert_refused(zip_of(tmp_path / "b.zip", Lie(name=b"fine", extra=extra)), "climbs")


def test_permissions_and_times_are_not_taken_over(tmp_path: Path) -> None:
    """Set-user-id bits, missing read bits and old dates of members do not reach the disk."""
    member = header_of("tool", mode=0o6111, mtime=1, uid=0)
    unpacked(tar_of(tmp_path / "a.tar", header_of("d", tarfile.DIRTYPE, mode=0o1000), ("d/x", b""), member))
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    found = (tmp_path / "out" / "tool").stat()
    assert found.st_mode == plain.stat().st_mode
    assert found.st_mtime > time.time() - 3600
    assert (tmp_path / "out" / "d" / "x").is_file()


def test_recognised_by_content(tmp_path: Path) -> None:
    """An archive is known by its content, a damaged one by its name, and a compressed JSON file is none."""
    tar = tar_of(tmp_path / "t", ("a", b"1")).read_bytes()
    (tmp_path / "misnamed.zip").write_bytes(zstandard.compress(tar))
    assert unpacked(tmp_path / "misnamed.zip").format == "tar.zst"
    cases = {
        "t": (tar, True),
        "labels.json.gz": (gzip.compress(b'{"a": 1}' * 200), False),
        "labels.json": (b"{}", False),
        "empty": (b"", False),
        "cut.tar.gz": (gzip.compress(tar)[:20], True),
        "page.zip": (b"<html>not found</html>", True),
    }
    for name, (data, expected) in cases.items():
        (tmp_path / name).write_bytes(data)
        assert is_archive(tmp_path / name) is expected
    assert not is_archive(tmp_path)
    assert not is_archive(tmp_path / "missing.zip")
    (tmp_path / "out").rename(tmp_path / "done")
    for name in ("labels.json", "page.zip", "cut.tar.gz", "missing.zip"):
        assert_refused(tmp_path / name, name)


def test_existing_destination_is_left_alone(tmp_path: Path) -> None:
    """A destination that exists, be it a link, is not touched, and a missing parent is said so."""
    archive = zip_of(tmp_path / "a.zip", Lie())
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("out", "link", "no/parent"):
        with pytest.raises(WorkspaceError):
            unpack(archive, tmp_path / name, ArchiveLimits())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "link", "out"]


UNPACK_LITTLE = """
import pathlib, resource, signal, sys
from pipeline.errors import WorkspaceError
from pipeline.sources.archive import ArchiveLimits, unpack

resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
if sys.argv[3] == "killed":
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
try:
    unpack(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), ArchiveLimits())
except WorkspaceError:
    sys.exit(3)
"""


@pytest.mark.parametrize("way", ["killed", "refused"])
def test_an_interrupted_run_leaves_no_trace(way: str, tmp_path: Path) -> None:
    """A killed run leaves no destination, and the next run tidies up; a full disk leaves nothing."""
    archive = tar_of(tmp_path / "a.tar", ("1.txt", b"1"), ("2.txt", b"2" * 100_000), ("3.txt", b"3"))
    command = [sys.executable, "-c", UNPACK_LITTLE, archive, tmp_path / "out", way]
    ended = subprocess.run(command, check=False, cwd=Path(__file__).parents[2]).returncode
    assert not (tmp_path / "out").exists()
    assert (tmp_path / ".out.unpacking").exists() == (way == "killed")
    assert ended == (-signal.SIGXFSZ if way == "killed" else WorkspaceError.exit_code)
    assert unpacked(archive).files == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "out"]
