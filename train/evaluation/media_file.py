"""Pictures and videos of people, as a model is shown the media of a dataset.

What a file is, is found out in bounded processes, so that one that harms a decoder costs nothing but itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.checks.media_endings import kind_of
from pipeline.errors import RowRejected, UsageError
from pipeline.media.location import FilePart
from train.example import Frames, Image
from train.feed.decoded_image import decoded_image
from train.feed.decoded_video import decoded_video
from train.feed.fitted_size import check_pixels, fitted
from train.feed.frame_sampling import FrameSampling
from train.feed.media_record import MediaRecord
from train.feed.packed_frame_index import unpacked
from train.settings import DataSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from pipeline.media.bounded import BoundedProcesses
    from pipeline.media.facts import Kind
    from pipeline.media.location import Location
    from train.runs.known_run import KnownRun

JOB = "train.feed.jobs:look_at_file"


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A file that is said to be a picture or a video."""

    path: Location
    """Where it is; within an archive that holds it as it is, too."""
    kind: Kind

    @property
    def size(self) -> int:
        """Bytes; 0 where it cannot be read."""
        try:
            return self.path.size if isinstance(self.path, FilePart) else self.path.stat().st_size
        except OSError:
            return 0

    @property
    def patience(self) -> float:
        """How many times longer than others it may take to look at it."""
        return 1.0

    def arguments(self) -> list[Any]:
        """Return what the job is called with."""
        return [str(self.path if isinstance(self.path, FilePart) else self.path.absolute()), self.kind]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """How much of a medium a model is shown."""

    frames: FrameSampling
    longest_side: int | None = None
    """Pixels to which larger pictures and frames shrink."""


def shown_by(run: KnownRun | None, changed: dict[str, Any]) -> Shown:
    """Return how much a model is shown: what the run that it comes from showed it, with what is to be otherwise.

    `changed` holds fields of `DataSpec`.
    """
    data = (run.settings.data if run is not None else DataSpec()).model_copy(update=changed)
    return Shown(frames=FrameSampling(**data.frames.model_dump()), longest_side=data.longest_side)


def media_files(given: Iterable[Path]) -> list[MediaFile]:
    """Return the files that are meant: those that are named, and the pictures and videos in folders, in their order.

    Raises:
        UsageError: a name is that of nothing, or does not tell whether it is a picture or a video.
    """
    found = []
    for path in given:
        if path.is_dir():
            inside = sorted(one for one in path.rglob("*") if one.is_file() and not _hidden(one, path))
            named = [MediaFile(one, kind) for one in inside if (kind := kind_of(one.name)) is not None]
            if not named:
                raise UsageError(f"there is no picture and no video in the folder {path}")
            found += named
        else:
            found.append(media_file(path))
    return found


def media_file(path: Path, kind: Kind | None = None) -> MediaFile:
    """Return a file as a medium; its kind is told by its name, where nobody says it.

    Raises:
        UsageError: there is no such file, or its name does not tell what it is.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path}", allowed="pictures, videos, or folders of them")
    kind = kind or kind_of(path.name)
    if kind is None:
        raise UsageError(
            f"the name of {path} does not tell whether it is a picture or a video",
            allowed=".jpg, .png, .webp, .gif, .mp4, .mkv, .webm, .mov and the like",
        )
    return MediaFile(path, kind)


def looked_at(files: Iterable[MediaFile], decoders: BoundedProcesses) -> Iterator[tuple[MediaFile, MediaRecord]]:
    """Yield files with what they are, one after the other; `refused` of a record says why one cannot be used.

    Raises:
        ShardwrightError: no process can be started.
    """
    for file in files:
        (answer,) = decoders.work(JOB, [file], advance=lambda _: None)
        found = answer.found
        refused = isinstance(found, RowRejected)
        yield file, MediaRecord(row=0, position=0, refused=found) if refused else MediaRecord.of(found)


def decoded(file: MediaFile, record: MediaRecord, shown: Shown) -> Image | Frames:
    """Return a file as pixels, as a model is shown it.

    Raises:
        RowRejected: it does not decode, or no frames are chosen of it.
    """
    if record.refused is not None:
        raise record.refused
    width, height = fitted(record.width, record.height, shown.longest_side)
    if file.kind == "image":
        return Image(pixels=decoded_image(_read(file.path), (width, height)))
    assert record.frame_index is not None, "what is not refused has one"
    index = unpacked(record.frame_index)
    numbers = shown.frames.choose(index)
    check_pixels(width, height, len(numbers))
    pixels = decoded_video(file.path, index, numbers, (width, height))
    return Frames(pixels=pixels, numbers=numbers, total=len(index.times), fps=record.fps)


def _read(path: Location) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RowRejected("media.missing", f"it cannot be read: {error.strerror}") from None


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)
