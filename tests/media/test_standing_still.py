"""Videos that stand still are told from those that move ever so little."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.errors import RowRejected
from pipeline.media.standing_still import LEAST_FRAMES, MOST_IN_ORDER, stands_still
from tests.checks.made_media import clip, pan, scene
from tests.project import MEDIA

STILL, OTHER = (np.asarray(scene(number, (320, 240))) for number in (1, 2))


@pytest.mark.parametrize(
    "how",
    [
        {"crf": 18},
        {"crf": 30, "g": 12},
        {"codec": "libvpx-vp9", "kind": "webm", "b": 200_000, "g": 12},
        {"codec": "mpeg2video", "kind": "mpegts", "q": 3},
        {"codec": "mjpeg", "kind": "avi"},
    ],
)
def test_one_picture_in_any_codec(how: dict[str, Any]) -> None:
    """What encoders make of one picture is the same picture."""
    assert stands_still(clip([STILL] * 48, **how), 48)


def test_noise_of_a_sensor_is_no_motion() -> None:
    """A little noise on one picture is no motion."""
    draw = np.random.default_rng(0)
    frames = [np.clip(STILL + draw.normal(0, 3, STILL.shape), 0, 255).astype(np.uint8) for _ in range(24)]
    assert stands_still(clip(frames, crf=23), 24)


def _spot(number: int, size: int) -> np.ndarray:
    frame = STILL.copy()
    frame[100 : 100 + size, 20 + 3 * number : 20 + 3 * number + size] = 255
    return frame


MOVING = {
    "a slow camera": lambda: pan(40, every=4),
    "a small thing": lambda: [_spot(number, 6) for number in range(40)],
    "a slow fade": lambda: [(STILL * (1 - number / 200)).astype(np.uint8) for number in range(40)],
    "one other frame of four": lambda: [OTHER if number % 4 == 0 and number else STILL for number in range(40)],
    "the last frame": lambda: [STILL] * 39 + [OTHER],
    "beyond those in order": lambda: [STILL] * (MOST_IN_ORDER + 20) + [OTHER] * 60,
}


@pytest.mark.parametrize("name", MOVING)
def test_motion_is_seen(name: str) -> None:
    """Slow, small, late: it moves."""
    frames = MOVING[name]()
    assert not stands_still(clip(frames, crf=26), len(frames))


def test_short_ones_have_no_time_to_move() -> None:
    """Fewer frames say nothing."""
    assert not stands_still(clip([STILL] * (LEAST_FRAMES - 1)), LEAST_FRAMES - 1)
    assert stands_still(clip([STILL] * LEAST_FRAMES), LEAST_FRAMES)


def test_files_and_bytes_are_alike() -> None:
    """A real clip of a test card stands still, in a file as in memory."""
    path = MEDIA / "testvideo-43.avi"
    assert stands_still(path, 10)
    assert stands_still(path.read_bytes(), 10)
    assert not stands_still(MEDIA / "chaplin.mp4", 241)


def test_what_cannot_be_decoded_is_not_said_to_stand_still() -> None:
    """Damage is told as such."""
    with pytest.raises((RowRejected, OSError, ValueError)):
        stands_still(b"no video", 10)
