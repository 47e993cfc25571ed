r"""LLaVA JSON: an array of records with one image and a conversation of human and gpt.

    llava/<split>.json
    llava/media/ab/<sha256>.jpg

    [{"id": "7", "image": "media/…", "conversations": [{"from": "human", "value": "<image>\nWhat?"}, …]}]

A record has one image or none: its trainer joins the one path to its image folder. Videos and several images are what
later formats have (qwen-vl, internvl). A system's turn is none of the roles that it knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pipeline.errors import RowRejected
from pipeline.exports.extra_columns import json_extras
from pipeline.exports.json_records import RecordsWithColumns, problems_of_records
from pipeline.exports.tagged_turns import (
    SPEAKERS,
    alternating,
    drop_system,
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

_TITLE = "LLaVA"
_OWN = ("id", "image", "images", "video", "videos", "conversations")
"""Keys that it or its successors read themselves."""


class Llava(Format):
    """JSON with `image` and `conversations`."""

    name: ClassVar[str] = "llava"
    title: ClassVar[str] = "LLaVA JSON"
    source: ClassVar[str] = "haotian-liu/LLaVA, docs/Finetune_Custom_Data.md and llava/train/train.py"
    rule: ClassVar[str] = (
        "human and gpt take turns, `<image>` stands once in a record with an image and in no answer, the file is there"
    )
    usage: ClassVar[str] = "--data_path {folder}/SPLIT.json --image_folder {folder}"

    def begin(self, place: Place, losses: Losses) -> SplitWriter:
        """Return the writer of a split."""
        return _Writer(place, losses)

    def check(self, folder: Path, written: list[Written]) -> list[str]:
        """Return the records that LLaVA would not read, or read wrongly."""

        def problem(record: Any) -> str | None:
            image = record.get("image")
            if image is not None and not isinstance(image, str):
                return "`image` is not one path"
            paths = [] if image is None else [image]
            said = problem_of_turns(
                record.get("conversations"), ("from", "value"), SPEAKERS, {"<image>": len(paths)}, system=False
            )
            return said or missing_file(folder, paths)

        return problems_of_records(folder, written, problem)


class _Writer(RecordsWithColumns):
    """Writes an array."""

    ending: Literal["json", "jsonl"] = "json"

    title: ClassVar[str] = _TITLE
    own: ClassVar[tuple[str, ...]] = _OWN

    def record(self, row: CanonicalRow) -> dict[str, Any]:
        """Return the record of a row."""
        system, turns = alternating(row, _TITLE)
        refuse_media_in_answers(row, _TITLE)
        if row.videos:
            raise RowRejected("export.video", f"a video, which {_TITLE} does not have; qwen-vl and internvl do")
        if len(row.images) > 1:
            raise RowRejected("export.several_images", f"several images, of which {_TITLE} has one; qwen-vl has more")
        said = [{"from": SPEAKERS[turn.role], "value": tagged_text(turn, _TITLE)} for turn in turns]
        image = {"image": self.place.media(row.images[0])} if row.images else {}
        drop_system(system, row, self.losses, f"{_TITLE} has its own, the same for all rows")
        if any(not said[0]["value"].startswith("<image>\n") for _ in row.images):
            what = f"where in a turn the image stands: {_TITLE} trains with it in front of the turn's words"
            self.losses.note("export.place_of_image", what, row)
        own = {"id": row.id} if row.id else {}
        return {**own, **image, "conversations": said, **json_extras(row, self._extras, self.losses)}
