"""Records that are no conversations: tables, of which some column names a medium and some other says what it shows."""

from __future__ import annotations

from itertools import chain, count
from typing import TYPE_CHECKING, Any

from pipeline.new.column_look import TableLook
from pipeline.new.endings import IMAGES, LONGEST, SOUNDS, VIDEOS, ending_of, media_kind_of
from pipeline.new.reading import MediaColumn, Reading
from pipeline.new.records import MediaLook

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from pipeline.new.column_look import ColumnLook
    from pipeline.new.endings import Kind
    from pipeline.new.media_match import MediaSearch

TABLE = "table"
"""What `--dialect` says for records that are taken as they are."""
MOST = 0.8
"""The share of values that must be names of media before a column counts as one of media."""
SCORES = (
    "visual quality",
    "temporal consistency",
    "dynamic degree",
    "text-to-video alignment",
    "factual consistency",
)
FETV = frozenset({"prompt", "major content", "attribute control", "prompt complexity"})
PATHS = frozenset(
    [
        "image",
        "img",
        "picture",
        "photo",
        "figure",
        "images",
        "imgs",
        "pictures",
        "photos",
        "video",
        "videos",
        "clip",
        "clips",
        "movie",
        "file_name",
        "filename",
        "file",
        "path",
        "filepath",
        "file_path",
        "image_path",
        "img_path",
        "image_file",
        "image_name",
        "img_name",
        "video_path",
        "video_file",
        "video_name",
        "image_paths",
        "image_files",
        "video_paths",
        "media",
    ]
)
"""Names of columns that may hold names of files without an ending."""
ANSWERS = (
    *("caption", "captions", "text", "description", "formula", "latex", "answer", "response", "output", "text prompt"),
    *("txt", "prompt", "title", "sentence", "transcription", "report"),
)
"""Names of columns that say what a medium shows, the more usual ones first."""
QUESTIONS = ("question", "instruction", "query")
FORMULAS = frozenset({"formula", "latex"})


def table_reading(
    records: list[dict[str, Any]], search: MediaSearch, file: str, *, forced: bool, untyped: bool
) -> Reading | None:
    """Return how records are understood as a table; None: as no table of those that are known.

    `forced`: they are to be taken as they are, whether there are media or not.
    """
    look = TableLook(untyped=untyped)
    for record in records:
        look.see(record)
    columns = look.columns
    if {"text prompt", "video link"} <= columns.keys() and sum(name in columns for name in SCORES) >= 3:
        video = MediaColumn(column="video", raw="video link", kind="video", keep_raw=True)
        return Reading(title="VideoFeedback rows", media=(video,), question="Caption the video.", answer="text prompt")
    media = tuple(_media_columns(look, records, search, file))
    if not media:
        if columns.keys() >= FETV:
            return Reading(title="FETV prompts (no media)")
        return Reading(title="a table without media") if forced else None
    return _with_texts(media, look)


def folder_reading(records: list[dict[str, Any]]) -> Reading:
    """Return the reading of files in folders that are called like their classes."""
    kinds = [media_kind_of(record["file"]) for record in records]
    kind: Kind = "video" if kinds.count("video") > kinds.count("image") else "image"
    return Reading(
        title=f"{kind.capitalize()}Folder: a folder for each class",
        media=(MediaColumn(column=kind, raw="file", kind=kind),),
        label="folder",
        format="folder",
        doubts=("There is no conversation; `conversation` in the schema says what is asked about a class.",),
    )


def sounds_in(records: list[dict[str, Any]]) -> str:
    """Return the first column that names sounds, if any does."""
    for record in records:
        for name, value in record.items():
            items = value if isinstance(value, list) else [value]
            if any(isinstance(item, str) and len(item) <= LONGEST and ending_of(item) in SOUNDS for item in items):
                return name
    return ""


