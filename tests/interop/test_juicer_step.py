"""The step of curation that runs a recipe of data-juicer, with data-juicer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.errors import ShardwrightError
from pipeline.stages.curation.juicer_program import VARIABLE
from tests.project import png

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.interop.peer import Peer
    from tests.project import Project

ONE_SPLIT = {"configs": {"default": {"splits": {"train": {"files": "*.jsonl"}}, "split_by": {"group": "none"}}}}
COLUMNS: dict[str, Any] = {
    "messages": {"type": {"list": {"struct": {"from": "string", "value": "string"}}}},
    "images": {"type": {"list": "image"}},
    "stars": "int64",
}
LINK = "See https://example.org/page for more of it, or ask."
TALKS: list[tuple[str, str, list[str], int]] = [
    ("<image>\nWhat is in this picture?", "It is a red rectangle, I think.", ["large.png"], 5),
    ("Hm?", "No.", [], 5),
    ("<image>\nWhat is this picture about?", LINK, ["large.png"], 5),
    ("<image>\nWhat is in this picture?", "It is a tiny one, too small for all.", ["small.png"], 5),
    ("Only words in this row, and long?", "Yes, that is right, only words here.", [], 4),
    ("Only words in this row, and long?", "Yes, that is right, only words here.", [], 1),
]
RECIPE = """
np: 1
process:
  - clean_links_mapper:
  - text_length_filter: {min_len: 60}
  - image_shape_filter: {min_width: 32, min_height: 32}
  - specified_numeric_field_filter: {field_key: stars, min_value: 2}
"""


def write(project: Project, recipe: str) -> None:
    """Write the project with a recipe of data-juicer."""
    (project.source / "large.png").write_bytes(png(1, (64, 48)))
    (project.source / "small.png").write_bytes(png(2, (8, 8)))
    rows = [
        {"messages": [{"from": "human", "value": said}, {"from": "gpt", "value": answer}], "images": images, "stars": n}
        for said, answer, images, n in TALKS
    ]
    project.rows("rows.jsonl", rows)
    (project.root / "recipes" / "juicer.yaml").write_text(recipe, encoding="utf-8")
    step = {"data_juicer": {"recipe": "juicer.yaml", "columns": ["stars"]}}
    conversation = {"column": "messages", "tokens": {"<image>": "images"}}
    project.write(ONE_SPLIT | {"curate": [step]}, COLUMNS, conversation=conversation)


def test_a_recipe_is_run(project: Project, peer: Callable[[str], Peer], monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that filters leave out are rejects with the operator and what it measured; a mapper's texts are changes."""
    monkeypatch.setenv(VARIABLE, str(peer("data-juicer").python))
    write(project, RECIPE)
    project.build(upto="shard")
    rows = project.split("train").to_pylist()
    assert [[turn["value"] for turn in row["messages"]] for row in rows] == [
        [TALKS[0][0], TALKS[0][1]],
        [TALKS[2][0], "See  for more of it, or ask."],
        [TALKS[4][0], TALKS[4][1]],
    ]
    assert [(row["line"], row["reason"], row["message"].partition(" (")[0]) for row in project.rejected()] == [
        (2, "curate.data_juicer", "text_length_filter"),
        (4, "curate.data_juicer", "image_shape_filter"),
        (6, "curate.data_juicer", "specified_numeric_field_filter"),
    ]
    assert project.rejected()[0]["message"] == "text_length_filter (operator 2): text_len 41"
    meta = json.loads((project.work / "manifest.json").read_bytes())["stages"]["curate"]["configs"]["default"]
    assert meta["changed"] == {"1 data_juicer": {"messages": 1}}
    # the trace of that last filter says nothing of what it left out
    assert meta["steps"][0]["measured"]["text_len"]["values"] == len(TALKS) - 1
    monkeypatch.setenv("PATH", "")
    project.build(upto="shard")
    assert project.split("train").num_rows == 3


@pytest.mark.parametrize(
    ("operator", "told"),
    [
        ("{text_chunk_mapper: {max_len: 20, split_pattern: null}}", r"text_chunk_mapper .* made \d+ rows of row"),
        ("{image_blur_mapper: {p: 1}}", "image_blur_mapper .* changed the media of row 0|is not installed beside"),
        ("{no_such_filter: {}}", "data-juicer .* ended with 1 over .*juicer.yaml: "),
    ],
)
def test_what_cannot_be_taken_over_is_an_error(
    project: Project, peer: Callable[[str], Peer], monkeypatch: pytest.MonkeyPatch, operator: str, told: str
) -> None:
    """Operators that make rows of their own or write other media, and recipes that fail, stop the build."""
    monkeypatch.setenv(VARIABLE, str(peer("data-juicer").python))
    write(project, f"np: 1\nprocess: [{operator}]\n")
    with pytest.raises(ShardwrightError, match=told):
        project.build(upto="shard")
