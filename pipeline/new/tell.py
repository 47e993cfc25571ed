"""What was understood, printed for people: files, media, columns, the first rows, and what could be meant otherwise."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from pipeline.column_type import ColumnType, ListOf, Media, Scalar
from pipeline.conversation import MediaPart, Ready, Turn, compile_conversation
from pipeline.errors import RowRejected
from pipeline.network.urls import hide_secrets, looks_like_url
from pipeline.printable import escaped

if TYPE_CHECKING:
    from pipeline.new.config_draft import ConfigDraft
    from pipeline.new.proposal import Proposal

WIDTH = 118
MAX_TEXT = 200
"""Characters of a text that are shown."""
MAX_TURNS = 6
MAX_COLUMNS = 40
MAX_CONFIGS = 12
"""Configs of which the first rows are shown."""
MAX_LEFT = 12


def told(proposal: Proposal) -> str:
    """Return what `shardwright new` says of a proposal."""
    lines: list[str] = []
    for number, config in enumerate(proposal.configs):
        lines += [*_config(config, proposal, with_rows=number < MAX_CONFIGS), ""]
    lines += _left(proposal)
    return "\n".join(lines)


def _config(config: ConfigDraft, proposal: Proposal, *, with_rows: bool) -> list[str]:
    look = config.look
    files = [name for names in config.splits.values() for name in config.files_of(names)]
    what = _cut(files[0]) if len(files) == 1 else f"{_cut(files[0])} and {len(files) - 1:,} more"
    name = f"{config.name}: " if len(proposal.configs) > 1 else ""
    count = f"{look.rows:,} records" if look.whole else f"{look.table.rows:,} records looked at"
    lines = [f"{name}{what}: {config.reading.title}, {count}"]
    lines += _field("media", [_media(config, column) for column in config.found])
    columns = [f"{escaped(column)} {_type(spec)}" for column, spec in list(config.columns.items())[:MAX_COLUMNS]]
    more = len(config.columns) - MAX_COLUMNS
    lines += _field("columns", [", ".join(columns) + (f" and {more:,} more" if more > 0 else "")])
    lines += _field("splits", [_splits(config)])
    if look.rejected:
        reasons = ", ".join(f"{count:,} {code}" for code, count in look.rejected.most_common(5))
        lines += _field("rejects", [f"{reasons}; {_cut(look.example)}" if look.example else reasons])
    if proposal.max_share is not None and config.expected_rejects > 0:
        share = f"about {config.expected_rejects:.0%} of the rows will be left out; `rejects: max_share` allows it"
        lines += _field("", [share])
    for number, row in enumerate(look.first if with_rows else (), 1):
        lines += _row(config, number, row)
    lines += _field("note", config.notes)
    lines += _field("unsure", config.unsure)
    return lines


def _field(name: str, texts: list[str]) -> list[str]:
    lines = []
    for text in texts:
        lines += textwrap.wrap(
            escaped(text), WIDTH, initial_indent=f"  {name:<9}", subsequent_indent=" " * 11, break_on_hyphens=False
        )
    return lines


def _media(config: ConfigDraft, column: str) -> str:
    found = config.found[column]
    raw = next((one.raw for one in config.reading.media if one.column == column), column)
    seen = config.look.media[raw]
    parts = []
    if found.found or found.missing:
        where = f" in {_where(config, column)}" if found.way is not None else ""
        total = found.found + found.missing
        parts.append(f"{found.found:,} of {total:,} files found{where}")
    if found.missing:
        parts.append(f"missing: {', '.join(_cut(path, 80) for path in found.examples)}")
    if found.unchecked:
        parts.append(f"{found.unchecked:,} more not looked for")
    if seen.urls and found.way is None:
        parts.append(f"{seen.urls:,} URLs, fetched by the build, such as {_cut(hide_secrets(seen.example_url))}")
    if seen.inline:
        parts.append(f"{seen.inline:,} inside the annotations")
    if seen.blank:
        parts.append(f"{seen.blank:,} rows without")
    return f"{column}: {'; '.join(parts)}"


def _where(config: ConfigDraft, column: str) -> str:
    way = config.found[column].way
    assert way is not None
    place = config.sources.get(column)
    title = place.title if place is not None else way.place.title
    spec = config.media.get(column, {})
    how = ", ".join(f"{key}: {value}" for key, value in spec.items() if key in ("path", "relative_to"))
    return f"{title}" + (f" ({how})" if how else "")


def _type(spec: Any) -> str:
    if isinstance(spec, dict) and "type" in spec:
        return _type(spec["type"]) + ("?" if spec.get("nullable") else "")
    if isinstance(spec, dict) and "list" in spec:
        return f"[{_type(spec['list'])}]"
    if isinstance(spec, dict) and "struct" in spec:
        return "{" + ", ".join(escaped(name) for name in spec["struct"]) + "}"
    if isinstance(spec, dict) and "class_label" in spec:
        return f"label of {len(spec['class_label'])}"
    return str(spec)


def _splits(config: ConfigDraft) -> str:
    if config.split_column:
        look = config.look.table.columns[config.split_column]
        counts = ", ".join(f"{_cut(text, 40)} {count:,}" for text, count in look.distinct.items())
        return f"by the column {config.split_column!r}: {counts}"
    if len(config.splits) > 1:
        files = {split: config.files_of(names) for split, names in config.splits.items()}
        return "by file: " + "; ".join(f"{split}: {_cut(', '.join(names))}" for split, names in files.items())
    return f"all rows are {next(iter(config.splits))}"


def _row(config: ConfigDraft, number: int, row: dict[str, Any]) -> list[str]:
    raws = {column.column: column.raw for column in config.reading.media}
    values = {name: row.get(raws.get(name, name)) for name in config.columns}
    if config.reading.label:
        values["label"] = str(row[config.reading.label]).rpartition("/")[2]
    if config.conversation is None:
        shown = {name: value for name, value in values.items() if value is not None}
        texts = [f"{escaped(name)}: {_value(value)}" for name, value in list(shown.items())[:MAX_TURNS]]
        return [f"  row {number}", *(f"    {line}" for text in texts for line in textwrap.wrap(text, WIDTH - 4))]
    try:
        messages = compile_conversation(_spec(config.conversation), _types(config))(values)
    except RowRejected as error:
        return [f"  row {number}: left out, {_cut(error.message)}"]
    lines = [f"  row {number}"]
    for message in messages[:MAX_TURNS]:
        parts = []
        for part in message.parts:
            if not isinstance(part, MediaPart):
                parts.append(_cut(part.text))
                continue
            value: Any = values[part.column]
            parts.append(f"[{part.kind} {_value(value[part.position] if part.position is not None else value)}]")
        lines += _turn(message.role, " ".join(parts))
    if len(messages) > MAX_TURNS:
        lines += _turn("", f"and {len(messages) - MAX_TURNS:,} more turns")
    return lines


def _turn(role: str, text: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=f"    {role:<11}", subsequent_indent=" " * 15, break_on_hyphens=False
    ) or [f"    {role}"]


def _spec(conversation: Any) -> list[Turn] | Ready:
    if isinstance(conversation, dict):
        return Ready.model_validate(conversation)
    return [Turn.model_validate(turn) for turn in conversation]


def _types(config: ConfigDraft) -> dict[str, ColumnType]:
    """Return the types of the media columns: all that a conversation asks for."""
    types: dict[str, ColumnType] = {name: Scalar("string") for name in config.columns}
    for name, kind in config.media_kinds.items():
        types[name] = ListOf(Media("image" if kind == "image" else "video"))
    return types


def _value(value: Any) -> str:
    if isinstance(value, bytes) or (isinstance(value, dict) and isinstance(value.get("bytes"), bytes)):
        return "inside the annotations"
    if isinstance(value, dict) and isinstance(value.get("path"), str):
        value = value["path"]
    if isinstance(value, str):
        if value[:5].lower() == "data:":
            return "inside the annotations"
        return _cut(hide_secrets(value) if looks_like_url(value) else value)
    try:
        return _cut(repr(value))
    except (RecursionError, ValueError):
        return f"a {type(value).__name__}"


def _cut(text: str, most: int = MAX_TEXT) -> str:
    """Return a text fit to be shown on one line."""
    shown = escaped(" ".join(text[: most * 4].split()))
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def _left(proposal: Proposal) -> list[str]:
    lines = []
    for name, error in list(proposal.left_out.items())[:MAX_LEFT]:
        what = error.what.splitlines()[0].removeprefix(f"{escaped(name)}: ").removeprefix(f"{escaped(name)} ")
        lines += _field("left out", [f"{_cut(name)}: {what}"])
    if len(proposal.left_out) > MAX_LEFT:
        lines += _field("left out", [f"{len(proposal.left_out) - MAX_LEFT:,} more annotation files"])
    others = proposal.material.others
    if others:
        some = ", ".join(_cut(name, 60) for name in others[:6]) + (
            f" and {len(others) - 6:,} more" if len(others) > 6 else ""
        )
        lines += _field("not read", [some])
    return lines
