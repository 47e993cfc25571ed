"""The six formats of tags and marks: what each writes of the same rows, refuses by name, and finds wrong afterwards."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from pipeline.exports.export import export
from pipeline.exports.registry import format_named
from pipeline.report import Quiet
from tests.exports.canonical_rows import MEDIA
from tests.exports.small_datasets import IMAGES, VIDEOS, records, talks, write_split
from tests.project import png

if TYPE_CHECKING:
    from pipeline.exports.format_folder import Exported

NAMES = ("llava", "qwen-vl", "internvl", "ms-swift", "llama-factory", "xtuner")
CLIP = (MEDIA / "fixture.mov").read_bytes()
ONE, TWO = png(1, (9, 5)), png(2, (4, 7))
ROWS = [
    [("user", "<image>\nWhat?"), ("assistant", "A dog.")],
    [("user", "Compare <image> and"), ("assistant", "What?"), ("user", "<image>."), ("assistant", "Same.")],
    [("system", "Be brief."), ("user", "Hm. <image>"), ("assistant", "Yes.")],
    [("user", "<video>\nWhen?"), ("assistant", "Now.")],
    [("user", "Text alone?"), ("assistant", "Yes.")],
    [("user", "So <video>it is"), ("assistant", "a")],
    [("user", "A"), ("user", "B"), ("assistant", "c")],
    [("system", "S <image>"), ("user", "A"), ("assistant", "c")],
    [("user", "A"), ("assistant", "<image>c")],
    [("user", "<image><video>"), ("assistant", "c")],
    [("user", "<audio> and <IMG_CONTEXT>"), ("assistant", "c")],
    [("user", "Wait."), ("assistant", "b"), ("user", "Now <image>"), ("assistant", "c")],
]
PICTURES = [[ONE], [ONE, TWO], [ONE], [], [], [], [], [ONE], [ONE], [TWO], [], [TWO]]
CLIPS = [[], [], [], [CLIP], [], [CLIP], [], [], [], [CLIP], [], []]
LEFT_OUT = {
    "llava": {1: "several_images", 3: "video", 5: "video", 6: "turns", 7: "media_in_system", 8: "media_in_answer"}
    | {9: "video"},
    "qwen-vl": {6: "turns", 7: "media_in_system", 8: "media_in_answer"},
    "internvl": {6: "turns", 7: "media_in_system", 8: "media_in_answer", 9: "mixed_media"},
    "ms-swift": {6: "turns", 7: "media_in_system", 10: "tag_in_text"},
    "llama-factory": {6: "turns", 7: "media_in_system", 10: "tag_in_text"},
    "xtuner": {6: "turns", 7: "media_in_system", 8: "media_in_answer", 9: "mixed_media", 10: "tag_in_text"},
}
"""Format -> row -> why it is left out."""


def place(data: bytes, ending: str = "png") -> str:
    """Return where a medium lies in the folder of a format."""
    name = sha256(data).hexdigest()
    return f"media/{name[:2]}/{name}.{ending}"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Exported]:
    """Export the rows to all formats at once."""
    folder = tmp_path_factory.mktemp("exports") / "talk"
    objects = [{"ref": ["dog"], "bbox": [[1, 2, 3, 4]]}, *[None] * (len(ROWS) - 1)]
    table = talks(ROWS, {"images": PICTURES, "videos": CLIPS}, score=list(range(len(ROWS))), objects=objects)
    told = {**IMAGES, **VIDEOS, "score": {"dtype": "int64", "_type": "Value"}, "messages": {}, "objects": {}}
    write_split(folder, table, told)
    done = export(folder, [format_named(name) for name in NAMES], out=folder.parent / "out", display=Quiet())
    return {one.format.name: one for one in done}


def written(done: Exported) -> dict[str, dict[str, Any]]:
    """Return the records of an export by their ids."""
    return {record["id"]: record for record in records(done.folder / done.written[0].files[0])}


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_written_or_left_out_by_name(exported: dict[str, Exported], name: str) -> None:
    """Every row is written, or named with its place and its reason; the counts agree."""
    done = exported[name]
    refused = {
        example.row: loss.code.removeprefix("export.")
        for loss in done.losses.found
        if loss.whole_rows
        for example in loss.examples
    }
    assert refused == LEFT_OUT[name]
    assert set(written(done)) == {f"r{row}" for row in range(len(ROWS)) if row not in refused}
    assert done.rows + done.losses.rejected == len(ROWS)
    told = json.loads((done.folder / "losses.json").read_text(encoding="utf-8"))
    assert (told["rows"], told["left_out"]) == (done.rows, done.losses.rejected)
    assert told["losses"] == done.losses.to_json()


def test_llava(exported: dict[str, Exported]) -> None:
    """One path, human and gpt; the system's turn is lost, and said to be."""
    found = written(exported["llava"])
    assert found["r0"] == {
        "id": "r0",
        "image": place(ONE),
        "conversations": [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A dog."}],
        "score": 0,
        "objects": {"ref": ["dog"], "bbox": [[1, 2, 3, 4]]},
    }
    assert found["r2"]["conversations"][0] == {"from": "human", "value": "Hm. <image>"}
    assert "image" not in found["r4"]
    lost = {loss.code: [one.row for one in loss.examples] for loss in exported["llava"].losses.found}
    assert lost["export.system_turn"] == [2]
    assert lost["export.place_of_image"] == [2, 11]


def test_qwen_vl(exported: dict[str, Exported]) -> None:
    """One path alone, several as a list, videos beside images."""
    found = written(exported["qwen-vl"])
    assert found["r1"]["image"] == [place(ONE), place(TWO)]
    assert [turn["value"] for turn in found["r1"]["conversations"]] == [
        "Compare <image> and",
        "What?",
        "<image>.",
        "Same.",
    ]
    assert (found["r9"]["image"], found["r9"]["video"]) == (place(TWO), place(CLIP, "mov"))
    assert found["r10"]["conversations"][0]["value"] == "<audio> and <IMG_CONTEXT>"


def test_internvl(exported: dict[str, Exported]) -> None:
    """Sizes as a probe finds them; a list where a lone path would be looked for in the first turn; videos on a line."""
    done = exported["internvl"]
    found = written(done)
    assert [found["r0"][key] for key in ("image", "width", "height")] == [place(ONE), 9, 5]
    assert [found["r1"][key] for key in ("width_list", "height_list")] == [[9, 4], [5, 7]]
    assert found["r2"]["image"] == [place(ONE)]
    assert found["r2"]["conversations"][0] == {"from": "system", "value": "Be brief."}
    assert found["r11"]["image"] == [place(TWO)]
    assert found["r3"]["conversations"][0]["value"] == "<video>\nWhen?"
    assert found["r5"]["conversations"][0]["value"] == "So <video>\nit is"
    meta = json.loads((done.folder / "meta.train.json").read_text(encoding="utf-8"))
    entry = {"root": "./", "annotation": "train.jsonl", "data_augment": False, "repeat_time": 1, "length": done.rows}
    assert meta == {"talk_train": entry}


def test_ms_swift(exported: dict[str, Exported]) -> None:
    """Messages with their system's turn, media also in answers, objects where there are any, and no other column."""
    found = written(exported["ms-swift"])
    assert found["r0"] == {
        "id": "r0",
        "messages": [{"role": "user", "content": "<image>\nWhat?"}, {"role": "assistant", "content": "A dog."}],
        "images": [place(ONE)],
        "videos": [],
        "objects": {"ref": ["dog"], "bbox": [[1, 2, 3, 4]]},
    }
    assert found["r2"]["messages"][0] == {"role": "system", "content": "Be brief."}
    assert found["r8"]["images"] == [place(ONE)]
    assert "objects" not in found["r1"]
    lost = {loss.sentence.partition(":")[0]: loss.rows for loss in exported["ms-swift"].losses.found}
    assert lost["values of the column 'score'"] == exported["ms-swift"].rows


def test_llama_factory(exported: dict[str, Exported]) -> None:
    """An entry names its file, only columns that are there, and every tag."""
    done = exported["llama-factory"]
    info = json.loads((done.folder / "dataset_info.json").read_text(encoding="utf-8"))
    entry = info.pop("talk_train")
    assert not info
    assert (entry["file_name"], entry["formatting"]) == ("train.jsonl", "sharegpt")
    assert entry["columns"] == {"messages": "messages", "images": "images", "videos": "videos"}
    assert len(entry["tags"]) == 7
    assert set(written(done)["r0"]) == {"id", "messages", "images", "videos"}


def test_xtuner(exported: dict[str, Exported]) -> None:
    """Parts with sizes before one text with as many marks; plain texts elsewhere."""
    found = written(exported["xtuner"])
    picture = {"type": "image_url", "image_url": {"url": place(ONE), "image_wh": [9, 5]}}
    assert found["r2"]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [picture, {"type": "text", "text": "Hm. <IMG_CONTEXT>"}]},
        {"role": "assistant", "content": "Yes."},
    ]
    clip, text = found["r5"]["messages"][0]["content"]
    assert text["text"] == "So <VIDEO_CONTEXT>it is"
    inner = clip["video_url"]
    assert (inner["url"], inner["image_wh"]) == (place(CLIP, "mov"), [268, 156])
    assert set(inner) == {"url", "image_wh", "origin_fps", "origin_video_length"}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("harm", ["tag", "role", "file", "answer", "cut", "gone"])
