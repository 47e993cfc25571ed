"""The parts of `new`: types of columns, names of files, paths of media."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.column_type import parse_type
from pipeline.conform import ColumnConformer
from pipeline.new.column_look import ColumnLook
from pipeline.new.file_names import groups_of, patterns, plain_name
from pipeline.new.media_match import MediaSearch
from pipeline.new.places import Place, folder_place
from pipeline.schema import Column, ColumnSpec
from tests.project import png

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.errors import RowRejected


def looked(values: list[Any], *, untyped: bool = False) -> ColumnLook:
    """Return a look at some values."""
    look = ColumnLook(name="x", untyped=untyped)
    for value in values:
        look.see(value)
    return look


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a", None], "string"),
        ([1, 2], "int64"),
        ([1, 2.5], "float64"),
        ([2**53 + 1, 0.5], "json"),
        ([2**64], "json"),
        ([True], "bool"),
        ([1, True], "json"),
        ([["a"], []], {"list": "string"}),
        ([[1, None]], {"list": "int64"}),
        ([[1, "a"]], "json"),
        ([{"a": 1}], "json"),
        ([b"x"], "binary"),
        ([None], "string"),
    ],
)
def test_types(values: list[Any], kind: Any) -> None:
    """The narrowest type that holds all values."""
    assert looked(values).type == kind


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "-2", ""], "int64"),
        (["1", "2.50"], "float64"),
        (["007"], "string"),
        (["0.1234567890123456789"], "string"),
        (["true", "False"], "bool"),
        (["", " "], "string"),
        (["nan", "1"], "string"),
        (["9999999999999999999999"], "string"),
    ],
)
def test_types_of_cells(cells: list[str], kind: str) -> None:
    """In a format without types a cell is a number where the build reads it as one, and loses no digit."""
    assert looked(cells, untyped=True).type == kind


ITEMS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
ITEMS |= st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
VALUES = ITEMS | st.lists(ITEMS, max_size=3) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), ITEMS)


@given(values=st.lists(VALUES, max_size=6))
def test_every_value_fits(values: list[Any]) -> None:
    """No value is rejected by the type that was found for it."""
    look = looked(values)
    spec = ColumnSpec(type=look.type, nullable=look.nullable(len(values)))
    column = Column(name="x", type=parse_type(look.type), rules=spec)
    bad: dict[int, RowRejected] = {}
    ColumnConformer(column, None, untyped=False).conform(values, bad)
    assert bad == {}


@given(cells=st.lists(st.text(st.sampled_from("0123456789.-eE truefals"), max_size=6), max_size=6))
def test_every_cell_fits(cells: list[str]) -> None:
    """Likewise where there are no types."""
    look = looked(cells, untyped=True)
    spec = ColumnSpec(type=look.type, nullable=look.nullable(len(cells)))
    bad: dict[int, RowRejected] = {}
    ColumnConformer(Column(name="x", type=parse_type(look.type), rules=spec), None, untyped=True).conform(cells, bad)
    assert bad == {}


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (["train.json", "test.json", "val.json"], {"": {"train": 1, "validation": 1, "test": 1}}),
        (["train/data_real.json", "test/data_real.json"], {"data_real": {"train": 1, "test": 1}}),
        (["a/train-00000-of-00002.parquet", "a/train-00001-of-00002.parquet"], {"a": {"train": 2}}),
        (["chats.json", "chats_test.json"], {"chats": {"train": 1, "test": 1}}),
        (["latest.json", "contest.json"], {"contest": {"train": 1}, "latest": {"train": 1}}),
        (["Dev.jsonl", "training.jsonl"], {"": {"train": 1, "validation": 1}}),
    ],
)
def test_groups_of_files(names: list[str], groups: dict[str, dict[str, int]]) -> None:
    """What names say about configs and splits; `latest` is no test."""
    found = {group.key: {split: len(files) for split, files in group.splits.items()} for group in groups_of(names)}
    assert found == groups


def test_patterns_and_names() -> None:
    """Numbered parts are one pattern, and any text gives a name that a recipe may have."""
    assert patterns(["a-00000-of-00002.parquet", "a-00001-of-00002.parquet", "b.json"]) == ["a-*.parquet", "b.json"]
    assert plain_name("My data (2)!", otherwise="x") == "My_data_2"
    assert plain_name("../..", otherwise="x") == "x"
    assert plain_name("true", otherwise="x") == "x"


def listed(*names: str) -> MediaSearch:
    """Return a search in a place that has these files."""
    return MediaSearch(home=Place(title="x", source={"path": "x"}, listing=lambda: names), named=None)


@pytest.mark.parametrize(
    ("names", "paths", "template", "found"),
    [
        (["images/1.jpg", "images/2.jpg"], ["images/1.jpg", "images/2.jpg"], None, 2),
        (
            ["images/1.jpg", "images/2.jpg"],
            ["/data/x/images/1.jpg", "/data/x/images/2.jpg"],
            "{{ item.removeprefix('/data/x/') }}",
            2,
        ),
        (["pics/1.jpg", "pics/2.jpg"], ["/a1/1.jpg", "/b2/2.jpg"], "pics/{{ item | basename }}", 2),
        (["images/1.jpg", "images/2.jpg"], ["1", "2"], "images/{{ item }}.jpg", 2),
        (["images/1.jpg", "images/2.jpg"], ["C:\\x\\1.jpg", "C:\\x\\2.jpg"], "images/{{ item | basename }}", 2),
        (["train/1.jpg", "val/1.jpg", "val/2.jpg"], ["1.jpg", "2.jpg"], "val/{{ item }}", 2),
        (["images/1.jpg"], ["7.jpg", "8.jpg"], None, 0),
    ],
)
def test_ways_to_media(names: list[str], paths: list[str], template: str | None, found: int) -> None:
    """The way that finds most of the paths is taken, and is what the recipe's template does."""
    result = listed(*names).look_for({"rows.json": dict.fromkeys(paths, 1)})
    assert result.found == found
    assert (result.way.template if result.way else None) == template


def test_nothing_outside_is_found(tmp_path: Path) -> None:
    """Neither an absolute path nor one that climbs, nor a link, leads out of a folder."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out.png").write_bytes(png(0))
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "out.png")
    place = folder_place(tmp_path / "in")
    for name in (str(tmp_path / "out.png"), "../out.png", "a/../../out.png", "link.png", "\0", "x" * 5_000):
        assert not place.has(name)
