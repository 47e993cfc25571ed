"""Checks of rows: each finds what it is meant for, says where, and is silent where nothing is wrong."""

from __future__ import annotations

import pickle
import random
import string
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from pipeline.checks import row_pass
from pipeline.checks.mojibake import repaired
from pipeline.checks.row_pass import RowTask, look_at_rows
from pipeline.checks.secrets_in_text import find_mail, find_secret, masked
from tests.checks.row_looks import CHAT, MEDIUM, chat, features, look, look_at, media, write_dataset, write_schema

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = [f"Text number {number}." for number in range(20)]
HOME = "/ho" + "me/joe"


def _some(*wrong: Any, good: Any = "A sound text.") -> list[Any]:
    """Return twenty values, the first of which are wrong."""
    return [*wrong, *[good] * (20 - len(wrong))]


# --- empty columns and texts


def test_a_column_of_nulls_is_found_over_all_shards(tmp_path: Path) -> None:
    """SW403 needs every shard: a value in one of them is enough for silence."""
    nulls = pa.table({"text": ["a", "b"], "note": pa.nulls(2, pa.string()), "image": pa.nulls(2, MEDIUM)})
    found = look(write_dataset(tmp_path / "all", nulls, nulls))
    assert sorted((p.code, p.key, p.message) for p in found.problems) == [
        ("SW403", "image", "null in all 4 rows that were looked at"),
        ("SW403", "note", "null in all 4 rows that were looked at"),
    ]
    some = pa.table({"text": ["a", "b"], "note": ["x", None], "image": pa.array([{"bytes": b"x"}, None], MEDIUM)})
    assert not look(write_dataset(tmp_path / "some", nulls, some)).counts


@pytest.mark.parametrize(
    ("name", "values", "wrong"),
    [
        ("note", _some("", "\t "), 2),
        ("caption", _some(*["\u3000"] * 8), 8),
        ("note", _some(*[""] * 8), 0),  # an optional one
        ("note", _some(None, None), 0),
        ("caption", _some(*[""] * 18), 0),  # as it is meant to be
        ("caption", _some("\u200d", ".", "0"), 0),
    ],
)
def test_empty_texts_are_told_once_a_column(tmp_path: Path, name: str, values: list[str], wrong: int) -> None:
    """SW404 counts them, names the first, and leaves columns alone that are often empty."""
    found = look_at(tmp_path, {name: values})
    expected = [("SW404", 0, name, f"{wrong} of 20 texts are empty or only white space")] if wrong else []
    assert [(p.code, p.row, p.key, p.message) for p in found.problems] == expected


def test_empty_answers_are_told_but_not_those_of_a_test_split(tmp_path: Path) -> None:
    """An empty word of the assistant is a mistake among others, and none where all are kept back."""
    talks = pa.array([chat("Hi.", "" if number < 3 else "Ho.") for number in range(10)], CHAT)
    hidden = pa.array([chat("Hi.", "")] * 5, CHAT)
    write_dataset(tmp_path / "one", pa.table({"conversations": hidden}), split="test")
    found = look(write_dataset(tmp_path / "one", pa.table({"conversations": talks})))
    assert [(p.code, p.split, p.key) for p in found.problems] == [("SW404", "train", "conversations[].value")]
    assert found.messages("SW404") == ["3 of 10 texts are empty or only white space"]


# --- wrong encodings


@pytest.mark.parametrize(
    "text",
    [
        "café au lait",
        "Übergröße",
        "it\u2019s",
        "20 °C",
        "— a dash",
        "你好\uff0c世界",
        "привет",
        "Γειά",
        "안녕하세요",
        "😀",
        "€ 5",
        "może",
        "\ufeffname",
    ],
)
@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
def test_utf8_that_was_read_as_something_else_is_found(text: str, encoding: str) -> None:
    """The text itself is sound, and what was made of it is not, and what it was is said."""
    assert repaired(text) is None
    wrong = text.encode().decode(encoding, "ignore")
    found = repaired(f"so: {wrong}")
    assert found is not None
    if wrong == text.encode().decode("latin-1"):  # nothing was lost
        assert found[1] in text
        assert found[1]


