"""Real little datasets of other projects, their annotations unchanged, built with nothing but a recipe each.

`data/datasets/<name>/` holds recipe, schema, card and, below `source/`, the annotation files as published. Media whose
rights are not clear are not in this repository: stand-ins from `samples/` are put where the annotations look for them.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipeline.conversation import MediaPart, Message, TextPart, compile_conversation
from pipeline.errors import RejectsError, SourceError
from pipeline.exports.export import export
from pipeline.exports.registry import FORMATS, format_named
from pipeline.load_recipe import load_recipe
from pipeline.report import Quiet
from pipeline.run import BuildReport, Folders, build_dataset
from tests.exports.imported import assert_comes_back, rows_in
from tests.project import png

DATASETS = Path(__file__).parent / "data" / "datasets"
SAMPLES = Path(__file__).parents[1] / "samples"

CLIPS = sorted((SAMPLES / "video_feedback" / "train" / "videos_annotated").glob("*.mp4"))
PICTURES = sorted((SAMPLES / "better_synth" / "images").rglob("*.jpg"))
PAGES = sorted((SAMPLES / "formulas" / "images").glob("*.png"))
GENERATED = {name: SAMPLES / "clips" / "media" / f"fetv_{name}.gif" for name in ("137", "149", "404")}

STAND_INS: dict[str, dict[str, Path]] = {
    "llamafactory": {
        "mllm_demo_data/1.jpg": PICTURES[0],
        "mllm_demo_data/2.jpg": PICTURES[1],
        "mllm_demo_data/3.jpg": PICTURES[2],
        "mllm_demo_data/1.mp4": CLIPS[0],
        "mllm_demo_data/2.avi": CLIPS[1],
        "mllm_demo_data/3.mp4": CLIPS[2],
        "mllm_demo_data/4.mp4": CLIPS[3],
    },
    "datajuicer": {
        "tests/ops/data/img1.png": PAGES[0],
        "tests/ops/data/img2.jpg": PICTURES[1],
        "tests/ops/data/img3.jpg": PICTURES[2],
        "tests/ops/data/video1.mp4": CLIPS[0],
        "tests/ops/data/video2.mp4": CLIPS[1],
        "tests/ops/data/video3.mp4": CLIPS[2],
    },
    "latex_ocr": {f"images/{path.name}": path for path in PAGES},
    "qwenvl": {"demo/images/10095.png": PAGES[0], "demo/images/10149.png": PAGES[1]},
    "fetv": {
        "assets/spatial_attribute/color/text2video-zero/137.gif": GENERATED["137"],
        "assets/spatial_attribute/color/zeroscope/149.gif": GENERATED["149"],
        "assets/temporal_attribute/event_order/text2video-zero/404.gif": GENERATED["404"],
        "assets/temporal_attribute/speed/cogvideo/574.gif": CLIPS[0],
        "assets/temporal_major_content/actions/text2video-zero/17.gif": CLIPS[1],
    },
    "videofeedback": {"video1.mp4": CLIPS[0]},
}
"""Dataset -> path that the annotations ask for -> the file of `samples/` that stands in."""

COUNTS: dict[str, dict[str, dict[str, int]]] = {
    "datajuicer": {"images": {"train": 3}, "videos": {"train": 4, "test": 2}},
    "fetv": {"prompts": {"train": 557, "test": 62}, "clips": {"train": 5}},
    "latex_ocr": {
        "published": {"train": 120, "test": 30},
        "last_rows": {"train": 120, "test": 30},
        "shares": {"train": 120, "validation": 15, "test": 15},
        "test_only": {"test": 30},
    },
    "llamafactory": {
        "images": {"train": 4, "test": 2},
        "videos": {"train": 3},
        "videos_of_audio_demo": {"train": 3},
        "typed_parts": {"train": 16, "test": 8},
    },
    "qwenvl": {"default": {"train": 2, "test": 1}},
    "videofeedback": {
        "links": {"train": 11, "test": 3},
        "one_clip": {"train": 14},
        "scores_as_texts": {"train": 11, "test": 3},
    },
}
"""Dataset -> config -> split -> rows, counted in the annotation files."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A dataset that was built, and the folder it was built from."""

    folder: Path
    report: BuildReport

    @property
    def source(self) -> Path:
        """Where annotations and media lie."""
        return self.folder / "source"

    def rows(self, config: str, *splits: str) -> list[dict[str, Any]]:
        """Return the rows of some splits, one after the other; all of them when none is named."""
        names = splits or tuple(COUNTS[self.report.name][config])
        paths = [path for name in names for path in sorted((self.report.out / config).glob(f"{name}-*.parquet"))]
        rows: list[dict[str, Any]] = pa.concat_tables([pq.read_table(path) for path in paths]).to_pylist()
        return rows

    def json(self, name: str) -> Any:
        """Return an annotation file, JSON or JSON Lines."""
        text = (self.source / name).read_text(encoding="utf-8")
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return [json.loads(line) for line in text.splitlines() if line.strip()]

    def media(self, path: str) -> dict[str, Any]:
        """Return what the shards must hold for a path of the source."""
        file = self.source / path
        return {"bytes": file.read_bytes(), "path": file.name}


