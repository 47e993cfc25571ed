"""Probes: what they refuse by rule, and what they leave alone. Real files: `test_real_media`; odd: `test_odd_*`."""

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
    assert refused.value.code == "media.kind"
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
