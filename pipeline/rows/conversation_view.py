"""How the rows of a dataset become conversations: as a schema says, as templates say, or as a column holds them.

A view is found once, is plain data, and is compiled in each process that uses it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from pipeline.column_type import ColumnType, ListOf, Media
from pipeline.conversation import MediaPart, Message, Ready, Turn, check_conversation, compile_conversation
from pipeline.document import nearest
from pipeline.errors import DatasetError
from pipeline.rows.typed_messages import TypedMessages, compile_typed
from pipeline.schema import Schema, load_schema
from pipeline.template import Template, is_template

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeline.media.facts import Kind

Conversation = Path | Schema | list[Any] | dict[str, Any]
"""What may say how a row becomes a conversation: a schema or its file; templates or a ready column as schemas have
them."""
_TURNS: TypeAdapter[list[Turn]] = TypeAdapter(list[Turn])


@dataclass(frozen=True, kw_only=True)
class View:
    """How rows become conversations."""

    spec: list[Turn] | Ready | TypedMessages
    media: dict[str, Kind]
    """Media column -> what it holds."""
    texts: tuple[str, ...]
    """The columns without media that are looked at."""
    media_first: bool = False
    """Nothing in the texts says where media stand, so that they stand before the first text of the user."""
    told: str
    """Where this is from, for people."""

    def compiled(self, lists: frozenset[str]) -> Callable[[Mapping[str, Any]], list[Message]]:
        """Return the function that turns a row into messages; `lists` are the media columns that hold lists.

        Media columns of a row hold anything that is None where there is no medium, and a list in list columns. The
        function raises RowRejected with `conversation.*` and `template.*` codes.
        """
        if isinstance(self.spec, TypedMessages):
            return compile_typed(self.spec)
        media: dict[str, ColumnType] = {
            name: ListOf(Media(kind)) if name in lists else Media(kind) for name, kind in self.media.items()
        }
        render = compile_conversation(self.spec, media)
        return self._with_media_first(render) if self.media_first else render

    def _with_media_first(
        self, render: Callable[[Mapping[str, Any]], list[Message]]
    ) -> Callable[[Mapping[str, Any]], list[Message]]:
        def render_with_media(row: Mapping[str, Any]) -> list[Message]:
            messages = render(row)
            parts: list[MediaPart] = []
            for name, kind in self.media.items():
                value = row.get(name)
                if isinstance(value, list):
                    parts += [MediaPart(kind, name, place) for place in range(len(value))]
                elif value is not None:
                    parts.append(MediaPart(kind, name, None))
            for place, message in enumerate(messages):
                if message.role == "user":
                    messages[place] = Message(message.role, (*parts, *message.parts))
                    break
            return messages

        return render_with_media

    def plain(self) -> Any:
        """Return all that decides what a row becomes, for fingerprints."""
        spec = self.spec
        if isinstance(spec, list):
            return [turn.model_dump(exclude_none=True) for turn in spec]
        told = spec.model_dump() if isinstance(spec, Ready) else asdict(spec)
        return [told, self.media, self.media_first]


def view_from(
    conversation: Conversation, types: dict[str, ColumnType | None], *, paths: frozenset[str] = frozenset()
) -> View:
    """Return the view that somebody asks for, checked against the columns that are there.

    `paths` are columns of texts that may be paths of media, if the conversation says so.

    Raises:
        DatasetError: it does not fit the columns; says how.
        RecipeError: mistakes in a schema file.
    """
    told = "as templates say"
    if isinstance(conversation, Path):
        told = f"as the schema {conversation.name} says"
        conversation = load_schema(conversation)
    if isinstance(conversation, Schema):
        told = told if told.startswith("as the schema") else f"as the schema {conversation.name} says"
        if conversation.conversation is None:
            hint = "write one into the schema: `conversation:`, a list of turns or a column of messages"
            raise DatasetError(f"the schema {conversation.name!r} does not say what a conversation is", hint=hint)
        spec = conversation.conversation
    else:
        spec = _parsed(conversation)
    types = {name: None if name in paths & _media_of(spec) else kind for name, kind in types.items()}
    mistakes = check_conversation(spec, types)
    if mistakes:
        lines = [
            f"  {'.'.join(map(str, place))}: {what}{f' ({hint})' if hint else ''}" for place, what, hint in mistakes
        ]
        columns = ", ".join(types)
        raise DatasetError(
            "\n".join(["the conversation does not fit the columns of the dataset:", *lines]), allowed=columns
        )
    return _view(spec, types, told)


def _parsed(conversation: list[Any] | dict[str, Any]) -> list[Turn] | Ready:
    try:
        if isinstance(conversation, dict):
            return Ready.model_validate(conversation)
        turns = _TURNS.validate_python(conversation)
    except ValidationError as error:
        places = error.errors(include_url=False, include_context=False)
        lines = [f"  {'.'.join(map(str, one['loc']))}: {one['msg'].removeprefix('Value error, ')}" for one in places]
        allowed = "[{user: [{image: COLUMN}, {text: …}]}, {assistant: '{{ COLUMN }}'}]"
        raise DatasetError("\n".join(["the conversation cannot be read:", *lines]), allowed=allowed) from None
    if not turns:
        raise DatasetError("the conversation has no turns", allowed="[{user: […]}, {assistant: …}]")
    return turns


def _media_of(spec: list[Turn] | Ready) -> set[str]:
    """Return the columns that are said to hold media."""
    if isinstance(spec, Ready):
        return set(spec.tokens.values())
    parts = [part for turn in spec for part in turn.parts]
    return {name for part in parts for name in (part.image, part.video) if name is not None}


def _view(spec: list[Turn] | Ready, types: dict[str, ColumnType | None], told: str) -> View:
    media: dict[str, Kind] = {}
    texts: set[str] = set()
    if isinstance(spec, Ready):
        texts.add(spec.column)
        for token, name in spec.tokens.items():
            media[name] = kind_of_column(types[name]) or ("video" if "video" in token.lower() else "image")
    else:
        for part in (part for turn in spec for part in turn.parts):
            if part.image is not None:
                media[part.image] = "image"
            elif part.video is not None:
                media[part.video] = "video"
            elif is_template(part.text or ""):
                texts |= Template(part.text or "").columns
    lost = sorted(texts - set(types))
    assert not lost, "checked before"
    return View(spec=spec, media=media, texts=tuple(sorted(texts)), told=told)


def kind_of_column(column: ColumnType | None) -> Kind | None:
    """Return what a column of media holds, or None where each path says it."""
    item = column.item if isinstance(column, ListOf) else column
    return item.kind if isinstance(item, Media) else None


def checked_column(name: str, columns: list[str], option: str) -> str:
    """Return the name of a column that is there.

    Raises:
        DatasetError: it is not.
    """
    if name not in columns:
        raise DatasetError(f"`{option}` is {name!r}, and there is no such column", hint=nearest(name, columns))
    return name
