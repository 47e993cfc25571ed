"""Every kind of data that `new` takes, from small files: what is understood, and that it builds as it is."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UsageError
from tests.new.asking import ask
from tests.project import png

SAMPLES = Path(__file__).parents[2] / "samples"


def pictures(folder: Path, count: int) -> None:
    """Write different pictures, 0.png and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{number}.png").write_bytes(png(number))


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write JSON Lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def spoken(number: int) -> list[dict[str, str]]:
    """Return turns of human and gpt."""
    return [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": f"Picture {number}."}]


def said(number: int) -> list[dict[str, Any]]:
    """Return messages."""
    return [{"role": "user", "content": "<image>What?"}, {"role": "assistant", "content": f"Picture {number}."}]


def typed(number: int) -> list[dict[str, Any]]:
    """Return messages of typed parts."""
    asked = [{"type": "image"}, {"type": "text", "text": "What?"}]
    return [
        {"role": "user", "content": asked},
        {"role": "assistant", "content": [{"type": "text", "text": f"Picture {number}."}]},
    ]


def linked(number: int) -> list[dict[str, Any]]:
    """Return XTuner's messages, which hold their media."""
    url = {"url": f"images/{number}.png", "image_wh": [8, 6]}
    asked = [{"type": "image_url", "image_url": url}, {"type": "text", "text": "<IMG_CONTEXT>\nWhat?"}]
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": f"Picture {number}."}]


CHATS: dict[str, Any] = {
    "llava": lambda n: {"id": f"{n:03}", "image": f"images/{n}.png", "conversations": spoken(n)},
    "qwen-vl": lambda n: {"image": f"images/{n}.png", "conversations": spoken(n)},
    "internvl": lambda n: {"id": n, "image": f"images/{n}.png", "width": 8, "height": 6, "conversations": spoken(n)},
    "llama-factory": lambda n: {"conversations": spoken(n), "images": [f"images/{n}.png"]},
    "ms-swift": lambda n: {
        "messages": said(n),
        "images": [f"images/{n}.png"],
        "objects": {"ref": [], "bbox": []},
        "label": True,
    },
    "alpaca": lambda n: {
        "instruction": "<image>What?",
        "input": "",
        "output": f"Picture {n}.",
        "images": [f"images/{n}.png"],
    },
    "xtuner": lambda n: {"id": n, "messages": linked(n)},
    "trl": lambda n: {"messages": typed(n), "images": [f"images/{n}.png"]},
    "data-juicer": lambda n: {"text": f"<__dj__image> Picture {n}. <|__dj__eoc|>", "images": [f"images/{n}.png"]},
}
"""Dialect -> the record of a number."""


@pytest.mark.parametrize("dialect", sorted(CHATS))
def test_a_dialect_is_recognised(tmp_path: Path, dialect: str) -> None:
    """Each dialect is told from the others, its media are found, and the recipe reads it through the dialect."""
    pictures(tmp_path / "images", 3)
    path = lines(tmp_path / "chats.jsonl", [CHATS[dialect](n) for n in range(3)])
    asked = ask(path, tmp_path)
    assert asked.recipe["configs"]["default"]["rows"] == {"files": "chats.jsonl", "dialect": dialect}
    assert "3 of 3 files found" in asked.said
    assert "[image images/0.png] What?" in asked.said or dialect == "data-juicer"
    assert "assistant  Picture 0." in asked.said
    assert asked.schema["columns"]["images"] == {"list": "image"}
    assert asked.schema["conversation"]["tokens"] == {"<image>": "images"}


def test_chats_build_as_they_are(tmp_path: Path) -> None:
    """What a dialect's record has beside its chat stays: each column with the type that holds all of it."""
    pictures(tmp_path / "images", 4)
    rows = [CHATS["llava"](n) for n in range(4)]
    rows[1] |= {"score": 0.5, "tags": ["a"], "mixed": 1}
    rows[2] |= {"score": 1, "tags": [], "mixed": "x", "deep": {"a": [1, {"b": None}]}}
    asked = ask(lines(tmp_path / "chats.jsonl", rows), tmp_path)
    assert asked.schema["columns"] == {
        "messages": {"list": {"struct": {"role": "string", "content": "string"}}},
        "images": {"list": "image"},
        "id": "string",
        "score": {"type": "float64", "nullable": True},
        "tags": {"type": {"list": "string"}, "nullable": True},
        "mixed": {"type": "json", "nullable": True},
        "deep": {"type": "json", "nullable": True},
    }
    assert "'mixed' holds integer and text, so it is JSON" in asked.said
    report = asked.build()
    assert report.reasons == {}
    built = asked.rows()
    assert [row["id"] for row in built] == ["000", "001", "002", "003"]
    assert built[2]["images"] == [{"bytes": png(2), "path": "2.png"}]
    assert built[2]["messages"] == [
        {"role": "user", "content": "<image>\nWhat?"},
        {"role": "assistant", "content": "Picture 2."},
    ]
    assert [row["score"] for row in built] == [None, 0.5, 1.0, None]
    assert json.loads(built[2]["deep"]) == {"a": [1, {"b": None}]}


def test_pairs_in_a_table(tmp_path: Path) -> None:
    """A CSV with a path column: its numbers get types, what only looks like one stays a text, `nan` is none."""
    pictures(tmp_path / "pics", 3)
    table = "file,caption,stars,price,zip,seen\n" + "".join(
        f"{n}.png,a picture {n},{n},{n}.50,0{n}123,true\n" for n in range(3)
    )
    (tmp_path / "pairs.csv").write_text(table, encoding="utf-8")
    asked = ask(tmp_path / "pairs.csv", tmp_path)
    assert asked.schema["columns"] == {
        "image": "image",
        "caption": "string",
        "stars": "int64",
        "price": "float64",
        "zip": "string",
        "seen": "bool",
    }
    assert asked.recipe["configs"]["default"]["media"] == {"image": {"from": "file", "path": "pics/{{ item }}"}}
    assert asked.schema["conversation"] == [
        {"user": [{"image": "image"}, "Describe this image."]},
        {"assistant": "{{ caption }}"},
    ]
    assert asked.build().reasons == {}
    row = asked.rows()[2]
    assert (row["stars"], row["price"], row["zip"], row["seen"]) == (2, 2.5, "02123", True)


def test_a_table_without_an_answer(tmp_path: Path) -> None:
    """Which column answers is not guessed; the table is built without a conversation, and that is told."""
    pictures(tmp_path, 2)
    asked = ask(lines(tmp_path / "x.jsonl", [{"image": f"{n}.png", "grade": n} for n in range(2)]), tmp_path)
    assert "conversation" not in asked.schema
    assert "there is no conversation to train on" in " ".join(asked.said.split())


def test_questions_that_some_rows_have(tmp_path: Path) -> None:
    """CLoT-Oogiri's layout: names without an ending, in an archive beside the rows, rows without a question."""
    asked = ask(SAMPLES / "clot_oogiri", tmp_path)
    config = asked.recipe["configs"]["cn"]
    assert config["media"] == {"image": {"path": "images/{{ item }}.jpg", "source": "media"}}
    assert asked.schema["conversation"][0]["user"][1] == "{{ question or 'Describe this image.' }}"
    assert asked.recipe["rejects"] == {"max_share": 0.08}
    report = asked.build()
    assert report.reasons == {"media.missing": 1}
    assert sum(len(asked.rows(name)) for name in ("cn", "en", "jp")) == 43


def test_configs_and_splits_by_name(tmp_path: Path) -> None:
    """VideoFeedback's layout: splits by folder, configs by file, clips in a folder beside each."""
    asked = ask(SAMPLES / "video_feedback", tmp_path)
    assert set(asked.recipe["configs"]) == {"data_annotated", "data_real"}
    config = asked.recipe["configs"]["data_real"]
    assert config["splits"] == {"train": {"files": "train/data_real.json"}, "test": {"files": "test/data_real.json"}}
    assert config["media"]["video"]["relative_to"] == "file"
    assert asked.schema["columns"]["images"] == {"list": "string"}


@pytest.mark.slow
def test_folders_with_metadata(tmp_path: Path) -> None:
    """ImageFolder: metadata.csv in each split's folder names its files."""
    for split in ("train", "test"):
        pictures(tmp_path / "set" / split, 2)
        (tmp_path / "set" / split / "0.png").write_bytes(png(len(split)))
        (tmp_path / "set" / split / "1.png").write_bytes(png(50 + len(split)))
        (tmp_path / "set" / split / "metadata.csv").write_text("file_name,text\n0.png,a\n1.png,b\n")
    asked = ask(tmp_path / "set", tmp_path)
    assert asked.recipe["configs"]["default"]["media"] == {"image": {"from": "file_name", "relative_to": "file"}}
    assert asked.build().reasons == {}
    assert (len(asked.rows()), len(asked.rows(split="test"))) == (2, 2)


@pytest.mark.slow
def test_folders_of_classes(tmp_path: Path) -> None:
    """ImageFolder without metadata: the folders are the classes."""
    for number, name in enumerate(("train/cat", "train/dog", "val/cat", "val/dog")):
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "a.png").write_bytes(png(number))
    asked = ask(tmp_path / "set", tmp_path)
    assert asked.schema["columns"] == {"image": "image", "label": {"class_label": ["cat", "dog"]}}
    assert asked.build().reasons == {}
    assert [row["label"] for row in asked.rows()] == [0, 1]
    assert len(asked.rows(split="validation")) == 2


