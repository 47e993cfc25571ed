"""A table with a question and its answer in each row, as `shardwright export --to csv` writes it.

image, video                 a path
images, videos               a list of paths, as JSON
system, question, answer     what is said; media are shown before the question, images first
messages                     typed parts, as JSON, in rows that are more than that
"""

from __future__ import annotations

from typing import Any

from pipeline.dialects import trl
from pipeline.dialects.dialect import Dialect, Likeness
from pipeline.dialects.fit import HARDLY, LIKELY, SURE, fit_of
from pipeline.dialects.turns import media_of, optional_text
from pipeline.errors import RowRejected
from pipeline.single_value import shown

_MEDIA = {"images": "image", "videos": "video"}
_SPOKEN = {"system": "system", "question": "user", "answer": "assistant"}
TAKES = (*_MEDIA, *_MEDIA.values(), *_SPOKEN, "messages")


def read(record: dict[str, Any]) -> dict[str, Any]:
    """Return the canonical record of a row."""
    media = {several: media_of(record, several, one) for several, one in _MEDIA.items()}
    said = {column: optional_text(record.get(column), column) for column in _SPOKEN}
    messages = record.get("messages")
    if messages and any(said.values()):
        raise RowRejected("dialect.column", "both 'messages' and a question or an answer; one of them is allowed")
    if not messages:
        if not said["answer"]:
            raise RowRejected("dialect.column", f"there are {shown(list(record))}; a text at 'answer' is allowed")
        shows = [{"type": _MEDIA[column]} for column, found in media.items() for _ in found]
        messages = [
            {"role": role, "content": (shows if role == "user" else []) + [{"type": "text", "text": said[column]}]}
            for column, role in _SPOKEN.items()
            if said[column] or role != "system"
        ]
    left = {name: value for name, value in record.items() if name not in TAKES}
    return left | trl.read({"messages": messages, **media})


def likeness(records: list[dict[str, Any]]) -> Likeness:
    """Return how well records fit."""
    return fit_of(records, read, _strength, lambda _: ())


def _strength(record: dict[str, Any]) -> float:
    if isinstance(record.get("messages"), str) and "answer" in record:
        return SURE
    if not isinstance(record.get("question"), str) or not isinstance(record.get("answer"), str):
        return 0
    # without a column of media under these names, they may be in one of another name
    return LIKELY if any(record.get(name) for name in (*_MEDIA, *_MEDIA.values())) else HARDLY


TABLE = Dialect(
    name="csv",
    title="Table of questions and answers",
    source="RFC 4180; messages as huggingface/trl has them",
    read=read,
    likeness=likeness,
    takes=TAKES,
)
