r"""xtuner v1's JSON Lines: messages whose content is a text, or typed parts with the sizes of their media.

    xtuner/<split>.jsonl
    xtuner/media/ab/<sha256>.jpg

    {"id": "7", "messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "media/…", "image_wh": [640, 480]}},
        {"type": "text", "text": "<IMG_CONTEXT>\nWhat?"}]}, {"role": "assistant", "content": "A dog."}]}

A mark in the text says where a medium is shown; parts say which, in the order of the marks. Every text among parts must
have marks, so that a turn without media is a plain text. Its models forbid every key but their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.errors import RowRejected
from pipeline.exports.extra_columns import json_extras
from pipeline.exports.json_records import RecordsWithColumns, problems_of_records
from pipeline.exports.tagged_turns import (
    ROLES,
    alternating,
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
    from pipeline.rows.canonical import CanonicalRow, CanonicalTurn, Medium

_TITLE = "xtuner"
_MARKS = {"image": "<IMG_CONTEXT>", "video": "<VIDEO_CONTEXT>"}
_KEYS = {
    "image": {"url", "detail", "image_wh"},
    "video": {
        *("url", "detail", "image_wh", "frames_timestamp", "origin_video_length", "origin_fps"),
        *("processed_video_length", "processed_fps", "video_length"),
    },
}
"""What its models of media have; any other key is an error to them."""
_OWN = ("id", "messages", "tools")


class XTuner(Format):
    """JSON Lines with messages of typed parts."""

    name: ClassVar[str] = "xtuner"
    title: ClassVar[str] = "xtuner v1 JSONL"
    source: ClassVar[str] = "InternLM/xtuner, docs/en/get_started/mllm_sft.md and xtuner/v1/data_proto/messages/chat.py"
    rule: ClassVar[str] = (
        "user and assistant take turns behind a system's turn at most, each text among parts has as many marks as the "
        "turn has media, a video is alone, parts have no keys but the target's, sizes are two numbers, files are there"
    )
    usage: ClassVar[str] = 'DatasetConfig(anno_path="{folder}/SPLIT.jsonl", media_root="{folder}/")'

    def begin(self, place: Place, losses: Losses) -> SplitWriter:
        """Return the writer of a split."""
        return _Writer(place, losses)

    def check(self, folder: Path, written: list[Written]) -> list[str]:
        """Return the records that xtuner would refuse, or read wrongly."""
        return problems_of_records(folder, written, lambda record: _problem(folder, record))


def _problem(folder: Path, record: Any) -> str | None:
    messages = record.get("messages")
    if not isinstance(messages, list):
        return "there are no messages"
    flat, paths, kinds = [], [], []
    here: list[tuple[str, Any]]
    said: str | None
    for message in messages:
        content = message.get("content")
        if set(message) != {"role", "content"}:
            return f"a message has the keys {sorted(message)}"
        if isinstance(content, str):
            said, text, here = None, content, []
        else:
            said, text, here = _parts_problem(content)
        if said is not None:
            return said
        if any(text.count(mark) != sum(kind == one for one, _ in here) for kind, mark in _MARKS.items()):
            return f"the marks in {text[:80]!r} are not as many as its media"
        paths += [path for _, path in here]
        kinds += [kind for kind, _ in here]
        flat.append({"role": message["role"], "content": text})
    if "video" in kinds and len(kinds) > 1:
        return "a video is not alone"
    counts = {mark: kinds.count(kind) for kind, mark in _MARKS.items()}
    return problem_of_turns(flat, ("role", "content"), ROLES, counts) or missing_file(folder, paths)


def _parts_problem(parts: Any) -> tuple[str | None, str, list[tuple[str, Any]]]:
    """Return what is wrong with typed parts, their text, and their media as kind and path."""
    if not isinstance(parts, list) or [part.get("type") for part in parts].count("text") != 1:
        return "content is neither a text nor parts with one text", "", []
    text, media = "", []
    for part in parts:
        kind = str(part.get("type")).removesuffix("_url")
        if kind == "text" and set(part) == {"type", "text"} and isinstance(part["text"], str):
            text = part["text"]
            continue
        inner = part.get(f"{kind}_url")
        if kind not in _KEYS or set(part) != {"type", f"{kind}_url"} or not set(inner) <= _KEYS[kind]:
            return f"a part has the keys {sorted(part)}, and in them {inner}", "", []
        sides = inner.get("image_wh")
        if not isinstance(sides, list) or len(sides) != 2 or not all(isinstance(side, int) for side in sides):
            return f"`image_wh` is {sides}", "", []
        media.append((kind, inner["url"]))
    return None, text, media


class _Writer(RecordsWithColumns):
    """Writes a line a row."""

    title: ClassVar[str] = _TITLE
    own: ClassVar[tuple[str, ...]] = _OWN

    def record(self, row: CanonicalRow) -> dict[str, Any]:
        """Return the record of a row."""
        system, turns = alternating(row, _TITLE)
        refuse_media_in_answers(row, _TITLE)
        if row.videos and len(row.videos) + len(row.images) > 1:
            raise RowRejected("export.mixed_media", f"a video with other media in one row, where {_TITLE} has it alone")
        texts = [(turn, tagged_text(turn, _TITLE, _MARKS)) for turn in ((system, *turns) if system else turns)]
        messages = [{"role": turn.role, "content": self._content(turn, text)} for turn, text in texts]
        own = {"id": row.id} if row.id else {}
        return {**own, "messages": messages, **json_extras(row, self._extras, self.losses)}

    def _content(self, turn: CanonicalTurn, text: str) -> Any:
        media = [self._part(part) for part in turn.parts if not isinstance(part, str)]
        return [*media, {"type": "text", "text": text}] if media else text

    def _part(self, medium: Medium) -> dict[str, Any]:
        facts = self.place.facts(medium)
        inner: dict[str, Any] = {"url": self.place.media(medium), "image_wh": [facts.width, facts.height]}
        if medium.kind == "video":
            known = {"origin_fps": facts.fps, "origin_video_length": facts.frames}
            inner |= {key: value for key, value in known.items() if value is not None}
        return {"type": f"{medium.kind}_url", f"{medium.kind}_url": inner}
