"""Datasets of other people's making raise no alarm: pushed by `datasets`, written by other tools, or laid by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from pipeline.checks.feature_fit import fits
from pipeline.checks.options import Options
from pipeline.validation import validate

if TYPE_CHECKING:
    from pathlib import Path

QUICK = Options(look="quick")
PUSHED = ("one_split", "odd_names", "splits_one_by_one", "several_configs", "all_kinds")
FOLDERS = (
    *("parquet_one_file", "parquet_named_by_split", "parquet_in_folders", "parquet_numbered"),
    *("parquet_of_other_tools", "parquet_of_every_way_to_write_data_files", "a_part_of_the_shards"),
    *("csv_by_split", "json_lines", "picture_folder", "picture_folder_with_metadata", "clip_folder", "web_dataset"),
)


@pytest.mark.parametrize("name", PUSHED)
def test_pushed_datasets_raise_no_alarm(name: str, pushed: Path) -> None:
    """What `push_to_hub` writes is right, whatever `num_bytes` it estimates."""
    assert str(validate(pushed / name, QUICK)) == ""
    assert str(validate(pushed / name)) == ""


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_raise_no_alarm(name: str, tmp_path: Path) -> None:
    """Folders that loaders read raise no alarm, but for a card that is not there: then loaders guess."""
    from tests.checks.peer_folders import FOLDERS as MAKERS

    MAKERS[name](tmp_path)
    expected = set() if (tmp_path / "README.md").exists() else {"SW100"}
    for look in (QUICK, None):
        report = validate(tmp_path, look)
        assert set(report.counts) == expected, str(report)


def test_every_folder_is_tried() -> None:
    """The names above are those of the folders that can be made."""
    from tests.checks.peer_folders import FOLDERS as MAKERS

    assert set(MAKERS) == set(FOLDERS)


def test_saved_to_disk_is_no_repository(tmp_path: Path) -> None:
    """A folder of `save_to_disk` is called what it is, and one is told how to make a dataset of it."""
    from datasets import DatasetDict

    from tests.checks.peer_columns import texts

    texts(5).save_to_disk(tmp_path / "one")
    report = validate(tmp_path / "one")
    assert list(report.counts) == ["SW201"]
    assert "`save_to_disk` wrote this folder" in str(report)
    assert "push_to_hub" in str(report)
    DatasetDict(train=texts(5), test=texts(5, 9)).save_to_disk(tmp_path / "several")
    report = validate(tmp_path / "several", QUICK)
    assert list(report.counts) == ["SW100"]
    assert "`save_to_disk` wrote this folder" in str(report)


def test_url_is_not_looked_for(tmp_path: Path) -> None:
    """Files that the card names by URL are not missed, and it is said that nobody looked at them."""
    from tests.checks.peer_folders import card, config

    card(tmp_path, configs=[config(train="https://127.0.0.1:1/train.parquet")])
    report = validate(tmp_path)
    assert not report.counts
    assert "default/train lie at a URL" in report.notes[0]


def value(kind: pa.DataType) -> object:
    """Return a plain feature of an Arrow type."""
    from datasets import Value
    from datasets.features.features import _arrow_to_datasets_dtype

    return Value(_arrow_to_datasets_dtype(kind))


WIDENING = [
    (pa.int64(), pa.int32()),
    (pa.int16(), pa.uint8()),
    (pa.float64(), pa.float32()),
    (pa.string(), pa.large_string()),
    (pa.large_string(), pa.string()),
    (pa.binary(), pa.large_binary()),
    (pa.timestamp("us"), pa.timestamp("s")),
    (pa.decimal128(12, 2), pa.decimal128(9, 1)),
]
DIFFERING = [
    (pa.string(), pa.int64()),
    (pa.int64(), pa.string()),
    (pa.int64(), pa.float64()),
    (pa.bool_(), pa.int8()),
    (pa.string(), pa.binary()),
    (pa.timestamp("s"), pa.timestamp("s", "UTC")),
    (pa.date32(), pa.timestamp("s")),
]


@pytest.mark.parametrize(("wanted", "found"), WIDENING)
def test_types_that_hold_all_values_fit(wanted: pa.DataType, found: pa.DataType) -> None:
    """A wider type fits; a narrower one only where the card alone says it."""
    assert fits(value(wanted), value(found), by_hand=False)
    if not pa.types.is_string(found) and not pa.types.is_large_string(found) and not pa.types.is_large_binary(found):
        assert not fits(value(found), value(wanted), by_hand=False)
        if pa.types.is_integer(wanted) or pa.types.is_floating(wanted):
            assert fits(value(found), value(wanted), by_hand=True)


@pytest.mark.parametrize(("wanted", "found"), DIFFERING)
def test_types_of_other_kinds_do_not_fit(wanted: pa.DataType, found: pa.DataType) -> None:
    """What changes the meaning of values does not fit, whoever says it."""
    assert not fits(value(wanted), value(found), by_hand=True)


def test_features_of_the_same_storage() -> None:
    """Labels and media may stand on plain columns, but not in place of each other, nor be lost."""
    from datasets import ClassLabel, Image, List, Value, Video

    plain = {"bytes": Value("binary"), "path": Value("string")}
    assert fits(Image(), plain, by_hand=False)
    assert fits(List(Image()), [plain], by_hand=False)
    assert fits(Video(), Value("string"), by_hand=False)
    assert fits(ClassLabel(names=["a", "b"]), Value("int64"), by_hand=False)
    assert fits(Image(decode=False), Image(), by_hand=False)
    assert not fits(Video(), Image(), by_hand=False)
    assert not fits(plain, Image(), by_hand=False)
    assert not fits(Image(), Value("int64"), by_hand=True)
    assert not fits(Value("int64"), ClassLabel(names=["a", "b"]), by_hand=False)
    assert not fits(ClassLabel(names=["a", "b"]), ClassLabel(names=["b", "a"]), by_hand=False)
    assert not fits(List(Value("int8"), length=2), List(Value("int8"), length=3), by_hand=True)
