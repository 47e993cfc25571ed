"""The card's bytes are those that `datasets` itself records, whatever the shape of the rows and of the shards."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.recorded_bytes import num_bytes, read_back, writer_rows
from tests.project import MEDIA, Project, png

if TYPE_CHECKING:
    from collections.abc import Iterator

_SCRIPT = """
import json, shutil, sys, tempfile
import datasets
datasets.disable_progress_bars()
for line in sys.stdin:
    cache = tempfile.mkdtemp()
    try:
        found = {}
        for config in json.loads(line)[1]:
            loaded = datasets.load_dataset(json.loads(line)[0], config, cache_dir=cache, verification_mode="all_checks")
            info = next(iter(loaded.values())).info
            found[config] = {
                "splits": {name: [info.splits[name].num_bytes, len(split)] for name, split in loaded.items()},
                "download_size": info.download_size,
                "dataset_size": info.dataset_size,
            }
            del loaded
    except Exception as error:
        found = {"error": repr(error)}
    shutil.rmtree(cache)
    print(json.dumps(found), flush=True)
"""


class Loader:
    """A process that has imported `datasets` once and loads one folder after the other, each into a fresh cache."""

    def __init__(self, home: str) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING_FACE"))}
        offline = {"HF_HOME": home, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TMPDIR": home}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=clean | offline,
        )

    def load(self, project: Project, *configs: str) -> dict[str, Any]:
        """Return config -> what `datasets` recorded."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([str(project.out), configs or ("default",)]) + "\n")
        self.process.stdin.flush()
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loader]:
    """Give the one process that loads."""
    loader = Loader(str(tmp_path_factory.mktemp("home")))
    yield loader
    loader.close()


def card(project: Project) -> dict[str, Any]:
    """Return config -> what the card says, in the loader's words."""
    front = (project.out / "README.md").read_text(encoding="utf-8").split("---\n")[1]
    return {
        info["config_name"]: {
            "splits": {split["name"]: [split["num_bytes"], split["num_examples"]] for split in info["splits"]},
            "download_size": info["download_size"],
            "dataset_size": info["dataset_size"],
        }
        for info in yaml.safe_load(front)["dataset_info"]
    }


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
leaves: list[tuple[Any, st.SearchStrategy[Any]]] = [
    ("string", texts),
    ("bool", st.booleans()),
    ("int8", st.integers(-128, 127)),
    ("int64", st.integers(-(2**63), 2**63 - 1)),
    ("int32", st.integers(-(2**31), 2**31 - 1)),
    ("uint64", st.integers(0, 2**64 - 1)),
    ("float64", st.floats(allow_nan=False, allow_infinity=False)),
    ("float32", st.floats(width=32, allow_nan=False, allow_infinity=False)),
    ({"class_label": ["a", "b", "c"]}, st.sampled_from("abc")),
    ("json", st.one_of(texts, st.integers(0, 9), st.lists(st.booleans(), max_size=3), st.none())),
]


def _nested(kind: tuple[Any, st.SearchStrategy[Any]]) -> st.SearchStrategy[tuple[Any, st.SearchStrategy[Any]]]:
    name, values = kind
    if name == "json":
        return st.just(kind)
    inner = st.one_of(st.none(), values)
    return st.sampled_from(
        [
            (name, values),
            ({"list": name}, st.lists(inner, max_size=3)),
            ({"list": {"list": name}}, st.lists(st.one_of(st.none(), st.lists(inner, max_size=2)), max_size=3)),
            ({"struct": {"x": name, "y": "bool"}}, st.fixed_dictionaries({"x": inner, "y": st.booleans()})),
            (
                {"list": {"struct": {"x": name, "y": {"list": "string"}}}},
                st.lists(st.fixed_dictionaries({"x": inner, "y": st.lists(texts, max_size=2)}), max_size=2),
            ),
        ]
    )


