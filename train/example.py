"""What passes between the rooms of training: a row, its example with decoded media, and the example as tensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.errors import ShardwrightError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


class TrainError(ShardwrightError):
    """A training that cannot begin or go on: what of which row, model or setting is wrong, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRef:
    """Which row of a dataset it is; what every error and every record of a run says."""

    number: int
    """0-based, in its split."""
    shard: str
    """POSIX path in the dataset."""
    row: int
    """0-based, in the shard."""
    id: str = ""
    """The value of the id column, where there is one."""

    def __str__(self) -> str:
        named = f" ({self.id})" if self.id else ""
        return f"{self.shard} row {self.row}{named}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSize:
    """An image of which only the size is known."""

    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FramesSize:
    """The frames of a video that a model will be shown, before they are decoded."""

    width: int
    height: int
    """Of each frame, as it will be given to the processor."""
    numbers: tuple[int, ...]
    """0-based numbers of the chosen frames in the video, rising."""
    total: int
    """All frames of the video."""
    fps: float
    """Frames a second of the video; `numbers[i] / fps` is what a processor takes for the time of a frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image as it is given to a processor."""

    pixels: np.ndarray
    """[height, width, 3] of uint8, upright, RGB."""

    @property
    def size(self) -> ImageSize:
        """Its size."""
        return ImageSize(width=self.pixels.shape[1], height=self.pixels.shape[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """Chosen frames of a video as they are given to a processor."""

    pixels: np.ndarray
    """[frames, height, width, 3] of uint8, upright, RGB."""
    numbers: tuple[int, ...]
    total: int
    fps: float

    @property
    def size(self) -> FramesSize:
        """Its size."""
        _, height, width, _ = self.pixels.shape
        return FramesSize(width=width, height=height, numbers=self.numbers, total=self.total, fps=self.fps)


Medium = Image | Frames | ImageSize | FramesSize
"""A decoded medium, or only its size, from which the length of an example is computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One message: texts and media in the order in which the model sees them."""

    role: str
    """`system`, `user` or `assistant`."""
    parts: tuple[str | Medium, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A row as a conversation."""

    row: RowRef
    turns: tuple[Turn, ...]

    @property
    def media(self) -> list[Medium]:
        """All media, in order."""
        return [part for turn in self.turns for part in turn.parts if not isinstance(part, str)]


@dataclass(slots=True, kw_only=True)
class Encoded:
    """An example as tensors, alone: nothing is padded, and there is no batch dimension but where `media` has one."""

    row: RowRef
    input_ids: Tensor
    """[length] of int64; placeholders of media are expanded."""
    labels: Tensor
    """[length] of int64: the token itself where the assistant speaks, else -100."""
    token_types: Tensor | None = None
    """[length] of int64, `mm_token_type_ids`, where the family has them."""
    media: dict[str, Tensor] = field(default_factory=dict)
    """What the model takes beside the ids for this example alone, by the name of its parameter, as the processor gives
    it (`pixel_values`, `image_grid_thw`, …)."""

    @property
    def length(self) -> int:
        """Tokens, media included."""
        return int(self.input_ids.shape[0])
