"""YAML documents whose every key knows its line, and their check against a model: all mistakes at once.

Recipes, schemas and the front matter of cards are read through here. YAML 1.2, so `no` and `on` stay text.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from pipeline.errors import Mistake, RecipeError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Location = tuple[str | int, ...]
M = TypeVar("M", bound="Strict")


class Strict(BaseModel):
    """A part of a document: frozen, and an unknown key is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False, strict=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A parsed YAML document and the line of each of its keys."""

    file: str
    """The file, as it is shown in mistakes."""
    value: Any
    """Plain dicts, lists and scalars."""
    lines: dict[Location, int]
    """1-based line of each key or list item, by its path."""

    def line(self, location: Location) -> int:
        """Return the line of a key, or of its nearest ancestor that stands in the file."""
        for end in range(len(location), -1, -1):
            if location[:end] in self.lines:
                return self.lines[location[:end]]
        return 1

    def mistake(self, location: Location, message: str, hint: str = "") -> Mistake:
        """Describe a mistake at a key of this document."""
        return Mistake(file=self.file, line=self.line(location), key=dotted(location), message=message, hint=hint)


def dotted(location: Location) -> str:
    """Write a key path as people read it: `configs.real.splits`, `curate[2].limit`."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else part)
    return text


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint that names the nearest known word, or all of them."""
    choices = sorted(known)
    match = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    if match:
        return f"did you mean {match[0]!r}?"
    return f"known: {', '.join(choices)}" if choices else "none is defined"


def read_document(path: Path, *, shown_as: str | None = None) -> Document:
    """Read a YAML file.

    Raises:
        RecipeError: the file cannot be read, is not YAML, or is not a mapping.
    """
    file = shown_as or str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = getattr(error, "strerror", None) or f"not UTF-8: {error}"
        raise RecipeError([Mistake(file=file, line=1, key="", message=f"cannot be read: {message}")]) from None
    return parse_document(text, file=file)


def parse_document(text: str, *, file: str, first_line: int = 1) -> Document:
    """Parse YAML text that starts at `first_line` of `file`; raises RecipeError when it is not a mapping."""
    yaml = YAML(typ="rt")
    yaml.allow_duplicate_keys = False
    try:
        tree = yaml.load(text)
    except DuplicateKeyError as error:
        line = (error.problem_mark.line if error.problem_mark else 0) + first_line
        problem = str(error.problem).splitlines()[0]
        raise RecipeError([Mistake(file=file, line=line, key="", message=problem)]) from None
    except MarkedYAMLError as error:
        line = (error.problem_mark.line if error.problem_mark else 0) + first_line
        raise RecipeError([Mistake(file=file, line=line, key="", message=f"not YAML: {error.problem}")]) from None
    except (YAMLError, RecursionError, ValueError) as error:
        message = f"not YAML: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        raise RecipeError([Mistake(file=file, line=first_line, key="", message=message)]) from None
    lines: dict[Location, int] = {(): first_line}
    value = _plain(tree, (), lines, first_line)
    if not isinstance(value, dict):
        kind = "empty" if value is None else f"a {type(value).__name__}"
        message = f"the document is {kind}, not a mapping of keys"
        raise RecipeError([Mistake(file=file, line=first_line, key="", message=message)])
    return Document(file=file, value=value, lines=lines)


def _plain(node: Any, location: Location, lines: dict[Location, int], first_line: int) -> Any:
    """Turn ruamel's commented tree into plain values and note the line of each key."""
    if isinstance(node, CommentedMap):
        result = {}
        for key, value in node.items():
            name = key if isinstance(key, str) else str(key)
            here = (*location, name)
            lines[here] = node.lc.key(key)[0] + first_line
            result[name] = _plain(value, here, lines, first_line)
        return result
    if isinstance(node, CommentedSeq):
        items = []
        for position, value in enumerate(node):
            here = (*location, position)
            lines[here] = node.lc.item(position)[0] + first_line
            items.append(_plain(value, here, lines, first_line))
        return items
    if isinstance(node, bool) or node is None:
        return node
    for kind in (int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return str(node)


def check(model: type[M], document: Document) -> tuple[M | None, list[Mistake]]:
    """Check a document against a model; returns the model or None, and every mistake."""
    try:
        return model.model_validate(document.value), []
    except ValidationError as error:
        return None, [_mistake(model, document, detail) for detail in error.errors(include_url=False)]


def _mistake(model: type[BaseModel], document: Document, detail: Any) -> Mistake:
    location: Location = tuple(part for part in detail["loc"] if part != "[key]")
    kind = detail["type"]
    if kind == "extra_forbidden":
        known = _keys_at(model, location[:-1])
        return document.mistake(location, "unknown key", nearest(str(location[-1]), known))
    if kind == "missing":
        return document.mistake(location[:-1], f"the key {location[-1]!r} is missing")
    value = detail.get("input")
    message = detail["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if kind == "value_error" or isinstance(value, dict | list):
        return document.mistake(location, message)
    return document.mistake(location, f"{message}, not {value!r}")


def _keys_at(model: type[BaseModel], location: Location) -> set[str]:
    """Return the keys that the model allows at a place of the document."""
    annotation: Any = model
    for part in location:
        annotation = _step(annotation, part)
    for candidate in _alternatives(annotation):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return {field.alias or name for name, field in candidate.model_fields.items()}
    return set()


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    arguments = get_args(annotation)
    if isinstance(annotation, type) or not arguments or get_origin(annotation) in (dict, list, tuple):
        return (annotation,)
    return tuple(inner for argument in arguments for inner in _alternatives(argument))


def _step(annotation: Any, part: str | int) -> Any:
    for candidate in _alternatives(annotation):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            for name, field in candidate.model_fields.items():
                if (field.alias or name) == part:
                    return field.annotation
        if get_origin(candidate) is dict:
            return get_args(candidate)[1]
        if get_origin(candidate) in (list, tuple) and isinstance(part, int):
            return get_args(candidate)[0]
    return None
