"""Where the media of a dataset are: columns that say so, and columns of texts that are paths of media beside shards."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.checks.columns import columns_of
from pipeline.checks.media_endings import kind_of
from pipeline.checks.media_problems import DECLARED, OF_A_BOX, OF_A_PART
from pipeline.checks.media_rows import holds_media
from pipeline.checks.value_hashes import is_list
from pipeline.media.media_beside import ARCHIVE, NotInsideError, parts_of

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.checks.dataset import Dataset, Footer, Split
    from pipeline.media.bounded import BoundedProcesses
    from pipeline.media.facts import Kind

FIRST_TEXTS = "pipeline.checks.media_jobs:first_texts"
MOST_COLUMNS_OF_TEXT = 64
"""Columns that are looked at whether they hold paths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A column of media of a config: one that the features declare, or texts that are paths of media."""

    name: str
    number: int
    """Position in `Columns.media`, and behind those."""
    kind: Kind | None
    """None: told by each path."""
    is_list: bool
    declared: dict[str, str] = field(default_factory=dict)
    """What rows say of this medium -> the column that says it."""


@dataclass(frozen=True, slots=True)
class TextsOrder:
    """A question for the first texts of some columns."""

    path: Path
    group: int
    columns: tuple[str, ...]

    @property
    def size(self) -> int:
        """Next to nothing."""
        return 1

    @property
    def patience(self) -> float:
        """As long as others."""
        return 1

    def arguments(self) -> list[Any]:
        """Return what `first_texts` is called with."""
        return [str(self.path), self.group, list(self.columns)]


def sources_of(dataset: Dataset, splits: list[Split], processes: BoundedProcesses) -> list[Source]:
    """Return the columns of a config that hold media, or paths of media beside the shards."""
    shards = [name for split in splits for name in split.shards]
    name = next((name for name in shards if (footer := dataset.footer(name)) is not None and footer.rows), None)
    footer = dataset.footer(name) if name is not None else None
    if name is None or footer is None:
        return []
    columns = columns_of(footer.schema)
    once = {one for one, count in Counter(footer.schema.names).items() if count == 1}
    found = [
        Source(name=column.name, number=number, kind=column.kind, is_list=column.is_list)
        for number, column in enumerate(columns.media)
        if column.name in once
        and holds_media(kind := footer.schema.field(column.name).type)
        and is_list(kind) == column.is_list
    ]
    values = [one for one in columns.values if one in once]
    for number, text in enumerate(_columns_of_paths(dataset, name, footer, values, processes), len(columns.media)):
        listed = is_list(footer.schema.field(text).type)
        found.append(Source(name=text, number=number, kind=None, is_list=listed))
    if len(found) == 1 and not found[0].is_list:
        return [replace(found[0], declared=_declared(footer.schema, once))]
    return found


def _columns_of_paths(
    dataset: Dataset, shard: str, footer: Footer, names: list[str], processes: BoundedProcesses
) -> list[str]:
    """Return the columns whose first texts are all called like media, and lead to at least one file of the dataset."""
    path = dataset.files.path(shard)
    texts = [name for name in names if _is_text(footer.schema.field(name).type)][:MOST_COLUMNS_OF_TEXT]
    if path is None or not texts or not beside(dataset):
        return []
    group = next(number for number, group in enumerate(footer.groups) if group.rows)
    order = TextsOrder(path, group, tuple(texts))
    answers = [answer.found for answer in processes.work(FIRST_TEXTS, [order], advance=lambda _: None)]
    near = PurePosixPath(shard).parts[:-1]
    return [
        name
        for answer in answers
        if isinstance(answer, dict)
        for name, said in answer.items()
        if any(said)
        and all(kind_of(one) for one in said if one)
        and any(_leads(one, near, dataset.sizes) for one in said)
    ]


def beside(dataset: Dataset) -> dict[str, int]:
    """Return the files of a dataset that are media by their names, or archives, with their sizes."""
    return {name: size for name, size in dataset.sizes.items() if name.endswith(ARCHIVE) or kind_of(name)}


def _leads(text: str, near: tuple[str, ...], sizes: dict[str, int]) -> bool:
    try:
        parts = parts_of(text)
    except NotInsideError:
        return False
    for whole in (parts, (*near, *parts)):
        archives = ("/".join(whole[:upto]) for upto in range(1, len(whole)) if whole[upto - 1].endswith(ARCHIVE))
        if "/".join(whole) in sizes or any(archive in sizes for archive in archives):
            return True
    return False


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if is_list(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _declared(schema: pa.Schema, once: set[str]) -> dict[str, str]:
    """Return the columns that say how large or long the only medium of each row is."""
    names = {name.lower(): name for name in schema.names if name in once}
    numbers = {
        low: name
        for low, name in names.items()
        if pa.types.is_integer(kind := schema.field(name).type) or pa.types.is_floating(kind)
    }
    told = {key: next((numbers[name] for name in known if name in numbers), None) for key, known in DECLARED.items()}
    if OF_A_BOX & set(numbers):
        told |= {"width": None, "height": None}
    if OF_A_PART & set(names):
        told |= {"frames": None, "duration": None}
    return {key: name for key, name in told.items() if name is not None}
