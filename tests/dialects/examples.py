"""One small record of every dialect, as its project's documents have it, and what it is read as."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

ASKED, ANSWERED = {"role": "user", "content": "<image>\nWhat?"}, {"role": "assistant", "content": "A dog."}
SYSTEM = {"role": "system", "content": "Be brief."}


def said(user: str, assistant: str = "A dog.", *, system: str = "") -> list[dict[str, str]]:
    """Return canonical messages of one question and its answer."""
    first = [{"role": "system", "content": system}] if system else []
    return [*first, {"role": "user", "content": user}, {"role": "assistant", "content": assistant}]


def spoken(user: str, assistant: str = "A dog.") -> list[dict[str, str]]:
    """Return turns of human and gpt."""
    return [{"from": "human", "value": user}, {"from": "gpt", "value": assistant}]


@dataclass(frozen=True, kw_only=True)
class Example:
    """A record, and the canonical one that a dialect reads it as."""

    dialect: str
    record: dict[str, Any]
    messages: list[dict[str, str]]
    images: list[Any] = field(default_factory=list)
    videos: list[Any] = field(default_factory=list)
    rest: dict[str, Any] = field(default_factory=dict)
    """The columns that stay."""


def _url(path: str, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": path, **more}}


EXAMPLES = {
    "llava": Example(
        dialect="llava",
        record={"id": "997bb945", "image": "part/1.jpg", "conversations": spoken("<image>\nWhat?")},
        messages=said("<image>\nWhat?"),
        images=["part/1.jpg"],
        rest={"id": "997bb945"},
    ),
    "llava, text only, id an integer, more keys": Example(
        dialect="llava",
        record={"id": 7, "conversations": spoken("Who?"), "model": "x"},
        messages=said("Who?"),
        rest={"id": 7, "model": "x"},
    ),
    "llava, image empty, and a list": Example(
        dialect="llava",
        record={"image": ["a.jpg", "b.jpg"], "conversations": spoken("<image><image>Which?"), "video": ""},
        messages=said("<image><image>Which?"),
        images=["a.jpg", "b.jpg"],
    ),
    "llava, a video behind <image>": Example(
        dialect="llava",
        record={"id": "1", "video": "v.mp4", "conversations": spoken("<image>\nWhat?")},
        messages=said("<video>\nWhat?"),
        videos=["v.mp4"],
        rest={"id": "1"},
    ),
    "qwen-vl": Example(
        dialect="qwen-vl",
        record={"image": ["a.jpg", "b.jpg"], "conversations": spoken("<image>\n<image>\nWhich?")},
        messages=said("<image>\n<image>\nWhich?"),
        images=["a.jpg", "b.jpg"],
    ),
    "qwen-vl, video": Example(
        dialect="qwen-vl",
        record={"video": "videos/005.mp4", "conversations": spoken("<video>\nWhat?")},
        messages=said("<video>\nWhat?"),
        videos=["videos/005.mp4"],
    ),
    "internvl": Example(
        dialect="internvl",
        record={"id": 0, "image": "a.jpg", "width": 4, "height": 3, "conversations": spoken("<image>\nWhat?")},
        messages=said("<image>\nWhat?"),
        images=["a.jpg"],
        rest={"id": 0, "width": 4, "height": 3},
    ),
    "internvl, several": Example(
        dialect="internvl",
        record={"id": 1, "image": ["a.jpg", "b.jpg"], "conversations": spoken("Image-1: <image>\nImage-2: <image>\n?")},
        messages=said("Image-1: <image>\nImage-2: <image>\n?"),
        images=["a.jpg", "b.jpg"],
        rest={"id": 1},
    ),
    "internvl, video without its placeholder": Example(
        dialect="internvl",
        record={"id": 2, "video": "v.mp4", "clip": [0, 3], "conversations": spoken("Describe.")},
        messages=said("<video>\nDescribe."),
        videos=["v.mp4"],
        rest={"id": 2, "clip": [0, 3]},
    ),
    "ms-swift": Example(
        dialect="ms-swift",
        record={
            "messages": [SYSTEM, {"role": "user", "content": "<image>What is it, <video>and this?"}, ANSWERED],
            "images": ["/x/x.jpg"],
            "videos": ["/x/x.mp4"],
        },
        messages=said("<image>What is it, <video>and this?", system="Be brief."),
        images=["/x/x.jpg"],
        videos=["/x/x.mp4"],
    ),
    "ms-swift, grounding": Example(
        dialect="ms-swift",
        record={
            "messages": said("<image>Find the <ref-object>", "<bbox><bbox>"),
            "images": ["/x.jpg"],
            "objects": {"ref": ["sheep"], "bbox": [[90.9, 160.8, 135, 212.8], [360.9, 480.8, 495, 532.8]]},
        },
        messages=said("<image>Find the <ref-object>", "<bbox><bbox>"),
        images=["/x.jpg"],
        rest={"objects": {"ref": ["sheep"], "bbox": [[90.9, 160.8, 135, 212.8], [360.9, 480.8, 495, 532.8]]}},
    ),
    "ms-swift, its old form, placeholders missing": Example(
        dialect="ms-swift",
        record={"query": "And?", "response": "A dog.", "history": [["hello", "123"]], "image": "a.jpg", "system": ""},
        messages=[
            {"role": "user", "content": "<image>hello"},
            {"role": "assistant", "content": "123"},
            *said("And?"),
        ],
        images=["a.jpg"],
    ),
    "ms-swift, an image in the text": Example(
        dialect="ms-swift",
        record={"query": "<img>a.jpg</img>What?", "response": "A dog."},
        messages=said("<image>What?"),
        images=["a.jpg"],
    ),
    "ms-swift, pairs": Example(
        dialect="ms-swift",
        record={"system": "Be brief.", "conversation": [{"human": "What?", "assistant": "A dog."}]},
        messages=said("What?", system="Be brief."),
    ),
    "llama-factory": Example(
        dialect="llama-factory",
        record={"conversations": spoken("<image>q", "a"), "images": ["p.jpg"], "system": "Be brief.", "tools": "[]"},
        messages=said("<image>q", "a", system="Be brief."),
        images=["p.jpg"],
        rest={"tools": "[]"},
    ),
    "llama-factory, roles, audio": Example(
        dialect="llama-factory",
        record={"messages": said("<video><audio>q"), "videos": ["v.mp4"], "audios": ["a.mp3"]},
        messages=said("<video><audio>q"),
        videos=["v.mp4"],
        rest={"audios": ["a.mp3"]},
    ),
    "llama-factory, v1": Example(
        dialect="llama-factory",
        record={
            "messages": [
                {"role": "user", "content": [{"type": "text", "value": "q"}, {"type": "image_url", "value": "p.jpg"}]},
                {"role": "assistant", "content": [{"type": "text", "value": "a"}]},
            ]
        },
        messages=said("q<image>", "a"),
        images=["p.jpg"],
    ),
    "alpaca": Example(
        dialect="alpaca",
        record={"instruction": "Say", "input": "it.", "output": "A dog.", "history": [], "system": "Be brief."},
        messages=said("Say\nit.", system="Be brief."),
    ),
    "alpaca, images": Example(
        dialect="alpaca",
        record={"instruction": "<image>What?", "input": "", "output": "A dog.", "images": ["a.jpg"]},
        messages=said("<image>What?"),
        images=["a.jpg"],
    ),
    "xtuner": Example(
        dialect="xtuner",
        record={
            "id": 2,
            "messages": [
                {
                    "role": "user",
                    "content": [
                        _url("a.jpg", image_wh=[375, 500]),
                        _url("b.jpg"),
                        {"type": "text", "text": "<IMG_CONTEXT>\n? <IMG_CONTEXT>"},
                    ],
                },
                {"role": "assistant", "content": "brown"},
            ],
        },
        messages=said("<image>\n? <image>", "brown"),
        images=["a.jpg", "b.jpg"],
        rest={"id": 2},
    ),
    "xtuner, video, no mark": Example(
        dialect="xtuner",
        record={
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "video_url", "video_url": {"url": "tennis.mp4", "origin_fps": 25.0}},
                        {"type": "text", "text": "?"},
                    ],
                },
                ANSWERED,
            ]
        },
        messages=said("<video>?"),
        videos=["tennis.mp4"],
    ),
    "trl": Example(
        dialect="trl",
        record={
            "images": [{"bytes": b"\x89PNG", "path": None}],
            "messages": [
                {"role": "user", "content": [{"type": "image", "text": None}, {"type": "text", "text": "What?"}]},
                {"role": "assistant", "content": [{"type": "text", "text": "A dog."}]},
            ],
        },
        messages=said("<image>What?"),
        images=[{"bytes": b"\x89PNG", "path": None}],
    ),
    "trl, prompt and completion": Example(
        dialect="trl",
        record={"prompt": [{"role": "user", "content": "What?"}], "completion": [ANSWERED], "image": "a.jpg"},
        messages=said("<image>What?"),
        images=["a.jpg"],
    ),
    "trl, OpenAI": Example(
        dialect="trl",
        record={
            "messages": [
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "What?"}, _url("https://example.org/a.jpg")]},
                ANSWERED,
            ]
        },
        messages=said("What?<image>", system="Be brief."),
        images=["https://example.org/a.jpg"],
    ),
    "trl, media named in their parts, and by number": Example(
        dialect="trl",
        record={
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "video", "video": "file:///v/1.mp4"},
                        {"type": "image", "index": 1},
                        {"type": "image", "index": 0},
                    ],
                },
                ANSWERED,
            ],
            "images": ["a.jpg", "b.jpg"],
        },
        messages=said("<video><image><image>"),
        images=["b.jpg", "a.jpg"],
        videos=["/v/1.mp4"],
    ),
    "data-juicer, turns": Example(
        dialect="data-juicer",
        record={
            "id": "1",
            "text": "[[human]]: <image>\nWhat?\n[[gpt]]: A dog.\n[[human]]: And\nnow? [[gpt]]\n[[gpt]]: No. "
            "<|__dj__eoc|>",
            "images": ["coco/1.jpg"],
        },
        messages=[*said("<image>\nWhat?"), *said("And\nnow? [[gpt]]", "No.")],
        images=["coco/1.jpg"],
        rest={"id": "1"},
    ),
    "data-juicer, two chunks of turns": Example(
        dialect="data-juicer",
        record={
            "text": "[[human]]: <__dj__image>\nWhat?\n[[gpt]]: A dog. <|__dj__eoc|>\n"
            "[[human]]: And?\n[[gpt]]: No. <|__dj__eoc|>",
            "images": ["1.jpg"],
        },
        messages=[*said("<image>\nWhat?"), *said("And?", "No.")],
        images=["1.jpg"],
    ),
    "data-juicer, caption": Example(
        dialect="data-juicer",
        record={"text": "<__dj__video> A dog. <|__dj__eoc|>", "videos": ["v.mp4"], "audios": [], "meta": {"src": "x"}},
        messages=said("<video>"),
        videos=["v.mp4"],
        rest={"audios": [], "meta": {"src": "x"}},
    ),
    "data-juicer, query and response": Example(
        dialect="data-juicer",
        record={
            "system": "Be brief.",
            "query": "<__dj__image>What?",
            "response": "A dog.",
            "history": [],
            "images": ["a"],
        },
        messages=said("<image>What?", system="Be brief."),
        images=["a"],
    ),
}
"""What it shows -> the example."""
