"""What stands above the samples of a page of predictions: facts of the run, scores, curves."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

from train.pages.curves import curves
from train.pages.page_text import shown
from train.scoring.comparison import Comparison
from train.scoring.scores import MAIN, in_words, metric_of, title_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from train.metrics_file import Measured
    from train.scoring.scores import Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFacts:
    """What stands above the samples."""

    title: str
    facts: Sequence[tuple[str, str]] = ()
    """Label and value: the model, the dataset, the method and so on."""
    scores: Comparison | Scores | None = None
    metrics: Sequence[Measured] = ()
    """Lines of metrics.jsonl, whose curves are drawn."""


def head(facts: PageFacts) -> Iterator[str]:
    """Yield the HTML of the head of a page."""
    yield f"<h1>{shown(facts.title)}</h1>\n"
    if facts.facts:
        rows = "".join(f"<div><dt>{shown(name)}</dt><dd>{shown(value)}</dd></div>\n" for name, value in facts.facts)
        yield f'<dl class="facts">\n{rows}</dl>\n'
    if isinstance(facts.scores, Comparison):
        yield from _comparison(facts.scores)
    elif facts.scores is not None:
        yield from _scores(facts.scores)
    if facts.metrics:
        yield from _curves(facts.metrics)


def picture(data: bytes, kind: str) -> str:
    """Return a picture as a URL that holds it."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _comparison(compared: Comparison) -> Iterator[str]:
    lines = compared.lines()
    rows = [_row("texts", "", *(f"{count:,}" for count in compared.rows), "")]
    for one, line in zip(compared.table, lines, strict=False):
        title, before, after, difference, verdict = line
        words = f'<span class="{verdict}">{difference} {verdict}</span>' if verdict else difference
        rows.append(_row(title, metric_of(one.name).says, before, after, words))
    rows += [_row(title, "", *numbers[:3]) for title, *numbers in lines[len(compared.table) :]]
    fared = ", ".join(f"{count:,} {how}" for how, count in compared.fared.items())
    main = metric_of(MAIN[compared.task.kind]).title
    notes = [f"Single rows, by {main}: {fared}."] if fared else []
    yield from _table(("before", "after", "difference"), rows, [*notes, *compared.notes])


def _scores(scores: Scores) -> Iterator[str]:
    rows = [_row("texts", "", f"{scores.rows:,}")]
    for name, value in scores.values.items():
        rows.append(_row(title_of(name), metric_of(name).says, in_words(name, value)))
    rows += [_row(name.replace("_", " "), "", f"{count:,}") for name, count in scores.counts.items()]
    yield from _table(("value",), rows, scores.notes)


def _table(heads: Sequence[str], rows: Sequence[str], notes: Sequence[str]) -> Iterator[str]:
    cells = "".join(f"<th>{name}</th>" for name in heads)
    yield '<h2>Scores</h2>\n<div class="wide"><table>\n'
    yield f"<thead><tr><th></th>{cells}</tr></thead>\n<tbody>\n{''.join(rows)}</tbody>\n</table></div>\n"
    for note in notes:
        yield f'<p class="quiet small">{shown(note)}</p>\n'


def _row(title: str, says: str, *cells: str) -> str:
    more = f' <span class="quiet small says">{shown(says)}</span>' if says else ""
    return f"<tr><td>{shown(title)}{more}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>\n"


def _curves(metrics: Sequence[Measured]) -> Iterator[str]:
    light, dark = curves(metrics), curves(metrics, dark=True)
    if not light:
        return
    yield '<h2>Curves</h2>\n<div class="curves">\n'
    for name, png in light.items():
        yield (
            f'<picture><source media="(prefers-color-scheme: dark)" srcset="{picture(dark[name], "png")}">'
            f'<img src="{picture(png, "png")}" alt="{name.replace("_", " ")} by optimizer step"></picture>\n'
        )
    yield "</div>\n"