@pytest.mark.parametrize(
    "text",
    [
        "«Â»",
        "100 Å²",
        "“café”…",
        "“café”—she",
        "« IRMÃ »",
        "AMANHÃ…",
        "der Umlaut „Ä“",
        "Spaß”",
        "L\u2019ÉCOLE… «été» à »",
        "“voilà”…",
        "São Paulo, Łódź, Việt Nam, İstanbul",
        "10 µm \u00d7 5 ± 1 ½",
        "naïf» crème brûlée™ Nestlé® Beyoncé\u2019s",
        "数据 données Größe данные",
        "The file shows cafÃ© because of wrong UTF-8",
        'text.replace("â€™", "\'")',
    ],
)
def test_sound_texts_are_not_taken_for_damage(text: str) -> None:
    """Punctuation behind letters with accents, and talk about encodings, are no damage."""
    assert repaired(text) is None


def test_damage_is_told_once_a_column(tmp_path: Path) -> None:
    """SW405 counts texts and shows what one of them should be; a lost character cannot be had back."""
    found = look_at(tmp_path, {"a": _some("Good.", "cafÃ© noir", "naÃ¯ve"), "b": _some("lost: \ufffd")})
    assert [(p.code, p.row, p.key) for p in found.problems] == [("SW405", 1, "a"), ("SW405", 0, "b")]
    assert found.messages("SW405") == [
        "2 of 20 texts were decoded with the wrong encoding: 'cafÃ©' should be 'café'",
        "1 of 20 texts were decoded with the wrong encoding: 'lost: \ufffd' has lost a character",
    ]


def test_bytes_that_are_no_utf8_are_told(tmp_path: Path) -> None:
    """Parquet holds any bytes as text; they are found wherever they stand, and other checks go on."""
    data = pa.array([b"sound", b"\xff\xfe", None, b"joe@web.de"], pa.binary()).view(pa.string())
    inside = pa.array([[{"t": b"ok"}], [{"t": b"\xc3("}], [], []], pa.list_(pa.struct({"t": pa.binary()})))
    inside = pa.ListArray.from_arrays(inside.offsets, pa.StructArray.from_arrays(
        [inside.flatten().field(0).view(pa.string())], names=["t"]))  # fmt: skip
    found = look_at(tmp_path, {"a": data, "b": inside})
    assert [(p.code, p.row, p.key) for p in found.problems] == [
        ("SW410", 3, "a"),
        ("SW405", 1, "a"),
        ("SW405", 1, "b[].t"),
    ]
    assert "1 of 3 texts are not UTF-8" in found.messages("SW405")[0]
    assert found.shards[0].rows == 4


# --- placeholders


@pytest.mark.parametrize(
    ("token", "kind"),
    [("<image>", "images"), ("<__dj__image>", "images"), ("<|image_pad|>", "images"), ("<video>", "videos")],
)
def test_placeholders_are_counted_row_by_row(tmp_path: Path, token: str, kind: str) -> None:
    """SW406: too few and too many, in whichever turn they stand."""
    talks = [chat(f"{token} What?", "That.", f"And {token}?", "This.")] * 8
    counts = [2, 2, 1, 2, 2, 0, 2, 3]
    found = look_at(tmp_path, {"messages": pa.array(talks, CHAT), kind: media(*counts)})
    assert [(p.code, p.row, p.key) for p in found.problems] == [("SW406", row, "messages[].value") for row in (2, 5, 7)]
    what = kind.removesuffix("s")
    assert found.messages("SW406")[0] == f"2 placeholders for {kind} in the text, 1 {what} in the row"


def test_placeholders_in_plain_texts(tmp_path: Path) -> None:
    """The column that has them is the one that is counted, and a lone medium is one."""
    images = pa.array([{"bytes": b"x", "path": "a.png"}, None, {"bytes": b"y", "path": "b.png"}], MEDIUM)
    table = {"text": ["<image> a cat", "no picture", "twice <image><image>"], "note": ["-"] * 3, "image": images}
    found = look_at(tmp_path, table)
    assert [(p.row, p.key, p.message) for p in found.problems] == [
        (2, "text", "2 placeholders for images in the text, 1 image in the row")
    ]


@pytest.mark.parametrize(
    ("texts", "counts"),
    [
        (["<image> a", "b <image><image>", "no media"], [1, 2, 0]),
        (["A cat."] * 3, [1, 1, 2]),  # none are used
        (["An <image> tag in SVG", "b", "c", "d"], [1, 1, 1, 1]),  # not in most rows
        (["<image> in one"] * 4, [3, 3, 3, 1]),  # one for all
        (["<video> a"] * 3, [1, 1, 1]),  # of another kind
    ],
)
def test_placeholders_that_are_sound_or_mean_something_else(
    tmp_path: Path, texts: list[str], counts: list[int]
) -> None:
    """What most rows do is how the dataset is meant."""
    assert not look_at(tmp_path, {"text": texts, "images": media(*counts)}).counts


