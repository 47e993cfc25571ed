"""LLaMA-Factory's sharegpt: `conversations` of human and gpt or `messages` of user and assistant; media in lists.

Its v1 format, whose contents are lists of parts, is read as well. Placeholders are counted as its trainer does: one for
each medium, nothing is added.
"""

from __future__ import annotations

from typing import Any

from pipeline.dialects.dialect import Dialect, Likeness
from pipeline.dialects.fit import HARDLY, LIKELY, MAYBE, SURE, audio_doubts, fit_of, has_parts, says_any, turn_keys
from pipeline.dialects.turns import FROM_VALUE, ROLE_CONTENT, canonical, media_of, messages_of, with_system
from pipeline.dialects.typed_parts import TypedParts
from pipeline.errors import RowRejected
from pipeline.single_value import shown

TURNS = ("conversations", "messages")
TAKES = (*TURNS, "system", "images", "image", "videos", "video")


def read(record: dict[str, Any]) -> dict[str, Any]:
    """Return the canonical record of a LLaMA-Factory record."""
    columns = [column for column in TURNS if record.get(column) is not None]
    if len(columns) != 1:
        what = "both 'conversations' and 'messages'" if columns else f"no turns; there are {shown(list(record))}"
        raise RowRejected("dialect.column", f"{what}; one of them is allowed")
    images, videos = media_of(record, "images", "image"), media_of(record, "videos", "video")
    parts = TypedParts()
    messages = messages_of(record[columns[0]], columns[0], (FROM_VALUE, ROLE_CONTENT), content=parts.text_or_parts)
    if parts.any and (images or videos):
        raise RowRejected("dialect.column", "media as parts of messages and in columns; one of both is allowed")
    messages = with_system(messages, record.get("system"))
    return canonical(record, TAKES, messages, images or parts.media["images"], videos or parts.media["videos"])


def likeness(records: list[dict[str, Any]]) -> Likeness:
    """Return how well records fit."""
    return fit_of(records, read, _strength, _doubts)


def _strength(record: dict[str, Any]) -> float:
    column = next((column for column in TURNS if record.get(column) is not None), "")
    keys = turn_keys(record.get(column))
    media = any(isinstance(record.get(name), list) for name in ("images", "videos", "audios"))
    if record.get("objects") or "loss" in keys or not keys & {"from", "role"}:
        return HARDLY if keys & {"from", "role"} else 0
    if column == "messages" and has_parts(record[column]):
        return _parts_strength(record[column])
    if "from" in keys:
        return LIKELY + 0.1 if media else HARDLY
    return LIKELY if media else MAYBE


def _parts_strength(turns: list[Any]) -> float:
    """`value` in a part is what only its v1 format writes."""
    parts = [part for turn in turns if isinstance(turn, dict) for part in turn.get("content") or []]
    return SURE if any(isinstance(part, dict) and part.get("value") is not None for part in parts) else HARDLY


def _doubts(records: list[dict[str, Any]]) -> list[str]:
    doubts = audio_doubts(records)
    if says_any(records, "tools"):
        doubts.append("`tools` stays a column; turns that call tools are rejected.")
    if says_any(records, "messages") and not any(has_parts(record.get("messages")) for record in records):
        doubts.append("ms-swift writes messages and media alike; both are read to the same rows.")
    return doubts


LLAMA_FACTORY = Dialect(
    name="llama-factory",
    title="LLaMA-Factory sharegpt",
    source="hiyouga/LLaMA-Factory, data/README.md",
    read=read,
    likeness=likeness,
    takes=TAKES,
)
