"""A recipe of data-juicer as a step: rows go out, are worked on in its own environment, and are known again.

What it leaves out is dropped, with the operator's name; texts it changes are changes. What one run gave is kept in the
workspace under what it was made of: the rows and the hashes of their media, the recipe, and the version of data-juicer.

    <work>/data_juicer/<config>/<fingerprint>.jsonl     the answer of a run
    <work>/data_juicer/running/                         what a run that is going on, or was killed, writes
"""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING, Any

import orjson

from pipeline.errors import RowRejected, SourceError
from pipeline.juicer_spec import ROW
from pipeline.manifest import fingerprint
from pipeline.media.ending_by_content import HEAD_BYTES, ending_by_content
from pipeline.media.location import FilePart, location_of, shown
from pipeline.printable import escaped
from pipeline.stages.changes import Changed
from pipeline.stages.curation.juicer_program import DRIVER, found_juicer, run_juicer
from pipeline.stages.curation.juicer_rows import Exchange
from pipeline.workspace import disk_errors, emptied, remove_leftovers, writing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa

    from pipeline.build import Build
    from pipeline.curate_spec import CurateSpec
    from pipeline.juicer_spec import DataJuicerSpec
    from pipeline.recipe import Config
    from pipeline.stages.curation.juicer_rows import SentRow
    from pipeline.stages.curation.measures import Measures

    Dropped = tuple[int, str, str]

REASON = "curate.data_juicer"
MEDIA_COLUMNS: tuple[str, ...] = ("images", "videos")
STATS_SHOWN = 200
"""Characters of what was measured that are told of a row that is left out."""


def columns(config: Config, spec: CurateSpec) -> list[str]:
    """Return the columns that the step may change."""
    return Exchange(config.schema, _spec(spec)).changed_columns


def made_of(build: Build, _: Config, spec: CurateSpec) -> list[str]:
    """Return what the result depends on beside the rows: the recipe's bytes, and who runs it."""
    recipe = _recipe(build, _spec(spec))
    return [hashlib.sha256(_read(recipe)).hexdigest(), found_juicer().version, _driver()]


def run_recipe(
    build: Build, config: Config, samples: pa.Table, spec: CurateSpec, measures: Measures
) -> Iterator[Dropped | Changed]:
    """Yield the rows that the recipe leaves out, and those whose texts it changes."""
    wanted = _spec(spec)
    exchange = Exchange(config.schema, wanted)
    answer = _answer(build, config, samples, spec, exchange)
    with answer.open("rb") as lines:
        told: Iterator[dict[str, Any]] = (orjson.loads(line) for line in lines)
        for sent in exchange.rows(build, config, samples):
            one = next(told, dict[str, Any]())
            assert one.get("row") == sent.position, f"row {sent.position} was sent, and {one.get('row')} came back"
            _measure(one["stats"], measures)
            if "operator" in one:
                yield sent.position, REASON, _message(one["operator"], one["stats"])
                continue
            try:
                changes = exchange.changes(sent, one["values"])
            except RowRejected as error:
                yield sent.position, error.code, f"{wanted.recipe}: {error.message}"
                continue
            if changes:
                yield Changed(sent.position, changes)


def _spec(spec: CurateSpec) -> DataJuicerSpec:
    assert spec.data_juicer is not None
    return spec.data_juicer


def _recipe(build: Build, spec: DataJuicerSpec) -> Path:
    return build.recipe.path.parent / spec.recipe


def _read(recipe: Path) -> bytes:
    try:
        return recipe.read_bytes()
    except OSError as error:
        raise SourceError(f"the recipe of data-juicer {recipe} cannot be read: {error.strerror}") from None


def _driver() -> str:
    return hashlib.sha256(DRIVER.read_bytes()).hexdigest()


def _measure(stats: dict[str, Any], measures: Measures) -> None:
    for name, value in stats.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, int | float) and not isinstance(one, bool):
                measures.add(name, one)


def _message(operator: str, stats: dict[str, Any]) -> str:
    told = ", ".join(f"{name} {value}" for name, value in sorted(stats.items()))
    return escaped(f"{operator}: {told[:STATS_SHOWN]}" if told else operator)


def _answer(build: Build, config: Config, samples: pa.Table, spec: CurateSpec, exchange: Exchange) -> Path:
    """Return the answer to these rows: the one that is known, or that of a run."""
    folder = build.workspace.work / "data_juicer"
    recipe = _recipe(build, _spec(spec))
    digest = hashlib.sha256()
    count = 0
    for sent in exchange.rows(build, config, samples):
        digest.update(orjson.dumps(sent.record, option=orjson.OPT_SORT_KEYS))
        count += 1
    key = fingerprint(digest.hexdigest(), exchange.back, *made_of(build, config, spec))
    answer = folder / config.name / f"{key}.jsonl"
    if answer.is_file():
        return answer
    if not count:
        with writing(answer) as temporary:
            temporary.write_bytes(b"")
        return answer
    with emptied(folder / "running"):
        running = folder / "running"
        rows = _write_rows(build, config, samples, exchange, running)
        found = run_juicer(found_juicer(), running, rows=rows, recipe=recipe.absolute(), row=ROW, columns=exchange.back)
        # the one before is of other rows, or of another recipe
        if sum(step.operation == "data_juicer" for step in config.curate) == 1:
            remove_leftovers(answer.parent, set())
        with writing(answer) as temporary:
            shutil.move(found, temporary)
    return answer


def _write_rows(build: Build, config: Config, samples: pa.Table, exchange: Exchange, folder: Path) -> Path:
    """Write the rows as data-juicer reads them, with their media as files."""
    rows, media = folder / "rows.jsonl", folder / "media"
    known: dict[str, str] = {}
    with disk_errors(folder):
        media.mkdir(parents=True)
        with rows.open("wb") as file:
            for sent in exchange.rows(build, config, samples):
                record = _with_places(sent, media, known)
                file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
    return rows


def _with_places(sent: SentRow, folder: Path, known: dict[str, str]) -> dict[str, Any]:
    """Return a record whose media are files."""
    for medium in sent.media:
        if medium["sha256"] not in known:
            known[medium["sha256"]] = str(_as_file(medium, folder))
    places = {name: [known[one] for one in sent.record[name]] for name in MEDIA_COLUMNS if name in sent.record}
    return {**sent.record, **places}


def _as_file(medium: dict[str, Any], folder: Path) -> Path:
    """Return a file with a medium's bytes and the ending that they should have: a link, where they are a file."""
    location = location_of(medium["path"])
    try:
        with location.open("rb", buffering=0) as file:
            ending = ending_by_content(file.read(HEAD_BYTES) or b"", medium["name"])
        path = folder / f"{medium['sha256']}{ending}"
        if isinstance(location, FilePart):
            path.write_bytes(location.read_bytes())
        else:
            path.symlink_to(location.absolute())
    except OSError as error:
        raise SourceError(
            f"{shown(location)} cannot be read any more: {error.strerror}", hint="put it back and run the build again"
        ) from None
    return path
