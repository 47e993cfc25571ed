"""What is told of an evaluation: a table for people, a JSON file, and a page to be looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.printable import escaped
from pipeline.workspace import write_json
from train.evaluation.evaluate_rows import predictions_of
from train.metrics_file import read_metrics
from train.pages.predictions_page import PageFacts, samples_of, write_page
from train.runs.identity import versions
from train.runs.rejected_rows import told
from train.scoring.predictions import AFTER
from train.scoring.scores import in_words, title_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from train.evaluation.asked_model import AskedModel, Device
    from train.evaluation.evaluate_rows import Asked
    from train.example import Frames, Image, RowRef
    from train.feed.training_data import TrainingData
    from train.scoring.comparison import Comparison
    from train.scoring.scores import Scores
    from train.settings import EvaluateSpec

REPORT, PAGE, PREDICTIONS, REJECTED = "evaluation.json", "predictions.html", "predictions.jsonl", "rejected.jsonl"
NAMED = 100
"""Rows that were left out which the report names; rejected.jsonl names them all."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What came of an evaluation."""

    out: Path
    asked: Asked
    comparison: Comparison | None
    models: dict[str, AskedModel]
    """By `before` and `after`."""
    data: dict[str, Any]
    """What is known of the dataset: name, commit or manifest, config, split."""
    device: Device
    spec: EvaluateSpec

    @property
    def scores(self) -> Comparison | Scores:
        """Both models' scores side by side, or those of the only one."""
        return self.comparison or self.asked.scores[AFTER]

    def as_json(self) -> dict[str, Any]:
        """Return plain values; predictions.jsonl has the scores of single rows."""
        rejected = self.asked.rejected
        return {
            "models": {label: model.title for label, model in self.models.items()},
            "data": self.data,
            "rows": self.asked.rows,
            "left_out": {"rows": len(rejected), "first": [one.as_json() for one in rejected[:NAMED]]},
            "cut_off": self.asked.cut_off,
            "task": self.spec.model_dump(mode="json"),
            "decoding": {"greedy": True, "max_new_tokens": self.spec.max_new_tokens, "precision": self.device.dtype},
            "scores": {label: found.as_json(rows=False) for label, found in self.asked.scores.items()},
            "comparison": self.comparison.as_json() if self.comparison is not None else None,
            "versions": versions(),
        }

    def as_text(self) -> str:
        """Return it for people."""
        asked = self.asked
        lines = [f"{label}: {escaped(model.title)}" for label, model in self.models.items()]
        lines.append(
            f"rows: {asked.rows:,} of the split {self.data['split']!r} of {escaped(self.data.get('name', ''))}"
        )
        if asked.kept:
            lines.append(f"answers that were there from before: {asked.kept:,}")
        if asked.rejected:
            lines += [f"left out, by reason; {self.out / REJECTED} names them all:", told(asked.rejected)]
        for label, count in asked.cut_off.items():
            if count:
                most = f"{self.spec.max_new_tokens:,} tokens"
                lines.append(f"answers {label} that were cut off at {most}: {count:,} of {asked.rows:,}")
        table = _table(asked.scores[AFTER]) if self.comparison is None else self.comparison.as_text().rstrip()
        return "\n".join([*lines, "", table, f"\n{self.out / PAGE}: the answers, the worst first"])


def write_report(found: Evaluation, data: TrainingData) -> None:
    """Write the page and, last, the report.

    Raises:
        WorkspaceError: the folder cannot be written.
    """
    model = found.models[AFTER]
    run = model.run
    facts = [(label, one.title) for label, one in found.models.items()]
    facts += [(name, str(found.data[name])) for name in ("name", "config", "split") if found.data.get(name)]
    facts.append(("answers", f"greedy, at most {found.spec.max_new_tokens:,} tokens, {found.device.dtype}"))
    page = PageFacts(
        title=f"{model.title} on {found.data['split']}",
        facts=facts,
        scores=found.scores,
        metrics=read_metrics(run.folder.metrics) if run is not None else (),
    )

    def media(row: RowRef) -> Sequence[Image | Frames]:
        shown: list[Any] = list(data.example(row.number).media)
        return shown

    rows = {one.row.number for one in found.asked.scores[AFTER].per_row}
    samples = samples_of(predictions_of(found.out / PREDICTIONS, rows))
    write_page(found.out / PAGE, page, samples, media, main=found.asked.scores[AFTER].main)
    write_json(found.out / REPORT, found.as_json())


def _table(scores: Scores) -> str:
    """Return the scores of one model for a terminal."""
    rows = [("texts", f"{scores.rows:,}")]
    rows += [(title_of(name), in_words(name, value)) for name, value in scores.values.items()]
    rows += [(name.replace("_", " "), f"{count:,}") for name, count in scores.counts.items()]
    wide = [max(len(row[place]) for row in rows) for place in (0, 1)]
    lines = [f"{name.ljust(wide[0])}  {value.rjust(wide[1])}" for name, value in rows]
    return "\n".join([*lines, *(f"note: {note}" for note in scores.notes)])
