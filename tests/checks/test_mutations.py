"""Each way to spoil a good dataset is found by the code that is meant for it, and the good one has nothing wrong."""

from __future__ import annotations

import base64
import io
import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.checks.codes import CODES
from pipeline.checks.options import Options
from pipeline.schema import load_schema
from pipeline.validation import validate
from tests.checks.mutations import (
    Mutation,
    copy_row,
    encoded,
    first,
    first_of_all,
    in_card,
    in_shard,
    medium,
    picture,
    shards,
    with_values,
    write_good,
)
from tests.project import MEDIA, Project

if TYPE_CHECKING:
    from pathlib import Path

AGAIN = "SW108"
"""A shard that was written anew has other bytes, so the card's sizes are wrong as well."""


def _flip_byte(out: Path) -> None:
    path = shards(out)[0]
    data = bytearray(path.read_bytes())
    data[200] ^= 0xFF
    path.write_bytes(data)


def _cut_off(out: Path) -> None:
    path = shards(out)[0]
    path.write_bytes(path.read_bytes()[:-20])


def _leftover(out: Path) -> None:
    shutil.copy(shards(out)[0], out / "pictures" / "train-00000-of-00009.parquet")


def _talk(change: Any) -> Any:
    def changed(values: list[Any]) -> list[Any]:
        return [change(values[0]), *values[1:]]

    return in_shard(with_values(talk=changed), "clips")


def _video(name: str, path: str | None = None) -> Any:
    return in_shard(with_values(video=first(medium((MEDIA / name).read_bytes(), path or name))), "clips")


def _image(data: bytes, path: str = "00.jpg") -> Any:
    return in_shard(with_values(image=first(medium(data, path))))


def _frozen() -> bytes:
    buffer = io.BytesIO()
    still = picture(3)
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = still.width, still.height, "yuv420p"
        for _ in range(30):
            container.mux(stream.encode(av.VideoFrame.from_image(still)))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def _turned() -> bytes:
    still = picture(0)
    exif = still.getexif()
    exif[0x0112] = 6
    return encoded(still, exif=exif)


def _add_column(name: str, values: Any, kind: pa.DataType) -> Any:
    def add(out: Path) -> None:
        for path in [*shards(out), *shards(out, split="test")]:
            table = pq.read_table(path)
            table = table.append_column(name, pa.array(values(table.num_rows), kind))
            metadata = {b"huggingface": b""}
            info = json.loads((table.schema.metadata or {})[b"huggingface"])
            info["info"]["features"][name] = {"dtype": "string", "_type": "Value"}
            metadata[b"huggingface"] = json.dumps(info).encode()
            pq.write_table(table.replace_schema_metadata(metadata), path, write_page_index=True)

    return add


def _private_key() -> str:
    """Return a key that was made for this and opens nothing."""
    body = base64.b64encode(np.random.default_rng(5).bytes(600)).decode()
    lines = "\n".join(body[start : start + 64] for start in range(0, len(body), 64))
    return f"-----BEGIN RSA {'PRIVATE'} KEY-----\n{lines}\n-----END RSA PRIVATE KEY-----"


