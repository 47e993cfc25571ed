"""ms-swift's JSONL, and what it takes for it: messages, sharegpt, query and response, `image` or `images` beside them.

messages, conversations, conversation     turns of role/content or from/value, or pairs of {human, assistant}
query, response, history, system          its old form, also with `<img>path</img>` in a query
images, videos                            or `image`, `video`; a placeholder that is missing is written in front
objects                                   stays a column; `<ref-object>` and `<bbox>` stay in the texts, counted
"""

from __future__ import annotations

import re
from typing import Any

from pipeline.dialects.dialect import IMAGE, Dialect, Likeness
from pipeline.dialects.fit import HARDLY, LIKELY, MAYBE, SURE, audio_doubts, fit_of, has_parts, says_any, turn_keys
from pipeline.dialects.turns import (
    SPOKEN,
    Messages,
    Tags,
    add_missing,
    canonical,
    listed,
    media_of,
    messages_of,
    of_queries,
    optional_text,
    with_system,
)
from pipeline.dialects.typed_parts import TypedParts
from pipeline.errors import RowRejected
from pipeline.single_value import kind_of, shown

TURNS = ("messages", "conversations", "conversation")
TAKES = (*TURNS, "query", "response", "history", "system", "image", "images", "video", "videos")
_ROLES = {**SPOKEN, "bot": "assistant"}
_WAYS = (Tags("role", "content", _ROLES), Tags("from", "value", _ROLES))
_INLINE = re.compile(r"<img>(.+?)</img>")
_MARKS = ("objects", "rejected_response", "rejected_messages", "channel", "label")
"""Columns of its own."""


def read(record: dict[str, Any]) -> dict[str, Any]:
    """Return the canonical record of an ms-swift record."""
    images, videos = media_of(record, "images", "image"), media_of(record, "videos", "video")
    columns = [column for column in TURNS if record.get(column) is not None]
    if len(columns) > 1 or (columns and record.get("query") is not None):
        raise RowRejected("dialect.column", f"both {columns[0]!r} and {[*columns, 'query'][1]!r}; one is allowed")
    if columns:
        parts = TypedParts()
        messages = _messages(record, columns[0], parts)
        if parts.any and (images or videos):
            raise RowRejected("dialect.column", "media as parts of messages and in columns; one of both is allowed")
        images, videos = images or parts.media["images"], videos or parts.media["videos"]
    elif isinstance(record.get("query"), str):
        messages = of_queries(record, record["query"], record.get("response"), answered=False)
    else:
        raise RowRejected(
            "dialect.column",
            f"no turns and no query; there are {shown(list(record))}, allowed: {', '.join(TURNS)} or 'query'",
        )
    inline = _taken_out(messages)
    if inline and images:
        raise RowRejected(
            "dialect.placeholders",
            f"{len(inline)} images in `<img>` and {len(images)} in a column; one of both is allowed",
        )
    images = inline or images
    add_missing(messages, len(images), len(videos))
    _check_objects(record.get("objects"), messages)
    return canonical(record, TAKES, messages, images, videos)


def _messages(record: dict[str, Any], column: str, parts: TypedParts) -> Messages:
    turns = listed(record[column], column)
    if turns and isinstance(turns[0], dict) and not turns[0].keys() & {"role", "from"}:
        messages = _pairs(turns, column)
    else:
        messages = messages_of(turns, column, _WAYS, content=parts.text_or_parts, answered=False)
    return with_system(messages, record.get("system"))


def _pairs(turns: list[Any], column: str) -> Messages:
    """Return the messages of turns that each hold a question and its answer."""
    messages: Messages = []
    for number, turn in enumerate(turns, 1):
        said: dict[str, Any] = {}
        for key, text in turn.items() if isinstance(turn, dict) else ():
            if key in _ROLES:
                said[_ROLES[key]] = text
        if set(said) != {"user", "assistant"}:
            raise RowRejected(
                "dialect.type", f"turn {number} in {column!r} is {shown(turn)}; allowed: {{human, assistant}}"
            )
        messages += [
            {"role": role, "content": optional_text(said[role], f"{column}: {role}")} for role in ("user", "assistant")
        ]
    return messages


def _taken_out(messages: Messages) -> list[str]:
    """Return the images that stand in texts, and put placeholders in their places."""
    found: list[str] = []
    for message in messages:
        if "<img>" in message["content"] and message["role"] == "user":
            found += _INLINE.findall(message["content"])
            message["content"] = _INLINE.sub(IMAGE, message["content"])
    return found


def _check_objects(objects: Any, messages: Messages) -> None:
    """Hold boxes and names of objects against what stands for them in the texts."""
    if objects is None or objects == "":
        return
    if not isinstance(objects, dict):
        if isinstance(objects, str):
            return
        raise RowRejected("dialect.type", f"'objects' is {kind_of(objects)}; a mapping with ref and bbox is allowed")
    for key, token in (("ref", "<ref-object>"), ("bbox", "<bbox>")):
        values = objects.get(key) or []
        count = sum(message["content"].count(token) for message in messages)
        if isinstance(values, list) and count != len(values):
            raise RowRejected(
                "dialect.placeholders",
                f"{count} times {token!r} in the texts, but {len(values)} in 'objects' under {key!r}",
            )


def likeness(records: list[dict[str, Any]]) -> Likeness:
    """Return how well records fit."""
    return fit_of(records, read, _strength, _doubts)


def _strength(record: dict[str, Any]) -> float:
    turns = next((record[column] for column in TURNS if record.get(column) is not None), None)
    if turns is None:
        return (SURE if "history" not in record else LIKELY) if "query" in record else 0
    keys = turn_keys(turns)
    if has_parts(turns):
        return HARDLY
    if any(record.get(mark) for mark in _MARKS) or "loss" in keys or keys & {"human", "assistant"}:
        return SURE
    if "from" in keys:
        return MAYBE if record.get("images") or record.get("videos") else HARDLY
    return LIKELY + 0.1 if "role" in keys else 0


def _doubts(records: list[dict[str, Any]]) -> list[str]:
    doubts = audio_doubts(records)
    if says_any(records, "objects"):
        doubts.append("`objects` stays a column: what `<bbox>` and `<ref-object>` stand for is not written into texts.")
    if any(keys & {"loss", "loss_scale"} for record in records for keys in (turn_keys(record.get("messages")),)):
        doubts.append("`loss` of single messages is not taken over: all answers are trained.")
    if says_any(records, "messages") and not says_any(records, *_MARKS):
        doubts.append("LLaMA-Factory writes messages and media alike; both are read to the same rows.")
    return doubts


MS_SWIFT = Dialect(
    name="ms-swift",
    title="ms-swift JSONL",
    source="modelscope/ms-swift, docs/source_en/Customization/Custom-dataset.md",
    read=read,
    likeness=likeness,
    takes=TAKES,
)
