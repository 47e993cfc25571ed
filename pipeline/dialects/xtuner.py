"""xtuner v1: messages of typed parts; `<IMG_CONTEXT>` in a text says where an image is shown, the parts only which.

A record without any such mark shows its media where their parts are. What else a part says of its medium, such as
`image_wh`, is left out: it is found out from the medium itself.
"""

from __future__ import annotations

from typing import Any

from pipeline.dialects.dialect import IMAGE, VIDEO, Dialect, Likeness
from pipeline.dialects.fit import HARDLY, MAYBE, SURE, fit_of, has_parts, turn_keys
from pipeline.dialects.turns import USER_ASSISTANT, Tags, canonical, messages_of
from pipeline.dialects.typed_parts import TypedParts, without_placeholder
from pipeline.errors import RowRejected

TAKES = ("messages",)
IMAGE_MARK, VIDEO_MARK = "<IMG_CONTEXT>", "<VIDEO_CONTEXT>"
_WAYS = (Tags("role", "content", {**USER_ASSISTANT, "developer": "system"}),)


def read(record: dict[str, Any]) -> dict[str, Any]:
    """Return the canonical record of an xtuner record."""
    marked = _is_marked(record.get("messages"))
    parts = TypedParts(text=_with_marks, shows=not marked)
    messages = messages_of(record.get("messages"), "messages", _WAYS, content=parts.content)
    for mark, token, column in ((IMAGE_MARK, IMAGE, "images"), (VIDEO_MARK, VIDEO, "videos")):
        count = sum(message["content"].count(token) for message in messages)
        if count != len(parts.media[column]):
            raise RowRejected(
                "dialect.placeholders",
                f"{count} times {mark!r} in the texts, but {len(parts.media[column])} parts are {column}",
            )
    return canonical(record, TAKES, messages, parts.media["images"], parts.media["videos"])


def _with_marks(text: str) -> str:
    return without_placeholder(text).replace(IMAGE_MARK, IMAGE).replace(VIDEO_MARK, VIDEO)


def _is_marked(turns: Any) -> bool:
    """Tell whether any text says where a medium is shown."""
    for turn in turns if isinstance(turns, list) else ():
        content = turn.get("content") if isinstance(turn, dict) else None
        texts = [part.get("text") for part in content if isinstance(part, dict)] if isinstance(content, list) else []
        for text in [content, *texts]:
            if isinstance(text, str) and (IMAGE_MARK in text or VIDEO_MARK in text):
                return True
    return False


def likeness(records: list[dict[str, Any]]) -> Likeness:
    """Return how well records fit."""
    return fit_of(records, read, _strength, _doubts)


def _strength(record: dict[str, Any]) -> float:
    turns = record.get("messages")
    if "role" not in turn_keys(turns) or record.get("images") or record.get("videos"):
        return 0
    if _is_marked(turns):
        return SURE
    if not has_parts(turns):
        return HARDLY
    for turn in turns or ():
        for part in turn["content"] if isinstance(turn, dict) and isinstance(turn.get("content"), list) else ():
            inner = (part.get("image_url") or part.get("video_url")) if isinstance(part, dict) else None
            if isinstance(inner, dict) and inner.keys() & {"image_wh", "origin_fps", "origin_video_length"}:
                return SURE
    return MAYBE


def _doubts(records: list[dict[str, Any]]) -> list[str]:
    doubts = []
    if any("loss" in turn_keys(record["messages"]) for record in records):
        doubts.append("`loss` of single messages is not taken over: all answers are trained.")
    if not any(_is_marked(record["messages"]) for record in records):
        doubts.append("No text has `<IMG_CONTEXT>`, so these could be messages of OpenAI's API; read to the same rows.")
    return doubts


XTUNER = Dialect(
    name="xtuner",
    title="xtuner v1 JSONL",
    source="InternLM/xtuner, docs/en/get_started/mllm_sft.md",
    read=read,
    likeness=likeness,
    takes=TAKES,
)
