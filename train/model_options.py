"""Options that several commands about models share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")


def model_options(command: F) -> F:
    """Add the options of commands that load a model."""
    options = [
        click.option(
            "--device",
            type=click.Choice(["auto", "cuda", "cpu"]),
            default="auto",
            show_default=True,
            help="What the model is computed on; auto takes a GPU where there is one.",
        ),
        click.option(
            "--precision",
            type=click.Choice(["auto", "fp32", "bf16"]),
            default="auto",
            show_default=True,
            help="In what it is computed; auto: bf16 on GPUs that have it, else fp32.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def media_options(command: F) -> F:
    """Add the options that say how much of a video or picture a model is shown."""
    options = [
        click.option(
            "--frames", type=click.IntRange(1), help="So many frames of a video; left out: as it was trained, or 8."
        ),
        click.option("--fps", type=click.FloatRange(0, 1000, min_open=True), help="Or so many frames a second of it."),
        click.option("--max-frames", type=click.IntRange(1), help="With --fps: most frames."),
        click.option(
            "--longest-side", type=click.IntRange(1), help="Pixels to which larger pictures and frames shrink."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def changed_media(
    *, frames: int | None, fps: float | None, max_frames: int | None, longest_side: int | None
) -> dict[str, Any]:
    """Return what of a run's `data` is to be otherwise.

    Raises:
        UsageError: the options contradict each other.
    """
    from pipeline.errors import UsageError
    from train.settings import FramesSpec

    if frames is not None and (fps is not None or max_frames is not None):
        raise UsageError("--frames stands beside --fps or --max-frames", hint="give the number, or the rate")
    if max_frames is not None and fps is None:
        raise UsageError("--max-frames goes with --fps", hint="write --frames for a fixed number")
    changed: dict[str, Any] = {}
    if frames is not None:
        changed["frames"] = FramesSpec(count=frames)
    elif fps is not None:
        changed["frames"] = FramesSpec(per_second=fps, at_most=max_frames)
    if longest_side is not None:
        changed["longest_side"] = longest_side
    return changed