pictures = st.sampled_from([f"p{number}.png" for number in range(4)])
clips = st.sampled_from(["c0.mov", "c1.mp4"])
kinds = st.one_of(
    st.sampled_from(leaves).flatmap(_nested),
    st.sampled_from(
        [("image", pictures), ({"list": "image"}, st.lists(pictures, max_size=3)), ("video", clips)],
    ),
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]], dict[str, int]]:
    """Columns, rows split by split, and limits of shards and row groups."""
    columns, values = {}, {}
    for number, (name, strategy) in enumerate(draw(st.lists(kinds, min_size=1, max_size=3))):
        nullable = draw(st.booleans())
        # a list of media is given; a json null is the text "null", so a column of json is nullable or never null
        columns[f"c {number}"] = {"type": name, "nullable": nullable or name == "json"}
        values[f"c {number}"] = st.one_of(st.none(), strategy) if nullable else strategy
    row = st.fixed_dictionaries(values)
    rows = {name: draw(st.lists(row, min_size=1, max_size=9)) for name in draw(st.sampled_from(["a", "ab"]))}
    limits = draw(st.sampled_from([(1, 1), (60, 60), (150, 150), (250, 10**6), (60, 700), (400, 1200)]))
    return columns, rows, {"row_group_bytes": limits[0], "max_bytes": limits[1]}


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(case=cases())
def test_card_says_what_datasets_records(case: Any, loader: Loader, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Rows, bytes and sizes of the card are those that `load_dataset` finds, for any schema, rows and limits."""
    columns, splits, limits = case
    project = Project(tmp_path_factory.mktemp("case"))
    for number in range(4):
        (project.source / f"p{number}.png").write_bytes(png(number) + b"\0" * 40 * number)
    shutil.copy(MEDIA / "test_video_66x50.mov", project.source / "c0.mov")
    shutil.copy(MEDIA / "bitmap.mp4", project.source / "c1.mp4")
    for name, rows in splits.items():
        project.rows(f"{name}.jsonl", rows)
    recipe = {name: {"files": f"{name}.jsonl"} for name in splits}
    project.write(
        {"configs": {"default": {"splits": recipe, "split_by": {"group": "none"}}}, "shards": limits}, columns
    )
    project.build()
    assert not project.rejected()
    assert loader.load(project) == card(project)
    shutil.rmtree(project.root)


@pytest.mark.parametrize(
    ("columns", "rows"),
    [
        ({"image": "image", "text": "string"}, [{"image": f"p{n % 3}.png", "text": "é" * n} for n in range(230)]),
        (
            {"image": {"type": "image", "nullable": True}},
            [{"image": None if n % 7 == 0 else "p1.png"} for n in range(130)],
        ),
        ({"images": {"list": "image"}}, [{"images": ["p1.png"] * (n % 4)} for n in range(130)]),
        ({"video": "video", "text": "string"}, [{"video": "c0.mov", "text": str(n)} for n in range(25)]),
        ({"both": "image", "video": "video"}, [{"both": "p2.png", "video": "c0.mov"} for n in range(25)]),
        ({"text": "string", "flag": "bool"}, [{"text": f"row {n}", "flag": n % 2 == 0} for n in range(2_110)]),
    ],
)
@pytest.mark.parametrize("max_bytes", [10_000_000, 4_000])
def test_single_rows_are_joined_as_datasets_joins_them(
    project: Project, loader: Loader, columns: Any, rows: Any, max_bytes: int
) -> None:
    """Row groups of one row count as joined, across shards: 10 of them with videos, 100 with images, else 1,000."""
    if len(rows) > 1000 and max_bytes == 4_000:
        rows = rows[:1100]
    for number in range(3):
        (project.source / f"p{number}.png").write_bytes(png(number) + b"\0" * 7 * number)
    shutil.copy(MEDIA / "test_video_66x50.mov", project.source / "c0.mov")
    project.rows("rows.jsonl", rows)
    recipe = {"default": {"splits": {"train": {"files": "rows.jsonl"}}}}
    project.write({"configs": recipe, "shards": {"row_group_bytes": 1, "max_bytes": max_bytes}}, columns)
    project.build()
    groups = [pq.read_metadata(path).num_row_groups for path in (project.out / "default").glob("*.parquet")]
    assert sum(groups) == len(rows)
    assert loader.load(project) == card(project)


def test_configs_and_media_beside(project: Project, loader: Loader) -> None:
    """Each of several configs has its own numbers, and media beside the shards count as the paths they are."""
    for number in range(3):
        (project.source / f"p{number}.png").write_bytes(png(number))
    project.rows("a.jsonl", [{"image": f"p{n % 3}.png", "n": n} for n in range(7)])
    project.rows("b.jsonl", [{"image": f"p{n}.png", "n": n} for n in range(3)])
    configs = {
        "first": {"splits": {"train": {"files": "a.jsonl"}}},
        "second": {"rows": {"files": ["a.jsonl", "b.jsonl"]}, "splits": {"train": 0.5, "test": 0.5}},
    }
    columns = {"image": "image", "n": "int8"}
    for where in ("embed", "files", "archive"):
        configs["second"]["split_by"] = {"group": "none"}
        project.write({"configs": configs, "shards": {"media": where, "row_group_bytes": 150}}, columns)
        project.build()
        assert loader.load(project, "first", "second") == card(project)


@pytest.mark.parametrize(
    ("features", "rows"),
    [
        ({"a": {"dtype": "string", "_type": "Value"}}, 1_000),
        ({"a": {"feature": {"_type": "Image"}, "_type": "List"}, "b": {"dtype": "binary", "_type": "Value"}}, 100),
        ({"a": {"x": {"_type": "Video"}, "y": {"_type": "Image"}}}, 10),
        ({"_type": {"dtype": "string", "_type": "Value"}, "Video": {"dtype": "string", "_type": "Value"}}, 1_000),
    ],
)
def test_how_many_rows_are_joined(features: Any, rows: int) -> None:
    """The smallest number of the features counts, nested or not; names of columns are no types."""
    from datasets import Features
    from datasets.arrow_writer import get_arrow_writer_batch_size_from_features

    assert writer_rows(features) == rows
    assert (get_arrow_writer_batch_size_from_features(Features.from_dict(features)) or 1_000) == rows


def test_shards_of_others_are_counted_too(project: Project, loader: Loader) -> None:
    """A folder that was not built here, without features in its footers, is read as `datasets` reads it."""
    (project.out / "default").mkdir(parents=True)
    paths = []
    for number in range(3):
        table = pa.table({"data": [b"x" * n for n in range(60)], "list": [[None, n] for n in range(60)]})
        paths.append(project.out / "default" / f"train-{number}.parquet")
        pq.write_table(table, paths[-1], row_group_size=1)
    front = {"configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "default/*.parquet"}]}]}
    (project.out / "README.md").write_text(f"---\n{yaml.safe_dump(front)}---\n", encoding="utf-8")
    size = num_bytes(read_back(path)[0] for path in paths)
    assert loader.load(project)["default"]["splits"] == {"train": [size, 180]}
