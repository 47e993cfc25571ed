"""What holds for every archive, whatever is in it."""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st
from unpacking import files_below, left_in_place, refusal, tar_of, unpacked

from pipeline.errors import SourceError
from pipeline.sources.archive import is_archive
from pipeline.sources.members import folded

if TYPE_CHECKING:
    from collections.abc import Callable

PARTS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), min_size=1, max_size=20
).filter(lambda part: part not in {".", "..", ".DS_Store", "Thumbs.db", "__MACOSX"} and part[1:2] != ":")
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)


def disjoint(paths: dict[str, bytes]) -> bool:
    """Say whether no path is another one, or a folder of another one, on a case-insensitive disk."""
    keys = [folded(path) for path in paths]
    return len(set(keys)) == len(keys) and not any(b.startswith(f"{a}/") for a in keys for b in keys)


TREES = st.dictionaries(PATHS, st.binary(max_size=3000), max_size=6).filter(disjoint)


def write_zip(path: Path, tree: dict[str, bytes]) -> None:
    """Write a zip as the standard library does, seekable and stored or deflated or bzip2."""
    with zipfile.ZipFile(path, "w") as archive:
        for at, (name, data) in enumerate(tree.items()):
            method = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)[at % 3]
            archive.writestr(name, data, compress_type=method)


class Pipe(io.RawIOBase):
    """A file that cannot seek: zipfile then writes data descriptors."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.write_bytes(b"")

    def writable(self) -> bool:
        """Say yes."""
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Append to the file."""
        with self._path.open("ab") as file:
            return file.write(data)


