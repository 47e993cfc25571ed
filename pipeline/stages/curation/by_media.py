"""Rows with an image or a video outside of limits: of what the probe found, and of what is measured of its pixels."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from pipeline.curate_spec import MEASURED
from pipeline.errors import RowRejected
from pipeline.samples import media_facts
from pipeline.stages.curation.limits import broken_limit
from pipeline.stages.curation.pixels import measured, measuring

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa

    from pipeline.build import Build
    from pipeline.curate_spec import CurateSpec
    from pipeline.media.facts import Kind
    from pipeline.media.measured_media import MeasuredMedia, What
    from pipeline.recipe import Config
    from pipeline.stages.curation.measures import Measures

_YES_OR_NO = ("audio", "animated", "static")
Broken = tuple[str, str]
"""A reason, and what is said of it."""


def outside_of_limits(
    build: Build, config: Config, samples: pa.Table, spec: CurateSpec, measures: Measures
) -> Iterator[tuple[int, str, str]]:
    """Yield the samples with a medium of the step's kind that breaks one of its limits, or cannot be measured."""
    kind: Kind = "image" if spec.image is not None else "video"
    limits = spec.image or spec.video
    assert limits is not None
    rules = limits.model_dump(exclude_none=True)
    wanted: list[What] = [
        *(["pixels"] if rules.keys() & (MEASURED - {"static"}) else []),  # type: ignore[list-item]
        *(["motion"] if "static" in rules else []),  # type: ignore[list-item]
    ]
    with ExitStack() as stack:
        known = stack.enter_context(measuring(build)) if wanted else None
        for first, rows in media_facts(build, samples, config.name):
            mine = [[medium for medium in media if medium["kind"] == kind] for media in rows]
            pixels = _pixels(known, [medium for media in mine for medium in media], kind, wanted)
            for position, media in enumerate(mine):
                broken: Broken | None = None
                for medium in media:
                    found = _judged(medium, pixels.get(medium["sha256"], {}), rules, measures)
                    broken = broken or found
                if broken is not None:
                    yield first + position, *broken


def _pixels(
    known: MeasuredMedia | None, media: list[dict[str, Any]], kind: Kind, wanted: Iterable[What]
) -> dict[str, dict[str, Any] | RowRejected]:
    """Return what is measured of the pixels of some media, or why something cannot be."""
    found: dict[str, dict[str, Any] | RowRejected] = {}
    for what in wanted:
        assert known is not None
        for sha256, now in measured(known, media, kind, what).items():
            before = found.get(sha256, {})
            found[sha256] = now if isinstance(now, RowRejected) or isinstance(before, RowRejected) else before | now
    return found


def _judged(
    medium: dict[str, Any], pixels: dict[str, Any] | RowRejected, rules: dict[str, Any], measures: Measures
) -> Broken | None:
    """Return the first rule that a medium breaks; a fact that is not known breaks the rule that needs it."""
    if isinstance(pixels, RowRejected):
        return pixels.code, f"{medium['name']}: it cannot be measured: {pixels.message}"
    facts = _facts_of(medium) | pixels
    broken: Broken | None = None
    told: set[str] = set()
    for rule, limit in rules.items():
        if rule in _YES_OR_NO:
            message = f"{rule} is {bool(facts[rule])}, wanted is {limit}" if bool(facts[rule]) != limit else None
        else:
            fact = _SIDES.get(rule) or rule.partition("_")[2]
            value = facts[fact]
            if value is None:
                message = f"its {fact.replace('_', ' ')} is unknown"
            else:
                message = broken_limit(rule, limit, value)
                if fact not in told:
                    measures.add(fact, value)
                    told.add(fact)
        if message and broken is None:
            broken = f"curate.{medium['kind']}.{rule}", f"{medium['name']}: {message}"
    return broken


_SIDES = {"min_side": "shorter_side", "max_side": "longer_side"}


def _facts_of(medium: dict[str, Any]) -> dict[str, Any]:
    width, height = medium["width"], medium["height"]
    sides = sorted(side for side in (width, height) if side)
    return {
        "width": width,
        "height": height,
        "shorter_side": sides[0] if sides else None,
        "longer_side": sides[-1] if sides else None,
        "seconds": medium["duration"],
        "frames": medium["frames"],
        "fps": medium["fps"],
        "bytes": medium["size"],
        "aspect": sides[1] / sides[0] if len(sides) == 2 else None,
        "audio": medium["audio"],
        "animated": medium["animated"],
    }