def _media_columns(
    look: TableLook, records: list[dict[str, Any]], search: MediaSearch, file: str
) -> Iterable[MediaColumn]:
    found: list[tuple[str, Kind, bool, bool]] = []
    for name, column in look.columns.items():
        if not column.kinds <= {str, list, dict, bytes} or not column.kinds:
            continue
        seen = MediaLook()
        for record in records:
            seen.see(record.get(name), file)
        kind = _kind(name, column, seen, search, file)
        if kind is not None:
            found.append((name, kind, seen.listed, seen.urls > 0))
    kinds = [kind for _, kind, _, _ in found]
    for name, kind, listed, remote in found:
        usual = f"{kind}s" if listed else kind
        free = usual == name or usual not in look.columns
        called = usual if kinds.count(kind) == 1 and free and _can_be_renamed(name) else free_name(name, look.columns)
        yield MediaColumn(column=called, raw=name, kind=kind, keep_raw=remote and called != name)


def _can_be_renamed(name: str) -> bool:
    """Tell whether the name of a column says no more than that it is a path of a medium."""
    return name.lower() in PATHS or name.lower() in IMAGES | VIDEOS


def _kind(name: str, column: ColumnLook, seen: MediaLook, search: MediaSearch, file: str) -> Kind | None:
    if bytes in column.kinds or dict in column.kinds:
        return seen.inline_kind if seen.inline else None
    texts = seen.texts
    if not texts:
        return seen.inline_kind
    by_ending = [media_kind_of(text) for text in texts if len(text) <= LONGEST]
    known = [kind for kind in by_ending if kind is not None]
    if len(known) >= MOST * len(texts):
        return _of_several(name, texts, known)
    if name.lower() in PATHS and seen.paths:
        share, way = search.share(seen.paths)
        if way is not None and share >= MOST:
            found = next(path for path in seen.paths[file] if way.finds(path, file))
            return media_kind_of(way.name(found, file))
    return None


def _of_several(name: str, texts: list[str], kinds: list[Kind]) -> Kind:
    """Return what a column holds; a GIF is a video where the column is called so."""
    endings = {ending_of(text) for text in texts}
    if endings == {"gif"} and any(word in name.lower() for word in ("video", "clip")):
        return "video"
    return max(set(kinds), key=kinds.count) if endings & (IMAGES | VIDEOS) else kinds[0]


def _with_texts(media: tuple[MediaColumn, ...], look: TableLook) -> Reading:
    """Find the columns that ask and answer."""
    raws = {column.raw for column in media}
    texts = {name.lower(): name for name, column in look.columns.items() if column.kinds == {str} and name not in raws}
    doubts: list[str] = []
    answers = [texts[name] for name in ANSWERS if name in texts]
    questions = [texts[name] for name in QUESTIONS if name in texts]
    kind = media[0].kind
    title = f"{kind}-text pairs"
    if not answers:
        doubts.append(
            "No column is one that usually holds the answer, so there is no conversation to train on; "
            "`conversation` in the schema says which texts are question and answer."
        )
        return Reading(title=f"a table with {_a(kind)} column", media=media, doubts=tuple(doubts))
    answer = answers[0]
    if questions:
        title = f"{kind} questions and answers"
        answer = next((texts[name] for name in ("answer", "response", "output") if name in texts), answer)
    if len(answers) > 1:
        others = ", ".join(repr(name) for name in answers if name != answer)
        doubts.append(f"{answer!r} is taken for the answer, and not {others}; `conversation` in the schema decides it.")
    if answer.lower() in FORMULAS:
        question = "Write the formula in this image as LaTeX."
    else:
        question = "Caption the video." if kind == "video" else "Describe this image."
    if not questions:
        doubts.append(f"The question {question!r} is ours; `conversation` in the schema changes it.")
    if len(media) > 1:
        names = ", ".join(repr(column.column) for column in media)
        doubts.append(f"All of {names} are shown in the question, in this order; `conversation` decides it.")
    asks = questions[0] if questions else ""
    return Reading(title=title, media=media, asks=asks, question=question, answer=answer, doubts=tuple(doubts))


def _a(kind: str) -> str:
    return "an image" if kind == "image" else "a video"


def free_name(name: str, taken: Container[str]) -> str:
    """Return a column's name as a schema allows it: the same, or another one that is not taken."""
    if name.strip() and not name.startswith("__"):
        return name
    plain = name.strip().strip("_") or "column"
    names = chain([plain], (f"{plain}_{number}" for number in count(2)))
    return next(free for free in names if free not in taken)


def reference(name: str) -> str:
    """Return a column as templates name it."""
    if name.isidentifier() and name.isascii():
        return name
    return f"row[{name!r}]" if "`" in name else f"`{name}`"