def test_rules_find_what_is_wrong(exported: dict[str, Exported], name: str, harm: str) -> None:
    """Harm done to what was written is found by the target's rule, at its line."""
    done = exported[name]
    path = done.folder / done.written[0].files[0]
    before = path.read_bytes()
    lines = before.splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if b'"r0"' in line)
    record = orjson.loads(lines[at].rstrip(b",\n"))
    turns = record.get("messages") or record["conversations"]
    role, text = ("from", "value") if "from" in turns[0] else ("role", "content")
    if harm == "tag":
        record.pop("images", record.pop("image", None)) if name != "xtuner" else turns[0][text].pop(0)
    elif harm == "role":
        turns[1][role] = "tool"
    elif harm == "answer":
        turns[1][text] = "<IMG_CONTEXT>" if name == "xtuner" else "<image>"
    elif harm == "file":
        record = orjson.loads(orjson.dumps(record).replace(place(ONE).encode(), b"media/gone.png"))
    lines[at] = orjson.dumps(record) + (b",\n" if lines[at].endswith(b",\n") else b"\n")
    try:
        path.unlink()
        path.write_bytes(b"".join(lines if harm not in ("cut", "gone") else lines[:-2]))
        if harm == "gone":
            path.unlink()
        problems = done.format.check(done.folder, list(done.written))
    finally:
        path.write_bytes(before)
    assert problems
    assert done.format.check(done.folder, list(done.written)) == []
