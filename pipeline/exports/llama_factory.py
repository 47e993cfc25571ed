"""LLaMA-Factory's sharegpt rows as JSON Lines, and `dataset_info.json` with an entry for each config and split.

    llama-factory/dataset_info.json
    llama-factory/<split>.jsonl
    llama-factory/media/ab/<sha256>.jpg

    {"id": "7", "messages": [{"role": "user", "content": "<image>What?"}, …], "images": ["media/…"], "videos": []}

Media are looked for in the folder of dataset_info.json. An entry names all tags, since those that it leaves out are
none, and only the columns of media that the rows have.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.exports.json_records import problems_of_records
from pipeline.exports.role_messages import RoleMessagesWriter, problem_of_messages
from pipeline.exports.writer import Format, SplitWriter, Written
from pipeline.workspace import read_json, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.exports.losses import Losses
    from pipeline.exports.place import Place
    from pipeline.rows.canonical import CanonicalRow

INFO = "dataset_info.json"
_TITLE = "LLaMA-Factory"
_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "observation_tag": "observation",
    "function_tag": "function_call",
    "system_tag": "system",
}


class LlamaFactory(Format):
    """JSON Lines with `messages`, `images` and `videos`, registered."""

    name: ClassVar[str] = "llama-factory"
    title: ClassVar[str] = "LLaMA-Factory sharegpt"
    source: ClassVar[str] = "hiyouga/LLaMA-Factory, data/README.md and src/llamafactory/data/converter.py"
    rule: ClassVar[str] = (
        "user and assistant take turns behind a system's turn at most, tags are as many as files and none is in the "
        "system's turn, dataset_info.json names each file and its columns, the files are there"
    )
    usage: ClassVar[str] = "--dataset_dir {folder} --dataset NAME, a name of dataset_info.json"

    def __init__(self) -> None:
        self._dataset = ""

    def begin(self, place: Place, losses: Losses) -> SplitWriter:
        """Return the writer of a split."""
        self._dataset = place.dataset
        return _Writer(place, losses)

    def conclude(self, folder: Path, written: list[Written]) -> None:
        """Write dataset_info.json."""
        entries: dict[str, Any] = {}
        for one in written:
            if not one.rows:
                continue
            # names are given as a list with commas
            name = re.sub(r"[^\w.-]", "_", f"{self._dataset}_{one.files[0].removesuffix('.jsonl')}")
            while name in entries:
                name += "_"
            entries[name] = {
                "file_name": one.files[0],
                "formatting": "sharegpt",
                "columns": {"messages": "messages"} | {f"{kind}s": f"{kind}s" for kind in one.kinds},
                "tags": _TAGS,
            }
        write_json(folder / INFO, entries)

    def check(self, folder: Path, written: list[Written]) -> list[str]:
        """Return the records that LLaMA-Factory would drop or fail at, and what is wrong with dataset_info.json."""
        entries = read_json(folder / INFO) or {}
        problems = []
        for one in (one for one in written if one.rows):
            found = [entry for entry in entries.values() if entry.get("file_name") == one.files[0]]
            if len(found) != 1 or found[0].get("tags") != _TAGS or found[0].get("formatting") != "sharegpt":
                problems.append(f"{INFO} has {len(found)} entries for {one.files[0]}, or not as its rows are")
                continue
            columns = found[0]["columns"]
            check = partial(problem_of_messages, folder, key=columns["messages"], columns=columns)
            problems += problems_of_records(folder, [one], check)
        return problems


class _Writer(RoleMessagesWriter):
    """Writes a line a row."""

    title = _TITLE

    def record(self, row: CanonicalRow) -> dict[str, Any]:
        """Return the record of a row."""
        record = self.messages(row)
        self.note_losses(row)
        return record
