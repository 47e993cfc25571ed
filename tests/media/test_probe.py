"""Probes against real files whose facts were measured by decoding them to the end."""

from __future__ import annotations

from pathlib import Path

import pytest

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
}

VIDEOS = {
    # file: container, codec, width, height, rotation, frames, seconds, audio
    "video_0.mov": ("mov", "h264", 568, 320, 0, 3, 0.1, False),
    "video_90.mov": ("mov", "h264", 320, 568, 90, 3, 0.1, False),
    "h265_video.mp4": ("mp4", "hevc", 128, 128, 0, 10, 1.0, False),
    "av1_video.mkv": ("webm", "av1", 640, 360, 0, 125, 5.0, False),
    "test_video_66x50.mov": ("mov", "h264", 66, 50, 0, 82, 1.367, False),  # the header says 87
    "fixture.mov": ("mov", "h264", 268, 156, 0, 5, 0.083, False),  # the header says 25
    "bitmap.mp4": ("mp4", "h264", 1, 1, 0, 5, 5.0, False),
    "sample_fragmented.mp4": ("mp4", "h264", 1280, 720, 0, 10, 1.0, True),
    "transparent.webm": ("webm", "vp9", 200, 200, 0, 150, 5.0, True),
    "unordered.mov": ("mov", "h264", 50, 50, 0, 4, 0.125, False),
    "webm.webm": ("webm", "vp8", 8, 8, 0, 1, None, False),
    "corrupted.mp4": ("mp4", "h264", 1280, 720, 0, 50, 5.0, False),  # decoding stops at frame 28
}

REFUSED = {
    ("truncated_jpeg.jpg", "image"): "media.decode",
    ("decompression_bomb.gif", "image"): "media.bomb",
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
    *exact, seconds, audio = VIDEOS[name]
    found = [facts.format, facts.codec, facts.width, facts.height, facts.rotation, facts.frames]
    assert found == exact
    assert facts.audio is audio
    assert (facts.duration is None) == (seconds is None)
    if seconds is not None:
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


def test_facts_round_trip() -> None:
    """Facts written as JSON come back equal."""
    facts = probe(MEDIA / "video_90.mov", "video")
    assert MediaFacts.from_json(facts.to_json()) == facts


def test_hashes() -> None:
    """A file and its bytes have the same hash."""
    path = MEDIA / "video_0.mov"
    data = path.read_bytes()
    assert hash_file(path) == (hash_bytes(data), len(data))
