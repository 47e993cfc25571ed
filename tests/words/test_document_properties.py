"""Whatever is written in a recipe, schema or card, it is a recipe or a list of mistakes, never another error."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from three_files import CARD, RECIPE, SCHEMA, write

from pipeline.card_text import load_human_card
from pipeline.document import parse_document
from pipeline.errors import RecipeError
from pipeline.load_recipe import load_recipe
from pipeline.recipe_spec import RecipeSpec
from pipeline.schema import load_schema
from tests.full_recipe import FULL, FULL_SCHEMA, places

WORDS = st.sampled_from(
    [
        "name",
        "schema",
        "card",
        "sources",
        "configs",
        "fields",
        "media",
        "rejects",
        "curate",
        "shards",
        "path",
        "files",
        "source",
        "splits",
        "rows",
        "share",
        "count",
        "first",
        "last",
        "rest",
        "train",
        "test",
        "from",
        "template",
        "default",
        "parse",
        "limit",
        "drop_if",
        "image",
        "video",
        "deduplicate",
        "max_bytes",
        "max_share",
        "mine",
        "text",
        "default",
        "columns",
        "type",
        "list",
        "struct",
        "class_label",
        "min",
        "max",
        "values",
        "pattern",
        "conversation",
        "user",
        "column",
        "tokens",
        "roles",
        "placeholders",
        "token",
        "string",
        "int64",
        "json",
        "null",
        "~",
        "<<",
        "{{text}}",
        "0.5",
        "500MB",
    ]
)
TEXTS = st.one_of(WORDS, st.text(max_size=12), st.text("{}[]:&*!|>'\"%@`#,?-~<\n \t\r=", max_size=12))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=10**18, max_value=10**320),
    st.floats(),
    TEXTS,
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=12
)
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def root() -> Path:
    """Give a folder with the three files."""
    folder = Path(tempfile.mkdtemp())
    write(folder)
    return folder


def outcome(path: Path, load: Any = load_recipe) -> str | None:
    """Return the mistakes, or None; any error but RecipeError is a failure of the test."""
    try:
        load(path)
    except RecipeError as error:
        for mistake in error.mistakes:
            lines = len(Path(mistake.file).read_bytes().decode("utf-8", "replace").splitlines())
            assert 1 <= mistake.line <= lines + 1
            assert mistake.message
        return str(error)
    return None


@QUICK
@given(
    text=st.text(max_size=200)
    | st.lists(TEXTS, max_size=30).map(" ".join)
    | st.lists(TEXTS, max_size=30).map("\n".join)
)
@example("%YAML 9.9\n---\na: 1")
@example("!<%zz> a")
@example("? a\n? b\n: c")
@example("<<: 3")
@example("\ufeffname: x\n\ufeff")
@example("a: !!int x")
@example("%TAG ! x\n---\n!a b")
@example("--- |\n a\n...\n--- b")
@example("a: ..\x85b")
def test_any_text_is_a_document_or_mistakes(root: Path, text: str) -> None:
    """Arbitrary text as a recipe, a schema or a card never raises anything but RecipeError."""
    data = text.encode("utf-8", "surrogatepass")
    for name, load in (("recipe.yaml", load_recipe), ("schema.yaml", load_schema), ("card.md", load_human_card)):
        path = root / "recipes" / name
        path.write_bytes(data if name != "card.md" else b"---\n" + data + b"\n---\n# x\n")
        outcome(path, load)


@QUICK
@given(data=st.binary(max_size=100))
def test_any_bytes_are_a_document_or_mistakes(root: Path, data: bytes) -> None:
    """Arbitrary bytes as a recipe never raise anything but RecipeError."""
    path = root / "recipes" / "bytes.yaml"
    path.write_bytes(data)
    assert outcome(path)


def changed(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    """Return a document with another value at a place."""
    if not place:
        return value
    if isinstance(document, dict):
        return {**document, place[0]: changed(document[place[0]], place[1:], value)}
    return [changed(item, place[1:], value) if at == place[0] else item for at, item in enumerate(document)]


def test_the_full_recipe_is_right(root: Path) -> None:
    """The recipe and schema that the next tests break are right before."""
    write(root, json.dumps(FULL), json.dumps(FULL_SCHEMA))
    assert outcome(root / "recipes" / "demo.yaml") is None


@QUICK
@given(place=st.sampled_from(places(FULL)), value=VALUES)
def test_any_value_under_any_key_of_a_recipe(root: Path, place: tuple[Any, ...], value: Any) -> None:
    """An arbitrary value anywhere in a recipe never raises anything but RecipeError."""
    write(root, json.dumps(changed(FULL, place, value)), json.dumps(FULL_SCHEMA))
    outcome(root / "recipes" / "demo.yaml")


@QUICK
@given(place=st.sampled_from(places(FULL_SCHEMA)), value=VALUES)
def test_any_value_under_any_key_of_a_schema(root: Path, place: tuple[Any, ...], value: Any) -> None:
    """An arbitrary value anywhere in a schema never raises anything but RecipeError."""
    write(root, json.dumps(FULL), json.dumps(changed(FULL_SCHEMA, place, value)))
    outcome(root / "recipes" / "demo.yaml")


@QUICK
@given(place=st.sampled_from([place for place in places(FULL) if place]), word=WORDS)
def test_any_key_left_out_or_added(root: Path, place: tuple[Any, ...], word: str) -> None:
    """A key left out, or one too many, never raises anything but RecipeError."""
    document = json.loads(json.dumps(FULL))
    holder = document
    for part in place[:-1]:
        holder = holder[part]
    del holder[place[-1]]
    if isinstance(holder, dict):
        holder[word] = 3
    write(root, json.dumps(document), json.dumps(FULL_SCHEMA))
    outcome(root / "recipes" / "demo.yaml")


# U+FFFE and U+FFFF are no characters of YAML (1.2, 5.1)
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\u2028\u2029\x85\ufffe\uffff"))


@QUICK
@given(
    value=st.dictionaries(
        TEXT,
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
            max_leaves=12,
        ),
        max_size=4,
    )
)
@example({"<<": 1} | {"a": "<<"})
def test_json_is_read_as_json_says(value: dict[str, Any]) -> None:
    """YAML 1.2 holds JSON: a document written as JSON reads back exactly, types and keys too."""
    merge = "<<" in json.dumps(value)
    if not merge:
        parsed = parse_document(json.dumps(value, ensure_ascii=False), file="x")
        assert json.dumps(parsed.value) == json.dumps(value)
        assert parsed.mistakes == []


@pytest.mark.parametrize("dump", ["pyyaml", "ruamel", "json"])
def test_a_recipe_survives_being_dumped(root: Path, dump: str) -> None:
    """A recipe read, dumped by any YAML library and read again is the same recipe."""
    spec = RecipeSpec.model_validate(FULL)
    document = spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
    path = root / "recipes" / "dumped.yaml"
    if dump == "pyyaml":
        path.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
    elif dump == "ruamel":
        YAML(typ="safe", pure=True).dump(document, path)
    else:
        path.write_text(json.dumps(document), encoding="utf-8")
    write(root, RECIPE, json.dumps(FULL_SCHEMA), CARD)
    assert load_recipe(path).spec == spec


def test_lines_are_those_of_the_keys() -> None:
    """Each key and list item knows its own line, in blocks, in flows and behind comments."""
    text = "a: 1\n\n# c\nb:\n  - x\n  -\n    y: 2\n  - {z: 3,\n     w: 4}\nc: |\n  text\n  text\nd: [1,\n 2]\n"
    document = parse_document(text, file="x", first_line=11)
    lines = {".".join(map(str, place)): line - 10 for place, line in document.lines.items()}
    assert lines == {
        "": 1, "a": 1, "b": 4, "b.0": 5, "b.1": 7, "b.1.y": 7, "b.2": 8, "b.2.z": 8, "b.2.w": 9,
        "c": 10, "d": 13, "d.0": 13, "d.1": 14,
    }  # fmt: skip


def test_schema_of_these_tests() -> None:
    """The plain schema of these tests holds every kind of column the recipes name."""
    assert set(parse_document(SCHEMA, file="x").value["columns"]) == {"image", "images", "text", "stars", "label"}
