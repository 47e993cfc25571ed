"""The published datasets that our recipes build, file by file as they lie, and small: made of `samples/`.

Rows, names, folders and formats are those of the real repositories; beside what a recipe needs lies what it must leave.
"""

from __future__ import annotations

import csv
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.project import png

SAMPLES = Path(__file__).parents[2] / "samples"
Rows = list[dict[str, Any]]

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SCORES = (
    "visual quality",
    "temporal consistency",
    "dynamic degree",
    "text-to-video alignment",
    "factual consistency",
)
RATED = pa.schema(
    [
        ("id", pa.string()),
        ("images", pa.list_(pa.string())),
        ("text prompt", pa.string()),
        ("video link", pa.string()),
        *((score, pa.int64()) for score in SCORES),
        ("conversations", pa.list_(pa.struct([("from", pa.string()), ("value", pa.string())]))),
    ]
)
CLIPS = "https://huggingface.co/datasets/hexuan21/VideoFeedback-videos-mp4/resolve/main/"


def parquet(rows: Rows, schema: pa.Schema) -> bytes:
    """Return a Parquet file as `datasets` pushes it to a hub."""
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema), buffer)
    return buffer.getvalue()


def jsonl(rows: Rows) -> bytes:
    """Return JSON Lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def read_jsonl(path: Path) -> Rows:
    """Return the records of JSON Lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# -- VideoFeedback


def video_feedback() -> tuple[dict[str, bytes], dict[str, bytes], dict[tuple[str, str], Rows]]:
    """Return the files of both repositories, and config and split -> rows; each row of the samples stands there thrice.

    In the second repository the first clip of `annotated` is missing, and the second is a page.
    """
    files = {
        "README.md": b"# VideoFeedback\n",
        "train/data_annotated.json": b"[]",
        "train/frames_annotated.zip": b"frames",
        "annotated/videos_annotated_train.zip": b"videos",
        "real/videos_real_test.zip": b"videos",
    }
    clips = {"README.md": b"# Clips\n", "0/another.mp4": b"no row asks for it"}
    tables: dict[tuple[str, str], Rows] = {}
    for config in ("annotated", "real"):
        for split in ("train", "test"):
            folder = SAMPLES / "video_feedback" / split
            rows = tables[config, split] = []
            for row in json.loads((folder / f"data_{config}.json").read_text(encoding="utf-8")):
                name = row["video link"].rpartition("/")[2]
                clip = (folder / f"videos_{config}" / name).read_bytes()
                for mark in ("", "b", "c"):
                    link = row["video link"].replace(".mp4", f"{mark}.mp4")
                    rows.append({**row, "id": row["id"] + mark, "video link": link})
                    clips[link.removeprefix(CLIPS)] = clip
            # the largest table is cut in two, as large ones are
            parts = [rows[:5], rows[5:]] if (config, split) == ("annotated", "train") else [rows]
            for number, part in enumerate(parts):
                files[f"{config}/{split}-{number:05}-of-{len(parts):05}.parquet"] = parquet(part, RATED)
    gone, page = (row["video link"].removeprefix(CLIPS) for row in tables["annotated", "train"][:2])
    del clips[gone]
    clips[page] = b"<!DOCTYPE html><title>Sign in</title>"
    return files, clips, tables


# -- LaTeX_OCR


