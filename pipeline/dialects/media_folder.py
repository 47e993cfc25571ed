"""Metadata of an ImageFolder or VideoFolder with messages, as `shardwright export --to folder` writes them.

    file_name                               the one medium of a row
    images_file_names, videos_file_names    the media of a row; `file_names` where there is one kind
    images, videos, image, video            paths that the loader of the folder leaves alone
    messages                                typed parts; or texts, in front of which the media are shown

Metadata without messages are no conversations: keep them as columns.
"""

from __future__ import annotations

from typing import Any

from pipeline.dialects import trl
from pipeline.dialects.dialect import Dialect, Likeness
from pipeline.dialects.fit import SURE, fit_of
from pipeline.dialects.turns import media_of

_ONE, _SEVERAL = "file_name", "file_names"
_VIDEOS = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".mpeg", ".mpg", ".m4v")
"""Endings of files that are videos, where messages do not say it."""
_LISTED = {kind: (f"{kind}s_{_SEVERAL}", f"{kind}s", kind) for kind in ("image", "video")}
TAKES = (_ONE, _SEVERAL, *_LISTED["image"], *_LISTED["video"], "messages")


def read(record: dict[str, Any]) -> dict[str, Any]:
    """Return the canonical record of a row of metadata."""
    media = {kind: media_of(record, *columns) for kind, columns in _LISTED.items()}
    own = media_of(record, _ONE, _SEVERAL)
    media[_kind(record, own, has_videos=bool(media["video"]))] += own
    left = {name: value for name, value in record.items() if name not in TAKES}
    said = {"messages": record.get("messages"), "images": media["image"], "videos": media["video"]}
    return left | trl.read(said)


def _kind(record: dict[str, Any], own: list[Any], *, has_videos: bool) -> str:
    """Return what the files are that metadata name without saying their kind: videos, where any is shown."""
    turns = [turn for turn in record.get("messages") or [] if isinstance(turn, dict)]
    contents = [turn["content"] for turn in turns if isinstance(turn.get("content"), list)]
    shows = any(isinstance(part, dict) and part.get("type") == "video" for parts in contents for part in parts)
    named = all(isinstance(path, str) and path.lower().endswith(_VIDEOS) for path in own)
    return "video" if own and not has_videos and (shows or named) else "image"


def likeness(records: list[dict[str, Any]]) -> Likeness:
    """Return how well records fit."""
    return fit_of(records, read, _strength, lambda _: ())


def _strength(record: dict[str, Any]) -> float:
    names = (_ONE, _SEVERAL, _LISTED["image"][0], _LISTED["video"][0])
    return SURE if "messages" in record and any(name in record for name in names) else 0


MEDIA_FOLDER = Dialect(
    name="folder",
    title="ImageFolder or VideoFolder with messages",
    source="huggingface/datasets, docs/source/image_dataset.mdx; messages as huggingface/trl has them",
    read=read,
    likeness=likeness,
    takes=TAKES,
)
