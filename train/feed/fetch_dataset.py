"""Datasets of hubs, fetched whole before a training, which then uses no network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.checks.hub_files import hub_target
from pipeline.sources.hub import snapshot
from pipeline.workspace import holding
from train.example import TrainError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedDataset:
    """A dataset repository on this machine."""

    folder: Path
    repo: str
    """`huggingface:org/name`"""
    commit: str
    note: str = ""
    """Why the hub was not asked whether there is a newer commit, where it could not be."""


def fetch_dataset(
    name: str, cache: Path, *, offline: bool = False, advance: Callable[[int], None] | None = None
) -> FetchedDataset:
    """Return a snapshot of `huggingface:org/name@revision` (or modelscope:); what is there is not downloaded again.

    It lies where `shardwright validate --full` puts it. `advance` is called with the bytes of each file that has come.

    Raises:
        TrainError: the name is none.
        SourceError: the repository or one of its files cannot be had.
        WorkspaceError: the disk is full, read-only or forbidden.
    """
    repo = hub_target(name)
    if repo is None:
        raise TrainError(
            f"{name!r} names no dataset of a hub",
            allowed="huggingface:org/name, modelscope:org/name, each with @revision behind it or without",
        )
    folder = cache / "hub" / repo.hub / repo.id.replace("/", "--")
    with holding(folder / "lock"):
        found = snapshot(repo, ["**"], folder, offline=offline, advance=advance)
    return FetchedDataset(
        folder=found.folder, repo=f"{repo.hub}:{repo.id}", commit=found.commit, note=found.unasked or ""
    )
