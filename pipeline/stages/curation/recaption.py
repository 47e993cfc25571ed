"""Recaption: a new text for each image or video, written by a model that `train` runs.

What a model said is kept in the workspace under everything that it was said of: the media by hash, the prompt, the
model by its content, and the settings. It is written after every batch, so a kill loses one batch at the most, and a
build that finds all texts there loads no model.

Batches are cut from the texts that are missing, in the order of the rows, so a build that goes on asks in the batches
in which the one before it would have asked.
"""

from __future__ import annotations

import json
from collections import deque
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from pipeline.database import Database
from pipeline.errors import RowRejected, ShardwrightError, SourceError
from pipeline.manifest import fingerprint
from pipeline.media.location import location_of, shown
from pipeline.media.probe import hash_file
from pipeline.samples import iter_values, media_facts
from pipeline.stages.changes import Changed
from pipeline.template import Expression, Template, is_template

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    import pyarrow as pa

    from pipeline.build import Build
    from pipeline.curate_spec import CurateSpec
    from pipeline.media.facts import Kind
    from pipeline.recaption_spec import RecaptionSpec
    from pipeline.recipe import Config
    from pipeline.stages.curation.measures import Measures

    Dropped = tuple[int, str, str]

VERSION = 1
MODELS = "train.recaption"
"""The module that finds and runs models; `pipeline` knows it by its name alone."""
CHUNK_ROWS = 500
"""Rows that are looked for in the journal at once."""
WAITING_ROWS = 10_000
"""Rows that wait for the text of an earlier one, at the most."""
DECIDING = frozenset({".json", ".jinja", ".txt", ".model", ".safetensors"})
"""Endings of a model's files that decide what it says."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a model is asked of one row."""

    prompt: str | None
    media: tuple[tuple[Kind, str], ...]
    """Kind (image, video) and place, as `pipeline.media.location` writes it."""


@dataclass(frozen=True, kw_only=True)
class CaptionSettings:
    """How a model is asked."""

    max_new_tokens: int
    frames: int
    longest_side: int | None
    dtype: str
    device: str


class FoundModel(Protocol):
    """A model on this machine."""

    @property
    def folder(self) -> Path:
        """Where it lies."""

    @property
    def name(self) -> str:
        """`owner/name` on its hub, or the path of its folder."""

    @property
    def commit(self) -> str | None:
        """Of the hub's repository."""


class Captioner(Protocol):
    """A model that is loaded."""

    def captions(self, questions: Sequence[Question]) -> list[str | RowRejected]:
        """Return what it says to each, or why it cannot be asked."""


def columns(_: Config, spec: CurateSpec) -> list[str]:
    """Return the columns that the step may change."""
    return _spec(spec).written


def made_of(build: Build, _: Config, spec: CurateSpec) -> list[str]:
    """Return the model's fingerprint; the model is brought to this machine for it."""
    wanted = _spec(spec)
    found = _found(build, wanted)
    return [str(VERSION), _weights(build, found), *([_name(found, build)] if wanted.by else [])]


def recaption(
    build: Build, config: Config, samples: pa.Table, spec: CurateSpec, _: Measures
) -> Iterator[Dropped | Changed]:
    """Yield the new texts, and the rows whose media cannot be shown or of which the model says nothing."""
    wanted = _spec(spec)
    found = _found(build, wanted)
    name = _name(found, build)
    settings = CaptionSettings(
        max_new_tokens=wanted.max_new_tokens,
        frames=wanted.frames,
        longest_side=wanted.longest_side,
        dtype=wanted.dtype,
        device=wanted.device,
    )
    same = fingerprint(VERSION, _weights(build, found), asdict(settings))
    rows = _asked_rows(build, config, samples, wanted, same)
    write = Template(wanted.write)
    with (
        closing(_Journal(build)) as journal,
        _Asking(journal, found, settings, wanted.batch) as asking,
        build.display.stage("recaption", samples.num_rows, "rows") as progress,
    ):
        done = 0
        for row, said in asking.answered(rows):
            progress.advance(row.position + 1 - done)
            done = row.position + 1
            if isinstance(said, RowRejected):
                yield row.position, said.code, f"{wanted.media}: {said.message}"
            elif said:
                try:
                    yield Changed(row.position, _values(wanted, row, write.render(row.values, caption=said), name))
                except RowRejected as error:
                    yield row.position, error.code, f"write: {error.message}"
            elif wanted.empty == "reject":
                yield row.position, "curate.recaption.empty", f"{name} says nothing of {wanted.media}"


