"""One HTML page with what a model answered before and after a training: it needs no network, script or other file.

Everything that comes from data is a stranger's, so it is escaped; and a policy in the page forbids whatever would slip
through: only styles and pictures inside of the page count.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.errors import RowRejected
from pipeline.workspace import writing
from train.example import Frames, TrainError
from train.pages.page_head import PageFacts, head, picture
from train.pages.page_style import STYLE
from train.pages.page_text import difference_block, shown, text_block
from train.pages.thumbnails import thumbnails
from train.scoring.comparison import Compared
from train.scoring.predictions import AFTER, BEFORE
from train.scoring.scores import in_words, metric_of, title_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from train.example import Image, RowRef
    from train.scoring.predictions import Prediction

    Media = Callable[[RowRef], Sequence[Image | Frames]]

__all__ = ["MOST", "PageFacts", "Sample", "samples_of", "worst_first", "write_page"]

MOST = 200
"""Samples on a page, unless it is said otherwise; many more take a phone's memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A row with what was answered to it."""

    row: RowRef
    prompt: str
    truth: str
    answers: Mapping[str, Prediction] = field(default_factory=dict)
    """By model: `before`, `after`, or one of them."""

    def compared(self, name: str) -> Compared:
        """Return one of its scores, of both models."""
        values = [one.scores.get(name) if (one := self.answers.get(model)) else None for model in (BEFORE, AFTER)]
        return Compared(name=name, before=values[0], after=values[1])


def samples_of(predictions: Iterable[Prediction]) -> list[Sample]:
    """Return rows with the answers of both models, out of a file of predictions."""
    answers: dict[RowRef, dict[str, Prediction]] = {}
    for prediction in predictions:
        answers.setdefault(prediction.row, {})[prediction.model] = prediction
    found = []
    for row, by_model in answers.items():
        one = next(iter(by_model.values()))
        truth = one.truth or " / ".join(dict.fromkeys(one.answers))
        found.append(Sample(row=row, prompt=one.prompt, truth=truth, answers=by_model))
    return found


def write_page(
    path: Path, facts: PageFacts, samples: Iterable[Sample], media: Media, *, main: str, most: int = MOST
) -> int:
    """Write the page, and return how many samples it shows: the worst by the number `main`, at most `most`.

    `media` is asked for what the model was shown of these alone, one row after the other; where it raises RowRejected
    or TrainError, the page says why there is no picture.

    Raises:
        WorkspaceError: the folder cannot be written.
    """
    ordered = worst_first(samples, main)
    with writing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(_page(facts, ordered[:most], len(ordered), media, main))
    return min(most, len(ordered))


def worst_first(samples: Iterable[Sample], main: str) -> list[Sample]:
    """Return samples in order: answers that could not be read, then the worst by a number, then what it lost."""
    sign = 1 if metric_of(main).better == "higher" else -1

    def badness(sample: Sample) -> tuple[bool, float, float, int]:
        compared = sample.compared(main)
        value = compared.after if AFTER in sample.answers else compared.before
        return (value is not None, sign * (value or 0.0), sign * (compared.difference or 0.0), sample.row.number)

    return sorted(samples, key=badness)


def _page(facts: PageFacts, samples: Sequence[Sample], total: int, media: Media, main: str) -> Iterator[str]:
    yield (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{shown(facts.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<header>\n"
    )
    yield from head(facts)
    yield "</header>\n<main>\n"
    yield _heading(samples, total, main)
    for sample in samples:
        yield from _card(sample, media)
    yield "</main>\n</body>\n</html>\n"


def _heading(samples: Sequence[Sample], total: int, main: str) -> str:
    title = metric_of(main).title
    count = f"{len(samples):,} of {total:,}" if len(samples) < total else f"{total:,}"
    links = []
    for sample in sorted(samples, key=lambda one: one.row.number):
        compared = sample.compared(main)
        value = in_words(main, compared.after if AFTER in sample.answers else compared.before)
        links.append(
            f'<li><a href="#{_anchor(sample)}">{shown(str(sample.row))}</a>'
            f'<span class="{compared.verdict}">{value}</span></li>\n'
        )
    return (
        f'<h2>Samples <span class="quiet small">{count}, worst {title} first</span></h2>\n'
        '<p class="quiet small legend">In the answers, <ins>underlined in red</ins> is what the true text does not '
        "say, and <del>in a dashed green box</del> what it says and the answer does not. An answer that has little in "
        "common with the true text is shown without marks.</p>\n"
        f'<details class="quiet small"><summary>All of them by row</summary><ul class="index">\n{"".join(links)}</ul>'
        "</details>\n<br>\n"
    )


def _anchor(sample: Sample) -> str:
    return f"row-{sample.row.number}"


def _card(sample: Sample, media: Media) -> Iterator[str]:
    yield (
        f'<article class="card" id="{_anchor(sample)}">\n<div class="top">'
        f'<h3><a href="#{_anchor(sample)}">{shown(str(sample.row))}</a></h3>'
        f'<div class="chips">{"".join(_chips(sample))}</div></div>\n'
    )
    yield from _pictures(sample, media)
    yield '<dl class="texts">\n'
    yield f'<dt>prompt</dt><dd class="prompt">{text_block(sample.prompt)}</dd>\n'
    yield f"<dt>truth</dt><dd>{text_block(sample.truth)}</dd>\n"
    for model, answer in sorted(sample.answers.items(), key=lambda item: item[0] == AFTER):
        notes = [answer.note] if answer.note else []
        if answer.cut_off:
            notes.append("the answer was cut off at its limit of tokens")
        said = "".join(f'<p class="note">{shown(note)}</p>' for note in notes)
        yield f"<dt>{shown(model)}</dt><dd>{difference_block(answer.prediction, sample.truth)}{said}</dd>\n"
    yield "</dl>\n</article>\n"


def _chips(sample: Sample) -> Iterator[str]:
    names = dict.fromkeys(
        name for model in (BEFORE, AFTER) if (one := sample.answers.get(model)) for name in one.scores
    )
    for name in names:
        compared = sample.compared(name)
        values = [in_words(name, value) for value in (compared.before, compared.after)]
        words = " → ".join(
            value for model, value in zip((BEFORE, AFTER), values, strict=True) if model in sample.answers
        )
        yield f'<span class="chip {compared.verdict}">{shown(title_of(name))} {words}</span>'


def _pictures(sample: Sample, media: Media) -> Iterator[str]:
    try:
        shown_to_it = media(sample.row)
    except (RowRejected, TrainError) as error:
        yield f'<p class="note">there is no picture: {shown(str(error))}</p>\n'
        return
    if not shown_to_it:
        return
    yield '<div class="strip" tabindex="0">\n'
    for medium in shown_to_it:
        kind = "frame" if isinstance(medium, Frames) else "image"
        for one in thumbnails(medium):
            yield (
                f'<figure class="{kind}"><img src="{picture(one.jpeg, "jpeg")}" width="{one.width}" '
                f'height="{one.height}" loading="lazy" alt="{shown(one.says)}">'
                f"<figcaption>{shown(one.says)}</figcaption></figure>\n"
            )
    yield "</div>\n"
