"""Models of Hugging Face and ModelScope, brought to this machine before a training, which uses no network.

    <folder>/<hub>/<owner>--<name>/              snapshots, each file checked; drawn in `pipeline/sources/hub_shelf.py`
    <folder>/<hub>/<owner>--<name>/wanted.json   which files of a revision were wanted, for when there is no network

Only what a training reads is downloaded: weights as safetensors, and what lies beside them at the repository's top.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pipeline.sources.hub import HubRepo, list_repo, snapshot
from pipeline.sources.hub_client import UnreachedError
from pipeline.sources.hub_huggingface import is_offline
from pipeline.workspace import read_json, write_json
from train.example import TrainError
from train.models.load import family_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from pipeline.sources.hub import HubName

WANTED = "wanted.json"
WEIGHTS = ".safetensors"
BESIDE = frozenset({".json", ".jinja", ".txt", ".model"})
"""Endings of configs, tokenizers and chat templates."""
KEPT_WITH = frozenset({"README.md", "LICENSE", "LICENSE.md", "NOTICE"})
"""Who passes a model on has to pass these on with it."""


def download_model(
    name: str,
    folder: Path,
    *,
    hub: HubName = "huggingface",
    revision: str | None = None,
    check: Callable[[Path], object] = family_of,
    advance: Callable[[int], None] | None = None,
) -> Path:
    """Bring a model to this machine, and return the folder to load it from; what is there already is not fetched again.

    A hub that cannot be asked now is done without where the model was brought before.

    Args:
        name: `owner/name`.
        folder: Of all downloaded models.
        hub: Where it is.
        revision: A branch, tag or commit; None: the main branch.
        check: Called with a folder that holds its config, before its weights are fetched; raises TrainError where the
            model is of no use.
        advance: Called with the bytes of each file that has come.

    Raises:
        SourceError: the repository or a file of it cannot be had.
        TrainError: it is no model that can be used here; found out before its weights are fetched.
        WorkspaceError: the disk is full or read-only.
    """
    repo = HubRepo(hub=hub, id=name, revision=revision, kind="model")
    shelf = folder / hub / repo.id.replace("/", "--")
    known = read_json(shelf / WANTED)
    known = known if isinstance(known, dict) else {}
    before = known.get(repo.at)
    offline = hub == "huggingface" and is_offline()
    if offline and before is None:
        raise TrainError(f"{repo} cannot be downloaded while HF_HUB_OFFLINE is set", hint="unset it, or name a folder")
    if before is None or not (offline or repo.pinned):
        try:
            files = _checked(repo, wanted(list_repo(repo).files), shelf, check)
        except UnreachedError:
            if before is None:
                raise
            files = before
        if files != before:
            write_json(shelf / WANTED, {**known, repo.at: files})
        before = files
    return snapshot(repo, before, shelf, advance=advance).folder


def is_downloaded(name: str, folder: Path, *, hub: HubName = "huggingface", revision: str | None = None) -> bool:
    """Tell whether a commit of a model was brought to this machine before, so that `download_model` asks nobody."""
    repo = HubRepo(hub=hub, id=name, revision=revision, kind="model")
    known = read_json(folder / hub / repo.id.replace("/", "--") / WANTED)
    return bool(repo.pinned) and isinstance(known, dict) and repo.at in known


def _checked(repo: HubRepo, files: list[str], shelf: Path, check: Callable[[Path], object]) -> list[str]:
    """Return the files of a repository if they are a model that can be used here."""
    if "config.json" not in files:
        raise TrainError(f"{repo} is no model: it has no config.json", hint="check `id` and `revision`")
    if not any(path.endswith(WEIGHTS) for path in files):
        raise TrainError(
            f"{repo} has no weights as safetensors, and files of other kinds run code when they are read",
            hint="convert them where you trust them, or take a model that has them",
        )
    check(snapshot(repo, ["config.json"], shelf).folder)
    return files


def wanted(paths: Iterable[str]) -> list[str]:
    """Return the files of a repository that a training reads: those of folders in it are of other programs."""
    return sorted(
        path
        for path in paths
        if "/" not in path and (path in KEPT_WITH or PurePosixPath(path).suffix in {WEIGHTS, *BESIDE})
    )
