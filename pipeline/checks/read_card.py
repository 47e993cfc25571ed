"""The card of a dataset as `datasets` and the Hub read it: front matter and text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from pipeline.card_text import split_front_matter
from pipeline.checks.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.checks.files import DatasetFiles

CARD = "README.md"
MAX_CARD_BYTES = 16 << 20
"""A card larger than this is not read."""
MERGE = "tag:yaml.org,2002:merge"
KNOWN_KEYS = frozenset(
    ("annotations_creators", "configs", "dataset_info", "extra_gated_prompt", "language", "license", "multilinguality")
    + ("pretty_name", "size_categories", "source_datasets", "tags", "task_categories", "task_ids", "viewer")
)
"""Keys that tell front matter from other text between two `---` lines."""
_SECOND_BLOCK = re.compile(r"\s*(?:---[ \t]*\r?\n)?(?P<yaml>\S[^\n]*\n(?:[^\n]*\n)*?)---[ \t]*(?:\r?\n|\Z)")


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
        metadata, twice = _loaded(front)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        message = "the front matter is not YAML: " + " ".join(str(error).split())[:300]
        return None, [Problem(code="SW101", file=CARD, message=message, hint="mend it, or build the dataset again")]
    if not isinstance(metadata, dict):
        message = f"the front matter is a {type(metadata).__name__}, not a mapping"
        return None, [Problem(code="SW101", file=CARD, message=message, hint="write `key: value` lines")]
    problems = [
        Problem(
            code="SW116",
            file=CARD,
            key=key,
            message=f"the key in line {line + 2} stands in line {first + 2} already: loaders take one, the Hub none",
            hint="leave one of them out",
        )
        for key, first, line in twice
    ]
    if second := _second_block(body):
        line = text.count("\n", 0, len(text) - len(body) + second[0]) + 1
        message = f"a second block of metadata stands in line {line}, with {second[1]}; nobody reads it"
        problems.append(Problem(code="SW116", file=CARD, message=message, hint="join it with the first one"))
    return Card(text=text, metadata=metadata, body=body), problems


def _loaded(front: str) -> tuple[Any, list[tuple[str, int, int]]]:
    """Return the value of YAML as `yaml.safe_load` does; and its double keys, with the lines of two of them from 0."""
    loader = yaml.SafeLoader(front)
    try:
        root = loader.get_single_node()
        twice = list(_double_keys(root))
        return (loader.construct_document(root) if root is not None else None) or {}, twice
    finally:
        loader.dispose()


def _double_keys(root: yaml.Node | None) -> Iterator[tuple[str, int, int]]:
    """Find mappings of the document that have one key twice; each is looked at once, however many aliases it has."""
    seen: set[int] = set()
    waiting: list[tuple[str, yaml.Node | None]] = [("", root)]
    while waiting:
        path, node = waiting.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += [(f"{path}[{number}]", item) for number, item in enumerate(node.value)][::-1]
        elif isinstance(node, yaml.MappingNode):
            lines: dict[tuple[str, str], int] = {}
            inner = []
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    continue
                here = f"{path}.{key.value}"[-200:].lstrip(".")
                line = key.start_mark.line
                if (known := (key.tag, key.value)) in lines and key.tag != MERGE:
                    yield here, lines[known], line
                lines.setdefault(known, line)
                inner.append((here, value))
            waiting += inner[::-1]


def _second_block(body: str) -> tuple[int, str] | None:
    """Return where a second block of metadata begins right behind the first one, and a key of it."""
    match = _SECOND_BLOCK.match(body)
    if not match:
        return None
    try:
        value = yaml.safe_load(match["yaml"])
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    known = [key for key in value if isinstance(key, str) and key in KNOWN_KEYS] if isinstance(value, dict) else []
    return (match.start("yaml"), f"`{known[0]}`") if known else None
