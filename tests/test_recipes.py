"""The recipes of this repository: each one names what exists, and builds its samples to the last byte."""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import zipfile
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.card_text import GENERATED_KEYS
from pipeline.document import read_document
from pipeline.load_recipe import load_recipe
from pipeline.media.video import probe_video
from pipeline.report import Quiet
from pipeline.run import Folders, build_dataset

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "samples"
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))

COUNTS: dict[str, dict[str, dict[str, int]]] = {
    "better_synth_sample": {"default": {"train": 10}},
    "cholec80": {"real": {"train": 7, "test": 3}},
    "cholec80_phases": {"default": {"train": 6, "test": 2}},
    "clot_oogiri_sample": {
        "cn": {"train": 9, "test": 3},
        "en": {"train": 9, "test": 3},
        "jp": {"train": 9, "test": 3},
    },
    "latex_ocr_sample": {"default": {"train": 20, "test": 4}},
    "sample_mix": {"default": {"train": 25, "test": 5}},
    "sample": {"clips": {"train": 8, "test": 2}, "formulas": {"train": 24, "test": 6}},
    "video_feedback_sample": {"real": {"train": 3, "test": 2}, "annotated": {"train": 7, "test": 2}},
}
"""Recipe -> config -> split -> rows, counted by hand in the raw files; of recipes that need no network."""

PUBLISHED = ("better_synth", "clot_oogiri", "latex_ocr", "video_feedback")
"""Recipes of datasets that lie elsewhere; `tests/network/test_use_cases.py` builds them, from doubles."""

LEFT_OUT: dict[str, dict[tuple[str, str], int]] = {
    "better_synth_sample": {("default", "curate.image.min_side"): 1, ("default", "curate.limit"): 2},
    "clot_oogiri_sample": {
        ("cn", "media.missing"): 1,  # the image that is not in the archive
        ("cn", "curate.drop_if"): 3,  # two without an image, one without a text
        ("en", "curate.drop_if"): 2,
        ("jp", "curate.drop_if"): 2,
    },
    # of formulas 12 of 24 and 3 of 6, beside 8 and 2 clips; of 10 captions 5
    "sample_mix": {("default", "curate.mix"): 20},
}
"""Recipe -> (config, reason) -> rows; a recipe that is not named here leaves nothing out."""


@dataclass(frozen=True, kw_only=True)
class Built:
    """A dataset built from a recipe of this repository."""

    out: Path
    rejected: list[dict[str, Any]]

    def rows(self, config: str, split: str) -> list[dict[str, Any]]:
        """Return the rows of a split, media as bytes and path."""
        paths = sorted((self.out / config).glob(f"{split}-*.parquet"))
        rows: list[dict[str, Any]] = pa.concat_tables([pq.read_table(path) for path in paths]).to_pylist()
        return rows


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Built]:
    """Build every recipe that needs no network once, up to the card."""
    folder = tmp_path_factory.mktemp("recipes")
    folders = Folders(work=folder / "work", out=folder / "out", cache=folder / "cache")
    result = {}
    for name in COUNTS:
        path = ROOT / "recipes" / f"{name}.yaml"
        report = build_dataset(path, folders, workers=1, display=Quiet(), upto="card")
        result[path.stem] = Built(out=report.out, rejected=pq.read_table(report.rejected).to_pylist())
    return result


