"""YAML documents whose every key knows its line.

Recipes, schemas and the front matter of cards are read through here. YAML 1.2, so `no` and `on` stay text. Keys are
always text, as they are written. Anchors, aliases and merge keys work; tags other than the plain ones do not.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, DocumentStartEvent, MappingStartEvent, ScalarEvent, SequenceStartEvent
from ruamel.yaml.reader import ReaderError

from pipeline.errors import Mistake, RecipeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

Location = tuple[str | int, ...]

MAX_DEPTH = 50
"""Levels of nesting; nothing that a recipe, schema or card can say needs ten."""
MAX_NODES = 200_000
"""Values in a document once its aliases are written out; what stops a YAML bomb."""
MAX_DIGITS = 1_000
"""Digits of a number."""
SHOWN = 60
"""Characters of a value in a message."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A parsed YAML document and the line of each of its keys."""

    file: str
    """The file, as it is shown in mistakes."""
    value: Any
    """Plain dicts, lists and scalars."""
    lines: dict[Location, int]
    """1-based line of each key or list item, by its path."""
    mistakes: list[Mistake] = field(default_factory=list)
    """What is wrong with the YAML itself, such as a key that stands twice; `model_check.check` passes it on."""

    def line(self, location: Location) -> int:
        """Return the line of a key, or of its nearest ancestor that stands in the file."""
        return self.lines.get(self.standing(location), 1)

    def standing(self, location: Location) -> Location:
        """Return the location, or its nearest ancestor that stands in the file."""
        return next((location[:end] for end in range(len(location), 0, -1) if location[:end] in self.lines), ())

    def mistake(self, location: Location, message: str, hint: str = "") -> Mistake:
        """Describe a mistake at a key of this document."""
        return Mistake(file=self.file, line=self.line(location), key=dotted(location), message=message, hint=hint)


def dotted(location: Location) -> str:
    """Write a key path as people read it: `configs.real.splits`, `curate[2].limit`."""
    text = ""
    for part in location:
        name = f"[{part}]" if isinstance(part, int) else shown(part)[1:-1]
        text += name if isinstance(part, int) or not text else f".{name}"
    return text


def shown(value: Any) -> str:
    """Write a value for a message, as YAML would rather than Python, on one line and not too long."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        text = "{" + ", ".join(f"{shown(key)[1:-1]}: {shown(item)}" for key, item in list(value.items())[:20]) + "}"
    elif isinstance(value, list):
        text = "[" + ", ".join(shown(item) for item in value[:20]) + "]"
    else:
        text = repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 2]}…{text[-1]}"


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint that names the nearest known word, or all of them."""
    choices = sorted(known)
    match = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    if match:
        return f"did you mean {match[0]!r}?"
    return f"known: {', '.join(choices)}" if choices else "none is defined"


def read_text(path: Path, *, shown_as: str) -> str:
    """Read a file as UTF-8, line ends as they are; raises RecipeError when it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}"
        raise RecipeError([Mistake(file=shown_as, line=1, key="", message=message)]) from None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"the file is not UTF-8: byte 0x{data[error.start]:02x} is no character"
        raise RecipeError(
            [Mistake(file=shown_as, line=line, key="", message=message, hint="save it as UTF-8")]
        ) from None


def read_document(path: Path, *, shown_as: str | None = None) -> Document:
    """Read a YAML file.

    Raises:
        RecipeError: the file cannot be read, is not YAML, or is not a mapping.
    """
    file = shown_as or str(path)
    return parse_document(read_text(path, shown_as=file), file=file)


def parse_document(text: str, *, file: str, first_line: int = 1) -> Document:
    """Parse YAML text that starts at `first_line` of `file`; raises RecipeError when it is not a mapping."""
    text = text.removeprefix("\ufeff")
    document = Document(file=file, value={}, lines={(): first_line})

    def fail(line: int, message: str, hint: str = "") -> RecipeError:
        mistake = Mistake(file=file, line=line + first_line, key="", message=message, hint=hint)
        return RecipeError([*document.mistakes, mistake])

    try:
        root = _Builder(document, text, first_line).run()
    except _Unfit as error:
        raise fail(error.line, str(error)) from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position)
        raise fail(line, f"not YAML: the character U+{ord(text[error.position]):04X} is not allowed") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message, hint = _readable(error)
        raise fail(mark.line if mark else 0, message, hint) from None
    except (YAMLError, RecursionError, ValueError, LookupError, AttributeError, AssertionError, TypeError) as error:
        # ruamel 0.19 raises plain Python errors on some malformed documents, e.g. `%YAML x` or `!<%zz> a`.
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise fail(0, f"not YAML: {message}") from None
    if not isinstance(root, dict):
        kind = "empty" if root is None else f"{_kind(root)}"
        raise fail(0, f"the document is {kind}, not keys with values", "it starts like `name: …`")
    return Document(file=file, value=root, lines=document.lines, mistakes=document.mistakes)


class _Unfit(Exception):
    """A document that is not read any further."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(slots=True)
