"""Messages with typed parts, which say of every medium and every text what it is, so that no text is a placeholder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.column_type import ListOf, Scalar, Struct

if TYPE_CHECKING:
    from pipeline.rows.canonical import CanonicalRow

TEXT = Scalar("string")
MESSAGES = ListOf(Struct((("role", TEXT), ("content", ListOf(Struct((("type", TEXT), ("text", TEXT))))))))
"""The type of such a column: a part that is no text has a null for its text."""


def typed_messages(row: CanonicalRow) -> list[dict[str, Any]]:
    """Return `[{"role": …, "content": [{"type": "image"}, {"type": "text", "text": …}]}]`.

    A part of type image or video is the next one of the row's images or videos.
    """
    return [
        {
            "role": turn.role,
            "content": [
                {"type": "text", "text": part} if isinstance(part, str) else {"type": part.kind} for part in turn.parts
            ],
        }
        for turn in row.turns
    ]


def typed_messages_problem(messages: Any, media: dict[str, int]) -> str | None:
    """Say what is wrong with typed messages that take so many images and videos; None: nothing."""
    if not isinstance(messages, list) or not messages:
        return "there are no messages"
    parts = dict.fromkeys(media, 0)
    for number, message in enumerate(messages, 1):
        role, content = message.get("role"), message.get("content")
        if role not in ("system", "user", "assistant"):
            return f"message {number} is of {role!r}"
        if not isinstance(content, list):
            return f"the content of message {number} is no list of parts"
        for part in content:
            kind = part.get("type")
            if kind in parts:
                parts[kind] += 1
            elif kind != "text" or not isinstance(part.get("text"), str):
                return f"message {number} has a part of type {kind!r}" + (" without a text" if kind == "text" else "")
    for kind, count in media.items():
        if parts[kind] != count:
            return f"{parts[kind]} parts of type {kind}, but {count} {kind}s"
    return None
