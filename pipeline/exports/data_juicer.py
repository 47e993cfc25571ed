r"""data-juicer's JSON Lines: one text a row, in which tokens stand for media and marks say who speaks.

    data-juicer/<split>.jsonl
    data-juicer/media/ab/<sha256>.jpg

    {"id": "7", "text": "[[human]]: <__dj__image>\nWhat?\n[[gpt]]: A dog. <|__dj__eoc|>", "images": ["media/…"], …}

Turns are written as data-juicer's own `llava_to_dj` does, as one chunk; tokens take the listed media in their order.
Paths are relative to the file, as its loader resolves them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.errors import RowRejected
from pipeline.exports.extra_columns import extra_columns, json_extras
from pipeline.exports.json_records import RecordsWriter, problems_of_records
from pipeline.exports.tagged_turns import SPEAKERS, missing_file
from pipeline.exports.writer import Format, SplitWriter, Written

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.exports.losses import Losses
    from pipeline.exports.place import Place
    from pipeline.rows.canonical import CanonicalRow

_TITLE = "data-juicer"
TOKENS = {"image": "<__dj__image>", "video": "<__dj__video>"}
END = "<|__dj__eoc|>"
_OWN = ("text", "images", "videos", "audios", "query", "response", "history", "system")
"""Columns that data-juicer reads itself; so are those that begin with `__dj__`."""
_MARKS = re.compile(
    r"<__dj__\w+>|<\|__dj__\w+\|>|<(?:image|video|audio)>|\[\[[a-zA-Z]*\]\]: |^\[\[\w+\]\]:", re.MULTILINE
)
"""What its tools would take for media, the end of a chunk, or another turn."""


class DataJuicer(Format):
    """JSON Lines with `text`, `images` and `videos`."""

    name: ClassVar[str] = "data-juicer"
    title: ClassVar[str] = "data-juicer JSONL"
    source: ClassVar[str] = "modelscope/data-juicer, tools/fmt_conversion/multimodal/README.md and llava_to_dj.py"
    rule: ClassVar[str] = "each row has one text, with as many tokens as it lists media, and each listed file is there"
    usage: ClassVar[str] = "dataset_path: {folder}/SPLIT.jsonl in its recipe"

    def begin(self, place: Place, losses: Losses) -> SplitWriter:
        """Return the writer of a split."""
        return _Writer(place, losses)

    def check(self, folder: Path, written: list[Written]) -> list[str]:
        """Return the rows that data-juicer would read wrongly."""

        def problem(record: Any) -> str | None:
            text = record.get("text")
            if not isinstance(text, str) or not text.endswith(END):
                return f"there is no text that ends in {END}"
            paths = []
            for kind, token in TOKENS.items():
                found = record[f"{kind}s"]
                if text.count(token) != len(found):
                    return f"{text.count(token)} times {token}, but {len(found)} {kind}s"
                paths += found
            return missing_file(folder, paths)

        return problems_of_records(folder, written, problem)


class _Writer(RecordsWriter):
    """Writes a line a row."""

    def __init__(self, place: Place, losses: Losses) -> None:
        super().__init__(place, losses)
        found_out = (name for name in (*place.extras, *place.loose) if name.startswith("__dj__"))
        self._extras = extra_columns(place, _TITLE, {*_OWN, *found_out, place.id_column})

    def record(self, row: CanonicalRow) -> dict[str, Any]:
        """Return the record of a row."""
        own = {self.place.id_column: row.id} if self.place.id_column is not None else {}
        said: dict[str, Any] = {
            "text": _text(row),
            "images": [self.place.media(medium) for medium in row.images],
            "videos": [self.place.media(medium) for medium in row.videos],
        }
        return {**own, **said, **json_extras(row, self._extras, self.losses)}


def _text(row: CanonicalRow) -> str:
    """Return the turns as one text.

    Raises:
        RowRejected: data-juicer would find media, chunks or turns in a text that are none.
    """
    turns = []
    for turn in row.turns:
        said = []
        for part in turn.parts:
            if isinstance(part, str) and _MARKS.search(part):
                raise RowRejected("export.tag_in_text", "a text that holds what data-juicer takes for media or turns")
            said.append(part if isinstance(part, str) else TOKENS[part.kind])
        turns.append(f"[[{SPEAKERS[turn.role]}]]: {''.join(said)}")
    return "\n".join(turns) + f" {END}"
