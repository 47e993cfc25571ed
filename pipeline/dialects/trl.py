"""TRL's conversational vision, and the messages of OpenAI's API that it is like: contents as lists of typed parts.

    messages                      or `prompt` and `completion`, as messages or as texts
    images, image, videos         what parts without a medium of their own take, one after the other

Where contents are plain texts and there are images, they are shown before the first question, as TRL does it.
"""

from __future__ import annotations

from typing import Any

from pipeline.dialects.dialect import Dialect, Likeness
from pipeline.dialects.fit import MAYBE, SURE, fit_of, has_parts, says_any, turn_keys
from pipeline.dialects.turns import (
    USER_ASSISTANT,
    Tags,
    add_missing,
    canonical,
    listed,
    media_of,
    messages_of,
)
from pipeline.dialects.typed_parts import TypedParts
from pipeline.errors import RowRejected
from pipeline.single_value import shown

TAKES = ("messages", "prompt", "completion", "images", "image", "videos", "video")
_WAYS = (Tags("role", "content", {**USER_ASSISTANT, "developer": "system"}),)


def read(record: dict[str, Any]) -> dict[str, Any]:
    """Return the canonical record of a TRL record."""
    media = {"images": media_of(record, "images", "image"), "videos": media_of(record, "videos", "video")}
    parts = TypedParts(media)
    messages = messages_of(*_turns(record), _WAYS, content=parts.content, answered=False)
    if parts.any:
        parts.finish()
        media = parts.media
    else:
        add_missing(messages, len(media["images"]), len(media["videos"]))
    return canonical(record, TAKES, messages, media["images"], media["videos"])


def _turns(record: dict[str, Any]) -> tuple[list[Any], str]:
    """Return the turns of a record, and what they are called."""
    if record.get("messages") is not None:
        if record.get("prompt") is not None:
            raise RowRejected("dialect.column", "both 'messages' and 'prompt'; one of them is allowed")
        return listed(record["messages"], "messages"), "messages"
    if record.get("prompt") is None:
        found = shown(list(record))
        raise RowRejected("dialect.column", f"there are {found}; 'messages', or 'prompt' and 'completion' are allowed")
    if record.get("chosen") is not None and record.get("completion") is None:
        raise RowRejected("dialect.column", "'chosen' and 'rejected' are a preference, and no conversation")
    turns: list[Any] = []
    for column, role in (("prompt", "user"), ("completion", "assistant")):
        value = record.get(column)
        if isinstance(value, str):
            turns.append({"role": role, "content": value})
        elif value is not None:
            turns += listed(value, column)
    return turns, "prompt and completion"


def likeness(records: list[dict[str, Any]]) -> Likeness:
    """Return how well records fit."""
    return fit_of(records, read, _strength, _doubts)


def _strength(record: dict[str, Any]) -> float:
    turns = record.get("messages")
    if turns is None:
        if record.get("prompt") is None or "completion" not in record:
            return 0
        return SURE if isinstance(record["prompt"], list) else MAYBE
    if has_parts(turns):
        return SURE - 0.07
    return MAYBE if turn_keys(turns) >= {"role", "content"} else 0


def _doubts(records: list[dict[str, Any]]) -> list[str]:
    doubts = []
    if says_any(records, "chosen"):
        doubts.append("`chosen` and `rejected` stay columns: only the completion is a turn.")
    if any(isinstance(record.get("prompt"), str) for record in records):
        doubts.append("`prompt` and `completion` are plain texts, which may also be one text that is cut in two.")
    elif not any(has_parts(record.get("messages") or record.get("prompt")) for record in records):
        doubts.append(
            "All contents are plain texts, which ms-swift and LLaMA-Factory write too; read to the same rows."
        )
    return doubts


TRL = Dialect(
    name="trl",
    title="TRL conversational vision, OpenAI messages",
    source="huggingface/trl, docs/source/dataset_formats.md",
    read=read,
    likeness=likeness,
    takes=TAKES,
)
