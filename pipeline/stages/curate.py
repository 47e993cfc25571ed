"""Curate: leave out what the recipe does not want: by condition, by media facts, as duplicates, or over a limit."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipeline.manifest import fingerprint
from pipeline.rejects import writing_rejects
from pipeline.row_file import write_rows
from pipeline.samples import draw, identities, iter_values, load_samples, media_facts
from pipeline.stages.per_config import run_per_config
from pipeline.template import Expression

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.build import Build
    from pipeline.recipe import Config
    from pipeline.recipe_spec import CurateSpec, ImageFilter, VideoFilter
    from pipeline.report import StageReport

VERSION = 2
NAME = "curate"

Dropped = tuple[int, str, str]
"""Position of a sample, reason, message."""


def run(build: Build) -> StageReport:
    """Write the samples that stay, config by config."""
    # what rows weigh depends on where media go, and stands among the samples
    plans = [build.manifest.stages["cache"]["fingerprint"], build.recipe.embedded]
    steps = {
        name: [_unique(config), [step.model_dump(mode="json") for step in config.curate]]
        for name, config in build.recipe.configs.items()
    }
    keys = {name: fingerprint(VERSION, plans, name, rules) for name, rules in steps.items()}
    report, configs = run_per_config(build, NAME, keys, _curate)
    build.manifest.record(NAME, {"fingerprint": fingerprint(VERSION, plans, steps), "configs": configs})
    return report


def _unique(config: Config) -> list[str]:
    return [column.name for column in config.schema.value_columns if column.rules.unique]


def _curate(build: Build, config: Config) -> dict[str, Any]:
    samples = load_samples(build, config.name)
    rows_in = samples.num_rows
    files = build.files_of(config.name)
    with writing_rejects(build.workspace.rejects(NAME, config.name), config=config.name, stage=NAME) as rejects:

        def drop(dropped: Iterator[Dropped]) -> None:
            nonlocal samples
            keep = np.ones(samples.num_rows, bool)
            lines, numbers = samples.column("line"), samples.column("file")
            for position, reason, message in dropped:
                keep[position] = False
                file = files[numbers[position].as_py()]
                rejects.add(
                    split=file.split,
                    source=file.source,
                    file=file.name,
                    line=lines[position].as_py(),
                    reason=reason,
                    message=message,
                )
            if not keep.all():
                samples = samples.filter(pa.array(keep))

        for column in _unique(config):
            drop(_repeated(build, config, samples, [column], "schema.unique"))
        for step in config.curate:
            drop(_dropped_by(build, config, samples, step))
    write_rows(build.workspace.kept(config.name, NAME), samples)
    return {"rows_in": rows_in, "rows_out": samples.num_rows, "rejected": dict(sorted(rejects.counts.items()))}


def _dropped_by(build: Build, config: Config, samples: pa.Table, step: CurateSpec) -> Iterator[Dropped]:
    if step.drop_if is not None:
        return _by_condition(build, config, samples, Expression(step.drop_if))
    if step.image is not None:
        return _by_facts(build, config, samples, "image", step.image)
    if step.video is not None:
        return _by_facts(build, config, samples, "video", step.video)
    if step.deduplicate == "media":
        return _same_media(samples)
    if step.deduplicate is not None:
        columns = (
            [column.name for column in config.schema.value_columns] if step.deduplicate == "row" else step.deduplicate
        )
        return _repeated(build, config, samples, columns, "curate.duplicate", with_media=step.deduplicate == "row")
    assert step.limit is not None
    return _over_limit(build, config, samples, step.limit, step.seed)


def _by_condition(build: Build, config: Config, samples: pa.Table, expression: Expression) -> Iterator[Dropped]:
    known = {column.name for column in config.schema.value_columns}
    columns = sorted(expression.columns & known)
    for first, rows in iter_values(build, samples, config.name, columns or sorted(known)[:1]):
        for position, row in enumerate(rows):
            if expression.evaluate(row):
                yield first + position, "curate.drop_if", f"drop_if: {expression.source}"


def _by_facts(
    build: Build, config: Config, samples: pa.Table, kind: str, limits: ImageFilter | VideoFilter
) -> Iterator[Dropped]:
    rules = limits.model_dump(exclude_none=True)
    for first, rows in media_facts(build, samples, config.name):
        for position, media in enumerate(rows):
            for medium in media:
                broken = _broken_rule(medium, rules) if medium["kind"] == kind else None
                if broken:
                    yield first + position, f"curate.{kind}.{broken[0]}", f"{medium['name']}: {broken[1]}"
                    break


def _broken_rule(medium: dict[str, Any], rules: dict[str, Any]) -> tuple[str, str] | None:
    """Return the first rule that a medium breaks, in words; an unknown fact breaks the rule that needs it."""
    width, height = medium["width"], medium["height"]
    sides = sorted(side for side in (width, height) if side)
    facts = {
        "width": width,
        "height": height,
        "side": None,
        "seconds": medium["duration"],
        "frames": medium["frames"],
        "fps": medium["fps"],
        "bytes": medium["size"],
        "aspect": sides[1] / sides[0] if len(sides) == 2 else None,
    }
    for rule, limit in rules.items():
        bound, _, fact = rule.partition("_")
        if rule in ("audio", "animated"):
            if bool(medium[rule]) != limit:
                return rule, f"{rule} is {bool(medium[rule])}, wanted is {limit}"
            continue
        value = facts[fact] if fact != "side" else (sides[0] if bound == "min" else sides[-1]) if sides else None
        if value is None:
            return rule, f"its {fact} is unknown"
        if (bound == "min" and value < limit) or (bound == "max" and value > limit):
            return rule, f"{fact} is {value:g}, {rule} is {limit:g}"
    return None


def _same_media(samples: pa.Table) -> Iterator[Dropped]:
    seen: dict[bytes, int] = {}
    for position, hashes in enumerate(samples.column("media").to_pylist()):
        if hashes:
            key = blake2b("".join(hashes).encode(), digest_size=16).digest()
            if seen.setdefault(key, position) != position:
                yield position, "curate.duplicate", "the same media as an earlier row"


def _repeated(
    build: Build, config: Config, samples: pa.Table, columns: list[str], reason: str, *, with_media: bool = False
) -> Iterator[Dropped]:
    """Yield the samples whose values stood in an earlier one; rows of nothing but nulls are never the same."""
    seen: set[bytes] = set()
    media, places = samples.column("media"), samples.column("columns")
    for first, rows in iter_values(build, samples, config.name, columns):
        for position, row in enumerate(rows):
            values = [row[column] for column in columns]
            if with_media:
                values += [media[first + position].as_py(), places[first + position].as_py()]
            elif all(value is None for value in values):
                continue
            text = json.dumps(values, ensure_ascii=False, sort_keys=True, default=str)
            key = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            if key in seen:
                what = f"the same {', '.join(columns)}"
                if with_media:
                    what = "everything is the same"
                elif len(columns) == 1:
                    what = f"{columns[0]} is {values[0]!r}"
                yield first + position, reason, f"{what[:200]}, as in an earlier row"
            seen.add(key)


def _over_limit(build: Build, config: Config, samples: pa.Table, limit: int, seed: int) -> Iterator[Dropped]:
    if samples.num_rows <= limit:
        return
    names = identities(samples, build.files_of(config.name))
    places = np.array([draw(seed, config.name, name) for name in names])
    for position in np.sort(np.argsort(places, kind="stable")[limit:]):
        yield int(position), "curate.limit", f"over the limit of {limit:,} rows"
