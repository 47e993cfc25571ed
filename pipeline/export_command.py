"""The command `export`: what its options mean, and what it prints."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.document import read_document
from pipeline.errors import ProblemsFound, UsageError
from pipeline.exports.export import export
from pipeline.exports.registry import format_named
from pipeline.load_recipe import load_recipe
from pipeline.printable import escaped
from pipeline.report import display_for

if TYPE_CHECKING:
    from pipeline.exports.format_folder import Exported
    from pipeline.exports.losses import Loss
    from pipeline.rows.conversation_view import Conversation

DEFAULT_OUT = "exports"
DATASETS = "SHARDWRIGHT_OUT"
"""The variable of the environment that says where finished datasets are, as for builds."""
_EXAMPLES = 2
"""Examples of a loss that are printed; its file has more."""


def run_export(
    source: Path,
    *,
    to: tuple[str, ...],
    config: str | None,
    split: str | None,
    schema: Path | None,
    id_column: str | None,
    out: Path | None,
    as_json: bool,
) -> tuple[str, int]:
    """Export a dataset; returns what to print, and the exit code: 1 when a format can hold no row of it.

    `source` is its folder, or its recipe, whose schemas then say what rows say.

    Raises:
        UsageError: an option makes no sense, a recipe's dataset is not built, or a folder is in the way.
        RecipeError: mistakes in a recipe or a schema.
        DatasetError: the dataset cannot be read, or not as conversations.
        ProblemsFound: what was written breaks a target's rule.
    """
    if not to:
        raise UsageError("--to is missing", hint="name a format, e.g. --to llava; it may be given several times")
    formats = [format_named(name) for name in dict.fromkeys(to)]
    folder, of_configs = _of_recipe(source) if source.is_file() else (source, {})
    if out is None:
        out = Path(DEFAULT_OUT) / folder.resolve().name
    done = export(
        folder,
        formats,
        out=out,
        config=config,
        split=split,
        conversation=_conversation(schema) if schema is not None else None,
        of_configs=of_configs if schema is None else None,
        id_column=id_column,
        display=display_for(quiet=as_json),
    )
    code = 0 if all(one.rows for one in done) else ProblemsFound.exit_code
    if as_json:
        return json.dumps([one.to_json() for one in done], ensure_ascii=False, indent=1), code
    return "\n\n".join(_text(one) for one in done), code


def _of_recipe(path: Path) -> tuple[Path, dict[str, Conversation]]:
    """Return the folder of a recipe's dataset, and what its rows say, by config.

    Raises:
        UsageError: it is not built yet.
        RecipeError: mistakes in it.
    """
    recipe = load_recipe(path)
    folder = Path(os.environ.get(DATASETS) or "out") / recipe.name
    if not folder.is_dir():
        raise UsageError(
            f"the dataset of {path} is not in {folder}",
            hint=f"build it: shardwright build {path}; {DATASETS} says where finished datasets are",
        )
    return folder, {name: config.schema for name, config in recipe.configs.items() if config.schema.conversation}


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
            others = len(one.files) - 1
            more = f" and {others:,} more file{'s' if others > 1 else ''}" if others else ""
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
