"""What a probe finds out about an image or a video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["image", "video"]
NO_FRAMES = "there is a video stream in it, but no frame"
"""What is said of a video in which there is nothing to decode."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MediaFacts:
    """The facts of one medium; what a kind does not have, or what was not looked at, is None."""

    kind: Kind
    format: str
    """Image format or video container, lower case: jpeg, png, gif, mp4, mov, matroska, webm, avi, mpeg, 3gp …; unknown
    when nobody looked."""
    codec: str | None = None
    """Video codec by FFmpeg's codec name: h264, hevc, av1, vp9 … ; None for images."""
    width: int | None = None
    """Pixels as shown, after rotation."""
    height: int | None = None
    """Pixels as shown, after rotation."""
    rotation: int = 0
    """Degrees clockwise by which the stored picture is turned to be shown: 0, 90, 180 or 270."""
    frames: int | None = None
    """Video: packets of the stream that hold a frame; image: frames of an animation, else 1."""
    fps: float | None = None
    """Average frames per second."""
    duration: float | None = None
    """Seconds."""
    audio: bool = False
    """Has it sound?"""
    mode: str | None = None
    """Pillow's mode of an image (RGB, L, CMYK …) or the pixel format of a video (yuv420p …)."""
    exif_orientation: int | None = None
    """EXIF orientation 1 to 8 of an image, when it has one."""
    animated: bool = False
    """Is it an image of more than one frame?"""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> MediaFacts:
        """Return the facts that `to_json` wrote."""
        return cls(**value)
