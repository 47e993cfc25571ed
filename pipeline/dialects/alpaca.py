"""Alpaca: `instruction`, `input` and `output`, with `system` and `history`, and LLaMA-Factory's lists of media.

The question is the instruction and, on a line of its own, the input.
"""

from __future__ import annotations

from typing import Any

from pipeline.dialects.dialect import Dialect, Likeness
from pipeline.dialects.fit import SURE, fit_of, says_any
from pipeline.dialects.turns import canonical, media_of, of_queries, optional_text
from pipeline.errors import RowRejected
from pipeline.single_value import shown

TAKES = ("instruction", "input", "output", "history", "system", "images", "image", "videos", "video")


def read(record: dict[str, Any]) -> dict[str, Any]:
    """Return the canonical record of an Alpaca record."""
    if "output" not in record or not record.keys() & {"instruction", "input"}:
        raise RowRejected(
            "dialect.column",
            f"there are {shown(list(record))}; 'instruction' or 'input', and 'output' must be among them",
        )
    asked = [optional_text(record.get(column), column) for column in ("instruction", "input")]
    query = "\n".join(text for text in asked if text)
    messages = of_queries(record, query, record["output"])
    images, videos = media_of(record, "images", "image"), media_of(record, "videos", "video")
    return canonical(record, TAKES, messages, images, videos)


def likeness(records: list[dict[str, Any]]) -> Likeness:
    """Return how well records fit."""
    return fit_of(records, read, lambda record: SURE if {"instruction", "output"} <= record.keys() else 0, _doubts)


def _doubts(records: list[dict[str, Any]]) -> list[str]:
    kept = says_any(records, "chosen", "rejected", "kto_tag", "tools")
    return [f"{kept!r} stays a column: only the answer in `output` is a turn."] if kept else []


ALPACA = Dialect(
    name="alpaca",
    title="Alpaca",
    source="tatsu-lab/stanford_alpaca, README.md; hiyouga/LLaMA-Factory, data/README.md",
    read=read,
    likeness=likeness,
    takes=TAKES,
)