def test_a_schema_says_what_a_placeholder_is(tmp_path: Path) -> None:
    """Then every row is held to it, also where media lie beside the shards as paths."""
    columns = {"text": "string", "frames": {"list": "image"}}
    rule = {"column": "text", "token": "[FRAME (1)]", "media": "frames"}
    schema = write_schema(tmp_path / "schema.yaml", columns, placeholders=[rule])
    table = {"text": ["[FRAME (1)]", "none", "[FRAME (1)]"], "frames": media(1, 1, 2)}
    assert look_at(tmp_path / "a", table, schemas={"default": schema}).counts == {"SW406": 2}
    beside = {"text": table["text"], "frames": pa.array([["a"], [], ["b", "c"]])}
    found = look_at(tmp_path / "b", beside, schemas={"default": schema})
    assert [(p.code, p.row) for p in found.problems] == [("SW406", 2)]


# --- turns


def _talk(*turns: tuple[str | None, str | None]) -> list[dict[str, str | None]]:
    return [{"from": role, "value": text} for role, text in turns]


@pytest.mark.parametrize(
    ("talk", "message"),
    [
        ([], "the conversation has no turns"),
        (None, "the conversation has no turns"),
        (_talk(("human", "a")), "the last turn is of 'human', and not the assistant's"),
        (_talk(("gpt", "a")), "the first turn is of 'gpt', and not the user's"),
        (_talk(("human", "a"), ("human", "b"), ("gpt", "c")), "turn 2 is of 'human', right after one of 'human'"),
        (_talk(("human", "a"), ("gpt", "b"), ("gpt", "c")), "turn 3 is of 'gpt', right after one of 'gpt'"),
        (_talk(("human", "a"), ("system", "b"), ("gpt", "c")), "turn 2 is of 'system', right after one of 'human'"),
        (_talk(("human", "a"), ("bot", "b")), "turn 2 has the unknown role 'bot'; known: system, user, assistant, "),
        (_talk(("human", "a"), (None, "b")), "turn 2 has no role"),
        (_talk(("human", None), ("gpt", "b")), "turn 1, of 'human', has no text"),
    ],
)
def test_turns_that_are_wrong_are_told_row_by_row(tmp_path: Path, talk: Any, message: str) -> None:
    """SW407 names the first wrong turn of a row."""
    talks = pa.array([chat("a", "b"), talk, chat("a", "b", "c", "d")], CHAT)
    found = look_at(tmp_path, {"conversations": talks})
    assert [(p.code, p.row, p.key) for p in found.problems] == [("SW407", 1, "conversations")]
    assert found.problems[0].message.startswith(message)


@pytest.mark.parametrize(
    "talk",
    [
        chat("a", "b"),
        [{"from": "system", "value": "s"}, *chat("a", "b")],
        _talk(("user", "a"), ("assistant", "b")),
        _talk(("human", "a"), ("function_call", "f()"), ("observation", "1"), ("gpt", "b")),
        _talk(
            ("user", "a"),
            ("assistant", "f"),
            ("tool", "1"),
            ("tool", "2"),
            ("assistant", "b"),
            ("user", "c"),
            ("assistant", "d"),
        ),
    ],
)
def test_sound_turns_pass(tmp_path: Path, talk: Any) -> None:
    """System turns, tools and both families of role names are known."""
    openai = pa.list_(pa.struct({"role": pa.string(), "content": pa.string()}))
    other = [{"role": turn["from"], "content": turn["value"]} for turn in talk]
    assert not look_at(tmp_path / "a", {"conversations": pa.array([talk], CHAT)}).counts
    assert not look_at(tmp_path / "b", {"messages": pa.array([other], openai)}).counts


def test_prompts_and_calls_of_tools_need_no_last_word(tmp_path: Path) -> None:
    """Where no row ends with the assistant these are prompts; who calls a tool may say nothing beside it."""
    assert not look_at(tmp_path / "a", {"prompt": pa.array([chat("a"), chat("a", "b", "c")], CHAT)}).counts
    turn = pa.struct({"role": pa.string(), "content": pa.string(), "tool_calls": pa.string()})
    talk = [
        {"role": "user", "content": "a", "tool_calls": None},
        {"role": "assistant", "content": None, "tool_calls": "f()"},
        {"role": "tool", "content": "", "tool_calls": None},
        {"role": "assistant", "content": "b", "tool_calls": None},
    ]
    assert not look_at(tmp_path / "b", {"messages": pa.array([talk] * 3, pa.list_(turn))}).counts


