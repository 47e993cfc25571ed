"""The card of a dataset as `datasets` and the Hub read it: front matter and text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from pipeline.card_text import split_front_matter
from pipeline.checks.problem import Problem

if TYPE_CHECKING:
    from pipeline.checks.files import DatasetFiles

CARD = "README.md"
MAX_CARD_BYTES = 16 << 20
"""A card larger than this is not read."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """A card that was read."""

    text: str
    metadata: dict[str, Any]
    body: str
    """What stands behind the front matter."""


def read_card(files: DatasetFiles, sizes: dict[str, int]) -> tuple[Card | None, list[Problem]]:
    """Read the card; without one there is nothing that could be wrong but that."""
    if CARD not in sizes:
        hint = "write one with the `configs` of the dataset, or build it with shardwright"
        return None, [Problem(code="SW100", file=CARD, message="there is no card", hint=hint)]
    if sizes[CARD] > MAX_CARD_BYTES:
        message = f"the card has {sizes[CARD]:,} bytes; at most {MAX_CARD_BYTES:,} are read"
        return None, [Problem(code="SW101", file=CARD, message=message)]
    try:
        with files.open(CARD) as file:
            text = file.read().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        message = f"the card cannot be read: {getattr(error, 'strerror', None) or error}"
        return None, [Problem(code="SW101", file=CARD, message=message, hint="it must be text in UTF-8")]
    front, body = split_front_matter(text)
    try:
        metadata = yaml.safe_load(front) or {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        message = "the front matter is not YAML: " + " ".join(str(error).split())[:300]
        return None, [Problem(code="SW101", file=CARD, message=message, hint="mend it, or build the dataset again")]
    if not isinstance(metadata, dict):
        message = f"the front matter is a {type(metadata).__name__}, not a mapping"
        return None, [Problem(code="SW101", file=CARD, message=message, hint="write `key: value` lines")]
    return Card(text=text, metadata=metadata, body=body), []
