"""InternVL: JSON Lines as LLaVA's, with sizes of images, and a meta file that names them for each split.

    internvl/<split>.jsonl
    internvl/meta.<split>.json      the entries of this split of all configs, so that no test rows are trained on
    internvl/media/ab/<sha256>.jpg

    {"id": "7", "image": "media/…", "width": 640, "height": 480, "conversations": [{"from": "human", …}, …]}

Its reader takes a lone image, or a video, to belong to the first turn, and writes a tag there if it finds none; so an
image that stands elsewhere, or behind a system's turn, is written as a list of one, where it does not. Of a record with
images it ignores the video, and a video must be followed by a new line to be found.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.errors import RowRejected
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
from pipeline.workspace import read_json, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.exports.losses import Losses
    from pipeline.exports.place import Place
    from pipeline.rows.canonical import CanonicalRow

_TITLE = "InternVL"
_SIZES = ("width", "height", "width_list", "height_list")
_OWN = ("id", "image", "images", "video", "videos", "conversations", "clip", "length", *_SIZES)
_VIDEO_LINE = f"{TAGS['video']}\n"


class InternVL(Format):
    """A meta file, and JSON Lines with `image` or `video`, sizes and `conversations`."""

    name: ClassVar[str] = "internvl"
    title: ClassVar[str] = "InternVL meta and JSONL"
    source: ClassVar[str] = "OpenGVLab/InternVL, internvl_chat: shell/data and internvl/train/internvl_chat_finetune.py"
    rule: ClassVar[str] = (
        "human and gpt take turns, tags in questions are as many as files, a lone image or video is in the first turn, "
        "sizes are as many as images, the meta files count the rows, the files are there"
    )
    usage: ClassVar[str] = "--meta_path meta.SPLIT.json, run in {folder} (or write that folder into the meta file)"

    def __init__(self) -> None:
        self._dataset = ""

    def begin(self, place: Place, losses: Losses) -> SplitWriter:
        """Return the writer of a split."""
        self._dataset = place.dataset
        return _Writer(place, losses)

    def conclude(self, folder: Path, written: list[Written]) -> None:
        """Write the meta file of each split."""
        metas: dict[str, dict[str, Any]] = {}
        for one in written:
            if one.rows:
                name = f"{self._dataset}_{one.files[0].removesuffix('.jsonl')}"
                metas.setdefault(one.split, {})[name] = {
                    "root": "./",
                    "annotation": one.files[0],
                    "data_augment": False,
                    "repeat_time": 1,
                    "length": one.rows,
                }
        for split, entries in metas.items():
            write_json(folder / f"meta.{split}.json", entries)

    def check(self, folder: Path, written: list[Written]) -> list[str]:
        """Return the records that InternVL would replace by others, and what is wrong with the meta files."""
        problems = problems_of_records(folder, written, lambda record: _problem(folder, record))
        for one in (one for one in written if one.rows):
            name = f"meta.{one.split}.json"
            entries = read_json(folder / name) or {}
            lengths = [entry.get("length") for entry in entries.values() if entry.get("annotation") == one.files[0]]
            if lengths != [one.rows]:
                problems.append(f"{name} does not count the {one.rows:,} rows of {one.files[0]}: {lengths}")
        return problems


def _problem(folder: Path, record: Any) -> str | None:
    turns, image, video = record.get("conversations"), record.get("image"), record.get("video")
    files = {TAGS["image"]: listed(image), TAGS["video"]: listed(video)}
    said = problem_of_turns(
        turns, ("from", "value"), SPEAKERS, {tag: len(paths) for tag, paths in files.items()}
    ) or missing_file(folder, [*files[TAGS["image"]], *files[TAGS["video"]]])
    if said is not None:
        return said
    first = turns[0]["value"]
    if isinstance(image, str) and TAGS["image"] not in first:
        return "the image is not in the first turn"
    if video is not None and (image is not None or not isinstance(video, str) or _VIDEO_LINE not in first):
        return "the video is not alone, or not on a line of the first turn"
    sides = [record.get(name) for name in (_SIZES[2:] if isinstance(image, list) else _SIZES[:2])]
    if image is not None and any(len(listed(side)) != len(listed(image)) for side in sides):
        return f"sizes that are not as many as images: {sides}"
    return None


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
        if row.videos:
            record |= self._video(row, said)
            drop_system(system, row, self.losses, f"{_TITLE} looks for a video in the first turn")
        else:
            if system is not None:
                said.insert(0, {"from": SPEAKERS["system"], "value": tagged_text(system, _TITLE)})
            record |= self._images(row, TAGS["image"] in said[0]["value"])
        return {**record, "conversations": said, **json_extras(row, self._extras, self.losses)}

    def _images(self, row: CanonicalRow, is_first: bool) -> dict[str, Any]:
        if not row.images:
            return {}
        sides = [(facts.width, facts.height) for facts in map(self.place.facts, row.images)]
        paths = [self.place.media(medium) for medium in row.images]
        if len(paths) == 1 and is_first:
            return {"image": paths[0], "width": sides[0][0], "height": sides[0][1]}
        return {
            "image": paths,
            "width_list": [width for width, _ in sides],
            "height_list": [height for _, height in sides],
        }

    def _video(self, row: CanonicalRow, said: list[dict[str, str]]) -> dict[str, Any]:
        if row.images:
            raise RowRejected("export.mixed_media", f"images and a video in one row, of which {_TITLE} sees the images")
        if len(row.videos) > 1:
            raise RowRejected("export.several_videos", f"several videos, of which {_TITLE} has one")
        text = said[0]["value"]
        if TAGS["video"] not in text:
            raise RowRejected("export.place_of_video", f"a video in a later turn; {_TITLE} has it in the first")
        said[0]["value"] = re.sub(f"{TAGS['video']}(?!\n)", _VIDEO_LINE, text)
        if said[0]["value"] != text:
            what = f"that the words go on right behind the video: {_TITLE} needs a new line there"
            self.losses.note("export.line_after_video", what, row)
        return {"video": self.place.media(row.videos[0])}