def test_a_schema_says_what_roles_mean(tmp_path: Path) -> None:
    """Roles that only this dataset has are known by its schema, and no others."""
    talks = pa.array([_talk(("Q", "a"), ("A", "b")), chat("a", "b")], CHAT)
    spec = {"column": "talks", "roles": {"Q": "user", "A": "assistant"}}
    columns = {"talks": {"list": {"struct": {"from": "string", "value": "string"}}}}
    schema = write_schema(tmp_path / "schema.yaml", columns, conversation=spec)
    found = look_at(tmp_path, {"talks": talks}, schemas={"default": schema})
    assert [(p.row, p.message) for p in found.problems] == [(1, "turn 1 has the unknown role 'human'; known: A, Q")]


# --- paths


@pytest.mark.parametrize(
    ("name", "values", "wrong"),
    [
        ("file_name", _some(f"{HOME}/a b/cat.jpg", "/Users/ann/x", good="img/a.jpg"), 2),
        ("source", _some(r"C:\Users\ann\x.png", good="web"), 1),
        ("note", [f"/mnt/disk/{n}.mp4" for n in range(20)], 20),
        ("image_path", [f"/datasets/coco/{n}.jpg" for n in range(20)], 20),
        ("url", _some(f"file://{HOME}/x", good="https://a.b/c"), 1),
        ("video", _some(r"\\server\share\x.mp4", good="v/x.mp4"), 1),
        # none of these is one
        ("text", _some(f"{HOME} is where Linux keeps what is Joe's."), 0),
        ("text", _some(f"Type `ls {HOME}/x.txt` to see it.", f"{HOME}/x.txt"), 0),
        ("path", ["/home", "/mnt", "/docs/index.html", "/api/data", "/"] * 4, 0),
        ("url", _some("https://a.b/mnt/x.jpg", "hf://datasets/a/b.png", "//cdn.b/x.png"), 0),
        ("image", _some("/9j/4AAQSkZJRgABAQ==", "C: drive"), 0),
        ("formula", [r"f:\mathbb{R}\to\mathbb{R}"] * 20, 0),
    ],
)
def test_paths_of_a_machine(tmp_path: Path, name: str, values: list[str], wrong: int) -> None:
    """SW408 looks at values that are a path as a whole, in columns of paths or where they are many."""
    found = look_at(tmp_path, {name: values})
    assert [(p.code, p.row, p.key) for p in found.problems] == ([("SW408", 0, name)] if wrong else [])
    if wrong:
        assert found.problems[0].message.startswith(f"{wrong} of 20 values are absolute paths")


def test_paths_of_embedded_media(tmp_path: Path) -> None:
    """`datasets` keeps the name alone; a whole path tells of somebody's folders."""
    table = {"images": pa.array([[{"bytes": b"x", "path": "a.png"}, {"bytes": b"x", "path": f"{HOME}/a.png"}]] * 2,
                                pa.list_(MEDIUM))}  # fmt: skip
    found = look_at(tmp_path, table)
    assert [(p.code, p.key) for p in found.problems] == [("SW408", "images[].path")]
    assert found.problems[0].message.startswith("2 of 4 media have an absolute path of somebody's machine, e.g. '/")
    names = pa.array([{"bytes": b"x", "path": "a/b.png"}, {"bytes": b"x", "path": None}], MEDIUM)
    assert not look_at(tmp_path / "names", {"image": names}).counts


# --- secrets and addresses

_RANDOM = random.Random(7)  # noqa: S311  (secrets that are none)
LETTERS = string.ascii_letters
ALL = LETTERS + string.digits


def _drawn(length: int, characters: str = ALL) -> str:
    return "".join(_RANDOM.choices(characters, k=length))


def _key(*lines: str, kind: str = "RSA ") -> str:
    begin, end = (f"-----{word} {kind}PRIVATE KEY-----" for word in ("BEGIN", "END"))
    return "\n".join([begin, *lines, end])


