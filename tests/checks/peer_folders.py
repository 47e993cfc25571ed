"""Dataset folders as people make them without a push: Parquet files, CSV, JSON, pictures, clips and tar archives."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tarfile
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from datasets import DatasetDict

from tests.checks import peer_columns as columns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FOLDERS: dict[str, Callable[[Path], None]] = {}


def folder(make: Callable[[Path], None]) -> Callable[[Path], None]:
    """Take up a kind of folder by its name."""
    FOLDERS[make.__name__] = make
    return make


def card(folder: Path, **metadata: Any) -> None:
    """Write a card with this front matter."""
    front = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)
    (folder / "README.md").write_text(f"---\n{front}---\n\n# A dataset\n", encoding="utf-8")


def config(name: str = "default", **patterns: str) -> dict[str, Any]:
    """Return an entry of `configs`."""
    return {"config_name": name, "data_files": [{"split": split, "path": path} for split, path in patterns.items()]}


@folder
def parquet_one_file(out: Path) -> None:
    columns.texts(30).to_parquet(out / "data.parquet")


@folder
def parquet_named_by_split(out: Path) -> None:
    columns.texts(30).to_parquet(out / "train.parquet")
    columns.texts(9).to_parquet(out / "test.parquet")


@folder
def parquet_in_folders(out: Path) -> None:
    for split, rows in (("train", 30), ("validation", 9)):
        (out / split).mkdir()
        columns.pictures(rows).to_parquet(out / split / "0.parquet")
        columns.pictures(rows, 100).to_parquet(out / split / "1.parquet")


@folder
def parquet_numbered(out: Path) -> None:
    (out / "data").mkdir()
    data = columns.albums(23)
    for number in range(4):
        path = out / "data" / f"train-{number:05d}-of-00004.parquet"
        data.shard(4, number, contiguous=True).to_parquet(path)
    columns.albums(3).to_parquet(out / "data" / "test-00000-of-00001-0123456789abcdef.parquet")


@folder
def parquet_plain(out: Path) -> None:
    columns.plain(23).to_parquet(out / "train.parquet")


@folder
def parquet_nested(out: Path) -> None:
    columns.nested(23).to_parquet(out / "train.parquet")


@folder
def parquet_of_pyarrow(out: Path) -> None:
    pq.write_table(columns.arrow_only(23), out / "train.parquet", row_group_size=5)


@folder
def parquet_of_pandas(out: Path) -> None:
    columns.texts(23).to_pandas().to_parquet(out / "train.parquet")


@folder
def parquet_of_pandas_with_index(out: Path) -> None:
    columns.texts(23).to_pandas().set_index("label").to_parquet(out / "train.parquet")


@folder
def parquet_cast_by_the_card(out: Path) -> None:
    """The features of the card are those that loading casts the shards to, which know nothing of them."""
    pq.write_table(columns.arrow_only(23), out / "train.parquet")
    features = [
        *({"name": name, "dtype": "string"} for name in ("name", "view", "kind")),
        {"name": "id", "dtype": "int64"},
        {"name": "image", "dtype": "image"},
        {"name": "scores", "list": "float64"},
    ]
    card(out, configs=[config(train="train.parquet")], dataset_info={"features": features})


@folder
def parquet_labels_by_the_card(out: Path) -> None:
    """The shards hold whole numbers; the card calls them labels."""
    table = pa.table({"text": ["a", "b", "c"], "label": pa.array([0, 1, 0], pa.int64())})
    pq.write_table(table, out / "train.parquet")
    label = {"class_label": {"names": {"0": "no", "1": "yes"}}}
    features = [{"name": "text", "dtype": "string"}, {"name": "label", "dtype": label}]
    card(out, configs=[config(train="train.parquet")], dataset_info={"config_name": "default", "features": features})


@folder
def parquet_columns_in_another_order(out: Path) -> None:
    table = pa.table({"a": [1, 2], "b": ["x", "y"]})
    pq.write_table(table, out / "train-0.parquet")
    pq.write_table(table.select(["b", "a"]), out / "train-1.parquet")


@folder
def parquet_types_that_widen(out: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([1, 2], pa.int64())}), out / "train-0.parquet")
    pq.write_table(pa.table({"a": pa.array([3], pa.int32())}), out / "train-1.parquet")
    pq.write_table(pa.table({"a": pa.array([None], pa.null())}), out / "train-2.parquet")


@folder
def parquet_by_data_dir(out: Path) -> None:
    for name in ("english", "german"):
        (out / name).mkdir()
        columns.texts(9).to_parquet(out / name / "train.parquet")
        columns.texts(4).to_parquet(out / name / "test.parquet")
    card(out, configs=[{"config_name": name, "data_dir": name} for name in ("english", "german")])


@folder
def parquet_of_every_way_to_write_data_files(out: Path) -> None:
    for name in ("a", "b"):
        columns.texts(9).to_parquet(out / f"{name}.parquet")
    card(
        out,
        configs=[
            {"config_name": "text", "data_files": "a.parquet", "default": True},
            {"config_name": "list", "data_files": ["a.parquet", "b.parquet"]},
            {"config_name": "lists", "data_files": [{"split": "all_of_it", "path": ["./a.parquet", "b.parquet"]}]},
            {"config_name": "glob", "data_files": [{"split": "train", "path": "[ab].parquet"}]},
        ],
    )


@folder
def csv_by_split(out: Path) -> None:
    for split, rows in (("train", 30), ("test", 5)):
        columns.texts(rows).to_csv(out / f"{split}.csv")


@folder
def csv_with_card(out: Path) -> None:
    csv_by_split(out)
    card(out, configs=[{**config(train="train.csv", test="test.csv"), "sep": ","}])


@folder
def json_lines(out: Path) -> None:
    columns.texts(30).to_json(out / "train.jsonl")


@folder
def json_with_card(out: Path) -> None:
    json_lines(out)
    card(out, license="mit", configs=[config(train="*.jsonl")])


@folder
def picture_folder(out: Path) -> None:
    for split, rows in (("train", 6), ("test", 2)):
        for number in range(rows):
            path = out / split / "ab"[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(columns.png(number + 50 * len(split)))


@folder
def picture_folder_with_metadata(out: Path) -> None:
    for number in range(6):
        (out / f"{number}.png").write_bytes(columns.png(number))
    with (out / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file_name", "text"], *([f"{n}.png", f"picture {n}"] for n in range(6))])


@folder
def picture_folder_with_card(out: Path) -> None:
    picture_folder(out)
    card(out, configs=[{"config_name": "default", "drop_labels": True}], task_categories=["image-classification"])


@folder
def clip_folder(out: Path) -> None:
    lines = []
    for number, clip in enumerate(columns.CLIPS):
        shutil.copy(clip, out / f"{number}.mov")
        lines.append(json.dumps({"file_name": f"{number}.mov", "text": f"clip {number}"}))
    (out / "metadata.jsonl").write_text("\n".join(lines))


@folder
def web_dataset(out: Path) -> None:
    with tarfile.open(out / "train-000000.tar", "w") as archive:
        for number in range(5):
            for ending, data in (("png", columns.png(number)), ("txt", b"picture %d" % number)):
                member = tarfile.TarInfo(f"{number:04d}.{ending}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


@folder
def web_dataset_with_card(out: Path) -> None:
    web_dataset(out)
    card(out, configs=[config(train="*.tar")])


@folder
def text_lines(out: Path) -> None:
    (out / "train.txt").write_text("one\ntwo\n")


def saved_to_disk(out: Path) -> None:
    DatasetDict(train=columns.texts(30), test=columns.texts(3)).save_to_disk(out)


def saved_split_to_disk(out: Path) -> None:
    columns.texts(30).save_to_disk(out)
