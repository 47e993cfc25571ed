"""An evaluation, top to bottom: model, baseline, rows, answers, scores, report."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import UsageError
from pipeline.workspace import locked
from train.evaluation.asked_model import BASE, asked_model, baseline_of, device_for
from train.evaluation.asked_rows import likely_columns
from train.evaluation.evaluate_rows import Asking, ask
from train.evaluation.evaluated_data import WantedData, open_rows
from train.evaluation.evaluation_report import Evaluation, write_report
from train.example import TrainError
from train.no_network import no_network
from train.runs.known_run import known_run
from train.runs.rejected_rows import told
from train.runs.stage_data import wanted_rows
from train.scoring.comparison import compare
from train.scoring.predictions import AFTER, BEFORE
from train.scoring.scores import TaskSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.report import Display
    from train.evaluation.asked_model import AskedModel
    from train.settings import EvaluateSpec

__all__ = ["Evaluation", "Wanted", "evaluate", "evaluate_run", "task_of"]

NONE = "none"
"""The name of no baseline."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What somebody wants evaluated; None is what the run says, or what is usual."""

    model: str
    """A run, one of its checkpoints, adapters, a model's folder, or `owner/name`."""
    baseline: str | None = None
    """`base`: what it was trained from; `none`; or another model. None: the base, where it is known."""
    data: WantedData = field(default_factory=WantedData)
    spec: EvaluateSpec | None = None
    """The task."""
    max_tokens: int | None = None
    """Tokens that a row may have."""
    batch: int = 8
    """Rows that are answered at once."""
    device: str = "auto"
    precision: str = "auto"
    out: Path | None = None
    """Where the report goes; None: into the run's folder, or below `evaluation`."""
    cache: Path
    workers: int = 0
    """Processes that count tokens."""
    offline: bool = False
    """Touch no network to find the rows; later it is never touched."""


def evaluate(wanted: Wanted, display: Display, *, say: Callable[[str], object] = lambda _: None) -> Evaluation:
    """Evaluate a model, and write the report; answers that are kept from before are not asked for again.

    Raises:
        UsageError: there is no such model or dataset, or nothing says what the task is.
        TrainError: the model is not on this disk, there is no such split, or no row can be asked.
    """
    device = device_for(wanted.device, precision=wanted.precision)
    if device.note:
        say(device.note)
    models = _models(wanted)
    after = models[AFTER]
    spec = _spec(wanted, after)
    rows = open_rows(
        wanted.data, after.run, model=wanted.model, cache=wanted.cache, offline=wanted.offline, display=display
    )
    out = wanted.out or _out(after, rows.split)
    with closing(rows.data), locked(out), no_network():
        settings = rows.settings
        answers, options = likely_columns(rows.data, spec.task)
        asking = Asking(
            models=models,
            data=rows.data,
            split=rows.split,
            numbers=wanted_rows(rows.data, spec.rows, settings.seed),
            task=task_of(spec),
            device=device,
            max_new_tokens=spec.max_new_tokens,
            batch=wanted.batch,
            max_tokens=wanted.max_tokens or settings.max_tokens,
            over="fewer_frames" if settings.over == "fewer_frames" else "reject",
            answers=spec.answers or answers,
            options=spec.options or options,
            workers=wanted.workers,
        )
        asked = ask(asking, out, display)
        if not asked.rows:
            raise TrainError(f"the model can be asked none of the rows:\n{told(asked.rejected)}")
        found = Evaluation(
            out=out,
            asked=asked,
            comparison=compare(asked.scores[BEFORE], asked.scores[AFTER]) if BEFORE in models else None,
            models=models,
            data=rows.told,
            device=device,
            spec=spec,
        )
        write_report(found, rows.data)
    return found


def evaluate_run(
    folder: Path, *, cache: Path, device: str = "auto", display: Display, say: Callable[[str], object] = lambda _: None
) -> Evaluation:
    """Evaluate a run that has ended as its settings want it: the task is `evaluate`, and the rows are `data.eval`.

    The best checkpoint is loaded from the disk, so the model that was trained is to be let go before; and only one of
    the processes that trained together evaluates.

    Raises:
        TrainError: see `evaluate`.
    """
    found = known_run(folder)
    assert found is not None, "a run has a record"
    run, _ = found
    precision = "bf16" if run.settings.precision in ("bf16", "pure_bf16") else "auto"
    data = WantedData(split=run.settings.data.eval)
    return evaluate(
        Wanted(model=str(folder), data=data, cache=cache, device=device, precision=precision), display, say=say
    )


def task_of(spec: EvaluateSpec) -> TaskSpec:
    """Return how texts are scored.

    Raises:
        TrainError: they cannot be scored so.
    """
    return TaskSpec(
        kind=spec.task,
        language=spec.language,
        names=tuple(spec.names),
        allowed=(spec.allowed[0], spec.allowed[1]) if spec.allowed else None,
        circular=spec.circular,
    )


def _models(wanted: Wanted) -> dict[str, AskedModel]:
    """Return the model, and before it the one that it is compared with."""
    after = asked_model(wanted.model)
    known = after.run is not None or after.adapter is not None
    told = wanted.spec or (after.run.settings.evaluate if after.run is not None else None)
    baseline = wanted.baseline or (BASE if known and (told is None or told.before) else NONE)
    if baseline == NONE:
        return {AFTER: after}
    return {BEFORE: baseline_of(after, baseline), AFTER: after}


def _spec(wanted: Wanted, model: AskedModel) -> EvaluateSpec:
    spec = wanted.spec or (model.run.settings.evaluate if model.run is not None else None)
    if spec is None:
        raise UsageError(
            "nothing says what the texts are",
            allowed="--task caption, latex, scores, choices or short_answer",
            hint="name the task, or write `evaluate: {task: …}` into the settings of a training",
        )
    return spec


def _out(model: AskedModel, split: str) -> Path:
    """Return where a report goes of which nobody says it: beside a run's checkpoints, or below this folder."""
    if model.run is not None:
        return model.run.folder.path / "evaluation" / f"{model.part}-{split}"
    return Path("evaluation") / f"{model.title.strip('/').rpartition('/')[2]}-{split}"
