"""Rows become conversations: by a schema, by templates, or by a column that holds them; or it is said what to write."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from pipeline.errors import DatasetError, RecipeError, RowRejected, UsageError
from pipeline.labels import Label
from pipeline.schema import load_schema
from tests.project import Project, png
from tests.train.datasets_for_tests import CAPTION, FORMULA, build_clips, media, noise_png, opened, write_dataset
from train.example import Example, Image, ImageSize, TrainError

if TYPE_CHECKING:
    from pathlib import Path

FEW = ("bitmap.mp4", "unordered.mov")
IMAGE = {"image": {"_type": "Image"}}
IMAGES = {"images": {"_type": "List", "feature": {"_type": "Image"}}}


def plain(example: Example) -> list[tuple[str, list[Any]]]:
    """Write turns briefly: texts as they are, pictures by their width, videos by their frames."""
    return [
        (
            turn.role,
            [
                part if isinstance(part, str) else _width(part) if isinstance(part, ImageSize | Image) else part.numbers  # type: ignore[union-attr]
                for part in turn.parts
            ],
        )
        for turn in example.turns
    ]


def _width(part: ImageSize | Image) -> int:
    return part.width if isinstance(part, ImageSize) else part.size.width


def pictures(*sides: int) -> pa.Array:
    """Return a column of pictures of these widths."""
    return media([png(side, (side, 6)) for side in sides])


def lists_of(*rows: list[int] | None) -> pa.Array:
    """Return a column of lists of pictures."""
    kind = pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    return pa.array(
        [None if row is None else [{"bytes": png(side, (side, 6)), "path": None} for side in row] for row in rows], kind
    )


def reason(folder: Path, number: int, **options: Any) -> tuple[str, str]:
    """Return why a row cannot be used."""
    with pytest.raises(RowRejected) as raised:
        opened(folder, **options).shape(number)
    return raised.value.code, raised.value.message


def test_as_a_schema_says(project: Project) -> None:
    """A schema file, a schema and its templates give the same examples; labels are written as their names."""
    folder = build_clips(project, FEW)
    path = project.root / "schemas" / "demo.yaml"
    by_file, by_schema = opened(folder, conversation=path), opened(folder, conversation=load_schema(path))
    by_hand = opened(folder, conversation=CAPTION)
    assert by_file.fingerprint == by_schema.fingerprint == by_hand.fingerprint
    assert by_file.plan.view.told == "as the schema demo.yaml says"
    assert plain(by_file.shape(0)) == plain(by_hand.shape(0))
    (user, answer) = plain(by_file.shape(0))
    assert user == ("user", [by_file.shape(0).media[0].numbers, "What is this?"])  # type: ignore[union-attr]
    assert answer[1][0].startswith("This is ")
    kind = [
        {"user": ["Of which {{ ['a', 'b'][kind] }}?", {"video": "video"}]},
        {"assistant": "{{ kind }} {{ kind + 1 }}"},
    ]
    (asked, said) = plain(opened(folder, conversation=kind).shape(0))
    assert asked[1][0] == "Of which b?"
    assert said == ("assistant", ["real 2"])


def test_labels() -> None:
    """A label is a number that is written as its name; without a name it is a number."""
    label = Label(1, ("a", "b"))
    assert (str(label), label == 1, f"{label}", f"{label:>3}", f"{label:d}") == ("b", True, "b", "  b", "1")
    assert str(Label(-1, ("a",))) == "-1"


def test_messages_with_placeholders(tmp_path: Path) -> None:
    """ShareGPT messages: media stand where their placeholders do; where these are not as many, the row is refused."""
    talks = [
        [("human", "<image>\nOne?"), ("gpt", "Yes."), ("human", "And <image>, this?"), ("gpt", "No.")],
        [("system", "Be brief."), ("human", "<image> Two?"), ("gpt", "Two.")],
        [("human", "<image>"), ("gpt", "Hm."), ("bing", "search")],
        [("human", "Nothing?"), ("gpt", "  ")],
        [],
        [("human", "Text alone?"), ("gpt", "Yes.")],
    ]
    column = [[{"from": role, "value": text} for role, text in talk] for talk in talks]
    table = pa.table({"images": lists_of([5, 7], [9, 11], [4], [], None, None), "conversations": column})
    told = {**IMAGES, "conversations": {"_type": "List", "feature": {}}}
    folder = write_dataset(tmp_path / "d", table, told)
    data = opened(folder)
    assert data.plan.view.told == "as the column 'conversations' has it, media where the placeholders are"
    assert plain(data.shape(0)) == [
        ("user", [5, "\nOne?"]),
        ("assistant", ["Yes."]),
        ("user", ["And ", 7, ", this?"]),
        ("assistant", ["No."]),
    ]
    assert plain(data.shape(5)) == [("user", ["Text alone?"]), ("assistant", ["Yes."])]
    assert [(ref.number, code) for ref, code, _ in data.unusable()] == [
        (1, "conversation.placeholders"),
        (2, "conversation.role"),
        (3, "conversation.no_answer"),
        (4, "conversation.empty"),
    ]
    said = {"column": "conversations", "tokens": {"<image>": "images"}}
    assert plain(opened(folder, conversation=said).shape(0)) == plain(data.shape(0))


def test_messages_without_placeholders(tmp_path: Path) -> None:
    """Where no text says where media stand, they stand before the user's first words."""
    talk = [
        [{"role": role, "content": text} for role, text in (("system", "s"), ("user", "q"), ("assistant", "a"))]
        for _ in range(2)
    ]
    table = pa.table({"image": pictures(5, 6), "messages": talk})
    data = opened(write_dataset(tmp_path / "d", table, {**IMAGE, "messages": {}}))
    assert "before the user's first words" in data.plan.view.told
    assert plain(data.shape(1)) == [("system", ["s"]), ("user", [6, "q"]), ("assistant", ["a"])]


