"""What a recipe may say of `data_juicer`: which recipe of data-juicer runs over which of the values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from pipeline.column_type import Scalar
from pipeline.document import nearest, shown
from pipeline.model_check import Strict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.schema import Schema

ROW = "__shardwright_row__"
"""The column by which a row is known again."""
RESERVED = ("text", "images", "videos", "audios")
"""Columns that rows have for data-juicer, whatever theirs are called."""


class DataJuicerSpec(Strict):
    """A recipe of data-juicer, run over the rows; what it leaves out is left out, and texts it changes are changed."""

    recipe: str
    """Its file, from the folder of this recipe. Only `process` and how it is run are taken from it: which data it reads
    and writes is said here."""
    text: str | None = None
    """The text column that its operators see as `text`; left out: all that the schema's `conversation` says, as
    data-juicer writes turns and media."""
    columns: list[str] = Field(default_factory=list)
    """More columns that its operators read or change, each under its own name."""

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return {"recipe": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in self.columns:
            if name in RESERVED or name.startswith("__") or name == self.text:
                raise ValueError(f"the column {shown(name)} would be another one for data-juicer")
        return self

    def unfit(self, schema: Schema) -> Iterator[tuple[str, str, str]]:
        """Yield what does not fit a schema: key, what is wrong, what is allowed."""
        values = {column.name: column for column in schema.value_columns}
        if self.text is None and schema.conversation is None:
            yield "text", f"the schema {schema.name!r} has no conversation", "`text: COLUMN`"
        for key, name in (("text", self.text), *(("columns", name) for name in self.columns)):
            if name is None:
                continue
            column = values.get(name)
            if column is None:
                yield key, f"unknown column {name!r}", nearest(name, values)
            elif key == "text" and column.type != Scalar("string"):
                yield key, f"the column {name!r} holds no text", "a column of the type string"
            elif not isinstance(column.type, Scalar) or column.type == Scalar("binary"):
                yield key, f"the column {name!r} holds no plain values", "texts, numbers, and what is true or false"
