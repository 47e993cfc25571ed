"""Perceptual hashes of pictures: the same for copies, far apart for others, and none where they would mislead."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pipeline.media.image import greys_of
from pipeline.media.picture_hash import HASH_BITS, LEAST_SIDE, NEAR_BITS, picture_hashes
from tests.checks.made_media import scene


def hashed(*pictures: Image.Image) -> list[bytes | None]:
    """Return the hashes of pictures."""
    return picture_hashes([greys_of(picture) for picture in pictures])


def apart(first: bytes | None, second: bytes | None) -> int:
    """Return how many bits differ."""
    assert first is not None
    assert second is not None
    return (int.from_bytes(first) ^ int.from_bytes(second)).bit_count()


def test_different_pictures_are_far_apart() -> None:
    """Half of the bits are set, and those of two pictures have nothing to do with each other."""
    found = hashed(*(scene(number) for number in range(60)))
    assert all(one is not None and int.from_bytes(one).bit_count() == HASH_BITS // 2 for one in found)
    distances = [apart(one, other) for number, one in enumerate(found) for other in found[:number]]
    assert min(distances) > 3 * NEAR_BITS
    assert abs(np.mean(distances) - HASH_BITS / 2) < 4


@pytest.mark.parametrize("size", [(64, 64), (100, 300), (161, 119), (700, 500), (33, 1000)])
def test_other_sizes_are_near(size: tuple[int, int]) -> None:
    """A picture of any size is near to itself in another."""
    for number in range(20):
        first, second = hashed(scene(number, (320, 240)), scene(number, (320, 240)).resize(size))
        assert apart(first, second) <= NEAR_BITS


@pytest.mark.parametrize("mode", ["L", "RGBA", "LA", "CMYK", "YCbCr", "I;16", "P", "HSV", "RGBX", "LAB"])
def test_other_modes_are_near(mode: str) -> None:
    """The same picture in another mode is near; a hash is never a reason to fail."""
    picture = scene(4)
    if mode == "I;16":
        grey = np.asarray(picture.convert("L")).astype(np.uint16) * 257
        other = Image.fromarray(grey)
    elif mode == "LAB":
        other = Image.merge("LAB", picture.split())
    else:
        other = picture.convert(mode)
    first, second = hashed(picture, other)
    assert other.mode == mode
    assert mode in ("HSV", "LAB") or apart(first, second) <= NEAR_BITS


@pytest.mark.parametrize("mode", ["I", "F"])
def test_unknown_ranges_have_no_hash(mode: str) -> None:
    """Values that may mean anything are not compared."""
    assert hashed(scene(1).convert("L").convert(mode)) == [None]


def test_little_has_no_hash() -> None:
    """Plain colours, slopes, figures on one ground, transparent ones too, and very small pictures have none."""
    slope = Image.fromarray(np.tile(np.linspace(0, 255, 200).astype(np.uint8), (200, 1)))
    figure = Image.new("RGB", (200, 200), "black")
    figure.paste(scene(1, (120, 120)), (40, 40))
    mask = Image.new("L", (200, 200))
    mask.paste(255, (20, 20, 120, 120))
    cut_out = scene(1, (200, 200)).copy()
    cut_out.putalpha(mask)
    small = scene(1, (LEAST_SIDE - 1, 200))
    bilevel = Image.new("1", (50, 50))
    found = hashed(Image.new("RGB", (99, 99), "teal"), slope, figure, cut_out, small, bilevel, scene(2))
    assert [one is None for one in found] == [True] * 6 + [False]


def test_many_are_hashed_like_each() -> None:
    """It does not matter which pictures are hashed together, and those that are none stay none."""
    pictures = [scene(number, (100 + 20 * number, 90)) for number in range(9)]
    greys = [greys_of(picture) for picture in pictures]
    assert picture_hashes([None, *greys, None]) == [None, *(picture_hashes([one])[0] for one in greys), None]
    assert picture_hashes([]) == []