def test_messages_of_typed_parts(tmp_path: Path) -> None:
    """OpenAI's typed parts: each picture in turn, or the one of its index; anything else is refused by name."""

    def text(words: str | None) -> dict[str, Any]:
        return {"type": "text", "text": words, "index": None}

    def image(index: int | None = None) -> dict[str, Any]:
        return {"type": "image", "text": None, "index": index}

    talks = [
        [("user", [text("a"), image(), text("b"), image()]), ("assistant", [text("x")])],
        [("user", [image(1), image(0)]), ("assistant", [text("x")])],
        [("user", [image()]), ("assistant", [text("x")])],
        [("user", [image(), image()]), ("assistant", [text(None)])],
        [("user", [image(), {"type": "audio", "text": None, "index": None}]), ("assistant", [text("x")])],
        [("user", [image(0), image(5)]), ("assistant", [text("x")])],
        [("user", [image(), image()]), ("tool", [text("x")])],
    ]
    column = [[{"role": role, "content": parts} for role, parts in talk] for talk in talks]
    table = pa.table({"images": lists_of(*[[5, 7]] * len(talks)), "messages": column})
    data = opened(write_dataset(tmp_path / "d", table, {**IMAGES, "messages": {}}))
    assert plain(data.shape(0)) == [("user", ["a", 5, "b", 7]), ("assistant", ["x"])]
    assert plain(data.shape(1)) == [("user", [7, 5]), ("assistant", ["x"])]
    assert [(ref.number, code) for ref, code, _ in data.unusable()] == [
        (2, "conversation.placeholders"),
        (3, "conversation.part"),
        (4, "conversation.part"),
        (5, "conversation.placeholders"),
        (6, "conversation.role"),
    ]


def test_nothing_says_what_a_conversation_is(project: Project) -> None:
    """Without a view the columns are shown, and an example that can be pasted, and works."""
    import yaml

    folder = build_clips(project, FEW)
    with pytest.raises(DatasetError) as raised:
        opened(folder)
    assert "id (string), video (video), caption (string), kind (label)" in raised.value.what
    example = yaml.safe_load(raised.value.hint.partition("\n")[2])["conversation"]
    assert example == [{"user": [{"video": "video"}, "What is to be asked."]}, {"assistant": "{{ caption }}"}]
    assert plain(opened(folder, conversation=example).shape(0))[1][1][0].startswith("This is ")