def jsonl(path: Path) -> list[dict[str, Any]]:
    """Return the records of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_names_a_schema_and_a_card_that_exist(path: Path) -> None:
    """Each recipe loads, bears the name of its file, and its card is prose with front matter and no generated key."""
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert recipe.card_path.resolve() == (ROOT / "dataset_cards" / f"{path.stem}.md").resolve()
    assert {"pretty_name", "license", "language", "task_categories", "tags"} <= set(recipe.card.metadata)
    assert not set(GENERATED_KEYS) & set(recipe.card.metadata)
    assert recipe.card.body.count("\n## ") >= 2
    for config in recipe.configs.values():
        assert config.schema.conversation is not None, "every row is a training example"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_source_says_licence_and_credit(path: Path) -> None:
    """Each source of each recipe says under which licence it stands and whom to thank."""
    for name, source in load_recipe(path).sources.items():
        assert source.license, name
        assert source.credit, name


def test_every_schema_and_card_belongs_to_a_recipe() -> None:
    """No schema and no card lies about unused."""
    spoken = [read_document(path).value for path in RECIPES]
    schemas = {
        holder["schema"]
        for value in spoken
        for holder in (value, *value.get("configs", {}).values())
        if "schema" in holder
    }
    assert {path.stem for path in (ROOT / "schemas").glob("*.yaml")} == schemas
    assert {path.stem for path in (ROOT / "dataset_cards").glob("*.md")} == {path.stem for path in RECIPES}


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_rows_in_the_shards_are_those_counted_by_hand(built: dict[str, Built], name: str) -> None:
    """Each split has the rows that a person counts in the raw files, and what is left out has the reason expected."""
    found = {
        config: {split: len(built[name].rows(config, split)) for split in splits}
        for config, splits in COUNTS[name].items()
    }
    assert found == COUNTS[name]
    reasons = Counter((row["config"], row["reason"]) for row in built[name].rejected)
    assert reasons == LEFT_OUT.get(name, {})


def test_every_recipe_is_counted() -> None:
    """A new recipe brings its counts along, and one that needs the network a sample that does not."""
    places = {path.stem: load_recipe(path) for path in RECIPES}
    local = {
        name
        for name, recipe in places.items()
        if all(source.path or source.dataset for source in recipe.sources.values())
    }
    assert local == set(COUNTS)
    assert set(places) - local == set(PUBLISHED)
    for name in PUBLISHED:
        full, sample = places[name], places[f"{name}_sample"]
        schemas = {config.schema.name for config in full.configs.values()}
        assert {config.schema.name for config in sample.configs.values()} <= schemas


def test_sample_is_proved_and_loads(tmp_path: Path) -> None:
    """The sample passes every check of validate, loading included, and loses no row."""
    folders = Folders(work=tmp_path / "work", out=tmp_path / "out", cache=tmp_path / "cache")
    report = build_dataset(ROOT / "recipes" / "sample.yaml", folders, workers=1, display=Quiet())
    assert report.stages[-1].stage == "validate"
    assert report.reasons == {}
    assert report.rows_in == 40


def test_sample_holds_captions_and_media_of_the_source(built: dict[str, Built]) -> None:
    """Captions, formulas and media of the sample equal the files in `samples/`, in the order of the source."""
    raw = {row["file"]: row for row in json.loads((SAMPLES / "clips" / "clips.json").read_text(encoding="utf-8"))}
    kinds = ["animation", "recording", "generated", "test_pattern"]
    seen = []
    for split in ("train", "test"):
        rows = built["sample"].rows("clips", split)
        names = [f"media/{row['video']['path']}" for row in rows]
        assert names == [name for name in raw if name in names], "file order"
        for name, row in zip(names, rows, strict=True):
            assert row["video"]["bytes"] == (SAMPLES / "clips" / name).read_bytes()
            plain = {key: value for key, value in row.items() if key != "video"}
            assert {**plain, "kind": kinds[plain["kind"]], "file": name} == raw[name]
        seen += names
    assert sorted(seen) == sorted(raw)
    with (SAMPLES / "formulas" / "formulas.csv").open(encoding="utf-8", newline="") as file:
        formulas = {row["image"]: row["formula"] for row in csv.DictReader(file)}
    rows = [row for split in ("train", "test") for row in built["sample"].rows("formulas", split)]
    assert {f"images/{row['image']['path']}": row["formula"] for row in rows} == formulas
    for row in rows:
        assert row["image"]["bytes"] == (SAMPLES / "formulas" / "images" / row["image"]["path"]).read_bytes()


def test_latex_ocr_holds_out_the_last_four_rows(built: dict[str, Built]) -> None:
    """The test split is the CSV's last four rows, and images are found by name in another source."""
    with (SAMPLES / "latex_ocr" / "latex_ocr_train.csv").open(encoding="utf-8", newline="") as file:
        raw = [(Path(row["image_path"]).name, row["text"]) for row in csv.DictReader(file)]
    train, test = (built["latex_ocr_sample"].rows("default", split) for split in ("train", "test"))
    assert [(row["image"]["path"], row["text"]) for row in train] == raw[:-4]
    assert [(row["image"]["path"], row["text"]) for row in test] == raw[-4:]
    for row in train + test:
        assert row["image"]["bytes"] == (SAMPLES / "formulas" / "images" / row["image"]["path"]).read_bytes()


