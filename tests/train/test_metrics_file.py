"""metrics.jsonl: a resumed run's file becomes that of an uninterrupted one, and a kill costs one line."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import WorkspaceError
from train.example import TrainError
from train.line_file import json_line, opened, read_lines
from train.metrics_file import Measured, metrics_file, read_metrics, series

if TYPE_CHECKING:
    from pathlib import Path

    from train.metrics_file import MetricsFile


def _steps(file: MetricsFile, first: int, last: int, pace: float) -> None:
    """Write what a run writes, whose speed is its own."""
    for step in range(first, last + 1):
        file.add(step, {"epoch": step / 10, "loss": 3 / step, "samples_per_second": pace * step})
        if step % 5 == 0:
            file.add(step, {"epoch": step / 10, "eval_loss": 4 / step, "eval_runtime": pace})


def test_a_resumed_run_has_the_file_of_an_uninterrupted_one(tmp_path: Path) -> None:
    """Lines of steps that are trained once more are cut away, with the line that was torn; times aside all is equal."""
    whole, resumed = tmp_path / "whole.jsonl", tmp_path / "resumed.jsonl"
    with metrics_file(whole) as file:
        _steps(file, 1, 20, 1.5)
    with metrics_file(resumed) as file:
        _steps(file, 1, 13, 2.0)
    with resumed.open("ab") as torn:
        torn.write(b'{"step": 14, "lo')
    with metrics_file(resumed, after_step=10) as file:
        _steps(file, 11, 20, 3.0)
    pairs = list(zip(read_metrics(whole), read_metrics(resumed), strict=True))
    assert len(pairs) == 24
    assert all(one.without_times() == other.without_times() for one, other in pairs)
    assert [one for one, other in pairs if one == other] == []
    assert sorted(name for name in pairs[-1][0].without_times().values) == ["epoch", "eval_loss"]


def test_a_new_run_begins_with_nothing(tmp_path: Path) -> None:
    """Without a step to go on behind, an old file is emptied; going on behind the last step keeps every byte."""
    path = tmp_path / "new" / "metrics.jsonl"
    with metrics_file(path) as file:
        _steps(file, 1, 5, 1.0)
    before = path.read_bytes()
    with metrics_file(path, after_step=5):
        pass
    assert path.read_bytes() == before
    with metrics_file(path):
        pass
    assert path.read_bytes() == b""


def test_a_line_is_there_at_once(tmp_path: Path) -> None:
    """What was added is in the file before the next line, so that a kill does not lose it."""
    path = tmp_path / "metrics.jsonl"
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from train.metrics_file import metrics_file\n"
        "with metrics_file(Path(sys.argv[1])) as file:\n"
        "    file.add(1, {'loss': 2.5})\n"
        "    os._exit(9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, path], check=False, timeout=60)
    assert done.returncode == 9
    assert read_metrics(path) == [Measured(step=1, values={"loss": 2.5})]


def test_what_is_no_number_is_null_with_a_note(tmp_path: Path) -> None:
    """NaN and infinities become null, and the line says what they were; numbers of NumPy are plain ones."""
    path = tmp_path / "metrics.jsonl"
    values = {
        "loss": math.nan,
        "grad_norm": np.float32(math.inf),
        "learning_rate": np.float64(0.5),
        "tokens": np.int64(7),
    }
    with metrics_file(path) as file:
        file.add(np.int64(3), {**values, "eval_bleu": None})  # type: ignore[arg-type]
    plain = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert plain == {
        "step": 3,
        "loss": None,
        "grad_norm": None,
        "learning_rate": 0.5,
        "tokens": 7,
        "eval_bleu": None,
        "not_finite": {"loss": "nan", "grad_norm": "inf"},
    }
    lines = read_metrics(path)
    assert lines[0].not_finite == {"loss": "nan", "grad_norm": "inf"}
    assert series(lines, "loss") == []
    assert series(lines, "tokens") == [(3, 7)]


@pytest.mark.parametrize("line", ["[1]", "{", '{"loss": 1}', '{"step": 1, "loss": "low"}', '{"step": 1, "loss": true}'])
def test_a_line_that_is_none(tmp_path: Path, line: str) -> None:
    """A line of another making is named by its number when the file is read, and cut away when a run goes on."""
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 2}\n' + line + "\n")
    with pytest.raises(TrainError, match=r"metrics\.jsonl:2"):
        read_metrics(path)


def test_no_file_and_no_folder(tmp_path: Path) -> None:
    """No file has no lines; a folder in the way is an error that says what to do."""
    assert read_metrics(tmp_path / "none.jsonl") == []
    (tmp_path / "file").write_text("x")
    with pytest.raises(WorkspaceError, match="next:"), metrics_file(tmp_path / "file" / "metrics.jsonl"):
        pass


def test_names_that_are_taken(tmp_path: Path) -> None:
    """The step is told once, by whoever writes the line."""
    with metrics_file(tmp_path / "m.jsonl") as file, pytest.raises(ValueError, match="no names"):
        file.add(1, {"step": 2})


VALUES = st.dictionaries(st.text(st.characters(), max_size=5), st.text(st.characters(), max_size=20), max_size=4)


@given(values=st.lists(VALUES, max_size=6), cut=st.integers(0, 40))
def test_lines_are_whole_or_not_there(
    tmp_path_factory: pytest.TempPathFactory, values: list[dict[str, str]], cut: int
) -> None:
    """Any texts come back as they were, halves of characters too; a file cut anywhere has its whole lines."""
    path = tmp_path_factory.mktemp("lines") / "file.jsonl"
    with opened(path, lambda _: True) as lines:
        for value in values:
            lines.append(value)
    assert [line.value for line in read_lines(path)] == values
    data = path.read_bytes()
    path.write_bytes(data[: max(len(data) - cut, 0)])
    whole = [line.value for line in read_lines(path)]
    assert whole == values[: len(whole)]
    with opened(path, lambda _: True) as lines:
        lines.append({"end": "ü"})
    assert [line.value for line in read_lines(path)] == [*whole, {"end": "ü"}]
    assert path.read_bytes().endswith(json_line({"end": "ü"}))