def latex_ocr() -> tuple[dict[str, bytes], dict[tuple[str, str], Rows]]:
    """Return the files of the repository, and folder and split -> rows.

    As published: in `small` the same rows are `validation` and `test`; and one picture of `full` does not decode.
    """
    with (SAMPLES / "formulas" / "formulas.csv").open(encoding="utf-8", newline="") as file:
        pairs = [(SAMPLES / "formulas" / row["image"], row["formula"]) for row in csv.DictReader(file)]
    made = [{"image": {"bytes": path.read_bytes(), "path": path.name}, "text": text} for path, text in pairs]
    made += [{"image": {"bytes": png(n), "path": None}, "text": f"x _ {{ {n} }}"} for n in range(30)]
    made[2] = {"image": {"bytes": png(200)[:40], "path": "2.png"}, "text": "broken"}
    rows = iter(made)

    def take(count: int) -> Rows:
        return [next(rows) for _ in range(count)]

    tables: dict[tuple[str, str], Rows] = {}
    for folder, counts in (
        ("full", (10, 2, 2)),
        ("human_handwrite", (5, 1, 1)),
        ("human_handwrite_print", (5, 1, 1)),
        ("small", (4, 3, 0)),
        ("synthetic_handwrite", (20, 2, 2)),
    ):
        for split, count in zip(("train", "validation", "test"), counts, strict=True):
            tables[folder, split] = take(count)
    tables["small", "test"] = tables["small", "validation"]
    features = {"image": {"_type": "Image"}, "text": {"dtype": "string", "_type": "Value"}}
    schema = pa.schema(
        [("image", IMAGE), ("text", pa.string())],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    files = {"README.md": b"# LaTeX OCR\n", ".gitattributes": b"*.parquet filter=lfs\n"}
    for (folder, split), table in tables.items():
        parts = [table[:7], table[7:]] if len(table) > 10 else [table]
        for number, part in enumerate(parts):
            files[f"{folder}/{split}-{number:05}-of-{len(parts):05}.parquet"] = parquet(part, schema)
    return files, tables


# -- CLoT-Oogiri-GO


def clot_oogiri() -> tuple[dict[str, bytes], dict[str, Rows], dict[str, bytes]]:
    """Return the files of the repository, language -> rows, and id -> picture."""
    folder = SAMPLES / "clot_oogiri"
    rows = {language: read_jsonl(folder / f"{language}.jsonl") for language in ("cn", "en", "jp")}
    image = rows["cn"][0]["image"]
    rows["cn"] += [
        {"type": "I2T", "question": None, "image": image, "text": None, "star": "3"},
        {"type": "I2T", "question": "", "image": image, "text": "一百万个赞。", "star": "1,234,567"},
    ]
    packed = (folder / "images.zip").read_bytes()
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        images = {Path(name).stem: archive.read(name) for name in archive.namelist() if name.endswith(".jpg")}
    files = {f"{language}.jsonl": jsonl(some) for language, some in rows.items()}
    files |= {"images.zip": packed, "README.md": b"# Oogiri\n", "logo.png": png(1), "oogiri.png": png(2)}
    return files, rows, images


# -- Better Synth

STAGE = "dj-competition/better_synth/data/stage_1/"


def better_synth() -> tuple[dict[str, bytes], Rows, Rows, dict[str, bytes]]:
    """Return path -> file, the data-juicer rows, the LLaVA rows, and path in the archive -> picture.

    The last row asks for a picture that is not there; LLaVA's rows name their pictures with and without `images/`.
    """
    folder = SAMPLES / "better_synth"
    images = {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.jpg"))}
    rows = read_jsonl(folder / "mgm_pretrain_stage_1.jsonl")
    rows.append({**rows[0], "id": "009999999", "images": ["images/00999/009999999.jpg"]})
    llava = []
    for number, row in enumerate(rows[:-1]):
        caption = row["text"].replace("<__dj__image>", "").replace("<|__dj__eoc|>", "").strip()
        image = row["images"][0] if number % 2 else row["images"][0].removeprefix("images/")
        turns = [{"from": "human", "value": "Describe it.\n<image>"}, {"from": "gpt", "value": caption}]
        llava.append({"id": row["id"], "image": image, "conversations": turns})
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, data in images.items():
            member = tarfile.TarInfo(f"pretrain_stage_1/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    files = {
        f"{STAGE}mgm_pretrain_stage_1.jsonl": jsonl(rows),
        f"{STAGE}stage_1.json": json.dumps(llava, indent=2).encode(),
        f"{STAGE}pretrain_stage_1.tar.gz": packed.getvalue(),
    }
    return files, rows, llava, images