SECRETS = {
    "a private key": [_key(*(_drawn(64) for _ in range(9))), _key(_drawn(60), kind="").replace("\n", "\\n")],
    "a Hugging Face token": ["hf_" + _drawn(34, LETTERS), "(hf_" + _drawn(34, LETTERS) + ")"],
    "an API key": ["sk-" + _drawn(48), "sk-ant-api03-" + _drawn(93), "sk-" + _drawn(32, "0123456789abcdef")],
    "a GitHub token": ["ghp_" + _drawn(36), "github_pat_" + _drawn(22) + "_" + _drawn(59)],
    "a GitLab token": ["glpat-" + _drawn(20)],
    "an access key of AWS": ["AKIA" + _drawn(13, string.ascii_uppercase) + "7Q2"],
    "an API key of Google": ["AIza" + _drawn(35)],
    "a Slack token": ["xoxb-" + _drawn(12, string.digits) + "-" + _drawn(24)],
    "a JSON Web Token": ["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJqb2UiLCJhZG1pbiI6dHJ1ZX0." + _drawn(43)],
    "a URL with a password": [
        "postgres://joe:" + _drawn(12) + "@db.corp.net/x",
        "https://a.corp.net/x?user=1&password=hunter2hunter2",
        "https://a.corp.net/?api_key=" + _drawn(32),
    ],
}


@pytest.mark.parametrize(("what", "secret"), [(what, one) for what, several in SECRETS.items() for one in several])
def test_secrets_are_found_and_never_shown(tmp_path: Path, what: str, secret: str) -> None:
    """SW409 shows four characters and the length."""
    table = {"text": ["Good.", f"export KEY={secret} # x" if "\n" not in secret and ":" not in secret else secret]}
    found = look_at(tmp_path, table)
    assert [(p.code, p.row, p.key) for p in found.problems] == [("SW409", 1, "text")]
    message = found.problems[0].message
    assert message.startswith(f"{what}: '")
    assert message.endswith(" characters")
    bare = secret.strip("()")
    assert bare[:4].lstrip("-")[:2] in message
    assert bare[:12] not in str(found.problems[0])
    assert bare[-20:] not in masked(f"x {secret} y")


@pytest.mark.parametrize(
    "text",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "sk-" + "x" * 48,
        "hf_" + "a" * 34,
        "ghp_1234567890abcdefghijklmnopqrstuvwxyz",
        "sk-your-api-key-here-your-api-key-here",
        "class sk-the-very-long-name-of-a-class-that-goes-on-and-on",
        "task-" + _drawn(40),
        "xoxb-your-token-here-please",
        "AIzaSy" + "X" * 33,
        _key("...", kind=""),
        _key(kind="RSA ") + " is how a key file begins",
        "-----BEGIN PUBLIC KEY-----\n" + _drawn(64),
        "https://user:password@corp.net/x",
        "https://joe:s3cr3tW0rd@example.com",
        "postgres://postgres:s3cr3tW0rd@db:5432/x",
        "http://joe:{password}@corp.net",
        "https://corp.net/x?password=<password>",
        "https://corp.net/x?api_key=YOUR_API_KEY",
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIn0." + _drawn(43),
        "the ratio 3:4 @ noon, ssh://git@corp.net:22/x",
    ],
)
def test_examples_of_secrets_are_none(text: str) -> None:
    """What manuals and tutorials show is not alarming."""
    assert find_secret(text) is None


def test_secrets_stand_in_no_other_message(tmp_path: Path) -> None:
    """A value that breaks a rule is shown without them."""
    token = "hf_" + _drawn(34, LETTERS)
    schema = write_schema(tmp_path / "schema.yaml", {"text": {"type": "string", "max_length": 9}})
    found = look_at(tmp_path, {"text": [token]}, schemas={"default": schema})
    assert found.counts == {"SW401": 1, "SW409": 1}
    assert token not in "".join(map(str, found.problems))


def test_addresses_are_told_once_a_column(tmp_path: Path) -> None:
    """SW410 counts texts, and does not show whose they are."""
    table = {"text": _some("Good.", "Ask joe.smith@gmail.com.", "<ann@uni-bonn.de>, ann@web.de"), "id": TEXTS}
    found = look_at(tmp_path, table)
    assert [(p.code, p.row, p.key) for p in found.problems] == [("SW410", 1, "text")]
    assert found.messages("SW410") == ["2 of 20 texts hold an e-mail address, e.g. 'j…@gmail.com'"]


@pytest.mark.parametrize(
    "text",
    [
        *("user@example.com", "joe@example.org", "git@github.com:x/y", "icon@2x.png", "@property", "pkg@1.2.3"),
        *("foo@bar.com", "you@corp.com", "https://medium.com/@joe", "a@b", "noreply@github.com", "joe@host.local"),
        *("https://joe:pw@corp.com/", "@types/node", "3 apples @ home", "joe@", "x@y..z", "a@-.c"),
    ],
)
def test_what_is_nobodys_address(text: str) -> None:
    """Examples, file names, handles and machines."""
    assert find_mail(text) == ""


