"""Records that do not stand at the top of a JSON document, but in a list inside of its one object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from pipeline.new.records import SAMPLE_ROWS

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 32 << 20
MAX_LISTS = 20
DEPTH = 2
_FIT = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
"""What keys of a dotted path are made of."""


def lone_object(path: Path) -> dict[str, Any] | None:
    """Return the one object that a JSON document is; None: it is none, or too large to be looked into."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        value = orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def inner_lists(document: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the lists of objects inside of an object, the first records of each, by their dotted paths."""
    found: dict[str, list[dict[str, Any]]] = {}
    waiting: list[tuple[str, Any, int]] = [("", document, 0)]
    while waiting and len(found) < MAX_LISTS:
        path, value, depth = waiting.pop(0)
        if isinstance(value, list):
            first = value[:SAMPLE_ROWS]
            if len(value) > 1 and all(isinstance(item, dict) for item in first):
                found[path] = first
        elif isinstance(value, dict) and depth < DEPTH:
            for key, inner in list(value.items())[:MAX_LISTS]:
                if key and _FIT.issuperset(key):
                    waiting.append((f"{path}.{key}" if path else key, inner, depth + 1))
    return found
