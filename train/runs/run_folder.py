"""Where a run lies, and what it is of.

    runs/<name>/
      lock                held while a training works in it
      run.json            what the run is of: settings, dataset, model, versions; written first
      config.yaml         the settings, resolved, to be read and used again
      lengths.npz .json   tokens of each row, so that they are counted once, and of which rows they are
      rejected.jsonl      rows that were not learnt from: which, when, the code and the reason
      metrics.jsonl       what was measured
      tensorboard/        the same as events; swanlab/ when it was asked for
      curves/*.png
      best/ last/         checkpoints: the model or its adapters, the processor, and what it takes to go on
      .saving/            a checkpoint that is being written

A training in stages has a folder of this kind for each stage in the run's, `runs/<name>/<stage>/`.

Files of checkpoints are written once and never changed, so `best` and `last` share them by hard links where they are
the same. A checkpoint is moved to its place when it is whole; a kill leaves the one before, or the new one.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.document import dotted, shown
from pipeline.errors import WorkspaceError
from pipeline.workspace import disk_errors, read_json, write_bytes, write_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BEST, LAST = "best", "last"
STATE = "trainer_state.json"
"""The file of a checkpoint that is written last."""
_BEFORE = ".before-"
"""Prefix of a checkpoint that is about to be replaced."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of a run, or of one stage of it."""

    path: Path

    @property
    def identity(self) -> Path:
        """What the run is of."""
        return self.path / "run.json"

    @property
    def config(self) -> Path:
        """The settings, resolved."""
        return self.path / "config.yaml"

    @property
    def lengths(self) -> Path:
        """Tokens of each row."""
        return self.path / "lengths.npz"

    @property
    def rejected(self) -> Path:
        """Rows that were not learnt from."""
        return self.path / "rejected.jsonl"

    @property
    def metrics(self) -> Path:
        """What was measured."""
        return self.path / "metrics.jsonl"

    @property
    def tensorboard(self) -> Path:
        """Events for TensorBoard."""
        return self.path / "tensorboard"

    @property
    def swanlab(self) -> Path:
        """Records for SwanLab."""
        return self.path / "swanlab"

    @property
    def curves(self) -> Path:
        """Pictures."""
        return self.path / "curves"

    @property
    def saving(self) -> Path:
        """Where a checkpoint is written."""
        return self.path / ".saving"

    @property
    def best(self) -> Path:
        """The checkpoint with the least loss of the evaluations."""
        return self.path / BEST

    @property
    def last(self) -> Path:
        """The checkpoint from which the run goes on."""
        return self.path / LAST

    def saved_step(self) -> int | None:
        """Return after how many steps the last checkpoint was written; None: there is none."""
        state = read_json(self.last / STATE)
        return int(state["global_step"]) if isinstance(state, dict) and "global_step" in state else None

    def begin(self, told: dict[str, Any]) -> None:
        """Say what the run is of, or see that it is of the same.

        `told["same"]` has to be the same for a run that goes on; the rest is written anew.

        Raises:
            WorkspaceError: the folder holds a run of something else; says what differs.
        """
        before = read_json(self.identity)
        if before is None and self.path.is_dir() and any(one.name != "lock" for one in self.path.iterdir()):
            raise WorkspaceError(f"{self.path} holds something that is no run", hint="choose another --name")
        if isinstance(before, dict):
            differences = list(_differences(before.get("same"), told["same"]))
            if differences:
                lines = "\n".join(f"    {line}" for line in differences[:10])
                raise WorkspaceError(
                    f"{self.path} holds a run of something else:\n{lines}",
                    hint="choose another --name, or remove the folder if nobody needs it",
                )
        write_json(self.identity, told)

    def tidy(self) -> None:
        """Bring back a checkpoint that a kill left half replaced, and remove what was being written."""
        with disk_errors(self.path):
            shutil.rmtree(self.saving, ignore_errors=True)
            for name in (BEST, LAST):
                before, place = self.path / f"{_BEFORE}{name}", self.path / name
                if before.is_dir():
                    if place.is_dir():
                        shutil.rmtree(before)
                    else:
                        before.rename(place)

    def keep(self, checkpoint: Path, *, best: bool) -> None:
        """Make a checkpoint that is whole the last one, and the best one too if it is."""
        with disk_errors(self.path):
            if best:
                linked = self.saving / BEST
                shutil.rmtree(linked, ignore_errors=True)
                shutil.copytree(checkpoint, linked, copy_function=_link)
                self._put(linked, BEST)
            self._put(checkpoint, LAST)

    def _put(self, folder: Path, name: str) -> None:
        place, before = self.path / name, self.path / f"{_BEFORE}{name}"
        _sync(folder)
        if place.is_dir():
            place.rename(before)
        folder.rename(place)
        shutil.rmtree(before, ignore_errors=True)

    def write_config(self, text: str) -> None:
        """Write the settings, resolved."""
        write_bytes(self.config, text.encode())


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        # a disk without hard links
        shutil.copy2(source, target)


def _sync(folder: Path) -> None:
    """See that the files of a folder are on the disk before it is moved to where it counts."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file, suppress(OSError):
                os.fsync(file.fileno())


def _differences(one: Any, other: Any, place: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield what differs between what a run is of and what was asked for."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted({*one, *other}):
            yield from _differences(one.get(name), other.get(name), (*place, name))
    elif one != other:
        yield f"{dotted(place)}: {shown(one)} there, {shown(other)} here"
