"""The facts of a model's card, as Markdown: training, data, losses, scores, how to use it, limits."""

from __future__ import annotations

import html
from pathlib import PurePath
from typing import TYPE_CHECKING

from pipeline.printable import escaped
from train.card_usage import frames_in_words, usage
from train.metrics_file import EVALUATION, series
from train.pages.smoothing import WEIGHT, smoothed
from train.scoring.comparison import Comparison
from train.scoring.scores import in_words, title_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from train.model_facts import ModelFacts

_PROMPT = {"image": "Describe this image.", "video": "Describe this video."}


def facts_text(facts: ModelFacts) -> str:
    """Return everything between the markers of a card."""
    sections = [
        ("Training", _table(("", ""), _training(facts))),
        ("Data", _table(("rows of", "config", "split", "rows", "revision", "sha256"), _data(facts))),
        ("Losses", _table(("", "nats a token"), _losses(facts))),
        ("Scores", _scores(facts)),
        ("How to use it", _usage(facts)),
        ("Limits", [f"- {line}" for line in _limits(facts)]),
    ]
    return "\n\n".join("\n".join([f"## {title}", "", *lines]) for title, lines in sections if lines)


def _training(facts: ModelFacts) -> Iterator[tuple[str, ...]]:
    base = f"[{facts.base_model}](https://huggingface.co/{facts.base_model})"
    if not facts.base_is_published:
        base = f"a folder called {cell(PurePath(facts.base_model).name)}, on no hub"
    yield "base model", f"{base} at {cell(facts.base_revision)}" if facts.base_revision else base
    yield "method", cell(facts.method)
    if facts.trained_parameters is not None and facts.parameters:
        share = f" of {facts.parameters:,} ({facts.trained_parameters / facts.parameters:.2%})"
        yield "trained parameters", f"{facts.trained_parameters:,}{share}"
    for name, value in facts.settings.items():
        yield cell(name), cell(value)
    yield "rows", _count(facts.rows)
    yield "epochs", "" if facts.epochs is None else f"{facts.epochs:.4g}"
    yield "optimizer steps", _count(facts.steps)
    yield "global batch", cell(facts.global_batch)
    yield "tokens seen", _count(facts.tokens)
    if facts.frames and "video" in facts.media:
        yield "frames of a video", frames_in_words(facts.frames)
    if facts.seconds is not None:
        yield "time", f"{facts.seconds / 3600:.2f} h" if facts.seconds >= 3600 else f"{facts.seconds:.0f} s"
    yield "hardware", cell(facts.hardware)
    yield "versions", cell(", ".join(f"{name} {version}" for name, version in facts.versions.items()))


def _data(facts: ModelFacts) -> Iterator[tuple[str, ...]]:
    for what, data in [("training", one) for one in facts.data] + [("scores", facts.evaluation_data)]:
        if data is not None:
            name = f"[{data.dataset}]({data.url})" if data.url else cell(data.dataset)
            cells = (data.config, data.split, _count(data.rows), data.revision, data.fingerprint)
            yield f"{what}: {name}", *map(cell, cells)


def _losses(facts: ModelFacts) -> Iterator[tuple[str, ...]]:
    lines = facts.metrics
    if loss := series(lines, "loss"):
        yield f"training, first (step {loss[0][0]:,})", f"{loss[0][1]:.4g}"
        yield f"training, last (step {loss[-1][0]:,})", f"{loss[-1][1]:.4g}"
        mean = smoothed([value for _, value in loss])[-1]
        yield f"training, last, smoothed (EMA, weight {WEIGHT:g})", f"{mean:.4g}"
    if evaluated := series(lines, f"{EVALUATION}loss"):
        step, least = min(evaluated, key=lambda one: one[1])
        yield f"evaluation, least (step {step:,})", f"{least:.4g}"
        yield f"evaluation, last (step {evaluated[-1][0]:,})", f"{evaluated[-1][1]:.4g}"
    if odd := sum("loss" in line.not_finite for line in lines):
        yield "lines of training whose loss was no finite number", f"{odd:,}"


def _scores(facts: ModelFacts) -> list[str]:
    scores = facts.scores
    if scores is None:
        return []
    if isinstance(scores, Comparison):
        rows = [("texts", *(f"{count:,}" for count in scores.rows), ""), *(line[:4] for line in scores.lines())]
        lines = _table(("", "before", "after", "difference"), [tuple(map(cell, row)) for row in rows])
    else:
        single = [("texts", f"{scores.rows:,}")]
        single += [(title_of(name), in_words(name, value)) for name, value in scores.values.items()]
        single += [(name.replace("_", " "), f"{count:,}") for name, count in scores.counts.items()]
        lines = _table(("", "value"), [tuple(map(cell, row)) for row in single])
    return [*lines, *(line for note in scores.notes for line in ("", cell(note)))]


def _usage(facts: ModelFacts) -> list[str]:
    as_video = "video" in facts.media and facts.frames is not None
    program = usage(
        repo=facts.repo,
        base_model=facts.base_model if facts.base_is_published else "",
        base_revision=facts.base_revision,
        adapter=facts.kind == "adapter",
        frames=facts.frames if as_video else None,
        prompt=facts.prompt or _PROMPT["video" if as_video else "image"],
        max_new_tokens=facts.max_new_tokens,
    )
    packages = ["transformers", *(["peft"] if facts.kind == "adapter" else []), *(["av"] if as_video else ["pillow"])]
    tested = [f"{name} {facts.versions[name]}" for name in packages if name in facts.versions]
    said = [f"With {cell(', '.join(tested))}, the versions of the training:", ""] if tested else []
    return [*said, "```python", program, "```"]


def _limits(facts: ModelFacts) -> Iterator[str]:
    if facts.scores is None:
        yield "Its answers were not scored."
    else:
        rows = facts.scores.rows[1] if isinstance(facts.scores, Comparison) else facts.scores.rows
        yield f"The scores are of {rows:,} rows. How it answers to other data was not measured."
    if not facts.base_is_published:
        yield "Its base model is on no hub."
    left = sum(facts.left_out.values())
    if left:
        reasons = ", ".join(f"{count:,} {cell(reason)}" for reason, count in facts.left_out.items())
        yield f"{left:,} rows could not be learnt from: {reasons}."
    if facts.frames and "video" in facts.media:
        yield f"Of a video it saw single frames, without sound: {frames_in_words(facts.frames)}."
    if facts.method == "qlora":
        yield "The adapters learnt beside weights in 4 bits; beside the whole model they answer otherwise."
    if not facts.license:
        yield "No licence is stated."


def _table(heads: Sequence[str], rows: Iterator[tuple[str, ...]] | Sequence[tuple[str, ...]]) -> list[str]:
    """Return a table; rows with nothing behind their name are left out, and a table without rows too."""
    kept = [row for row in rows if any(row[1:])]
    if not kept:
        return []
    return [_line(heads), "|---" * len(heads) + "|", *map(_line, kept)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def cell(value: object) -> str:
    """Write a value of anybody's as text in a cell: no HTML, no new column, no link."""
    text = html.escape(escaped(" ".join(str(value).split())), quote=False)
    return "".join(f"\\{character}" if character in "|[]`*_\\" else character for character in text)
