"""Cutting a clip out of a long video: to the frame, and the same bytes every time.

Writes files, so a process that runs this must be allowed to (`RLIMIT_FSIZE`).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.media.copy_packets import NotCopiedError, copy_packets, ways_to_copy
from pipeline.media.encode_frames import encode_frames
from pipeline.media.read_frame_index import with_index
from pipeline.media.span_bounds import span_bounds
from pipeline.workspace import writing

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.media.clip_file import Format, How
    from pipeline.media.frame_index import FrameIndex
    from pipeline.media.location import Location
    from pipeline.media.span import Span

_COPIES = 3
"""Key frames that are tried for a copy; not from all that are called so can be decoded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CutClip:
    """What was cut."""

    how: How
    format: Format
    frames: int
    start: float
    """Seconds of the source at which the first frame begins."""
    end: float
    """Seconds of the source at which the last frame ends."""
    audio: How | None
    """What became of the sound; None: there is none in the span."""


def cut_clip(source: Location, span: Span, destination: Path, *, exact: bool = True) -> CutClip:
    """Cut the frames out whose times lie in [start, end), and the sound beside them.

    The packets are copied where exactly these frames can be had so: the first is a key frame, and none in between needs
    one outside. The copy is then decoded whole, which proves it. Else the frames are encoded anew, as H.264 of the same
    size, times and colours. Not `exact`, a clip may begin and end as much further out as copying needs.

    Sound is copied from the first packet that begins inside to the last one, or encoded as AAC where the clip's format
    does not take its codec. Of several sounds the one that players choose is kept; subtitles and metadata are not.

    Raises:
        RowRejected: `clip.span`, `clip.empty` (no frame begins in it), `clip.encode` (there is no way to encode it), or
            a code of `probe_video`.
        WorkspaceError: the destination cannot be written.
    """

    def cut(index: FrameIndex) -> CutClip:
        frames = span_bounds(span, index).frames
        for way in itertools.islice(ways_to_copy(index, frames, exact=exact), _COPIES):
            try:
                audio = copy_packets(source, index, way, temporary)
            except NotCopiedError:
                continue
            return _facts(index, way.frames, "copied", way.format, audio)
        audio = encode_frames(source, index, frames, temporary)
        return _facts(index, frames, "encoded", "mp4", audio)

    with writing(destination) as temporary:
        return with_index(source, cut)


def _facts(index: FrameIndex, frames: range, how: How, format_: Format, audio: How | None) -> CutClip:
    start, end = float(index.time(frames.start)), float(index.time(frames.stop))
    return CutClip(how=how, format=format_, frames=len(frames), start=start, end=end, audio=audio)
