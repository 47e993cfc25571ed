"""A row becomes messages: turns or a column of messages, each medium at its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from three_files import load

from pipeline.column_type import parse_type
from pipeline.conversation import MediaPart, Message, Ready, TextPart, Turn, compile_conversation
from pipeline.errors import RowRejected

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = {
    "image": parse_type("image"),
    "images": parse_type({"list": "image"}),
    "video": parse_type("video"),
    "turns": parse_type({"list": {"struct": {"from": "string", "value": "string"}}}),
}


def plain(messages: list[Message]) -> list[tuple[str, list[Any]]]:
    """Write messages briefly: text as it is, media as (kind, column, position)."""
    return [
        (m.role, [p.text if isinstance(p, TextPart) else (p.kind, p.column, p.position) for p in m.parts])
        for m in messages
    ]


def ready(rows: list[tuple[str | None, str | None]], tokens: dict[str, str], **media: Any) -> Any:
    """Return the messages of a ready conversation, or the code of the reason."""
    spec = Ready.model_validate({"column": "turns", "tokens": tokens})
    row = {"turns": [{"from": role, "value": text} for role, text in rows], **media}
    try:
        return plain(compile_conversation(spec, COLUMNS)(row))
    except RowRejected as error:
        return error.code


def turns(*spec: dict[str, Any], **row: Any) -> Any:
    """Return the messages of turns, or the code of the reason."""
    try:
        return plain(compile_conversation([Turn.model_validate(turn) for turn in spec])(row))
    except RowRejected as error:
        return error.code


def test_turns() -> None:
    """A turn's parts stand in their order, a list column gives all its media, a null one none."""
    user = {"user": [{"image": "images"}, "What is {{ name }}?", {"video": "video"}, {"image": "image"}]}
    answer = {"assistant": "{{ text }}"}
    assert turns(
        {"system": "Be brief."}, user, answer, images=["a", "b"], name="it", video="v", image=None, text="x"
    ) == [
        ("system", ["Be brief."]),
        ("user", [("image", "images", 0), ("image", "images", 1), "What is it?", ("video", "video", None)]),
        ("assistant", ["x"]),
    ]


@pytest.mark.parametrize("text", ["{{ text }}", "A: {{ text }}", "{{ text ~ '!' }}", "{{ text|upper }}"])
def test_null_text_in_a_turn(text: str) -> None:
    """A null text leaves the row out and never becomes the word None."""
    assert turns({"user": text}, text=None) == "template.null"
    assert turns({"user": "{{ text or '' }}"}, text=None) == [("user", [""])]


def test_what_is_no_text() -> None:
    """A number is written out; a list is not."""
    assert turns({"user": "{{ n }}"}, n=5) == [("user", ["5"])]
    assert turns({"user": "{{ n }}"}, n=[1]) == "template.error"
    assert turns({"user": "{{ n }}"}) == "template.unknown"


def test_ready_conversation() -> None:
    """Placeholders become media in their order, over all turns; the text around them stays to the letter."""
    rows = [("human", "<image>\nHow does <image> differ?"), ("gpt", "It does. "), ("system", "<image>")]
    assert ready(rows, {"<image>": "images"}, images=["a", "b", "c"]) == [
        ("user", [("image", "images", 0), "\nHow does ", ("image", "images", 1), " differ?"]),
        ("assistant", ["It does. "]),
        ("system", [("image", "images", 2)]),
    ]


def test_role_and_content() -> None:
    """Keys and roles are those of the data, as the schema names them."""
    spec = Ready.model_validate(
        {"column": "messages", "role_key": "role", "text_key": "content", "roles": {"user": "user", "bot": "assistant"}}
    )
    row = {"messages": [{"role": "user", "content": "q"}, {"role": "bot", "content": ""}]}
    assert plain(compile_conversation(spec)(row)) == [("user", ["q"]), ("assistant", [])]


