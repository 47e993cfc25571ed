"""The ending that a file of some content should have, by its first bytes; nothing is decoded."""

from __future__ import annotations

import re

HEAD_BYTES = 64
"""First bytes by which the ending is told."""
_OTHERS = "bin"
_SIGNATURES: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), ending)
    for pattern, ending in (
        (rb"\xff\xd8\xff", "jpg"),
        (rb"\x89PNG\r\n\x1a\n", "png"),
        (rb"GIF8[79]a", "gif"),
        (rb"RIFF....WEBP", "webp"),
        (rb"RIFF....AVI ", "avi"),
        (rb"BM....\x00\x00\x00\x00", "bmp"),
        (rb"II\*\x00|MM\x00\*", "tif"),
        (rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", "jp2"),
        (rb"\x00\x00\x01\x00", "ico"),
        (rb"....ftypavi[fs]", "avif"),
        (rb"....ftyp(?:heic|heix|mif1)", "heic"),
        (rb"....ftypqt  ", "mov"),
        (rb"....ftyp3gp", "3gp"),
        (rb"....ftyp3g2", "3g2"),
        (rb"....(?:ftyp|styp|moov|moof|mdat|free|skip|wide)", "mp4"),
        (rb"\x1a\x45\xdf\xa3.{0,40}?webm", "webm"),
        (rb"\x1a\x45\xdf\xa3", "mkv"),
        (rb"FLV\x01", "flv"),
        (rb"OggS", "ogv"),
        (rb"\x30\x26\xb2\x75", "wmv"),
        (rb"\x00\x00\x01[\xb0-\xbb]", "mpg"),
        (rb"P[1-6][\s#]", "ppm"),
    )
)


def ending_by_content(head: bytes, name: str = "") -> str:
    """Return the ending with its dot, e.g. `.jpg`; for content that is not known that of its name, else `.bin`."""
    for signature, ending in _SIGNATURES:
        if signature.match(head):
            return f".{ending}"
    said = re.fullmatch(r".*\.([A-Za-z0-9]{1,8})", name.rpartition("/")[2], re.DOTALL)
    return f".{said[1].lower() if said else _OTHERS}"