@pytest.mark.parametrize(
    "text",
    ["a." * 200_000 + "@", "://a:b@" * 40_000, "eyJ" * 100_000, "-----BEGIN PRIVATE KEY-----" * 9_000, "x@y." * 90_000],
)
@pytest.mark.timeout(20)
def test_no_text_takes_for_ever(text: str) -> None:
    """Every pattern is linear, whatever it is given."""
    assert find_mail(text) == ""
    assert find_secret(text) is None
    assert repaired("Ã" * 200_000) is None


# --- schemas

COLUMNS: dict[str, Any] = {
    "id": {"type": "string", "unique": True, "pattern": "[a-z][0-9]"},
    "stars": {"type": "int64", "min": 0, "max": 5, "nullable": True},
    "score": {"type": "float32", "min": 0.1, "max": 0.7},
    "kind": {"type": "string", "values": ["cat", "dog"]},
    "tags": {"type": {"list": "string"}, "min_length": 1, "max_length": 2},
    "text": {"type": "string", "min_length": 2},
    "label": {"class_label": ["a", "b"]},
    "tools": {"list": {"struct": {"tool": {"class_label": ["x"]}}}},
}
ROW: dict[str, Any] = {
    "id": "a1",
    "stars": 3,
    "score": 0.1,
    "kind": "cat",
    "tags": ["t"],
    "text": "ab",
    "label": 1,
    "tools": [{"tool": 0}],
}
TYPES = {"score": pa.float32()}


def _rows(*rows: dict[str, Any]) -> pa.Table:
    return pa.table({name: pa.array([row[name] for row in rows], TYPES.get(name)) for name in ROW})


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("id", "A1", "id is 'A1'; it must match [a-z][0-9]"),
        ("id", None, "id is null, and the schema says it must have a value"),
        ("stars", 6, "stars is 6; the largest value allowed is 5"),
        ("stars", -1, "stars is -1; the smallest value allowed is 0"),
        ("score", float("nan"), "score is nan; the smallest value allowed is 0.1"),
        ("score", 0.75, "score is 0.75; the largest value allowed is 0.7"),
        ("kind", "cow", "kind is 'cow'; allowed: 'cat', 'dog'"),
        ("tags", [], "tags is []; its length is 0, and at least 1 is allowed"),
        ("tags", ["a", "b", "c"], "tags is ['a', 'b', 'c']; its length is 3, and at most 2 is allowed"),
        ("tags", None, "tags is null, and the schema says it must have a value"),
        ("text", "é", "text is 'é'; its length is 1, and at least 2 is allowed"),
        ("label", 2, "label is 2; allowed: a, b"),
        ("tools", [{"tool": 0}, {"tool": -1}], "tools[1].tool is -1; allowed: x"),
    ],
)
def test_values_that_a_schema_forbids(tmp_path: Path, column: str, value: Any, message: str) -> None:
    """SW401 says what the build would say; sound rows beside it pass, and so does one that was rounded."""
    schema = write_schema(tmp_path / "schema.yaml", COLUMNS)
    good = [{**ROW, "id": "b1"}, {**ROW, "id": "b2", "score": 0.7, "stars": None, "tags": ["a", "b"]}]
    found = look_at(tmp_path, _rows(*good, {**ROW, column: value}), schemas={"default": schema})
    assert [(p.code, p.row, p.key, p.message) for p in found.problems] == [("SW401", 2, column, message)]


def test_columns_of_another_type_than_their_schema(tmp_path: Path) -> None:
    """A column that is missing or of another type is told once; large strings and dictionaries are strings."""
    schema = write_schema(tmp_path / "schema.yaml", {**COLUMNS, "image": "image", "more": "string"})
    table = _rows(ROW, {**ROW, "id": "a2"})
    table = table.append_column("image", pa.array(["media/a.png"] * 2)).append_column("more", pa.array([1, 2]))
    for name, kind in (("text", pa.large_string()), ("kind", pa.dictionary(pa.int32(), pa.string()))):
        table = table.set_column(table.column_names.index(name), name, table.column(name).cast(kind))
    found = look_at(tmp_path, table.drop_columns(["label"]), schemas={"default": schema})
    assert [(p.code, p.row, p.key, p.message) for p in found.problems] == [
        ("SW401", None, "label", "the column is missing, and the schema has it"),
        ("SW401", None, "more", "the column is int64, and the schema says string"),
    ]