def test_media_without_anything(tmp_path: Path) -> None:
    """Pictures alone, in one folder, are no dataset yet."""
    pictures(tmp_path / "set", 3)
    with pytest.raises(UsageError, match="no annotation file"):
        ask(tmp_path / "set", tmp_path)


@pytest.mark.slow
def test_tars_of_samples(tmp_path: Path) -> None:
    """WebDataset: numbered tars are one config; texts and JSON of a sample are its columns."""
    (tmp_path / "set").mkdir()
    for shard in range(2):
        with tarfile.open(tmp_path / "set" / f"pairs-{shard:06}.tar", "w") as tar:
            for number in range(2):
                key = f"{shard}{number:05}"
                parts = {"png": png(shard * 2 + number), "txt": b"a picture", "json": b'{"width": 8}'}
                for ending, data in parts.items():
                    member = tarfile.TarInfo(f"{key}.{ending}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    asked = ask(tmp_path / "set", tmp_path)
    assert asked.recipe["configs"]["default"]["rows"] == {"files": "pairs-*.tar", "format": "webdataset"}
    assert asked.build().reasons == {}
    assert [(row["key"], row["txt"], row["width"]) for row in asked.rows()][::3] == [
        ("000000", "a picture", 8),
        ("100001", "a picture", 8),
    ]


@pytest.mark.slow
def test_an_archive_of_it_all(tmp_path: Path) -> None:
    """Annotations and media in one zip: it is the source, and nothing is unpacked by hand."""
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as file:
        file.writestr("data/chats.json", json.dumps([CHATS["llava"](n) for n in range(2)]))
        for n in range(2):
            file.writestr(f"data/images/{n}.png", png(n))
    asked = ask(tmp_path / "all.zip", tmp_path)
    assert asked.recipe["sources"] == {"data": {"path": "../all.zip"}}
    assert asked.recipe["configs"]["default"]["media"] == {"images": {"relative_to": "file"}}
    assert asked.build().reasons == {}
    assert len(asked.rows()) == 2


@pytest.mark.slow
def test_ready_parquet(tmp_path: Path) -> None:
    """Parquet of `datasets`: pictures inside, class labels by their names, dates as text."""
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["no", "yes"]}}
    table = pa.table(
        {
            "image": [{"bytes": png(n), "path": f"{n}.png"} for n in range(3)],
            "label": [0, 1, 1],
            "day": [date(2024, 1, n + 1) for n in range(3)],
            "caption": ["a", "b", "c"],
        }
    ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, tmp_path / "train-00000-of-00001.parquet")
    asked = ask(tmp_path / "train-00000-of-00001.parquet", tmp_path)
    assert asked.schema["columns"] == {
        "image": "image",
        "label": {"class_label": ["no", "yes"]},
        "day": "string",
        "caption": "string",
    }
    assert asked.build().reasons == {}
    assert [(row["label"], row["day"]) for row in asked.rows()] == [
        (0, "2024-01-01"),
        (1, "2024-01-02"),
        (1, "2024-01-03"),
    ]


