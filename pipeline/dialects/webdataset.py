"""Samples of WebDataset archives whose `json` has messages, as `shardwright export --to webdataset` writes them.

    __key__                  the sample's name
    jpg, 0.png, mp4 …        paths of its members, which `format: webdataset` gives
    messages                 typed parts; or texts, in front of which the media are shown
    images, videos           the members that these show, by name or by field, in their order

Samples of an image and its caption alone are no conversations: keep them as columns.
"""

from __future__ import annotations

from typing import Any

from pipeline.dialects import trl
from pipeline.dialects.dialect import Dialect, Likeness
from pipeline.dialects.fit import SURE, fit_of
from pipeline.dialects.turns import listed
from pipeline.errors import RowRejected
from pipeline.single_value import shown

KEY = "__key__"
_MEDIA = ("images", "videos")
TAKES = ("messages", *_MEDIA, KEY, "txt")


def read(record: dict[str, Any]) -> dict[str, Any]:
    """Return the canonical record of a sample."""
    found: dict[str, Any] = {}
    members: set[str] = set()
    for column in _MEDIA:
        fields = [_field(record, name, column) for name in listed(record.get(column) or [], column)]
        found[column] = [record[field] for field in fields]
        members.update(fields)
    left = {name: value for name, value in record.items() if name not in members and name not in TAKES}
    return left | trl.read({"messages": record.get("messages"), **found})


def _field(record: dict[str, Any], name: Any, column: str) -> str:
    """Return the field that a member of the sample is in."""
    field = name.removeprefix(f"{record.get(KEY)}.") if isinstance(name, str) else None
    if field is None or not isinstance(record.get(field), str) or field in TAKES:
        raise RowRejected("dialect.column", f"{column!r} names {shown(name)}, which is no member of the sample")
    return field


def likeness(records: list[dict[str, Any]]) -> Likeness:
    """Return how well records fit."""
    return fit_of(records, read, lambda record: SURE if KEY in record and "messages" in record else 0, lambda _: ())


WEBDATASET = Dialect(
    name="webdataset",
    title="WebDataset with messages",
    source="webdataset/webdataset, README.md; messages as huggingface/trl has them",
    read=read,
    likeness=likeness,
    takes=TAKES,
)
