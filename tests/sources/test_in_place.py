"""Members that stay in their archive: found by the paths of rows as if they were files, and by nothing else."""

from __future__ import annotations

import hashlib
import io
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from unpacking import files_below

from pipeline.errors import RowRejected, SourceError
from pipeline.sources.archive import ArchiveLimits, unpack
from pipeline.sources.in_place import ArchiveInPlace, MemberInPlace, archive_of, read_index, write_index
from pipeline.sources.local import MediaRoot, expand, may_match

if TYPE_CHECKING:
    from collections.abc import Callable

TREE = {"images/1.jpg": b"one", "images/deep/2.jpg": b"two", "1.jpg": b"", "labels/rows.jsonl": b"{}", "ä/ß.png": b"x"}
LIMITS = ArchiveLimits()


def write_zip(path: Path, tree: dict[str, bytes]) -> Path:
    """Write a zip of stored members, with a folder of its own."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.mkdir("empty")
        for name, data in tree.items():
            archive.writestr(name, data)
    return path


def write_tar(path: Path, tree: dict[str, bytes]) -> Path:
    """Write a tar of members, with a folder of its own."""
    with tarfile.open(path, "w") as archive:
        folder = tarfile.TarInfo("empty")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, data in tree.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def opened(archive: Path, folder: Path, stays: Callable[[str], bool]) -> ArchiveInPlace:
    """Unpack an archive but for what stays, and return the rest."""
    report = unpack(archive, folder, LIMITS, stays=stays)
    return ArchiveInPlace(archive, sha256="", stat=archive.stat(), folder=folder, index=report.staying.table())


def outcome(media: MediaRoot, value: str, folder: Path) -> bytes | tuple[str, str]:
    """Return the bytes behind a path, or why there are none."""
    try:
        found = media.resolve(value)
    except RowRejected as error:
        return error.code, error.message.replace(str(folder), "FOLDER")
    if isinstance(found, MemberInPlace):
        data = found.location.read_bytes()
        assert found.sha256 == hashlib.sha256(data).hexdigest()
        return data
    return found.read_bytes()


PIECES = st.sampled_from(
    ["..", ".", "/", "\\", "images", "deep", "labels", "empty", "1.jpg", "2.jpg", "rows.jsonl", "Images", "ä", "ß.png"]
)
VALUES = st.lists(PIECES, min_size=1, max_size=7).map("/".join) | st.lists(PIECES, max_size=7).map("".join)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, list[ArchiveInPlace]]]:
    """Give a folder into which everything was unpacked, and folders of archives in which some or all of it stays."""
    top = tmp_path_factory.mktemp("worlds").resolve()
    zipped, tarred = write_zip(top / "a.zip", TREE), write_tar(top / "a.tar", TREE)
    folders = [top / name / "root" for name in ("whole", "zip", "tar")]
    for folder in folders:
        folder.parent.mkdir()
        (folder.parent / "1.jpg").write_bytes(b"outside")
    unpack(zipped, folders[0], LIMITS)
    some = opened(zipped, folders[1], lambda name: name.endswith("jpg"))
    every = opened(tarred, folders[2], lambda _: True)
    return list(zip(folders, [[], [some], [some, every]], strict=True))


@given(value=VALUES, base=st.sampled_from(["", "labels", "images/deep"]), wide=st.booleans())
@settings(max_examples=1000, deadline=None)
@example(value="images/1.jpg/", base="", wide=False)
@example(value="images/1.jpg/.", base="", wide=False)
@example(value="images/1.jpg/x", base="", wide=False)
@example(value="images/1.jpg/../1.jpg", base="", wide=False)
@example(value="..\\1.jpg", base="images/deep", wide=False)
@example(value="images\\1.jpg", base="", wide=False)
@example(value="../../1.jpg", base="labels", wide=True)
def test_paths_lead_where_they_would(
    value: str, base: str, wide: bool, worlds: list[tuple[Path, list[ArchiveInPlace]]]
) -> None:
    """Any path gives the bytes, or the code and the words, that it gives when all members are files."""
    found = [
        outcome(
            MediaRoot(base=folder / base, root=folder.parent if wide else folder, archives=archives),
            value,
            folder.parent,
        )
        for folder, archives in worlds
    ]
    assert found == [found[0]] * 3


def test_members_are_found(worlds: list[tuple[Path, list[ArchiveInPlace]]]) -> None:
    """What stays is in its archive, and not in the folder; the folders of all members are there."""
    (whole, _), (folder, (archive,)), (empty, (_, every)) = worlds
    assert set(archive.names) == {name for name in TREE if name.endswith("jpg")}
    assert set(every.names) == set(TREE)
    assert files_below(empty) == {}
    assert set(files_below(folder)) == set(TREE) - set(archive.names)
    assert outcome(MediaRoot(base=empty, root=empty, archives=[every]), "ä/ß.png", empty) == b"x"
    folders = [{path.relative_to(top) for path in top.rglob("*") if path.is_dir()} for top in (whole, folder, empty)]
    assert folders[0] == folders[1] == folders[2]


NAMES = st.lists(st.text(st.sampled_from("abA.*?[]!é"), min_size=1, max_size=3), min_size=1, max_size=3).map("/".join)
PATTERNS = st.lists(
    st.sampled_from(["**", "*", "*.a", "a*", "?", "[ab]*", "[!a]", "A", ".*", "é"])
    | st.text(st.sampled_from("abA.*?[]!é"), min_size=1, max_size=3),
    min_size=1,
    max_size=4,
).map("/".join)


@given(names=st.sets(NAMES, max_size=8), patterns=st.lists(PATTERNS, min_size=1, max_size=3))
@settings(max_examples=500, deadline=None)
@example(names={"[a]", "a"}, patterns=["[a]"])
@example(names={"a/b/a.a", "a.a"}, patterns=["**/*.a"])
def test_no_annotation_file_stays(names: set[str], patterns: list[str]) -> None:
    """Every file that patterns find in a folder is one that they may match."""
    with tempfile.TemporaryDirectory() as folder:
        for name in sorted(names):
            path = Path(folder, name)
            if path.parent.resolve().is_relative_to(Path(folder).resolve()) and not path.exists():
                try:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(b"")
                except OSError:  # a file where a folder is needed
                    continue
        for pattern in patterns:
            try:
                found = expand(Path(folder), [pattern])
            except SourceError:
                continue
            assert all(may_match(path.relative_to(folder).as_posix(), [pattern]) for path in found)


def test_what_stays_is_suggested(tmp_path: Path) -> None:
    """For a pattern that matches nothing, a name in the archive is suggested as well."""
    archive = opened(write_zip(tmp_path / "a.zip", TREE), tmp_path / "out", lambda _: True)
    with pytest.raises(SourceError, match=r"did you mean 'labels/rows\.jsonl'"):
        expand(tmp_path / "out", ["labels/row.jsonl"], others=archive.names)


def test_the_index_is_written_down(tmp_path: Path) -> None:
    """An index is read back as it was written, with the hash of its archive; a damaged one is none."""
    staying = unpack(write_tar(tmp_path / "a.tar", TREE), tmp_path / "out", LIMITS, stays=lambda _: True).staying
    path = tmp_path / "a.arrow"
    assert read_index(path) is None
    assert archive_of(path) is None
    write_index(path, staying, sha256="ab" * 32)
    assert archive_of(path) == "ab" * 32
    index = read_index(path)
    assert index is not None
    assert index.equals(staying.table())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert read_index(path) is None
    path.write_bytes(b"")
    assert read_index(path) is None
    assert archive_of(path) is None
