"""Recipes, schemas, cards and templates: whatever is written, it is right or it is mistakes, each with its line.

An input:

    byte 0     what the rest is: one of `KINDS`
    byte 1     for `recipe-value` and `schema-value` the place that gets another value; else nothing
    the rest   the text; recipe, schema and card (`three`) or template and record are parted by a NUL
"""

from __future__ import annotations

import atexit
import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.card_text import CardText, join_card, load_human_card, split_card
from pipeline.document import MAX_DEPTH, dotted, parse_document
from pipeline.errors import RecipeError, RowRejected
from pipeline.load_recipe import load_recipe
from pipeline.recipe_spec import RecipeSpec
from pipeline.schema import load_schema
from pipeline.template import MAX_BITS, MAX_LENGTH, Expression, Template, is_template
from tests.full_recipe import FULL, FULL_SCHEMA, places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[1]

KINDS = ("recipe", "schema", "card", "three", "template", "expression", "document", "recipe-value", "schema-value")

PLAIN_SCHEMA = (
    b"name: demo\ncolumns:\n  image: image\n  images: {list: image}\n  text: string\n  stars: int64\n"
    b"  label: {class_label: [cat, dog]}\n  kind: {type: string, nullable: true}\n"
)
"""What a recipe is loaded with; small, because YAML takes nearly all of the time."""
PLAIN_RECIPE = (
    b"name: demo\nschema: demo\nsources: {mine: {path: ../source}}\n"
    b"configs: {default: {splits: {train: {files: rows.jsonl}}, fields: {text: {from: a, default: x}}}}\n"
)
"""What a schema or card is loaded with."""
CARD = "---\npretty_name: Demo\n---\n# Demo\n"
ROW: dict[str, Any] = {
    "text": "a é\tb",
    "n": 3,
    "f": -1.5,
    "none": None,
    "yes": True,
    "items": [1, "x", None],
    "inner": {"a": {"b": [2]}, "text prompt": ""},
    "text prompt": "p/q.jpg",
}
_WORDS = (
    "path¦files¦source¦share¦first¦rest¦from¦template¦default¦parse¦columns¦type¦list¦struct¦class_label¦nullable¦values"
    "¦pattern¦conversation¦column¦tokens¦roles¦role_key¦text_key¦placeholders¦token¦string¦int64¦float32¦json"
    "¦- ¦: ¦? ¦<<: ¦*a¦&a ¦!!str ¦!!int ¦!<¦%YAML 1.1\n¦%TAG ¦---\n¦...\n¦|\n ¦>-\n ¦\n  ¦\t¦[¦]¦{¦}¦'¦\"¦\\x¦\\u¦#¦~"
    "¦null¦.inf¦.nan¦0x1F¦0o17¦1e5¦\ufeff¦\x85¦\u2028¦# shardwright:begin\n¦# shardwright:end\n"
    "¦<!-- shardwright:begin facts -->¦<!-- shardwright:end facts -->¦configs:\n¦dataset_info:\n"
    "¦{{ ¦ }}¦{% ¦ %}¦{# ¦ #}¦`text prompt`¦row['¦']¦ | ¦| join(', ')¦|replace(¦|format(¦.format(¦|map(attribute="
    "¦|selectattr(¦|groupby(¦|tojson¦|int¦|round¦|sum¦|list¦|batch(¦ ~ ¦ ** ¦ * ¦ % ¦ // ¦ if ¦ else ¦ for x in ¦endfor"
    "¦endif¦set x =¦range(¦loop.¦macro m()¦endmacro¦filter upper¦namespace(¦''¦\"\"¦``¦99999999¦text¦items¦none"
    "¦is defined¦not ¦ in "
)
DICTIONARY = tuple(word.encode() for word in (*FULL, *FULL["configs"]["default"], *_WORDS.split("¦")))
TEMPLATES = (
    "{{ text }}.jpg",
    "{{ n * 2 }}",
    "{{ items | map('string') | join(', ') if items else '' }}",
    "{% for x in items %}{{ x or '' }}{% endfor %}",
    "{{ `text prompt` | basename | stem }}-{{ '%05d' | format(n) }}",
    "{{ '{0:>5}'.format(n) ~ text[1:] }}",
    "{{ inner.a.b | sum + row['f'] }}",
    "{{ items | map('string') }} {{ row.items() }} {{ [unknown] }}",
)
EXPRESSIONS = (
    "n > 1 and `text prompt` != ''",
    "text | length < 5 or yes",
    "(items | select('number') | list)[0] ** 3",
    "inner['a'] is mapping",
)

_FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-recipe-"))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)
_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


_RECIPE_PLACES, _SCHEMA_PLACES = places(FULL)[1:], places(FULL_SCHEMA)[1:]


