"""The recipes of the published datasets, each as it stands in the repository, against doubles of where the data lie.

For each: a clean build holds what was published; a build over a bad network is the same to the byte; and once built,
it is built again without the network, with `--offline` and without.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.network import faults, miniatures
from tests.network.bad_server import BadServer
from tests.network.command import ROOT, shardwright
from tests.network.faults import OK
from tests.network.hf_double import HuggingFaceDouble
from tests.network.hub_server import Fault
from tests.network.miniatures import STAGE
from tests.network.ms_double import ModelScopeDouble
from tests.project import tree

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

RECIPES = ROOT / "recipes"
NOWHERE = "http://127.0.0.1:9"
NOTHING_LEAVES = {"HTTP_PROXY": NOWHERE, "HTTPS_PROXY": NOWHERE, "NO_PROXY": "127.0.0.1,localhost"}
"""A proxy for all other machines, where nobody listens."""
OSS = "http://dail-wlcb.oss-cn-wulanchabu.aliyuncs.com"


@dataclass
class Home:
    """A folder in which a recipe is built, and what the command says."""

    folder: Path
    recipe: Path
    environment: dict[str, str] = field(default_factory=dict)
    said: str = ""

    def build(self, *options: str, stage: str = "card") -> Home:
        """Run the command; it must end well."""
        done = shardwright(stage, self.recipe, self.folder, *options, **NOTHING_LEAVES, **self.environment)
        assert done.returncode == 0, done.stdout + done.stderr
        self.said = done.stdout
        return self

    def start_anew(self) -> None:
        """Forget all but the cache."""
        for name in ("work", "out"):
            shutil.rmtree(self.folder / name)

    @property
    def out(self) -> Path:
        """The dataset."""
        return self.folder / "out" / self.recipe.stem

    @property
    def card(self) -> str:
        """The card."""
        return (self.out / "README.md").read_text(encoding="utf-8")

    def rows(self, config: str, split: str) -> list[dict[str, Any]]:
        """Return the rows of a split."""
        paths = sorted((self.out / config).glob(f"{split}-*.parquet"))
        rows: list[dict[str, Any]] = pa.concat_tables([pq.read_table(path) for path in paths]).to_pylist()
        return rows

    def rejects(self) -> list[dict[str, Any]]:
        """Return the rows left out."""
        rejected: list[dict[str, Any]] = pq.read_table(
            self.folder / "work" / self.recipe.stem / "rejected.parquet"
        ).to_pylist()
        return rejected

    def reasons(self) -> Counter[tuple[str, str]]:
        """Return how many rows of a config were left out for a reason."""
        return Counter((row["config"], row["reason"]) for row in self.rejects())

    def source(self, name: str) -> dict[str, Any]:
        """Return what the manifest says of a source."""
        path = self.folder / "work" / self.recipe.stem / "manifest.json"
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["stages"]["download"]["sources"][name]
        return told


def assert_needs_no_network(home: Home) -> None:
    """Nobody listens any more: the dataset is built again from the cache alone, the same to the byte."""
    before = tree(home.out)
    home.start_anew()
    home.build("--offline")
    assert tree(home.out) == before
    home.start_anew()
    home.build()
    assert tree(home.out) == before


def hub_faults(*more: Fault) -> list[Fault]:
    """Return what goes wrong with a hub before it goes well."""
    return [
        Fault("/api/datasets/.*/revision/", status=503, times=2),
        Fault("/tree/", reset=True),
        Fault("/resolve/", method="HEAD", status=429, headers={"Retry-After": "1"}, after=1),
        Fault("/_cdn/", cut=700, times=2),
        *more,
    ]


def assert_all_met(some: Iterable[Fault]) -> None:
    """Every fault has happened, so that the build has lived through it."""
    assert [fault for fault in some if fault.times] == []


# -- VideoFeedback


def serve_video_feedback(hub: HuggingFaceDouble) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Put both repositories on a hub; returns config and split -> rows."""
    files, clips, tables = miniatures.video_feedback()
    hub.repo("TIGER-Lab/VideoFeedback", files)
    hub.repo("hexuan21/VideoFeedback-videos-mp4", clips)
    return tables


