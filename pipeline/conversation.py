"""The one view of a row as a training example: turns of text and media, which training and every export use."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from pipeline.column_type import ListOf, Scalar, Struct, media_kind
from pipeline.document import nearest
from pipeline.errors import RowRejected
from pipeline.model_check import Strict
from pipeline.template import Template, is_template

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeline.column_type import ColumnType

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class TextPart:
    """Text inside a message."""

    text: str


@dataclass(frozen=True, slots=True)
class MediaPart:
    """One image or video inside a message: the column, and the position in it when it is a list."""

    kind: str
    column: str
    position: int | None


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str
    parts: tuple[TextPart | MediaPart, ...]


class Part(Strict):
    """A piece of a turn: text (a template), or all media of a column."""

    text: str | None = None
    image: str | None = None
    video: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return {"text": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _exactly_one(self) -> Part:
        if sum(piece is not None for piece in (self.text, self.image, self.video)) != 1:
            raise ValueError("a part is exactly one of text, image, video")
        return self


class Turn(Strict):
    """One turn: a role, and its parts (or just its text)."""

    system: list[Part] | None = None
    user: list[Part] | None = None
    assistant: list[Part] | None = None

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {role: [parts] if isinstance(parts, str | dict) else parts for role, parts in value.items()}
        return value

    @model_validator(mode="after")
    def _exactly_one(self) -> Turn:
        if len(self.model_fields_set) != 1:
            raise ValueError("a turn has exactly one role: system, user or assistant")
        if not getattr(self, self.role):
            raise ValueError(f"the turn of {self.role!r} says nothing; give it a text, an image or a video")
        return self

    @property
    def role(self) -> str:
        """The turn's role."""
        return next(iter(self.model_fields_set))

    @property
    def parts(self) -> list[Part]:
        """The turn's parts."""
        return list(getattr(self, self.role))


class Ready(Strict):
    """A column that already holds a conversation: a list of structs with a role and a text."""

    column: str
    """The column with the list of messages."""
    role_key: str = "from"
    """The struct's key for the role: `from`, `role`, …"""
    text_key: str = "value"
    """The struct's key for the text: `value`, `content`, …"""
    roles: dict[str, Role] = Field(
        min_length=1,
        default_factory=lambda: {"human": "user", "gpt": "assistant", "system": "system"},  # type: ignore[arg-type]
    )
    """What the roles of the data mean."""
    tokens: dict[Annotated[str, Field(min_length=1)], str] = Field(default_factory=dict)
    """Placeholder in the text -> the media column it stands for, e.g. `<image>: images`."""


def check_conversation(
    spec: list[Turn] | Ready, columns: Mapping[str, ColumnType | None]
) -> list[tuple[tuple[str | int, ...], str, str]]:
    """Return the mistakes of a conversation against its columns, as (place, message, hint).

    A column that is None has a mistake of its own, so nothing is said of it here.
    """
    mistakes: list[tuple[tuple[str | int, ...], str, str]] = []

    def media(place: tuple[str | int, ...], name: str, kind: str | None) -> None:
        if name not in columns:
            mistakes.append((place, f"unknown column {name!r}", nearest(name, columns)))
        elif (column := columns[name]) is not None:
            found = media_kind(column)
            if found is None or (kind and found != kind):
                mistakes.append((place, f"the column {name!r} holds no {kind or 'image or video'}", ""))

    if isinstance(spec, Ready):
        column = columns.get(spec.column)
        if spec.column not in columns:
            mistakes.append((("column",), f"unknown column {spec.column!r}", nearest(spec.column, columns)))
        elif column is None:
            pass
        elif not isinstance(column, ListOf) or not isinstance(column.item, Struct):
            mistakes.append((("column",), f"the column {spec.column!r} is not a list of structs", ""))
        else:
            fields = dict(column.item.fields)
            for option, name in (("role_key", spec.role_key), ("text_key", spec.text_key)):
                if fields.get(name) != Scalar("string"):
                    mistakes.append(((option,), f"{spec.column!r} has no text field {name!r}", nearest(name, fields)))
        for token, name in spec.tokens.items():
            media(("tokens", token), name, None)
        return mistakes
    for number, turn in enumerate(spec):
        for position, part in enumerate(turn.parts):
            place = (number, turn.role, position)
            if part.image is not None:
                media((*place, "image"), part.image, "image")
            elif part.video is not None:
                media((*place, "video"), part.video, "video")
            elif is_template(part.text or ""):
                try:
                    used = sorted(Template(part.text or "").columns)
                except ValueError as error:
                    mistakes.append((place, str(error), ""))
                    continue
                for name in used:
                    if name not in columns:
                        mistakes.append((place, f"unknown column {name!r}", nearest(name, columns)))
                    elif (kind := columns[name]) is not None and (inside := media_kind(kind)):
                        mistakes.append((place, f"{name!r} is no text", f"a part of its own: {{{inside}: {name}}}"))
    return mistakes


