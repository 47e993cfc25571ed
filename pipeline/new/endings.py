"""What a file is by the ending of its name: an image, a video, a sound, annotations, an archive."""

from __future__ import annotations

from typing import Literal

IMAGES = frozenset(
    ["jpg", "jpeg", "jpe", "png", "gif", "bmp", "webp", "tif", "tiff", "avif", "jp2", "ico", "ppm", "pgm", "pbm"]
)
VIDEOS = frozenset(["mp4", "m4v", "avi", "mov", "mkv", "webm", "mpg", "mpeg", "wmv", "flv", "ts", "3gp", "ogv"])
SOUNDS = frozenset(["wav", "mp3", "flac", "ogg", "m4a", "opus", "aac", "wma"])
ANNOTATIONS = frozenset(["json", "jsonl", "ndjson", "jsonlines", "csv", "tsv", "tab", "parquet"])
ARCHIVES = ("zip", "tar", "tar.gz", "tgz", "tar.bz2", "tar.xz", "tar.zst")

LONGEST = 300
"""Characters of a text that may still be the name of a file."""

Kind = Literal["image", "video"]


def ending_of(name: str) -> str:
    """Return what stands behind the last dot of a file name or URL, in small letters; empty where there is none."""
    last = name.split("?", 1)[0].split("#", 1)[0].replace("\\", "/").rpartition("/")[2]
    stem, dot, ending = last.rpartition(".")
    return ending.lower() if dot and stem and ending.isalnum() else ""


def media_kind_of(name: str) -> Kind | None:
    """Return whether a name is that of an image or of a video; None: of neither."""
    ending = ending_of(name)
    if ending in IMAGES:
        return "image"
    return "video" if ending in VIDEOS else None


def is_archive_name(name: str) -> bool:
    """Tell whether a name is that of an archive."""
    return name.lower().endswith(tuple(f".{ending}" for ending in ARCHIVES))


def kind_of_bytes(head: bytes) -> Kind:
    """Return whether bytes begin like a video; all others are taken for an image, which the build will prove."""
    if head[4:8] == b"ftyp" and head[8:12] not in (b"avif", b"avis", b"heic", b"mif1"):
        return "video"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "video"
    return "video" if head.startswith((b"\x1a\x45\xdf\xa3", b"\x00\x00\x01\xba", b"FLV\x01")) else "image"