@pytest.mark.parametrize(
    ("text", "media", "result"),
    [
        ("<image>", {"images": []}, "conversation.placeholders"),
        ("<image>", {"images": None}, "conversation.placeholders"),
        ("", {"images": ["a"]}, "conversation.placeholders"),
        ("<image><image>", {"images": ["a"]}, "conversation.placeholders"),
        ("<image>", {"images": ["a", "b"]}, "conversation.placeholders"),
        ("none", {"images": []}, [("user", ["none"])]),
        ("<image>", {"images": "one"}, [("user", [("image", "images", None)])]),
        ("<IMAGE>", {"images": []}, [("user", ["<IMAGE>"])]),
    ],
)
def test_placeholders_and_media_must_agree(text: str, media: dict[str, Any], result: Any) -> None:
    """As many placeholders as media, for lists and single media, or the row is left out."""
    assert ready([("human", text)], {"<image>": "images"}, **media) == result


def test_a_longer_token_goes_first() -> None:
    """A token that includes a shorter one is taken whole, and columns are counted apart."""
    tokens = {"<v>": "video", "<v><v>": "images", "<": "image"}
    assert ready([("human", "a<v><v>b<v>c<")], tokens, video="v", images=["i"], image="p") == [
        ("user", ["a", ("image", "images", 0), "b", ("video", "video", None), "c", ("image", "image", None)])
    ]


def test_two_tokens_for_one_column() -> None:
    """Two tokens may stand for one column; its media come in the order of the text."""
    assert ready([("human", "<a><b><a>")], {"<a>": "images", "<b>": "images"}, images=[1, 2, 3]) == [
        ("user", [("image", "images", 0), ("image", "images", 1), ("image", "images", 2)])
    ]


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([("boss", "x")], "conversation.role"),
        ([(None, "x")], "conversation.role"),
        ([("Human", "x")], "conversation.role"),
        ([("human", None)], "conversation.null"),
    ],
)
def test_turns_that_cannot_be_used(rows: list[tuple[str | None, str | None]], code: str) -> None:
    """An unknown role or a null text leaves the row out."""
    assert ready(rows, {}) == code


def test_a_turn_that_is_null() -> None:
    """A null in the list of turns leaves the row out; a null list is a row without a conversation."""
    made = compile_conversation(Ready.model_validate({"column": "turns"}), COLUMNS)
    with pytest.raises(RowRejected, match="a turn that is null"):
        made({"turns": [None]})
    assert made({"turns": None}) == []


def test_out_of_a_schema(tmp_path: Path) -> None:
    """A schema's conversation compiles to the same messages."""
    columns = "name: demo\ncolumns: {images: {list: image}, text: string}\n"
    schema = f"{columns}conversation:\n- user: [image: images, '{{{{ text }}}}']\n"
    spec = load(tmp_path, schema=schema).configs["default"].schema.conversation
    assert spec is not None
    (message,) = compile_conversation(spec)({"images": ["a"], "text": "b"})
    assert message == Message("user", (MediaPart("image", "images", 0), TextPart("b")))


@settings(max_examples=200, deadline=None)
@given(
    tokens=st.lists(st.text("<>ab*.", min_size=1, max_size=4), min_size=1, max_size=3, unique=True),
    text=st.text("<>ab*.", max_size=20),
)
def test_any_tokens(tokens: list[str], text: str) -> None:
    """Whatever the tokens are, text and placeholders put together again are the text."""
    spec = Ready.model_validate({"column": "turns", "tokens": {token: f"c{n}" for n, token in enumerate(tokens)}})
    written = {f"c{n}": token for n, token in enumerate(tokens)}
    row: dict[str, Any] = {"turns": [{"from": "human", "value": text}]}
    # The counts are not known beforehand, so the row is given one medium more until it agrees.
    counts = dict.fromkeys(written, 0)
    for _ in range(100):
        try:
            (message,) = compile_conversation(spec)({**row, **{name: ["m"] * count for name, count in counts.items()}})
        except RowRejected as error:
            name = str(error).rpartition(" in ")[2].strip("'")
            counts[name] += 1
            continue
        parts = [p.text if isinstance(p, TextPart) else written[p.column] for p in message.parts]
        assert "".join(parts) == text
        return
    raise AssertionError
