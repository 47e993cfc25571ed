"""Turns of a conversation as dialects write them: taken out of a record, brought to canonical roles, counted, ordered.

What does not fit rejects its record:

    dialect.column         a column is missing, or two columns say the same thing
    dialect.type           a value is of another kind than the dialect has there
    dialect.role           somebody speaks whom canonical messages do not know
    dialect.turns          no turns, turns out of order, or no answer where there must be one
    dialect.placeholders   placeholders in the texts and media of the record are not equally many
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from pipeline.dialects.dialect import CANONICAL, IMAGE, VIDEO
from pipeline.errors import RowRejected
from pipeline.single_value import kind_of, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

Messages = list[dict[str, str]]
"""Canonical messages: `{"role": …, "content": …}`, in order."""

HUMAN_GPT = {"human": "user", "gpt": "assistant", "system": "system"}
USER_ASSISTANT = {"user": "user", "assistant": "assistant", "system": "system"}
SPOKEN = HUMAN_GPT | USER_ASSISTANT
"""Roles of either habit: real files mix them."""


@dataclass(frozen=True, slots=True)
class Tags:
    """How one turn is written."""

    role: str
    text: str
    roles: Mapping[str, str] = field(default_factory=lambda: SPOKEN)
    """What its roles are in canonical messages."""


FROM_VALUE = Tags("from", "value")
ROLE_CONTENT = Tags("role", "content")


def messages_of(
    value: Any,
    column: str,
    ways: Sequence[Tags],
    *,
    content: Callable[[Any, str], str] | None = None,
    answered: bool = True,
) -> Messages:
    """Return the canonical messages that a column holds.

    `ways` are the ways in which a turn may be written. `content` turns what stands at a turn's text, and what messages
    call the turn, into text; left out, it is a text. `answered`: the last turn must be the assistant's.

    Raises:
        RowRejected: `dialect.type`, `dialect.role`, `dialect.turns`.
    """
    messages: Messages = []
    for number, turn in enumerate(value if type(value) is list else listed(value, column), 1):
        tags = _way_of(turn, number, column, ways)
        role, text = turn[tags.role], turn.get(tags.text)
        speaker = tags.roles.get(role) if isinstance(role, str) else None
        if speaker is None:
            raise RowRejected(
                "dialect.role", f"turn {number} in {column!r} is of {shown(role)}; allowed: {', '.join(tags.roles)}"
            )
        if content is not None:
            text = content(text, f"turn {number} in {column!r}")
        elif not isinstance(text, str):
            raise RowRejected(
                "dialect.type", f"turn {number} in {column!r} has {kind_of(text)} at {tags.text!r}; a text is allowed"
            )
        messages.append({"role": speaker, "content": text})
    check_order(messages, column, answered=answered)
    return messages


def _way_of(turn: Any, number: int, column: str, ways: Sequence[Tags]) -> Tags:
    if not isinstance(turn, dict):
        raise RowRejected("dialect.type", f"turn {number} in {column!r} is {kind_of(turn)}; a mapping is allowed")
    for tags in ways:
        if tags.role in turn:
            return tags
    allowed = " or ".join(f"{tags.role!r} and {tags.text!r}" for tags in ways)
    raise RowRejected(
        "dialect.type", f"turn {number} in {column!r} has the keys {shown(list(turn))}; allowed: {allowed}"
    )


def listed(value: Any, column: str) -> list[Any]:
    """Return a list, which may be written as JSON where a format has no lists (CSV)."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = orjson.loads(value)
        except ValueError:
            raise RowRejected("dialect.type", f"{column!r} is a text that is no JSON: {shown(value)}") from None
    if not isinstance(value, list):
        raise RowRejected("dialect.type", f"{column!r} is {kind_of(value)}: {shown(value)}; a list is allowed")
    return value


def check_order(messages: Messages, column: str, *, answered: bool = True) -> None:
    """Reject messages that are not an optional system text, and then user and assistant in turn."""
    start = 1 if messages and messages[0]["role"] == "system" else 0
    if len(messages) == start:
        raise RowRejected("dialect.turns", f"{column!r} has no turns of user and assistant")
    for number, message in enumerate(messages[start:]):
        expected = "assistant" if number % 2 else "user"
        if message["role"] != expected:
            raise RowRejected(
                "dialect.turns",
                f"turn {start + number + 1} in {column!r} is of the {message['role']}, where the {expected}'s turn is;"
                " user and assistant take turns, behind one system text or none",
            )
    if answered and (len(messages) - start) % 2:
        raise RowRejected("dialect.turns", f"{column!r} ends with the user's turn; the assistant has the last word")


