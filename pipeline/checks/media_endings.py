"""Endings of file names, and which formats they promise."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.media.facts import Kind

_ISO = "mp4 mov m4v 3gp 3g2"
_PROMISED = {
    "image": {
        "jpg jpeg jpe jfif mpo": "jpeg",
        "png apng": "png apng",
        "gif": "gif",
        "webp": "webp",
        "bmp dib": "bmp",
        "tif tiff": "tiff",
        "avif avifs": "avif",
        "jp2 j2k jpf jpx j2c jpc": "jpeg2000",
        "ico": "ico",
        "ppm pgm pbm pnm": "ppm",
    },
    "video": {
        # one family, and players do not mind which of them it is called
        "mp4 m4v mov qt 3gp 3g2 f4v": _ISO,
        # every WebM is a Matroska file, but not the other way round
        "mkv": "matroska webm",
        "webm": "webm",
        "avi": "avi",
        "mpg mpeg mpe m1v m2v vob": "mpeg mpegts",
        "ts mts m2ts m2t": "mpegts",
        "flv": "flv",
        "wmv asf": "asf",
        "ogv ogg ogm": "ogg",
    },
}
PROMISES: dict[str, frozenset[str]] = {
    ending: frozenset(formats.split())
    for groups in _PROMISED.values()
    for endings, formats in groups.items()
    for ending in endings.split()
}
"""Ending -> the formats that it may stand for."""
_KINDS: dict[str, Kind] = {
    ending: "image" if kind == "image" else "video"
    for kind, groups in _PROMISED.items()
    for endings in groups
    for ending in endings.split()
}
_KNOWN = frozenset().union(*PROMISES.values())
_USUAL = {
    "jpeg": "jpg",
    "tiff": "tif",
    "matroska": "mkv",
    "mpeg": "mpg",
    "mpegts": "ts",
    "jpeg2000": "jp2",
    "asf": "wmv",
}


def ending_of(path: str) -> str:
    """Return the ending of a file name in lower case, or nothing."""
    return path.rpartition("/")[2].rpartition(".")[2].lower() if "." in path.rpartition("/")[2] else ""


def kind_of(path: str) -> Kind | None:
    """Return what a file is by its name: an image, a video, or None."""
    return _KINDS.get(ending_of(path))


def lies(path: str, found: str) -> bool:
    """Tell whether a file name's ending stands for another format than that of the content."""
    promised = PROMISES.get(ending_of(path))
    return promised is not None and found in _KNOWN and found not in promised


def usual_ending(found: str) -> str:
    """Return the ending that files of a format have."""
    return _USUAL.get(found, found)