def compile_conversation(
    spec: list[Turn] | Ready, columns: Mapping[str, ColumnType] | None = None
) -> Callable[[Mapping[str, Any]], list[Message]]:
    """Return the function that turns a row into messages; `columns` say whether a token stands for image or video.

    A row's media columns may hold anything that is None when there is no medium, and a list for list columns.
    The function raises RowRejected with `conversation.*` codes: an unknown role, a turn or text that is null, a
    placeholder without a medium, a medium without a placeholder.
    """
    return _compile_ready(spec, columns or {}) if isinstance(spec, Ready) else _compile_turns(spec)


def _text(value: Any, source: str) -> str:
    """Return what a template gives as text; null is an error here, and so is what has no text of its own."""
    if value is None:
        raise RowRejected("template.null", f"a null in the text of {source!r}; write `(name or '')` to allow it")
    if not isinstance(value, str | int | float):
        raise RowRejected("template.error", f"{source!r} gives a {type(value).__name__}, not a text")
    return str(value)


def _media_parts(kind: str, column: str, value: Any) -> list[MediaPart]:
    if value is None:
        return []
    if isinstance(value, list):
        return [MediaPart(kind, column, position) for position in range(len(value))]
    return [MediaPart(kind, column, None)]


def _compile_turns(turns: list[Turn]) -> Callable[[Mapping[str, Any]], list[Message]]:
    compiled = [
        (
            turn.role,
            [(part, Template(part.text) if part.text and is_template(part.text) else None) for part in turn.parts],
        )
        for turn in turns
    ]

    def render(row: Mapping[str, Any]) -> list[Message]:
        messages = []
        for role, parts in compiled:
            pieces: list[TextPart | MediaPart] = []
            for part, template in parts:
                if part.text is None:
                    kind, column = ("video", part.video) if part.image is None else ("image", part.image)
                    pieces += _media_parts(kind, str(column), row.get(str(column)))
                else:
                    pieces.append(TextPart(_text(template.render(row), template.source) if template else part.text))
            messages.append(Message(role, tuple(pieces)))
        return messages

    return render


def _compile_ready(spec: Ready, columns: Mapping[str, ColumnType]) -> Callable[[Mapping[str, Any]], list[Message]]:
    tokens = sorted(spec.tokens, key=len, reverse=True)
    kinds = {name: media_kind(columns[name]) or "" for name in spec.tokens.values() if name in columns}
    splitter = re.compile("(" + "|".join(map(re.escape, tokens)) + ")") if tokens else None

    def render(row: Mapping[str, Any]) -> list[Message]:
        waiting = {
            column: _media_parts(kinds.get(column, ""), column, row.get(column)) for column in spec.tokens.values()
        }
        counts = {column: len(parts) for column, parts in waiting.items()}
        used = dict.fromkeys(counts, 0)
        messages = []
        for turn in row.get(spec.column) or []:
            if turn is None:
                raise RowRejected("conversation.null", f"{spec.column!r} has a turn that is null")
            role, text = spec.roles.get(turn[spec.role_key]), turn[spec.text_key]
            if role is None:
                known = ", ".join(spec.roles)
                raise RowRejected("conversation.role", f"unknown role {turn[spec.role_key]!r}; known: {known}")
            if text is None:
                raise RowRejected("conversation.null", f"{spec.column!r} has a turn whose {spec.text_key!r} is null")
            pieces: list[TextPart | MediaPart] = []
            for piece in splitter.split(text) if splitter else [text]:
                column = spec.tokens.get(piece)
                if column is None:
                    if piece:
                        pieces.append(TextPart(piece))
                    continue
                used[column] += 1
                if used[column] <= counts[column]:
                    pieces.append(waiting[column][used[column] - 1])
            messages.append(Message(role, tuple(pieces)))
        for column, count in counts.items():
            if used[column] != count:
                raise RowRejected(
                    "conversation.placeholders", f"{used[column]} placeholders but {count} media in {column!r}"
                )
        return messages

    return render
