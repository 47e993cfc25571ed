"""The command `export`: what its options mean, and what it prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.document import read_document
from pipeline.errors import ProblemsFound, UsageError
from pipeline.exports.export import export
from pipeline.exports.registry import format_named
from pipeline.printable import escaped
from pipeline.report import display_for

if TYPE_CHECKING:
    from pipeline.exports.format_folder import Exported
    from pipeline.exports.losses import Loss
    from pipeline.rows.conversation_view import Conversation

DEFAULT_OUT = "exports"
_EXAMPLES = 2
"""Examples of a loss that are printed; its file has more."""


def run_export(
    folder: Path,
    *,
    to: tuple[str, ...],
    config: str | None,
    split: str | None,
    schema: Path | None,
    id_column: str | None,
    out: Path | None,
    as_json: bool,
) -> tuple[str, int]:
    """Export a dataset folder; returns what to print, and the exit code: 1 when a format can hold no row of it.

    Raises:
        UsageError: an option makes no sense, or a folder is in the way.
        DatasetError: the dataset cannot be read, or not as conversations.
        ProblemsFound: what was written breaks a target's rule.
    """
    if not to:
        raise UsageError("--to is missing", hint="name a format, e.g. --to llava; it may be given several times")
    formats = [format_named(name) for name in dict.fromkeys(to)]
    if out is None:
        out = Path(DEFAULT_OUT) / folder.resolve().name
    done = export(
        folder,
        formats,
        out=out,
        config=config,
        split=split,
        conversation=_conversation(schema) if schema is not None else None,
        id_column=id_column,
        display=display_for(quiet=as_json),
    )
    code = 0 if all(one.rows for one in done) else ProblemsFound.exit_code
    if as_json:
        return json.dumps([one.to_json() for one in done], ensure_ascii=False, indent=1), code
    return "\n\n".join(_text(one) for one in done), code


def _conversation(path: Path) -> Conversation:
    """Return what a schema file says, or a file that holds nothing but `conversation`.

    Raises:
        RecipeError: it is no YAML.
    """
    value = read_document(path).value
    if isinstance(value, dict) and set(value) == {"conversation"}:
        return value["conversation"]  # type: ignore[no-any-return]  # checked where it meets the columns
    return path


def _text(done: Exported) -> str:
    if not done.rows:
        lines = [f"{done.format.name}: no row can be carried over; nothing is written"]
        return "\n".join([*lines, *(line for loss in done.losses.found for line in _loss(loss))])
    lines = [f"{done.format.name}: {_rows(done.rows)} written to {done.folder}"]
    for one in done.written:
        if one.rows:
            more = f" and {len(one.files) - 1:,} more files" if len(one.files) > 1 else ""
            lines.append(f"  {escaped(one.config)}/{escaped(one.split)}: {one.rows:,} in {escaped(one.files[0])}{more}")
    lines.append(f"  proved: {done.format.rule}")
    if done.format.usage:
        lines.append(f"  to use it: {done.format.usage.format(folder=done.folder)}")
    if done.copied:
        lines.append(f"  {done.copied:,} media were copied, because the disk has no hard links here")
    losses = done.losses.found
    if not losses:
        lines.append("  nothing was lost")
    for loss in losses:
        lines += _loss(loss)
    return "\n".join(lines)


def _loss(loss: Loss) -> list[str]:
    what = f"left out {_rows(loss.rows)}" if loss.whole_rows else f"lost of {_rows(loss.rows)}"
    more = [f"    e.g. {example}" for example in loss.examples[:_EXAMPLES]]
    return [f"  {what}: {loss.sentence} [{loss.code}]", *more]


def _rows(count: int) -> str:
    return f"{count:,} row{'s' if count != 1 else ''}"
