"""Conversations that a column holds already: found by its type, and its placeholders by its first rows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.checks.columns import MESSAGES, ROLE_KEYS, columns_of
from pipeline.checks.row_turns import ROLES, SPEAKERS, TOKENS
from pipeline.checks.value_hashes import is_list
from pipeline.column_type import ColumnType, ListOf, Scalar, Struct
from pipeline.conversation import Ready
from pipeline.errors import DatasetError
from pipeline.rows.conversation_view import View, kind_of_column
from pipeline.rows.typed_messages import TypedMessages

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.media.facts import Kind

EXAMPLE = "write, for example:"
"""What the hint begins with that shows a conversation."""
_CALLS = ("function_call", "tool_call")
_ANSWERS = ("answer", "caption", "response", "output", "target", "text", "label", "formula", "latex", "description")
_QUESTIONS = ("question", "prompt", "instruction", "query", "problem", "input")
"""Names by which the example guesses what a column is for."""


def found_view(
    schema: pa.Schema,
    types: dict[str, ColumnType | None],
    first_rows: Callable[[str], pa.Array],
    has_media: Callable[[str], bool],
) -> View:
    """Return the view of a dataset of which nobody said how its rows become conversations.

    `first_rows` gives the first values of a column, and `has_media` tells whether any of them holds a medium.

    Raises:
        DatasetError: no column holds conversations, or it is not clear where its media stand; shows the columns and
            what to write.
    """
    roles: dict[str, Any] = {
        role: name
        for name, number in SPEAKERS.items()
        for role, meaning in ROLES.items()
        if meaning == number and role not in _CALLS
    }
    media = {name: kind for name, kind in ((name, kind_of_column(types[name])) for name in types) if kind is not None}
    typed = _typed_column(schema)
    talk = columns_of(schema).conversation
    if typed is None and talk is None:
        raise DatasetError(
            f"no column holds conversations, and nothing says how a row becomes one; columns: {_shown(types)}",
            allowed="a schema file, or `conversation` with templates or with a column of messages",
            hint=f"{EXAMPLE}\n{example_for(types)}",
        )
    for kind in ("image", "video"):
        alike = [name for name, found in media.items() if found == kind]
        if len(alike) > 1:
            what = f"the columns {', '.join(map(repr, alike))} all hold {kind}s, and nothing says where each stands"
            raise DatasetError(what, hint=f"{EXAMPLE}\n{example_for(types)}")
    if typed is not None:
        column, role_key, content_key = typed
        by_kind = {str(kind): name for name, kind in media.items()}
        spec = TypedMessages(column=column, role_key=role_key, content_key=content_key, roles=roles, media=by_kind)
        return View(spec=spec, media=media, texts=(column,), told=f"as the column {column!r} has it, part by part")
    assert talk is not None
    texts = _texts(first_rows(talk.name), talk.text_key)
    tokens = {token: name for name, kind in media.items() for token in TOKENS[kind]}
    named = {kind for kind in TOKENS if _any_of(texts, TOKENS[kind])}
    if named & set(media.values()):
        # of a column that is empty so far, nobody can say where its media stand; a row that has one must say it
        named |= {kind for name, kind in media.items() if kind not in named and not has_media(name)}
    missing = sorted(set(media.values()) - named)
    media_first = bool(missing)
    if media_first and named & set(media.values()):
        told_of = next(kind for kind in media.values() if kind in named)
        what = f"placeholders in {talk.name!r} say where {told_of}s stand, and not where {missing[0]}s do"
        raise DatasetError(what, hint=f"{EXAMPLE}\n{example_for(types)}")
    ready = Ready(
        column=talk.name,
        role_key=talk.role_key,
        text_key=talk.text_key,
        roles=roles,
        tokens={} if media_first else tokens,
    )
    where = "media before the user's first words" if media_first else "media where the placeholders are"
    told = f"as the column {talk.name!r} has it, {where if media else 'which has no media'}"
    return View(spec=ready, media=media, texts=(talk.name,), media_first=media_first, told=told)


def _typed_column(schema: pa.Schema) -> tuple[str, str, str] | None:
    """Return the column of messages whose content is a list of typed parts, and its keys."""
    found = []
    for field in schema:
        if not is_list(field.type) or not pa.types.is_struct(field.type.value_type):
            continue
        inner = {item.name: item.type for item in field.type.value_type}
        for role_key, content_key in ROLE_KEYS:
            content = inner.get(content_key)
            if role_key in inner and content is not None and is_list(content) and _is_part(content.value_type):
                found.append((field.name, role_key, content_key))
    found.sort(key=lambda one: MESSAGES.index(one[0]) if one[0] in MESSAGES else len(MESSAGES))
    return found[0] if found else None


def _is_part(kind: pa.DataType) -> bool:
    return bool(pa.types.is_struct(kind)) and {"type", "text"} <= {field.name for field in kind}


def _texts(turns: pa.Array, key: str) -> pa.Array:
    return pc.struct_field(pc.list_flatten(turns), key)


def _any_of(texts: pa.Array, tokens: tuple[str, ...]) -> bool:
    pattern = "|".join(map(re.escape, tokens))
    return bool(pc.any(pc.match_substring_regex(texts, pattern)).as_py())


def _shown(types: dict[str, ColumnType | None]) -> str:
    return ", ".join(f"{name} ({_word(kind)})" for name, kind in types.items())


def _word(kind: ColumnType | None) -> str:
    if kind is None:
        return "paths"
    if media := kind_of_column(kind):
        return f"{media}s" if isinstance(kind, ListOf) else media
    match kind:
        case Scalar(dtype):
            return dtype
        case ListOf(item):
            return f"list of {_word(item)}"
        case Struct():
            return "struct"
    return "label" if type(kind).__name__ == "ClassLabel" else "json"


def example_for(types: dict[str, ColumnType | None]) -> str:
    """Return a conversation in YAML, as it could be for these columns."""
    parts = []
    for name, kind in types.items():
        media: Kind | None = kind_of_column(kind)
        if media or kind is None:
            parts.append(f"{{{media or 'video'}: {_yaml(name)}}}")
    words = [name for name, kind in types.items() if _word(kind) in ("string", "label", "list of label")]
    answer = _likely(words, _ANSWERS) or next(iter(words), "COLUMN")
    question = _likely([name for name in words if name != answer], _QUESTIONS)
    parts.append(f'"{{{{ {_jinja(question)} }}}}"' if question else "What is to be asked.")
    return f'conversation:\n  - user: [{", ".join(parts)}]\n  - assistant: "{{{{ {_jinja(answer)} }}}}"'


def _likely(names: list[str], known: tuple[str, ...]) -> str | None:
    for word in known:
        for name in names:
            if word in name.lower():
                return name
    return None


def _yaml(name: str) -> str:
    return name if name.isidentifier() else f'"{name}"'


def _jinja(name: str) -> str:
    return name if name.isidentifier() else f"`{name}`"