@pytest.mark.parametrize("config", ["real", "annotated"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_video_feedback_keeps_columns_with_spaces(built: dict[str, Built], config: str, split: str) -> None:
    """Every published column is as in the JSON, and the clip is the local file that the link names."""
    folder = SAMPLES / "video_feedback" / split
    raw = json.loads((folder / f"data_{config}.json").read_text(encoding="utf-8"))
    rows = built["video_feedback_sample"].rows(config, split)
    assert [{key: value for key, value in row.items() if key != "video"} for row in rows] == raw
    for row in rows:
        name = row["video link"].rpartition("/")[2]
        assert row["video"] == {"bytes": (folder / f"videos_{config}" / name).read_bytes(), "path": name}


@pytest.mark.parametrize(
    ("config", "default"),
    [
        ("cn", "请你根据这张图片,讲一个脑洞大开的梗。"),
        ("en", "Say something funny about this picture."),
        ("jp", "この画像でひとこと。"),
    ],
)
def test_clot_oogiri_reads_stars_and_keeps_answers_together(built: dict[str, Built], config: str, default: str) -> None:
    """Stars lose their commas, questions have a default, images come out of the zip, and none is on two sides."""
    raw = [row for row in jsonl(SAMPLES / "clot_oogiri" / f"{config}.jsonl") if row["image"] and row["text"]]
    splits = {split: built["clot_oogiri_sample"].rows(config, split) for split in ("train", "test")}
    images = {split: {row["image"]["path"] for row in rows} for split, rows in splits.items()}
    assert not images["train"] & images["test"]
    by_text = {row["text"]: row for rows in splits.values() for row in rows}
    with zipfile.ZipFile(SAMPLES / "clot_oogiri" / "images.zip") as archive:
        for row in raw:
            if row["image"] == "oogiri099lost":
                assert row["text"] not in by_text
                continue
            out = by_text.pop(row["text"])
            assert out["stars"] == (None if row["star"] is None else int(row["star"].replace(",", "")))
            assert out["question"] == (row["question"] or default)
            assert out["type"] == row["type"]
            assert out["image"]["bytes"] == archive.read(f"images/{row['image']}.jpg")
    assert not by_text


def test_better_synth_keeps_tokens_and_ids(built: dict[str, Built]) -> None:
    """Texts keep data-juicer's tokens, ids their leading zeros, and the thumbnail is gone."""
    raw = {row["id"]: row for row in jsonl(SAMPLES / "better_synth" / "mgm_pretrain_stage_1.jsonl")}
    rows = built["better_synth_sample"].rows("default", "train")
    assert len({row["id"] for row in rows}) == 10
    assert "000271006" in raw
    for row in rows:
        assert row["id"] != "000271006"
        assert row["text"] == raw[row["id"]]["text"]
        assert row["text"].count("<__dj__image>") == len(row["images"]) == 1
        assert row["images"][0]["bytes"] == (SAMPLES / "better_synth" / raw[row["id"]]["images"][0]).read_bytes()


@pytest.mark.parametrize("split", ["train", "test"])
def test_cholec80_makes_captions_of_labels(built: dict[str, Built], split: str) -> None:
    """The key of the object is the id, labels become numbers and a caption, clips come out of the zip."""
    raw = json.loads((SAMPLES / "cholec80" / split / "data_real.json").read_text(encoding="utf-8"))
    columns = load_recipe(ROOT / "recipes" / "cholec80.yaml").configs["real"].schema.columns
    phases = columns["phase"].rules.type["class_label"]
    tool_names = columns["tools"].rules.type["list"]["class_label"]
    rows = built["cholec80"].rows("real", split)
    assert [row["id"] for row in rows] == list(raw)
    with zipfile.ZipFile(SAMPLES / "cholec80" / "videos_real.zip") as archive:
        for row, (name, labels) in zip(rows, raw.items(), strict=True):
            assert row["video"]["bytes"] == archive.read(f"{split}/videos_real/{name}.mp4")
            assert phases[row["phase"]] == labels["phase"]
            assert [tool_names[number] for number in row["tools"]] == labels["tools"]
            tools = ", ".join(labels["tools"]) or "no"
            assert row["caption"] == f"The current surgical phase is {labels['phase']}, {tools} tool exists."


def test_cholec80_phases_are_cut_out(built: dict[str, Built]) -> None:
    """Each run of frames with one phase and one set of tools is one clip of so many frames, at most 100."""
    with (SAMPLES / "cholec80" / "frames" / "frames.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    tool_names = list(lines[0])[3:]
    wanted: dict[str, tuple[str, list[str], int]] = {}
    for (video, phase, *flags), run in itertools.groupby(lines, lambda line: [line["video"], *list(line.values())[2:]]):
        frames = [int(line["frame"]) for line in run]
        tools = [tool for tool, flag in zip(tool_names, flags, strict=True) if flag == "1"]
        for start in range(0, len(frames), 100):
            name = f"{Path(video).stem}_{frames[start]:05d}"
            wanted[name] = (phase, tools, len(frames[start : start + 100]))
    rows = [row for split in ("train", "test") for row in built["cholec80_phases"].rows("default", split)]
    columns = load_recipe(ROOT / "recipes" / "cholec80_phases.yaml").configs["default"].schema.columns
    phases = columns["phase"].rules.type["class_label"]
    assert {row["id"] for row in rows} == set(wanted)
    for row in rows:
        phase, tools, count = wanted[row["id"]]
        assert phases[row["phase"]] == phase
        assert [tool_names[number] for number in row["tools"]] == tools
        assert row["caption"] == f"The current surgical phase is {phase}, {', '.join(tools) or 'no'} tool exists."
        assert probe_video(row["video"]["bytes"], "decode").frames == count


def test_notice_names_every_sample() -> None:
    """Every file below `samples/` is matched by a line of NOTICE, so nothing is shipped without its origin."""
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    patterns = [
        pattern.strip()
        for line in notice.splitlines()
        if line.startswith("| ") and not line.startswith("| files")
        for pattern in line.split("|")[1].split(",")
    ]
    for path in sorted(SAMPLES.rglob("*")):
        name = path.relative_to(SAMPLES).as_posix()
        if path.is_file() and not name.startswith("LICENSES/"):
            assert any(fnmatchcase(name, pattern) for pattern in patterns), name


def test_samples_are_small() -> None:
    """All samples together stay below five megabytes, and no file stands there twice."""
    files = [path for path in SAMPLES.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 5_000_000
    hashes = Counter(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
    assert not [digest for digest, count in hashes.items() if count > 1]
