"""Names of configs and splits: those that `datasets` refuses, and whether the card's two lists of them agree."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pipeline.checks.dataset import REBUILD
from pipeline.checks.problem import Problem
from pipeline.checks.read_card import CARD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.checks.dataset import Dataset

_SPLIT = re.compile(r"\w+(\.\w+)*\Z")
SHOWN = 8
"""Names that a message lists."""
_BAD_IN_CONFIG = set("<>:/\\|?*")


def check_names(dataset: Dataset) -> Iterator[Problem]:
    """Names that `datasets` refuses or reads as something else."""
    yield from _defaults(dataset)
    for config in dataset.configs:
        bad = sorted(_BAD_IN_CONFIG & set(config))
        if bad:
            message = f"the config name {config!r} holds {' '.join(bad)}"
            yield Problem(code="SW103", file=CARD, config=config, message=message, hint="rename it")
    for split in dataset.splits:
        if not _SPLIT.match(split.name) or split.name == "all":
            message = f"{split.name!r} is no name for a split"
            hint = "use letters, digits and `_`; `all` means every split"
            yield Problem(code="SW103", file=CARD, config=split.config, split=split.name, message=message, hint=hint)


def _defaults(dataset: Dataset) -> Iterator[Problem]:
    """Of several configs one at the most is the default: the one that says so, or is called that."""
    configs = dataset.metadata.get("configs")
    listed = [config for config in configs if isinstance(config, dict)] if isinstance(configs, list) else []
    named = {str(config.get("config_name")): config for config in listed}
    marked = [name for name, config in named.items() if name == "default" or config.get("default")]
    if len(marked) > 1:
        several = " and ".join(map(repr, marked[:4]))
        message = (
            f"the configs {several} are all the default one, by `default: true` or by name; `datasets` fails on it"
        )
        yield Problem(code="SW103", file=CARD, key="configs", message=message, hint="leave one")


def check_described(dataset: Dataset) -> Iterator[Problem]:
    """`configs` and `dataset_info` name the same configs and splits; a card may do without `dataset_info`."""
    infos = dataset.infos()
    if not infos:
        return
    described = {str(info.get("config_name", "default")) for info in infos}
    if not dataset.metadata.get("configs") and described != {"default"}:
        if dataset.splits:
            message = f"`dataset_info` describes {_listed(described)}, and `configs` names no files for it"
            hint = "name each config and its files under `configs`"
            yield Problem(code="SW102", file=CARD, key="configs", message=message, hint=hint)
        return
    if more := set(dataset.configs) - described:
        message = f"`dataset_info` does not describe {_listed(more)}"
        yield Problem(code="SW102", file=CARD, config=min(more), message=message, hint=REBUILD)
    if dataset.splits and (more := described - set(dataset.configs)):
        message = f"`dataset_info` describes {_listed(more)}, which `configs` does not name"
        yield Problem(code="SW102", file=CARD, config=min(more), message=message, hint=REBUILD)
    for config in dataset.configs:
        entries = dataset.info(config).get("splits")
        if not isinstance(entries, list):
            continue
        written = {str(entry.get("name")) for entry in entries if isinstance(entry, dict)}
        named = {split.name for split in dataset.splits_of(config)}
        for name in sorted(named - written):
            message = "`dataset_info` has no such split"
            yield Problem(code="SW102", file=CARD, config=config, split=name, message=message, hint=REBUILD)
        for name in sorted(written - named):
            message = "`configs` has no such split"
            yield Problem(code="SW102", file=CARD, config=config, split=name, message=message, hint=REBUILD)


def _listed(names: set[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(repr(name[:60]) for name in sorted(names)[:SHOWN]) + more
