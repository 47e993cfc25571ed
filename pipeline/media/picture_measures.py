"""What is measured of the pixels of a picture: how bright it is, and how sharp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.media.image import grey_picture, greys_of
from pipeline.media.picture_hash import picture_hashes

LONGEST_SIDE = 512
"""Pixels to which the longer side is scaled down before sharpness is measured, since it depends on the size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureMeasures:
    """The measures of one picture; None where there are none."""

    brightness: float | None
    """Mean of the greys (ITU-R BT.601), 0 to 255."""
    sharpness: float | None
    """Variance of the Laplacian."""
    hash: str | None
    """Its perceptual hash, as hexadecimal digits."""


def measured_picture(image: Any) -> PictureMeasures:
    """Return the measures of a picture, which is one of Pillow's."""
    (found,) = picture_hashes([greys_of(image)])
    grey = grey_picture(image, LONGEST_SIDE)
    if grey is None:
        return PictureMeasures(brightness=None, sharpness=None, hash=found.hex() if found else None)
    width, greys = grey
    pixels = np.frombuffer(greys, np.uint8).reshape(-1, width)
    return PictureMeasures(
        brightness=float(pixels.mean()), sharpness=variance_of_laplacian(pixels), hash=found.hex() if found else None
    )


def variance_of_laplacian(pixels: np.ndarray) -> float | None:
    """Return how sharp greys are: the variance of the sum of four neighbours less four times the pixel between them.

    The focus measure LAPV of Pertuz, Puig and Garcia ("Analysis of focus measure operators for shape-from-focus",
    2013), after Pech-Pacheco et al. (2000), over the pixels that have four neighbours; None where there are none. It is
    computed of whole numbers, thus the same on every machine.
    """
    if min(pixels.shape) < 3:
        return None
    grey = pixels.astype(np.int64)
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    laplacian = around - 4 * grey[1:-1, 1:-1]
    count, total, squares = laplacian.size, int(laplacian.sum()), int((laplacian * laplacian).sum())
    return (count * squares - total * total) / (count * count)
