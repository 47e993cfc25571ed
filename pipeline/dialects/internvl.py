"""InternVL's JSONL: `conversations` of human and gpt, `image` as one path or a list, `video`.

As its trainer does, a placeholder that is missing is written before the first text. What is left of a record besides,
such as `width`, `height` and `clip`, are columns. The JSON file that names such files and their folders is no file of
rows.
"""

from __future__ import annotations

from typing import Any

from pipeline.dialects.dialect import IMAGE, VIDEO, Dialect, Likeness
from pipeline.dialects.fit import HARDLY, LIKELY, MAYBE, SURE, fit_of, says_any, turn_keys
from pipeline.dialects.turns import FROM_VALUE, canonical, media_of, messages_of

TAKES = ("conversations", "image", "video")


def read(record: dict[str, Any]) -> dict[str, Any]:
    """Return the canonical record of an InternVL record."""
    messages = messages_of(record.get("conversations"), "conversations", (FROM_VALUE,))
    images, videos = media_of(record, "image"), media_of(record, "video")
    for token, media in ((IMAGE, images), (VIDEO, videos)):
        if len(media) == 1 and not any(token in message["content"] for message in messages):
            first = next(message for message in messages if message["role"] == "user")
            first["content"] = f"{token}\n{first['content']}"
    return canonical(record, TAKES, messages, images, videos)


def likeness(records: list[dict[str, Any]]) -> Likeness:
    """Return how well records fit."""
    return fit_of(records, read, _strength, _doubts)


def _strength(record: dict[str, Any]) -> float:
    if "from" not in turn_keys(record.get("conversations")):
        return 0
    if record.get("images") or record.get("videos"):
        return 0
    if record.keys() & {"width", "width_list"} and record.get("image"):
        return SURE
    if "clip" in record and record.get("video"):
        return SURE
    if isinstance(record.get("image"), list) or record.get("video"):
        return LIKELY + 0.05 if "id" in record else MAYBE
    return MAYBE - 0.05 if "id" in record else HARDLY


def _doubts(records: list[dict[str, Any]]) -> list[str]:
    doubts = []
    if not says_any(records, "width", "width_list"):
        doubts.append("Qwen-VL and LLaVA write such records too; all are read to the same rows.")
    if says_any(records, "clip"):
        doubts.append("`clip`, the part of a video that is meant, is a column; the recipe's `clip` can cut it out.")
    return doubts


INTERNVL = Dialect(
    name="internvl",
    title="InternVL JSONL",
    source="OpenGVLab/InternVL, internvl_chat: shell/data and internvl/train/internvl_chat_finetune.py",
    read=read,
    likeness=likeness,
    takes=TAKES,
)
