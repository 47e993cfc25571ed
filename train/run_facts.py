"""What a run's folder tells for the card of its model; what is not there is not known, and not told."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from safetensors import safe_open

from pipeline.checks.hub_files import hub_target
from pipeline.errors import UsageError
from pipeline.workspace import read_json
from train.evaluation.evaluation_report import PREDICTIONS, REPORT
from train.example import TrainError
from train.metrics_file import read_metrics, series
from train.model_facts import DataFacts, ModelFacts, is_repository
from train.models.methods import LEARNING
from train.models.parts import part_of
from train.runs.known_run import MERGED, is_adapter
from train.runs.rejected_rows import read_rejected
from train.runs.run_folder import STATE
from train.scoring.comparison import compare
from train.scoring.predictions import AFTER, BEFORE, read_predictions
from train.scoring.scores import scores_from_json

if TYPE_CHECKING:
    from train.families.family import Family
    from train.runs.known_run import KnownRun
    from train.scoring.comparison import Comparison
    from train.scoring.scores import Scores

TRIED = 20
"""Predictions from which the prompt of the card's program is taken."""


@dataclass(frozen=True, kw_only=True)
class Base:
    """The model that a run began with, by the name under which others have it."""

    name: str
    revision: str = ""


def base_of(run: KnownRun, *, whole: bool, named: str | None = None) -> Base:
    """Return the base model's name on a hub; `whole`: what is published is a whole model, not adapters alone.

    A whole model of a later stage is from what the first stage began with.

    Raises:
        UsageError: it was a folder, and nobody says under which name others have it; or the name is none.
    """
    if named is not None:
        name, _, revision = named.partition("@")
        if not is_repository(name):
            raise UsageError(f"--base-id is {named!r}", allowed="owner/name, or owner/name@revision")
        return Base(name=name, revision=revision)
    first = run.first_stage() if whole else run
    if first.base_commit is not None:
        return Base(name=str(first.told["model"]), revision=first.base_commit)
    hint = "say under which name others have it: --base-id owner/name"
    if run.first_stage() is not run and not whole:
        hint = f"publish the merged model (shardwright merge {run.folder.path}), or {hint}"
    what = f"{first.name} began with the model in the folder {first.base_model()}, which others do not have"
    raise UsageError(what, hint=hint)


def facts_of(
    run: KnownRun,
    folder: Path,
    family: Family,
    *,
    base: Base,
    repo: str = "",
    license: str = "",  # noqa: A002  the card's word
    dataset: str | None = None,
) -> ModelFacts:
    """Return what a run knows of the model in a folder.

    Args:
        run: The run.
        folder: One of its checkpoints, or the merged model.
        family: Of the model.
        base: What it began with.
        repo: Where it is to be published, `owner/name`.
        license: As a hub names it.
        dataset: Where the rows are published: `huggingface:owner/name[@commit]`, or modelscope:.

    Raises:
        TrainError: a record of the run is damaged.
        UsageError: `dataset` names none.
    """
    settings = run.settings
    metrics = read_metrics(run.folder.metrics)
    state = read_json((folder if (folder / STATE).is_file() else run.checkpoint()) / STATE)
    step = state["global_step"] if isinstance(state, dict) and "global_step" in state else None
    learnt, everything = _parameters(run, folder, family)
    evaluated = _report_path(run, folder)
    report = _report(evaluated)
    own = evaluated is None or evaluated.parent.name.startswith(f"{folder.resolve().name}-")
    scores = _scores(report, "" if own else "the scores are of the adapters, before they were merged")
    tokens = [value for at, value in series(metrics, "tokens") if step is None or at <= step]
    data = _data(run, dataset)
    rows = _rows(run, settings.data.train)
    return ModelFacts(
        name=run.name,
        kind="adapter" if is_adapter(folder) else "model",
        base_model=base.name,
        base_revision=base.revision,
        repo=repo,
        family=family.name,
        license=license,
        method=settings.method,
        settings=_settings(run),
        trained_parameters=learnt,
        parameters=everything,
        data=[replace(data, split=settings.data.train, rows=rows)],
        evaluation_data=_evaluated(report, run, data) if report is not None else None,
        rows=rows,
        left_out=Counter(
            line["code"] for line in read_rejected(run.folder.rejected) if line.get("split") == settings.data.train
        ),
        epochs=state.get("epoch") if isinstance(state, dict) else None,
        steps=step,
        global_batch=_global_batch(run),
        tokens=int(tokens[-1]) if tokens else None,
        hardware=str(run.told.get("device", "")),
        versions=run.told.get("versions", {}),
        media=frozenset(run.told.get("media", ())),
        frames=settings.data.frames.model_dump(),
        prompt=_prompt(evaluated),
        max_new_tokens=settings.evaluate.max_new_tokens if settings.evaluate is not None else 256,
        metrics=metrics,
        scores=scores,
    )


def _settings(run: KnownRun) -> dict[str, Any]:
    settings = run.settings
    found: dict[str, Any] = {f"LoRA {name}": value for name, value in settings.lora.items()}
    found |= {"learning rate": settings.learning_rate, "seed": settings.seed}
    same = run.told.get("same", {})
    found |= {"precision": same.get("precision", settings.precision), "processes": same.get("processes")}
    if settings.max_tokens:
        found["tokens of a row, at most"] = f"{settings.max_tokens:,}"
    found |= {f"`{name}`": value for name, value in settings.arguments.items()}
    return {name: value for name, value in found.items() if value is not None}