def write_streamed_zip(path: Path, tree: dict[str, bytes]) -> None:
    """Write a zip to a pipe, with data descriptors, every other one in ZIP64 form."""
    with zipfile.ZipFile(Pipe(path), "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[arg-type]
        for at, (name, data) in enumerate(tree.items()):
            with archive.open(name, "w", force_zip64=at % 2 == 1) as member:
                member.write(data)


def tar_bytes(tree: dict[str, bytes], kind: int) -> bytes:
    """Return a tar in one of the formats of the standard library."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as tar:
        for name, data in tree.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    return buffer.getvalue()


def write_pax_tar(path: Path, tree: dict[str, bytes]) -> None:
    """Write a tar with pax headers."""
    path.write_bytes(tar_bytes(tree, tarfile.PAX_FORMAT))


def write_gnu_tar(path: Path, tree: dict[str, bytes]) -> None:
    """Write a tar with GNU long names."""
    path.write_bytes(tar_bytes(tree, tarfile.GNU_FORMAT))


def write_tar_gz(path: Path, tree: dict[str, bytes]) -> None:
    """Write a tar in two gzip streams, one after the other."""
    data = tar_bytes(tree, tarfile.PAX_FORMAT)
    path.write_bytes(gzip.compress(data[:700]) + gzip.compress(data[700:]))


def write_tar_zst(path: Path, tree: dict[str, bytes]) -> None:
    """Write a tar in two zstd frames with checksums."""
    data = tar_bytes(tree, tarfile.GNU_FORMAT)
    compressor = zstandard.ZstdCompressor(write_checksum=True)
    path.write_bytes(compressor.compress(data[:700]) + compressor.compress(data[700:]))


def write_tar_bz2(path: Path, tree: dict[str, bytes]) -> None:
    """Write a tar.bz2."""
    tar_of(path, *tree.items(), mode="w:bz2")


def write_tar_xz(path: Path, tree: dict[str, bytes]) -> None:
    """Write a tar.xz."""
    tar_of(path, *tree.items(), mode="w:xz")


WRITERS = [
    write_zip,
    write_streamed_zip,
    write_pax_tar,
    write_gnu_tar,
    write_tar_gz,
    write_tar_zst,
    write_tar_bz2,
    write_tar_xz,
]


@pytest.mark.parametrize("write", WRITERS)
@given(tree=TREES)
@settings(max_examples=25, deadline=None)
@example(tree={"深い/名前 ä.txt": b"x" * 2000, "a" * 200 + "/" + "é" * 120: b"", "b": b"\0" * 1024})
def test_trees_come_back_byte_for_byte(write: Callable[[Path, dict[str, bytes]], None], tree: dict[str, bytes]) -> None:
    """Any tree packed by other tools comes back with the same names and bytes."""
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "archive")
        write(archive, tree)
        if tree:
            assert is_archive(archive)
        else:
            archive = archive.rename(archive.with_name(f"archive{SUFFIX_OF[write]}"))
        report = unpacked(archive)
        assert files_below(Path(folder, "out")) == tree
        assert (report.files, report.bytes) == (len(tree), sum(map(len, tree.values())))
        assert len(report.staying) == 0


@pytest.mark.parametrize("write", [write_zip, write_pax_tar, write_gnu_tar, write_tar_gz])
@given(tree=TREES, data=st.data())
@settings(max_examples=40, deadline=None)
@example(tree={"深い/名前 ä.txt": b"x" * 2000, "a" * 200 + "/" + "é" * 120: b"", "b": b"\0" * 1024}, data=None)
def test_what_stays_is_the_same(
    write: Callable[[Path, dict[str, bytes]], None], tree: dict[str, bytes], data: st.DataObject | None
) -> None:
    """Whatever may stay in an archive, names and bytes are those that unpacking gives."""
    may_stay = set(tree) if data is None else data.draw(st.sets(st.sampled_from(sorted(tree)))) if tree else set()
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, f"archive{SUFFIX_OF[write]}")
        write(archive, tree)
        assert left_in_place(archive, stays=may_stay.__contains__) == tree
        there = set(files_below(Path(folder, "out")))
        compressed = {name for at, name in enumerate(tree) if at % 3} if write is write_zip else set()
        assert there == (set(tree) if write is write_tar_gz else set(tree) - may_stay | compressed)


SUFFIX_OF = dict(zip(WRITERS, [".zip", ".zip", ".tar", ".tar", ".tgz", ".tar.zst", ".tar.bz2", ".tar.xz"], strict=True))
SAMPLE = {"images/1.jpg": bytes(range(256)) * 3, "labels.json": b'{"1.jpg": "cat"}' * 9, "n" * 120: b"long"}
CHANGES = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True), st.sampled_from(["set", "insert", "cut", "copy"]), st.binary(max_size=6)
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("write", WRITERS)
@given(changes=CHANGES)
@settings(max_examples=150, deadline=None)
def test_damage_is_refused_or_harmless(
    write: Callable[[Path, dict[str, bytes]], None], changes: list[tuple[float, str, bytes]]
) -> None:
    """An archive with random damage unpacks into its folder or is refused, and never leaves anything elsewhere."""
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "a", "b", f"archive{SUFFIX_OF[write]}")
        archive.parent.mkdir(parents=True)
        write(archive, SAMPLE)
        data = archive.read_bytes()
        for where, what, payload in changes:
            at = int(where * len(data))
            if what == "set":
                data = data[:at] + payload + data[at + len(payload) :]
            elif what == "insert":
                data = data[:at] + payload + data[at:]
            elif what == "cut":
                data = data[:at] + data[at + 100 * len(payload) :]
            else:
                data = data[:at] + data[at // 2 : at // 2 + 600] + data[at:]
        archive.write_bytes(data)
        try:
            unpacked(archive)
        except SourceError as error:
            why = str(error)
            assert list(archive.parent.iterdir()) == [archive]
            assert refusal(archive) == why
            assert list(archive.parent.iterdir()) == [archive]
        else:
            out = archive.parent / "out"
            found = files_below(out)
            folders = {path for path in out.rglob("*") if path.is_dir()}
            shutil.rmtree(out)
            assert left_in_place(archive) == found
            assert {path for path in out.rglob("*") if path.is_dir()} == folders
        assert [path.name for path in Path(folder).iterdir()] == ["a"]
        assert [path.name for path in Path(folder, "a").iterdir()] == ["b"]


@pytest.mark.parametrize("write", WRITERS)
def test_every_truncation_is_refused(write: Callable[[Path, dict[str, bytes]], None], tmp_path: Path) -> None:
    """An archive that is cut anywhere is refused."""
    archive = tmp_path / f"archive{SUFFIX_OF[write]}"
    write(archive, SAMPLE)
    data = archive.read_bytes()
    # A tar may lack the padding after its end marker of one block.
    last = len(data.rstrip(b"\0")) if archive.suffix == ".tar" else len(data) - 1
    for length in {*range(0, last, max(1, last // 60)), last}:
        archive.write_bytes(data[:length])
        with pytest.raises(SourceError):
            unpacked(archive)
    assert list(tmp_path.iterdir()) == [archive]
