"""Recipes of data-juicer as steps: rows go out and come back by name. With the real one: tests/interop."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from datasets import Dataset

from pipeline.errors import RecipeError, ShardwrightError
from pipeline.stages.curation.juicer_driver import Rows, Unusable
from pipeline.stages.curation.juicer_program import VARIABLE, found_juicer
from pipeline.stages.curation.juicer_rows import turns_of
from tests.project import png

if TYPE_CHECKING:
    from pathlib import Path

    from tests.project import Project

ONE_SPLIT = {"configs": {"default": {"splits": {"train": {"files": "*.jsonl"}}, "split_by": {"group": "none"}}}}
CHAT = {
    "id": "int64",
    "messages": {"type": {"list": {"struct": {"from": "string", "value": "string"}}}},
    "pictures": {"type": {"list": "image"}},
    "clip": {"type": "image", "nullable": True},
}
CONVERSATION = {"column": "messages", "tokens": {"<img>": "pictures", "<clip>": "clip"}}
PROGRAM = """#!{python}
import json, sys
if "-c" in sys.argv:
    print({version!r})
    raise SystemExit
order = json.load(open(sys.argv[-1]))
rows = [json.loads(line) for line in open(order["rows"], "rb")]
open({log!r}, "a").write(json.dumps(rows) + chr(10))
for row in rows:
    assert all(open(path, "rb").read(4) == b"\\x89PNG" and path.endswith(".png") for path in row.get("images", ()))
