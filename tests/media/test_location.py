"""Media that are parts of a file: read, probed and cut like files that hold nothing else."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import RowRejected, SourceError
from pipeline.media.cut_clip import cut_clip
from pipeline.media.examine import examine
from pipeline.media.location import FilePart, Location, file_of, location_of
from pipeline.media.probe import hash_bytes, hash_file, probe
from pipeline.media.sample_frames import sample_frames
from pipeline.media.span import Span
from pipeline.media.store import MediaStore
from tests.project import MEDIA

if TYPE_CHECKING:
    from pipeline.media.facts import Kind

NAMES = sorted(path.name for path in MEDIA.iterdir() if path.suffix != ".md")
PATHS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).map(lambda t: f"/{t}")
COUNTS = st.integers(0, 1 << 62)


def within(folder: Path, data: bytes, *, before: bytes = b"\xff\xd8\xff ftyp \x1a\x45\xdf\xa3" * 37) -> FilePart:
    """Write a file with some bytes in the middle of others, which look like media as well."""
    path = folder / "archive"
    path.write_bytes(before + data + before)
    return FilePart(path, len(before), len(data))


@given(PATHS, COUNTS, COUNTS)
def test_text_says_the_location(path: str, offset: int, size: int) -> None:
    """A file and a part of it are read back from their text, and never taken for each other."""
    whole, part = Path(path), FilePart(Path(path), offset, size)
    assert location_of(str(whole)) == whole
    assert location_of(str(part)) == part
    assert file_of(whole) == file_of(part) == whole
    assert location_of(f"/1+2:{path}") == Path(f"/1+2:{path}")


STEPS = st.one_of(
    st.tuples(st.just("read"), st.integers(-1, 60)),
    st.tuples(st.just("readinto"), st.integers(0, 60)),
    st.tuples(st.just("seek"), st.tuples(st.integers(-60, 60), st.sampled_from([0, 1, 2]))),
)


@given(data=st.binary(max_size=50), around=st.binary(max_size=9), steps=st.lists(STEPS, max_size=12))
@settings(deadline=None)
def test_reads_like_a_file(data: bytes, around: bytes, steps: list[tuple[str, Any]]) -> None:
    """Whatever is read and sought, a part gives what a file of the same bytes gives, and nothing beyond its ends."""
    with tempfile.TemporaryDirectory() as folder:
        part = within(Path(folder), data, before=around)
        assert part.read_bytes() == data
        assert hash_file(part) == (hash_bytes(data), len(data))
        with part.open("rb", buffering=0) as file, io.BytesIO(data) as right:
            for what, value in steps:
                if what == "read":
                    assert file.read(value) == right.read(value)
                elif what == "readinto":
                    mine, its = bytearray(value), bytearray(value)
                    assert file.readinto(mine) == right.readinto(its)
                    assert mine == its
                elif right.tell() * (value[1] == 1) + len(data) * (value[1] == 2) + value[0] >= 0:
                    assert file.seek(*value) == right.seek(*value)
                else:
                    with pytest.raises(OSError, match="Invalid argument"):
                        file.seek(*value)
                assert file.tell() == right.tell()


@pytest.mark.parametrize("name", NAMES)
def test_is_examined_like_a_file(name: str, tmp_path: Path) -> None:
    """Every image and video of the tests has the same hash, and the same facts or reason, inside of another file."""
    part = within(tmp_path, (MEDIA / name).read_bytes())
    for kind in ("image", "video"):
        for depth in ("header", "decode"):
            assert examine(str(part), kind, depth, None) == examine(str(MEDIA / name), kind, depth, None)


def facts(source: Location, kind: Kind) -> object:
    """Return what a probe says."""
    try:
        return probe(source, kind, "all_frames")
    except RowRejected as error:
        return error.code, error.message


@pytest.mark.parametrize("name", ["fixture.mkv", "chaplin.mp4", "gif.gif", "jpeg.jpg", "corrupted.mp4"])
def test_every_frame_of_it(name: str, tmp_path: Path) -> None:
    """Decoded to its last frame, it is the same as well."""
    part = within(tmp_path, (MEDIA / name).read_bytes())
    kind: Kind = "image" if name.endswith(("gif", "jpg")) else "video"
    assert facts(part, kind) == facts(MEDIA / name, kind)


@pytest.mark.parametrize(
    "name", ["nasa_13013.mp4", "av1_video.mkv", "chaplin.mp4", "big_buck_bunny_432_433.webm", "testvideo-43.avi"]
)
@pytest.mark.parametrize("exact", [True, False])
def test_is_cut_like_a_file(name: str, exact: bool, tmp_path: Path) -> None:
    """Clips and frames out of a video inside of another file are the bytes that they are out of a file."""
    part = within(tmp_path, (MEDIA / name).read_bytes())
    span = Span(start_frame=2, end_frame=7)
    results = []
    for number, source in enumerate([MEDIA / name, part]):
        folder = tmp_path / str(number)
        folder.mkdir()
        cut = cut_clip(source, span, folder / "clip", exact=exact)
        frames = sample_frames(source, folder, count=3, span=span)
        results.append((cut, [frame.number for frame in frames], [hash_file(p)[0] for p in sorted(folder.iterdir())]))
    assert results[0] == results[1]


def test_file_that_ends_too_early(tmp_path: Path) -> None:
    """A part that is not all there is an error, whoever reads it, and never a shorter medium."""
    data = (MEDIA / "nasa_13013.mp4").read_bytes()
    part = within(tmp_path, data)
    os.truncate(part.path, part.offset + part.size - 1)
    with pytest.raises(OSError, match="ends too early"):
        part.read_bytes()
    with MediaStore(tmp_path / "cache") as store, pytest.raises(SourceError, match="changed since it was cached"):
        store.read_into(hash_bytes(data), part, memoryview(bytearray(part.size)))
    part.path.unlink()
    assert examine(str(part), "image", "decode", None)[2] == "media.missing"
    with pytest.raises(RowRejected) as rejected:
        cut_clip(part, Span(), tmp_path / "clip")
    assert rejected.value.code == "media.missing"
    with pytest.raises(RowRejected, match="cannot be read"):
        probe(part, "video")


def test_the_store_reads_parts(tmp_path: Path) -> None:
    """A part is read into a buffer and checked; a damaged archive of the store is set aside, one elsewhere is left."""
    part = within(tmp_path, b"medium")
    buffer = bytearray(6)
    with MediaStore(tmp_path / "cache") as store:
        store.read_into(hash_bytes(b"medium"), part, memoryview(buffer))
        assert buffer == b"medium"
        with pytest.raises(SourceError, match=r"archive \(in it the 6 bytes from .* changed since it was cached"):
            store.read_into(hash_bytes(b"Medium"), part, memoryview(buffer))
        assert part.path.is_file()
        sha256 = store.put(b"an archive with a medium in it")
        inside = FilePart(store.object_path(sha256), 18, 6)
        store.read_into(hash_bytes(b"medium"), inside, memoryview(buffer))
        inside.path.write_bytes(b"an archive with a Medium in it")
        with pytest.raises(SourceError, match="changed since it was cached"):
            store.read_into(hash_bytes(b"medium"), inside, memoryview(buffer))
        assert [path.name for path in inside.path.parent.iterdir()] == [f"{sha256}.damaged"]
        with pytest.raises(SourceError, match="cannot be read any more"):
            store.read_into(hash_bytes(b"medium"), inside, memoryview(buffer))