MUTATIONS: dict[str, Mutation] = {
    # the card
    "the card is gone": Mutation(
        # `datasets` then takes the shards of both configs for one
        code="SW100",
        do=lambda out: (out / "README.md").unlink(),
        also="SW109",
    ),
    "the front matter does not parse": Mutation(code="SW101", do=in_card("configs:", "configs: [")),
    "dataset_info describes another config": Mutation(
        code="SW102", do=in_card("dataset_info:\n- config_name: pictures", "dataset_info:\n- config_name: paintings")
    ),
    "dataset_info lacks a split": Mutation(code="SW102", do=in_card("  - name: test\n", "  - name: tests\n")),
    "a config name lost to null": Mutation(
        # its shards belong to nobody then, and its description to no config
        code="SW103",
        do=in_card("- config_name: pictures", "- config_name: null"),
        also="SW102 SW105",
    ),
    "a config name with a slash": Mutation(
        code="SW103", do=in_card("- config_name: clips\n  data", "- config_name: cl/ips\n  data"), also="SW102"
    ),
    "a split name with a dash": Mutation(
        code="SW103",
        do=in_card("  - split: test\n    path: pictures", "  - split: te-st\n    path: pictures"),
        also="SW102",
    ),
    "a pattern that matches nothing": Mutation(
        code="SW104", do=in_card("pictures/test-*.parquet", "pictures/tset-*.parquet"), also="SW105"
    ),
    "a shard that no split names": Mutation(
        code="SW105", do=lambda out: shutil.copy(shards(out)[0], out / "x.parquet")
    ),
    "a shard in two splits": Mutation(code="SW105", do=in_card("pictures/test-*.parquet", "pictures/t*.parquet")),
    "twenty rows written, twelve there": Mutation(code="SW106", do=in_card("num_examples: 12", "num_examples: 20")),
    "a hand-edited number of bytes": Mutation(code="SW107", do=in_card("num_bytes: ", "num_bytes: 1")),
    "a hand-edited download size": Mutation(code="SW108", do=in_card("download_size: ", "download_size: 1")),
    "a hand-edited dataset size": Mutation(code="SW108", do=in_card("dataset_size: ", "dataset_size: 1")),
    "another type in the card": Mutation(code="SW109", do=in_card("dtype: image", "dtype: video")),
    "a column renamed in the card": Mutation(code="SW109", do=in_card("name: text", "name: caption")),
    "a column renamed in a shard": Mutation(
        code="SW109",
        do=in_shard(lambda table: table.rename_columns(["image", "id", "words", "width", "label"])),
        also=AGAIN,
    ),
    "a leftover of an earlier shard count": Mutation(code="SW110", do=_leftover, also="SW604"),
    "a shard removed": Mutation(code="SW110", do=lambda out: shards(out)[0].unlink()),
    "another size category": Mutation(code="SW111", do=in_card("n<1K", "1K<n<10K")),
    "a licence that is none": Mutation(code="SW112", do=in_card("license: apache-2.0", "license: Apache License 2.0")),
    "a language that is none": Mutation(code="SW113", do=in_card("- en\n", "- english\n")),
    "a task that is none": Mutation(code="SW114", do=in_card("- image-text-to-text", "- picture-describing")),
    "a link to nowhere": Mutation(code="SW115", do=in_card("(ORIGIN.md)", "(ORIGINS.md)")),
    "a key twice": Mutation(code="SW116", do=in_card("license: apache-2.0", "license: mit\nlicense: apache-2.0")),
    "a number of rows as float": Mutation(code="SW117", do=in_card("num_examples: 12", "num_examples: 12.0")),
    # shards
    "a truncated shard": Mutation(code="SW301", do=_cut_off),
    "a flipped byte in a page": Mutation(code="SW301", do=_flip_byte),
    "a shard without rows": Mutation(code="SW302", do=in_shard(lambda table: table.slice(0, 0)), mended=True),
    # rows
    "a number outside of the schema": Mutation(
        code="SW401", do=in_shard(with_values(width=first(-5))), mended=True, also="SW502"
    ),
    "an id twice": Mutation(code="SW402", do=in_shard(with_values(id=first_of_all("p01"))), mended=True),
    "a column of nulls": Mutation(code="SW403", do=_add_column("note", lambda n: [None] * n, pa.string()), mended=True),
    "an empty text": Mutation(code="SW404", do=in_shard(with_values(text=first("  "))), mended=True),
    "text decoded wrongly": Mutation(
        code="SW405", do=in_shard(with_values(text=first("Une fenÃªtre et un cafÃ© prÃ¨s de la forÃªt"))), mended=True
    ),
    "a placeholder too many": Mutation(
        code="SW406",
        do=_talk(lambda talk: [{**talk[0], "value": "<video> <video> What?"}, *talk[1:]]),
        mended=True,
    ),
    "a conversation without an answer": Mutation(code="SW407", do=_talk(lambda talk: talk[:1]), mended=True),
    "a path of somebody's machine": Mutation(
        code="SW408", do=_image(encoded(picture(0)), f"/{'home'}/alice/projects/data/00.jpg"), mended=True
    ),
    "a token in a text": Mutation(
        code="SW409",
        do=in_shard(with_values(text=first("use hf_" + "qWzXvBnMkLpOiUyTrEwQaSdFgHjKlZxCvB" + " to log in"))),
        mended=True,
    ),
    "a private key in a text": Mutation(
        code="SW409",
        do=in_shard(with_values(text=first(_private_key()))),
        mended=True,
    ),
    "an e-mail address in a text": Mutation(
        code="SW410", do=in_shard(with_values(text=first("Ask alice.miller@uni-somewhere.edu for it."))), mended=True
    ),
    # media
    "a picture cut off": Mutation(code="SW501", do=_image(encoded(picture(0))[:600]), mended=True),
    "another width than said": Mutation(code="SW502", do=in_shard(with_values(width=first(640))), mended=True),
    "a film that stands still": Mutation(
        code="SW504", do=in_shard(with_values(video=first(medium(_frozen(), "f.mp4"))), "clips"), mended=True
    ),
    "a picture on its side": Mutation(code="SW505", do=_image(_turned()), mended=True, also="SW502"),
    "a moving picture": Mutation(
        code="SW506",
        do=_image(encoded(picture(0), "GIF", save_all=True, append_images=[picture(90), picture(91)]), "00.gif"),
        mended=True,
    ),
    "a name that lies": Mutation(code="SW507", do=_image(encoded(picture(0), "PNG")), mended=True),
    "a picture that is not there": Mutation(
        code="SW508", do=in_shard(with_values(image=first(medium(None, "nowhere/00.jpg")))), mended=True
    ),
    # leaks
    "a picture on two sides": Mutation(
        code="SW601",
        do=lambda out: copy_row(out, lambda row: {**row, "id": "new", "text": "Another text."}),
        mended=True,
    ),
    "nearly the same picture on two sides": Mutation(
        code="SW602",
        do=lambda out: copy_row(
            out,
            lambda row: {**row, "id": "new", "text": "Another text.", "image": medium(_again(row["image"]["bytes"]))},
        ),
        mended=True,
    ),
    "a group on two sides": Mutation(
        code="SW603",
        do=lambda out: (
            in_shard(with_values(text=first_of_all("one film")), split="test")(out)
            or in_shard(with_values(text=first("one film")))(out)
        ),
        options=Options(group="text"),
        mended=True,
    ),
    "rows that are the same": Mutation(
        code="SW604",
        do=in_shard(lambda table: pa.concat_tables([table.slice(0, 1), table])),
        mended=True,
    ),
    "one picture, two labels": Mutation(
        code="SW605",
        do=in_shard(
            lambda table: pa.concat_tables(
                [table, with_values(label=lambda v: [1 - v[0]], id=lambda _: ["new"])(table.slice(0, 1))]
            )
        ),
        mended=True,
    ),
    # tokens
    "a row too long": Mutation(code="SW701", do=lambda _: None, options=Options(budget="qwen2.5-vl", max_tokens=10)),
}


