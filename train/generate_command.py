"""The command `generate`: what its options mean, and what it prints."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from train.model_options import changed_media, media_options, model_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipeline.errors import RowRejected
    from train.evaluation.asked_model import AskedModel
    from train.evaluation.media_file import MediaFile, Shown
    from train.example import Encoded

STEPS = 256
"""Tokens of an answer at the most, unless it is said otherwise."""


@click.command()
@click.argument("model")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...", type=click.Path(path_type=Path))
@click.option("--prompt", required=True, help="What is asked of each of them.")
@click.option("--system", default="", help="What the system says before.")
@click.option(
    "--max-new-tokens", type=click.IntRange(1), default=STEPS, show_default=True, help="Of an answer at the most."
)
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Inputs that are answered at once.")
@media_options
@model_options
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each input: file, and text or error.")
def generate(model: str, inputs: tuple[Path, ...], **options: Any) -> None:
    """Ask a model about pictures and videos; a line of text for each.

    MODEL is a run's folder, one of its checkpoints (best, last, merged), adapters, a model's folder, or owner/name of
    one that was downloaded. INPUT is a picture, a video, or a folder of them. A video is shown as the run was trained,
    unless options say otherwise. Behind several inputs, a line begins with the file's name and a tab.
    Exit code 0: done; 1: some could not be answered, each is named; 2: a mistake in the command; 3: no model.
    """
    if run_generate(model, inputs, say=click.echo, complain=lambda line: click.echo(line, err=True), **options):
        sys.exit(1)


def run_generate(
    model: str,
    inputs: tuple[Path, ...],
    *,
    prompt: str,
    system: str,
    max_new_tokens: int,
    batch: int,
    frames: int | None,
    fps: float | None,
    max_frames: int | None,
    longest_side: int | None,
    device: str,
    precision: str,
    as_json: bool,
    say: Callable[[str], object],
    complain: Callable[[str], object],
) -> int:
    """Answer the inputs one after the other; returns how many could not be answered.

    Raises:
        ShardwrightError: there is no such model or input.
    """
    from pipeline.errors import RowRejected
    from pipeline.printable import escaped
    from train.evaluation.asked_model import asked_model, device_for, opened, quieted
    from train.evaluation.generate import answers_to
    from train.evaluation.media_file import media_files, shown_by
    from train.no_network import no_network

    quieted()
    changed = changed_media(frames=frames, fps=fps, max_frames=max_frames, longest_side=longest_side)
    files = media_files(inputs)
    place = device_for(device, precision=precision)
    if place.note:
        complain(place.note)
    asked = asked_model(model)
    shown = shown_by(asked.run, changed)
    failed = 0

    def told(file: MediaFile, **what: str) -> None:
        if as_json:
            say(json.dumps({"file": str(file.path), **what}, ensure_ascii=False))
        elif "error" in what:
            complain(f"error: {escaped(str(file.path))}: {escaped(what['error'])} ({what['code']})")
        else:
            named = f"{escaped(str(file.path))}\t" if len(files) > 1 else ""
            say(named + escaped(what["text"], keep="" if named else "\n"))

    with no_network(), opened(asked, place) as loaded:
        waiting: list[tuple[MediaFile, Encoded]] = []

        def answer() -> None:
            prompts = [one for _, one in waiting]
            found = answers_to(loaded, asked.processor, asked.family, prompts, max_new_tokens=max_new_tokens)
            for (file, _), one in zip(waiting, found, strict=True):
                told(file, text=one.text)
            waiting.clear()

        for file, encoded in _questions(files, asked, shown, prompt=prompt, system=system):
            if isinstance(encoded, RowRejected):
                failed += 1
                if waiting:
                    answer()
                told(file, error=encoded.message, code=encoded.code)
                continue
            waiting.append((file, encoded))
            if len(waiting) == batch:
                answer()
        if waiting:
            answer()
    return failed


def _questions(
    files: list[MediaFile], asked: AskedModel, shown: Shown, *, prompt: str, system: str
) -> Iterator[tuple[MediaFile, Encoded | RowRejected]]:
    """Yield each file as a prompt, or as the RowRejected that says why it cannot be asked about."""
    from pipeline.errors import RowRejected
    from pipeline.media.bounded import BoundedProcesses
    from train.evaluation.media_file import decoded, looked_at
    from train.example import Example, RowRef, Turn
    from train.no_network import working_on

    first = (Turn(role="system", parts=(system,)),) if system else ()
    with BoundedProcesses(1) as decoders:
        for number, (file, record) in enumerate(looked_at(files, decoders)):
            row = RowRef(number=number, shard=str(file.path), row=0)
            try:
                with working_on(str(file.path)):
                    turns = (*first, Turn(role="user", parts=(decoded(file, record, shown), prompt)))
                    found = asked.family.prompt(asked.processor, Example(row=row, turns=turns))
            except RowRejected as error:
                yield file, error
                continue
            yield file, found