with open(order["answer"], "w") as answer:
    for row in rows:
        told = {{"row": row[order["row"]], "stats": {{"text_len": len(row["text"])}}}}
        if "drop" in row["text"]:
            told["operator"] = "some_filter (operator 2)"
        else:
            values = {{name: row[name] for name in order["columns"]}}
            told["values"] = values | {{"text": row["text"].replace("cat", "lion")}}
        answer.write(json.dumps(told) + chr(10))
{more}
"""
"""A program that is asked as a Python with data-juicer is, and answers as our driver in it does."""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a function that puts a program in the place of data-juicer, and returns what it has been sent so far."""

    def put(name: str = "one", more: str = "") -> Any:
        log, path = tmp_path / "log", tmp_path / name
        path.write_text(PROGRAM.format(python=sys.executable, version=name, log=str(log), more=more), encoding="utf-8")
        path.chmod(0o755)
        monkeypatch.setenv(VARIABLE, str(path))
        return lambda: [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    return put


def chat(*texts: str) -> list[dict[str, str]]:
    """Return turns, the first of which is a person's."""
    return [{"from": ("human", "gpt")[number % 2], "value": text} for number, text in enumerate(texts)]


def conversations(project: Project, rows: list[dict[str, Any]], *steps: Any, **more: Any) -> None:
    """Write a project of conversations with these steps."""
    project.pictures(3)
    project.rows("rows.jsonl", rows)
    (project.root / "recipes" / "juicer.yaml").write_text("process: []\n", encoding="utf-8")
    project.write(
        ONE_SPLIT | {"curate": list(steps) or [{"data_juicer": "juicer.yaml"}]} | more, CHAT, conversation=CONVERSATION
    )


def test_conversations_go_and_come_back(project: Project, program: Any) -> None:
    """Turns and media are sent as data-juicer writes them; what is left out is a reject, and what differs a change."""
    sent = program()
    two = ["images/0000.png", "images/0001.png"]
    rows = [
        {
            "id": 0,
            "messages": chat("<img>What? <clip><img>", "A cat.\n[[gpt]]: no turn"),
            "pictures": two,
            "clip": "images/0002.png",
        },
        {"id": 1, "messages": chat("Please drop it", "Yes."), "pictures": [], "clip": None},
        {"id": 2, "messages": chat("<img>", "A cat.", " cat? ", "Two cats.\n"), "pictures": two[1:], "clip": None},
        {"id": 3, "messages": chat("Hello", "Hi <|__dj__eoc|>"), "pictures": [], "clip": None},
    ]
    conversations(project, rows)
    project.build(upto="shard")
    (told,) = sent()
    image = "<__dj__image>"
    assert [row["text"] for row in told] == [
        f"[[human]]: {image}What? {image}{image}\n[[gpt]]: A cat.\n[[gpt]]: no turn <|__dj__eoc|>",
        "[[human]]: Please drop it\n[[gpt]]: Yes. <|__dj__eoc|>",
        f"[[human]]: {image}\n[[gpt]]: A cat.\n[[human]]:  cat? \n[[gpt]]: Two cats.\n <|__dj__eoc|>",
        "[[human]]: Hello\n[[gpt]]: Hi <|__dj__eoc|> <|__dj__eoc|>",
    ]
    assert [len(row["images"]) for row in told] == [3, 0, 1, 0]
    assert told[0]["images"][2] == told[2]["images"][0], "the second of two, behind the clip that the text shows before"
    kept = project.split("train").to_pylist()
    assert [row["messages"] for row in kept] == [
        chat("<img>", "A lion.", " lion? ", "Two lions.\n"),
        rows[3]["messages"],
    ]
    assert [(row["line"], row["reason"], row["message"]) for row in project.rejected()] == [
        (
            1,
            "curate.data_juicer.turns",
            f"juicer.yaml: its turns or media are others in the changed text: {cut(told)!r}",
        ),
        (2, "curate.data_juicer", "some_filter (operator 2): text_len 53"),
    ]
    meta = json.loads((project.work / "manifest.json").read_bytes())["stages"]["curate"]["configs"]["default"]
    assert meta["changed"] == {"1 data_juicer": {"messages": 1}}
    assert meta["steps"][0]["measured"]["text_len"]["values"] == 4
    assert not (project.work / "data_juicer" / "running").exists()


def cut(told: list[dict[str, Any]]) -> str:
    """Return the start of the first text, as it was changed."""
    text: str = told[0]["text"]
    return text.replace("cat", "lion")[:200]


def test_columns_go_and_come_back(project: Project, program: Any) -> None:
    """A text column is the text; other columns go along, numbers as they are; rows without the text stay unseen."""
    sent = program(more="assert all(row['ratio'] is None or row['ratio'] > 0 for row in rows)")
    rows: list[dict[str, Any]] = [
        {"caption": "a cat", "ratio": 0.1, "count": 2**53 + 1},
        {"caption": None, "ratio": 1.0, "count": None},
        {"caption": "drop me", "ratio": None, "count": 3},
        {"caption": "a dog", "ratio": 3e38, "count": -1},
    ]
    columns: dict[str, Any] = {
        "caption": {"type": "string", "nullable": True},
        "ratio": {"type": "float32", "nullable": True},
        "count": {"type": "int64", "nullable": True},
    }
    project.rows("rows.jsonl", rows)
    (project.root / "recipes" / "juicer.yaml").write_text("process: []\n", encoding="utf-8")
    step = {"recipe": "juicer.yaml", "text": "caption", "columns": ["ratio", "count"]}
    project.write(ONE_SPLIT | {"curate": [{"data_juicer": step}]}, columns)
    project.build(upto="shard")
    assert [row["text"] for row in sent()[0]] == ["a cat", "drop me", "a dog"]
    assert project.split("train").column("caption").to_pylist() == ["a lion", None, "a dog"]
    assert project.split("train").column("count").to_pylist() == [2**53 + 1, None, -1]
    meta = json.loads((project.work / "manifest.json").read_bytes())["stages"]["curate"]["configs"]["default"]
    assert meta["changed"] == {"1 data_juicer": {"caption": 1}}


def test_what_was_answered_is_kept(project: Project, program: Any) -> None:
    """It runs again when the rows, the recipe or the version are others, and not when a step behind it is."""
    sent = program()
    rows = [{"id": n, "messages": chat(f"<img>{n}", "cat"), "pictures": ["images/0000.png"]} for n in range(3)]
    conversations(project, rows)
    project.build(upto="shard")
    project.build(upto="shard")
    conversations(project, rows, {"data_juicer": "juicer.yaml"}, {"drop_if": "id == 1"})
    project.build(upto="shard")
    assert len(sent()) == 1
    assert project.split("train").column("id").to_pylist() == [0, 2]
    (project.source / "images" / "0000.png").write_bytes(png(77))
    project.build(upto="shard")
    assert len(sent()) == 2, "another picture"
    (project.root / "recipes" / "juicer.yaml").write_text("process: []  # the same\n", encoding="utf-8")
    project.build(upto="shard")
    assert len(sent()) == 3, "another recipe"
    program("two")
    project.build(upto="shard")
    assert len(sent()) == 4, "another version"
    assert len(list((project.work / "data_juicer").rglob("*.jsonl"))) == 1


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("raise SystemExit('no such operator')", "ended with 1 over .*juicer.yaml: no such operator"),
        (
            "open(order['answer'], 'w').write(json.dumps({'problem': 'made 3 rows of row 1', 'operator': 'chunker'}))",
            "juicer.yaml: chunker made 3 rows of row 1, and curation can only leave rows out",
        ),
    ],
)
def test_what_cannot_be_taken_over_stops_the_build(project: Project, program: Any, more: str, told: str) -> None:
    """A recipe that fails or makes rows of its own is an error that names the operator; nothing of it is left."""
    program(more=more)
    conversations(project, [{"id": 1, "messages": chat("a", "b"), "pictures": []}])
    with pytest.raises(ShardwrightError, match=told):
        project.build(upto="shard")
    assert not list((project.work / "data_juicer").rglob("*"))


