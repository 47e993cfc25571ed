"""The door to matplotlib: pictures of how a training went, from its metrics.jsonl.

    loss.png           loss of training, raw in pale, smoothed on top, and of each evaluation as points
    learning_rate.png
    gradient_norm.png  raw in pale, smoothed on top
    evaluation.png     every other number of the evaluations

A picture of which there are no numbers is not made. With one version of matplotlib the same metrics give the same bytes.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.workspace import remove_file, write_bytes
from train.runs.metrics_file import EVALUATION, TIMES, read_metrics, series
from train.runs.smoothing import WEIGHT, smoothed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from train.runs.metrics_file import Measured

NAMES = ("loss", "learning_rate", "gradient_norm", "evaluation")
"""The pictures, in order."""
_SIZE, _DOTS = (8.0, 4.0), 110
"""Inches, and dots an inch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Colours:
    ground: str
    ink: str
    grid: str
    lines: tuple[str, ...]


_LIGHT = _Colours(
    ground="#ffffff", ink="#24292f", grid="#d8dee4", lines=("#0969da", "#bc4c00", "#1a7f37", "#8250df", "#bf3989")
)
_DARK = _Colours(
    ground="#161b22", ink="#c9d1d9", grid="#30363d", lines=("#58a6ff", "#f0883e", "#3fb950", "#bc8cff", "#f778ba")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    title: str
    unit: str
    raw: Sequence[tuple[int, float]] = ()
    """Shown pale, with its smoothed curve on top where `smooth` says so."""
    smooth: bool = True
    points: dict[str, Sequence[tuple[int, float]]] | None = None
    """By name; shown as they are, joined by a thin line."""


def curves(lines: Sequence[Measured], *, dark: bool = False, weight: float = WEIGHT) -> dict[str, bytes]:
    """Return the pictures of a training as PNG, by name."""
    colours = _DARK if dark else _LIGHT
    pictures = _pictures(lines)
    return {name: _drawn(pictures[name], colours, weight) for name in NAMES if name in pictures}


def write_curves(metrics: Path, folder: Path, *, weight: float = WEIGHT) -> list[Path]:
    """Write the pictures of a run beside each other, remove older ones that have no numbers now, and return them.

    Raises:
        TrainError: the metrics have a line that is none.
        WorkspaceError: the folder cannot be written.
    """
    drawn = curves(read_metrics(metrics), weight=weight)
    for name in NAMES:
        path = folder / f"{name}.png"
        if name in drawn:
            write_bytes(path, drawn[name])
        else:
            remove_file(path)
    return [folder / f"{name}.png" for name in drawn]


def _pictures(lines: Sequence[Measured]) -> dict[str, _Picture]:
    loss, of_evaluation = series(lines, "loss"), series(lines, f"{EVALUATION}loss")
    found = {
        "loss": _Picture(
            title="Loss",
            unit="cross-entropy a token [nats]",
            raw=loss,
            points={"evaluation": of_evaluation} if of_evaluation else None,
        ),
        "learning_rate": _Picture(
            title="Learning rate", unit="learning rate", raw=series(lines, "learning_rate"), smooth=False
        ),
        "gradient_norm": _Picture(
            title="Gradient norm, before clipping", unit="L2 norm of all gradients", raw=series(lines, "grad_norm")
        ),
    }
    names = {name: None for line in lines for name in line.values if name.startswith(EVALUATION)}
    others = {
        name.removeprefix(EVALUATION): points
        for name in names
        if name.removeprefix(EVALUATION) not in ("loss", *TIMES) and (points := series(lines, name))
    }
    found["evaluation"] = _Picture(title="Evaluation", unit="score", points=others or None)
    return {name: picture for name, picture in found.items() if picture.raw or picture.points}


def _drawn(picture: _Picture, colours: _Colours, weight: float) -> bytes:
    # not pyplot: it keeps state for the whole process, and asks for a screen
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=_SIZE, dpi=_DOTS, facecolor=colours.ground, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(picture.title, color=colours.ink)
    axes.set_xlabel("optimizer step", color=colours.ink)
    axes.set_ylabel(picture.unit, color=colours.ink)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_facecolor(colours.ground)
    axes.tick_params(colors=colours.ink)
    axes.grid(color=colours.grid, linewidth=0.6)
    for spine in axes.spines.values():
        spine.set_color(colours.grid)
    _lines(axes, picture, colours, weight)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(facecolor=colours.ground, edgecolor=colours.grid, labelcolor=colours.ink, fontsize="small")
    buffer = io.BytesIO()
    # by itself it writes its version into the file
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _lines(axes: Any, picture: _Picture, colours: _Colours, weight: float) -> None:
    if picture.raw:
        steps, values = zip(*picture.raw, strict=True)
        # one point makes no line
        marker = "o" if len(steps) == 1 else ""
        if picture.smooth and len(steps) > 1:
            axes.plot(steps, values, color=colours.lines[0], alpha=0.3, linewidth=1, label="each line of the metrics")
            label = f"smoothed (EMA, weight {weight:g}, bias removed)"
            axes.plot(steps, smoothed(values, weight), color=colours.lines[0], linewidth=1.8, label=label)
        else:
            axes.plot(steps, values, color=colours.lines[0], linewidth=1.8, marker=marker)
    for place, (name, points) in enumerate((picture.points or {}).items()):
        steps, values = zip(*points, strict=True)
        colour = colours.lines[(place + bool(picture.raw)) % len(colours.lines)]
        axes.plot(steps, values, color=colour, linewidth=0.8, marker="o", markersize=5, label=name)
