"""Publishing what a run made: its adapters or its model, with a card, through the door that datasets go through.

    <run>/publish/<best, last or merged>/   what is published, whole: weights, configs, processor, README.md

It is made anew each time, of hard links where the disk has them; the checkpoint itself stays as it is.
"""

from __future__ import annotations

import os
import secrets
import shutil
from typing import TYPE_CHECKING, Any

from pipeline.checks.read_card import CARD
from pipeline.errors import ProblemsFound, UsageError
from pipeline.publish.content import is_of_ours
from pipeline.publish.target import parse_target
from pipeline.publish_command import run_publish
from pipeline.workspace import TEMPORARY, disk_errors, read_json, write_bytes, write_json
from train.evaluation.asked_model import quieted
from train.model_card import model_card
from train.model_folder import check_model_folder
from train.models.adapters import CONFIG
from train.run_facts import base_of, facts_of
from train.runs.known_run import is_adapter, known_run

if TYPE_CHECKING:
    from pathlib import Path

    from train.families.family import Family
    from train.run_facts import Base
    from train.runs.known_run import KnownRun

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")


def publish_run(
    source: Path,
    *,
    to: tuple[str, ...],
    base_id: str | None = None,
    license: str | None = None,  # noqa: A002  the card's word
    card: Path | None = None,
    dataset_id: str | None = None,
    **options: Any,
) -> tuple[str, int]:
    """Prepare what a run made, check it, and publish it; returns what to print, and the exit code.

    Args:
        source: The run's folder, or one of its checkpoints: `best`, `last`, `merged`.
        to: The places; see `parse_target`.
        base_id: The name that the base model has on a hub, where it was a folder.
        license: Of the model, as a hub names it, where `card` does not say it.
        card: Markdown that people wrote for the card.
        dataset_id: Where the rows are published, where they were a folder.
        options: Those of `run_publish`.

    Raises:
        UsageError: the folder is of no run, or something has to be said.
        ProblemsFound: what was prepared is not fit to be published; names every reason.
        ShardwrightError: it could not be published.
    """
    folder = prepare_model(
        source, repo=_repo(to), base_id=base_id, license=license or "", card=card, dataset_id=dataset_id
    )
    text, code = run_publish(folder, to=to, **{**options, "kind": "model"})
    if not options.get("as_json"):
        text = f"{folder}: prepared and checked; its card is {folder / CARD}\n{text}"
    return text, code


def prepare_model(
    source: Path,
    *,
    repo: str = "",
    base_id: str | None = None,
    license: str = "",  # noqa: A002  the card's word
    card: Path | None = None,
    dataset_id: str | None = None,
) -> Path:
    """Put together what is published of a run, with its card, and return the folder; see `publish_run`.

    Raises:
        UsageError: the folder is of no run, or something has to be said.
        RecipeError: what people wrote for the card contradicts what is known.
        ProblemsFound: it is not fit to be published; names every reason.
    """
    from train.torchvision_ops import ensure_torchvision

    quieted()
    ensure_torchvision()
    found = known_run(source)
    if found is None:
        raise UsageError(f"{source} is of no run", allowed="a run's folder, or its best, last or merged")
    run, checkpoint = found
    adapter = is_adapter(checkpoint)
    base = base_of(run, whole=not adapter, named=base_id)
    human, named = ("", "card.md") if card is None else (_text(card), str(card))
    facts = facts_of(
        run, checkpoint, _family(run, checkpoint), base=base, repo=repo, license=license, dataset=dataset_id
    )
    text = model_card(facts, human, file=named)
    out = run.folder.path / "publish" / checkpoint.resolve().name
    temporary = out.with_name(f"{TEMPORARY}{secrets.token_hex(4)}-{out.name}")
    with disk_errors(out):
        try:
            _lay(checkpoint, temporary, base)
            write_bytes(temporary / CARD, text.encode())
            problems = check_model_folder(temporary)
            shutil.rmtree(out, ignore_errors=True)
            temporary.rename(out)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        hint = "mend it, e.g. with --license, --card or --base-id; the folder is there to be looked at"
        raise ProblemsFound(f"{out} is not fit to be published:\n{lines}", hint=hint)
    return out


def _lay(checkpoint: Path, folder: Path, base: Base) -> None:
    """Lay the files of a model into a folder; those of the training stay behind."""
    folder.mkdir(parents=True)
    for path in sorted(checkpoint.iterdir()):
        if not path.is_file() or not is_of_ours(path.name, "model") or path.suffix in PICKLES:
            continue
        if path.name == CONFIG:
            told = read_json(path)
            assert isinstance(told, dict), "it was loaded before"
            write_json(
                folder / CONFIG, told | {"base_model_name_or_path": base.name, "revision": base.revision or None}
            )
            continue
        try:
            os.link(path, folder / path.name)
        except OSError:
            # a disk without hard links
            shutil.copy2(path, folder / path.name)


def _family(run: KnownRun, checkpoint: Path) -> Family:
    from train.evaluation.asked_model import on_disk
    from train.families.registry import families, family_for
    from train.models.load import family_of

    named = {one.name: one for one in families()}
    said = run.settings.family or run.told.get("family")
    if said:
        return named.get(said) or family_for(said)
    return family_of(on_disk(run.base_model(), run.base_commit) if is_adapter(checkpoint) else checkpoint)


def _repo(to: tuple[str, ...]) -> str:
    """Return the name under which the model will be on a hub; nothing where it goes to folders only."""
    targets = [parse_target(text) for text in to]
    return next((target.place for target in targets if target.hub != "folder"), "")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as the text of a card: {error}") from None
