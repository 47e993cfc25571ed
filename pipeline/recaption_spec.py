"""What a recipe may say of `recaption`: which model writes which texts of which media."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.column_type import Scalar
from pipeline.document import nearest
from pipeline.model_check import Strict
from pipeline.template import Expression, Template, is_template

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.schema import Schema

Tokens = Annotated[int, Field(ge=1, le=4_096)]
CAPTION = "caption"
"""What templates of what is written call the text of the model."""
Few = Annotated[int, Field(ge=1, le=1_024)]


class RecaptionSpec(Strict):
    """A text for each image or video, written by a model that runs on this machine."""

    model: str
    """A folder with a model (from the recipe's folder or from here), `owner/name` on Hugging Face, or
    `modelscope:owner/name`."""
    revision: str | None = None
    """`owner/name`: a branch, tag or commit; left out: the main branch."""
    prompt: str | None = None
    """What the model is asked of each row, with columns as in templates: `Describe it. Its title is {{ title }}.`
    BLIP-2 needs none."""
    column: str
    """The text column that is written."""
    write: str = "{{ caption }}"
    """What is written there: a template of the row that knows `caption` too, e.g. `<__dj__image> {{ caption }}`."""
    image: str | None = None
    """The column with the images that it is shown; all of them, where there is a list."""
    video: str | None = None
    """Or the column with the videos."""
    keep: str | None = None
    """The nullable text column where the old text goes; left out: it is replaced."""
    by: str | None = None
    """A nullable text column in which the model is noted that wrote the text, as `model@revision`."""
    where: str | None = None
    """An expression over the row: only those of which it is true are captioned."""
    empty: Literal["reject", "keep"] = "reject"
    """Where the model says nothing: the row is left out, or keeps its old text."""
    max_new_tokens: Tokens = 64
    """Tokens of a caption at the most."""
    batch: Few = 8
    """Rows that are captioned at once."""
    frames: Few = 8
    """Frames that are shown of a video, at equal distances."""
    longest_side: Annotated[int, Field(ge=16, le=16_384)] | None = None
    """Pixels to which the longer side of larger pictures and frames shrinks before a model is shown them."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """What is computed in; `auto`: bfloat16 on a GPU that has it, else float32."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """What it is computed on; `auto`: a GPU where there is one."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.image is None) == (self.video is None):
            raise ValueError("what is shown is exactly one of image, video")
        named = [name for name in (self.column, self.keep, self.by) if name is not None]
        if len(set(named)) != len(named):
            raise ValueError("`column`, `keep` and `by` are different columns")
        return self

    @property
    def media(self) -> str:
        """The column with what is shown."""
        return self.image or self.video or ""

    @property
    def written(self) -> list[str]:
        """The columns that are written."""
        return [name for name in (self.column, self.keep, self.by) if name is not None]

    def unfit(self, schema: Schema) -> Iterator[tuple[str, str, str]]:
        """Yield what does not fit a schema: key, what is wrong, what is allowed."""
        kinds = {column.name: column.media for column in schema.media_columns}
        for kind, name in (("image", self.image), ("video", self.video)):
            if name is not None and kinds.get(name) != kind:
                of_kind = [column for column in kinds if kinds[column] == kind]
                yield kind, f"{name!r} is no {kind} column", nearest(name, of_kind)
        values = {column.name: column for column in schema.value_columns}
        for key, name in (("column", self.column), ("keep", self.keep), ("by", self.by)):
            if name is None:
                continue
            column = values.get(name)
            if column is None:
                yield key, f"unknown column {name!r}", nearest(name, values)
            elif column.type != Scalar("string"):
                yield key, f"the column {name!r} holds no text", "a column of the type string"
            elif key != "column" and not column.rules.nullable:
                yield key, f"the column {name!r} may not be null, and rows without a caption have nothing there", ""
        for key, source in (("where", self.where), ("prompt", self.prompt), ("write", self.write)):
            if source is None or (key != "where" and not is_template(source)):
                continue
            try:
                used = (Expression if key == "where" else Template)(source).columns
            except ValueError as error:
                yield key, str(error), ""
                continue
            for name in sorted(used - set(values) - ({CAPTION} if key == "write" else set())):
                yield key, f"unknown column {name!r}", nearest(name, values)
