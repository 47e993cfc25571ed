"""ms-swift's JSON Lines: messages, and lists of images and videos.

    ms-swift/<split>.jsonl
    ms-swift/media/ab/<sha256>.jpg

    {"id": "7", "messages": [{"role": "user", "content": "<image>What?"}, …], "images": ["media/…"], "videos": []}

Tags take the listed files in their order. It reads no columns but its own, and deletes rows that it cannot read unless
it is told to be strict, so they are refused here, by name. `objects` (boxes and what they are called) goes through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.exports.extra_columns import as_json
from pipeline.exports.json_records import problems_of_records
from pipeline.exports.role_messages import RoleMessagesWriter, problem_of_messages
from pipeline.exports.writer import Format, SplitWriter, Written

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.exports.losses import Losses
    from pipeline.exports.place import Place
    from pipeline.rows.canonical import CanonicalRow

_TITLE = "ms-swift"
_OBJECTS = "objects"


class MsSwift(Format):
    """JSON Lines with `messages`, `images`, `videos` and `objects`."""

    name: ClassVar[str] = "ms-swift"
    title: ClassVar[str] = "ms-swift JSONL"
    source: ClassVar[str] = "modelscope/ms-swift, docs/source_en/Customization/Custom-dataset.md"
    rule: ClassVar[str] = (
        "user and assistant take turns behind a system's turn at most, tags are as many as files and none is in the "
        "system's turn, objects have boxes of two or four numbers, the files are there"
    )
    usage: ClassVar[str] = "--dataset {folder}/SPLIT.jsonl, with ROOT_IMAGE_DIR={folder} in the environment"

    def begin(self, place: Place, losses: Losses) -> SplitWriter:
        """Return the writer of a split."""
        return _Writer(place, losses)

    def check(self, folder: Path, written: list[Written]) -> list[str]:
        """Return the records that ms-swift would delete, or read wrongly."""

        def problem(record: Any) -> str | None:
            if _OBJECTS in record and not _are_objects(record[_OBJECTS]):
                return "`objects` has no boxes of two or four numbers"
            return problem_of_messages(folder, record)

        return problems_of_records(folder, written, problem)


class _Writer(RoleMessagesWriter):
    """Writes a line a row."""

    title = _TITLE

    def record(self, row: CanonicalRow) -> dict[str, Any]:
        """Return the record of a row."""
        record = self.messages(row)
        objects, whole = as_json(row.extras.get(_OBJECTS))
        if whole and _are_objects(objects):
            record[_OBJECTS] = {key: value for key, value in objects.items() if value is not None}
        self.note_losses(row, kept=(_OBJECTS,) if _OBJECTS in record else ())
        return record


def _are_objects(value: Any) -> bool:
    """Tell whether a value is what ms-swift calls objects: boxes, and perhaps names."""
    boxes = value.get("bbox") if isinstance(value, dict) else None
    return isinstance(boxes, list) and all(
        isinstance(box, list) and len(box) in (2, 4) and all(isinstance(side, int | float) for side in box)
        for box in boxes
    )
