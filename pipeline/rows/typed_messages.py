"""Messages whose content is a list of typed parts: {"type": "text", "text": …}, {"type": "image"}."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.conversation import MediaPart, Message, TextPart
from pipeline.errors import RowRejected
from pipeline.single_value import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PLACE = "index"
"""What says which medium of the column a part is, where it is there; else it is the next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedMessages:
    """A column of messages with typed parts."""

    column: str
    role_key: str
    content_key: str
    roles: dict[str, str]
    """What the roles of the data mean."""
    media: dict[str, str]
    """image or video -> the column that holds these media."""


def compile_typed(spec: TypedMessages) -> Callable[[Mapping[str, Any]], list[Message]]:
    """Return the function that turns a row into messages.

    It raises RowRejected with `conversation.*` codes: an unknown role or type of part, a text that is null, media and
    parts that are not equally many.
    """

    def render(row: Mapping[str, Any]) -> list[Message]:
        media = {kind: _media(kind, name, row.get(name)) for kind, name in spec.media.items()}
        used = dict.fromkeys(media, 0)
        messages = []
        for turn in row.get(spec.column) or []:
            role = None if turn is None else spec.roles.get(turn[spec.role_key])
            if role is None:
                said = "a turn that is null" if turn is None else f"the role {shown(turn[spec.role_key])}"
                raise RowRejected("conversation.role", f"{said}; known: {', '.join(spec.roles)}")
            parts: list[TextPart | MediaPart] = []
            for part in turn[spec.content_key] or []:
                kind = part and part.get("type")
                if kind in media:
                    place = part.get(_PLACE)
                    place = used[kind] if place is None else place
                    if not 0 <= place < len(media[kind]):
                        raise _mismatch(kind, spec.media[kind], place + 1, len(media[kind]))
                    parts.append(media[kind][place])
                    used[kind] += 1
                elif kind == "text" and part.get("text") is not None:
                    parts.append(TextPart(part["text"]))
                else:
                    said = "text that is null" if kind == "text" else f"type {shown(kind)}"
                    known = ", ".join(["text", *media])
                    raise RowRejected("conversation.part", f"a part of {said} in {spec.column!r}; known: {known}")
            messages.append(Message(role, tuple(parts)))
        for kind, found in media.items():
            if used[kind] != len(found):
                raise _mismatch(kind, spec.media[kind], used[kind], len(found))
        return messages

    return render


def _media(kind: str, column: str, value: Any) -> list[MediaPart]:
    if value is None:
        return []
    if isinstance(value, list):
        return [MediaPart(kind, column, place) for place in range(len(value))]
    return [MediaPart(kind, column, None)]


def _mismatch(kind: str, column: str, parts: int, media: int) -> RowRejected:
    return RowRejected("conversation.placeholders", f"{parts} parts of type {kind} but {media} media in {column!r}")
