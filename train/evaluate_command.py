"""The command `evaluate`: what its options mean, and what it prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.command_options import cache_option
from train.model_options import changed_media, media_options, model_options

if TYPE_CHECKING:
    from train.settings import EvaluateSpec

TASKS = ("caption", "latex", "scores", "choices", "short_answer")


@click.command()
@click.argument("model")
@click.option("--data", help="The rows: a dataset folder, or huggingface:owner/name[@revision]; left out: the run's.")
@click.option("--config", help="The dataset's config, where it has several.")
@click.option("--split", help="Left out: test, or the split that the run was evaluated on.")
@click.option(
    "--schema", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="The schema file of the rows."
)
@click.option("--task", type=click.Choice(TASKS), help="What the texts are; left out: as the run's settings say.")
@click.option("--language", help="caption: the ISO 639 code of the texts; left out: en.")
@click.option("--names", metavar="A,B,…", help="scores: what the numbers of a text are called, in order.")
@click.option("--options", metavar="COLUMN[,…]", help="choices: the column of the options, or those of each letter.")
@click.option("--answers", metavar="COLUMN", help="short_answer: the column of what people answered.")
@click.option("--circular", is_flag=True, help="choices: rows with the same --id are one question in several orders.")
@click.option("--id", "id_column", metavar="COLUMN", help="The column that names a row.")
@click.option("--rows", type=click.IntRange(1), help="So many rows only, drawn with the seed.")
@click.option("--max-new-tokens", type=click.IntRange(1), help="Tokens of an answer at the most; left out: 256.")
@click.option(
    "--max-tokens", type=click.IntRange(1), help="Longer rows are left out; left out: as the run's settings say."
)
@click.option(
    "--baseline", metavar="MODEL", help="What it is compared with: base (the default, if known), none, a model."
)
@click.option("--batch", type=click.IntRange(1), default=8, show_default=True, help="Rows that are answered at once.")
@media_options
@model_options
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the report; left out: in the run's folder.")
@cache_option
@click.option("--workers", type=click.IntRange(0, 1024), default=0, help="Processes that count the rows' tokens.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--offline", is_flag=True, help="Touch no network to find the rows; the evaluation itself never does.")
def evaluate(model: str, **options: Any) -> None:
    """Ask a model the rows of a split, and score what it answers; before and after its training side by side.

    MODEL is a run's folder, one of its checkpoints (best, last, merged), adapters, a model's folder, or owner/name of
    one that was downloaded. Answers are kept row by row, so the same command goes on where it was stopped.
    Exit code 0: done; 2: a mistake in the command; 3: it could not be evaluated.
    """
    click.echo(run_evaluate(model, **options))


def run_evaluate(
    model: str,
    *,
    data: str | None,
    config: str | None,
    split: str | None,
    schema: Path | None,
    baseline: str | None,
    batch: int,
    max_tokens: int | None,
    frames: int | None,
    fps: float | None,
    max_frames: int | None,
    longest_side: int | None,
    id_column: str | None,
    device: str,
    precision: str,
    out: Path | None,
    cache: Path,
    workers: int,
    as_json: bool,
    offline: bool,
    **task: Any,
) -> str:
    """Evaluate a model; returns what to print.

    Raises:
        ShardwrightError: it cannot be evaluated; says what to do.
    """
    import json

    from pipeline.printable import escaped
    from pipeline.report import display_for
    from train.evaluation.asked_model import quieted
    from train.evaluation.evaluated_data import WantedData
    from train.evaluation.evaluation import Wanted, evaluate

    quieted()
    changed = changed_media(frames=frames, fps=fps, max_frames=max_frames, longest_side=longest_side)
    if id_column is not None:
        changed["id"] = id_column
    wanted = Wanted(
        model=model,
        baseline=baseline,
        data=WantedData(data=data, config=config, split=split, schema=schema, changed=changed),
        spec=_spec(model, **task),
        batch=batch,
        max_tokens=max_tokens,
        device=device,
        precision=precision,
        out=out,
        cache=cache.absolute(),
        workers=workers,
        offline=offline,
    )

    def say(line: str) -> None:
        click.echo(escaped(line), err=True)

    found = evaluate(wanted, display_for(quiet=as_json), say=say)
    return json.dumps(found.as_json(), indent=1) if as_json else escaped(found.as_text(), keep="\n")


def _spec(
    model: str,
    *,
    task: str | None,
    language: str | None,
    names: str | None,
    options: str | None,
    answers: str | None,
    circular: bool,
    rows: int | None,
    max_new_tokens: int | None,
) -> EvaluateSpec | None:
    """Return the task: that of the run, changed as the options say; None where neither says one.

    Raises:
        UsageError: an option of a task, and no task.
    """
    from pipeline.errors import UsageError
    from train.runs.known_run import known_run
    from train.settings import EvaluateSpec

    given: dict[str, Any] = {
        "language": language,
        "names": names.split(",") if names else None,
        "options": options.split(",") if options and "," in options else options,
        "answers": answers,
        "circular": circular or None,
        "rows": rows,
        "max_new_tokens": max_new_tokens,
    }
    given = {name: value for name, value in given.items() if value is not None}
    found = known_run(Path(model))
    told = found[0].settings.evaluate if found is not None else None
    if task is not None and (told is None or told.task != task):
        return EvaluateSpec.model_validate({"task": task, **given})
    if told is not None:
        return told.model_copy(update=given)
    if given:
        raise UsageError("nothing says what the texts are", allowed=f"--task {', '.join(TASKS)}")
    return None
