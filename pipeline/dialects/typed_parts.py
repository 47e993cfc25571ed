"""Contents of messages as lists of typed parts, as OpenAI's API has them: `{"type": "text"}`, `{"type": "image_url"}`.

    type                                  what stands in it
    text, input_text                      `text`, or `value` in LLaMA-Factory's v1 format
    image, image_url, input_image         the medium under `image`, `image_url`, `url`, `path` or `value`; else the next
    video, video_url, input_video         one of the record's `images` or `videos`, or the one that `index` says

A medium is a path, a URL, bytes, `{bytes, path}` or `{url}`; keys that are null say nothing, since Arrow gives every
part the keys of all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.dialects.dialect import IMAGE, VIDEO
from pipeline.dialects.turns import check_medium
from pipeline.errors import RowRejected
from pipeline.single_value import kind_of, shown

if TYPE_CHECKING:
    from collections.abc import Callable

_TEXTS = ("text", "input_text")
_MEDIA = {
    "image": ("images", IMAGE),
    "image_url": ("images", IMAGE),
    "input_image": ("images", IMAGE),
    "video": ("videos", VIDEO),
    "video_url": ("videos", VIDEO),
    "input_video": ("videos", VIDEO),
}
_KEYS = ("value", "url", "path", "bytes")
"""Where the medium of a part may stand, beside a key that is called like its type or its kind."""
_FILE = "file://"


class TypedParts:
    """Reads the contents of one record's messages, and gathers the media that they name or take."""

    def __init__(
        self,
        listed: dict[str, list[Any]] | None = None,
        *,
        text: Callable[[str], str] | None = None,
        shows: bool = True,
    ) -> None:
        """`listed`: the media of the record by `images` and `videos`, which parts without a medium of their own take.

        `text` reads the text of a part, instead of the check that no placeholder stands in it. `shows`: a part is where
        its medium is shown; else a placeholder in the texts is.
        """
        self._listed = listed or {"images": [], "videos": []}
        self._text = text or without_placeholder
        self._shows = shows
        self._next = {"images": 0, "videos": 0}
        self.media: dict[str, list[Any]] = {"images": [], "videos": []}

    @property
    def any(self) -> bool:
        """Whether any part was a medium."""
        return bool(self.media["images"] or self.media["videos"])

    def content(self, value: Any, place: str) -> str:
        """Return the text of a content, with placeholders for media.

        Raises:
            RowRejected: `dialect.type`, `dialect.placeholders`.
        """
        if isinstance(value, str):
            return self._text(value)
        if not isinstance(value, list):
            raise RowRejected("dialect.type", f"{place} is {kind_of(value)}; a text or a list of parts is allowed")
        return "".join([self._part(part, f"part {number} of {place}") for number, part in enumerate(value, 1)])

    def text_or_parts(self, value: Any, place: str) -> str:
        """Return the text of a content; one that is a text already holds placeholders of its own, and stays."""
        return value if isinstance(value, str) else self.content(value, place)

    def _part(self, part: Any, place: str) -> str:
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(kind, str) and kind in _TEXTS:
            text = next((part[key] for key in ("text", "value") if part.get(key) is not None), None)
            if not isinstance(text, str):
                raise RowRejected("dialect.type", f"{place} has {kind_of(text)} for its text; a text is allowed")
            return self._text(text)
        if not isinstance(kind, str) or kind not in _MEDIA:
            what = f"of type {shown(kind)}" if isinstance(part, dict) else kind_of(part)
            raise RowRejected("dialect.type", f"{place} is {what}; allowed: {', '.join([*_TEXTS, *_MEDIA])}")
        column, token = _MEDIA[kind]
        self.media[column].append(self._medium(part, kind, column, place))
        return token if self._shows else ""

    def _medium(self, part: dict[str, Any], kind: str, column: str, place: str) -> Any:
        keys = (kind, column.removesuffix("s"), f"{column.removesuffix('s')}_url", *_KEYS)
        value = next((part[key] for key in keys if part.get(key) is not None), None)
        if isinstance(value, dict) and isinstance(value.get("url"), str):
            value = value["url"]
        if value is None:
            return self._taken(part.get("index"), column, place)
        if isinstance(value, str) and value.startswith(_FILE):
            value = value[len(_FILE) :]
        check_medium(value, place)
        return value

    def _taken(self, index: Any, column: str, place: str) -> Any:
        listed = self._listed[column]
        number = self._next[column] if index is None else index
        if not isinstance(number, int) or not 0 <= number < len(listed):
            raise RowRejected(
                "dialect.placeholders",
                f"{place} takes {column}[{shown(number)}] of the record, which has {len(listed)}",
            )
        self._next[column] += 1
        return listed[number]

    def finish(self) -> None:
        """Reject the record where media are listed that no part took: `dialect.placeholders`."""
        for column, listed in self._listed.items():
            if self._next[column] != len(listed):
                raise RowRejected(
                    "dialect.placeholders",
                    f"{self._next[column]} parts of the messages take {column} of the record, which has {len(listed)}",
                )


def without_placeholder(text: str) -> str:
    """Return a text as it is, or reject what would be taken for the place of a medium: `dialect.placeholders`."""
    for token in (IMAGE, VIDEO):
        if token in text:
            raise RowRejected(
                "dialect.placeholders",
                f"a text holds {token!r} {text.count(token)} times, which would be taken for the place of a medium;"
                " media are parts of their own here",
            )
    return text
