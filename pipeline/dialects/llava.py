"""LLaVA JSON: `image` and `conversations` of human and gpt.

Real files deviate: ids are integers, `image` is missing or a list, videos stand under `video` and, in LLaVA-Video,
behind `<image>`; there are more keys.
"""

from __future__ import annotations

from typing import Any

from pipeline.dialects.dialect import IMAGE, VIDEO, Dialect, Likeness
from pipeline.dialects.fit import HARDLY, LIKELY, MAYBE, SURE, fit_of, says_any, turn_keys
from pipeline.dialects.turns import FROM_VALUE, canonical, media_of, messages_of

TAKES = ("conversations", "image", "images", "video", "videos")


def read(record: dict[str, Any]) -> dict[str, Any]:
    """Return the canonical record of a LLaVA record."""
    messages = messages_of(record.get("conversations"), "conversations", (FROM_VALUE,))
    images = media_of(record, "image", "images")
    videos = media_of(record, "video", "videos")
    if videos and not images and not any(VIDEO in message["content"] for message in messages):
        for message in messages:
            message["content"] = message["content"].replace(IMAGE, VIDEO)
    return canonical(record, TAKES, messages, images, videos)


def likeness(records: list[dict[str, Any]]) -> Likeness:
    """Return how well records fit."""
    return fit_of(records, read, _strength, _doubts)


def _strength(record: dict[str, Any]) -> float:
    if "from" not in turn_keys(record.get("conversations")):
        return 0
    if record.get("images") or record.get("videos"):
        return HARDLY
    if record.get("video"):
        behind = any(IMAGE in str(turn.get("value")) for turn in record["conversations"] if isinstance(turn, dict))
        return SURE if behind and not record.get("image") else MAYBE
    if isinstance(record.get("image"), list) or "width" in record or "width_list" in record:
        return MAYBE
    return SURE if "id" in record else LIKELY


def _doubts(records: list[dict[str, Any]]) -> list[str]:
    if says_any(records, "video"):
        return ["`video` is also written by Qwen-VL and InternVL; with one placeholder a video all give the same rows."]
    return ["Qwen-VL writes one image a row like LLaVA; both are read to the same rows."]


LLAVA = Dialect(
    name="llava",
    title="LLaVA JSON",
    source="haotian-liu/LLaVA, docs/Finetune_Custom_Data.md",
    read=read,
    likeness=likeness,
    takes=TAKES,
)
