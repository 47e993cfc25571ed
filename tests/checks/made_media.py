"""Pictures and clips made for the checks of media, and decoders that come to harm."""

from __future__ import annotations

import io
import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from PIL import Image

from pipeline.media import image as door

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.checks.media_orders import Look

SIZE = (160, 120)


def scene(number: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """Return a picture with something everywhere, which is another one for each number."""
    draw = np.random.default_rng(number)
    picture = np.zeros((96, 96, 3))
    for side in (2, 4, 8, 16, 32):
        patches = Image.fromarray(draw.integers(0, 256, (side, side, 3), np.uint8))
        picture += np.asarray(patches.resize((96, 96), Image.Resampling.BICUBIC), float) / 5
    return Image.fromarray(picture.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)


def saved(picture: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """Return a picture as a file."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def jpeg(number: int, size: tuple[int, int] = SIZE, **options: Any) -> bytes:
    """Return a scene as JPEG."""
    return saved(scene(number, size), "JPEG", **options)


def clip(
    frames: list[np.ndarray], *, rate: int = 24, kind: str = "mp4", codec: str = "libx264", **options: Any
) -> bytes:
    """Return a video of these frames."""
    file = io.BytesIO()
    with av.open(file, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=rate, options={name: str(value) for name, value in options.items()})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def pan(count: int, *, every: int = 1) -> list[np.ndarray]:
    """Return frames of a camera that turns by a pixel every so many frames."""
    wide = np.asarray(scene(1, (SIZE[0] + count // every, SIZE[1])))
    return [wide[:, number // every : number // every + SIZE[0]] for number in range(count)]


@contextmanager
def harmful_decoder() -> Iterator[None]:
    """Have a decoder that hangs, dies or asks for all memory when told so."""
    probe = door.probe_image

    def probed(data: bytes, *rest: Any, **options: Any) -> Any:
        if data.startswith(b"hang"):
            while True:
                signal.pause()
        if data.startswith(b"die"):
            os.kill(os.getpid(), signal.SIGSEGV)
        if data.startswith(b"grow"):
            bytearray(1 << 40)
        return probe(data, *rest, **options)

    door.probe_image = probed
    try:
        yield
    finally:
        door.probe_image = probe


def harmful_look(where: tuple[Any, ...], how: Look) -> Any:
    """Look at media like the job itself, with a decoder that comes to harm."""
    from pipeline.checks import media_jobs

    with harmful_decoder():
        return media_jobs.look(where, how)
