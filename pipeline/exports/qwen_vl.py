"""Qwen-VL's fine-tuning JSON Lines: as LLaVA, with lists of images and with videos.

    qwen-vl/<split>.jsonl
    qwen-vl/media/ab/<sha256>.jpg

    {"id": "7", "image": ["media/…", "media/…"], "conversations": [{"from": "human", "value": "<image><image>…"}, …]}

Tags take the listed files in their order, and only in questions. Whoever is not human is the assistant to its reader,
so that a system's turn would be learnt as an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.exports.extra_columns import json_extras
from pipeline.exports.json_records import RecordsWithColumns, problems_of_records
from pipeline.exports.tagged_turns import (
    SPEAKERS,
    TAGS,
    alternating,
    drop_system,
    listed,
    missing_file,
    problem_of_turns,
    refuse_media_in_answers,
    tagged_text,
)
from pipeline.exports.writer import Format, SplitWriter, Written

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.exports.losses import Losses
    from pipeline.exports.place import Place
    from pipeline.rows.canonical import CanonicalRow

_TITLE = "Qwen-VL"
_OWN = ("id", "image", "images", "video", "videos", "conversations", "data_path", "num_tokens")


class QwenVL(Format):
    """JSON Lines with `image`, `video` and `conversations`."""

    name: ClassVar[str] = "qwen-vl"
    title: ClassVar[str] = "Qwen-VL fine-tuning JSONL"
    source: ClassVar[str] = "QwenLM/Qwen3-VL, qwen-vl-finetune: README.md and qwenvl/data/data_processor.py"
    rule: ClassVar[str] = (
        "human and gpt take turns, tags in questions are as many as files, none is in an answer, the files are there"
    )
    usage: ClassVar[str] = (
        'qwenvl/data/__init__.py: {{"annotation_path": "{folder}/SPLIT.jsonl", "data_path": "{folder}"}}'
    )

    def begin(self, place: Place, losses: Losses) -> SplitWriter:
        """Return the writer of a split."""
        return _Writer(place, losses)

    def check(self, folder: Path, written: list[Written]) -> list[str]:
        """Return the records at which its reader fails, or which it reads wrongly."""

        def problem(record: Any) -> str | None:
            files = {tag: listed(record.get(kind)) for kind, tag in TAGS.items()}
            said = problem_of_turns(
                record.get("conversations"),
                ("from", "value"),
                SPEAKERS,
                {tag: len(paths) for tag, paths in files.items()},
                system=False,
            )
            return said or missing_file(folder, [path for paths in files.values() for path in paths])

        return problems_of_records(folder, written, problem)


class _Writer(RecordsWithColumns):
    """Writes a line a row."""

    title: ClassVar[str] = _TITLE
    own: ClassVar[tuple[str, ...]] = _OWN

    def record(self, row: CanonicalRow) -> dict[str, Any]:
        """Return the record of a row."""
        system, turns = alternating(row, _TITLE)
        refuse_media_in_answers(row, _TITLE)
        said = [{"from": SPEAKERS[turn.role], "value": tagged_text(turn, _TITLE)} for turn in turns]
        record: dict[str, Any] = {"id": row.id} if row.id else {}
        for kind, media in (("image", row.images), ("video", row.videos)):
            paths = [self.place.media(medium) for medium in media]
            if paths:
                record[kind] = paths[0] if len(paths) == 1 else paths
        drop_system(system, row, self.losses, f"{_TITLE} would learn it as an answer")
        return {**record, "conversations": said, **json_extras(row, self._extras, self.losses)}
