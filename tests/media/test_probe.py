"""Probes against real files whose facts were measured by decoding them to the end."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
import warnings
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.errors import RowRejected
from pipeline.media.facts import MediaFacts
from pipeline.media.probe import hash_bytes, hash_file, probe

MEDIA = Path(__file__).parents[1] / "data" / "media"

IMAGES = {
    # file: format, width, height, rotation, frames, mode, exif orientation
    "hopper_gray.jpg": ("jpeg", 128, 128, 0, 1, "L", None),
    "hopper_orientation_6.jpg": ("jpeg", 128, 128, 90, 1, "RGB", 6),
    "orientation_rectangle.jpg": ("jpeg", 1, 2, 270, 1, "RGB", 8),
    "pil_sample_cmyk.jpg": ("jpeg", 100, 100, 0, 1, "CMYK", 1),
    "jpeg.jpg": ("jpeg", 1, 1, 0, 1, "L", None),
    "transparent.webp": ("webp", 200, 150, 0, 1, "RGBA", None),
    "g4_orientation_6.tif": ("tiff", 590, 88, 90, 1, "1", 6),
    "mode_16bit.png": ("png", 128, 64, 0, 3, "RGBA", None),
    "hopper_bad_exif.jpg": ("jpeg", 500, 500, 0, 1, "L", 1),  # Pillow warns
}

VIDEOS = {
    # file: container, codec, width, height, rotation, frames, frames a second, seconds, audio
    "video_0.mov": ("mov", "h264", 568, 320, 0, 3, 30.0, 0.1, False),
    "video_90.mov": ("mov", "h264", 320, 568, 90, 3, 30.0, 0.1, False),
    "h265_video.mp4": ("mp4", "hevc", 128, 128, 0, 10, 10.0, 1.0, False),
    "av1_video.mkv": ("matroska", "av1", 640, 360, 0, 125, 25.0, 5.0, False),
    "test_video_66x50.mov": ("mov", "h264", 66, 50, 0, 82, 60.0, 1.367, False),  # the header says 87
    "fixture.mov": ("mov", "h264", 268, 156, 0, 5, 60.0, 0.083, False),  # the header says 25 frames, 34.88 a second
    "bitmap.mp4": ("mp4", "h264", 1, 1, 0, 5, 1.0, 5.0, False),
    "sample_fragmented.mp4": ("mp4", "h264", 1280, 720, 0, 10, 10.0, 1.0, True),
    "transparent.webm": ("webm", "vp9", 200, 200, 0, 150, 30.0, 5.0, True),
    "unordered.mov": ("mov", "h264", 50, 50, 0, 4, 32.0, 0.125, False),
    "webm.webm": ("webm", "vp8", 8, 8, 0, 1, 1.0, 1.0, False),
    "corrupted.mp4": ("mp4", "h264", 1280, 720, 0, 50, 10.0, 5.0, False),  # decoding stops at frame 28
}

REFUSED = {
    ("truncated_jpeg.jpg", "image"): "media.decode",
    ("broken_data_stream.png", "image"): "media.decode",
    ("decompression_bomb.gif", "image"): "media.bomb",
    ("decompression_bomb.gif", "video"): "media.decode",
    ("broken.png", "image"): "media.kind",
    ("video_0.mov", "image"): "media.kind",
    ("zero_bytes.webm", "image"): "media.empty",
    ("zero_bytes.webm", "video"): "media.empty",
    ("video_without_video_stream.mp4", "video"): "media.no_video",
    ("AudioVideoInterleave.avi", "video"): "media.decode",
    ("fixture-isomv2.mp4", "video"): "media.decode",
    ("hopper_gray.jpg", "video"): "media.kind",
    ("mode_16bit.png", "video"): None,
}


@pytest.mark.parametrize("name", IMAGES)
def test_image_facts(name: str) -> None:
    """Format, upright size, rotation, frames, mode and orientation of real images are found, from a path or bytes."""
    facts = probe(MEDIA / name, "image")
    found = (facts.format, facts.width, facts.height, facts.rotation, facts.frames, facts.mode, facts.exif_orientation)
    assert found == IMAGES[name]
    assert facts.animated == (facts.frames != 1)
    assert probe((MEDIA / name).read_bytes(), "image") == facts


@pytest.mark.parametrize("name", VIDEOS)
def test_video_facts(name: str) -> None:
    """Container, codec, upright size, frames that really come, seconds and sound are found, from a path or bytes."""
    facts = probe(MEDIA / name, "video")
    *exact, rate, seconds, audio = VIDEOS[name]
    found = [facts.format, facts.codec, facts.width, facts.height, facts.rotation, facts.frames]
    assert found == exact
    assert facts.audio is audio
    assert facts.fps == pytest.approx(rate)
    assert facts.duration == pytest.approx(seconds, abs=0.002)
    assert probe((MEDIA / name).read_bytes(), "video") == facts


@pytest.mark.parametrize(("name", "kind"), REFUSED)
def test_refused(name: str, kind: str) -> None:
    """What is empty, damaged, a bomb, or of the other kind is rejected by its code."""
    code = REFUSED[name, kind]
    if code is None:
        assert probe(MEDIA / name, kind).codec == "apng"  # FFmpeg reads an animated PNG as a video, and it is one
        return
    with pytest.raises(RowRejected) as refused:
        probe(MEDIA / name, kind)
    assert refused.value.code == code
    assert refused.value.message


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile video_0.mov\n",
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\nvideo_0.mov\n#EXT-X-ENDLIST\n",
        (
            "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
            "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
        ),
        "only words\n" * 100,
    ],
    ids=["concat", "hls", "sdp", "text"],
)
@pytest.mark.parametrize("ending", ["mp4", "txt", "m3u8"])
def test_playlists_and_texts_are_no_videos(tmp_path: Path, text: str, ending: str) -> None:
    """What only names other files or addresses, or FFmpeg would draw as letters, is refused at once by any name."""
    (tmp_path / "video_0.mov").write_bytes((MEDIA / "video_0.mov").read_bytes())
    path = tmp_path / f"a.{ending}"
    path.write_text(text)
    before = time.monotonic()
    with pytest.raises(RowRejected) as refused:
        probe(path, "video")
    assert refused.value.code in ("media.kind", "media.decode")
    assert time.monotonic() - before < 2


@pytest.mark.parametrize("name", ["video_90.mov", "av1_video.mkv", "transparent.webm", "sample_fragmented.mp4"])
def test_facts_belong_to_the_bytes(tmp_path: Path, name: str) -> None:
    """A video has the same facts under a name that lies."""
    path = tmp_path / "concat:a|b.txt"
    path.write_bytes((MEDIA / name).read_bytes())
    assert probe(path, "video") == probe(MEDIA / name, "video")


@pytest.mark.parametrize("kind", ["image", "video"])
def test_unreadable_file(tmp_path: Path, kind: str) -> None:
    """A file that cannot be read is missing, which says nothing against its bytes."""
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(RowRejected) as refused:
            probe(path, kind)
        assert refused.value.code == "media.missing"


def test_programs_are_no_images() -> None:
    """EPS, which Pillow hands to Ghostscript to run, is not an image here."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "EPS")
    with pytest.raises(RowRejected) as refused:
        probe(file.getvalue(), "image")
    assert refused.value.code == "media.kind"


