"""Card: README.md of the dataset: the human part to the byte, and between markers the facts computed from the shards.

Numbers come from the shards' footers and files as they lie in the output folder, not from what earlier stages meant
to write; counts of rejects and media facts come from the plan, and validate proves they add up.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import yaml

from pipeline.build import sum_counts
from pipeline.card_text import join_card, size_category
from pipeline.errors import SourceError
from pipeline.manifest import fingerprint
from pipeline.recorded_bytes import num_bytes
from pipeline.rejects import REJECTING
from pipeline.report import StageReport
from pipeline.row_file import read_rows
from pipeline.samples import media_facts
from pipeline.workspace import write_bytes

if TYPE_CHECKING:
    from pipeline.build import Build
    from pipeline.recipe import Config

VERSION = 1
NAME = "card"


def run(build: Build) -> StageReport:
    """Write the card, if it differs from the one that is there."""
    report = StageReport(stage=NAME)
    card = build.recipe.card
    shards = build.manifest.stages["shard"]
    key = fingerprint(
        VERSION, shards["fingerprint"], card.front, card.body, _licences(build), _counts(build), _order(build)
    )
    path = build.workspace.out / "README.md"
    before = build.manifest.stages.get(NAME, {})
    with build.display.stage(NAME, len(build.recipe.configs), "configs") as progress:
        old = path.read_bytes() if path.is_file() else None
        if (
            before.get("fingerprint") == key
            and old is not None
            and fingerprint(old.decode("utf-8", "replace")) == before["card"]
        ):
            report.skipped = True
        else:
            infos = {}
            for config in build.recipe.configs.values():
                infos[config.name] = config_info(build, config)
                progress.advance()
            text = join_card(card, yaml_block=metadata_yaml(build, infos), facts=_facts(build, infos))
            write_bytes(path, text.encode())
            build.manifest.record(NAME, {"fingerprint": key, "card": fingerprint(text), "configs": infos})
    report.rows_in = report.rows_out = sum(info["rows"] for info in build.manifest.stages[NAME]["configs"].values())
    report.bytes = path.stat().st_size
    return report


def _order(build: Build) -> list[list[Any]]:
    return [[name, list(config.splits)] for name, config in build.recipe.configs.items()]


def shards_of(build: Build, config: str, split: str) -> list[str]:
    """Return the names of a split's shards, in order."""
    prefix = f"{config}/{split}-"
    names = build.manifest.stages["shard"]["shards"]
    return sorted(
        name
        for name in names
        if name.startswith(prefix) and "/" not in name[len(prefix) :] and name[len(prefix) :][:5].isdigit()
    )


def config_info(build: Build, config: Config) -> dict[str, Any]:
    """Return a config's `dataset_info` numbers, computed from the footers and files of its shards."""
    shards = build.manifest.stages["shard"]["shards"]
    splits = []
    download = 0
    for split in config.splits:
        names = shards_of(build, config.name, split)
        rows = 0
        for name in names:
            path = build.workspace.out / name
            try:
                rows += pq.read_metadata(path).num_rows
                download += path.stat().st_size
            except (OSError, ValueError) as error:
                raise SourceError(f"the shard {path} cannot be read: {error}", hint="run the build again") from None
        size = num_bytes(shards[name]["recorded"] for name in names)
        splits.append({"name": split, "num_bytes": size, "num_examples": rows})
    return {
        "splits": splits,
        "download_size": download,
        "dataset_size": sum(split["num_bytes"] for split in splits),
        "rows": sum(split["num_examples"] for split in splits),
    }


def metadata_yaml(build: Build, infos: dict[str, dict[str, Any]]) -> str:
    """Return the generated part of the front matter, as `datasets` reads it."""
    configs, dataset_info = [], []
    for position, config in enumerate(build.recipe.configs.values()):
        entry: dict[str, Any] = {
            "config_name": config.name,
            "data_files": [{"split": split, "path": f"{config.name}/{split}-*.parquet"} for split in config.splits],
        }
        if position == 0:
            entry["default"] = True
        configs.append(entry)
        info = infos[config.name]
        dataset_info.append(
            {
                "config_name": config.name,
                "features": config.schema.features_yaml(embedded=build.recipe.embedded),
                "splits": info["splits"],
                "download_size": info["download_size"],
                "dataset_size": info["dataset_size"],
            }
        )
    total = sum(info["rows"] for info in infos.values())
    value = {"configs": configs, "dataset_info": dataset_info, "size_categories": [size_category(total)]}
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1_000))


def _licences(build: Build) -> list[list[str | None]]:
    return [[name, source.license, source.credit] for name, source in build.recipe.sources.items()]


def rejected_of(build: Build, config: str) -> dict[str, int]:
    """Return reason -> rows of a config that any stage left out."""
    return sum_counts(build.manifest.stages[stage]["configs"][config]["rejected"] for stage in REJECTING)


