"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL: sides become multiples of a patch, within a budget of pixels; frames go in pairs.

After `Qwen2VLImageProcessor`, `Qwen2VLVideoProcessor`, `Qwen3VLVideoProcessor` and their processors in transformers
5.23. Limits are those of the released models' `preprocessor_config.json` and `video_preprocessor_config.json`. Each
medium stands between `<|vision_start|>` and `<|vision_end|>`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.tokens.family import Refused, Spent, VideoFacts, characters_of

MAX_RATIO = 200
"""One side of a picture may be so many times the other."""
AROUND = 2
"""`<|vision_start|>` and `<|vision_end|>`."""
AROUND_TIME = 3
"""`<`, ` seconds` and `>`, between which each character of a time is a token: `<12.5 seconds>`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QwenVL:
    """What the three have in common: images, and the limits of videos."""

    name: str
    models: tuple[str, ...]
    patch: int
    merge: int = 2
    """Patches a side that become one token."""
    pair: int = 2
    """Frames that become one, the `temporal_patch_size`."""
    image_pixels: tuple[int, int]
    """The fewest and the most pixels of an image."""
    video_pixels: tuple[int, int]
    """The same for a video: a frame's in Qwen2-VL and Qwen2.5-VL, all frames' together in Qwen3-VL."""
    fps: float = 2.0
    """Frames a second that are sampled; what the model cards and qwen-vl-utils take."""
    min_frames: int = 4
    max_frames: int = 768

    @property
    def factor(self) -> int:
        """Pixels a side that become one token."""
        return self.patch * self.merge

    def image(self, width: int, height: int) -> Spent:
        """Return what an image costs."""
        width, height = resized(width, height, self.factor, *self.image_pixels)
        return Spent(0, width * height, width * height // self.factor**2 + AROUND)


@dataclass(frozen=True, slots=True, kw_only=True)
class Qwen2VL(QwenVL):
    """Qwen2-VL and Qwen2.5-VL: each frame has a budget of its own."""

    patch: int = 14
    # preprocessor_config.json: min_pixels, max_pixels. Without a file for videos, transformers takes it for them too.
    image_pixels: tuple[int, int] = (3_136, 12_845_056)
    video_pixels: tuple[int, int] = (3_136, 12_845_056)
    capped: bool = False
    """`cap_pixels_per_frame`: does a video as a whole have a limit, too? Transformers warns while it is not given."""
    max_video_tokens: int = 128_000
    """Of which a capped video may take nine tenths."""

    def video(self, video: VideoFacts) -> Spent:
        """Return what a video costs."""
        frames = self._sampled(*video.timing())
        least, most = self.video_pixels
        if self.capped:
            total = int(self.max_video_tokens * self.factor * self.factor * 0.9)
            most = max(min(most, total * self.pair // frames), int(least * 1.05))
        width, height = resized(video.width, video.height, self.factor, least, most)
        pairs = -(-frames // self.pair)
        pixels = pairs * self.pair * width * height
        return Spent(frames, pixels, pairs * (width * height // self.factor**2) + AROUND)

    def _sampled(self, total: int, fps: float) -> int:
        most = min(self.max_frames, total) // self.pair * self.pair
        wanted = min(max(total / fps * self.fps, self.min_frames), most, total)
        frames = math.floor(wanted / self.pair) * self.pair
        if not frames:
            raise Refused(f"frames are sampled {self.pair} by {self.pair}, and it has {total:,}")
        return frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Qwen3VL(QwenVL):
    """Qwen3-VL: all frames share one budget, and every pair stands behind its time."""

    patch: int = 16
    image_pixels: tuple[int, int] = (65_536, 16_777_216)
    video_pixels: tuple[int, int] = (4_096, 25_165_824)
    capped: bool = False
    """`cap_pixels_per_frame`: does a frame have a limit, too? Transformers warns while it is not given."""
    max_video_tokens: int = 768
    """Those of a frame, when capped."""

    def video(self, video: VideoFacts) -> Spent:
        """Return what a video costs."""
        total, fps = video.timing()
        frames = min(max(int(total / fps * self.fps), self.min_frames), self.max_frames, total)
        width, height = self._resized(video.width, video.height, frames)
        pairs = -(-frames // self.pair)
        each = width * height // self.factor**2 + AROUND
        written = pairs * AROUND_TIME + characters_of(pairs, lambda pair: f"{self._time(pair, total, fps, frames):.1f}")
        return Spent(frames, pairs * self.pair * width * height, pairs * each + written + AROUND)

    def _time(self, pair: int, total: int, fps: float, frames: int) -> float:
        """Return the seconds that are written before a pair of frames."""
        last = frames - 1
        step = (total - 1) / last
        ends = (min(pair * self.pair, last), min(pair * self.pair + self.pair - 1, last))
        first, second = (round(total - 1 if place == last else place * step) / fps for place in ends)
        return (first + second) / 2

    def _resized(self, width: int, height: int, frames: int) -> tuple[int, int]:
        if frames < self.pair:
            raise Refused(f"a video needs {self.pair} frames, and it has {frames:,}")
        least, most = self.video_pixels
        if self.capped:
            frame = max(min(self.max_video_tokens * self.factor**2, most // frames), int(least * 1.05))
            most = frame * frames
        if width < self.factor or height < self.factor:
            scale = max(self.factor / height, self.factor / width)
            width, height = int(width * scale), int(height * scale)
        rounded = round(frames / self.pair) * self.pair
        return resized(width, height, self.factor, least, most, frames=frames, rounded=rounded)


def resized(
    width: int, height: int, factor: int, least: int, most: int, *, frames: int = 1, rounded: int = 1
) -> tuple[int, int]:
    """Return the sides that `smart_resize` gives: multiples of `factor`, with `least` to `most` pixels in all frames.

    Raises:
        Refused: the sides differ too much.
    """
    ratio = max(height, width) / min(height, width)
    if ratio > MAX_RATIO:
        raise Refused(f"one side is {ratio:,.2f} times the other, and {MAX_RATIO} times is the most")
    tall, wide = round(height / factor) * factor, round(width / factor) * factor
    if rounded * tall * wide > most:
        shrink = math.sqrt(frames * height * width / most)
        tall = max(factor, math.floor(height / shrink / factor) * factor)
        wide = max(factor, math.floor(width / shrink / factor) * factor)
    elif rounded * tall * wide < least:
        grow = math.sqrt(least / (frames * height * width))
        tall = math.ceil(height * grow / factor) * factor
        wide = math.ceil(width * grow / factor) * factor
    return wide, tall
