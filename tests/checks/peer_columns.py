"""Rows of every kind of column, as `datasets` holds them before it writes them."""

from __future__ import annotations

import datetime as dt
import decimal
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import (
    Array2D,
    ClassLabel,
    Dataset,
    Features,
    Image,
    LargeList,
    List,
    Sequence,
    Translation,
    Value,
    Video,
)
from PIL import Image as Pictures

CLIPS = [Path(__file__).parents[1] / "data" / "media" / name for name in ("fixture.mov", "fixture.m4v")]
DAY = dt.datetime(2024, 2, 29, 12, 30, 15)  # noqa: DTZ001  (columns without a zone are wanted)


def png(number: int, side: int = 12) -> bytes:
    """Return a picture that no other number gives."""
    buffer = io.BytesIO()
    shades = bytes((number * 7 + at * at * (number % 5 + 1)) % 256 for at in range(side * side * 3))
    Pictures.frombytes("RGB", (side, side), shades).save(buffer, "PNG")
    return buffer.getvalue()


def texts(count: int, start: int = 0) -> Dataset:
    """Texts with labels, the plainest of datasets."""
    sentences = [f"sentence number {n} " * (1 + n % 3) for n in range(start, start + count)]
    rows = {"text": sentences, "label": [n % 3 for n in range(count)]}
    return Dataset.from_dict(rows, features=Features(text=Value("string"), label=ClassLabel(names=["a", "b", "c"])))


def pictures(count: int, start: int = 0) -> Dataset:
    """Pictures as bytes, with captions."""
    numbers = range(start, start + count)
    rows = {
        "image": [{"bytes": png(n), "path": f"{n}.png"} for n in numbers],
        "caption": [f"picture {n}" for n in numbers],
    }
    return Dataset.from_dict(rows, features=Features(image=Image(), caption=Value("string")))


def picture_files(folder: Path, count: int) -> Dataset:
    """Pictures that are paths until they are pushed, each larger than the one before."""
    folder.mkdir(parents=True)
    paths = []
    for number in range(count):
        paths.append(folder / f"{number}.png")
        paths[-1].write_bytes(png(number, side=4 + number))
    features = Features(image=Image(), number=Value("int32"))
    return Dataset.from_dict({"image": list(map(str, paths)), "number": list(range(count))}, features=features)


def clips() -> Dataset:
    """Videos as files."""
    features = Features(video=Video(), score=Value("float32"))
    return Dataset.from_dict({"video": list(map(str, CLIPS)), "score": [0.5, 1.5]}, features=features)


def albums(count: int, start: int = 0) -> Dataset:
    """Several pictures a row, some none, and a conversation."""
    turn = {"role": Value("string"), "content": Value("string")}
    features = Features(images=List(Image()), messages=List(turn), tags=Sequence(Value("string"), length=2))
    rows = [
        {
            "images": [{"bytes": png(number * 4 + at), "path": None} for at in range(number % 3)],
            "messages": [
                {"role": "user", "content": f"what is on picture {number}?"},
                {"role": "assistant", "content": f"the number {number}"},
            ],
            "tags": [f"tag {number}", "all"],
        }
        for number in range(start, start + count)
    ]
    return Dataset.from_list(rows, features=features)


SCALARS: dict[str, Any] = {
    "int8": lambda n: n % 100 - 50,
    "uint16": lambda n: n,
    "int64": lambda n: n * 10**10,
    "uint64": lambda n: 2**60 + n,
    "float16": lambda n: n / 4,
    "float32": lambda n: n / 4,
    "float64": lambda n: n / 4,
    "bool": lambda n: n % 3 == 0,
    "string": lambda n: f"text {n}",
    "large_string": lambda n: f"large text {n}",
    "binary": lambda n: bytes([n % 256]) * (n % 7),
    "large_binary": lambda n: bytes([n % 256]) * (n % 5),
    "date32": lambda n: DAY.date() + dt.timedelta(days=n),
    "date64": lambda n: DAY.date() + dt.timedelta(days=n),
    "time32[s]": lambda n: dt.time(n % 24, n % 60),
    "time64[us]": lambda n: dt.time(n % 24, n % 60, 1, n),
    "timestamp[s]": lambda n: DAY + dt.timedelta(seconds=n),
    "timestamp[ns]": lambda n: DAY + dt.timedelta(seconds=n),
    "timestamp[us, tz=Europe/Berlin]": lambda n: DAY + dt.timedelta(seconds=n),
    "duration[ms]": lambda n: dt.timedelta(milliseconds=n),
    "decimal128(12, 2)": lambda n: decimal.Decimal(n).scaleb(-2),
}
"""Plain types by the name that `datasets` gives them, and a value of each."""


def plain(count: int) -> Dataset:
    """A column of every plain type without, and one with nulls."""
    features, columns = {}, {}
    for kind, value in SCALARS.items():
        name = "".join(letter if letter.isalnum() else "_" for letter in kind).strip("_")
        for ending, step in (("", 0), ("_or_null", 4)):
            features[name + ending] = Value(kind)
            columns[name + ending] = [None if step and n % step == 1 else value(n) for n in range(count)]
    return Dataset.from_dict(columns, features=Features(features))


def nested(count: int) -> Dataset:
    """Lists and structs in each other, with nulls on every level."""
    features = Features(
        numbers=List(Value("int16")),
        large=LargeList(Value("string")),
        fixed=List(Value("float32"), length=3),
        grid=Array2D(shape=(2, 3), dtype="int32"),
        words=Translation(languages=["de", "en"]),
        box={"name": Value("string"), "inner": {"x": Value("int32"), "names": List(Value("string"))}},
        objects=Sequence({"id": Value("int64"), "label": ClassLabel(names=["cat", "dog"])}),
        deep=List(List({"at": Value("float64"), "what": Value("large_string")})),
    )
    rows = [
        {
            "numbers": None if n % 5 == 1 else [n] * (n % 4),
            "large": [f"word {n}", None][: n % 3],
            "fixed": [n / 2, n / 3, 0.0],
            "grid": [[n, 1, 2], [3, 4, n]],
            "words": {"de": f"Wort {n}", "en": f"word {n}"},
            "box": None if n % 6 == 1 else {"name": f"box {n}", "inner": {"x": n, "names": ["a"] * (n % 2)}},
            "objects": {"id": list(range(n % 3)), "label": [at % 2 for at in range(n % 3)]},
            "deep": [[{"at": n / 2, "what": f"thing {n}"}], []][: n % 3],
        }
        for n in range(count)
    ]
    return Dataset.from_list(rows, features=features)


def arrow_only(count: int) -> pa.Table:
    """A table as other tools write it: without the features of `datasets`, and with types that loading changes."""
    return pa.table(
        {
            "id": pa.array(range(count), pa.int32()),
            "name": pa.array([f"name {n}" for n in range(count)], pa.large_string()),
            "kind": pa.array([f"kind {n % 3}" for n in range(count)]).dictionary_encode(),
            "view": pa.array([f"viewed {n}" for n in range(count)], pa.string_view()),
            "image": pa.array([{"bytes": png(n), "path": f"{n}.png"} for n in range(count)]),
            "scores": pa.array([[n / 2] * (n % 3) for n in range(count)], pa.large_list(pa.float32())),
        }
    )
