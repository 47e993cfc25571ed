"""Rows with a text outside of limits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from pipeline.errors import RowRejected
from pipeline.samples import iter_values
from pipeline.stages.curation.limits import broken_limit
from pipeline.stages.curation.row_text import row_text
from pipeline.stages.curation.text_measures import (
    char_repetition,
    flagged_ratio,
    letter_ratio,
    special_ratio,
    word_repetition,
    words_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from pipeline.build import Build
    from pipeline.curate_spec import CurateSpec, TextFilter
    from pipeline.recipe import Config
    from pipeline.stages.curation.measures import Measures

ROW_WORK = 5_000
"""What the text of a row weighs among the work of processes, in bytes: about a ten-thousandth of a second."""
_SHOWN = 60

Judged = tuple[dict[str, float], tuple[str, str] | None]
"""The measures of a text, and the first limit that it breaks with what is said of it."""


def outside_of_limits(
    build: Build, config: Config, samples: pa.Table, spec: CurateSpec, measures: Measures
) -> Iterator[tuple[int, str, str]]:
    """Yield the samples whose text breaks one of the limits."""
    assert spec.text is not None
    wanted = row_text(config.schema, spec.text)
    batches = iter_values(build, samples, config.name, wanted.columns)
    texts = ([_text_of(wanted.of, row) for row in rows] for _, rows in batches)
    position = 0
    judged = build.executor.map(partial(judge, spec.text), texts, work_bytes=ROW_WORK * samples.num_rows)
    for batch in judged:
        for found, broken in batch:
            for name, value in found.items():
                measures.add(name, value)
            if broken is not None:
                yield position, *broken
            position += 1


def _text_of(of: Any, row: dict[str, Any]) -> str | RowRejected:
    try:
        return str(of(row))
    except RowRejected as error:
        return error


def judge(limits: TextFilter, texts: list[str | RowRejected]) -> list[Judged]:
    """Return what is measured of texts, and what of it is outside of the limits; a task of the build's executor."""
    patterns = {rule: re.compile(text) for rule in ("matches", "lacks") if (text := getattr(limits, rule)) is not None}
    rules = limits.model_dump(exclude_none=True, include=set(limits.rules))
    flagged = frozenset(word.lower() for word in rules.pop("flagged_words", ()))
    if flagged:
        rules.setdefault("max_flagged_ratio", 0.0)
    return [
        ({}, (text.code, text.message))
        if isinstance(text, RowRejected)
        else _judged(_Text(text, limits, flagged), rules, patterns)
        for text in texts
    ]


@dataclass
class _Text:
    """A text, of which nothing is measured twice, and nothing that no limit is for."""

    text: str
    limits: TextFilter
    flagged: frozenset[str]

    @cached_property
    def word_list(self) -> list[str]:
        return words_of(self.text)

    @property
    def chars(self) -> int:
        return len(self.text)

    @property
    def words(self) -> int:
        return len(self.word_list)

    @cached_property
    def language(self) -> tuple[str | None, float]:
        from pipeline.stages.curation.language import language_of

        return language_of(self.text)

    @property
    def language_score(self) -> float:
        return self.language[1]

    @property
    def letter_ratio(self) -> float:
        return letter_ratio(self.text)

    @property
    def special_ratio(self) -> float:
        return special_ratio(self.text)

    @property
    def char_repetition(self) -> float:
        return char_repetition(self.text, self.limits.char_run)

    @property
    def word_repetition(self) -> float:
        return word_repetition(self.word_list, self.limits.word_run)

    @property
    def flagged_ratio(self) -> float:
        return flagged_ratio(self.word_list, self.flagged)


def _judged(text: _Text, rules: dict[str, Any], patterns: dict[str, re.Pattern[str]]) -> Judged:
    measured: dict[str, float] = {}
    broken: tuple[str, str] | None = None
    for rule, limit in rules.items():
        message: str | None = None
        if rule == "languages":
            language, score = text.language
            measured["language_score"] = score
            if language not in limit:
                which = "no language can be told" if language is None else f"its language is {language} ({score:.2g})"
                message = f"{which}, wanted is {' or '.join(limit)}"
        elif rule in patterns:
            found = patterns[rule].search(text.text)
            if rule == "matches" and found is None:
                message = f"{limit!r} is not found in it"
            elif rule == "lacks" and found is not None:
                message = f"{limit!r} is found in it: {found[0]!r}"
        else:
            fact = rule.partition("_")[2]
            if fact not in measured:
                measured[fact] = getattr(text, fact)
            message = broken_limit(rule, limit, measured[fact])
        if message and broken is None:
            start = text.text[:_SHOWN] + ("…" if len(text.text) > _SHOWN else "")
            broken = f"curate.text.{rule}", f"{message}: {start!r}"
    return measured, broken
