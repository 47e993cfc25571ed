"""Dialects: what each reads, what it rejects and why, and nothing that is lost on the way."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dialects.dialect import CANONICAL, IMAGE, VIDEO
from pipeline.dialects.registry import DIALECTS, dialect
from pipeline.errors import RowRejected, UsageError
from tests.dialects.examples import EXAMPLES, SYSTEM, Example, said, spoken

PARTS = [{"type": "image"}, {"type": "text", "text": "What?"}]
TWO = [{"role": "user", "content": PARTS}, {"role": "assistant", "content": "A dog."}]


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_examples_are_read(example: Example) -> None:
    """A record becomes messages, images and videos; its other columns stay as they are."""
    found = dialect(example.dialect).read(example.record)
    assert found == {"messages": example.messages, "images": example.images, "videos": example.videos, **example.rest}
    assert not set(example.rest) & set(dialect(example.dialect).takes)


def test_every_dialect_has_an_example() -> None:
    """All are tried above, but for those that read what is exported; they are called as they are registered."""
    assert {example.dialect for example in EXAMPLES.values()} | {"webdataset", "folder", "csv"} == set(DIALECTS)
    assert all(name == one.name and one.title and one.source for name, one in DIALECTS.items())


def test_unknown_dialect_is_said() -> None:
    """A name that is none is told with the nearest."""
    with pytest.raises(UsageError, match=r"there is no dialect 'lava'\n.*allowed: llava, .*\n.*did you mean 'llava'"):
        dialect("lava")


REJECTED: list[tuple[str, dict[str, Any], str, str]] = [
    ("llava", {"image": "a.jpg"}, "dialect.type", "'conversations' is null: None; a list is allowed"),
    ("llava", {"conversations": "[{"}, "dialect.type", "'conversations' is a text that is no JSON: '[{'"),
    ("llava", {"conversations": ["x"]}, "dialect.type", "turn 1 in 'conversations' is a text; a mapping is allowed"),
    (
        "llava",
        {"conversations": [{"role": "user", "content": "x"}]},
        "dialect.type",
        "turn 1 in 'conversations' has the keys ['role', 'content']; allowed: 'from' and 'value'",
    ),
    (
        "llava",
        {"conversations": [{"from": "alien", "value": "x"}]},
        "dialect.role",
        "turn 1 in 'conversations' is of 'alien'; allowed: human, gpt, system, user, assistant",
    ),
    (
        "llava",
        {"conversations": [{"from": ["human"], "value": "x"}]},
        "dialect.role",
        "turn 1 in 'conversations' is of ['human']; allowed: human, gpt, system, user, assistant",
    ),
    (
        "llava",
        {"conversations": [{"from": "human", "value": 3}]},
        "dialect.type",
        "turn 1 in 'conversations' has an integer at 'value'; a text is allowed",
    ),
    ("llava", {"conversations": []}, "dialect.turns", "'conversations' has no turns of user and assistant"),
    (
        "llava",
        {"conversations": spoken("a")[::-1]},
        "dialect.turns",
        (
            "turn 1 in 'conversations' is of the assistant, where the user's turn is; user and assistant take turns, "
            "behind one system text or none"
        ),
    ),
    (
        "llava",
        {"conversations": spoken("a")[:1]},
        "dialect.turns",
        "'conversations' ends with the user's turn; the assistant has the last word",
    ),
    (
        "llava",
        {"image": "a.jpg", "conversations": spoken("What?")},
        "dialect.placeholders",
        "0 times '<image>' in the texts, but the record names 1 image; each stands for one",
    ),
    (
        "llava",
        {"conversations": spoken("What is the tag <video>?")},
        "dialect.placeholders",
        "1 times '<video>' in the texts, but the record names 0 videos; each stands for one",
    ),
    (
        "llava",
        {"image": "a", "images": ["b"], "conversations": spoken("<image>")},
        "dialect.column",
        "both 'image' and 'images' name media; one of them is allowed",
    ),
    (
        "llava",
        {"image": 3, "conversations": spoken("<image>")},
        "dialect.type",
        "'image' holds an integer: 3; a path, a URL, bytes or {bytes, path} is allowed",
    ),
    (
        "llava",
        {"conversations": spoken("a"), "messages": []},
        "dialect.column",
        "there is a column 'messages' beside those that this dialect reads",
    ),
    (
        "qwen-vl",
        {"image": "a", "conversations": spoken("What?", "<image>")},
        "dialect.placeholders",
        "turn 2 is of the assistant and holds 1 placeholders; only questions show media",
    ),
    (
        "internvl",
        {"image": ["a", "b"], "conversations": spoken("<image>?")},
        "dialect.placeholders",
        "1 times '<image>' in the texts, but the record names 2 images; each stands for one",
    ),
    (
        "ms-swift",
        {"messages": said("<image><image>"), "images": ["a"]},
        "dialect.placeholders",
        "2 times '<image>' in the texts, but the record names 1 image; each stands for one",
    ),
    (
        "ms-swift",
        {"messages": said("<bbox>"), "objects": {"bbox": []}},
        "dialect.placeholders",
        "1 times '<bbox>' in the texts, but 0 in 'objects' under 'bbox'",
    ),
    (
        "ms-swift",
        {"messages": said("a"), "videos": [["1.jpg", "2.jpg"]]},
        "dialect.type",
        (
            "'videos' holds a list: ['1.jpg', '2.jpg']; a path, a URL, bytes or {bytes, path} is allowed; frames of a "
            "video, one by one, are not read"
        ),
    ),
    (
        "ms-swift",
        {"messages": [*said("a"), {"role": "tool", "content": "x"}]},
        "dialect.role",
        "turn 3 in 'messages' is of 'tool'; allowed: human, gpt, system, user, assistant, bot",
    ),
    (
        "ms-swift",
        {"messages": said("a"), "query": "b"},
        "dialect.column",
        "both 'messages' and 'query'; one is allowed",
    ),
    (
        "ms-swift",
        {"text": "a"},
        "dialect.column",
        "no turns and no query; there are ['text'], allowed: messages, conversations, conversation or 'query'",
    ),
    (
        "ms-swift",
        {"query": "a", "response": "b", "history": [["a"]]},
        "dialect.type",
        "pair 1 in 'history' is ['a']; [query, response] is allowed",
    ),
    (
        "ms-swift",
        {"messages": [SYSTEM, *said("a")], "system": "Else."},
        "dialect.turns",
        "two system texts: one in 'system', another in the first turn",
    ),
    (
        "llama-factory",
        {"conversations": spoken("a"), "images": ["a"]},
        "dialect.placeholders",
        "0 times '<image>' in the texts, but the record names 1 image; each stands for one",
    ),
    (
        "llama-factory",
        {"conversations": [{"from": "human", "value": "a"}, {"from": "function_call", "value": "{}"}]},
        "dialect.role",
        "turn 2 in 'conversations' is of 'function_call'; allowed: human, gpt, system, user, assistant",
    ),
    (
        "alpaca",
        {"instruction": "a", "output": None},
        "dialect.turns",
        "there is no answer; the assistant has the last word",
    ),
    (
        "alpaca",
        {"prompt": "a", "output": "b"},
        "dialect.column",
        "there are ['prompt', 'output']; 'instruction' or 'input', and 'output' must be among them",
    ),
    (
        "xtuner",
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "<IMG_CONTEXT>?"}]}, TWO[1]]},
        "dialect.placeholders",
        "1 times '<IMG_CONTEXT>' in the texts, but 0 parts are images",
    ),
    (
        "trl",
        {"messages": TWO, "images": ["a", "b"]},
        "dialect.placeholders",
        "1 parts of the messages take images of the record, which has 2",
    ),
    (
        "trl",
        {"messages": TWO},
        "dialect.placeholders",
        "part 1 of turn 1 in 'messages' takes images[0] of the record, which has 0",
    ),
    (
        "trl",
        {"messages": said("a literal <image> in it")},
        "dialect.placeholders",
        (
            "a text holds '<image>' 1 times, which would be taken for the place of a medium; media are parts of "
            "their own here"
        ),
    ),
    (
        "trl",
        {"messages": [{"role": "user", "content": [{"type": "tool_use"}]}]},
        "dialect.type",
        (
            "part 1 of turn 1 in 'messages' is of type 'tool_use'; allowed: text, input_text, image, image_url, "
            "input_image, video, video_url, input_video"
        ),
    ),
    (
        "trl",
        {"prompt": "a", "chosen": "b", "rejected": "c"},
        "dialect.column",
        "'chosen' and 'rejected' are a preference, and no conversation",
    ),
    (
        "data-juicer",
        {"text": "<__dj__image> A <|__dj__eoc|> <__dj__image> B <|__dj__eoc|>", "images": ["a", "b"]},
        "dialect.turns",
        (
            "2 chunks of text and media and no `[[human]]: ` is no conversation; leave `dialect` out and keep `text` "
            "and media as columns"
        ),
    ),
    (
        "data-juicer",
        {"text": "[[human]]: a\n[[robot]]: b"},
        "dialect.role",
        "turn 2 is of 'robot'; allowed: human, gpt, system, user, assistant",
    ),
    (
        "data-juicer",
        {"text": "<__dj__image> A <__dj__image> B", "images": ["a", "b"]},
        "dialect.turns",
        "media between texts, or without any, are no conversation; leave `dialect` out",
    ),
]


@pytest.mark.parametrize(("name", "record", "code", "message"), REJECTED)
def test_what_does_not_fit_is_rejected_in_words(name: str, record: dict[str, Any], code: str, message: str) -> None:
    """What was found and what is allowed stands in the message; the code says what kind of thing it is."""
    with pytest.raises(RowRejected) as caught:
        dialect(name).read(record)
    assert (caught.value.code, caught.value.message) == (code, message)


def test_media_in_records_are_not_changed() -> None:
    """The record that was read is as it was, though placeholders were added to its texts."""
    record = {"messages": said("What?"), "images": ["a.jpg"]}
    assert dialect("ms-swift").read(record)["messages"][0]["content"] == "<image>What?"
    assert record == {"messages": said("What?"), "images": ["a.jpg"]}


def test_lists_may_be_json_where_a_format_has_none() -> None:
    """A CSV cell holds turns, pairs and media as JSON."""
    row = {
        "messages": '[{"role": "user", "content": "<image>?"}, {"role": "assistant", "content": "!"}]',
        "images": "a",
    }
    assert dialect("ms-swift").read(row)["messages"] == said("<image>?", "!")
    several = dialect("alpaca").read({"instruction": "<image><image>", "output": "!", "images": '["a", "b"]'})
    assert several["images"] == ["a", "b"]
    named = dialect("alpaca").read({"instruction": "<image>", "output": "!", "images": "[1].jpg"})
    assert named["images"] == ["[1].jpg"]


KEYS = """messages conversations conversation from value role content human gpt user assistant system text type image
images image_url url video videos prompt completion query response history instruction input output objects bbox ref
path bytes index <image> <video> <IMG_CONTEXT> [[human]]: <|__dj__eoc|> <__dj__image> <img>a</img> [ []"""
WORDS = st.sampled_from(KEYS.split())
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats()
    | st.binary(max_size=3)
    | WORDS
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)
TURNS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "role": WORDS | VALUES,
            "content": VALUES | st.lists(st.dictionaries(WORDS, WORDS | VALUES, max_size=3), max_size=2),
            "from": WORDS | VALUES,
            "value": WORDS | VALUES,
        },
    ),
    max_size=3,
)
RECORDS = st.dictionaries(WORDS, VALUES | TURNS, max_size=6)


CODES = ("dialect.column", "dialect.type", "dialect.role", "dialect.turns", "dialect.placeholders")


def _outcome(name: str, record: dict[str, Any]) -> tuple[dict[str, Any] | None, str | None]:
    """Return the canonical record, or the code of why there is none."""
    try:
        return dialect(name).read(record), None
    except RowRejected as error:
        return None, error.code


@settings(max_examples=150, deadline=None)
@given(record=RECORDS, name=st.sampled_from(sorted(DIALECTS)))
def test_any_record_is_read_or_rejected(record: dict[str, Any], name: str) -> None:
    """Whatever stands in a record, it becomes a canonical one with as many placeholders as media, or is rejected."""
    one = dialect(name)
    assert 0 <= one.likeness([record]).score <= 1
    found, code = _outcome(name, record)
    assert code in (None, *CODES)
    if found is None:
        return
    assert set(CANONICAL) <= set(found)
    texts = [message["content"] for message in found["messages"]]
    assert [sum(text.count(token) for text in texts) for token in (IMAGE, VIDEO)] == [
        len(found["images"]),
        len(found["videos"]),
    ]
    roles = [message["role"] for message in found["messages"]]
    spoken_roles = roles[1:] if roles[0] == "system" else roles
    assert spoken_roles == (["user", "assistant"] * len(roles))[: len(spoken_roles)]
    assert {key: found[key] for key in found if key not in CANONICAL} == {
        key: value for key, value in record.items() if key not in one.takes
    }


def test_a_record_a_thousand_levels_deep_is_rejected() -> None:
    """Values that are too deep to be shown are rejected like any other."""
    deep: Any = []
    for _ in range(900):
        deep = [deep]
    for one in DIALECTS.values():
        with pytest.raises(RowRejected):
            one.read({"conversations": deep, "messages": deep, "instruction": deep, "output": "", "query": deep})