def test_two_columns_of_pictures(tmp_path: Path) -> None:
    """Which of two columns a placeholder means cannot be told, so it is asked for."""
    talk = [[{"role": "user", "content": "<image> <image>"}, {"role": "assistant", "content": "a"}]]
    table = pa.table({"left": pictures(5), "right": pictures(6), "messages": talk})
    told: dict[str, Any] = {"left": {"_type": "Image"}, "right": {"_type": "Image"}, "messages": {}}
    folder = write_dataset(tmp_path / "d", table, told)
    with pytest.raises(DatasetError, match="'left', 'right' all hold images"):
        opened(folder)
    said = {"column": "messages", "role_key": "role", "text_key": "content"}
    said |= {"roles": {"user": "user", "assistant": "assistant"}, "tokens": {"<image>": "right"}}
    assert reason(folder, 0, conversation=said) == (
        "conversation.placeholders",
        "2 placeholders but 1 media in 'right'",
    )


@pytest.mark.parametrize(
    ("conversation", "words"),
    [
        ([], "no turns"),
        ([{"user": [{"image": "video"}]}, {"assistant": "a"}], "the column 'video' holds no image"),
        ([{"user": [{"video": "clip"}]}, {"assistant": "a"}], "unknown column 'clip'"),
        ([{"user": "{{ captoin }}"}, {"assistant": "a"}], "did you mean 'caption'"),
        ([{"user": "{{ video }}"}, {"assistant": "a"}], "'video' is no text"),
        ([{"robot": "a"}], "cannot be read"),
        ([{"user": [{"image": "a", "text": "b"}]}], "exactly one of text, image, video"),
        ({"column": "caption"}, "not a list of structs"),
        ({"colum": "caption"}, "cannot be read"),
        ([{"user": [{"video": "caption"}]}, {"assistant": "a"}], "the column 'caption' holds no video"),
    ],
)
def test_views_that_do_not_fit(project: Project, conversation: Any, words: str) -> None:
    """A conversation that does not fit the columns is refused before anything is indexed, with what is there."""
    folder = build_clips(project, FEW[:1])
    with pytest.raises(DatasetError, match=words):
        opened(folder, conversation=conversation)
    assert not (folder.parent / "cache-of-training").exists()


def test_schema_files_with_mistakes(project: Project) -> None:
    """A schema that is wrong, or says nothing of conversations, is refused."""
    folder = build_clips(project, FEW[:1])
    path = project.root / "other.yaml"
    path.write_text("name: other\ncolumns: {caption: string}\n")
    with pytest.raises(DatasetError, match="does not say what a conversation is"):
        opened(folder, conversation=path)
    path.write_text("name: other\ncolumns: {caption: strin}\n")
    with pytest.raises(RecipeError, match="did you mean 'string'"):
        opened(folder, conversation=path)


def test_what_is_not_there(project: Project) -> None:
    """Folders, configs, splits and columns that are not there are told with the names that are."""
    folder = build_clips(project, FEW[:1])
    for options, words in (
        ({"config": "other"}, "no config 'other'; there are: 'default'"),
        ({"split": "test"}, "has no split 'test'; there are: 'train'"),
        ({"id_column": "idd"}, "did you mean 'id'"),
        ({"longest_side": 0}, "`longest_side` is 0"),
    ):
        with pytest.raises((DatasetError, TrainError), match=words):
            opened(folder, conversation=CAPTION, **options)
    with pytest.raises(UsageError, match="there is no folder"):
        opened(folder / "nowhere", conversation=CAPTION)
    (project.root / "empty").mkdir()
    with pytest.raises(DatasetError, match="is no dataset that can be read"):
        opened(project.root / "empty", conversation=CAPTION)


def test_several_configs(tmp_path: Path) -> None:
    """Of several configs one is chosen; without a choice it is the one called default."""
    for name, side in (("small", 4), ("large", 40)):
        write_dataset(tmp_path / "d" / name, pa.table({"image": pictures(side), "caption": ["c"]}), IMAGE)
    card = "".join(
        f"- config_name: {name}\n  data_files: [{{split: train, path: {name}/data/*.parquet}}]\n"
        for name in ("small", "large")
    )
    (tmp_path / "d" / "README.md").write_text(f"---\nconfigs:\n{card}---\n")
    with pytest.raises(DatasetError, match="2 configs") as raised:
        opened(tmp_path / "d", conversation=FORMULA)
    assert "'small', 'large'" in raised.value.hint
    data = opened(tmp_path / "d", conversation=FORMULA, config="large")
    assert plain(data.shape(0))[0] == ("user", [40, "What is this?"])


