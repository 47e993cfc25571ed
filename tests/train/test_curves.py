"""Pictures of a training: smoothing by its formula, and PNGs that are the same for the same numbers."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.metrics_file import Measured, metrics_file
from train.pages.curves import curves, write_curves
from train.pages.smoothing import smoothed

if TYPE_CHECKING:
    from pathlib import Path

VALUES = st.lists(st.floats(-100, 100), min_size=1, max_size=30)


def test_smoothing_by_hand() -> None:
    """The first value is itself, and the second weighs 1 against 0.5 of the first."""
    assert smoothed([4, 1], 0.5) == pytest.approx([4, (0.5 * 4 + 1) / 1.5])
    assert smoothed([], 0.5) == []


@given(VALUES, st.floats(0, 0.99))
def test_smoothing_is_tensorboards(values: list[float], weight: float) -> None:
    """TensorBoard's form of it, with its division at the end, gives the same."""
    last, found = 0.0, []
    for place, value in enumerate(values):
        last = last * weight + (1 - weight) * value
        found.append(last / (1 - weight ** (place + 1)))
    assert smoothed(values, weight) == pytest.approx(found, abs=1e-9)
    assert smoothed([values[0]] * 5, weight) == pytest.approx([values[0]] * 5)


def test_a_weight_that_is_none() -> None:
    """With a weight of 1 nothing would ever be seen of a curve."""
    with pytest.raises(ValueError, match="weight"):
        smoothed([1], 1)


def _lines() -> list[Measured]:
    found = []
    for step in range(1, 21):
        values = {"loss": 3 / step, "learning_rate": 1e-4 * step, "grad_norm": 1.0 + step % 3}
        not_finite = {}
        if step == 7:
            values["loss"] = None  # type: ignore[assignment]
            not_finite = {"loss": "nan"}
        found.append(Measured(step=step, values=dict(values), not_finite=not_finite))
    found.append(Measured(step=20, values={"eval_loss": 0.5, "eval_bleu": 12.0, "eval_accuracy/q$\\frac_质": 0.5}))
    return found


def _pixels(png: bytes) -> PIL.Image.Image:
    image = PIL.Image.open(io.BytesIO(png))
    image.load()
    return image.convert("RGB")


def test_pictures_of_a_run(tmp_path: Path) -> None:
    """There is a picture for all that was measured, it is the same each time, and one without numbers goes away."""
    metrics, folder = tmp_path / "metrics.jsonl", tmp_path / "curves"
    with metrics_file(metrics) as file:
        for line in _lines():
            file.add(line.step, {name: math.nan if name in line.not_finite else v for name, v in line.values.items()})
    paths = write_curves(metrics, folder)
    assert [path.name for path in paths] == ["loss.png", "learning_rate.png", "gradient_norm.png", "evaluation.png"]
    first = [path.read_bytes() for path in paths]
    of_loss = [line for line in _lines() if {"loss", "eval_loss"} & line.values.keys()]
    without_others = [
        Measured(
            step=line.step,
            values={name: value for name, value in line.values.items() if name.endswith("loss")},
            not_finite=line.not_finite,
        )
        for line in of_loss
    ]
    assert curves(without_others) == {"loss": first[0]}
    assert not any(b"Software" in data or b"Date" in data for data in first)
    colours = {colour for _, colour in _pixels(first[0]).getcolors(1 << 24) or []}
    # the smoothed curve, the points of evaluations, and the cross of the step without a loss
    assert {(0x09, 0x69, 0xDA), (0xBC, 0x4C, 0x00), (0xCF, 0x22, 0x2E)} <= colours
    metrics.write_text('{"step": 1, "loss": 2}\n')
    assert [path.name for path in write_curves(metrics, folder)] == ["loss.png"]
    assert [path.name for path in folder.iterdir()] == ["loss.png"]


def test_a_dark_picture() -> None:
    """In the dark the ground is dark."""
    dark = curves(_lines()[:3], dark=True)["loss"]
    assert _pixels(dark).getpixel((0, 0)) == (0x16, 0x1B, 0x22)


def test_nothing_measured() -> None:
    """Without numbers there is no picture; a run that never had a loss shows where it had none."""
    assert curves([]) == {}
    assert curves([Measured(step=1, values={"tokens": 3})]) == {}
    assert list(curves([Measured(step=1, values={"loss": None}, not_finite={"loss": "inf"})])) == ["loss"]