def prepared(name: str, folder: Path) -> Path:
    """Copy a dataset's recipe and annotations and put the stand-ins beside them; returns the folder."""
    shutil.copytree(DATASETS / name, folder)
    for path, stand_in in STAND_INS[name].items():
        (folder / "source" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(stand_in, folder / "source" / path)
    if name == "latex_ocr":
        with (folder / "source" / "pairs.csv").open(encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.DictReader(file)):
                path = folder / "source" / row["image"]
                if not path.exists():
                    path.write_bytes(png(number))
    return folder


def build(folder: Path, *, upto: str = "validate") -> BuildReport:
    """Build the recipe in a folder."""
    folders = Folders(work=folder / "work", out=folder / "out", cache=folder / "cache")
    return build_dataset(folder / "recipe.yaml", folders, workers=1, display=Quiet(), upto=upto)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    """Build and prove every dataset once."""
    result = {}
    for name in COUNTS:
        folder = prepared(name, tmp_path_factory.mktemp(name) / name)
        result[name] = Dataset(folder=folder, report=build(folder))
    return result


def change(folder: Path, edit: dict[str, Any]) -> None:
    """Change keys at the top of a recipe."""
    path = folder / "recipe.yaml"
    recipe = {**yaml.safe_load(path.read_text(encoding="utf-8")), **edit}
    path.write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")


def conversation(dataset: Dataset, config: str, row: dict[str, Any]) -> list[Message]:
    """Return a row as its schema's conversation."""
    spec = load_recipe(dataset.folder / "recipe.yaml").configs[config].schema.conversation
    assert spec is not None
    return compile_conversation(spec)(row)


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_every_row_is_where_it_was_counted(datasets: dict[str, Dataset], name: str) -> None:
    """Every dataset is proved by validate, and its splits have the rows counted in the annotation files."""
    dataset = datasets[name]
    found = {
        config: {split: len(dataset.rows(config, split)) for split in splits} for config, splits in COUNTS[name].items()
    }
    assert found == COUNTS[name]
    assert dataset.report.reasons == ({"curate.drop_if": 120} if name == "latex_ocr" else {})


@pytest.mark.parametrize(
    ("config", "file", "column"),
    [
        ("images", "mllm_demo.json", "images"),
        ("videos", "mllm_video_demo.json", "videos"),
        ("videos_of_audio_demo", "mllm_video_audio_demo.json", "videos"),
    ],
)
def test_llamafactory_chats_keep_messages_and_media(
    datasets: dict[str, Dataset], config: str, file: str, column: str
) -> None:
    """Messages are as published, and each row has the media its list names, in that order and to the byte."""
    dataset = datasets["llamafactory"]
    raw = {json.dumps(row["messages"], sort_keys=True): row for row in dataset.json(file)}
    rows = dataset.rows(config)
    assert len(rows) == len(raw)
    for row in rows:
        published = raw.pop(json.dumps(row["messages"], sort_keys=True))
        assert row[column] == [dataset.media(path) for path in published[column]]
        parts = [part for message in conversation(dataset, config, row) for part in message.parts]
        positions = [part.position for part in parts if isinstance(part, MediaPart)]
        assert positions == list(range(len(published[column])))


def test_llamafactory_media_stand_where_their_tokens_stood(datasets: dict[str, Dataset]) -> None:
    """A token in the middle of a chat becomes its own image there, and a token at the end comes after the text."""
    dataset = datasets["llamafactory"]
    row = next(row for row in dataset.rows("images") if "Who are they?" in row["messages"][0]["content"])
    assert conversation(dataset, "images", row) == [
        Message("user", (MediaPart("", "images", 0), TextPart("Who are they?"))),
        Message("assistant", (TextPart("They're Kane and Gretzka from Bayern Munich."),)),
        Message("user", (TextPart("What are they doing?"), MediaPart("", "images", 1))),
        Message("assistant", (TextPart("They are celebrating on the soccer field."),)),
    ]


def test_llamafactory_questions_in_two_languages_share_a_side(datasets: dict[str, Dataset]) -> None:
    """The English and the Chinese chat about one image are both in train or both in test."""
    dataset = datasets["llamafactory"]
    train, test = (
        {image["bytes"] for row in dataset.rows("images", split) for image in row["images"]}
        for split in ("train", "test")
    )
    assert not train & test


def test_llamafactory_audio_is_not_lost_in_silence(datasets: dict[str, Dataset]) -> None:
    """A column that no schema takes is named in the report."""
    notes = [note for stage in datasets["llamafactory"].report.stages for note in stage.notes]
    assert "videos_of_audio_demo: not in the schema, so not published: audios" in notes


def test_llamafactory_typed_parts_become_the_same_chats(datasets: dict[str, Dataset]) -> None:
    """Rows of its new format, read in the dialect, are the chats of the older file, each of them four times."""
    dataset = datasets["llamafactory"]
    older = Counter(json.dumps(row["messages"], sort_keys=True) for row in dataset.json("mllm_demo.json"))
    rows = dataset.rows("typed_parts")
    assert Counter(json.dumps(row["messages"], sort_keys=True) for row in rows) == Counter(
        {chat: 4 * count for chat, count in older.items()}
    )
    for row in rows:
        tokens = sum(message["content"].count("<image>") for message in row["messages"])
        assert tokens == len(row["images"])


@pytest.mark.parametrize(("config", "column"), [("images", "images"), ("videos", "videos")])
def test_datajuicer_paths_climb_to_their_media(datasets: dict[str, Dataset], config: str, column: str) -> None:
    """Paths that climb out of the annotation's folder with `../../` end at the right files, tokens stay in the text."""
    dataset = datasets["datajuicer"]
    raw = {row["text"]: row for row in dataset.json(f"demos/data/demo-dataset-{config}.jsonl")}
    rows = dataset.rows(config)
    assert {row["text"] for row in rows} == set(raw)
    for row in rows:
        assert row[column] == [dataset.media(f"demos/data/{path}") for path in raw[row["text"]][column]]
        assert row["text"].count(f"<__dj__{column.removesuffix('s')}>") == len(row[column])


def test_datajuicer_paths_may_not_leave_the_source_unasked(tmp_path: Path) -> None:
    """With the annotations' folder as source the same paths are refused, and allowed again within a wider folder."""
    folder = prepared("datajuicer", tmp_path / "datajuicer")
    config = {
        "schema": "images.yaml",
        "rows": {"files": "demo-dataset-images.jsonl"},
        "splits": {"train": "rest"},
        "media": {"images": {"relative_to": "file"}},
    }
    change(folder, {"sources": {"narrow": {"path": "source/demos/data"}}, "configs": {"images": config}})
    with pytest.raises(RejectsError, match=r"media\.outside"):
        build(folder, upto="cache")
    config["media"] = {"images": {"relative_to": "file", "within": "source"}}
    change(folder, {"configs": {"images": config}})
    assert build(folder, upto="cache").reasons == {}


def test_latex_ocr_is_split_as_published(datasets: dict[str, Dataset]) -> None:
    """The last thirty rows are im2markup's test part; formulas and images are as published, in the table's order."""
    dataset = datasets["latex_ocr"]
    with (dataset.source / "pairs.csv").open(encoding="utf-8", newline="") as file:
        raw = list(csv.DictReader(file))
    for split in ("train", "test"):
        lines = (dataset.source / f"{split}.lst").read_text(encoding="utf-8").splitlines()
        expected = [row for row in raw if row["split"] == split]
        assert [Path(row["image"]).stem for row in expected] == [line.split()[1] for line in lines]
        rows = dataset.rows("published", split)
        assert [(row["text"], row["part"]) for row in rows] == [(row["formula"], split) for row in expected]
        assert [row["image"] for row in rows] == [dataset.media(row["image"]) for row in expected]
    assert dataset.rows("test_only", "test") == dataset.rows("published", "test")


def test_latex_ocr_shares_divide_all_rows(datasets: dict[str, Dataset]) -> None:
    """Shares put each row into exactly one split."""
    texts = Counter(row["text"] for row in datasets["latex_ocr"].rows("shares"))
    assert len(texts) == 150
    assert set(texts.values()) == {1}


def test_qwenvl_questions_about_one_chart_share_a_side(datasets: dict[str, Dataset]) -> None:
    """A single image is a string in the JSON, and two questions about one chart are not divided."""
    dataset = datasets["qwenvl"]
    raw = dataset.json("single_images.json")
    rows = dataset.rows("default", "train", "test")
    assert rows == [{**row, "image": dataset.media(row["image"])} for row in raw]
    first = conversation(dataset, "default", rows[0])
    question = TextPart("Is the value of Favorable 38 in 2015?\n")
    assert first[0] == Message("user", (question, MediaPart("", "image", None)))


def test_fetv_prompts_keep_nested_nulls(datasets: dict[str, Dataset]) -> None:
    """JSON Lines under the name of JSON: all 619 prompts, lists and nulls inside as they were, missing keys null."""
    dataset = datasets["fetv"]
    raw = {row["prompt"]: row for row in dataset.json("fetv_data.json")}
    rows = dataset.rows("prompts")
    assert len(rows) == len(raw) == 619
    for row in rows:
        assert row == {**dict.fromkeys(("video_id", "unusual type", "video_url")), **raw[row["prompt"]]}


def test_fetv_strata_are_spread_evenly(datasets: dict[str, Dataset]) -> None:
    """Each large stratum gives a tenth of its rows to the test split, to within one row."""
    dataset = datasets["fetv"]
    whole = Counter(row["source"] for row in dataset.json("fetv_data.json"))
    test = Counter(row["source"] for row in dataset.rows("prompts", "test"))
    for source in ("MSRVTT", "WebVid", "ours"):
        assert abs(test[source] - whole[source] / 10) <= 1, source


def test_fetv_clips_have_the_prompt_of_their_line(datasets: dict[str, Dataset]) -> None:
    """The small index names for each clip the prompt that stands on its line of the benchmark."""
    dataset = datasets["fetv"]
    prompts = [row["prompt"] for row in dataset.json("fetv_data.json")]
    rows = dataset.rows("clips")
    paths = {Path(path).name: path for path in STAND_INS["fetv"]}
    assert len(rows) == 5
    for row in rows:
        assert row["prompt"] == prompts[row["line"]]
        assert row["video"] == dataset.media(paths[f"{row['line']}.gif"])


def test_videofeedback_rows_may_stay_without_their_remote_clips(datasets: dict[str, Dataset]) -> None:
    """With `missing: keep` a clip that is not here leaves a null, and the card says how many."""
    dataset = datasets["videofeedback"]
    raw = {row["id"]: row for row in dataset.json("videofeedback_columns.derived.jsonl")}
    rows = dataset.rows("links")
    assert {row["id"]: row for row in rows} == {key: {**row, "video": None} for key, row in raw.items()}
    card = (dataset.report.out / "README.md").read_text(encoding="utf-8")
    assert "14 media of `links` could not be had (media.missing)" in card


def test_videofeedback_one_clip_for_all_rows_cannot_be_divided(tmp_path: Path) -> None:
    """Fourteen rows that share one clip are one group, so a division says which split would be empty."""
    folder = prepared("videofeedback", tmp_path / "videofeedback")
    config = {
        "rows": {"files": "videofeedback_columns.derived.jsonl"},
        "splits": {"train": 0.8, "test": 0.2},
        "media": {"video": {"path": "video1.mp4"}},
    }
    change(folder, {"configs": {"one_clip": config}})
    with pytest.raises(SourceError, match=r"'test' would be empty: 14 rows in 1 groups"):
        build(folder, upto="split")


def test_videofeedback_one_clip_stands_in_every_row(datasets: dict[str, Dataset]) -> None:
    """A path without a column gives every row the same clip."""
    dataset = datasets["videofeedback"]
    assert {row["video"]["path"] for row in dataset.rows("one_clip")} == {"video1.mp4"}
    assert {row["video"]["bytes"] for row in dataset.rows("one_clip")} == {dataset.media("video1.mp4")["bytes"]}


def test_videofeedback_scores_are_read_from_texts(datasets: dict[str, Dataset]) -> None:
    """The authors' own file, scores as texts in a list and a blank line in it, gives the rows of the derived one."""
    dataset = datasets["videofeedback"]
    derived = [{**row, "video": None} for row in dataset.json("videofeedback_columns.derived.jsonl")]
    assert dataset.rows("scores_as_texts", "train", "test") == derived


EXPORTED = (
    *(("datajuicer", "videos"), ("fetv", "clips"), ("latex_ocr", "published"), ("llamafactory", "images")),
    *(("qwenvl", "default"), ("videofeedback", "one_clip")),
)
"""A config of each dataset, to be exported each time; the others are exported with the slow tests."""


@pytest.mark.parametrize(
    ("name", "config"),
    [
        pytest.param(name, config, marks=() if (name, config) in EXPORTED else pytest.mark.slow)
        for name, configs in COUNTS.items()
        for config in configs
        if (name, config) != ("fetv", "prompts")
    ],
)
def test_every_export_carries_or_names_every_row(
    datasets: dict[str, Dataset], name: str, config: str, tmp_path: Path
) -> None:
    """Each format is proved by its rule, and has or names each row; a medium is one file, however many formats.

    What was written is read back as the rows of the dataset, but for the losses.
    """
    dataset = datasets[name]
    schema = load_recipe(dataset.folder / "recipe.yaml").configs[config].schema
    out = tmp_path / "out"
    done = export(
        dataset.report.out,
        [format_named(name) for name in FORMATS],
        out=out,
        config=config,
        conversation=schema,
        display=Quiet(),
    )
    assert {one.format.name for one in done} == set(FORMATS)
    videos = any(isinstance(part, MediaPart) and "video" in part.column for part in _shown(dataset, config))
    several = {"llamafactory": "export.several_images"}.get(name)
    for one in done:
        told = [loss.code for loss in one.losses.found if loss.whole_rows]
        assert one.rows + one.losses.rejected == sum(COUNTS[name][config].values()), (one.format.name, told)
        if one.format.name in ("qwen-vl", "internvl", "xtuner"):
            assert not told
        if one.format.name == "llava":
            assert set(told) <= ({"export.video"} if videos else {several})
    shared = [path for path in (out / "media").rglob("*") if path.is_file()]
    assert {hashlib.sha256(path.read_bytes()).hexdigest() for path in shared} == {path.stem for path in shared}
    inodes = {path.stat().st_ino for path in shared}
    for one in done:
        linked = [path for path in (one.folder / "media").rglob("*") if path.is_file()]
        assert {path.stat().st_ino for path in linked} <= inodes
    rows = [row for split in rows_in(dataset.report.out, config, schema).values() for row in split]
    for one in done:
        assert_comes_back(one, rows)


def _shown(dataset: Dataset, config: str) -> list[Any]:
    """Return the parts of the first row's conversation."""
    first = dataset.rows(config)[0]
    return [part for message in conversation(dataset, config, first) for part in message.parts]
