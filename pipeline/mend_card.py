"""Mending: the computed part of a card is written anew from the shards, and nothing else of it.

In a card of ours that is the block between the markers, and the table of splits; in any other card the values of
`configs`, `dataset_info` and `size_categories` that are wrong, in place. Nothing is ever deleted: shards that an
earlier count left over are moved into a new folder beside the dataset.
"""

from __future__ import annotations

import difflib
import io
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from pipeline.arranged_configs import arranged, set_aside
from pipeline.card_in_place import CardInPlace
from pipeline.checks.counts import check_counts, check_footers, check_sums
from pipeline.checks.dataset import read_dataset
from pipeline.checks.features import check_features
from pipeline.checks.files import LocalFiles
from pipeline.checks.membership import check_leftovers, check_membership
from pipeline.checks.names import check_described, check_names
from pipeline.checks.read_card import CARD, MAX_CARD_BYTES
from pipeline.described_shards import Described, category_of
from pipeline.errors import WorkspaceError
from pipeline.executor import InProcess
from pipeline.splice_yaml import CannotSplice, same
from pipeline.workspace import write_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.checks.dataset import Dataset
    from pipeline.checks.problem import Problem
    from pipeline.executor import Executor

CHECKS = (
    *(check_names, check_described, check_membership, check_leftovers),
    *(check_footers, check_counts, check_features, check_sums),
)
"""Those of the computed part, which say what is left."""


