"""Dataset folders as people make them without a push: Parquet files, CSV, JSON, pictures, clips and tar archives."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import tempfile
from typing import TYPE_CHECKING, Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

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
    """One file without the name of a split, beside files that are no data."""
    columns.texts(30).to_parquet(out / "data.parquet")
    for name in ("LICENSE", "notes.txt", ".gitattributes", "__pycache__/x.csv"):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("a,b\n1,2\n", encoding="utf-8")


@folder
def parquet_named_by_split(out: Path) -> None:
    """A file a split."""
    columns.texts(30).to_parquet(out / "train.parquet")
    columns.texts(9, 40).to_parquet(out / "test.parquet")


@folder
def parquet_in_folders(out: Path) -> None:
    """A folder a split, and several files in each."""
    for at, split in enumerate(("train", "validation")):
        (out / split).mkdir()
        for number in range(2):
            columns.pictures(9, 100 * at + 10 * number).to_parquet(out / split / f"{number}.parquet")


@folder
def parquet_numbered(out: Path) -> None:
    """Shards as older pushes named them, with a part of their hash."""
    (out / "data").mkdir()
    data = columns.albums(23)
    for number in range(4):
        data.shard(4, number, contiguous=True).to_parquet(out / "data" / f"train-{number:05d}-of-00004-0a1b.parquet")
    columns.albums(3, 50).to_parquet(out / "data" / "test-00000-of-00001-0123456789abcdef.parquet")


@folder
def parquet_of_other_tools(out: Path) -> None:
    """Shards that know nothing of features, each kind in a folder of its own, and a card that may cast them."""
    infos: list[dict[str, Any]] = []
    names = ("pyarrow", "pandas", "index", "cast", "labels", "order", "widen", "nested", "plain", "split")
    for name in names:
        (out / name).mkdir()
    table = columns.arrow_only(23)
    pq.write_table(table, out / "pyarrow" / "train.parquet", row_group_size=5)
    columns.texts(23).to_pandas().to_parquet(out / "pandas" / "data.parquet")
    columns.texts(23).to_pandas().set_index("label").to_parquet(out / "index" / "data.parquet")
    pq.write_table(table, out / "cast" / "data.parquet")
    features = [
        *({"name": name, "dtype": "string"} for name in ("name", "view", "kind")),
        {"name": "id", "dtype": "int64"},
        {"name": "image", "dtype": "image"},
        {"name": "scores", "sequence": "float64"},  # as older cards have it
    ]
    infos.append({"config_name": "cast", "features": features})
    pq.write_table(pa.table({"text": ["a", "b", "c"], "label": [0, 1, 0]}), out / "labels" / "data.parquet")
    label = {"class_label": {"names": {"0": "no", "1": "yes"}}}
    features = [{"name": "text", "dtype": "string"}, {"name": "label", "dtype": label}]
    infos.append({"config_name": "labels", "features": features})
    for number, names_in_order in enumerate((["a", "b"], ["b", "a"])):
        rows = pa.table({"a": [number, number + 5], "b": [f"x{number}", f"y{number}"]}).select(names_in_order)
        pq.write_table(rows, out / "order" / f"train-{number}.parquet")
    for number, kind in enumerate((pa.int64(), pa.int32(), pa.null())):
        values = [None] if kind == pa.null() else [number, number + 5]
        pq.write_table(pa.table({"a": pa.array(values, kind)}), out / "widen" / f"train-{number}.parquet")
    columns.nested(23).to_parquet(out / "nested" / "data.parquet")
    columns.plain(23).to_parquet(out / "plain" / "data.parquet")
    columns.texts(9).to_parquet(out / "split" / "train.parquet")
    columns.texts(4, 20).to_parquet(out / "split" / "test.parquet")
    infos += [{"config_name": name} for name in names if name not in ("cast", "labels")]
    card(out, configs=[{"config_name": name, "data_dir": name} for name in names], dataset_info=infos)


@folder
def parquet_of_every_way_to_write_data_files(out: Path) -> None:
    """`data_files` as a text, a list, a list of lists, and below a `data_dir`."""
    (out / "more").mkdir()
    columns.texts(9).to_parquet(out / "a.parquet")
    columns.texts(9, 20).to_parquet(out / "b.parquet")
    columns.texts(9, 40).to_parquet(out / "more" / "c.parquet")
    card(
        out,
        configs=[
            {"config_name": "text", "data_files": "a.parquet", "default": True},
            {"config_name": "list", "data_files": ["a.parquet", "b.parquet"]},
            {"config_name": "lists", "data_files": [{"split": "all_of_it", "path": ["./a.parquet", "b.parquet"]}]},
            {"config_name": "glob", "data_files": [{"split": "train", "path": "[ab].parquet"}]},
            {"config_name": "below", "data_dir": "more", "data_files": "c.parquet"},
        ],
    )


@folder
def a_part_of_the_shards(out: Path) -> None:
    """A config of all shards, and one of some of them, as samples of large datasets are."""
    data = columns.texts(30)
    for number in range(5):
        data.shard(5, number, contiguous=True).to_parquet(out / f"train-{number:05d}-of-00005.parquet")
    card(out, configs=[config("all", train="train-*"), config("sample", train="train-0000[01]-*")])


@folder
def csv_by_split(out: Path) -> None:
    """CSV files, described to the byte by `datasets` itself."""
    for split, start in (("train", 0), ("test", 40)):
        columns.texts(9, start).to_csv(out / f"{split}.csv")
    with tempfile.TemporaryDirectory() as cache:
        loaded = datasets.load_dataset(str(out), cache_dir=cache)
    card(out, configs=[config(train="train.csv", test="test.csv")], dataset_info=loaded["train"].info._to_yaml_dict())


@folder
def json_lines(out: Path) -> None:
    """JSON Lines with a card."""
    columns.texts(30).to_json(out / "train.jsonl")
    card(out, license="mit", configs=[config(train="*.jsonl")], size_categories=["n<1K"])


@folder
def picture_folder(out: Path) -> None:
    """Pictures in folders that are named by split and label, and a card without patterns."""
    for start, split in ((0, "train"), (50, "test")):
        for number in range(4):
            path = out / split / "ab"[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(columns.png(start + number))
    card(out, configs=[{"config_name": "default", "drop_labels": False}], task_categories=["image-classification"])


@folder
def picture_folder_with_metadata(out: Path) -> None:
    """Pictures, described by a Parquet file beside them."""
    for number in range(6):
        (out / f"{number}.png").write_bytes(columns.png(number))
    rows = pa.table({"file_name": [f"{n}.png" for n in range(6)], "text": [f"picture {n}" for n in range(6)]})
    pq.write_table(rows, out / "metadata.parquet")


@folder
def clip_folder(out: Path) -> None:
    """Clips, described by JSON Lines beside them."""
    lines = []
    for number, clip in enumerate(columns.CLIPS):
        shutil.copy(clip, out / f"{number}.mov")
        lines.append(json.dumps({"file_name": f"{number}.mov", "text": f"clip {number}"}))
    (out / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")


@folder
def web_dataset(out: Path) -> None:
    """A tar archive of pictures with their texts, and a card."""
    with tarfile.open(out / "train-000000.tar", "w") as archive:
        for number in range(5):
            for ending, data in (("png", columns.png(number)), ("txt", b"picture %d" % number)):
                member = tarfile.TarInfo(f"{number:04d}.{ending}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    card(out, configs=[config(train="*.tar")])
