"""Brightness, sharpness and standing still: values by hand, real pictures and clips, and what cannot be measured."""

from __future__ import annotations

import io
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from pipeline.errors import RowRejected, SourceError
from pipeline.media import measured_media
from pipeline.media.bounded import Limits
from pipeline.media.examiners import Examiners
from pipeline.media.image import grey_picture
from pipeline.media.measured_media import MeasuredMedia, ToMeasure
from pipeline.media.picture_measures import measured_picture, variance_of_laplacian
from pipeline.media.probe import hash_file
from tests.checks.made_media import clip, pan, scene
from tests.project import MEDIA

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.media.facts import Kind
    from pipeline.media.measured_media import What
    from tests.project import Project

ONE_SPLIT = {"configs": {"default": {"splits": {"train": {"files": "*.jsonl"}}, "split_by": {"group": "none"}}}}


def _picture(pixels: Any) -> Image.Image:
    return Image.fromarray(np.array(pixels, np.uint8))


def test_variance_of_laplacian_by_hand() -> None:
    """One white pixel on black: in its 3 x 3 the middle gives -4 * 255, and each neighbour 255."""
    grey = np.zeros((5, 5), np.uint8)
    grey[2, 2] = 255
    values = [0, 255, 0, 255, -1020, 255, 0, 255, 0]
    assert variance_of_laplacian(grey) == pytest.approx(np.var(values))
    assert variance_of_laplacian(np.full((5, 5), 90, np.uint8)) == 0
    assert variance_of_laplacian(np.zeros((2, 9), np.uint8)) is None


def test_a_picture_is_scaled_down_and_never_up() -> None:
    """The longer side is 512 at the most, and every grey is the mean of what it covers."""
    stripes = _picture(np.tile([[0, 255]], (8, 1024)))
    width, greys = grey_picture(stripes, 512) or (0, b"")
    assert (width, len(greys)) == (512, 512 * 2)
    assert set(greys) <= {127, 128}
    width, greys = grey_picture(_picture([[1, 2], [3, 4]]), 512) or (0, b"")
    assert (width, list(greys)) == (2, [1, 2, 3, 4])
    assert grey_picture(Image.new("F", (8, 8)), 512) is None


def test_brightness_of_modes() -> None:
    """What is transparent is white; a picture of 16 bits is as bright as one of 8."""
    assert measured_picture(Image.new("RGB", (8, 8), (255, 255, 255))).brightness == 255
    assert measured_picture(Image.new("RGBA", (8, 8), (0, 0, 0, 0))).brightness == 255
    assert measured_picture(Image.new("CMYK", (8, 8), (0, 0, 0, 255))).brightness == 0
    sixteen = Image.fromarray(np.full((8, 8), 128 << 8, np.uint16))
    assert measured_picture(sixteen).brightness == pytest.approx(128, abs=1)
    assert measured_picture(Image.new("I", (8, 8))).brightness is None


def test_blur_lowers_sharpness_of_a_real_picture() -> None:
    """The more a photograph is blurred the less sharp it is, at whatever quality it is saved."""
    with Image.open(MEDIA / "hopper_gray.jpg") as image:
        photo = image.convert("RGB")
    levels = [
        measured_picture(photo.filter(ImageFilter.GaussianBlur(radius))).sharpness or 0 for radius in (0, 1, 2, 4)
    ]
    assert levels == sorted(levels, reverse=True)
    assert levels[0] > 10 * levels[2]


def _measured(root: Path, path: Path, kind: Kind, what: What, frames: int | None = None) -> Any:
    sha256, size = hash_file(path)
    order = ToMeasure(path=str(path), kind=kind, what=what, size=size, sha256=sha256, frames=frames)
    with Examiners(1) as examiners, MeasuredMedia(root / "cache", examiners) as known:
        return known.of([order], kind, what)[sha256]


def test_real_clips(tmp_path: Path) -> None:
    """Frames of a clip are measured, and whether anything moves; the same is remembered without decoding again."""
    video = tmp_path / "clip.mov"
    shutil.copy(MEDIA / "video_0.mov", video)
    measured = _measured(tmp_path, video, "video", "pixels")
    assert measured["brightness"] > 0
    assert measured["sharpness"] > 0
    assert len(measured["hashes"]) == 3  # as many as there are frames
    assert _measured(tmp_path, video, "video", "motion", frames=3) == {"static": False}
    sha256, size = hash_file(video)
    video.write_bytes(b"\0" * size)
    with Examiners(1) as examiners, MeasuredMedia(tmp_path / "cache", examiners) as known:
        order = ToMeasure(path=str(video), kind="video", what="pixels", size=size, sha256=sha256, frames=None)
        assert known.of([order], "video", "pixels") == {sha256: measured}
        with pytest.raises(SourceError, match="changed since it was cached"):
            known.of([order], "image", "pixels")


