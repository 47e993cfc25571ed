"""Card against shards: names, patterns, counts, sizes and features, from footers and file sizes."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.card_text import CARD_SIZES, size_category
from pipeline.checks.folder import REBUILD, Folder
from pipeline.checks.problem import Problem
from pipeline.recorded_bytes import num_bytes, read_back

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SPLIT = re.compile(r"^\w+(\.\w+)*$")
_BAD_IN_CONFIG = set("<>:/\\|?*")
_NUMBERED = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.parquet$")


def check_names(folder: Folder) -> Iterator[Problem]:
    """Names that `datasets` refuses or reads as something else."""
    for split in folder.splits:
        bad = sorted(_BAD_IN_CONFIG & set(split.config))
        if bad:
            message = f"the config name {split.config!r} holds {' '.join(bad)}"
            yield Problem(code="SW103", place=split.config, message=message, hint="rename it")
        if not _SPLIT.match(split.name) or split.name == "all":
            message = f"{split.name!r} is no name for a split"
            yield Problem(code="SW103", place=split.place, message=message, hint="use letters, digits and `_`")
    named = {split.config for split in folder.splits}
    infos = folder.metadata.get("dataset_info")
    described = {
        info.get("config_name", "default")
        for info in (infos if isinstance(infos, list) else [infos])
        if isinstance(info, dict)
    }
    for name in sorted(named - described, key=str):
        yield Problem(
            code="SW102", place=str(name), message="`dataset_info` does not describe this config", hint=REBUILD
        )
    for name in sorted(described - named, key=str):
        message = f"`dataset_info` describes {name!r}, which `configs` does not name"
        yield Problem(code="SW102", place=str(name), message=message, hint=REBUILD)


def check_membership(folder: Folder) -> Iterator[Problem]:
    """Every shard belongs to exactly one split, and none is a leftover."""
    owners = Counter(path for split in folder.splits for path in split.shards)
    for path in folder.parquet_files:
        name = path.relative_to(folder.path).as_posix()
        if owners[path] == 0:
            yield Problem(
                code="SW105",
                place=name,
                message="this shard belongs to no split",
                hint="remove it, or name it in the card",
            )
        elif owners[path] > 1:
            message = f"this shard belongs to {owners[path]} splits"
            yield Problem(code="SW105", place=name, message=message, hint="its rows would be loaded more than once")
    for split in folder.splits:
        counts: dict[str, set[str]] = {}
        for path in split.shards:
            match = _NUMBERED.match(path.name)
            if match:
                counts.setdefault(match["count"], set()).add(match["number"])
        for count, numbers in counts.items():
            if len(counts) > 1 or len(numbers) != int(count):
                message = f"{len(numbers)} shards say they are of {int(count)}"
                yield Problem(
                    code="SW110", place=split.place, message=message, hint="remove the leftovers of an earlier build"
                )


def check_counts(folder: Folder, *, quick: bool = False) -> Iterator[Problem]:
    """Rows, bytes and sizes of the card against the shards; `quick`: by the footers, which do not tell `num_bytes`."""
    total = 0
    for config in dict.fromkeys(split.config for split in folder.splits):
        info = folder.info(config)
        written = {entry.get("name"): entry for entry in info.get("splits") or [] if isinstance(entry, dict)}
        sizes = download = 0
        whole = True
        for split in (split for split in folder.splits if split.config == config):
            found, rows, problems = _measure(folder, split.shards, quick=quick)
            yield from problems
            whole = whole and not problems
            entry = written.pop(split.name, None)
            if entry is None:
                yield Problem(code="SW106", place=split.place, message="`dataset_info` has no such split", hint=REBUILD)
                continue
            if problems:
                continue
            yield from _differs("SW106", split.place, "num_examples", entry.get("num_examples"), rows)
            if found is None:
                found = _as_written(entry.get("num_bytes"))
            yield from _differs("SW107", split.place, "num_bytes", entry.get("num_bytes"), found)
            sizes += found
            download += sum(path.stat().st_size for path in split.shards)
            total += rows
        for name in written:
            yield Problem(code="SW106", place=f"{config}/{name}", message="`configs` has no such split", hint=REBUILD)
        if whole and info:
            yield from _differs("SW108", config, "download_size", info.get("download_size"), download)
            yield from _differs("SW108", config, "dataset_size", info.get("dataset_size"), sizes)
    category = folder.metadata.get("size_categories")
    wanted = size_category(total)
    if category not in ([wanted], wanted):
        known = ", ".join(name for _, name in CARD_SIZES)
        yield Problem(
            code="SW111",
            severity="warning",
            place="size_categories",
            message=f"the card says {category!r}, the shards hold {total:,} rows, which is {wanted}",
            hint=f"known: {known}",
        )


def _differs(code: str, place: str, key: str, written: Any, found: int) -> Iterator[Problem]:
    if type(written) is not int or written != found:
        yield Problem(
            code=code, place=place, message=f"the card says {key} {written!r}, the shards have {found!r}", hint=REBUILD
        )


def _as_written(size: Any) -> int:
    """Return a size that the card alone tells, when it can be one."""
    return size if type(size) is int and size >= 0 else 0


def _measure(folder: Folder, shards: list[Path], *, quick: bool) -> tuple[int | None, int, list[Problem]]:
    """Return the bytes that `datasets` records, and the rows, of some shards."""
    recorded, rows, problems = [], 0, []
    for path in shards:
        try:
            if quick:
                part, count = None, pq.read_metadata(path).num_rows
            else:
                part, count = read_back(path)
        except (pa.ArrowException, OSError) as error:
            name = path.relative_to(folder.path).as_posix()
            message = f"the shard cannot be read: {' '.join(str(error).split())[:300]}"
            problems.append(Problem(code="SW301", place=name, message=message, hint=REBUILD))
            continue
        if not count:
            message = "the shard has no rows; some loaders fail on it"
            problems.append(
                Problem(code="SW302", place=path.relative_to(folder.path).as_posix(), message=message, hint=REBUILD)
            )
        if part is not None:
            recorded.append(part)
        rows += count
    return None if quick else num_bytes(recorded), rows, problems


def check_features(folder: Folder) -> Iterator[Problem]:
    """Features of the card = features in the footers = columns of every shard."""
    for config in dict.fromkeys(split.config for split in folder.splits):
        shards = [path for split in folder.splits if split.config == config for path in split.shards]
        expected: pa.Schema | None = None
        for path in shards:
            name = path.relative_to(folder.path).as_posix()
            try:
                schema = pq.read_schema(path)
            except (pa.ArrowException, OSError):
                continue  # reported as SW301
            if expected is None:
                expected = schema
                yield from _features_differ(folder, config, name, schema)
            elif not schema.equals(expected, check_metadata=False) or _features(schema) != _features(expected):
                yield Problem(
                    code="SW109", place=name, message="its columns differ from those of the first shard", hint=REBUILD
                )


def _features(schema: pa.Schema) -> Any:
    text = (schema.metadata or {}).get(b"huggingface")
    try:
        return json.loads(text)["info"]["features"] if text else None
    except (ValueError, KeyError, TypeError):
        return None


def _as_yaml(features: Any) -> list[dict[str, Any]] | None:
    """Return the features of a footer as a card usually lists them; None: that is for `datasets` to say."""
    try:
        return [{"name": name, **_feature_yaml(feature)} for name, feature in features.items()]
    except (AttributeError, KeyError, TypeError):
        return None


def _feature_yaml(feature: dict[str, Any]) -> dict[str, Any]:
    match feature.get("_type"):
        case "Value":
            return {"dtype": feature["dtype"]}
        case "Image" | "Video" | "Json" as kind:
            return {"dtype": kind.lower()}
        case "ClassLabel":
            names = {str(number): name for number, name in enumerate(feature["names"])}
            return {"dtype": {"class_label": {"names": names}}}
        case "List":
            inner = _feature_yaml(feature["feature"])
            return {"list": next(iter(inner.values())) if list(inner) in (["dtype"], ["struct"]) else inner}
        case None:
            return {"struct": [{"name": name, **_feature_yaml(item)} for name, item in feature.items()]}
    raise KeyError(feature["_type"])


def _features_differ(folder: Folder, config: str, place: str, schema: pa.Schema) -> Iterator[Problem]:
    written = folder.info(config).get("features")
    if not isinstance(written, list):
        yield Problem(code="SW109", place=config, message="`dataset_info` lists no features", hint=REBUILD)
        return
    names = [entry.get("name") for entry in written if isinstance(entry, dict)]
    if names != schema.names:
        message = f"the card lists the columns {names}, the shards have {schema.names}"
        yield Problem(code="SW109", place=config, message=message, hint=REBUILD)
        return
    if written == _as_yaml(_features(schema)):
        return
    from datasets import Features  # late, because it takes a second

    try:
        card = Features._from_yaml_list(written)  # noqa: SLF001  (the reading that `load_dataset` itself does)
    except (ValueError, TypeError, KeyError) as error:
        yield Problem(code="SW109", place=config, message=f"the card's features cannot be read: {error}", hint=REBUILD)
        return
    shard = Features.from_arrow_schema(schema)
    for name, feature in card.items():
        if shard[name] != feature:
            message = f"the card says {name!r} is {feature}, the shards say {shard[name]}"
            yield Problem(code="SW109", place=f"{config} ({place})", message=message, hint=REBUILD)
