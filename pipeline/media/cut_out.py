"""Cutting an excerpt out of a video, in a bounded process."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import RowRejected, WorkspaceError
from pipeline.media.bounded_worker import may_write
from pipeline.media.cut_clip import cut_clip
from pipeline.media.examine import guarded
from pipeline.media.excerpt import Excerpt, Piece
from pipeline.media.location import location_of
from pipeline.media.probe import hash_file
from pipeline.media.sample_frames import sample_frames

if TYPE_CHECKING:
    from pipeline.media.location import Location

_ENDINGS = {"mp4": "mp4", "matroska": "mkv", "jpeg": "jpg", "png": "png"}


def cut_out(path: str, text: str, folder: str) -> tuple[Any, ...]:
    """Write the pieces of an excerpt into a folder.

    Returns them, or the code and message of why there are none, or what the disk says and its `errno`.
    """

    def work() -> Any:
        try:
            return _pieces(location_of(path), Excerpt.from_text(text), Path(folder))
        except WorkspaceError as error:
            return error.__cause__
        except OSError as error:
            return error

    with may_write():
        found = guarded(work)
    if isinstance(found, RowRejected):
        return None, found.code, found.message, None
    if isinstance(found, OSError):
        return None, None, found.strerror, found.errno
    return [asdict(piece) for piece in found], None, None, None


def _pieces(source: Location, excerpt: Excerpt, folder: Path) -> list[Piece]:
    folder.mkdir(parents=True, exist_ok=True)
    frames = excerpt.frames
    if frames is None:
        clip = folder / "clip"
        cut = cut_clip(source, excerpt.span, clip, exact=excerpt.exact)
        suffix = f"_{_short(cut.start)}-{_short(cut.end)}.{_ENDINGS[cut.format]}"
        return [Piece(sha256=hash_file(clip)[0], suffix=suffix, how=cut.how, file=clip.name)]
    sampled = sample_frames(
        source,
        folder,
        count=frames.count,
        per_second=frames.per_second,
        span=excerpt.span,
        most=frames.most,
        picture=frames.picture,
    )
    return [
        Piece(
            sha256=hash_file(frame.path)[0],
            suffix=f"_{frame.number:06d}.{_ENDINGS[frames.picture]}",
            how="sampled",
            file=frame.path.name,
        )
        for frame in sampled
    ]


def _short(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".")