def with_system(messages: Messages, system: Any, column: str = "system") -> Messages:
    """Return messages behind a system text that stands in a column of its own, if it says anything.

    Raises:
        RowRejected: `dialect.turns`: the messages have another one; `dialect.type`: it is no text.
    """
    text = optional_text(system, column)
    if not text:
        return messages
    if messages and messages[0]["role"] == "system":
        if messages[0]["content"] != text:
            raise RowRejected("dialect.turns", f"two system texts: one in {column!r}, another in the first turn")
        return messages
    return [{"role": "system", "content": text}, *messages]


def optional_text(value: Any, column: str) -> str:
    """Return a text, empty where there is none; `dialect.type` where it is something else."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RowRejected("dialect.type", f"{column!r} is {kind_of(value)}: {shown(value)}; a text is allowed")
    return value


def of_queries(record: dict[str, Any], query: str, response: Any, *, answered: bool = True) -> Messages:
    """Return the messages of a query and its response, behind the pairs of `history` and `system`.

    A response that is None is none.
    """
    messages: Messages = []
    history = record.get("history")
    for number, pair in enumerate(listed(history, "history") if history not in (None, "") else [], 1):
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise RowRejected(
                "dialect.type", f"pair {number} in 'history' is {shown(pair)}; [query, response] is allowed"
            )
        messages += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    messages.append({"role": "user", "content": query})
    if response is not None:
        if not isinstance(response, str):
            raise RowRejected("dialect.type", f"the answer is {kind_of(response)}: {shown(response)}; allowed: a text")
        messages.append({"role": "assistant", "content": response})
    elif answered:
        raise RowRejected("dialect.turns", "there is no answer; the assistant has the last word")
    return with_system(messages, record.get("system"))


def media_of(record: dict[str, Any], *columns: str) -> list[Any]:
    """Return the media of the one of some columns that says any: paths, URLs, bytes or `{bytes, path}`.

    Raises:
        RowRejected: `dialect.column`: two columns name media; `dialect.type`: something is no medium.
    """
    found: list[Any] = []
    source = ""
    for column in columns:
        value = record.get(column)
        if value is None or value in ("", []):
            continue
        if source:
            raise RowRejected("dialect.column", f"both {source!r} and {column!r} name media; one of them is allowed")
        source = column
        if isinstance(value, str) and value.startswith("[") and value.endswith("]"):
            value = listed(value, column)
        found = value if isinstance(value, list) else [value]
        for item in found:
            check_medium(item, column)
    return found


def check_medium(item: Any, column: str) -> None:
    """Reject what cannot name or hold a medium."""
    if isinstance(item, str | bytes) and item:
        return
    if isinstance(item, dict) and (isinstance(item.get("path"), str) or isinstance(item.get("bytes"), bytes)):
        return
    hint = "; frames of a video, one by one, are not read" if isinstance(item, list) else ""
    raise RowRejected(
        "dialect.type",
        f"{column!r} holds {kind_of(item)}: {shown(item)}; a path, a URL, bytes or {{bytes, path}} is allowed{hint}",
    )


def add_missing(messages: Messages, images: int, videos: int) -> None:
    """Write placeholders that are missing before the first text of the user, as ms-swift and TRL do when they train."""
    for token, media in ((IMAGE, images), (VIDEO, videos)):
        missing = media - sum(message["content"].count(token) for message in messages)
        if missing > 0:
            first = next(message for message in messages if message["role"] == "user")
            first["content"] = token * missing + first["content"]


def canonical(
    record: dict[str, Any], taken: Collection[str], messages: Messages, images: list[Any], videos: list[Any]
) -> dict[str, Any]:
    """Return the canonical record, once there is one placeholder for each medium; columns that are not taken stay.

    Raises:
        RowRejected: `dialect.placeholders`; `dialect.column`: a column that stays is called like a canonical one.
    """
    for token, media, kind in ((IMAGE, images, "image"), (VIDEO, videos, "video")):
        count = 0
        for message in messages:
            count += message["content"].count(token)
        if count != len(media):
            raise RowRejected(
                "dialect.placeholders",
                f"{count} times {token!r} in the texts, but the record names {len(media)}"
                f" {kind}{'' if len(media) == 1 else 's'}; each stands for one",
            )
    row = {key: value for key, value in record.items() if key not in taken}
    for name in CANONICAL:
        if name in row:
            raise RowRejected("dialect.column", f"there is a column {name!r} beside those that this dialect reads")
    row["messages"], row["images"], row["videos"] = messages, images, videos
    return row