def test_paths_beside_shards(tmp_path: Path) -> None:
    """Texts that are paths are media where the conversation says so, as long as they stay inside the dataset."""
    folder = tmp_path / "d"
    paths = ["pictures/a.png", "pictures/gone.png", "../secret.png", "https://example.org/a.png", None]
    table = pa.table({"file": paths, "caption": list("abcde")})
    write_dataset(folder, table, {"file": {"dtype": "string", "_type": "Value"}})
    (folder / "pictures").mkdir()
    (folder / "pictures" / "a.png").write_bytes(noise_png(1))
    (tmp_path / "secret.png").write_bytes(noise_png(2))
    asked = [{"user": [{"image": "file"}, "What?"]}, {"assistant": "{{ caption }}"}]
    data = opened(folder, conversation=asked)
    assert plain(data.example(0))[0][1][1] == "What?"
    assert data.example(0).media[0].size == data.shape(0).media[0]  # type: ignore[union-attr]
    assert plain(data.shape(4)) == [("user", ["What?"]), ("assistant", ["e"])]
    named = {ref.number: (code, message) for ref, code, message in data.unusable()}
    assert named == {
        1: ("media.missing", "file: the path 'pictures/gone.png' names no file of the dataset"),
        2: ("media.missing", "file: the path '../secret.png' leads out of the dataset"),
        3: (
            "media.missing",
            (
                "file: the path 'https://example.org/a.png' is a URL; training uses no network: "
                "build a dataset from it first"
            ),
        ),
    }
    both = [{"user": [{"image": "file"}, "What is {{ file }}?"]}, {"assistant": "{{ caption }}"}]
    assert plain(opened(folder, conversation=both).shape(0))[0][1][1] == "What is pictures/a.png?"
    (folder / "pictures" / "a.png").write_bytes(noise_png(3))
    with pytest.raises(RowRejected, match="the file is damaged, or it changed"):
        data.example(0)
    (folder / "pictures" / "gone.png").write_bytes(noise_png(4))
    assert [ref.number for ref, _, _ in opened(folder, conversation=asked).unusable()] == [2, 3]


def test_templates_reject_rows(tmp_path: Path) -> None:
    """A null in a text refuses its row with the reason; a missing medium is none."""
    table = pa.table({"image": media([png(1), None, png(3)]), "caption": ["a", "b", None]})
    data = opened(write_dataset(tmp_path / "d", table, IMAGE), conversation=FORMULA)
    assert plain(data.shape(1)) == [("user", ["What is this?"]), ("assistant", ["b"])]
    assert [(ref.number, code) for ref, code, _ in data.unusable()] == [(2, "template.null")]


def test_shards_that_differ(tmp_path: Path) -> None:
    """A column that is missing in one shard, or holds something else there, is told with the shard."""
    folder = write_dataset(tmp_path / "d", pa.table({"image": pictures(5), "caption": ["a"]}), IMAGE)
    more = write_dataset(tmp_path / "e", pa.table({"image": ["a"], "caption": ["a"]}), {})
    shard = next(more.rglob("*.parquet"))
    target = folder / "data" / "train-00001-of-00002.parquet"
    target.write_bytes(shard.read_bytes())
    next(folder.rglob("train-00000*")).rename(folder / "data" / "train-00000-of-00002.parquet")
    # a text may be a path, so that the row tells it
    data = opened(folder, conversation=FORMULA)
    assert [(ref.row, code) for ref, code, _ in data.unusable()] == [(0, "media.missing")]
    write_dataset(tmp_path / "f", pa.table({"picture": ["a"], "caption": ["a"]}), {})
    target.write_bytes(next((tmp_path / "f").rglob("*.parquet")).read_bytes())
    with pytest.raises(DatasetError, match="the column 'image' is missing in the shard data/train-00001"):
        opened(folder, conversation=FORMULA)


def test_ready_conversation_is_json_that_yaml_holds(project: Project) -> None:
    """What settings files hold is what is taken: plain lists and mappings."""
    folder = build_clips(project, FEW[:1])
    said = json.loads(json.dumps(CAPTION))
    assert opened(folder, conversation=said).fingerprint == opened(folder, conversation=CAPTION).fingerprint