def seeds() -> Iterator[tuple[str, bytes]]:
    """Yield a name and an input for each recipe, schema and card of the repository, and for some templates."""
    for kind, folder, ending in ((0, "recipes", "yaml"), (1, "schemas", "yaml"), (2, "dataset_cards", "md")):
        for path in sorted((ROOT / folder).glob(f"*.{ending}")):
            yield f"{folder}-{path.name}", bytes([kind, 0]) + path.read_bytes()
    for path in sorted((ROOT / "tests" / "data" / "datasets").rglob("*.yaml")):
        kind = 0 if path.name == "recipe.yaml" else 1
        yield f"{path.parent.name}-{path.name}", bytes([kind, 0]) + path.read_bytes()
    for path in sorted((ROOT / "tests" / "data" / "cards").glob("*.md")):
        yield f"cards-{path.name}", b"\2\0" + path.read_bytes()
    three = b"\0".join([json.dumps(FULL, indent=1).encode(), json.dumps(FULL_SCHEMA).encode(), CARD.encode()])
    yield "three", b"\3\0" + three
    yield "document", b"\6\0" + json.dumps(FULL_SCHEMA, indent=1).encode()
    yield "anchors", b"\6\0a: &a {x: 1, y: [2, 3]}\nb: {<<: *a, z: 4}\nc: [*a, {<<: [*a, *a]}]\n? d\n: |\n  text\n"
    for number, source in enumerate(TEMPLATES):
        yield f"template-{number}", b"\4\0" + source.encode() + b"\0" + json.dumps(ROW).encode()
    for number, source in enumerate(EXPRESSIONS):
        yield f"expression-{number}", b"\5\0" + source.encode() + b"\0"
    for number in range(0, len(_RECIPE_PLACES), 3):
        yield f"recipe-value-{number}", bytes([7, number]) + b'{"from": "x", "limit": 3, "a": [1.5, null]}'
    for number in range(0, len(_SCHEMA_PLACES), 3):
        yield f"schema-value-{number}", bytes([8, number]) + b'{"list": {"struct": {"a": "string"}}}'


def check(data: bytes) -> None:
    """Check the text as what byte 0 says it is."""
    if len(data) < 2:
        return
    kind, at, content = KINDS[data[0] % len(KINDS)], data[1], data[2:]
    if kind in ("template", "expression"):
        source, _, row = content.decode("utf-8", "replace").partition("\0")
        _check_template(source, _row(row), Template if kind == "template" else Expression)
    elif kind == "document":
        _check_document(content)
    elif kind == "card":
        _check_card(content)
    elif kind == "recipe":
        _check_three(recipe=content)
    elif kind == "schema":
        _check_schema(content)
    elif kind == "three":
        recipe, schema, card, *_ = [*content.split(b"\0"), b"", b""]
        _check_three(recipe, schema, card)
    elif kind == "recipe-value":
        _check_three(recipe=_changed(FULL, _RECIPE_PLACES[at % len(_RECIPE_PLACES)], content))
    else:
        _check_schema(_changed(FULL_SCHEMA, _SCHEMA_PLACES[at % len(_SCHEMA_PLACES)], content))


def _changed(document: Any, place: tuple[Any, ...], content: bytes) -> bytes:
    """Write a document as YAML in flow style, with other YAML (or JSON) text at a place."""
    marked = json.loads(json.dumps(document))
    holder = marked
    for part in place[:-1]:
        holder = holder[part]
    holder[place[-1]] = "@@@"
    return json.dumps(marked, indent=1).encode().replace(b'"@@@"', content)


def _row(printed: str) -> dict[str, Any]:
    try:
        row = json.loads(printed)
    except (ValueError, RecursionError):
        return ROW
    return row if isinstance(row, dict) else {"value": row}


# Recipe, schema and card -----------------------------------


def _check_three(recipe: bytes | None = None, schema: bytes | None = None, card: bytes | None = None) -> None:
    """A recipe is right or it is mistakes, each on a line of its file; a right one stays right when written out."""
    (_FOLDER / "source").mkdir(exist_ok=True)
    path = _FOLDER / "recipes" / "demo.yaml"
    for file, content in (
        (path, PLAIN_RECIPE if recipe is None else recipe),
        (_FOLDER / "schemas" / "demo.yaml", PLAIN_SCHEMA if schema is None else schema),
        (_FOLDER / "dataset_cards" / "demo.md", CARD.encode() if card is None else card),
    ):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
    found = _outcome(load_recipe, path)
    size = sum(len(text) for text in (recipe, schema, card) if text is not None)
    if size % 8 == 0:  # not each time: YAML takes nearly all of the time here
        assert repr(_outcome(load_recipe, path)) == repr(found), "the same files give two answers"
    if isinstance(found, list) or recipe is None:
        return
    spec = found.spec
    document = spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if "NaN" not in json.dumps(document) and "Infinity" not in json.dumps(document):
        path.write_text(json.dumps(document), encoding="utf-8")
        again = load_recipe(path).spec
        assert isinstance(again, RecipeSpec)
        assert repr(again) == repr(spec), "a recipe that is written out is another one"


