"""The command `train`: what its options mean, and what it prints."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.command_options import build_options

if TYPE_CHECKING:
    from train.runs.stage import Outcome
    from train.settings import Settings

TINY = "tiny"
"""The name of a model that is built on the spot."""
TINY_RATE = 5e-3
"""At the rates that suit real models it would learn nothing that could be seen."""


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--runs",
    type=click.Path(path_type=Path),
    envvar="SHARDWRIGHT_RUNS",
    default="runs",
    show_default=True,
    help="Folder of all runs.",
)
@click.option("--name", help="The run's folder in it; left out: the name of SOURCE.")
@click.option("--dry-run", is_flag=True, help="Print the plan (rows, tokens, steps, memory), and stop.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cuda", "cpu"]),
    default="auto",
    show_default=True,
    help="What to train on; cpu has to be asked for.",
)
@click.option("--model", help="Another model than SOURCE names; tiny: one built on the spot, to try everything.")
@click.option("--family", default="smolvlm", show_default=True, help="The family of the tiny model.")
@click.option("--dataset", help="Other rows than SOURCE names: a dataset folder, or huggingface:owner/name[@revision].")
@click.option("--steps", type=click.IntRange(1), help="So many steps, in place of what SOURCE says.")
@build_options
def train(source: Path, **options: Any) -> None:
    """Fine-tune a model on a dataset, or go on with a run that was interrupted.

    SOURCE is a file such as train/configs/latex_ocr.yaml, or a recipe with a part `train`, whose dataset is built if it
    is not there yet. docs/train.md lists what it may say. The model and the dataset are fetched before; the training
    uses no network. On several GPUs: torchrun --nproc-per-node 4 -m pipeline train SOURCE.
    Exit code 0: done; 2: a mistake in SOURCE or a missing GPU; 3: it could not go on; 130: interrupted and saved.
    """
    text, code = run_train(source, **options)
    click.echo(text, nl=bool(text))
    if code:
        sys.exit(code)


def run_train(
    source: Path,
    *,
    runs: Path,
    name: str | None,
    dry_run: bool,
    device: str,
    model: str | None,
    family: str,
    dataset: str | None,
    steps: int | None,
    work: Path,
    out: Path,
    cache: Path,
    workers: int | None,
    as_json: bool,
    offline: bool,
) -> tuple[str, int]:
    """Train as a file says; returns what to print, and the exit code.

    Raises:
        RecipeError: mistakes in the file, all of them.
        ShardwrightError: it cannot be trained, or not go on.
    """
    from pipeline.executor import default_workers
    from pipeline.library import recipe_path
    from pipeline.printable import escaped
    from pipeline.report import display_for
    from pipeline.run import Folders
    from train.train_run import Asked, run_training

    source = recipe_path(source)
    settings, recipe = _read(source, dataset=dataset)
    changed: dict[str, Any] = {}
    if workers is not None:
        changed["workers"] = workers
    if dataset is not None:
        given = str(Path(dataset).absolute()) if Path(dataset).is_dir() else dataset
        changed["data"] = settings.data.model_copy(update={"dataset": given, "recipe": None})
        recipe = None
    if steps is not None:
        changed |= {"steps": steps, "epochs": None}
    if model is not None:
        changed |= {"model": model, "revision": None, "family": None}

    def say(line: str) -> None:
        click.echo(escaped(line, keep="\n"), err=True)

    if model == TINY:
        changed |= {"model": str(_tiny(family, cache)), "learning_rate": max(settings.learning_rate, TINY_RATE)}
        say(f"a tiny model of random weights, which learns at a rate of {changed['learning_rate']:g}")
    settings = settings.model_copy(update=changed)

    trained = run_training(
        Asked(
            settings=settings,
            base=source.parent.absolute(),
            recipe=recipe,
            name=name or _name(source, recipe),
            runs=runs,
            folders=Folders(work=work, out=out, cache=cache),
            device=device,
            workers=workers or default_workers(),
            dry_run=dry_run,
            offline=offline,
            display=display_for(quiet=as_json),
            say=(lambda _: None) if as_json else say,
        )
    )
    code = 130 if trained.outcomes[-1].interrupted else 0
    evaluation = trained.evaluation
    if not trained.main:
        return "", code
    if as_json:
        told = {
            "stages": [outcome.as_json() for outcome in trained.outcomes],
            "evaluation": evaluation.as_json() if evaluation is not None else None,
        }
        return json.dumps(told, indent=1), code
    lines = [_told(outcome) for outcome in trained.outcomes if not dry_run]
    lines += ["", evaluation.as_text()] if evaluation is not None else []
    return escaped("\n".join(lines), keep="\n"), code


def _read(source: Path, *, dataset: str | None) -> tuple[Settings, Path | None]:
    """Return the settings of a file, and the recipe that they are a part of."""
    from pipeline.document import read_document
    from pipeline.errors import RecipeError, UsageError
    from pipeline.load_recipe import load_recipe
    from train.read_settings import read_settings, settings_of_recipe

    if not source.is_file():
        others = ", ".join(str(path) for path in sorted(source.parent.glob("*.yaml"))[:20])
        raise UsageError(
            f"there is no file {source}", allowed=others, hint="name a file of train/configs, or a recipe with `train`"
        )
    document = read_document(source)
    if "model" in document.value or not {"sources", "mix"} & set(document.value):
        return read_settings(source, elsewhere=dataset is not None), None
    recipe = load_recipe(source)
    settings, mistakes = settings_of_recipe(document, source.parent)
    if settings is None:
        if mistakes:
            raise RecipeError(mistakes)
        raise UsageError(
            f"the recipe {source} says nothing of training",
            hint="add `train: {model: …, method: lora}` to it, or name a file of train/configs",
        )
    del recipe
    return settings, source


def _name(source: Path, recipe: Path | None) -> str:
    """Return the name of a run that nobody named."""
    if recipe is None:
        return source.stem
    from pipeline.load_recipe import load_recipe

    return load_recipe(recipe).name


def _tiny(family: str, cache: Path) -> Path:
    """Return the folder of a tiny model, which is made if it is not there yet."""
    from train.torchvision_ops import ensure_torchvision

    ensure_torchvision()
    from pipeline.workspace import holding
    from train.tiny import make_tiny

    folder = cache.absolute() / "train" / "tiny" / family
    with holding(folder.parent / f"{family}.lock"):
        if not (folder / "config.json").is_file():
            make_tiny(family, folder)
    return folder


def _told(outcome: Outcome) -> str:
    """Return what came of a training, for people."""
    folder = outcome.plan.folder
    lines = []
    if outcome.interrupted:
        lines.append(
            f"{outcome.plan.title}: interrupted and saved behind step {outcome.steps:,}; run the same command to go on"
        )
    else:
        best = (
            f"; the least loss on {outcome.plan.evaluated.name} was {outcome.best_loss:.4f}"
            if (outcome.best_loss is not None and outcome.plan.evaluated is not None)
            else ""
        )
        lines.append(f"{outcome.plan.title}: {outcome.steps:,} steps are done{best}")
    if outcome.skipped:
        lines.append(f"  {outcome.skipped:,} rows failed meanwhile and were skipped: {folder / 'rejected.jsonl'}")
    checkpoints = [str(folder / name) for name in ("best", "last") if (folder / name).is_dir()]
    lines.append(f"  checkpoints: {', '.join(checkpoints)}; curves: {folder / 'curves'}")
    return "\n".join(lines)