def test_values_that_must_be_unique_are_compared_over_all_shards(tmp_path: Path) -> None:
    """SW402 names both rows; null is not a value, and another config has values of its own."""
    schema = write_schema(tmp_path / "schema.yaml", {"id": {"type": "string", "unique": True, "nullable": True}})
    folder = tmp_path / "dataset"
    write_dataset(folder, pa.table({"id": ["d", None]}), split="test")
    write_dataset(folder, pa.table({"id": ["a", "b", None]}), pa.table({"id": ["c", "a", "d", "a", None]}))
    found = look(folder, schemas={"default": schema})
    second = "train-00001-of-00002.parquet"
    told = [(p.split, p.file == second, p.row, p.message.partition(" already")[0]) for p in found.problems]
    assert sorted(told) == [
        ("train", True, 1, "its value stands in row 0 of train-00000-of-00002.parquet"),
        ("train", True, 2, "its value stands in row 0 of test-00000-of-00001.parquet"),
        ("train", True, 3, "its value stands in row 1"),
    ]
    assert not look(folder).counts


# --- counting, places and reading


def test_many_problems_are_counted(tmp_path: Path) -> None:
    """Ten of a code are kept of each shard, and the others are counted, in all ways of telling."""
    talks = pa.array([chat("a", "b") if row % 2 else chat("a") for row in range(50)], CHAT)
    roles = pa.array([_talk(("human", "a"), ("bot", "b"))] * 15, CHAT)
    found = look(write_dataset(tmp_path / "d", pa.table({"c": talks}), pa.table({"c": roles})))
    assert found.counts["SW407"] == 25 + 15
    assert len(found.problems) == 20
    assert found.shards[1].more == {"SW407": 5}


def test_rows_are_named_by_their_place_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However rows are cut into groups and batches, and when only some groups are looked at."""
    monkeypatch.setattr(row_pass, "BATCH_ROWS", 3)
    talks = pa.array([chat("a", "b") if row not in (4, 11, 17) else [] for row in range(20)], CHAT)
    folder = write_dataset(tmp_path / "d", pa.table({"c": talks, "n": range(20)}), row_group_size=8)
    assert [p.row for p in look(folder).problems] == [4, 11, 17]
    found = look(folder, {"train-00000-of-00001.parquet": [2, 1]})
    assert [p.row for p in found.problems] == [11, 17]
    assert found.facts()["row"] == list(range(8, 20))


def test_facts_do_not_depend_on_where_rows_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same values have the same hashes in any batch, group, shard, order of columns and kind of text."""
    table = pa.table(
        {
            "conversations": pa.array([chat("q", "a"), chat("q", "b"), [], chat("q", "a", "r", "a"), None] * 5, CHAT),
            "note": ["x", "y", None, "x", ""] * 5,
            "numbers": pa.array([[1, 2], [2, 1], [], None, [3]] * 5),
            "score": [0.0, -0.0, 1.5, None, float("nan")] * 5,
            "group": ["g", "h", None, "g", "g"] * 5,
        }
    )
    whole = look(write_dataset(tmp_path / "a", table), group="group").facts()
    monkeypatch.setattr(row_pass, "BATCH_ROWS", 2)
    large = table.set_column(1, "note", table.column("note").cast(pa.large_string()))
    large = large.select(["score", "group", "note", "numbers", "conversations"])
    cut = look(
        write_dataset(tmp_path / "b", large.slice(0, 7), large.slice(7), row_group_size=4), group="group"
    ).facts()
    for name in ("values", "question", "answer", "group", "characters"):
        assert cut[name] == whole[name], name
        assert whole[name][:5] * 5 == whole[name]
    assert len(set(whole["values"])) == 5
    one, other, empty, long, null = range(5)
    question, answer, group = whole["question"], whole["answer"], whole["group"]
    assert question[one] == question[other] != question[long]
    assert answer[one] == answer[long] != answer[other]
    assert question[empty] is answer[empty] is question[null] is answer[null] is None
    assert group[one] == group[long] != group[other]
    assert group[empty] is None
    assert whole["characters"][:5] == [2, 2, 0, 4, 0]


def test_class_labels_are_the_answer_where_nobody_talks(tmp_path: Path) -> None:
    """And characters are those of all texts."""
    table = pa.table({"text": ["ab", "é", None], "label": [1, 1, None], "more": [["x"], ["y", "z"], []]})
    value = {"dtype": "string", "_type": "Value"}
    label = {"names": ["a", "b"], "_type": "ClassLabel"}
    table = features(table, text=value, label=label, more={"feature": value, "_type": "List"})
    facts = look_at(tmp_path, table).facts()
    assert facts["answer"][0] == facts["answer"][1] is not None
    assert facts["question"][0] == facts["question"][1] is not None
    assert facts["answer"][2] is facts["question"][2] is None
    assert facts["characters"] == [3, 3, 0]
    assert facts["group"] == [None] * 3
    assert look_at(tmp_path / "none", {"text": ["a"]}).facts()["answer"] == [None]


