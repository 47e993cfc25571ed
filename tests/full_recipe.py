"""A recipe and a schema that say nearly everything there is to say: what property tests and fuzzing break."""

from __future__ import annotations

from typing import Any


def places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the place of every value in a document."""
    items: list[tuple[Any, Any]] = list(value.items()) if isinstance(value, dict) else []
    items = list(enumerate(value)) if isinstance(value, list) else items
    return [place, *(found for key, inner in items for found in places(inner, (*place, key)))]


FULL: dict[str, Any] = {
    "name": "demo",
    "schema": "demo",
    "card": "demo",
    "sources": {"mine": {"path": "../source", "license": "cc0-1.0", "max_unpacked": "5GB", "max_ratio": 3}},
    "configs": {
        "default": {
            "rows": {
                "source": "mine",
                "files": ["a.jsonl", "b.jsonl"],
                "encoding": "utf-8",
                "delimiter": ",",
                "dialect": "ms-swift",
            },
            "splits": {"train": 0.9, "test": {"last": 3}, "rest": "rest", "asked": {"where": "a == 3"}},
            "split_by": {"group": "text", "stratify": "label", "seed": 3, "leaks": "keep"},
            "fields": {
                "text": {"from": "a", "default": "aa"},
                "stars": {"from": "s", "parse": "integer", "thousands": ","},
            },
            "media": {"image": {"path": "{{ image }}.jpg", "missing": "reject", "within": "."}},
            "curate": [{"drop_if": "stars < 3"}, {"image": {"min_width": 3}}, {"limit": 5, "seed": 1}],
        },
        "own": {"splits": {"train": {"files": "x.csv", "header": ["a", "b"]}}},
    },
    "fields": {"label": "{{ label }}"},
    "media": {"images": {"from": "pictures"}},
    "rejects": {"max_share": 0.5},
    "curate": [
        {"deduplicate": ["text"]},
        {"deduplicate": {"near": {"distance": 2, "keep": "largest"}}},
        {"text": {"column": "text", "min_words": 2, "languages": ["en"], "lacks": "http", "flagged_words": ["spam"]}},
        {"limit": 3, "per": "text"},
        {"sample": 0.5, "seed": 2},
    ],
    "shards": {"max_bytes": "500MB", "row_group_bytes": 100, "media": "embed"},
    "publish": {"huggingface": "alice/demo", "modelscope": "alice/demo@next", "folder": "/nas/demo", "key": "text"},
    "train": {
        "model": "alice/model",
        "method": "lora",
        "lora": {"r": 8, "dropout": 0.1},
        "data": {"config": "default", "eval": "test", "frames": {"per_second": 1, "at_most": 8}},
        "batching": {"samples": 2},
        "epochs": 2,
        "arguments": {"warmup_steps": 50},
        "stages": [{"name": "first", "method": "projector"}, {"name": "second", "epochs": 1}],
    },
}
FULL_SCHEMA: dict[str, Any] = {
    "name": "demo",
    "columns": {
        "image": "image",
        "images": {"type": {"list": "image"}, "nullable": True, "max_length": 3},
        "text": {"type": "string", "pattern": "a+", "min_length": 1},
        "stars": {"type": "int64", "min": 1, "max": 5, "unique": True},
        "label": {"class_label": ["cat", "dog"]},
        "turns": {"list": {"struct": {"from": "string", "value": "string"}}},
        "kind": {"type": "string", "values": ["a", "b"]},
    },
    "placeholders": [{"column": "text", "token": "<image>", "media": "images"}],
    "conversation": [{"user": [{"image": "image"}, "{{ text }}"]}, {"assistant": "{{ label }}"}],
}