def test_no_data_juicer(tmp_path: Path) -> None:
    """Where there is none, the error says how to get one; a path that is no Python with it is named."""
    with pytest.raises(ShardwrightError, match="not installed here") as error:
        found_juicer({})
    assert "pip install py-data-juicer==" in error.value.hint
    with pytest.raises(ShardwrightError, match=r"which cannot be run: No such file"):
        found_juicer({VARIABLE: str(tmp_path / "nothing")})
    with pytest.raises(ShardwrightError, match="there is no py-data-juicer beside it"):
        found_juicer({VARIABLE: sys.executable})


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("none.yaml", "there is no file 'none.yaml'"),
        ({"recipe": "juicer.yaml", "text": "masages"}, "unknown column 'masages'"),
        ({"recipe": "juicer.yaml", "text": "id"}, "the column 'id' holds no text"),
        ({"recipe": "juicer.yaml", "columns": ["messages"]}, "the column 'messages' holds no plain values"),
        ({"recipe": "juicer.yaml", "columns": ["images"]}, "the column 'images' would be another one for data-juicer"),
    ],
)
def test_mistakes_are_told_before_any_work(project: Project, step: Any, told: str) -> None:
    """A step that cannot work is a mistake of the recipe."""
    conversations(project, [], {"data_juicer": step})
    with pytest.raises(RecipeError, match=told):
        project.build()


def test_turns_of_texts() -> None:
    """Only a text that is whole has turns."""
    whole = "[[system]]: s\n[[human]]: <__dj__image>\n[[gpt]]: a\n\n[[human]]: b [[c]]: <|__dj__eoc|>"
    assert turns_of(whole) == [
        ("system", ["s"]),
        ("user", ["", "<__dj__image>", ""]),
        ("assistant", ["a\n"]),
        ("user", ["b [[c]]:"]),
    ]
    assert turns_of(whole.replace("\n", " ")) is not None
    assert turns_of(whole.removesuffix("<|__dj__eoc|>")) is None
    assert turns_of("a caption <|__dj__eoc|>") is None


def test_what_operators_do_to_rows(tmp_path: Path) -> None:
    """Rows that are gone are noted with the operator and what its trace says; stats of those that stay go along."""
    sent = [{"row": n, "text": f"t{n}", "images": [f"{n}.png"] if n % 2 else []} for n in range(4)]
    rows = Rows("row", ["text"], Dataset.from_list(sent))
    trace = tmp_path / "trace.jsonl"
    trace.write_text(json.dumps({**sent[1], "__dj__stats__": {"text_len": 2, "lang": None}}) + "\n", encoding="utf-8")
    rows.take("one", Dataset.from_list([sent[3], {**sent[2], "text": "new"}, sent[0]]), trace)
    last = [{**sent[3], "__dj__stats__": {"a": [1.5], "b": []}}, {**sent[2], "__dj__stats__": {"a": None, "b": None}}]
    rows.take("two", Dataset.from_list(last), None)
    rows.write(tmp_path / "answer", Dataset.from_list(last))
    assert [json.loads(line) for line in (tmp_path / "answer").read_text().splitlines()] == [
        {"row": 0, "operator": "two", "stats": {}},
        {"row": 1, "operator": "one", "stats": {"text_len": 2}},
        {"row": 2, "values": {"text": "t2"}, "stats": {}},
        {"row": 3, "values": {"text": "t3"}, "stats": {"a": [1.5]}},
    ]


@pytest.mark.parametrize(
    ("after", "told"),
    [
        ([{"row": 0, "images": ["a"]}, {"row": 0, "images": ["a"]}], "made 2 rows of row 0"),
        ([{"row": 0, "images": ["b"]}], "changed the media of row 0"),
        ([{"row": 0, "images": ["a"]}, {"row": 5, "images": []}], "made row 5"),
        ([{"row": 0, "images": ["a"]}, {"row": None, "images": ["a"]}], "made rows that are none of those"),
        ([{"row": 0}], "took the column 'images' away"),
    ],
)
def test_what_operators_may_not_do(after: list[dict[str, Any]], told: str) -> None:
    """Rows that are there twice, new rows, other media and lost columns are refused."""
    rows = Rows("row", [], Dataset.from_list([{"row": 0, "images": ["a"]}]))
    with pytest.raises(Unusable, match=told) as error:
        rows.take("some_mapper", Dataset.from_list(after), None)
    assert error.value.operator == "some_mapper"