def test_video_feedback(tmp_path: Path) -> None:
    """Rows from one repository, clips from another by links to huggingface.co, which HF_ENDPOINT answers for."""
    recipe = RECIPES / "video_feedback.yaml"
    with HuggingFaceDouble() as hub:
        tables = serve_video_feedback(hub)
        clips = miniatures.video_feedback()[1]
        clean = Home(tmp_path / "clean", recipe, {"HF_ENDPOINT": hub.endpoint}).build(stage="build")
        asked = {request.path.partition("/resolve/")[2].partition("/")[2] for request in hub.asked("/resolve/", "HEAD")}
        links = {row["video link"].removeprefix(miniatures.CLIPS) for rows in tables.values() for row in rows}
        assert {path for path in asked if not path.endswith(".parquet")} == links & clips.keys()
    gone, page = tables["annotated", "train"][:2]
    for (config, split), rows in tables.items():
        expected = [row for row in rows if row not in (gone, page)]
        published = clean.rows(config, split)
        assert [{key: value for key, value in row.items() if key != "video"} for row in published] == expected
        for row in published:
            name = row["video link"].removeprefix(miniatures.CLIPS)
            assert row["video"] == {"bytes": clips[name], "path": name.rpartition("/")[2]}
    rejects = [(row["config"], row["file"], row["line"], row["reason"], row["media"]) for row in clean.rejects()]
    file = "annotated/train-00000-of-00002.parquet"
    assert rejects == [
        ("annotated", file, 1, "fetch.status", gone["video link"]),
        ("annotated", file, 2, "media.kind", page["video link"]),
    ]
    assert gone["video link"] in clean.rejects()[0]["message"]

    with HuggingFaceDouble() as hub:
        serve_video_feedback(hub)
        hub.faults = hub_faults(Fault("/api/datasets/hexuan21/.*/tree/", status=503), Fault("/_cdn/", reset=True))
        bad = Home(tmp_path / "bad", recipe, {"HF_ENDPOINT": hub.endpoint}).build()
        assert_all_met(hub.faults)
    assert tree(bad.out) == tree(clean.out)
    assert_needs_no_network(bad)


# -- LaTeX_OCR


def assert_holds_latex_ocr(home: Home, tables: dict[tuple[str, str], list[dict[str, Any]]]) -> None:
    """The six configs hold the published pairs, value by value, but for the picture that does not decode."""
    published = {**tables, ("default", "train"): tables["full", "train"]}
    for (config, split), rows in published.items():
        expected = [(row["image"]["bytes"], row["text"]) for row in rows if row["text"] != "broken"]
        found = home.rows(config, split)
        assert [(row["image"]["bytes"], row["text"]) for row in found] == expected
        names = [row["image"]["path"] for row in rows if row["text"] != "broken"]
        assert [row["image"]["path"] for row, name in zip(found, names, strict=True) if name] == [*filter(None, names)]
    assert {path.name for path in home.out.iterdir()} == {"README.md", *(config for config, _ in published)}
    where = [(row["config"], row["file"], row["line"], row["reason"]) for row in home.rejects()]
    broken = ("full/train-00000-of-00001.parquet", 3, "media.decode")
    assert sorted(where) == [("default", *broken), ("full", *broken)]


@pytest.mark.slow
def test_latex_ocr(tmp_path: Path) -> None:
    """A prepared dataset, pictures inside of Parquet, keeps its configs and splits; the card says what they share."""
    recipe = RECIPES / "latex_ocr.yaml"
    files, tables = miniatures.latex_ocr()
    with HuggingFaceDouble() as hub:
        hub.repo("linxy/LaTeX_OCR", files)
        clean = Home(tmp_path / "clean", recipe, {"HF_ENDPOINT": hub.endpoint}).build(stage="build")
    assert_holds_latex_ocr(clean, tables)
    assert "3 groups of `small` stand in more than one split" in clean.card
    assert clean.card.count("stand in more than one split") == 1

    with HuggingFaceDouble() as hub:
        hub.repo("linxy/LaTeX_OCR", files)
        hub.faults = hub_faults(Fault("/_cdn/", wrong=True, after=5), Fault("/_cdn/", reset=True, after=7))
        bad = Home(tmp_path / "bad", recipe, {"HF_ENDPOINT": hub.endpoint}).build()
        assert_all_met(hub.faults)
    assert tree(bad.out) == tree(clean.out)
    assert_needs_no_network(bad)
    assert "cannot be reached" in bad.said
    assert "taken as it was at the last download" in bad.said


