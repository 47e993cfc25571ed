"""What is wrong with one medium: told from what it is, what its row says of it, and how it is called."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from pipeline.checks.media_endings import ending_of, lies, usual_ending
from pipeline.errors import RowRejected
from pipeline.media.facts import NO_FRAMES
from pipeline.printable import escaped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.media.facts import Kind, MediaFacts
    from pipeline.media.look import Looked

_LONGEST = 200
"""Characters of a path or of a decoder's words that are shown."""
_TURNS = {
    2: "mirrors it",
    3: "turns it upside down",
    4: "mirrors it upside down",
    5: "mirrors it and turns it on its side",
    6: "turns it by 90 degrees",
    7: "mirrors it and turns it on its side",
    8: "turns it by 270 degrees",
}
"""EXIF orientation -> what is done to the stored picture to show it (Exif 2.32, tag 0x0112)."""

DECLARED = {
    "width": ("image_width", "img_width", "video_width", "frame_width", "width", "w"),
    "height": ("image_height", "img_height", "video_height", "frame_height", "height", "h"),
    "frames": ("num_frames", "n_frames", "nb_frames", "frame_count", "total_frames"),
    "fps": ("video_fps", "fps", "frame_rate"),
    "duration": ("video_duration", "duration", "duration_s", "duration_sec", "duration_seconds"),
}
"""What a row may say of its medium, and how the columns are called; the first that is there counts."""
OF_A_BOX = frozenset({"x", "y", "x0", "y0", "x1", "y1", "left", "top", "xmin", "ymin", "x_min", "y_min", "cx", "cy"})
"""Columns beside which widths and heights are those of a box in the picture."""
OF_A_PART = frozenset(
    {"start", "end", "begin", "start_time", "end_time", "start_sec", "end_sec", "start_frame", "end_frame", "offset"}
)
"""Columns beside which lengths are those of a part of the video."""
_FRAMES_OFF = 1
"""Frames that a row may be off: those who count by seconds and rate round."""
_FPS_OFF, _SECONDS_OFF, _SHARE_OFF = 0.51, 1.0, 0.05


class Found(NamedTuple):
    """Something wrong with a medium."""

    code: str
    message: str
    hint: str


@dataclass(slots=True, kw_only=True)
class Seen:
    """A medium that was looked at."""

    kind: Kind
    path: str | None
    looked: Looked
    is_declared: bool = True
    """Whether the features of the dataset say that it is an image or a video."""
    row: dict[str, float | None] = field(default_factory=dict)
    """What its row says of it, by the keys of DECLARED."""


def problems_of(seen: Seen) -> Iterator[Found]:
    """Yield what is wrong with a medium."""
    facts = seen.looked.facts
    if isinstance(facts, RowRejected):
        yield undecoded(seen.kind, facts)
        return
    if seen.row:
        yield from _other_than_said(seen, facts)
    if seen.looked.stands_still:
        message = f"the pictures of its {facts.frames:,} frames are the same"
        yield Found("SW504", message, "look at it: leave the row out, unless it is meant to stand still")
    turn = _TURNS.get(facts.exif_orientation) if facts.exif_orientation is not None else None
    # Pillow itself turns a TIFF when it decodes it
    if turn and facts.format != "tiff":
        message = f"its EXIF orientation is {facts.exif_orientation}: `datasets` {turn}, plain Pillow does not"
        yield Found("SW505", message, "turn the pixels themselves, as PIL.ImageOps.exif_transpose does, and save again")
    if seen.kind == "image" and facts.animated and seen.is_declared:
        what = "pages" if facts.format == "tiff" else "frames"
        message = f"this {facts.format} has {facts.frames:,} {what}, of which an image column shows the first"
        yield Found("SW506", message, "store the one that is meant, or make it a video column")
    if seen.path and lies(seen.path, facts.format):
        ending = ending_of(seen.path)
        message = f"the path {shown(seen.path)} ends with .{ending}, and the content is {facts.format}"
        yield Found("SW507", message, f"let it end with .{usual_ending(facts.format)}, or save the content again")


def undecoded(kind: Kind, rejected: RowRejected) -> Found:
    """Say why a medium does not decode."""
    words = shortened(rejected.message)
    fault = words if words.startswith(f"the {kind} ") else f"the {kind} does not decode: {words}"
    if rejected.code == "media.no_video" or rejected.message == NO_FRAMES:
        return Found("SW503", f"the video has 0 frames: {words}", "leave the row out, or put back the whole file")
    return Found("SW501", fault, "leave the row out, or put back the whole file")


def not_there(path: str | None, why: str) -> Found:
    """Say that a medium has neither bytes nor a file."""
    message = f"there are no bytes, and the path {shown(path)} {why}" if path else "there are neither bytes nor a path"
    return Found("SW508", message, "embed the bytes, or put the file where its path says, inside the dataset")


def shown(path: str) -> str:
    """Return a path as messages show it: a URL without what may be a secret in it."""
    scheme, colon, rest = path.partition("://")
    if colon:
        path = f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"
    return f"'{shortened(path)}'"


def shortened(text: str) -> str:
    """Return a text of strangers, on one line and not too long."""
    text = escaped(" ".join(text.split()))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _other_than_said(seen: Seen, facts: MediaFacts) -> Iterator[Found]:
    """Compare a medium with what its row says of it."""
    hint = "correct the row, or put back the medium that it is about"
    width, height = (_whole(seen.row.get(key)) for key in ("width", "height"))
    sizes = [(facts.width, facts.height)]
    if facts.rotation in (90, 270):
        sizes.append((facts.height, facts.width))
    if (width or height) and not any(width in (None, w) and height in (None, h) for w, h in sizes):
        said = " and ".join(f"{name} {size}" for name, size in (("width", width), ("height", height)) if size)
        message = f"the row says {said}, the {seen.kind} has {facts.width} x {facts.height}"
        yield Found("SW502", message, hint)
    if seen.kind != "video":
        return
    frames, fps, seconds = (seen.row.get(key) for key in ("frames", "fps", "duration"))
    if frames and frames > 0 and facts.frames and abs(frames - facts.frames) > _FRAMES_OFF:
        yield Found("SW502", f"the row says {frames:,.10g} frames, the video has {facts.frames:,}", hint)
    if fps and fps > 0 and facts.fps and abs(fps - facts.fps) > max(_FPS_OFF, _SHARE_OFF * facts.fps):
        yield Found("SW502", f"the row says {fps:.6g} frames per second, the video has {facts.fps:.6g}", hint)
    if seconds and seconds > 0 and facts.duration:
        off = max(_SECONDS_OFF, _SHARE_OFF * facts.duration)
        # milliseconds are no mistake
        if all(abs(said - facts.duration) > off for said in (seconds, seconds / 1000)):
            yield Found("SW502", f"the row says {seconds:.6g} seconds, the video has {facts.duration:.6g}", hint)


def _whole(value: float | None) -> int | None:
    """Return a size in pixels; what cannot be one says nothing."""
    return int(value) if value is not None and 0 < value < 1 << 31 and value == int(value) else None
