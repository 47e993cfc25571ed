"""The `dataset_info` and the size category of a card from the contents of the shards.

What the checks call right stays as somebody wrote it, and what the shards cannot tell is left to people.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipeline.card_text import size_category
from pipeline.checks.counts import ReadBack, check_counts, rows_of
from pipeline.checks.feature_fit import fits
from pipeline.checks.features import STRANGE, check_features
from pipeline.checks.membership import leftovers
from pipeline.checks.said_bytes import is_right, sum_of_splits
from pipeline.recorded_bytes import num_bytes

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.checks.dataset import Dataset, Split
    from pipeline.executor import Executor
    from pipeline.recorded_bytes import Recorded


def written_splits(info: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the entries of `splits`, as far as they are such."""
    splits = info.get("splits")
    return [entry for entry in splits if isinstance(entry, dict)] if isinstance(splits, list) else []


class Described:
    """Computes `dataset_info` of the shards; what cannot be known is said in `cannot`."""

    def __init__(self, dataset: Dataset, executor: Executor) -> None:
        self.dataset = dataset
        self.executor = executor
        self.cannot: list[str] = []
        self.broken = {(config, split) for config, split, _, _ in leftovers(dataset)}
        self._recorded: dict[str, Recorded | None] = {}

    def infos(self, written: Any, *, ours: bool) -> Any:
        """Return `dataset_info` corrected; in a card of ours it describes every config, and no other."""
        if not written and not ours:
            return written
        listed = written if isinstance(written, list) else [written]
        infos = [copy.deepcopy(info) for info in listed if isinstance(info, dict)]
        names = [str(info.get("config_name", "default")) for info in infos]
        missing = [name for name in self.dataset.configs if name not in names]
        more = [number for number, name in enumerate(names) if name not in self.dataset.configs]
        if len(missing) == len(more) == 1 and self._may_be(missing[0], infos[more[0]]):
            infos[more[0]]["config_name"] = missing[0]
            missing, more = [], []
        for number, info in enumerate(infos):
            if number not in more:
                self._correct(info)
        kept = [info for number, info in enumerate(infos) if number not in more or not ours]
        for name in missing:
            made: dict[str, Any] = {"config_name": name, "features": None, "splits": []}
            made |= {"download_size": None, "dataset_size": None}
            if self._correct(made):
                kept.append(made)
        return kept[0] if isinstance(written, dict) and len(kept) == 1 else kept

    def _may_be(self, config: str, info: dict[str, Any]) -> bool:
        """Tell whether an entry may be about a config: it has no other splits."""
        splits = {split.name for split in self.dataset.splits_of(config)}
        return {str(entry.get("name")) for entry in written_splits(info)} <= splits

    def _correct(self, info: dict[str, Any]) -> bool:
        """Correct the numbers and features of an entry in place; tells whether all of them could be had."""
        config = str(info.get("config_name", "default"))
        splits = self.dataset.splits_of(config)
        entries = {str(entry.get("name")): entry for entry in written_splits(info)}
        sized = "dataset_size" in info or any("num_bytes" in entry for entry in entries.values())
        whole = [split for split in splits if self._is_whole(split, read=sized or split.name not in entries)]
        for split in splits:
            if split not in whole:
                why = "its shards are not all there or not all readable, so its numbers stay as they are"
                self.cannot.append(f"{split.place}: {why}")
        if isinstance(info.get("splits"), list):
            for split in whole:
                self._correct_split(info["splits"], entries.get(split.name), split)
        if len(whole) < len(splits) or not splits or ("features" in info and not self._correct_features(info, config)):
            return False
        names = {name for split in splits for name in split.files}
        _set(info, "download_size", sum(self.dataset.sizes[name] for name in names))
        total = sum_of_splits(info)
        if sized:
            _set(info, "dataset_size", sum(map(self._num_bytes, splits)) if total is None else total)
        return True

    def _correct_split(self, written: list[Any], entry: dict[str, Any] | None, split: Split) -> None:
        if entry is None:
            entry = {"name": split.name, "num_bytes": None, "num_examples": None}
            written.append(entry)
        if "num_bytes" in entry:
            said, found = entry["num_bytes"], self._num_bytes(split)
            if type(said) is not int or not is_right(self.dataset, split, said, found):
                entry["num_bytes"] = found
        rows = [footer.rows for name in split.shards if (footer := self.dataset.footer(name)) is not None]
        if type(entry.get("num_examples")) is not int or entry["num_examples"] != sum(rows):
            entry["num_examples"] = sum(rows)

    def _correct_features(self, info: dict[str, Any], config: str) -> bool:
        if self._features_fit(config, info["features"]):
            return True
        first = next(name for split in self.dataset.splits_of(config) for name in split.shards)
        footer = self.dataset.footer(first)
        found = features_of(info["features"], footer.schema) if footer is not None else None
        if found is None or not self._features_fit(config, found):
            self.cannot.append(f"{config}: its shards have different columns, so its features stay as they are")
            return False
        info["features"] = found
        return True

    def _features_fit(self, config: str, features: Any) -> bool:
        """Tell whether the shards are as these features of a card say."""
        if not isinstance(features, list) or self.dataset.card is None:
            return False
        metadata = {"dataset_info": [{"config_name": config, "features": features}]}
        told = replace(self.dataset, card=replace(self.dataset.card, metadata=metadata))
        return not any(problem.config == config for problem in check_features(told))

    def _is_whole(self, split: Split, *, read: bool) -> bool:
        """Tell whether the shards of a split say all about it, `read`: the rows, too."""
        readable = all(self.dataset.footer(name) is not None for name in split.shards)
        whole = bool(split.files) and len(split.shards) == len(split.files) and readable
        if not whole or (split.config, split.name) in self.broken:
            return False
        return not read or all(one is not None for one in self._read(split))

    def _num_bytes(self, split: Split) -> int:
        """Return what `datasets` records of a split whose shards are whole."""
        return num_bytes(one for one in self._read(split) if one is not None)

    def _read(self, split: Split) -> list[Recorded | None]:
        """Read the shards of a split, each once; None: it is damaged."""
        wanted = [name for name in split.shards if name not in self._recorded]
        paths = {name: self.dataset.files.path(name) for name in wanted}
        tasks = [ReadBack(name=name, path=path) for name, path in paths.items() if path is not None]
        work = sum(self.dataset.sizes[task.name] for task in tasks)
        for task, (recorded, _, _) in zip(tasks, self.executor.map(_run, tasks, work_bytes=work), strict=True):
            self._recorded[task.name] = recorded
        return [self._recorded.get(name) for name in split.shards]


