"""The one text of a row that a step looks at: of a column, of several, or what some say in its conversation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.column_type import ClassLabel
from pipeline.conversation import Ready, TextPart, compile_conversation
from pipeline.errors import RowRejected
from pipeline.template import Template, is_template

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.curate_spec import TextFilter
    from pipeline.schema import Schema


@dataclass(frozen=True, slots=True)
class RowText:
    """How the text of a row is had."""

    columns: list[str]
    """The columns that are needed."""
    of: Callable[[dict[str, Any]], str]
    """Returns the text of a row's values; RowRejected with a `conversation.*` or `template.*` code: it has none."""


def row_text(schema: Schema, spec: TextFilter) -> RowText:
    """Return how the text is had that a filter is about."""
    labels = {column.name: column.type.names for column in schema.value_columns if isinstance(column.type, ClassLabel)}

    def named(row: dict[str, Any]) -> dict[str, Any]:
        return row | {name: names[row[name]] for name, names in labels.items() if row.get(name) is not None}

    if spec.turns is None:
        columns = spec.columns or [spec.column or ""]

        def written(row: dict[str, Any]) -> str:
            values = named(row)
            return "\n".join(line for name in columns for line in _lines(values[name]))

        return RowText(columns, written)
    conversation, roles = schema.conversation, set(spec.turns)
    if isinstance(conversation, Ready):
        # the text around placeholders is wanted, whatever media stand in their places
        tokens = sorted(conversation.tokens, key=len, reverse=True)
        messages_of = compile_conversation(conversation.model_copy(update={"tokens": {}}))
        columns = [conversation.column]
    else:
        tokens = []
        turns = [turn for turn in conversation or [] if turn.role in roles]
        messages_of = compile_conversation(turns)
        texts = [part.text for turn in turns for part in turn.parts if part.text is not None and is_template(part.text)]
        known = {column.name for column in schema.value_columns}
        columns = sorted(set().union(*(Template(text).columns for text in texts)) & known)

    def said(row: dict[str, Any]) -> str:
        lines = []
        for message in messages_of(named(row)):
            if message.role in roles:
                text = "".join(part.text for part in message.parts if isinstance(part, TextPart))
                for token in tokens:
                    text = text.replace(token, "")
                lines.append(text.strip("\n") if tokens else text)
        return "\n".join(lines)

    return RowText(columns, said)


def _lines(value: Any) -> list[str]:
    """Return the texts in a value; a number is its digits."""
    if value is None:
        return []
    if isinstance(value, list):
        return [line for item in value for line in _lines(item)]
    if isinstance(value, dict):
        raise RowRejected("curate.text", "it holds parts with names, not a text")
    return [str(value)]
