"""The mistakes of steps of curation that only the schema shows: unknown columns, and media that are not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pipeline.curate_spec import MEASURED
from pipeline.document import nearest
from pipeline.template import Expression

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pipeline.curate_spec import CurateSpec, TextFilter
    from pipeline.document import Location
    from pipeline.recipe_spec import MediaSpec
    from pipeline.schema import Schema


class WrongStep(NamedTuple):
    """A mistake in a step."""

    place: Location
    """From the list of steps on."""
    message: str
    hint: str = ""


def wrong_steps(steps: Sequence[CurateSpec], schema: Schema, media: Mapping[str, MediaSpec]) -> Iterator[WrongStep]:
    """Yield what is wrong with steps of curation of a config."""
    values = {column.name for column in schema.value_columns}
    kinds = {column.media for column in schema.media_columns}
    everything = values | {column.name for column in schema.media_columns}
    for number, step in enumerate(steps):
        if step.drop_if is not None:
            for column in sorted(_columns_of(step.drop_if) - values):
                yield WrongStep((number, "drop_if"), f"unknown column {column!r}", nearest(column, values))
        if step.operation in ("image", "video"):
            yield from _wrong_media_step(number, step, schema, media)
        if step.text is not None:
            yield from _wrong_text((number, "text"), step.text, schema)
        if (step.deduplicate == "media" or step.near is not None) and not kinds:
            yield WrongStep((number,), f"the schema {schema.name!r} has no media", "`deduplicate: row`, or columns")
        if isinstance(step.deduplicate, list):
            for column in step.deduplicate:
                if column not in values:
                    yield WrongStep((number, "deduplicate"), f"unknown column {column!r}", nearest(column, values))
        for key, message, hint in step.recaption.unfit(schema) if step.recaption else ():
            yield WrongStep((number, "recaption", key), message, hint)
        for key, message, hint in step.data_juicer.unfit(schema) if step.data_juicer else ():
            yield WrongStep((number, "data_juicer", key), message, hint)
        if step.per is not None and step.per not in everything:
            yield WrongStep((number, "per"), f"unknown column {step.per!r}", nearest(step.per, everything))


def _wrong_media_step(
    number: int, step: CurateSpec, schema: Schema, media: Mapping[str, MediaSpec]
) -> Iterator[WrongStep]:
    kind_of = {column.name: column.media for column in schema.media_columns}
    if step.operation not in kind_of.values():
        yield WrongStep((number,), f"the schema {schema.name!r} has no {step.operation} column")
    limits = step.image or step.video
    assert limits is not None
    # what is measured of pixels is measured whatever the probe looked at
    needed = sorted(limits.model_fields_set - {"min_bytes", "max_bytes", *(MEASURED - {"static"})})
    if needed and any(spec.probe == "none" for name, spec in media.items() if kind_of.get(name) == step.operation):
        message = f"{needed[0]!r} is not known with `probe: none`"
        yield WrongStep((number,), message, "say `probe: header`, or leave it out")


def _wrong_text(place: Location, text: TextFilter, schema: Schema) -> Iterator[WrongStep]:
    values = {column.name for column in schema.value_columns}
    if text.turns is not None and schema.conversation is None:
        message = f"the schema {schema.name!r} has no conversation"
        yield WrongStep((*place, "turns"), message, "name the `column` with the text")
    for key, names in (("column", [text.column] if text.column is not None else []), ("columns", text.columns or [])):
        for name in names:
            if name not in values:
                yield WrongStep((*place, key), f"unknown column {name!r}", nearest(name, values))


def _columns_of(expression: str) -> frozenset[str]:
    """Return the columns of an expression; none when it is wrong, which is a mistake of its own."""
    try:
        return Expression(expression).columns
    except ValueError:
        return frozenset()