def test_bytes_of_media_are_not_read(tmp_path: Path) -> None:
    """The pass takes of media nothing but their paths, so that damage in them is not even seen."""
    images = pa.array([{"bytes": bytes([n]) * 5_000, "path": f"{n}.png"} for n in range(40)], MEDIUM)
    folder = write_dataset(tmp_path / "d", pa.table({"text": ["<image>"] * 40, "image": images}), compression="none")
    path = folder / "train-00000-of-00001.parquet"
    facts = look(folder).facts()
    data = bytearray(path.read_bytes())
    start = data.index(bytes([7]) * 5_000)
    data[start : start + 5_000] = bytes(5_000)
    path.write_bytes(data)
    chunk = look(folder)
    assert chunk.facts() == facts
    assert not chunk.counts


def test_damage_ends_a_shard_quietly(tmp_path: Path) -> None:
    """What was read before is looked at, and that a shard is damaged is not said here."""
    texts = [_drawn(400) for _ in range(300)]
    folder = write_dataset(tmp_path / "d", pa.table({"text": texts}), compression="none", row_group_size=100)
    path = folder / "train-00000-of-00001.parquet"
    data = bytearray(path.read_bytes())
    place = data.index(texts[150].encode())
    data[place - 20_000 : place] = b"\xff" * 20_000
    path.write_bytes(data)
    found = look(folder)
    assert not found.counts
    assert found.facts()["row"] == list(range(100))
    assert found.shards[0].rows == 100


def test_odd_shards_are_looked_at_as_far_as_possible(tmp_path: Path) -> None:
    """Nothing of the types, names and features that a stranger may write ends a check."""
    deep: Any = pa.string()
    for _ in range(20):
        deep = pa.struct({"x": pa.list_(deep)})
    arrays = {
        "nothing": pa.nulls(2),
        "map": pa.array([[("k", "joe@web.de")], None], pa.map_(pa.string(), pa.string())),
        "dictionary": pa.array(["joe@web.de", None]).dictionary_encode(),
        "json": pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": "joe@web.de"}', None])),
        "deep": pa.nulls(2, deep),
        "fixed": pa.array([["joe@web.de", None], None], pa.list_(pa.string(), 2)),
        "": pa.array(["joe@web.de", None]),
        "a.b\x1b[31m": pa.array([{"bytes": b"x", "path": "joe@web.de"}, None], MEDIUM),
        "conversations": pa.array([[None], [{"from": None, "value": None}]], CHAT),
        "time": pa.array([1, None], pa.timestamp("us")),
        "image": pa.array(["no image", None]),
    }
    table = pa.table(list(arrays.values()), names=list(arrays))
    table = table.append_column("image", pa.array([1, 2]))
    table = table.append_column("messages", arrays["conversations"]).append_column("messages", pa.array([1, 2]))
    table = features(table, image={"_type": "Image"}, deep=[{"_type": 3}], map=[], json="x", fixed={"_type": None})
    found = look_at(tmp_path, table)
    assert found.shards[0].rows == 2
    assert {p.key for p in found.problems if p.code == "SW410"} == {"map[].value", "dictionary", "json", "fixed[]", ""}
    assert {p.key for p in found.problems if p.code == "SW403"} == {"nothing", "deep"}
    assert found.counts["SW407"] == 2
    assert not look_at(tmp_path / "empty", table.slice(0, 0)).counts
    alone = {"image": pa.array([{"bytes": b"x", "path": None}], MEDIUM)}
    assert look_at(tmp_path / "alone", alone).facts()["characters"] == [0]


def test_tasks_travel_to_other_processes(tmp_path: Path) -> None:
    """A task and what it finds are plain values."""
    folder = write_dataset(tmp_path / "d", pa.table({"text": ["Ask joe@web.de", "b"]}))
    schema = write_schema(tmp_path / "schema.yaml", {"text": {"type": "string", "unique": True}})
    name = "train-00000-of-00001.parquet"
    task = RowTask(name=name, path=folder / name, config="c", split="train", groups=(0,), schema=schema, group="text")
    found = pickle.loads(pickle.dumps(look_at_rows(pickle.loads(pickle.dumps(task)))))  # noqa: S301
    assert found.rows == 2
    assert {key for _, key in found.tallies} == {"text"}
    assert found.facts.equals(look_at_rows(task).facts)
