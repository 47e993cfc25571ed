"""Qwen-VL's fine-tuning: `conversations` of human and gpt, `image` and `video` as one path or a list.

One placeholder for each file, and none in answers, where the trainer would take it for text. A packed record, a list of
records in one line, is no mapping, so that the reader rejects it (`read.not_object`).
"""

from __future__ import annotations

from typing import Any

from pipeline.dialects.dialect import IMAGE, VIDEO, Dialect, Likeness
from pipeline.dialects.fit import HARDLY, LIKELY, MAYBE, fit_of, turn_keys
from pipeline.dialects.turns import FROM_VALUE, canonical, media_of, messages_of
from pipeline.errors import RowRejected

TAKES = ("conversations", "image", "video")


def read(record: dict[str, Any]) -> dict[str, Any]:
    """Return the canonical record of a Qwen-VL record."""
    messages = messages_of(record.get("conversations"), "conversations", (FROM_VALUE,))
    for number, message in enumerate(messages, 1):
        text = message["content"]
        if message["role"] != "user" and (IMAGE in text or VIDEO in text):
            count = text.count(IMAGE) + text.count(VIDEO)
            raise RowRejected(
                "dialect.placeholders",
                f"turn {number} is of the {message['role']} and holds {count} placeholders; only questions show media",
            )
    return canonical(record, TAKES, messages, media_of(record, "image"), media_of(record, "video"))


def likeness(records: list[dict[str, Any]]) -> Likeness:
    """Return how well records fit."""
    return fit_of(records, read, _strength, _doubts)


def _strength(record: dict[str, Any]) -> float:
    if "from" not in turn_keys(record.get("conversations")):
        return 0
    if record.get("images") or record.get("videos"):
        return 0
    if record.keys() & {"width", "width_list", "clip"}:
        return HARDLY
    if isinstance(record.get("image"), list) or record.get("video"):
        return LIKELY if "id" in record else LIKELY + 0.1
    return MAYBE if "id" in record else LIKELY + 0.05


def _doubts(records: list[dict[str, Any]]) -> list[str]:
    if any(isinstance(record.get("image"), list) or record.get("video") for record in records):
        return ["InternVL writes lists of images and videos alike; both are read to the same rows."]
    return ["LLaVA writes one image a row like Qwen-VL; both are read to the same rows."]


QWEN_VL = Dialect(
    name="qwen-vl",
    title="Qwen-VL fine-tuning JSON",
    source="QwenLM/Qwen3-VL, qwen-vl-finetune/README.md",
    read=read,
    likeness=likeness,
    takes=TAKES,
)
