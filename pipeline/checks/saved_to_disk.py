"""Folders that `save_to_disk` wrote: a cache for `load_from_disk`, and no dataset repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.checks.problem import Problem
from pipeline.checks.read_card import CARD

if TYPE_CHECKING:
    from pipeline.checks.files import DatasetFiles

STATE = "state.json"
SPLITS = "dataset_dict.json"
HINT = "write it with `load_from_disk(FOLDER).push_to_hub(...)`, or each split with `to_parquet`, and validate that"


def saved_to_disk(files: DatasetFiles, sizes: dict[str, int]) -> Problem | None:
    """Say that a dataset was saved to disk: `load_dataset` refuses one alone, and takes what it finds of several."""
    inside = {name.partition("/")[0] for name in sizes if name.endswith(f"/{STATE}") and name.count("/") == 1}
    if STATE in sizes and "dataset_info.json" in sizes and files.path(STATE) is not None:
        message = "`save_to_disk` wrote this folder for `load_from_disk`, and `load_dataset` refuses it"
        return Problem(code="SW201", file=STATE, message=message, hint=HINT)
    if SPLITS in sizes and inside and CARD not in sizes:
        message = "`save_to_disk` wrote this folder for `load_from_disk`; it is no repository, and has no card"
        return Problem(code="SW100", file=SPLITS, message=message, hint=HINT)
    return None
