"""What goes wrong between pushes is found by the code meant for it: made by `push_to_hub` itself, or by hand."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
import yaml

from pipeline.card_text import split_front_matter
from pipeline.checks.options import Options
from pipeline.validation import validate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipeline.checks.report import Report

CARD_AND_BYTES = Options(select=("SW1", "SW3"))
"""All that is to be found here, without loading."""
BY_THE_LIBRARY = {
    "changed_columns": (
        "SW109",
        "the card has no 'length' of data/train-00000-of-00001.parquet; loading fails",
    ),
    "dropped_column": (
        "SW109",
        "train-00000-of-00001.parquet has no 'label' of the card; loading fills that",
    ),
    "another_type": ("SW109", "the card says 'label' is Value('string'), data/train-00000-of-00001.parquet says Class"),
    "many_shards_again": ("SW108", "the card says download_size"),
}
"""Repository -> the code and the words for what `datasets` itself made wrong."""


@pytest.mark.parametrize("name", BY_THE_LIBRARY)
def test_faults_of_the_library(name: str, pushed: Path) -> None:
    """What a second push leaves in the card is found, and nothing else, by the card and the footers alone."""
    code, words = BY_THE_LIBRARY[name]
    for look in (Options(look="quick"), CARD_AND_BYTES):
        report = validate(pushed / name, look)
        assert set(report.counts) == {code}, str(report)
        assert words in str(report)


def test_paths_of_a_machine(pushed: Path) -> None:
    """Pictures that were pushed as paths are missing, and the paths tell of a machine."""
    report = validate(pushed / "paths_of_this_machine")
    assert {"SW508", "SW408"} <= set(report.counts), str(report)


Card = dict[str, Any]


def edited(pushed: Path, to: Path, edit: Callable[[Card], object] | None = None, name: str = "several_configs") -> Path:
    """Copy a pushed dataset, and edit the front matter of its card."""
    shutil.copytree(pushed / name, to)
    card = to / "README.md"
    front, body = split_front_matter(card.read_text(encoding="utf-8"))
    metadata = yaml.safe_load(front)
    if edit is not None:
        edit(metadata)
    card.write_text(f"---\n{yaml.safe_dump(metadata, sort_keys=False)}---\n{body}", encoding="utf-8")
    return to


def info(card: Card, config: str) -> Card:
    """Return what a card says of a config."""
    infos = card["dataset_info"]
    found: Card = next(one for one in infos if one["config_name"] == config) if isinstance(infos, list) else infos
    return found


def split(card: Card, config: str, name: str) -> Card:
    """Return what a card says of a split."""
    found: Card = next(one for one in info(card, config)["splits"] if one["name"] == name)
    return found


def _entry(card: Card, config: str) -> Card:
    found: Card = next(one for one in card["configs"] if one["config_name"] == config)
    return found


def _drop(items: list[Card], key: str, value: str) -> None:
    items.remove(next(item for item in items if item[key] == value))


EDITS: dict[str, tuple[Callable[[Card], object], str, str]] = {
    "a hand-edited number of rows": (
        lambda card: split(card, "words", "test").update(num_examples=20),
        "SW106",
        "the card says num_examples 20, the shards have 7",
    ),
    "no number of rows": (
        lambda card: split(card, "words", "test").pop("num_examples"),
        "SW106",
        "the card says no num_examples, the shards have 7; `datasets` takes it for 0 and fails",
    ),
    "a hand-edited number of bytes": (
        lambda card: split(card, "words", "test").update(num_bytes=1331),
        "SW107",
        "the card says num_bytes 1,331, the shards have 332",
    ),
    "a hand-edited sum of bytes": (
        lambda card: info(card, "words").update(dataset_size=2812),
        "SW108",
        "the card says dataset_size 2,812, its splits add up to 1,812",
    ),
    "absurd bytes that add up": (
        lambda card: [
            split(card, "more_words", "train").update(num_bytes=10**15),
            info(card, "more_words").update(dataset_size=10**15),
        ],
        "SW107",
        "the card says num_bytes 1,000,000,000,000,000, the shards have 251",
    ),
    "a hand-edited download size": (
        lambda card: info(card, "words").update(download_size=1),
        "SW108",
        "the card says download_size 1, the files have",
    ),
    "numbers as LaTeX_OCR once had them": (
        lambda card: split(card, "words", "train").update(num_bytes=1481.3333333333333),
        "SW117",
        "num_bytes is 1481.3333333333333, a float; the Hub wants a whole number",
    ),
    "a config name lost to null": (
        lambda card: _entry(card, "words").update(config_name=None),
        "SW103 SW102 SW105",
        "the name of config 3 is None; `datasets` fails on it",
    ),
    "a config name that YAML takes for false": (
        lambda card: _entry(card, "words").update(config_name=False),
        "SW103 SW102 SW105",
        'put it in quotes: "False"',
    ),
    "two default configs": (
        lambda card: _entry(card, "words").update(default=True),
        "SW103",
        "the configs 'pictures' and 'words' are all the default one",
    ),
    "a config that stands twice": (
        lambda card: card["configs"].append({"config_name": "words", "data_files": "more_words/*"}),
        "SW103 SW102 SW105 SW108 SW107 SW106",
        "the config stands twice in `configs`; loaders take the last of them",
    ),
    "a split name that is a number": (
        lambda card: _entry(card, "words")["data_files"][1].update(split=2020),
        "SW103 SW102 SW105 SW108",
        "the split 2020 is a int; put it in quotes",
    ),
    "a split dropped from `configs` alone": (
        lambda card: _drop(_entry(card, "words")["data_files"], "split", "test"),
        "SW102 SW105 SW108",
        "`configs` has no such split",
    ),
    "a split dropped from `dataset_info` alone": (
        lambda card: _drop(info(card, "words")["splits"], "name", "test"),
        "SW102 SW108",
        "`dataset_info` has no such split",
    ),
    "a config dropped from `dataset_info` alone": (
        lambda card: _drop(card["dataset_info"], "config_name", "words"),
        "SW102",
        "`dataset_info` does not describe 'words'",
    ),
    "no `configs`": (
        lambda card: card.pop("configs"),
        "SW102 SW105 SW109",
        "`dataset_info` describes 'more_words', 'pictures', 'words', and `configs` names no files for it",
    ),
    "a label that the card forgot": (
        lambda card: info(card, "words")["features"][1].update(dtype="int64"),
        "SW109",
        "'label' is Value('int64'), parts/words/train-00000-of-00001.parquet (and 1 more) says ClassLabel",
    ),
}
"""What is edited in the card of `several_configs`; the code meant for it, those that may come with it, and words."""


@pytest.mark.parametrize("name", EDITS)
def test_edits_of_the_card(name: str, pushed: Path, tmp_path: Path) -> None:
    """Each edit is found by its code, in words with both numbers, and by no code that is not about it."""
    edit, codes, words = EDITS[name]
    meant, *others = codes.split()
    report = validate(edited(pushed, tmp_path / "dataset", edit), CARD_AND_BYTES)
    assert meant in report.counts, str(report)
    assert set(report.counts) <= {meant, *others}, str(report)
    assert words in str(report)


def test_an_estimate_is_no_excuse(pushed: Path, tmp_path: Path) -> None:
    """Where `num_bytes` is an estimate far from what loading records, a hand-edited one is found all the same."""
    folder = edited(pushed, tmp_path / "dataset", name="all_kinds")
    assert not validate(folder, CARD_AND_BYTES).counts
    card = yaml.safe_load(split_front_matter((folder / "README.md").read_text(encoding="utf-8"))[0])
    said = split(card, "filtered", "train")["num_bytes"]
    assert said == info(card, "filtered")["dataset_size"]
    report = _edited_again(folder, lambda card: split(card, "filtered", "train").update(num_bytes=said + 1))
    assert set(report.counts) == {"SW107", "SW108"}
    report = _edited_again(folder, lambda card: split(card, "filtered", "train").update(num_bytes=said))
    assert not report.counts


def _edited_again(folder: Path, edit: Callable[[Card], object]) -> Report:
    card = yaml.safe_load(split_front_matter((folder / "README.md").read_text(encoding="utf-8"))[0])
    edit(card)
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump(card, sort_keys=False)}---\n", encoding="utf-8")
    return validate(folder, CARD_AND_BYTES)


def test_exchanged_shards(pushed: Path, tmp_path: Path) -> None:
    """Shards of other bytes and as many rows leave stale numbers in the card."""
    folder = edited(pushed, tmp_path / "dataset", name="one_split")
    shard = next(folder.glob("data/*.parquet"))
    table = pq.read_table(shard)
    texts = [text * 3 for text in table["text"].to_pylist()]
    pq.write_table(table.set_column(0, table.schema.field(0), [texts]), shard)
    report = validate(folder, CARD_AND_BYTES)
    assert set(report.counts) == {"SW107", "SW108"}, str(report)


def test_leftover_shards(pushed: Path, tmp_path: Path) -> None:
    """A push that broke off before it removed the shards of the one before doubles the rows."""
    folder = edited(pushed, tmp_path / "dataset", name="splits_one_by_one")
    shutil.copytree(pushed / "splits_one_by_one.before" / "data", folder / "data", dirs_exist_ok=True)
    report = validate(folder, CARD_AND_BYTES)
    assert "SW110" in report.counts
    assert set(report.counts) <= {"SW110", "SW106", "SW107", "SW108"}, str(report)
    assert "5 shards are named -of-00005, beside 3 named -of-00003" in str(report)


def test_a_missing_shard(pushed: Path, tmp_path: Path) -> None:
    """A shard that did not arrive is missed by its number."""
    folder = edited(pushed, tmp_path / "dataset", name="splits_one_by_one")
    next(folder.glob("data/train-00001-*")).unlink()
    report = validate(folder, Options(look="quick"))
    assert "SW110" in report.counts
    assert set(report.counts) <= {"SW110", "SW106", "SW108"}, str(report)
    assert "2 shards are named -of-00003" in str(report)


def test_a_dropped_split_left_in_the_card(pushed: Path, tmp_path: Path) -> None:
    """Shards that are gone are missed where the card still names them."""
    folder = edited(pushed, tmp_path / "dataset")
    next(folder.glob("parts/words/test-*")).unlink()
    report = validate(folder, CARD_AND_BYTES)
    assert "SW104" in report.counts
    assert set(report.counts) <= {"SW104", "SW106", "SW107", "SW108"}, str(report)
    assert "the pattern 'parts/words/test-*' matches no file" in str(report)


def test_refused_sizes_are_told_in_numbers(tmp_path: Path) -> None:
    """`NonMatchingSplitsSizesError` of files that only loading looks into comes with both numbers."""
    from tests.checks.peer_folders import csv_by_split

    csv_by_split(tmp_path)
    card = tmp_path / "README.md"
    text = card.read_text(encoding="utf-8")
    assert not validate(tmp_path).counts
    card.write_text(text.replace("num_examples: 9", "num_examples: 20", 1), encoding="utf-8")
    report = validate(tmp_path)
    assert list(report.counts) == ["SW201"]
    words = "NonMatchingSplitsSizesError: the card says rows of train 20, test 9, the files give train 9, test 9"
    assert words in str(report)
    card.write_text(text.replace("num_bytes: ", "num_bytes: 1", 1), encoding="utf-8")
    report = validate(tmp_path)
    assert list(report.counts) == ["SW108"]
    size, total = (re.search(rf"{key}: (\d+)", text)[1] for key in ("num_bytes", "dataset_size"))
    high = int(total) + 10**9 - int(size)
    text = text.replace(f"num_bytes: {size}", f"num_bytes: {10**9}", 1).replace(f"size: {total}", f"size: {high}")
    card.write_text(text, encoding="utf-8")
    report = validate(tmp_path)
    assert list(report.counts) == ["SW203"]
    assert "the card says num_bytes 1,000,000,000, `datasets` recorded" in str(report)


STRANGE: dict[str, Any] = {
    "configs": ["words", None, 5, {"config_name": []}, {"config_name": "a", "data_files": {"train": "x"}}],
    "configs as a text": "words",
    "configs of configs": [[{"config_name": "words"}]],
    "data_files": [{"config_name": "a", "data_files": [{"split": ["x"], "path": {"y": 1}}, "a.parquet", None]}],
    "data_dir": [{"config_name": "a", "data_dir": ["x"]}, {"config_name": "b", "data_dir": "../.."}],
    "default": [{"config_name": "a", "default": "yes"}, {"config_name": "default", "data_files": "[[["}],
}


@pytest.mark.parametrize("name", STRANGE)
def test_strange_configs(name: str, pushed: Path, tmp_path: Path) -> None:
    """`configs` of any shape are called wrong, and end nothing."""
    folder = edited(pushed, tmp_path / "dataset", lambda card: card.update(configs=STRANGE[name]))
    assert {"SW102", "SW103"} & set(validate(folder, CARD_AND_BYTES).counts)


STRANGE_INFO: list[Any] = [
    5,
    "text",
    [None, 5, {"config_name": ["words"]}],
    {"config_name": None, "splits": {"train": 1}},
    {"config_name": "words", "splits": [{"name": ["train"], "num_bytes": {}, "num_examples": 10**400}]},
    {"config_name": "words", "splits": [{"name": "train", "num_bytes": -1, "num_examples": True}], "dataset_size": []},
    {"config_name": "words", "features": {"text": "string"}},
    {"config_name": "words", "features": [None, "text", {"name": 5, "dtype": 7}]},
    {"config_name": "words", "features": [{"name": "text", "dtype": "no"}, {"name": "label", "list": {"x": [[]]}}]},
    {"config_name": "words", "features": [{"name": "text"}, {"name": "label", "dtype": {"class_label": 5}}]},
]


@pytest.mark.parametrize("value", STRANGE_INFO, ids=lambda value: json.dumps(value)[:60])
def test_strange_dataset_info(value: Any, pushed: Path, tmp_path: Path) -> None:
    """`dataset_info` of any shape ends nothing."""
    folder = edited(pushed, tmp_path / "dataset", lambda card: card.update(dataset_info=value))
    validate(folder, CARD_AND_BYTES)


def test_features_in_an_order_that_datasets_cannot_read(pushed: Path, tmp_path: Path) -> None:
    """A card whose keys were sorted holds the same values, and loading fails on it."""
    folder = edited(pushed, tmp_path / "dataset", lambda card: card.update(dataset_info=_sorted(card)), "all_kinds")
    report = validate(folder, Options(look="quick"))
    assert set(report.counts) == {"SW109"}
    assert "README.md (albums): the card's features cannot be read" in str(report)


def _sorted(card: Card) -> Any:
    return yaml.safe_load(yaml.safe_dump(card["dataset_info"]))


def test_features_of_a_footer_that_nobody_can_read(pushed: Path, tmp_path: Path) -> None:
    """Nonsense in a footer is called wrong, and ends nothing."""
    folder = edited(pushed, tmp_path / "dataset", name="one_split")
    shard = next(folder.glob("data/*.parquet"))
    table = pq.read_table(shard)
    for text in ('{"info": {"features": {"text": {"_type": "Nothing"}}}}', "{" * 50, '{"info": 5}', "[" * 100_000):
        pq.write_table(table.replace_schema_metadata({"huggingface": text}), shard)
        assert "SW109" in validate(folder, Options(look="quick")).counts
