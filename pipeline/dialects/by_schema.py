"""Rows of a dataset whose schema says how they become conversations, as canonical records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.conversation import TextPart, compile_conversation
from pipeline.dialects.dialect import IMAGE, VIDEO
from pipeline.errors import RowRejected
from pipeline.labels import labelling

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.schema import Schema


def reading_by_schema(schema: Schema) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return the function that turns a row of a dataset into `messages`, `images`, `videos`, and `id` where it has one.

    The function raises RowRejected: `conversation.*` and `template.*` where the schema's conversation does not fit, and
    `dialect.placeholders` where a text holds `<image>` or `<video>` for which there is no medium.
    """
    assert schema.conversation is not None
    types = {name: column.type for name, column in schema.columns.items()}
    render = compile_conversation(schema.conversation, types)
    labels = {name: label for name, kind in types.items() if (label := labelling(kind)) is not None}

    def read(row: dict[str, Any]) -> dict[str, Any]:
        values = row | {name: label(row.get(name)) for name, label in labels.items()}
        media: dict[str, list[Any]] = {"image": [], "video": []}
        messages = []
        for message in render(values):
            content = []
            for part in message.parts:
                if isinstance(part, TextPart):
                    _check_text(part.text)
                    content.append(part.text)
                    continue
                value = row[part.column]
                media[part.kind].append(value if part.position is None else value[part.position])
                content.append(IMAGE if part.kind == "image" else VIDEO)
            messages.append({"role": message.role, "content": "".join(content)})
        found = {"messages": messages, "images": media["image"], "videos": media["video"]}
        return found | {"id": str(row["id"])} if row.get("id") is not None else found

    return read


def _check_text(text: str) -> None:
    for token in (IMAGE, VIDEO):
        if token in text:
            what = f"a text holds {token!r}, which stands for a medium in canonical messages, and there is none"
            raise RowRejected("dialect.placeholders", what)