def _counts(build: Build) -> dict[str, Any]:
    """Return config -> rows in, and rejects by reason over all stages."""
    stages = build.manifest.stages
    counts = {}
    for name in build.recipe.configs:
        counts[name] = {
            "rows_in": stages["convert"]["configs"][name]["rows_in"],
            "rejected": rejected_of(build, name),
            "without": stages["cache"]["configs"][name]["kept_without"],
            "shared": stages["split"]["configs"][name]["shared_groups"],
            "changed": stages["curate"]["configs"][name].get("changed", {}),
        }
    return counts


def _facts(build: Build, infos: dict[str, dict[str, Any]]) -> str:
    """Return the facts block: splits, media, rejects, sources and licences."""
    lines = ["## Splits", "", "| config | split | rows | shards | bytes |", "|---|---|---:|---:|---:|"]
    for name, info in infos.items():
        for split in info["splits"]:
            shards = len(shards_of(build, name, split["name"]))
            lines.append(
                f"| {name} | {split['name']} | {split['num_examples']:,} | {shards:,} | {split['num_bytes']:,} |"
            )
    media = [row for name in infos for row in _media_rows(build, name)]
    if media:
        header = "| config | kind | media | different | bytes | pictures | seconds | formats |"
        lines += ["", "## Media", "", header, "|---|---|---:|---:|---:|---|---|---|", *media]
        lines += ["", _where_media_are(build)]
    lines += ["", "## Rows in and out", "", "| config | rows in | rows out | left out |", "|---|---:|---:|---|"]
    for name, count in _counts(build).items():
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in count["rejected"].items()) or "none"
        lines.append(f"| {name} | {count['rows_in']:,} | {infos[name]['rows']:,} | {reasons} |")
    for name, count in _counts(build).items():
        lines += [
            f"\n{number:,} media of `{name}` could not be had ({reason}); their rows are kept without them."
            for reason, number in count["without"].items()
        ]
        for step, columns in count["changed"].items():
            number, _, operation = step.partition(" ")
            told = " and ".join(f"{values:,} values of `{column}`" for column, values in columns.items())
            lines.append(f"\n{told} in `{name}` were written anew by step {number} of curation ({operation}).")
        if count["shared"]:
            lines.append(f"\n{count['shared']:,} groups of `{name}` stand in more than one split.")
    lines += ["", "## Sources", "", "| source | licence | credit |", "|---|---|---|"]
    for source, licence, credit in _licences(build):
        lines.append(f"| {source} | {_cell(licence or 'not stated')} | {_cell(credit or '')} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _where_media_are(build: Build) -> str:
    match build.recipe.spec.shards.media:
        case "embed":
            return "Media are embedded in the shards, byte for byte as in their sources."
        case "files":
            return "Media are files below `media/`; the shards hold their paths from the root of this repository."
        case _:
            return "Media are members of the tar archives in `media/`; the shards hold archive and member as one path."


def _media_rows(build: Build, config: str) -> list[str]:
    """Return a table row for each kind of media in the published rows of a config."""
    samples = read_rows(build.workspace.kept(config, "split"))
    kinds: dict[str, dict[str, Any]] = {}
    for _, rows in media_facts(build, samples, config):
        for medium in (medium for row in rows for medium in row):
            facts = kinds.setdefault(
                medium["kind"],
                {
                    "count": 0,
                    "hashes": set(),
                    "bytes": 0,
                    "sides": [],
                    "seconds": 0.0,
                    "longest": 0.0,
                    "shortest": math.inf,
                    "formats": Counter(),
                },
            )
            facts["count"] += 1
            key = bytes.fromhex(medium["sha256"])[:12]
            if key in facts["hashes"]:
                continue
            facts["hashes"].add(key)
            facts["bytes"] += medium["size"]
            if medium["width"] is not None:
                size = (medium["width"] * medium["height"], medium["width"], medium["height"])
                facts["sides"] = [min([*facts["sides"][:1], size]), max([*facts["sides"][1:], size])]
            if medium["duration"] is not None:
                facts["seconds"] += medium["duration"]
                facts["longest"] = max(facts["longest"], medium["duration"])
                facts["shortest"] = min(facts["shortest"], medium["duration"])
            codec = f" ({medium['codec']})" if medium["codec"] and medium["codec"] != medium["format"] else ""
            facts["formats"][f"{medium['format']}{codec}"] += 1
    lines = []
    for kind, facts in sorted(kinds.items()):
        pictures = " to ".join(dict.fromkeys(f"{width}x{height}" for _, width, height in facts["sides"]))
        seconds = ""
        if facts["shortest"] < math.inf:
            seconds = f"{facts['seconds']:,.1f} in all, {facts['shortest']:.1f} to {facts['longest']:.1f} each"
        formats = ", ".join(f"{count:,} {name}" for name, count in facts["formats"].most_common())
        lines.append(
            f"| {config} | {kind} | {facts['count']:,} | {len(facts['hashes']):,} | {facts['bytes']:,} "
            f"| {pictures} | {seconds} | {formats} |"
        )
    return lines