def _check_schema(content: bytes) -> None:
    """A schema is right or it is mistakes; a right one has an Arrow schema and features as they stand in a card."""
    file = _FOLDER / "schema.yaml"
    file.write_bytes(content)
    schema = _outcome(load_schema, file)
    if isinstance(schema, list):
        return
    for embedded in (True, False):
        assert schema.arrow_schema(embedded=embedded).names == list(schema.columns)
        assert [feature["name"] for feature in schema.features_yaml(embedded=embedded)] == list(schema.columns)


def _outcome(load: Callable[[Path], Any], path: Path) -> Any:
    """Return what is loaded, or the list of mistakes."""
    try:
        return load(path)
    except RecipeError as error:
        assert error.mistakes, "an error without a mistake"
        for mistake in error.mistakes:
            ends = _LINE_END.findall(Path(mistake.file).read_bytes().decode("utf-8", "replace"))
            assert 1 <= mistake.line <= len(ends) + 1, f"{mistake} in a file of {len(ends) + 1} lines"
            assert mistake.message.strip()
        return [str(mistake) for mistake in error.mistakes]


def _check_card(content: bytes) -> None:
    """What people wrote in a card comes back to the byte once facts are between its markers, and again after that."""
    file = _FOLDER / "card.md"
    file.write_bytes(content)
    card = _outcome(load_human_card, file)
    if isinstance(card, list):
        return
    written = join_card(card, yaml_block="configs: [x]\n", facts="some facts")
    again = split_card(written, file="card.md")
    assert again.front.rstrip("\n") == card.front.rstrip("\n"), "the front matter of people has changed"
    assert repr(again.metadata) == repr(card.metadata)
    assert again.generated == {"configs": ["x"]}
    assert "some facts" in again.body
    head = re.split("<!-- shardwright:begin facts", card.body)[0]
    assert again.body.startswith(head), "the body of people has changed"
    human = CardText(front=again.front, body=again.body, metadata=again.metadata, generated={})
    twice = join_card(human, yaml_block="configs: [x]\n", facts="some facts")
    assert twice == written, "a second time gives another card"


# Documents -----------------------------------


def _check_document(content: bytes) -> None:
    """Each key stands on a line of the text, and a text that is JSON is read as JSON says."""
    text = content.decode("utf-8", "replace")
    lines = len(_LINE_END.findall(text)) + 1
    try:
        document = parse_document(text, file="x")
    except RecipeError as error:
        assert all(1 <= mistake.line <= lines for mistake in error.mistakes), error
        expected = _as_json(text)
        assert expected is None or not _plain_json(text, expected), f"JSON is refused: {error}"
        return
    assert all(1 <= line <= lines for line in document.lines.values())
    assert all(isinstance(dotted(place), str) for place in document.lines)
    expected = _as_json(text)
    if expected is not None and _plain_json(text, expected) and not document.mistakes:
        assert repr(document.value) == repr(expected), f"{document.value} where JSON says {expected}"


def _as_json(text: str) -> dict[str, Any] | None:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs) or any(key == "<<" for key, _ in pairs):
            raise ValueError
        return dict(pairs)

    try:
        value = json.loads(text, object_pairs_hook=unique, parse_constant=int)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _plain_json(text: str, value: Any) -> bool:
    """Tell whether JSON holds nothing that YAML (or this project's limits) reads or refuses in its own way."""
    depth = text.count("{") + text.count("[")
    return (
        depth <= MAX_DEPTH - 2
        and text.isascii()
        and text.isprintable()  # tabs and line ends inside of a flow are what YAML is strict about
        and "\\" not in text
        and not re.search(r"[0-9]{300}|[eE]|-0", text)
        and len(text) < 800  # a key of a flow is no longer than 1,024 characters
        and not re.search(r'":(?=[^ ])', text)  # `{"a":1}` is YAML 1.2, and no key may stand without its space after it
        and isinstance(value, dict)
    )


# Templates -----------------------------------


def _check_template(source: str, row: dict[str, Any], compiler: Callable[[str], Any]) -> None:
    """A template compiles or says why not; it gives a plain value within the limits, or a rejected row, every time."""
    is_template(source)
    try:
        compiled = compiler(source)
    except ValueError as error:
        assert str(error).strip()
        return
    assert all(isinstance(column, str) for column in compiled.columns)
    before = repr(row)
    values = []
    for _ in range(2):
        try:
            value = compiled.render(row) if isinstance(compiled, Template) else compiled.evaluate(row)
        except RowRejected as rejected:
            assert rejected.code.startswith("template.")
            values.append(rejected.code)
        else:
            _check_plain(value)
            values.append(repr(value))
    assert values[0] == values[1], "the same template gives two values"
    assert repr(row) == before, "a template has changed its record"


_PLAIN = (str, bytes, int, float, list, tuple, dict, type(None))


def _check_plain(value: Any) -> None:
    pending = [value]
    while pending:
        item = pending.pop()
        assert isinstance(item, _PLAIN), f"a {type(item)} comes out"
        if isinstance(item, str | list | tuple | dict):
            assert len(item) <= MAX_LENGTH
        if isinstance(item, int):
            assert item.bit_length() <= MAX_BITS
        if isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, list | tuple):
            pending.extend(item)