def _again(data: bytes) -> bytes:
    """Return the same picture, encoded once more."""
    return encoded(Image.open(io.BytesIO(data)), quality=70)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Give the good dataset."""
    project = Project(tmp_path_factory.mktemp("good"))
    write_good(project)
    return project


def codes_of(out: Path, options: Options) -> set[str]:
    """Return the codes that are found; loading is proved elsewhere."""
    return set(validate(out, replace(options, ignore=("SW2",)), decoders=1).counts)


def test_the_good_one_has_nothing_wrong(good: Project) -> None:
    """Neither errors nor warnings, in any look, and with its schemas."""
    schemas = {"pictures": load_schema(good.root / "schemas" / "demo.yaml")}
    for options in (Options(look="quick"), Options(schemas=schemas), Options(look="full", schemas=schemas)):
        report = validate(good.out, options)
        assert not report.counts, str(report)


@pytest.mark.parametrize("name", MUTATIONS)
def test_found_by_its_code(name: str, good: Project, tmp_path: Path) -> None:
    """What was spoilt is found by the code that is meant for it, and by no other that does not follow from it."""
    mutation = MUTATIONS[name]
    out = tmp_path / "good"
    shutil.copytree(good.out, out)
    mutation(out)
    options = mutation.options
    if mutation.code in ("SW401", "SW402"):
        options = replace(options, schemas={"pictures": load_schema(good.root / "schemas" / "demo.yaml")})
    found = codes_of(out, options)
    assert mutation.code in found
    assert found <= {mutation.code, *mutation.also.split()}


def test_every_code_has_a_mutation() -> None:
    """Codes that need more than one file, a hub or gigabytes are tried in tests of their own."""
    elsewhere = {code for code in CODES if code.startswith(("SW2", "SW8"))} | {
        "SW303",
        "SW304",
        "SW305",
        "SW306",
        "SW503",
    }
    assert {mutation.code for mutation in MUTATIONS.values()} == set(CODES) - elsewhere
