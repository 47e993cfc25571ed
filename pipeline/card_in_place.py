"""A card as text whose computed part can be exchanged, and nothing else of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pipeline.card_text import FACTS_END, GENERATED_KEYS, YAML_BEGIN, YAML_END, split_front_matter
from pipeline.checks.read_card import UNREADABLE, load_metadata
from pipeline.described_shards import written_splits
from pipeline.splice_yaml import CannotSplice, dumped, same, with_values

if TYPE_CHECKING:
    from pipeline.checks.dataset import Dataset

BOM = "\ufeff"
_BLOCK = re.compile(r"^# shardwright:begin[^\n]*\n(?P<yaml>.*?)^# shardwright:end", re.DOTALL | re.MULTILINE)
_TABLE = re.compile(
    r"(?P<head>^\| config \| split \| rows \| shards \| bytes \|\n\|[-:|]+\|\n)(?P<rows>(?:\|[^\n]*\|\n)*)",
    re.MULTILINE,
)
_NAMED = re.compile(r"^(?:- config_name|  - split): (?P<name>\S.*?)\s*$", re.MULTILINE)
_DEFAULT = re.compile(
    r"^- config_name: (?P<name>\S.*?)\s*\n(?:(?!- config_name)[^\n]*\n)*?  default: true\s*$", re.MULTILINE
)


class CardInPlace:
    """A card as text: what people wrote, and the values that are computed."""

    def __init__(self, whole: str, *, there: bool) -> None:
        self.there = there
        """Whether there is a card at all; one that is made is one of ours."""
        self.above = whole[: len(whole) - len(whole.lstrip(BOM + " \t\r\n"))]
        self.front, self.body = split_front_matter(whole[len(self.above) :])
        head = whole[len(self.above) : len(whole) - len(self.body)]
        self._opening = head[: head.index("\n") + 1] if self.front else ""
        self._closing = head[len(self._opening) + len(self.front) :]
        begins, ends = (
            len(re.findall(f"^# shardwright:{word}", self.front, re.MULTILINE)) for word in ("begin", "end")
        )
        self._block = _BLOCK.search(self.front)
        if (begins, ends) not in ((0, 0), (1, 1)) or (begins and not self._block):
            raise CannotSplice("the markers of its generated block are no pair")
        self.ours = self._block is not None or not there
        self.values, self.order, self.default = self._computed()

    @property
    def whole(self) -> str:
        """The card."""
        return f"{self.above}{self._opening}{self.front}{self._closing}{self.body}"

    def _computed(self) -> tuple[dict[str, Any], list[str], str | None]:
        """Return the values of the generated keys, configs and splits in their order, and the default config.

        A block of ours that is broken still has lines that say the last two.
        """
        written = self._block["yaml"] if self._block else self.front
        try:
            loaded, _ = load_metadata(written)
        except UNREADABLE:
            if not self._block:
                raise CannotSplice("its front matter is not YAML, and was not written by shardwright") from None
            loaded = None
        values = loaded if isinstance(loaded, dict) else {}
        order = [match["name"].strip("'\"") for match in _NAMED.finditer(written)]
        infos = values.get("dataset_info")
        for info in infos if isinstance(infos, list) else [infos]:
            if isinstance(info, dict):
                splits = [str(entry.get("name")) for entry in written_splits(info)]
                order += [str(info.get("config_name", "default")), *splits]
        default = _DEFAULT.search(written)
        known = {key: values[key] for key in GENERATED_KEYS if key in values}
        return known, list(dict.fromkeys(order)), default["name"].strip("'\"") if default else None

    def change(self, values: dict[str, Any]) -> None:
        """Write values of generated keys."""
        known = self.values
        self.values = {key: value for key in GENERATED_KEYS if (value := values.get(key, known.get(key))) is not None}
        newline = "\r\n" if "\r\n" in self.front else "\n"
        if self._block is not None:
            if not same(self.values, self._loaded_block()):
                start, end = self._block.span("yaml")
                self.front = self.front[:start] + dumped(self.values).replace("\n", newline) + self.front[end:]
                self._block = _BLOCK.search(self.front)
        elif not self.there and not self.front:
            self._opening, self._closing = "---\n", "---\n"
            self.front = f"{YAML_BEGIN}\n{dumped(self.values)}{YAML_END}\n"
            self._block = _BLOCK.search(self.front)
        else:
            changed = {key: value for key, value in values.items() if key not in known or not same(value, known[key])}
            if changed:
                self.front = with_values(self.front, changed)
                self._opening, self._closing = self._opening or "---\n", self._closing or "---\n"

    def _loaded_block(self) -> Any:
        try:
            return load_metadata(self._block["yaml"])[0] if self._block else None
        except UNREADABLE:
            return None

    def change_table(self, dataset: Dataset) -> None:
        """Write the numbers of the table of splits, which are those of `dataset_info`."""
        start = self.body.find("<!-- shardwright:begin facts")
        end = self.body.find(FACTS_END, start)
        match = _TABLE.search(self.body, start, end) if 0 <= start < end else None
        rows = _table_rows(dataset, self.values.get("dataset_info"))
        if match and rows:
            rows = rows.replace("\n", "\r\n" if "\r\n" in match[0] else "\n")
            self.body = self.body[: match.start("rows")] + rows + self.body[match.end("rows") :]


def _table_rows(dataset: Dataset, infos: Any) -> str:
    """Return the rows of the table of splits, or nothing when a number of it is not known."""
    numbers = {
        (str(info.get("config_name", "default")), str(entry.get("name"))): (
            entry.get("num_examples"),
            entry.get("num_bytes"),
        )
        for info in infos or []
        for entry in written_splits(info)
    }
    lines = []
    for split in dataset.splits:
        rows, size = numbers.get((split.config, split.name), (None, None))
        if type(rows) is not int or type(size) is not int:
            return ""
        lines.append(f"| {split.config} | {split.name} | {rows:,} | {len(split.shards):,} | {size:,} |\n")
    return "".join(lines)