def _run(task: ReadBack) -> tuple[Recorded | None, int, str]:
    return task.run()


def _set(entry: dict[str, Any], key: str, value: int) -> None:
    """Set a number that stands there already; a card may do without it."""
    if key in entry and (type(entry[key]) is not int or entry[key] != value):
        entry[key] = value


def category_of(written: Any, dataset: Dataset) -> Any:
    """Return the size category, as it is written if it is right."""
    total = rows_of(dataset, dataset.splits) if dataset.splits else None
    if total is None or written is None:
        return written
    if written and not any(problem.code == "SW111" for problem in check_counts(dataset)):
        return written
    return size_category(total) if isinstance(written, str) else [size_category(total)]


def features_of(written: Any, schema: pa.Schema) -> list[dict[str, Any]] | None:
    """Return the features of a card: those that fit the shards as they are written, the others from the footer.

    None: `datasets` cannot read the footer's.
    """
    from datasets import Features  # late, because it takes a second

    by_hand = b"huggingface" not in (schema.metadata or {})
    try:
        shards = Features.from_arrow_schema(schema)
        computed = {entry["name"]: entry for entry in shards._to_yaml_list()}  # noqa: SLF001  what `datasets` writes
    except STRANGE:
        return None
    kept: dict[str, dict[str, Any]] = {}
    for entry in written if isinstance(written, list) else []:
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or name not in computed:
            continue
        try:
            feature = Features._from_yaml_list([copy.deepcopy(entry)])[name]  # noqa: SLF001
            kept[name] = entry if fits(feature, shards[name], by_hand=by_hand) else computed[name]
        except STRANGE:
            kept[name] = computed[name]
    order = kept if len(kept) == len(computed) else computed
    return [kept.get(name, computed[name]) for name in order]