def test_lists_of_datasets(tmp_path: Path) -> None:
    """InternVL's meta file and LLaMA-Factory's dataset_info.json: a config for each entry, the rest is told."""
    pictures(tmp_path / "internvl" / "data" / "pics", 2)
    rows = [CHATS["internvl"](n) | {"image": f"{n}.png"} for n in range(2)]
    lines(tmp_path / "internvl" / "data" / "my.jsonl", rows)
    meta = {"my_ds": {"root": "data/pics/", "annotation": "data/my.jsonl", "repeat_time": 2, "length": 2}}
    (tmp_path / "internvl" / "meta.json").write_text(json.dumps(meta))
    asked = ask(tmp_path / "internvl" / "meta.json", tmp_path, name="internvl")
    assert "`repeat_time: 2` is not taken over" in asked.said
    assert asked.recipe["sources"]["media"] == {"path": "../internvl/data/pics"}
    assert asked.build(upto="convert").reasons == {}

    pictures(tmp_path / "factory" / "images", 2)
    lines(tmp_path / "factory" / "a.json", [CHATS["alpaca"](n) for n in range(2)])
    lines(tmp_path / "factory" / "s.json", [CHATS["llama-factory"](n) for n in range(2)])
    info = {
        "one": {"file_name": "a.json", "columns": {"prompt": "instruction", "images": "images"}},
        "two": {"file_name": "s.json", "formatting": "sharegpt"},
        "three": {"hf_hub_url": "somebody/something"},
    }
    (tmp_path / "factory" / "dataset_info.json").write_text(json.dumps(info))
    asked = ask(tmp_path / "factory", tmp_path, name="factory")
    assert {name: one["rows"]["dialect"] for name, one in asked.recipe["configs"].items()} == {
        "one": "alpaca",
        "two": "llama-factory",
    }
    assert "left out three: its rows are in a repository or a script" in asked.said


def test_chats_inside_of_an_object(tmp_path: Path) -> None:
    """One list of chats inside of a document is found, and `records` says where."""
    pictures(tmp_path / "images", 2)
    path = tmp_path / "all.json"
    path.write_text(json.dumps({"version": 1, "data": {"items": [CHATS["llava"](n) for n in range(2)]}}))
    asked = ask(path, tmp_path)
    assert asked.recipe["configs"]["default"]["rows"]["records"] == "data.items"
    assert asked.build(upto="convert").reasons == {}


def test_paths_that_climb(tmp_path: Path) -> None:
    """Paths that climb out of the annotation's folder are followed, and the wider folder is named in the recipe."""
    pictures(tmp_path / "set" / "media", 2)
    rows = [CHATS["llava"](n) | {"image": f"../../media/{n}.png"} for n in range(2)]
    asked = ask(lines(tmp_path / "set" / "a" / "b" / "chats.jsonl", rows), tmp_path)
    assert asked.recipe["configs"]["default"]["media"] == {"images": {"relative_to": "file", "within": "../set"}}
    assert asked.build(upto="cache").reasons == {}