@dataclass(frozen=True, kw_only=True)
class Mending:
    """What would be written and moved, and what is left to people."""

    folder: Path
    before: bytes | None
    """The card; None: there is none."""
    after: bytes | None
    """What it is replaced by; None: it stays."""
    diff: str = ""
    moves: list[str] = field(default_factory=list)
    """Leftover shards, by their paths in the dataset."""
    aside: Path | None = None
    """The folder that they are moved to; it is not there yet."""
    cannot: list[str] = field(default_factory=list)
    """What is wrong with the computed part and cannot be known from the shards."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return self.after is None and not self.moves

    def __str__(self) -> str:
        lines = [self.diff.rstrip("\n")] if self.diff else []
        lines += [f"move {name} to {self.aside}/{name}" for name in self.moves]
        lines += [f"cannot be mended: {what}" for what in self.cannot]
        return "\n".join(lines)


def plan_mending(folder: Path, *, executor: Executor | None = None) -> Mending:
    """Say what of a card is to be written anew, and which shards are to be put aside.

    Raises:
        UsageError: there is no such folder.
    """
    files = LocalFiles(folder)
    sizes = files.sizes()
    path = folder / CARD
    if path.is_file() and sizes.get(CARD, 0) > MAX_CARD_BYTES:
        return Mending(folder=folder, before=None, after=None, cannot=["the card is too large to be read"])
    before = path.read_bytes() if path.is_file() else None
    try:
        text = CardInPlace((before or b"").decode(), there=before is not None)
    except (UnicodeDecodeError, CannotSplice) as error:
        what = f"the card: {error}" if isinstance(error, CannotSplice) else "the card is not text in UTF-8"
        return Mending(folder=folder, before=before, after=None, cannot=[what])
    aside: set[str] = set()
    cannot: list[str] = []
    start, _ = _read(files, text.whole, aside)
    aside.update(set_aside(start))
    links = sorted(name for name in aside if (folder / name).is_symlink())
    cannot += [f"{name} is a link, and a link may not work from elsewhere; move it by hand" for name in links]
    aside -= set(links)
    try:
        dataset = _arrange(files, text, start, aside, cannot)
        described = Described(dataset, executor or InProcess())
        values: dict[str, Any] = {"dataset_info": described.infos(text.values.get("dataset_info"), ours=text.ours)}
        written = text.values.get("size_categories", [] if text.ours else None)
        values["size_categories"] = category_of(written, dataset)
        text.change({key: value for key, value in values.items() if value or key in text.values})
        cannot += described.cannot
        if text.ours and not described.cannot:
            text.change_table(dataset)
    except CannotSplice as error:
        cannot.append(f"the card: {error}")
    after = text.whole.encode()
    remaining, problems = _read(files, text.whole, aside)
    problems += [problem for check in CHECKS for problem in check(remaining)]
    cannot += [f"{problem.place}: {problem.message}" for problem in problems if problem.severity == "error"]
    return Mending(
        folder=folder,
        before=before,
        after=after if after != (before or b"") else None,
        diff=_diff(before, after),
        moves=sorted(aside),
        aside=_free_folder(folder) if aside else None,
        cannot=list(dict.fromkeys(cannot)),
    )


def mend(mending: Mending) -> None:
    """Do what was planned.

    Raises:
        WorkspaceError: the card has changed since, or a file cannot be written or moved.
    """
    path = mending.folder / CARD
    if (path.read_bytes() if path.is_file() else None) != mending.before:
        raise WorkspaceError(f"{path} has changed meanwhile", hint="run it again")
    if mending.moves and mending.aside is not None:
        _move(mending.folder, mending.moves, mending.aside)
    if mending.after is not None:
        write_bytes(path, mending.after)


def _move(folder: Path, names: list[str], aside: Path) -> None:
    """Move files into a folder that is made for them."""
    try:
        aside.mkdir()  # fails where there is one: nothing is ever written over
        for name in names:
            to = aside / name
            to.parent.mkdir(parents=True, exist_ok=True)
            os.rename(folder / name, to)  # noqa: PTH104  the file itself, and only on the same disk
    except OSError as error:
        hint = "nothing was lost: move the shards that the card does not name by hand"
        raise WorkspaceError(
            f"cannot move {error.filename or folder} to {aside}: {error.strerror}", hint=hint
        ) from None


def _arrange(files: LocalFiles, text: CardInPlace, start: Dataset, aside: set[str], cannot: list[str]) -> Dataset:
    """Correct `configs`, and return the dataset as it is then."""
    known = text.values.get("configs")
    configs = arranged(start, text.order, aside) if text.ours or known or _disagrees(start) else known
    if configs is not None and not same(configs, known):
        if text.ours and not known:
            names = [config["config_name"] for config in configs]
            first = text.default if text.default in names else names[0]
            if text.there and ("default" not in names or first == "default"):
                configs[names.index(first)]["default"] = True
        text.change({"configs": configs})
    elif text.ours and not known:
        cannot.append("the names of the shards do not say which configs and splits they are of")
    return _read(files, text.whole, aside)[0]


def _disagrees(dataset: Dataset) -> bool:
    """Tell whether the card describes other configs than those that are found without `configs`."""
    return any(problem.code == "SW102" for problem in check_described(dataset))


class _Mended:
    """The files of a dataset as they will be."""

    def __init__(self, files: LocalFiles, card: bytes, aside: set[str]) -> None:
        self.files = files
        self.card = card
        self.aside = aside
        self.shown = files.shown

    def sizes(self) -> dict[str, int]:
        """Return the bytes of every file."""
        there = {name: size for name, size in self.files.sizes().items() if name not in self.aside and name != CARD}
        return {**there, CARD: len(self.card)} if self.card else there

    def open(self, name: str) -> BinaryIO:
        """Open a file."""
        return io.BytesIO(self.card) if name == CARD else self.files.open(name)

    def path(self, name: str) -> Path | None:
        """Return where a file lies."""
        return self.files.path(name)


def _read(files: LocalFiles, card: str, aside: set[str]) -> tuple[Dataset, list[Problem]]:
    """Read a dataset with another card; one whose card cannot be read is taken as one without."""
    dataset, problems = read_dataset(_Mended(files, card.encode(), aside))
    if dataset is None:
        dataset, _ = read_dataset(_Mended(files, b"", aside))
    assert dataset is not None, "without a card there is always a dataset"
    return dataset, problems


def _free_folder(folder: Path) -> Path:
    """Return a folder beside the dataset that is not there yet."""
    whole = folder.resolve()
    number = 1
    while True:
        found = whole.with_name(f"{whole.name}-leftovers{f'-{number}' if number > 1 else ''}")
        if not found.exists() and not found.is_symlink():
            return found
        number += 1


def _diff(before: bytes | None, after: bytes) -> str:
    """Return what changes, as everybody reads it."""
    old, new = ((text or b"").decode().splitlines(keepends=True) for text in (before, after))
    names = (CARD if before is not None else "/dev/null", CARD)
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
        for line in difflib.unified_diff(old, new, *names)
    )
