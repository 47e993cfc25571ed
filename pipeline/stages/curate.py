"""Curate: leave out what the recipe does not want, step by step, and change what it wants changed.

What each step measures is in the manifest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa

from pipeline.changed_values import writing_changed
from pipeline.manifest import fingerprint
from pipeline.rejects import writing_rejects
from pipeline.row_file import write_rows
from pipeline.samples import load_samples
from pipeline.stages.change_rows import Changing
from pipeline.stages.changes import overlay
from pipeline.stages.curation.duplicates import repeated
from pipeline.stages.curation.measures import Measures
from pipeline.stages.curation.mix_shares import over_shares
from pipeline.stages.curation.registry import STEPS
from pipeline.stages.curation.step_table import step_table
from pipeline.stages.per_config import run_per_config

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.build import Build
    from pipeline.curate_spec import CurateSpec
    from pipeline.recipe import Config
    from pipeline.rejects import Rejects
    from pipeline.report import StageReport
    from pipeline.stages.curation.registry import Dropped

VERSION = 3
NAME = "curate"


def run(build: Build) -> StageReport:
    """Write the samples that stay, config by config."""
    # what rows weigh depends on where media go, and stands among the samples
    plans = [build.manifest.stages["cache"]["fingerprint"], build.recipe.embedded]
    steps = {
        name: [_unique(config), [_made_of(build, config, step) for step in config.curate], *_shares(config)]
        for name, config in build.recipe.configs.items()
    }
    keys = {name: fingerprint(VERSION, plans, name, rules) for name, rules in steps.items()}
    report, configs = run_per_config(build, NAME, keys, _curate)
    for name, config in configs.items():
        for step, columns in config.get("changed", {}).items():
            told = ", ".join(f"{count:,} of {column}" for column, count in columns.items())
            report.notes.append(f"{name}: values changed by step {step}: {told}")
    report.table = step_table({name: config["steps"] for name, config in configs.items()})
    # what later stages see: programs that steps call may change values otherwise than before
    changes = [config["changes"] for config in configs.values() if "changes" in config]
    made = fingerprint(VERSION, plans, steps, *changes)
    build.manifest.record(NAME, {"fingerprint": made, "configs": configs})
    return report


def _made_of(build: Build, config: Config, spec: CurateSpec) -> Any:
    """Return what the result of a step depends on beside the rows."""
    more = STEPS[spec.operation].made_of
    return spec.made_of() if more is None else [spec.made_of(), more(build, config, spec)]


def _unique(config: Config) -> list[str]:
    return [column.name for column in config.schema.value_columns if column.rules.unique]


def _shares(config: Config) -> list[Any]:
    """Return what decides which rows of a mix stay; nothing where there is no mix."""
    return [config.mix_seed, [(part.source, part.weight, part.cap) for part in config.parts]] if config.parts else []


def _curate(build: Build, config: Config) -> dict[str, Any]:
    workspace = build.workspace
    with (
        writing_rejects(workspace.rejects(NAME, config.name), config=config.name, stage=NAME) as rejects,
        writing_changed(workspace.changed_values(config.name), config=config.name) as noted,
    ):
        curation = _Curation(build, config, rejects, Changing(build, config, noted))
        rows_in = curation.samples.num_rows
        for column in _unique(config):
            curation.drop(repeated(build, config, curation.samples, [column], "schema.unique"))
        told = [curation.take(number, step) for number, step in enumerate(config.curate, 1)]
        changed = {column for _, column in noted.counts}
        for column in [name for name in _unique(config) if name in changed]:
            curation.drop(repeated(build, config, curation.samples, [column], "schema.unique"))
        if config.parts:
            curation.drop(over_shares(build, config, curation.samples))
    write_rows(workspace.kept(config.name, NAME), curation.samples)
    rejected = dict(sorted(rejects.counts.items()))
    result = {"rows_in": rows_in, "rows_out": curation.samples.num_rows, "rejected": rejected, "steps": told}
    if noted.counts:
        result |= {"changed": noted.by_step(), "changes": overlay(workspace.changes(config.name)).fingerprint()}
    return result


class _Curation:
    """The samples of one config on their way through the steps."""

    def __init__(self, build: Build, config: Config, rejects: Rejects, changing: Changing) -> None:
        self.samples = load_samples(build, config.name)
        self._build, self._config, self._rejects, self._changing = build, config, rejects, changing
        self._files = build.files_of(config.name)

    def take(self, number: int, spec: CurateSpec) -> dict[str, Any]:
        """Take one step; returns what it did, as the manifest has it."""
        step = STEPS[spec.operation]
        rows_in, counts = self.samples.num_rows, self._rejects.counts.copy()
        measures = Measures()
        outcome = step.run(self._build, self._config, self.samples, spec, measures)
        if step.changes is None:
            self.drop(cast("Iterable[Dropped]", outcome))
        else:
            name = f"{number} {spec.operation}"
            columns = step.changes(self._config, spec)
            self.drop(self._changing.apply(self.samples, name, columns, outcome), weigh=True)
        return {
            "step": spec.operation,
            "rows_in": rows_in,
            "rows_out": self.samples.num_rows,
            "rejected": dict(sorted((self._rejects.counts - counts).items())),
            "measured": measures.summary(),
        }

    def drop(self, dropped: Iterable[Dropped], *, weigh: bool = False) -> None:
        """Leave samples out, each with its reason; `weigh`: rows were changed, and weigh what they weigh now."""
        keep = np.ones(self.samples.num_rows, bool)
        lines, numbers = self.samples.column("line"), self.samples.column("file")
        for position, reason, message in dropped:
            keep[position] = False
            file = self._files[numbers[position].as_py()]
            self._rejects.add(
                split=file.split,
                source=file.source,
                file=file.name,
                line=lines[position].as_py(),
                reason=reason,
                message=message,
            )
        if weigh:
            self.samples = self._changing.weighed(self.samples)
        if not keep.all():
            self.samples = self.samples.filter(pa.array(keep))