class _Node:
    """A value of the document, with the line it starts on."""

    line: int
    value: Any
    """A scalar, a list of nodes, or a list of (key, its line, node)."""
    mapping: bool = False
    size: int = 1
    """Values in it once aliases are written out."""
    depth: int = 1


_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map")}
_INTEGER = re.compile(r"[-+]?[0-9]+\Z|0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
"""The words of YAML's core schema (YAML 1.2.2, 10.3.2)."""


class _Builder:
    """Builds plain values out of YAML events, without recursion into the unknown: nesting and size have limits."""

    def __init__(self, document: Document, text: str, first_line: int) -> None:
        self.document = document
        self.text = text
        self.first_line = first_line
        self.anchors: dict[str, _Node | None] = {}
        """Anchor -> its value; None while the value is still open."""

    def run(self) -> Any:
        """Return the plain value of the only document."""
        events: Iterator[Any] = iter(YAML(typ="safe", pure=True).parse(self.text))
        root: _Node | None = None
        for event in events:
            if isinstance(event, DocumentStartEvent):
                if root is not None:
                    raise _Unfit(event.start_mark.line, "a second document starts here; one file is one document")
            elif event.start_mark is not None and isinstance(
                event, ScalarEvent | AliasEvent | SequenceStartEvent | MappingStartEvent
            ):
                root = self._node(event, events, 1)
        return None if root is None else self._plain(root, (), self.document.lines)

    def _note(self, line: int, message: str, hint: str = "", key: str = "") -> None:
        mistake = Mistake(file=self.document.file, line=line + self.first_line, key=key, message=message, hint=hint)
        self.document.mistakes.append(mistake)

    def _node(self, event: Any, events: Iterator[Any], depth: int) -> _Node:
        line = event.start_mark.line
        if depth > MAX_DEPTH:
            raise _Unfit(line, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, AliasEvent):
            if event.anchor not in self.anchors:
                raise _Unfit(line, f"the alias *{event.anchor} has no anchor &{event.anchor} above it")
            target = self.anchors[event.anchor]
            if target is None:
                raise _Unfit(line, f"the alias *{event.anchor} stands inside of its own anchor")
            if depth + target.depth > MAX_DEPTH:
                raise _Unfit(line, f"nested deeper than {MAX_DEPTH} levels")
            return target
        if event.anchor:
            self.anchors[event.anchor] = None
        if event.tag and str(event.tag) not in _PLAIN_TAGS and str(event.tag) != "!":
            tag = str(event.tag).replace("tag:yaml.org,2002:", "!!")
            self._note(line, f"the tag {tag} has no meaning here", "write the plain value")
        node = _Node(line, None)
        if isinstance(event, ScalarEvent):
            node.value = self._scalar(event)
        else:
            node.mapping = isinstance(event, MappingStartEvent)
            node.value = []
            while (inner := next(events)).__class__.__name__ not in ("MappingEndEvent", "SequenceEndEvent"):
                key, key_line = None, inner.start_mark.line
                if node.mapping:
                    key = self._key(inner, self._node(inner, events, depth + 1))
                    inner = next(events)
                child = self._node(inner, events, depth + 1)
                node.value.append((key, key_line, child))
                node.size += child.size
                node.depth = max(node.depth, child.depth + 1)
                if node.size > MAX_NODES:
                    raise _Unfit(line, f"more than {MAX_NODES:,} values once its aliases are written out")
        if event.anchor:
            self.anchors[event.anchor] = node
        return node

    def _key(self, event: Any, node: _Node) -> str | None:
        """Return a key as it is written; one that is null, true or false, or no text at all, is a mistake."""
        if not isinstance(event, ScalarEvent):
            if isinstance(event, AliasEvent) and isinstance(node.value, str):
                return node.value
            self._note(event.start_mark.line, "a key is a text, not a list, keys with values or an alias")
            return None
        if event.style is None and event.tag is None and event.value in _WORDS and not isinstance(node.value, float):
            what = f"YAML reads this key as {shown(node.value)}, so the name would be lost"
            self._note(event.start_mark.line, what, "choose another name", key=str(event.value))
            return str(event.value) or "null"
        return str(event.value)

    def _scalar(self, event: Any) -> Any:
        text, line = str(event.value), event.start_mark.line
        if any("\ud800" <= character <= "\udfff" for character in text):
            self._note(line, f"{shown(text)} holds half of a surrogate pair, which is no character")
            return text.encode("utf-8", "replace").decode()
        tag = str(event.tag or "").removeprefix("tag:yaml.org,2002:")
        if event.style is not None or tag in ("str", "!"):
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.match(text):
            if len(text) > MAX_DIGITS:
                self._note(line, f"a number of {len(text):,} digits; {MAX_DIGITS:,} are allowed")
                return 0
            return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
        if _FLOAT.match(text):
            return float(text)
        return text

    def _plain(self, node: _Node, location: Location, lines: dict[Location, int]) -> Any:
        """Turn nodes into plain values, and note the line of each key in `lines`."""
        if node.mapping:
            result: dict[str, Any] = {}
            merged: list[tuple[int, _Node]] = []
            for key, line, child in node.value:
                here = (*location, key)
                if key is None:
                    continue
                if key == "<<":
                    merged.append((line, child))
                    continue
                if key in result:
                    first = lines[here]
                    self._note(line, f"the key stands twice; the first one is on line {first}", key=dotted(here))
                    continue
                lines[here] = line + self.first_line
                result[key] = self._plain(child, here, lines)
            for line, child in merged:
                self._merge(line, child, location, result, lines)
            return result
        if isinstance(node.value, list):
            items = []
            for position, (_, line, child) in enumerate(node.value):
                here = (*location, position)
                lines[here] = line + self.first_line
                items.append(self._plain(child, here, lines))
            return items
        return node.value

    def _merge(
        self, line: int, node: _Node, location: Location, result: dict[str, Any], lines: dict[Location, int]
    ) -> None:
        """Add the keys of `<<: *base` that are not there yet."""
        sources = [node] if node.mapping or not isinstance(node.value, list) else [child for _, _, child in node.value]
        for source in sources:
            if not source.mapping:
                self._note(line, "`<<` takes keys from an alias of keys with values, or a list of such", key="<<")
                continue
            # Lines of their own, so that a merge costs what it adds, however many keys and merges there are.
            inner_lines: dict[Location, int] = {}
            inner = self._plain(source, location, inner_lines)
            added = inner.keys() - result.keys()
            result.update({key: value for key, value in inner.items() if key in added})
            lines.update({place: at for place, at in inner_lines.items() if place[len(location)] in added})


def _readable(error: MarkedYAMLError) -> tuple[str, str]:
    """Say what a YAML error means, and what to do about it."""
    problem = " ".join(str(error.problem or error.context or "").split())
    if "'\\t'" in problem:
        return "not YAML: a tab in front of a key or value", "indent with spaces"
    if "mapping values are not allowed" in problem:
        return "not YAML: a second `key: value` on one line, or a wrong indent", "put a text with `: ` in quotes"
    if "could not find expected ':'" in problem:
        return "not YAML: a line without `key: value`", "check the indent and the lines above"
    if "expected <block end>" in problem:
        return "not YAML: the indent fits no key above, or a quote is not closed", "check the lines above"
    if "got '<stream end>'" in problem or "found '<stream end>'" in problem or "unexpected end of stream" in problem:
        return "not YAML: a bracket or quote is not closed", "check the lines above"
    return f"not YAML: {problem}", ""


def _kind(value: Any) -> str:
    kinds = {dict: "keys with values", list: "a list", str: "a text", bool: "true or false", int: "a number"}
    return kinds.get(type(value), "a number")