def _values(wanted: RecaptionSpec, row: _Row, text: Any, name: str) -> dict[str, Any]:
    values = {wanted.column: text}
    if wanted.keep is not None:
        values[wanted.keep] = row.values[wanted.column]
    if wanted.by is not None:
        values[wanted.by] = name
    return values


def _spec(spec: CurateSpec) -> RecaptionSpec:
    assert spec.recaption is not None
    return spec.recaption


def _train(name: str) -> Any:
    """Return a function of the module that runs models.

    Raises:
        ShardwrightError: what it needs is not installed.
    """
    try:
        return getattr(import_module(MODELS), name)
    except ImportError as error:
        raise ShardwrightError(
            f"`recaption` needs what training needs, and {error.name or error} is not installed",
            hint="pip install 'shardwright[train]'",
        ) from error


@dataclass(frozen=True, kw_only=True, slots=True)
class _FolderModel:
    """A model in a folder that the recipe names."""

    folder: Path
    name: str
    commit: str | None = None


def _found(build: Build, wanted: RecaptionSpec) -> FoundModel:
    """Find a model, or bring it to this machine; what was found once in a build is not looked for again.

    Raises:
        ShardwrightError: it is nowhere, or turns no media into texts.
    """
    key = (wanted.model, wanted.revision)
    base = build.recipe.path.parent
    if key not in build.models:
        folder = next((path for path in (base / wanted.model, Path(wanted.model)) if path.is_dir()), None)
        build.models[key] = (
            _FolderModel(folder=folder, name=wanted.model)
            if folder is not None
            else _train("found_captioner")(
                wanted.model,
                wanted.revision,
                base=base,
                cache=build.workspace.cache,
                offline=build.remote.offline,
            )
        )
    model: FoundModel = build.models[key]
    return model


def _weights(build: Build, model: FoundModel) -> str:
    """Return a fingerprint of a model's content, wherever it lies."""
    paths = [path for path in sorted(model.folder.iterdir()) if path.suffix in DECIDING]
    try:
        # behind links, which caches of hubs are made of; what has not changed is not read again
        known = build.store.hashes_of([path.resolve() for path in paths])
    except OSError as error:
        raise SourceError(f"{error.filename} of the model {model.name} cannot be read: {error.strerror}") from None
    return fingerprint([[path.name, known[path.resolve()][0]] for path in paths])


def _name(model: FoundModel, build: Build) -> str:
    """Return what is noted in rows: nothing that is true of this machine alone."""
    if model.commit:
        return f"{model.name}@{model.commit}"
    return f"{model.folder.resolve().name}@{_weights(build, model)[:12]}"


@dataclass(frozen=True, slots=True)
class _Row:
    """A row that is to have a caption."""

    position: int
    values: dict[str, Any]
    """Of the columns that are looked at."""
    question: Question
    hashes: tuple[str, ...]
    """Of the media."""
    key: str
    """Under which the answer is kept."""
    refused: RowRejected | None = None
    """Why its prompt cannot be made."""


def _asked_rows(build: Build, config: Config, samples: pa.Table, wanted: RecaptionSpec, same: str) -> Iterator[_Row]:
    """Yield the rows that have media and fulfil the condition."""
    known = [column.name for column in config.schema.value_columns]
    number = [column.name for column in config.schema.media_columns].index(wanted.media)
    where = Expression(wanted.where) if wanted.where is not None else None
    template = Template(wanted.prompt) if wanted.prompt is not None and is_template(wanted.prompt) else None
    looking = (where, template, Template(wanted.write))
    read = {wanted.column}.union(*(one.columns for one in looking if one is not None))
    values = (row for _, rows in iter_values(build, samples, config.name, sorted(read & set(known))) for row in rows)
    facts = (row for _, rows in media_facts(build, samples, config.name) for row in rows)
    for position, (row, media) in enumerate(zip(values, facts, strict=True)):
        mine = [medium for medium in media if medium["column"] == number]
        if not mine:
            continue
        prompt, refused = wanted.prompt, None
        try:
            if where is not None and not where.evaluate(row):
                continue
            prompt = wanted.prompt if template is None else str(template.render(row))
        except RowRejected as error:
            refused = error
        hashes = tuple(medium["sha256"] for medium in mine)
        question = Question(prompt=prompt, media=tuple((medium["kind"], medium["path"]) for medium in mine))
        key = fingerprint(same, hashes, [medium["kind"] for medium in mine], prompt, position if refused else None)
        yield _Row(position, row, question, hashes, key, refused)