def test_what_cannot_be_measured(tmp_path: Path) -> None:
    """A damaged medium says why, in words, and this is remembered as well."""
    for name, kind in (("truncated_jpeg.jpg", "image"), ("zero_bytes.webm", "video")):
        found = _measured(tmp_path, MEDIA / name, kind, "pixels")  # type: ignore[arg-type]
        assert isinstance(found, RowRejected)
        assert found.code.startswith("media.")
        again = _measured(tmp_path, MEDIA / name, kind, "pixels")  # type: ignore[arg-type]
        assert (again.code, again.message) == (found.code, found.message)


def test_limits_of_pixels_in_a_build(project: Project) -> None:
    """Blurred, dark and damaged images are left out by name, each with its measure; the distribution is told."""
    with Image.open(MEDIA / "hopper_gray.jpg") as image:
        photo = image.convert("RGB")
    photo.save(project.source / "sharp.png")
    photo.filter(ImageFilter.GaussianBlur(4)).save(project.source / "blurred.png")
    photo.point(lambda value: value // 8).save(project.source / "dark.png")
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG")
    (project.source / "cut.jpg").write_bytes(buffer.getvalue()[:2_000])
    Image.new("F", (64, 64)).save(project.source / "floats.tiff")
    names = ["sharp.png", "blurred.png", "dark.png", "cut.jpg", "floats.tiff"]
    project.rows("rows.jsonl", [{"image": name} for name in names])
    steps = [{"image": {"min_brightness": 40}}, {"image": {"min_sharpness": 100}}]
    project.write(ONE_SPLIT | {"curate": steps, "media": {"image": {"probe": "header"}}}, {"image": "image"})
    report = project.build(upto="curate")
    rejected = {row["line"]: (row["reason"], row["message"]) for row in project.rejected()}
    assert set(rejected) == {2, 3, 4, 5}
    assert rejected[2][0] == "curate.image.min_sharpness"
    assert rejected[2][1].startswith("blurred.png: sharpness is ")
    assert rejected[3][0] == "curate.image.min_brightness"
    assert rejected[4][0] == "media.decode"
    assert rejected[4][1].startswith("cut.jpg: it cannot be measured: ")
    assert rejected[5] == ("curate.image.min_brightness", "floats.tiff: its brightness is unknown")
    table = [line.split() for line in report.stages[-1].table]
    assert table[1] == ["default:"]
    assert table[2][:6] == ["1", "image", "5", "3", "brightness", table[2][5]]
    assert table[3][:5] == ["2", "image", "2", "1", "sharpness"]
    dark, blurred = (float(row[1].partition(" is ")[2].partition(",")[0]) for row in (rejected[3], rejected[2]))
    assert [float(table[2][5]), float(table[3][5])] == pytest.approx([dark, blurred], rel=1e-4)
    assert project.build(upto="curate").stages[-1].table == report.stages[-1].table


def test_static_clips_in_a_build(project: Project) -> None:
    """`static: false` leaves out a clip in which nothing moves, and one too short to move stays."""
    still = np.asarray(scene(3))
    (project.source / "still.mp4").write_bytes(clip([still] * 16))
    (project.source / "moves.mp4").write_bytes(clip(pan(16)))
    shutil.copy(MEDIA / "video_0.mov", project.source / "short.mov")
    names = ["still.mp4", "moves.mp4", "short.mov"]
    project.rows("rows.jsonl", [{"video": name} for name in names])
    project.write(ONE_SPLIT | {"curate": [{"video": {"static": False, "max_brightness": 250}}]}, {"video": "video"})
    project.build(upto="curate")
    assert [(row["line"], row["reason"], row["message"]) for row in project.rejected()] == [
        (1, "curate.video.static", "still.mp4: static is True, wanted is False")
    ]


def test_harm_stays_in_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A medium that hangs or kills its decoder costs itself, and the next build tries it again."""
    monkeypatch.setattr(measured_media, "JOB", "tests.curation.harmful_measure:measure")
    orders = []
    for name in ("hang.png", "die.png"):
        (tmp_path / name).write_bytes(name.encode())
        sha256, size = hash_file(tmp_path / name)
        orders.append(
            ToMeasure(path=str(tmp_path / name), kind="image", what="pixels", size=size, sha256=sha256, frames=None)
        )
    with Examiners(2, Limits(seconds=0.5)) as examiners, MeasuredMedia(tmp_path / "cache", examiners) as known:
        found = known.of(orders, "image", "pixels")
        assert [getattr(found[order.sha256], "code", None) for order in orders] == ["media.timeout", "media.crash"]
        assert known.remembered(list(found), "image", "pixels") == {}