def test_phone_picture_with_a_preview_is_one_jpeg() -> None:
    """A JPEG with a second picture behind it (MPO) is a JPEG of one frame."""
    file = io.BytesIO()
    Image.new("RGB", (8, 4)).save(file, "MPO", save_all=True, append_images=[Image.new("RGB", (2, 2))])
    facts = probe(file.getvalue(), "image")
    assert (facts.format, facts.width, facts.height, facts.frames, facts.animated) == ("jpeg", 8, 4, 1, False)


@pytest.mark.parametrize("name", ["hopper_gray.jpg", "pil_sample_cmyk.jpg", "transparent.webp"])
def test_truncated_images_are_refused(name: str) -> None:
    """An image that stops early, even by a tenth, is refused."""
    data = (MEDIA / name).read_bytes()
    for part in (0.3, 0.6, 0.9):
        with pytest.raises(RowRejected):
            probe(data[: int(len(data) * part)], "image")


def test_probing_is_silent() -> None:
    """Neither FFmpeg nor Pillow writes a word, and the filters of warnings stay as they were."""
    before = list(warnings.filters)
    probe(MEDIA / "hopper_bad_exif.jpg", "image")
    assert list(warnings.filters) == before
    code = (
        "import sys, pathlib\n"
        "from pipeline.errors import RowRejected\n"
        "from pipeline.media.probe import probe\n"
        "for path in pathlib.Path(sys.argv[1]).iterdir():\n"
        "    for kind in ('image', 'video'):\n"
        "        try: probe(path, kind)\n"
        "        except RowRejected: pass\n"
    )
    done = subprocess.run([sys.executable, "-c", code, MEDIA], capture_output=True, check=True, cwd=MEDIA.parents[2])
    assert (done.stdout, done.stderr) == (b"", b"")


def test_store_opens_no_foreign_door() -> None:
    """The store and the dispatch of probes load neither Pillow nor FFmpeg."""
    code = "import sys, pipeline.media.store; print([name for name in ('av', 'PIL') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=MEDIA.parents[2])
    assert done.stdout.strip() == b"[]"


FACTS = st.builds(
    MediaFacts,
    **{
        name: st.from_type(kind).filter(lambda value: value == value)  # noqa: PLR0124 - not a number is no fact
        for name, kind in get_type_hints(MediaFacts).items()
    },
)


@given(FACTS)
def test_facts_round_trip(facts: MediaFacts) -> None:
    """Facts written as JSON text come back equal, and every field is written."""
    written = facts.to_json()
    assert set(written) == {field.name for field in fields(MediaFacts)}
    assert MediaFacts.from_json(json.loads(json.dumps(written))) == facts


def test_hashes() -> None:
    """A file and its bytes have the same hash."""
    path = MEDIA / "video_0.mov"
    data = path.read_bytes()
    assert hash_file(path) == (hash_bytes(data), len(data))
