"""Values in YAML text put in place of others: every byte that need not change stays as it is.

Numbers and texts are exchanged where they stand, entries are added below the last one of their list or mapping, and
only where neither is enough a key or an item of a list is written anew. What comes out is read again and compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

WIDTH = 1_000
"""Characters of a line that is written; a longer text is folded."""


class CannotSplice(Exception):
    """A text in which the values cannot be exchanged in place."""


@dataclass(frozen=True, slots=True)
class _Edit:
    start: int
    end: int
    text: str


def dumped(value: Any) -> str:
    """Return YAML as it is written everywhere here."""
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=WIDTH))


def with_values(text: str, values: dict[str, Any]) -> str:
    """Return YAML text whose mapping has these values for these keys.

    Raises:
        CannotSplice: the text is no mapping, or holds things (an anchor, a merged mapping) that cannot be kept.
    """
    try:
        before = yaml.safe_load(text) or {}
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CannotSplice(str(error)) from None
    if root is None:
        gap = "" if text.endswith("\n") or not text else _newline(text)
        return text + gap + _lines(values, 0, text)
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        raise CannotSplice("the metadata are no block of `key: value` lines")
    wanted = {**before, **values}
    for whole_keys in (False, True):
        try:
            after = _Splicer(text, whole_keys=whole_keys).apply(root, wanted)
            if same(yaml.safe_load(after), wanted):
                return after
        except (CannotSplice, yaml.YAMLError, ValueError, RecursionError):
            continue
    raise CannotSplice("its YAML uses anchors, tags or a layout that cannot be kept")


def same(one: Any, other: Any) -> bool:
    """Compare values and their types: 9 is not 9.0, and 1 not true."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other or (one != one and other != other))  # noqa: PLR0124  not a number


class _Splicer:
    """Finds the edits that make the values of a text others."""

    def __init__(self, text: str, *, whole_keys: bool) -> None:
        self.text = text
        self.whole_keys = whole_keys
        """Whether a key of the document is written anew as a whole when anything in it changes."""
        self.constructor = yaml.SafeLoader("")

    def apply(self, root: yaml.MappingNode, wanted: dict[str, Any]) -> str:
        """Return the text with its edits made."""
        edits = sorted(self._mapping(root, wanted, top=True), key=lambda edit: (edit.start, edit.end))
        pieces, place = [], 0
        for edit in edits:
            if edit.start < place:
                raise CannotSplice("two edits of one place")
            pieces += [self.text[place : edit.start], edit.text]
            place = edit.end
        return "".join([*pieces, self.text[place:]])

    def _value(self, node: yaml.Node) -> Any:
        return self.constructor.construct_document(node)

    def _edits(self, node: yaml.Node, wanted: Any) -> list[_Edit]:
        """Return the edits inside a node; CannotSplice: it must be written anew."""
        if same(self._value(node), wanted):
            return []
        if isinstance(node, yaml.MappingNode) and isinstance(wanted, dict):
            return self._mapping(node, wanted)
        if isinstance(node, yaml.SequenceNode) and isinstance(wanted, list):
            return self._sequence(node, wanted)
        if isinstance(node, yaml.ScalarNode) and node.style not in ("|", ">") and not isinstance(wanted, dict | list):
            start, end = node.start_mark.index, node.end_mark.index
            if start < end and "\n" not in self.text[start:end]:
                return [_Edit(start, end, _flow(wanted))]
        if getattr(node, "flow_style", False):
            return [_Edit(node.start_mark.index, node.end_mark.index, _flow(wanted))]
        raise CannotSplice

    def _mapping(self, node: yaml.MappingNode, wanted: dict[str, Any], *, top: bool = False) -> list[_Edit]:
        keys: list[str] = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(keys)) < len(node.value) or "<<" in keys or set(keys) - set(wanted):
            raise CannotSplice
        added = {key: value for key, value in wanted.items() if key not in keys}
        if node.flow_style and added:
            return [_Edit(node.start_mark.index, node.end_mark.index, _flow(wanted))]
        edits = []
        for key, (key_node, value_node) in zip(keys, node.value, strict=True):
            try:
                if self.whole_keys and top and not same(self._value(value_node), wanted[key]):
                    raise CannotSplice
                edits += self._edits(value_node, wanted[key])
            except CannotSplice:
                if node.flow_style:
                    raise
                column = key_node.start_mark.column
                written = _lines({key: wanted[key]}, column, self.text).strip()
                edits.append(_Edit(key_node.start_mark.index, self._end(value_node), written))
        if added:
            end = self._line_end(self._end(node.value[-1][1]))
            written = _lines(added, node.start_mark.column, self.text).rstrip()
            edits.append(_Edit(end, end, _newline(self.text) + written))
        return edits

    def _sequence(self, node: yaml.SequenceNode, wanted: list[Any]) -> list[_Edit]:
        values = [self._value(item) for item in node.value]
        if node.flow_style and len(values) != len(wanted):
            return [_Edit(node.start_mark.index, node.end_mark.index, _flow(wanted))]
        if len(values) > len(wanted) or not values or any(map(_are_others, values, wanted)):
            raise CannotSplice
        edits = []
        for item, value in zip(node.value, wanted, strict=False):
            try:
                edits += self._edits(item, value)
            except CannotSplice:
                if node.flow_style:
                    raise
                written = _lines(value, item.start_mark.column, self.text).strip()
                edits.append(_Edit(item.start_mark.index, self._end(item), written))
        if more := wanted[len(values) :]:
            end = self._line_end(self._end(node.value[-1]))
            written = _lines(more, node.start_mark.column, self.text).rstrip()
            edits.append(_Edit(end, end, _newline(self.text) + written))
        return edits

    def _end(self, node: yaml.Node) -> int:
        """Return where a node ends, without the comments and empty lines that the parser counts as its own."""
        if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
            last = node.value[-1]
            return self._end(last[1] if isinstance(last, tuple) else last)
        end = int(node.end_mark.index)
        return len(self.text[:end].rstrip()) if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">") else end

    def _line_end(self, place: int) -> int:
        end = self.text.find("\n", place)
        end = len(self.text) if end < 0 else end
        return end - 1 if self.text[place:end].endswith("\r") else end


def _are_others(one: Any, other: Any) -> bool:
    """Tell whether two items of a list are about different things, by their names."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return False
    key = next((key for key in ("config_name", "split", "name") if key in one), "")
    return bool(key) and one[key] != other.get(key)


def _flow(value: Any) -> str:
    """Write a value on one line."""
    return str(yaml.safe_dump([value], sort_keys=False, allow_unicode=True, default_flow_style=True, width=1 << 30))[
        1:-2
    ]


def _lines(value: Any, column: int, like: str) -> str:
    """Write a value as a block that stands in a column, the first line included."""
    lines = dumped(value).removesuffix("...\n").splitlines()
    return "".join(f"{' ' * column}{line}{_newline(like)}" for line in lines)


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
