"""The door to matplotlib: pictures of how a training went, from its metrics.jsonl.

    loss.png           loss of training, raw in pale, smoothed on top, and of each evaluation as points
    learning_rate.png
    gradient_norm.png  raw in pale, smoothed on top
    evaluation.png     every other number of the evaluations, each in a panel of its own

A picture of which there are no numbers is not made. With the same version of matplotlib the same metrics give the same
bytes.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.workspace import remove_file, write_bytes
from train.metrics_file import EVALUATION, TIMES, read_metrics, series
from train.pages.smoothing import WEIGHT, smoothed
from train.scoring.scores import METRICS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from train.metrics_file import Measured

NAMES = ("loss", "learning_rate", "gradient_norm", "evaluation")
"""The pictures, in order."""
_WIDTH, _HEIGHT, _HEIGHT_OF_MANY = 8.0, 4.0, 2.8
"""Inches; the last is of each row, where a picture has several panels."""
_DOTS = 110
"""Dots an inch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Colours:
    ground: str
    ink: str
    grid: str
    training: str
    evaluation: str
    alarm: str


_LIGHT = _Colours(
    ground="#ffffff", ink="#24292f", grid="#d8dee4", training="#0969da", evaluation="#bc4c00", alarm="#cf222e"
)
_DARK = _Colours(
    ground="#161b22", ink="#c9d1d9", grid="#30363d", training="#58a6ff", evaluation="#f0883e", alarm="#ff7b72"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    title: str
    unit: str
    raw: Sequence[tuple[int, float]] = ()
    """Measured while training."""
    smooth: bool = True
    """Whether the raw values are shown pale, with their smoothed curve on top."""
    evaluated: Sequence[tuple[int, float]] = ()
    """Measured by evaluations; shown as they are, as points on a thin line."""
    not_finite: Sequence[int] = ()
    """Steps at which a value was no finite number; crosses on the axis."""


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


def _pictures(lines: Sequence[Measured]) -> dict[str, list[_Panel]]:
    def panel(title: str, unit: str, name: str, *, smooth: bool = True, evaluated: str = "") -> _Panel:
        names = {name, evaluated}
        return _Panel(
            title=title,
            unit=unit,
            raw=series(lines, name),
            smooth=smooth,
            evaluated=series(lines, evaluated),
            not_finite=[line.step for line in lines if names & line.not_finite.keys()],
        )

    names = dict.fromkeys(name for line in lines for name in line.values if name.startswith(EVALUATION))
    others = [name for name in names if name.removeprefix(EVALUATION) not in ("loss", *TIMES)]
    pictures = {
        "loss": [panel("Loss", "cross-entropy a token [nats]", "loss", evaluated=f"{EVALUATION}loss")],
        "learning_rate": [panel("Learning rate", "learning rate", "learning_rate", smooth=False)],
        "gradient_norm": [panel("Gradient norm, before clipping", "L2 norm of all gradients", "grad_norm")],
        "evaluation": [panel(*_title_and_unit(name.removeprefix(EVALUATION)), "", evaluated=name) for name in others],
    }
    shown = {
        name: [one for one in panels if one.raw or one.evaluated or one.not_finite] for name, panels in pictures.items()
    }
    return {name: panels for name, panels in shown.items() if panels}


def _title_and_unit(name: str) -> tuple[str, str]:
    """Return what a number of an evaluation is called, and in what it is measured."""
    metric, _, part = name.partition("/")
    if metric not in METRICS:
        return _label(name), "score"
    title = ", ".join(filter(None, (METRICS[metric].title, part)))
    return _label(title), {"percent": "share, 0 to 1", "points": "points, 0 to 100"}.get(METRICS[metric].shown, "score")


def _label(name: str) -> str:
    """Write a name so that matplotlib has letters for it, and takes no dollar for mathematics."""
    return name.encode("ascii", "backslashreplace").decode().replace("$", r"\$")


def _drawn(panels: Sequence[_Panel], colours: _Colours, weight: float) -> bytes:
    # not pyplot: it keeps state for the whole process, and asks for a screen
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    size = (_WIDTH, _HEIGHT if len(panels) == 1 else rows * _HEIGHT_OF_MANY)
    figure = Figure(figsize=size, dpi=_DOTS, facecolor=colours.ground, layout="constrained")
    FigureCanvasAgg(figure)
    for place, panel in enumerate(panels, start=1):
        _draw_panel(figure.add_subplot(rows, columns, place), panel, colours, weight)
    buffer = io.BytesIO()
    # by itself it writes its version into the file
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw_panel(axes: Any, panel: _Panel, colours: _Colours, weight: float) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(panel.title, color=colours.ink)
    axes.set_xlabel("optimizer step", color=colours.ink)
    axes.set_ylabel(panel.unit, color=colours.ink)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_facecolor(colours.ground)
    axes.tick_params(colors=colours.ink)
    axes.grid(color=colours.grid, linewidth=0.6)
    for spine in axes.spines.values():
        spine.set_color(colours.grid)
    if panel.raw:
        steps, values = zip(*panel.raw, strict=True)
        if panel.smooth and len(steps) > 1:
            axes.plot(steps, values, color=colours.training, alpha=0.3, linewidth=1, label="each line of the metrics")
            label = f"smoothed (EMA, weight {weight:g}, bias removed)"
            axes.plot(steps, smoothed(values, weight), color=colours.training, linewidth=1.8, label=label)
        else:
            # one point makes no line
            axes.plot(steps, values, color=colours.training, linewidth=1.8, marker="o" if len(steps) == 1 else "")
    if panel.evaluated:
        steps, values = zip(*panel.evaluated, strict=True)
        name = "evaluation" if panel.raw else None
        axes.plot(steps, values, color=colours.evaluation, linewidth=0.8, marker="o", markersize=5, label=name)
    if panel.not_finite:
        axes.plot(
            panel.not_finite,
            [0] * len(panel.not_finite),
            color=colours.alarm,
            linestyle="none",
            marker="x",
            clip_on=False,
            transform=axes.get_xaxis_transform(),
            label=f"not a finite number ({len(panel.not_finite):,})",
        )
    if axes.get_legend_handles_labels()[0]:
        axes.legend(facecolor=colours.ground, edgecolor=colours.grid, labelcolor=colours.ink, fontsize="small")
