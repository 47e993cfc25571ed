"""Media columns while records are converted: the paths, URLs or bytes that their rows ask for, and what of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.conform import MISSING
from pipeline.errors import RowRejected
from pipeline.media.excerpt import Excerpt, Frames, frame_of, seconds_of
from pipeline.media.inline import inline_bytes
from pipeline.media.span import Span
from pipeline.single_value import shown
from pipeline.template import Template, is_template

if TYPE_CHECKING:
    from pipeline.media.store import MediaStore
    from pipeline.recipe_spec import MediaSpec, Moment
    from pipeline.schema import Column

Origin = Callable[[int], dict[str, Any]]
"""Position in a batch -> where its record comes from: source, file, line, split."""
ASK_TYPE = pa.list_(pa.struct({"value": pa.string(), "object": pa.string(), "excerpt": pa.string()}))
"""What a media column asks for: a path as written, or the hash of a medium that came inside the annotation; and what of
it, when it is not all (`Excerpt.text`)."""


class MediaColumn:
    """One media column: the paths or bytes its rows ask for."""

    def __init__(self, column: Column, media: MediaSpec | None, store: MediaStore) -> None:
        self.column = column
        self.name = column.name
        self.store = store
        self.template = Template(media.path) if media and media.path is not None else None
        given = media.source_column if media else None
        self.source = given or column.name
        self.path_only = (
            self.template is not None
            and given is None
            and "item" not in self.template.source
            and self.source not in self.template.columns
        )
        """The path is made of other columns alone, so there is nothing to look up under the column's own name."""
        self.excerpt = _ExcerptOf(media) if media and (media.clip or media.frames) else None
        self.sampled = media is not None and media.frames is not None
        """Whether a row's one video becomes its images."""
        self.reads = set(self.template.columns if self.template else ()) | {self.source}
        if self.excerpt is not None:
            self.reads |= self.excerpt.reads
        self.inline = False
        """Did any medium come inside the annotation?"""

    def asks(
        self, rows: list[dict[str, Any]], origin: Origin, bad: dict[int, RowRejected]
    ) -> list[list[dict[str, Any]] | None]:
        """Return for each row of a batch the media it asks for."""
        result: list[list[dict[str, Any]] | None] = []
        for position, row in enumerate(rows):
            try:
                result.append(self._asked(row, position, origin))
            except RowRejected as error:
                bad.setdefault(position, RowRejected(error.code, f"{self.name}: {error.message}"))
                result.append(None)
        return result

    def _asked(self, row: dict[str, Any], position: int, origin: Origin) -> list[dict[str, Any]] | None:
        value = True if self.path_only else row.get(self.source)
        items = value if isinstance(value, list) else ([] if value is None or value == "" else [value])
        rules = self.column.rules
        if len(items) > 1 and (self.sampled or not self.column.is_list):
            allowed = "frames are sampled from one video" if self.sampled else "the schema allows one"
            raise RowRejected("media.type", f"{len(items)} media, but {allowed}")
        if not items and not rules.nullable and not (self.column.is_list and isinstance(value, list)):
            raise RowRejected("media.null", "no medium is named, and the schema says there must be one")
        if self.column.is_list and not self.sampled:
            if rules.min_length is not None and len(items) < rules.min_length:
                raise RowRejected("schema.rule", f"{len(items)} media; at least {rules.min_length} are allowed")
            if rules.max_length is not None and len(items) > rules.max_length:
                raise RowRejected("schema.rule", f"{len(items)} media; at most {rules.max_length} are allowed")
        if not items and value is None and self.column.is_list:
            return None
        excerpt = self.excerpt.of(row, origin(position)) if self.excerpt is not None and items else None
        return [{**self._ask(item, row, position, origin), "excerpt": excerpt} for item in items]

    def _ask(self, item: Any, row: dict[str, Any], position: int, origin: Origin) -> dict[str, Any]:
        data = None if self.path_only else inline_bytes(item)
        if data is not None:
            self.inline = True
            name = item.get("path") if isinstance(item, dict) else None
            return {"value": name if isinstance(name, str) else None, "object": self.store.put(data)}
        if isinstance(item, dict) and isinstance(item.get("path"), str):
            item = item["path"]
        path = self.template.render(row, item=item, record=origin(position)) if self.template else item
        if not isinstance(path, str):
            raise RowRejected("media.type", f"{shown(path)} is no path")
        try:
            path.encode()
        except UnicodeEncodeError:
            raise RowRejected("media.path_invalid", f"{shown(path)} is no path") from None
        return {"value": path, "object": None}


class _ExcerptOf:
    """What a row wants out of its video."""

    def __init__(self, media: MediaSpec) -> None:
        clip, frames = media.clip, media.frames
        self.exact = clip.exact if clip is not None else True
        self.frames = None
        if frames is not None:
            count, per_second = frames.count, frames.per_second
            self.frames = Frames(count=count, per_second=per_second, most=frames.most, picture=frames.format)
        names = ("start", "end", "start_frame", "end_frame")
        self.moments = {name: _moment(getattr(clip, name)) for name in names} if clip is not None else {}
        self.reads: set[str] = set()
        for moment in self.moments.values():
            self.reads |= moment.columns if isinstance(moment, Template) else set()
            self.reads |= {moment} if isinstance(moment, str) else set()

    def of(self, row: dict[str, Any], record: dict[str, Any]) -> str:
        """Return the excerpt as text.

        Raises:
            RowRejected: a border is no time, or the column that should hold it is not there.
        """
        values: dict[str, Any] = {}
        for name, moment in self.moments.items():
            value: Any = moment
            if isinstance(moment, Template):
                value = moment.render(row, record=record)
            elif isinstance(moment, str):
                value = row.get(moment, MISSING)
                if value is MISSING:
                    raise RowRejected("clip.span", f"the record has no {moment!r}, which should hold its {name}")
            values[name] = frame_of(value, name) if name.endswith("_frame") else seconds_of(value, name)
        return Excerpt(span=Span(**values), exact=self.exact, frames=self.frames).text


def _moment(value: Moment) -> Moment | Template:
    return Template(value) if isinstance(value, str) and is_template(value) else value
