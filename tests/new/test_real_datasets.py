"""Real little datasets of other projects: what `new` writes for each builds as it is, and no row is lost on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.network.command import shardwright
from tests.network.hf_double import HuggingFaceDouble
from tests.new.asking import ask
from tests.test_real_datasets import CLIPS, prepared

if TYPE_CHECKING:
    from pathlib import Path

READ = {
    "datajuicer": ({"demo-dataset-images": {"train": 3}, "demo-dataset-videos": {"train": 6}}, "data-juicer JSONL"),
    "fetv": ({"clips": {"train": 5}, "fetv_data": {"train": 619}}, "FETV prompts"),
    "latex_ocr": ({"default": {"train": 120, "test": 30}}, "by the column 'split': train 120, test 30"),
    "llamafactory": (
        {
            "mllm_demo": {"train": 6},
            "mllm_video_audio_demo": {"train": 3},
            "mllm_video_demo": {"train": 3},
            "v1_multimodal_demo": {"train": 24},
        },
        "LLaMA-Factory sharegpt, 24 records",
    ),
    "qwenvl": ({"default": {"train": 3}}, "Qwen-VL"),
}
"""Dataset -> rows of each config and split, counted in the annotation files; and something that is said."""


SLOW = ("latex_ocr", "llamafactory")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in sorted(READ)]
)
def test_the_untouched_result_builds(tmp_path: Path, name: str) -> None:
    """Rows in are rows out, for every dataset whose media are there."""
    rows, said = READ[name]
    source = prepared(name, tmp_path / name) / "source"
    asked = ask(source, tmp_path / "mine")
    assert said in asked.said
    report = asked.build()
    assert report.reasons == {}
    found = {config: {split: len(asked.rows(config, split)) for split in splits} for config, splits in rows.items()}
    assert found == rows
    assert set(asked.recipe["configs"]) == set(rows)


@pytest.mark.slow
def test_videofeedback_fetches_its_clips(tmp_path: Path) -> None:
    """The links of VideoFeedback's rows are fetched by the build, and the other file's reason to stay out is told."""
    source = prepared("videofeedback", tmp_path / "videofeedback") / "source"
    asked = ask(source, tmp_path)
    assert "14 URLs, fetched by the build" in asked.said
    assert "left out example.jsonl: is like nothing that is known; its records have 'id', 'res', 'text'" in asked.said
    assert asked.schema["columns"]["video link"] == "string"
    assert asked.schema["columns"]["visual quality"] == "int64"
    clip = CLIPS[0].read_bytes()
    lines = (source / "videofeedback_columns.derived.jsonl").read_text(encoding="utf-8").splitlines()
    names = [line.partition("/resolve/main/")[2].partition('"')[0] for line in lines]
    with HuggingFaceDouble() as hub:
        hub.repo("hexuan21/VideoFeedback-videos-mp4", dict.fromkeys(names[1:], clip))
        recipe = tmp_path / "recipes" / "asked.yaml"
        recipe.write_text(recipe.read_text(encoding="utf-8") + "rejects: {max_share: 0.1}\n", encoding="utf-8")
        done = shardwright("card", recipe, tmp_path, HF_ENDPOINT=hub.endpoint)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = asked.rows()
    assert len(rows) == 13  # the clip of one row is not there
    assert all(row["video"]["bytes"] == clip for row in rows)
    assert {row["text-to-video alignment"] for row in rows} <= {1, 2, 3, 4}


def test_clips_beside_the_rows_go_before_their_urls(tmp_path: Path) -> None:
    """With --media the files called as the URLs are taken, and that is told."""
    source = prepared("videofeedback", tmp_path / "videofeedback") / "source"
    clips = tmp_path / "clips"
    clips.mkdir()
    for number, line in enumerate((source / "videofeedback_columns.derived.jsonl").read_text().splitlines()):
        name = line.partition("/resolve/main/")[2].partition('"')[0].rpartition("/")[2]
        (clips / name).write_bytes(CLIPS[number % len(CLIPS)].read_bytes())
    asked = ask(source, tmp_path, media=clips)
    assert "to fetch the URLs, take `path` away" in " ".join(asked.said.split())
    assert asked.recipe["configs"]["default"]["media"] == {
        "video": {"from": "video link", "path": "{{ item | basename }}", "source": "media"}
    }
    assert asked.build(upto="cache").reasons == {}
