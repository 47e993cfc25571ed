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
    {
        *("annotations_creators", "configs", "dataset_info", "extra_gated_prompt", "language", "license", "viewer"),
        *("multilinguality", "pretty_name", "size_categories", "source_datasets", "tags", "task_categories"),
    }
)
"""Keys that tell front matter from other text between two `---` lines."""
MAX_VALUES = 1_000_000
"""Values in front matter once its aliases are written out, as every message would write them."""
MAX_DIGITS = 100
"""Digits of a number in it."""
UNREADABLE = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, ArithmeticError, RecursionError)
"""What PyYAML raises on strange documents: on `!!int ""`, for example, an IndexError."""
_SECOND_BLOCK = re.compile(r"\s*(?:---[ \t]*\r?\n)?(?P<yaml>\w+:[^\n]*\n(?:[^\n]*\n)*?)---[ \t]*(?:\r?\n|\Z)")


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
    above = len(text) - len(text.lstrip())  # empty lines, which loaders skip
    front, body = split_front_matter(text[above:])
    top = text.count("\n", 0, above) + 2
    try:
        metadata, twice = load_metadata(front)
    except UnfitError as error:
        hint = "a card needs none of that; do not trust this dataset"
        return None, [Problem(code="SW101", file=CARD, message=f"the front matter {error}", hint=hint)]
    except UNREADABLE as error:
        message = f"the front matter is not YAML: {_why(error, top)}"
        return None, [Problem(code="SW101", file=CARD, message=message, hint="mend it, or build the dataset again")]
    if not isinstance(metadata, dict):
        message = f"the front matter is a {type(metadata).__name__}, not a mapping"
        return None, [Problem(code="SW101", file=CARD, message=message, hint="write `key: value` lines")]
    problems = []
    for key, first, line in twice:
        message = f"the key in line {line + top} stands in line {first + top} as well; loaders take the last of them"
        problems.append(Problem(code="SW116", file=CARD, key=key, message=message, hint="leave one of them out"))
    if second := _second_block(body):
        line = text.count("\n", 0, len(text) - len(body) + second[0]) + 1
        message = f"a second block of metadata stands in line {line}, with {second[1]}; nobody reads it"
        problem = Problem(code="SW116", file=CARD, message=message, hint="join it with the first one")
        if len(body) == len(text) - above:
            message = f"the metadata in line {line}, with {second[1]}, have no line `---` above, and nobody reads them"
            problem = Problem(code="SW101", file=CARD, message=message, hint="write `---` above them")
        problems.append(problem)
    return Card(text=text, metadata=metadata, body=body), problems


class UnfitError(ValueError):
    """Front matter that is made to break its readers."""


def load_metadata(front: str) -> tuple[Any, list[tuple[str, int, int]]]:
    """Return the value of YAML as `yaml.safe_load` does; and its double keys, with the lines of two of them from 0.

    Raises:
        UNREADABLE: it is not YAML.
        UnfitError: it is a bomb.
    """
    loader = yaml.SafeLoader(front)
    try:
        root = loader.get_single_node()
        if root is None:
            return {}, []
        _written_out(root, {})
        twice = list(_double_keys(root))  # before merged keys are written into it
        return loader.construct_document(root) or {}, twice
    finally:
        loader.dispose()


def _written_out(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Return how many values a node is with its aliases written out; 0 stands for one that is not done yet."""
    if id(node) in sizes:
        if not sizes[id(node)]:
            raise UnfitError("holds a value that holds itself")
        return sizes[id(node)]
    sizes[id(node)] = 0
    size = 1
    if isinstance(node, yaml.MappingNode):
        size += sum(_written_out(part, sizes) for pair in node.value for part in pair)
    elif isinstance(node, yaml.SequenceNode):
        size += sum(_written_out(item, sizes) for item in node.value)
    elif node.tag == "tag:yaml.org,2002:int" and len(node.value) > MAX_DIGITS:
        raise UnfitError(f"holds a number of {len(node.value):,} digits")
    if size > MAX_VALUES:
        raise UnfitError(f"holds more than {MAX_VALUES:,} values once its aliases are written out")
    sizes[id(node)] = size
    return size


def _double_keys(root: yaml.Node) -> Iterator[tuple[str, int, int]]:
    """Find mappings of the document that have one key twice; each is looked at once, however many aliases it has."""
    seen: set[int] = set()
    waiting: list[tuple[str, yaml.Node]] = [("", root)]
    while waiting:
        path, node = waiting.pop()
        if id(node) in seen:
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


def _why(error: Exception, top: int) -> str:
    """Say what is wrong with YAML, and in which line of the card, if the parser tells."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = f"line {mark.line + top}: " if mark is not None else ""
    return where + " ".join(str(getattr(error, "problem", None) or error).split())[:300]


def _second_block(body: str) -> tuple[int, str] | None:
    """Return where a second block of metadata begins right behind the first one, and a key of it."""
    match = _SECOND_BLOCK.match(body)
    if not match:
        return None
    try:
        value = yaml.safe_load(match["yaml"])
    except UNREADABLE:
        return None
    known = [key for key in value if isinstance(key, str) and key in KNOWN_KEYS] if isinstance(value, dict) else []
    return (match.start("yaml"), f"`{known[0]}`") if known else None