def test_latex_ocr_from_modelscope(tmp_path: Path) -> None:
    """While Hugging Face is under repair ModelScope has the same dataset, to the byte, and then needs no network."""
    recipe = RECIPES / "latex_ocr.yaml"
    files, tables = miniatures.latex_ocr()
    with HuggingFaceDouble() as hub, ModelScopeDouble() as other:
        hub.repo("linxy/LaTeX_OCR", files)
        clean = Home(tmp_path / "clean", recipe, {"HF_ENDPOINT": hub.endpoint}).build()
        hub.faults = [Fault(".", status=503, headers={"Retry-After": "7200"}, times=1_000)]
        other.repo("AI-ModelScope/LaTeX_OCR", files)
        other.faults = [
            Fault("/repo/tree", status=503, times=2),
            Fault(r"FilePath=small.*\.parquet", cut=100),
            Fault(r"FilePath=full.*\.parquet", reset=True),
        ]
        endpoints = {"HF_ENDPOINT": hub.endpoint, "MODELSCOPE_ENDPOINT": other.endpoint}
        home = Home(tmp_path / "other", recipe, endpoints).build()
        assert_all_met(other.faults)
        assert "huggingface: linxy/LaTeX_OCR cannot be had" in home.said
        assert home.source("parquet")["repository"] == "AI-ModelScope/LaTeX_OCR"
        assert_holds_latex_ocr(home, tables)
        assert tree(home.out) == tree(clean.out)
        home.start_anew()
        requests = len(hub.log) + len(other.log)
        home.build("--offline")
        assert len(hub.log) + len(other.log) == requests
    assert tree(home.out) == tree(clean.out)


# -- CLoT-Oogiri-GO


@pytest.mark.slow
def test_clot_oogiri(tmp_path: Path) -> None:
    """Answers and an archive of pictures from one repository; empty answers are gone, stars are numbers."""
    recipe = RECIPES / "clot_oogiri.yaml"
    files, rows, images = miniatures.clot_oogiri()
    with HuggingFaceDouble() as hub:
        hub.repo("zhongshsh/CLoT-Oogiri-GO", files)
        clean = Home(tmp_path / "clean", recipe, {"HF_ENDPOINT": hub.endpoint}).build(stage="build")
        asked = {request.path.rpartition("/")[2] for request in hub.asked("/resolve/", "HEAD")}
        assert asked == {"cn.jsonl", "en.jsonl", "jp.jsonl", "images.zip"}
    told = clean.source("images")
    assert (told["kind"], told["archive"], told["bytes"]) == ("huggingface", "images.zip", len(files["images.zip"]))
    defaults = {
        "cn": "请你根据这张图片,讲一个脑洞大开的梗。",
        "en": "Say something funny about this picture.",
        "jp": "この画像でひとこと。",
    }
    for language, default in defaults.items():
        splits = {split: clean.rows(language, split) for split in ("train", "test")}
        published = [row for some in splits.values() for row in some]
        expected = [
            (
                images[row["image"]],
                f"{row['image']}.jpg",
                row["type"],
                row["question"] or default,
                row["text"],
                int(row["star"].replace(",", "")) if row["star"] else None,
            )
            for row in rows[language]
            if row["type"] != "T2T" and row["text"] and row["image"] in images
        ]
        found = [
            (row["image"]["bytes"], row["image"]["path"], row["type"], row["question"], row["text"], row["stars"])
            for row in published
        ]
        assert sorted(found, key=repr) == sorted(expected, key=repr)
        of_test = {row["image"]["path"] for row in splits["test"]}
        assert len(of_test) == 1
        assert not of_test & {row["image"]["path"] for row in splits["train"]}
    assert 1_234_567 in [row["stars"] for row in clean.rows("cn", "train") + clean.rows("cn", "test")]
    assert clean.reasons() == {
        ("cn", "media.missing"): 1,
        ("cn", "curate.drop_if"): 4,
        ("en", "curate.drop_if"): 2,
        ("jp", "curate.drop_if"): 2,
    }
    lost = next(row for row in clean.rejects() if row["reason"] == "media.missing")
    line = next(number for number, row in enumerate(rows["cn"], 1) if row["image"] == "oogiri099lost")
    assert (lost["file"], lost["line"], lost["media"]) == ("cn.jsonl", line, "images/oogiri099lost.jpg")

    with HuggingFaceDouble() as hub:
        hub.repo("zhongshsh/CLoT-Oogiri-GO", files)
        hub.faults = hub_faults(Fault(r"/resolve/.*cn\.jsonl", cut=50), Fault(r"/resolve/.*jp\.jsonl", reset=True))
        bad = Home(tmp_path / "bad", recipe, {"HF_ENDPOINT": hub.endpoint}).build()
        assert_all_met(hub.faults)
    assert tree(bad.out) == tree(clean.out)
    assert_needs_no_network(bad)