def _global_batch(run: KnownRun) -> str:
    """Say what a step learns from."""
    settings, processes = run.settings, run.told.get("same", {}).get("processes", 1)
    if settings.global_batch_size is not None:
        return _rows_in_words(settings.global_batch_size)
    each = processes * (settings.accumulation or 1)
    if settings.batching.samples is not None:
        return _rows_in_words(settings.batching.samples * each)
    return f"up to {(settings.batching.tokens or 0) * each:,} tokens"


def _rows_in_words(count: int) -> str:
    return f"{count:,} row{'s' if count != 1 else ''}"


def _parameters(run: KnownRun, folder: Path, family: Family) -> tuple[int | None, int | None]:
    """Return how many parameters learnt, and how many there are with those of the adapters; from the files' headers."""
    trained = run.checkpoint()
    own = _sizes(trained)
    if not is_adapter(trained):
        learning = LEARNING[run.settings.method]
        return sum(size for name, size in own.items() if part_of(name, family) in learning), sum(own.values())
    learnt = sum(own.values())
    whole = Path(run.base_model()) if is_adapter(folder) else folder
    beside = sum(_sizes(whole).values()) if whole.is_dir() else 0
    return learnt, beside + learnt if beside else None


def _sizes(folder: Path) -> dict[str, int]:
    """Return how many numbers each tensor of a folder's weights has."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118  no dict
                found[name] = math.prod(file.get_slice(name).get_shape())
    return found


def _rows(run: KnownRun, split: str) -> int | None:
    """Return how many rows were learnt from."""
    known = read_json(run.folder.lengths.with_suffix(".json"))
    if not isinstance(known, dict) or split not in known or not run.folder.lengths.is_file():
        return None
    with np.load(run.folder.lengths) as arrays:
        return int(np.count_nonzero(arrays[f"lengths.{list(known).index(split)}"]))


def _data(run: KnownRun, named: str | None) -> DataFacts:
    """Return what is known of the dataset."""
    told = run.told.get("dataset", {})
    name = str(named or told.get("name", "a dataset"))
    target = hub_target(name)
    if named is not None and target is None:
        allowed = "huggingface:owner/name, modelscope:owner/name, each with @commit behind it or without"
        raise UsageError(f"--dataset-id is {named!r}", allowed=allowed)
    hub: Literal["huggingface", "modelscope", ""] = target.hub if target is not None else ""
    fingerprint = str(
        told.get("manifest_sha256") or run.told.get("same", {}).get("rows", {}).get(run.settings.data.train, "")
    )
    return DataFacts(
        dataset=target.id if target is not None else name,
        hub=hub,
        revision=str((target.revision if named is not None and target is not None else told.get("commit")) or ""),
        fingerprint=fingerprint,
        config=run.settings.data.config or "",
    )


def _report_path(run: KnownRun, folder: Path) -> Path | None:
    """Return the latest evaluation of a checkpoint; of a merged model that has none, that of its adapters."""
    names = [folder.resolve().name]
    if names == [MERGED]:
        names.append(run.checkpoint().name)
    for name in names:
        found = list((run.folder.path / "evaluation").glob(f"{name}-*/{REPORT}"))
        if found:
            return max(found, key=lambda path: path.stat().st_mtime_ns)
    return None


def _report(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    found = read_json(path)
    if not isinstance(found, dict) or "scores" not in found:
        raise TrainError(f"{path} is no report of an evaluation", hint="evaluate again")
    return found


def _scores(report: dict[str, Any] | None, note: str) -> Comparison | Scores | None:
    if report is None:
        return None
    scores = {label: scores_from_json(value) for label, value in report["scores"].items()}
    found = compare(scores[BEFORE], scores[AFTER]) if BEFORE in scores else scores[AFTER]
    return replace(found, notes=[*filter(None, [note]), *found.notes])


def _evaluated(report: dict[str, Any], run: KnownRun, data: DataFacts) -> DataFacts:
    """Return which rows the scores are of: of the run's dataset, or of another one."""
    told = report["data"]
    if told.get("name") != run.told.get("dataset", {}).get("name"):
        target = hub_target(str(told.get("name", "")))
        data = DataFacts(
            dataset=target.id if target is not None else str(told.get("name", "a dataset")),
            hub=target.hub if target is not None else "",
            revision=str(told.get("commit") or ""),
            fingerprint=str(told.get("manifest_sha256") or told["fingerprint"]),
        )
    return replace(data, config=told.get("config") or "", split=told["split"], rows=report["rows"])


def _prompt(path: Path | None) -> str:
    """Return what is asked of most rows, as far as an evaluation tells."""
    asked: Counter[str] = Counter()
    for _, prediction in zip(range(TRIED), read_predictions(path.with_name(PREDICTIONS)) if path else (), strict=False):
        asked[prediction.prompt.replace("<video>", "").replace("<image>", "").strip()] += 1
    return asked.most_common(1)[0][0] if asked else ""