class _Journal:
    """What models said, by what they were asked."""

    def __init__(self, build: Build) -> None:
        self._file = Database(
            build.workspace.work / "captions.sqlite",
            what="journal of captions",
            tables={"captions": "key TEXT PRIMARY KEY, text TEXT, code TEXT, message TEXT"},
            version=VERSION,
        )

    def known(self, keys: Iterable[str]) -> dict[str, str | RowRejected]:
        """Return what was said before."""
        rows = self._file.select("SELECT key, text, code, message FROM captions WHERE key IN", keys)
        return {key: json.loads(text) if text else RowRejected(code, message) for key, text, code, message in rows}

    def note(self, said: dict[str, str | RowRejected]) -> None:
        """Keep what was said, all or nothing."""
        rows = [
            (key, None, one.code, one.message)
            if isinstance(one, RowRejected)
            else (key, json.dumps(one, ensure_ascii=True), None, None)
            for key, one in said.items()
        ]
        self._file.insert("INSERT OR REPLACE INTO captions VALUES (?, ?, ?, ?)", rows)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class _Asking:
    """Asks a model what the journal does not know; the model is loaded when it is first asked."""

    def __init__(self, journal: _Journal, model: FoundModel, settings: CaptionSettings, batch: int) -> None:
        self._journal, self._model, self._settings, self._batch = journal, model, settings, batch
        self._opened = ExitStack()
        self._captioner: Captioner | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    def answered(self, rows: Iterator[_Row]) -> Iterator[tuple[_Row, str | RowRejected]]:
        """Yield the rows in their order with what the model says."""
        waiting: deque[_Row] = deque()
        said: dict[str, str | RowRejected] = {}
        missing: dict[str, _Row] = {}
        while chunk := list(islice(rows, CHUNK_ROWS)):
            known = self._journal.known({row.key for row in chunk if row.refused is None})
            for row in chunk:
                waiting.append(row)
                if row.refused is None and row.key not in known:
                    missing.setdefault(row.key, row)
                else:
                    said[row.key] = row.refused or known[row.key]
                if len(missing) == self._batch or (missing and len(waiting) == WAITING_ROWS):
                    answers = self._ask(missing)
                    known |= answers
                    said |= answers
                    missing.clear()
                while waiting and waiting[0].key in said:
                    first = waiting.popleft()
                    yield first, said[first.key]
                if not waiting:
                    said.clear()
        said |= self._ask(missing)
        for row in waiting:
            yield row, said[row.key]

    def _ask(self, missing: dict[str, _Row]) -> dict[str, str | RowRejected]:
        """Return what the model says of some rows, once the journal holds it."""
        if not missing:
            return {}
        for row in missing.values():
            for (_, place), sha256 in zip(row.question.media, row.hashes, strict=True):
                _check_unchanged(place, sha256)
        if self._captioner is None:
            opened: AbstractContextManager[Captioner] = _train("opened_captioner")(self._model.folder, self._settings)
            self._captioner = self._opened.enter_context(opened)
        captions = self._captioner.captions([row.question for row in missing.values()])
        answers = dict(zip(missing, captions, strict=True))
        self._journal.note(answers)
        return answers


def _check_unchanged(place: str, sha256: str) -> None:
    """Look whether a medium is still the one that the plan knows.

    Raises:
        SourceError: it changed or vanished.
    """
    location = location_of(place)
    try:
        found, _ = hash_file(location)
    except OSError as error:
        what = f"{shown(location)} cannot be read any more: {error.strerror}"
        raise SourceError(what, hint="put it back and run the build again") from None
    if found != sha256:
        raise SourceError(f"{shown(location)} changed since it was cached", hint="run the build again")