# -- Better Synth


def better_synth_at(folder: Path, server: BadServer) -> Home:
    """Copy the recipe, with nothing changed but the host of its URLs."""
    for name in ("schemas", "dataset_cards"):
        shutil.copytree(ROOT / name, folder / name)
    text = (RECIPES / "better_synth.yaml").read_text(encoding="utf-8")
    assert text.count(OSS) == 3
    recipe = folder / "recipes" / "better_synth.yaml"
    recipe.parent.mkdir()
    recipe.write_text(text.replace(OSS, server.url("").rstrip("/")), encoding="utf-8")
    return Home(folder, recipe)


@pytest.mark.slow
def test_better_synth(tmp_path: Path) -> None:
    """Two files of annotations and one archive by plain URLs become two configs, filtered and drawn alike."""
    files, rows, llava, images = miniatures.better_synth()
    thumbnail = "000271006"
    with BadServer(files) as server:
        clean = better_synth_at(tmp_path / "clean", server).build(stage="build")
        assert [server.tries(path) for path in files] == [1, 1, 1]
    published = clean.rows("default", "train")
    expected = [row for row in rows if row["id"] != thumbnail and row["images"][0] in images]
    assert [(row["id"], row["text"]) for row in published] == [(row["id"], row["text"]) for row in expected]
    for row, raw in zip(published, expected, strict=True):
        assert row["images"] == [{"bytes": images[raw["images"][0]], "path": f"{row['id']}.jpg"}]
    turned = clean.rows("llava", "train")
    expected = [row for row in llava if row["id"] != thumbnail]
    plain = [{key: row[key] for key in ("id", "conversations")} for row in expected]
    assert [{key: row[key] for key in ("id", "conversations")} for row in turned] == plain
    for row, raw in zip(turned, expected, strict=True):
        name = f"images/{raw['image'].removeprefix('images/')}"
        assert row["image"] == {"bytes": images[name], "path": f"{row['id']}.jpg"}
    assert clean.reasons() == {
        ("default", "media.missing"): 1,
        ("default", "curate.image.min_side"): 1,
        ("llava", "curate.image.min_side"): 1,
    }
    lost = next(row for row in clean.rejects() if row["reason"] == "media.missing")
    assert (lost["file"], lost["line"]) == ("mgm_pretrain_stage_1.jsonl", len(rows))
    assert lost["media"] == f"pretrain_stage_1/{rows[-1]['images'][0]}"

    met = {
        f"{STAGE}mgm_pretrain_stage_1.jsonl": [faults.status(503), faults.status(503), OK],
        f"{STAGE}stage_1.json": [faults.reset_before(), faults.truncated(500), OK],
        f"{STAGE}pretrain_stage_1.tar.gz": [
            faults.truncated(9_000),
            faults.status(429, 1),
            faults.reset_after(9_000),
            OK,
        ],
    }
    with BadServer(files, met) as server:
        bad = better_synth_at(tmp_path / "bad", server).build()
        assert {path: server.tries(path) for path in met} == {path: len(some) for path, some in met.items()}
    assert tree(bad.out) == tree(clean.out)
    assert_needs_no_network(bad)
