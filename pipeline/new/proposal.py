"""From files to configs: each is recognised, looked at to its end, and its media are looked for."""

from __future__ import annotations

import math
import posixpath
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pipeline.errors import SourceError, UsageError
from pipeline.new.column_look import TableLook
from pipeline.new.config_draft import FREE_SHARE, ConfigDraft
from pipeline.new.file_names import Group, groups_of, plain_name
from pipeline.new.inner_lists import lone_object
from pipeline.new.media_match import Found, MediaSearch
from pipeline.new.places import folder_place
from pipeline.new.recognise import recognised, recognised_inside
from pipeline.new.records import FileLook, MediaLook, class_names_of, first_records, look_at, reads_untyped
from pipeline.new.tables import folder_reading
from pipeline.printable import escaped
from pipeline.readers.record import ReadOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.errors import ShardwrightError
    from pipeline.new.material import Annotations, Material
    from pipeline.new.places import Place
    from pipeline.new.reading import Reading

MOST_MISSING = 0.5
"""The share of media that may be missing; with more, somebody must say where they are."""


@dataclass
class Proposal:
    """What was understood of all that was named."""

    name: str
    material: Material
    configs: list[ConfigDraft] = field(default_factory=list)
    left_out: dict[str, ShardwrightError] = field(default_factory=dict)
    """Annotation files that are no part of it, and why."""

    @property
    def max_share(self) -> float | None:
        """The share of rejects that the recipe must allow; None: what it allows by itself is enough."""
        most = max(config.expected_rejects for config in self.configs)
        return min(1.0, math.ceil(most * 100 + 1) / 100) if most > FREE_SHARE else None


MOST_TOLD = 20
"""Files of which it is told why they cannot be used."""


def propose(material: Material, *, name: str | None, wanted: str | None, named: Place | None) -> Proposal:
    """Look at all annotation files of some material.

    Raises:
        UsageError: nothing is recognised, or its media are not found: somebody must say more.
    """
    proposal = Proposal(name=name or plain_name(material.name, otherwise="dataset"), material=material)
    files = {file.name: file for file in material.files}
    for job in _jobs(material, wanted, named):
        for key, (reading, splits) in _read_alike(job, files, proposal).items():
            try:
                draft = _draft(key, reading, splits, job.search, files)
            except (UsageError, SourceError) as error:
                proposal.left_out |= {name: error for names in splits.values() for name in names}
                continue
            draft.notes += job.notes
            proposal.configs.append(draft)
    if material.listed is not None:
        proposal.left_out |= {name: UsageError(why) for name, why in material.listed.elsewhere.items()}
    if not proposal.configs:
        raise _nothing(material, proposal)
    _name_configs(proposal.configs)
    return proposal


@dataclass(frozen=True, kw_only=True)
class _Job:
    """Files that may become one config."""

    group: Group
    search: MediaSearch
    wanted: str | None
    notes: tuple[str, ...] = ()


def _jobs(material: Material, wanted: str | None, named: Place | None) -> Iterator[_Job]:
    if material.listed is None:
        search = MediaSearch(home=material.home, named=named, archives=material.archives)
        for group in groups_of(file.name for file in material.files):
            yield _Job(group=group, search=search, wanted=wanted)
        return
    for entry in material.listed.entries:
        root = material.listed.root_of(entry)
        there = folder_place(root) if root is not None and named is None else named
        yield _Job(
            group=Group(key=entry.name, splits={"train": list(entry.files)}),
            search=MediaSearch(home=material.home, named=there),
            wanted=wanted or entry.dialect,
            notes=entry.notes,
        )


def _read_alike(
    job: _Job, files: dict[str, Annotations], proposal: Proposal
) -> dict[str, tuple[Reading, dict[str, list[str]]]]:
    """Recognise the files of a group; those that are understood alike stay together."""
    found: dict[object, tuple[str, Reading, dict[str, list[str]]]] = {}
    for split, names in job.group.splits.items():
        for name in names:
            try:
                reading = _recognised(files[name], job.search, job.wanted)
            except (UsageError, SourceError) as error:
                proposal.left_out[name] = error
                continue
            key = job.group.key if not found else f"{job.group.key}_{split}_{len(found) + 1}"
            _, _, splits = found.setdefault(reading.key, (key, reading, {}))
            splits.setdefault(split, []).append(name)
    return {key: (reading, splits) for key, reading, splits in found.values()}


