"""One config on its way: what was seen of its files becomes a schema and what the recipe says of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.dialects.dialect import IMAGE, VIDEO
from pipeline.new.file_names import SPLITS, patterns
from pipeline.new.media_match import spec_of
from pipeline.new.shared_media import rows_on_two_sides
from pipeline.new.tables import free_name, reference

if TYPE_CHECKING:
    from pipeline.new.column_look import ColumnLook
    from pipeline.new.media_match import Found
    from pipeline.new.places import Place
    from pipeline.new.reading import Reading
    from pipeline.new.records import FileLook

MESSAGES = {"list": {"struct": {"role": "string", "content": "string"}}}
SPLIT_COLUMNS = ("split", "subset", "partition", "fold", "set")
FREE_SHARE = 0.05
"""Rejects that a build takes without being told; the recipe's own default."""


@dataclass(kw_only=True)
class ConfigDraft:
    """What will become one config."""

    name: str
    splits: dict[str, list[str]]
    """Split -> the names of its files."""
    reading: Reading
    look: FileLook
    found: dict[str, Found]
    """Media column of the schema -> where its files are."""
    home: Place
    called: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """File -> the patterns by which the recipe calls it, if not by its name."""
    columns: dict[str, Any] = field(default_factory=dict)
    """The schema's."""
    conversation: Any = None
    fields: dict[str, Any] = field(default_factory=dict)
    media: dict[str, dict[str, Any]] = field(default_factory=dict)
    """As the recipe has it; `within` is an absolute folder here."""
    sources: dict[str, Place] = field(default_factory=dict)
    """Media column -> the source of its own that it needs."""
    unsure: list[str] = field(default_factory=list)
    """What could be meant otherwise, with how to decide it."""
    notes: list[str] = field(default_factory=list)
    """What is as it is."""
    split_column: str = ""

    def __post_init__(self) -> None:
        self.unsure += self.reading.doubts
        if self.reading.dialect is not None:
            self._through_dialect()
        else:
            self._as_table()
        self._media()
        self._split_column()
        if not self.look.whole:
            self.notes.append(
                f"Only the first {self.look.table.rows:,} records were looked at, so every column may be null."
            )

    @property
    def media_kinds(self) -> dict[str, str]:
        """Media column -> image or video."""
        if self.reading.dialect is not None:
            return {name: name.removesuffix("s") for name in ("images", "videos") if name in self.columns}
        return {column.column: column.kind for column in self.reading.media}

    @property
    def expected_rejects(self) -> float:
        """The share of rows that the build will leave out, as far as that is seen from here."""
        lost = self.look.rejected.total() + sum(found.rows_missing for found in self.found.values())
        return min(1.0, lost / max(1, self.look.rows))

    def _through_dialect(self) -> None:
        seen = {name: self.look.media[name] for name in ("images", "videos") if name in self.look.media}
        present = [name for name, media in seen.items() if media.any]
        self.columns["messages"] = MESSAGES
        self.columns |= {name: {"list": name.removesuffix("s")} for name in present}
        self._add_values(set(self.columns))
        tokens = {token: name for token, name in ((IMAGE, "images"), (VIDEO, "videos")) if name in present}
        self.conversation = {
            "column": "messages",
            "role_key": "role",
            "text_key": "content",
            "roles": {"system": "system", "user": "user", "assistant": "assistant"},
        }
        if tokens:
            self.conversation["tokens"] = tokens
        else:
            self.notes.append("No row names an image or a video: the chats are text alone.")

    def _as_table(self) -> None:
        reading = self.reading
        for column in reading.media:
            seen = self.look.media[column.raw]
            kind: Any = {"list": column.kind} if seen.listed else column.kind
            nullable = seen.blank and not seen.listed
            self.columns[column.column] = {"type": kind, "nullable": True} if nullable else kind
        if reading.label:
            self._add_label(reading.label)
            return
        self._add_values({column.raw for column in reading.media if not column.keep_raw})
        self._put_in_order({column.column: column.raw for column in reading.media})
        if reading.answer:
            self._ask()

    def _put_in_order(self, raws: dict[str, str]) -> None:
        """Put columns in the order of the records; a medium beside the text that names it comes behind that."""
        order = list(self.look.order)
        places = {name: place for place, name in enumerate(order)}

        def place(name: str) -> tuple[int, bool]:
            return places.get(raws.get(name) or name, len(order)), name in raws

        self.columns = {name: self.columns[name] for name in sorted(self.columns, key=place)}

    def _add_label(self, column: str) -> None:
        """Make a class out of the folder that a file is in; what else a listing tells is in its path."""
        self.columns["label"] = {"class_label": sorted(self.look.labels)}
        self.fields["label"] = f"{{{{ {column} | basename }}}}"

    def _ask(self) -> None:
        """Make a conversation of a table: its media and a question, and the column that answers."""
        reading, rows = self.reading, self.look.table.rows
        question = reading.question
        if reading.asks:
            asks = reference(reading.asks)
            question = f"{{{{ {asks} }}}}"
            if self.look.table.columns[reading.asks].nullable(rows):
                question = f"{{{{ {asks} or {reading.question!r} }}}}"
                self.unsure.append(
                    f"Rows without {reading.asks!r} are asked {reading.question!r}; `conversation` in the schema "
                    "changes it."
                )
        shows = [{column.kind: column.column} for column in reading.media]
        answer = self.look.table.columns[reading.answer]
        self.conversation = [
            {"user": [*shows, question]},
            {"assistant": f"{{{{ {reference(reading.answer)} }}}}"},
        ]
        if answer.nullable(rows):
            without = answer.nulls + rows - answer.rows
            self.unsure.append(
                f"{without:,} rows have no {reading.answer!r}, which answers; they are left out "
                f"(`({reference(reading.answer)} or '')` under `conversation` in the schema keeps them)."
            )
            self.look.rejected["template.null"] += without

    def _add_values(self, taken: set[str]) -> None:
        """Add the columns that hold no media, each with the narrowest type that holds all of its values."""
        for name, look in self.look.table.columns.items():
            if name in taken:
                continue
            column = free_name(name, {*self.columns, *self.look.table.columns})
            if column != name or look.is_odd:
                self.fields[column] = _field(name, look)
                what = f"dates and the like ({look.names}) become text" if look.is_odd else f"called {column!r}"
                self.notes.append(f"The column {name!r}: {what}.")
            nullable = look.nullable(self.look.table.rows) or not self.look.whole
            names = self.look.class_names.get(name) if look.kinds <= {int} else None
            kind = {"class_label": names} if names else look.type
            self.columns[column] = {"type": kind, "nullable": True} if nullable else kind
            if look.is_mixed:
                self.notes.append(f"The column {name!r} holds {look.names}, so it is JSON.")

    def _media(self) -> None:
        raws = {column.column: column.raw for column in self.reading.media}
        for column, found in self.found.items():
            spec: dict[str, Any] = {}
            raw = raws.get(column, column)
            if raw != column:
                spec["from"] = raw
            if found.way is not None:
                ways, place = spec_of(found.way, self.home)
                spec |= ways
                if place is not None:
                    self.sources[column] = place
            if spec or column in self.sources:
                self.media[column] = spec
            if len(self.splits) > 1:
                self._tell_shared(column, raw)

    def _tell_shared(self, column: str, raw: str) -> None:
        """Say what stands in two splits."""
        seen = self.look.media[raw]
        way = self.found[column].way
        media, rows = rows_on_two_sides(self.splits, seen.paths or seen.remote, way)
        if media:
            self.look.rejected["split.leak"] += rows
            self.unsure.append(
                f"{media:,} files of {column!r} are named in more than one split; the smaller one keeps them, and up "
                f"to {rows:,} rows of the other are left out (`split_by: {{leaks: keep}}` keeps all)."
            )

    def _split_column(self) -> None:
        """See whether a column says of every row which split it is in."""
        if list(self.splits) != ["train"] or not self.look.whole:
            return
        for name in SPLIT_COLUMNS:
            look = self.look.table.columns.get(name)
            if look is None or look.many or look.kinds != {str} or look.nullable(self.look.table.rows):
                continue
            if len(look.distinct) > 1 and all(text.lower() in SPLITS for text in look.distinct):
                self.split_column = name
                return

    def splits_spec(self) -> dict[str, Any]:
        """Return the splits as the recipe has them, all by files of their own, or shares of the same rows."""
        if self.split_column:
            look = self.look.table.columns[self.split_column]
            by_split: dict[str, list[str]] = {}
            for text in look.distinct:
                by_split.setdefault(SPLITS[text.lower()], []).append(text)
            column = reference(self.split_column)
            return {
                split: {"where": " or ".join(f"{column} == {text!r}" for text in sorted(texts))}
                for split, texts in sorted(
                    by_split.items(), key=lambda item: ("train", "validation", "test").index(item[0])
                )
            }
        if len(self.splits) == 1:
            return dict.fromkeys(self.splits, "rest")
        return {split: {"files": self._files(names), **self._how()} for split, names in self.splits.items()}

    def rows_spec(self) -> dict[str, Any]:
        """Return the rows that the splits divide; nothing where each split has files of its own."""
        if len(self.splits) != 1:
            return {}
        (names,) = self.splits.values()
        return {"files": self._files(names), **self._how()}

    def files_of(self, names: list[str]) -> list[str]:
        """Return what the recipe calls some files."""
        return [pattern for name in names for pattern in self.called.get(name, ())] or patterns(names)

    def _files(self, names: list[str]) -> str | list[str]:
        found = self.files_of(names)
        return found[0] if len(found) == 1 else found

    def _how(self) -> dict[str, Any]:
        reading = self.reading
        how = {key: value for key, value in (("format", reading.format), ("records", reading.records)) if value}
        return how | ({"dialect": reading.dialect.name} if reading.dialect is not None else {})


def _field(name: str, look: ColumnLook) -> Any:
    """Return where the value of a column comes from that cannot be taken as it is."""
    if look.is_odd:
        value = f"row[{name!r}]"
        return f"{{{{ ({value} ~ '') if {value} is not none else none }}}}"
    return {"from": name}
