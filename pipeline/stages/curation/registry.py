"""Which step of curation is which key of a recipe: one line a step.

A step is a function

    run(build, config, samples, spec, measures)

that yields a Dropped for each of the samples that it leaves out, in any order; `spec` is the whole step of the recipe.
What it measures of rows or media it adds to `measures`, whether or not a row is dropped for it. A step that changes
values yields them too, as pipeline/stages/changes.py says, and names the columns it may change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.stages.curation import by_condition, by_media, by_text, data_juicer, draws, duplicates, recaption

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from pipeline.build import Build
    from pipeline.curate_spec import CurateSpec
    from pipeline.recipe import Config
    from pipeline.stages.changes import Changed
    from pipeline.stages.curation.measures import Measures

Dropped = tuple[int, str, str]
"""Position of a sample, reason (a stable code), message."""


@dataclass(frozen=True, slots=True)
class Step:
    """One kind of step."""

    run: Callable[[Build, Config, pa.Table, CurateSpec, Measures], Iterator[Dropped] | Iterator[Dropped | Changed]]
    changes: Callable[[Config, CurateSpec], list[str]] | None = None
    """The columns that it may change; None: it only leaves rows out."""
    made_of: Callable[[Build, Config, CurateSpec], Any] | None = None
    """What else its result depends on, beside the rows and what the recipe says: a model, another recipe, as values of
    JSON."""


STEPS: dict[str, Step] = {
    "drop_if": Step(by_condition.drop_if),
    "text": Step(by_text.outside_of_limits),
    "image": Step(by_media.outside_of_limits),
    "video": Step(by_media.outside_of_limits),
    "deduplicate": Step(duplicates.deduplicate),
    "limit": Step(draws.limit),
    "recaption": Step(recaption.recaption, changes=recaption.columns, made_of=recaption.made_of),
    "data_juicer": Step(data_juicer.run_recipe, changes=data_juicer.columns, made_of=data_juicer.made_of),
    "sample": Step(draws.sample),
    "multiple_of": Step(draws.multiple_of),
    "at_least": Step(draws.at_least),
}
"""Key of a step in a recipe -> what it does."""
