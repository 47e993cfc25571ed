"""Exporting a finished dataset: one pass over its rows, which every format writes in its own way; then the proof.

<out>/media/…                one file for each medium, shared by the formats
<out>/<format>/…             what the target's trainer reads
<out>/<format>/losses.json   what could not be carried over; tells that the folder is an export, and of what
"""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from pipeline.column_type import ListOf, Struct
from pipeline.conversation import Ready
from pipeline.errors import DatasetError, UsageError
from pipeline.exports.format_folder import FormatFolder, check_place
from pipeline.exports.place import Place
from pipeline.exports.replace_folder import replace_folder, tidy_up
from pipeline.exports.shared_media import SharedMedia
from pipeline.manifest import fingerprint
from pipeline.media.examiners import Examiners
from pipeline.printable import escaped
from pipeline.rows.found_conversation import EXAMPLE
from pipeline.rows.opened_split import dataset_in, open_split, splits_of_config
from pipeline.rows.read_rows import RowReader, UnreadRow
from pipeline.workspace import disk_errors, holding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pipeline.checks.dataset import Dataset, Split
    from pipeline.exports.format_folder import Exported
    from pipeline.exports.writer import Format
    from pipeline.report import Display, Progress
    from pipeline.rows.conversation_view import Conversation
    from pipeline.rows.opened_split import OpenedSplit

_LOCK = ".lock"
_SAYING = "a recipe in place of the folder, whose schemas say it; a schema, or a file with nothing but `conversation`"
"""What may say what a row says."""


def export(
    folder: Path,
    formats: list[Format],
    *,
    out: Path,
    config: str | None = None,
    split: str | None = None,
    conversation: Conversation | None = None,
    of_configs: Mapping[str, Conversation] | None = None,
    id_column: str | None = None,
    display: Display,
) -> list[Exported]:
    """Export a dataset folder to some formats; all configs and splits, unless they are named.

    `conversation` says what a row says; `of_configs` says it of the rows of some configs, and goes before.

    Of a format to which no row can be carried over nothing is written.

    Raises:
        UsageError: there is no such folder, or a folder that is no export of this dataset is in the way.
        DatasetError: it cannot be read, or not as conversations.
        ProblemsFound: what was written breaks a target's rule; nothing is replaced.
        WorkspaceError: the disk is full, read-only or forbidden.
    """
    folder, out = folder.absolute(), out.absolute()
    dataset = dataset_in(folder)
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", folder.resolve().name).strip("-.") or "dataset"
    chosen = _chosen(dataset, folder, config, split)
    if out == folder or folder in out.parents:
        raise UsageError(f"{out} lies in the dataset itself", hint="choose another folder with --out")
    for one in formats:
        check_place(out / one.name, name)
    with ExitStack() as stack:
        processes = stack.enter_context(Examiners(1))
        insist = any(one.needs_conversation for one in formats)
        opened = []
        for which in chosen:
            with _words_of_exports(which, formats):
                said = (of_configs or {}).get(which.config, conversation)
                opened.append(
                    open_split(dataset, which, processes, conversation=said, id_column=id_column, insist=insist)
                )
        with disk_errors(out):
            out.mkdir(parents=True, exist_ok=True)
        stack.enter_context(holding(out / _LOCK))
        tidy_up(out)
        work = [FormatFolder(one, out) for one in formats]
        shared = SharedMedia(out, processes)
        try:
            for here in opened:
                with display.stage("export", sum(footer.rows for footer in here.footers.values()), "rows") as progress:
                    _write_split(here, RowReader(here, id_column), name, work, shared, progress)
            revision = fingerprint([[shard, dataset.sizes[shard]] for shard in sorted(dataset.shards)])
            full = [each for each in work if not each.is_empty]
            for each in full:
                each.conclude(name, revision)
            for each in full:
                replace_folder(each.folder, each.place)
        finally:
            tidy_up(out)
            shared.remove_unused()
        return [each.result(shared.copied) for each in work]


def _chosen(dataset: Dataset, folder: Path, config: str | None, split: str | None) -> list[Split]:
    """Return the splits that are asked for; of all of them, those that have rows.

    Raises:
        DatasetError: there is none of these names.
    """
    configs = dataset.configs if config is None else [config]
    found = [one for name in configs for one in splits_of_config(dataset, folder, name) if split in (None, one.name)]
    if not found:
        there = ", ".join(dict.fromkeys(repr(escaped(one.name)) for one in dataset.splits))
        raise DatasetError(f"{folder} has no split {split!r}; there are: {there}")
    chosen = {one.place: one for one in found}
    full = [one for one in chosen.values() if split is not None or not _is_empty(dataset, one)]
    return full or list(chosen.values())


def _is_empty(dataset: Dataset, split: Split) -> bool:
    """Tell whether a split has shards without any row."""
    footers = [dataset.footer(name) for name in split.shards]
    return bool(footers) and all(footer is not None and not footer.rows for footer in footers)


@contextmanager
def _words_of_exports(split: Split, formats: list[Format]) -> Iterator[None]:
    """Say in words of this command what to do about rows that are no conversations."""
    try:
        yield
    except DatasetError as error:
        if not error.hint.startswith(EXAMPLE):
            raise
        needing = ", ".join(one.name for one in formats if one.needs_conversation)
        example = error.hint.removeprefix(EXAMPLE)
        hint = f"write what a row says into a file, and give it with --schema FILE, for example:{example}"
        what = f"{split.place}: {error.what} ({needing}: rows must be conversations)"
        raise DatasetError(what, allowed=_SAYING, hint=hint) from None


def _write_split(  # noqa: PLR0917
    opened: OpenedSplit,
    reader: RowReader,
    name: str,
    work: list[FormatFolder],
    shared: SharedMedia,
    progress: Progress,
) -> None:
    unseen = _unseen_fields(opened)
    try:
        for each in work:
            place = Place(
                folder=each.folder,
                dataset=name,
                config=opened.split.config,
                split=opened.split.name,
                columns=opened.types,
                id_column=reader.id_column,
                extras=reader.extras,
                loose=reader.loose,
                has_conversation=opened.view is not None,
                shared=shared,
            )
            each.begin(place)
        with disk_errors(work[0].folder):
            for row in reader:
                for each in work:
                    if isinstance(row, UnreadRow):
                        each.losses.reject(row.code, "a row that cannot be read", row.shard, row.row, row.message)
                    elif each.add(row) and unseen:
                        each.losses.note("export.message_fields", unseen, row)
                progress.advance(1)
            for each in work:
                each.finish()
    finally:
        for each in work:
            each.abandon()


def _unseen_fields(opened: OpenedSplit) -> str:
    """Say which fields of messages no conversation has."""
    view = opened.view
    if view is None or not isinstance(view.spec, Ready):
        return ""
    kind = opened.types.get(view.spec.column)
    if not isinstance(kind, ListOf) or not isinstance(kind.item, Struct):
        return ""
    names = [name for name, _ in kind.item.fields if name not in (view.spec.role_key, view.spec.text_key)]
    return f"fields of messages beside role and text: {', '.join(map(escaped, names))}" if names else ""