def _recognised(file: Annotations, search: MediaSearch, wanted: str | None) -> Reading:
    options = ReadOptions(format=file.format)
    shown = escaped(file.name)
    try:
        records, _ = first_records(file.path, options)
    except SourceError:
        document = lone_object(file.path)
        if document is None:
            raise
        return recognised_inside(document, search, shown=shown, file=file.name, wanted=wanted)
    if file.format == "folder":
        return folder_reading(records)
    untyped = reads_untyped(file.path, options)
    reading = recognised(records, search, shown=shown, file=file.name, wanted=wanted, untyped=untyped)
    return replace(reading, format=file.format) if file.format is not None else reading


def _draft(
    key: str, reading: Reading, splits: dict[str, list[str]], search: MediaSearch, files: dict[str, Annotations]
) -> ConfigDraft:
    names = [name for split in splits.values() for name in split]
    options = ReadOptions(format=reading.format, records=reading.records)
    look = FileLook(table=TableLook(untyped=reads_untyped(files[names[0]].path, options)))
    for name in names:
        look.whole = look.whole and files[name].whole
        if files[name].path.suffix == ".parquet":
            look.class_names |= class_names_of(files[name].path)
        look_at(files[name].path, name, options, look, reading)
    found = {}
    unsure: list[str] = []
    by_column = {column.column: column.raw for column in reading.media} or {"images": "images", "videos": "videos"}
    for column, raw in by_column.items():
        media = look.media.get(raw, MediaLook())
        if not media.any:
            continue
        found[column] = search.look_for(media.paths)
        _check_found(found[column], media, names[0], column)
        if media.remote and not media.paths and (here := _instead_of_urls(media, search)) is not None:
            found[column] = here
            unsure.append(
                f"Files that are called as the URLs of {column!r} were found here, and are taken in place of them; "
                "to fetch the URLs, take `path` away from `media` in the recipe."
            )
    called = {name: files[name].patterns for name in names if files[name].patterns}
    draft = ConfigDraft(
        name=key, splits=splits, reading=reading, look=look, found=found, home=search.home, called=called
    )
    if not draft.columns:
        raise UsageError(
            f"{escaped(names[0])}: its records have no keys", hint="look at the file: is it what you meant?"
        )
    draft.unsure += unsure
    return draft


def _instead_of_urls(media: MediaLook, search: MediaSearch) -> Found | None:
    """Return where files of the same names lie: most of them where `--media` says, or else all of them."""
    found = search.look_for(media.remote)
    way = found.way
    if way is None or (found.missing and (way.place is not search.named or found.missing > found.found)):
        return None
    return found


def _check_found(found: Found, media: MediaLook, name: str, column: str) -> None:
    """Stop where most of the media are nowhere."""
    total = found.found + found.missing
    if found.missing <= MOST_MISSING * (total + media.urls + media.inline):
        return
    examples = "".join(f"\n  {escaped(path[:200])}" for path in found.examples)
    raise UsageError(
        f"{escaped(name)}: of the {total:,} files that its rows name for {column!r}, {found.missing:,} are not found, "
        f"such as{examples}",
        hint="say where they are with --media FOLDER (or an archive)",
    )


def _nothing(material: Material, proposal: Proposal) -> ShardwrightError:
    reasons = list(proposal.left_out.items())
    if not reasons:
        what = f"{escaped(material.title)} holds no annotation file"
        return UsageError(what, allowed="json, jsonl, csv, tsv, parquet; a folder or an archive with them")
    if len(reasons) == 1:
        error = reasons[0][1]
        return UsageError(escaped(error.what, keep="\n"), allowed=error.allowed, hint=error.hint)
    told = "".join("\n  " + escaped(error.what, keep="\n").replace("\n", "\n  ") for _, error in reasons[:MOST_TOLD])
    hints = {error.hint for _, error in reasons}
    return UsageError(
        f"none of the {len(reasons)} annotation files in {escaped(material.title)} can be used:{told}",
        hint=hints.pop() if len(hints) == 1 else "name one of them, to see what decides it",
    )


def _name_configs(configs: list[ConfigDraft]) -> None:
    """Give every config a name of its own that a folder can have: what its files do not share."""
    taken: set[str] = set()
    shared = len(posixpath.commonpath([f"/{config.name}" for config in configs]).rstrip("/"))
    for config in configs:
        own = config.name[shared:].lstrip("/").replace("/", "_")
        name = "default" if len(configs) == 1 else plain_name(own, otherwise="rows")
        number = 2
        free = name
        while free.lower() in taken:
            free, number = f"{name}_{number}", number + 1
        config.name = free
        taken.add(free.lower())
