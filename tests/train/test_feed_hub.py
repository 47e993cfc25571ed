"""Datasets of hubs are fetched whole before a training, and trained on at the commit that was fetched."""

# ruff: noqa: F811  fixtures of another file, which tests name as their arguments

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.errors import SourceError
from tests.network.test_hub_sources import alone, hf, ms  # noqa: F401
from tests.project import tree
from tests.train.datasets_for_tests import CAPTION, build_clips, opened
from train.example import Frames, TrainError
from train.feed.fetch_dataset import fetch_dataset

if TYPE_CHECKING:
    from pathlib import Path

    from tests.network.hf_double import HuggingFaceDouble
    from tests.network.ms_double import ModelScopeDouble
    from tests.project import Project

FEW = ("bitmap.mp4", "h265_video.mp4")


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the files of a dataset."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_from_hugging_face(project: Project, hf: HuggingFaceDouble) -> None:
    """A snapshot is the dataset; it is fetched once, found again without the hub, and read in place."""
    folder = build_clips(project, FEW)
    repo = hf.repo("alice/clips", files_of(folder))
    cache = project.root / "cache"
    came: list[int] = []
    fetched = fetch_dataset("huggingface:alice/clips", cache, advance=came.append)
    assert tree(fetched.folder) == tree(folder)
    assert sum(came) == sum(map(len, files_of(folder).values()))
    assert (fetched.repo, fetched.commit) == ("huggingface:alice/clips", list(repo.commits)[-1])
    again = fetch_dataset(f"alice/clips@{fetched.commit}", cache, offline=True)
    assert again.folder == fetched.folder
    data = opened(fetched.folder, conversation=CAPTION)
    assert data.fingerprint == opened(folder, conversation=CAPTION).fingerprint
    (frames,) = data.example(1).media
    assert isinstance(frames, Frames)


def test_from_modelscope(project: Project, ms: ModelScopeDouble) -> None:
    """The same from ModelScope."""
    folder = build_clips(project, FEW)
    ms.repo("alice/clips", files_of(folder))
    fetched = fetch_dataset("modelscope:alice/clips", project.root / "cache")
    assert fetched.repo == "modelscope:alice/clips"
    assert opened(fetched.folder, conversation=CAPTION).rows == len(FEW)


def test_what_is_not_there(project: Project, hf: HuggingFaceDouble) -> None:
    """A name that is none, and a repository that is not there, are told."""
    del hf
    with pytest.raises(TrainError, match="names no dataset of a hub"):
        fetch_dataset("not a name", project.root / "cache")
    with pytest.raises(SourceError):
        fetch_dataset("huggingface:alice/none", project.root / "cache")
