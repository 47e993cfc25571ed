"""Mistakes in recipes, schemas and cards: all at once, each with file, line and what is allowed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from three_files import CARD, RECIPE, SCHEMA, load, mistakes

if TYPE_CHECKING:
    from pathlib import Path

MORE_SPLITS = RECIPE.replace("      train: {files: rows.jsonl}\n", "")


def test_all_mistakes_of_three_files_at_once(tmp_path: Path) -> None:
    """One run names every mistake of recipe, schema and card, with file, line and nearest valid key."""
    recipe = """\
name: demo
schema: demo
soruces: {}
sources:
  mine: {pth: ../source}
  other: {path: ../source, license: 4}
configs:
  default:
    rows: {source: othr, files: [rows.jsonl, 7]}
    splits:
      train: 0.9
      all: rest
    curate:
    - drop_if: "stars >"
    - image: {min_widht: 3}
    - limit: many
fields:
  txt: {from: caption}
  text: "{{ caption | }}"
rejects: {max_share: 2}
"""
    schema = """\
name: demo
columns:
  image: imge
  text: {type: string, max_lenght: 3}
  stars: {type: int64, pattern: x}
  parts:
    struct:
      a: string
      b: strng
conversation:
- user: [{image: imag}, "{{ txt }}"]
"""
    card = "---\npretty_name: Demo\npretty_name: Again\nconfigs: []\n---\n# Demo\n"
    found = mistakes(tmp_path, recipe, schema, card).splitlines()
    assert [line.split(": ")[0].rpartition("/")[2] + ": " + line.split(": ", 1)[1] for line in found] == [
        "demo.md:3: pretty_name: the key stands twice; the first one is on line 2",
        "demo.md:4: configs: this key is computed from the shards (remove it from the human part)",
        "demo.yaml:3: soruces: unknown key (did you mean 'sources'?)",
        "demo.yaml:5: sources.mine.pth: unknown key (did you mean 'path'?)",
        "demo.yaml:6: sources.other.license: 4 is not allowed here; wanted: a text (in quotes it is a text: '4')",
        (
            "demo.yaml:9: configs.default.rows.files[1]: 7 is not allowed here; wanted: a text "
            "(in quotes it is a text: '7')"
        ),
        "demo.yaml:12: configs.default.splits.all: the split name 'all' is a keyword of `datasets`",
        (
            "demo.yaml:14: configs.default.curate[0].drop_if: the expression 'stars >' is wrong: unexpected 'end of "
            "template'"
        ),
        "demo.yaml:15: configs.default.curate[1].image.min_widht: unknown key (did you mean 'min_width'?)",
        "demo.yaml:16: configs.default.curate[2].limit: 'many' is not allowed here; wanted: a whole number",
        (
            "demo.yaml:19: fields.text: the template '{{ caption | }}' is wrong: unexpected end of template, "
            "expected 'name'."
        ),
        "demo.yaml:20: rejects.max_share: 2 is not allowed (at most 1.0)",
        "demo.yaml:3: columns.image: unknown type 'imge'; did you mean 'image'?",
        "demo.yaml:4: columns.text.max_lenght: unknown key (did you mean 'max_length'?)",
        "demo.yaml:5: columns.stars.pattern: `pattern` goes with a text, and this column is none",
        "demo.yaml:9: columns.parts.struct.b: unknown type 'strng'; did you mean 'string'?",
        "demo.yaml:11: conversation[0].user[0].image: unknown column 'imag' (did you mean 'image'?)",
        "demo.yaml:11: conversation[0].user[1]: unknown column 'txt' (did you mean 'text'?)",
    ]


def test_mistakes_against_the_schema(tmp_path: Path) -> None:
    """Columns, splits, shares, sources, templates and expressions are checked against each other, all at once."""
    recipe = """\
name: demo
schema: demo
sources:
  mine: {path: ../source}
  gone: {path: ../nowhere, name_encoding: utf-99}
configs:
  a:
    rows: {source: mine, files: rows.jsonl}
    splits: {train: 0.9, test: 0.2, bad name: 0.1}
    fields: {txt: caption, image: path}
    split_by: {group: txet, stratify: lable}
  b:
    splits: {train: {files: x.jsonl}, Train: {files: y.jsonl, source: mien}}
    curate:
    - drop_if: "strs > 3"
    - drop_if: "stars >"
    - video: {min_seconds: 3}
    - deduplicate: [text, stras]
    media: {imag: {path: x}, image: {path: "{{ x", source: nine, missing: keep}}
  A:
    rows: {source: mine, files: rows.jsonl}
    splits: {train: 0.5, test: {last: 3}, x: rest, y: rest}
  c:
    splits: {train: rest}
    schema: dmo
"""
    found = mistakes(tmp_path, recipe).replace(f"{tmp_path}/", "")
    assert re.sub(r"there is no recipes/schemas\S+ and \S+", "there is no …", found).splitlines() == [
        f"recipes/demo.yaml:{line}"
        for line in (
            "5: sources.gone.name_encoding: unknown encoding 'utf-99' (e.g. utf-8, gb18030, shift_jis)",
            (
                "5: sources.gone.path: there is no file or folder '../nowhere' (paths start at the recipe's folder "
                "recipes)"
            ),
            "9: configs.a.splits: the shares add up to 1.2 (at most 1)",
            (
                "9: configs.a.splits.bad name: 'bad name' is no name for a split (letters, digits, `_`, and `.` "
                "between words)"
            ),
            "10: configs.a.fields.image: 'image' holds media (say where they come from under `media`)",
            "10: configs.a.fields.txt: the schema 'demo' has no column 'txt' (did you mean 'text'?)",
            "11: configs.a.split_by.group: unknown column 'txet' (did you mean 'text'?)",
            "11: configs.a.split_by.stratify: unknown column 'lable' (did you mean 'label'?)",
            (
                "13: configs.b.splits.Train: the splits 'train' and 'Train' differ only in case; on some disks they "
                "are one (rename one)"
            ),
            "13: configs.b.splits.Train.source: unknown source 'mien' (did you mean 'mine'?)",
            "13: configs.b.splits.train: `source` is missing (one of: mine, gone)",
            "15: configs.b.curate[0].drop_if: unknown column 'strs' (did you mean 'stars'?)",
            "16: configs.b.curate[1].drop_if: the expression 'stars >' is wrong: unexpected 'end of template'",
            "17: configs.b.curate[2]: the schema 'demo' has no video column",
            "18: configs.b.curate[3].deduplicate: unknown column 'stras' (did you mean 'stars'?)",
            "19: configs.b.media.imag: the schema 'demo' has no media column 'imag' (did you mean 'image'?)",
            (
                "19: configs.b.media.image.missing: `keep` leaves 'image' null, but the schema forbids it (make the "
                "column nullable, or reject)"
            ),
            (
                "19: configs.b.media.image.path: the template '{{ x' is wrong: unexpected end of template, expected "
                "'end of print statement'."
            ),
            "19: configs.b.media.image.source: unknown source 'nine' (did you mean 'mine'?)",
            "20: configs.A: the configs 'a' and 'A' differ only in case; on some disks they are one (rename one)",
            "22: configs.A.splits: only one split takes the rest, not x, y",
            "23: configs.c: the splits train divide rows, but there is no `rows` (give `rows: {files: …}`)",
            "25: configs.c.schema: there is no … (did you mean 'demo'?)",
        )
    ]


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (b"", ":1: the document is empty, not keys with values (it starts like `name: …`)"),
        ("- a\n", ":1: the document is a list, not keys with values (it starts like `name: …`)"),
        ("hello", ":1: the document is a text, not keys with values (it starts like `name: …`)"),
        (RECIPE.replace("  mine:", "\tmine:"), ":4: not YAML: a tab in front of a key or value (indent with spaces)"),
        (
            RECIPE.encode() + b"\n# caf\xe9\n",
            ":10: the file is not UTF-8: byte 0xe9 is no character (save it as UTF-8)",
        ),
        (RECIPE.encode("utf-16"), ":1: the file is not UTF-8: byte 0xff is no character (save it as UTF-8)"),
        (RECIPE + "card: a\0b\n", ":9: not YAML: the character U+0000 is not allowed"),
        (RECIPE + "---\nname: b\n", ":9: a second document starts here; one file is one document"),
        (RECIPE + "card: [a\n", ":10: not YAML: a bracket or quote is not closed (check the lines above)"),
        (
            RECIPE + "card: a: b\n",
            ":9: not YAML: a second `key: value` on one line, or a wrong indent (put a text with `: ` in quotes)",
        ),
        (RECIPE + "name: again\n", ":9: name: the key stands twice; the first one is on line 1"),
        (
            RECIPE.replace("files: rows.jsonl", "files: a, files: b"),
            ":8: configs.default.splits.train.files: the key stands twice; the first one is on line 8",
        ),
        ("a: " + "[" * 5_000, ":1: nested deeper than 50 levels"),
        ("a: &a {b: *a}", ":1: the alias *a stands inside of its own anchor"),
        ("a: *b", ":1: the alias *b has no anchor &b above it"),
        (
            RECIPE.replace("../source", "!!python/name:os.system x"),
            ":4: the tag !!python/name:os.system has no meaning here (write the plain value)",
        ),
        (
            RECIPE + f"rejects: {{max_share: {'9' * 5_000}}}\n",
            ":9: a number of 5,000 digits; 1,000 are allowed",
        ),
        (
            RECIPE.replace("  default:", "  b: {splits: {train: {files: x}}}\n  ? [a, b]\n  :"),
            ":7: a key is a text, not a list, keys with values or an alias",
        ),
        (RECIPE + 'card: "\\ud800"\n', ":9: '\\ud800' holds half of a surrogate pair, which is no character"),
    ],
)
def test_what_is_no_document(tmp_path: Path, recipe: str | bytes, expected: str) -> None:
    """A file that is no document of keys is one readable mistake at the right line."""
    assert mistakes(tmp_path, recipe).splitlines()[0] == f"recipes/demo.yaml{expected}"


@pytest.mark.parametrize("key", ["null", "~", "Null", "", "true", "False"])
def test_a_name_that_yaml_takes_away(tmp_path: Path, key: str) -> None:
    """A config named by a word that YAML reads as null or a truth value is one mistake, at its line."""
    found = mistakes(tmp_path, RECIPE.replace("default:", f"{key}:")).splitlines()
    assert len(found) == 1
    assert found[0].startswith("recipes/demo.yaml:6: ")
    assert "so the name would be lost (choose another name)" in found[0]


@pytest.mark.parametrize(
    "key", ["'null'", "'None'", "a b", "a/b", "..", "'-a'", "média", "readme.md", "Media", "a" * 97]
)
def test_a_bad_name_of_a_config(tmp_path: Path, key: str) -> None:
    """A config is a folder name and a word of YAML."""
    found = mistakes(tmp_path, RECIPE.replace("default:", f"{key}:")).splitlines()
    assert len(found) == 1
    assert "is no name for a config" in found[0]


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("{}", "a source is exactly one of path, huggingface, modelscope, url"),
        ("{path: ../source, url: https://a/b}", "a source is exactly one of path, huggingface, modelscope, url"),
        ("{path: ../source, files: a}", "`revision`, `files` and `archive` are for repositories of a hub"),
        ("{url: https://a/b, archive: b}", "`revision`, `files` and `archive` are for repositories of a hub"),
        ("{huggingface: a/b, sha256: '00'}", "'00' is no sha256; it has 64 hexadecimal digits"),
        (f"{{huggingface: a/b, sha256: {'a' * 64}}}", "`sha256` is for a URL"),
        ("{huggingface: a}", "'a' is no repository; write it as `owner/name`"),
        (
            "{modelscope: a/b, files: c, archive: d.zip}",
            "a repository is downloaded by `files`, or one `archive` of it is, not both",
        ),
    ],
)
def test_a_place_that_is_none(tmp_path: Path, place: str, expected: str) -> None:
    """A source is one place, with the keys of its kind; the same goes for its fallbacks."""
    for source in (place, f"{{huggingface: a/b, fallbacks: [{place}]}}"):
        found = mistakes(tmp_path, RECIPE.replace("{path: ../source}", source)).splitlines()
        assert len(found) == 1
        assert expected in found[0]


@pytest.mark.parametrize("key", ["2024", "1.0", "1e3", "no", "on", "2024-01-01", "0x1F", "007"])
def test_a_name_is_kept_as_it_is_written(tmp_path: Path, key: str) -> None:
    """A config whose name looks like a number, a date or YAML 1.1's `no` keeps its name to the letter."""
    assert list(load(tmp_path, RECIPE.replace("default:", f"{key}:")).configs) == [key]


@pytest.mark.parametrize("name", ["demo\n", "a--b", "a..b", "-a", "a" * 97, "a/b", ""])
def test_a_bad_name_of_a_dataset(tmp_path: Path, name: str) -> None:
    """What no hub takes as a repository name is a mistake at the name's line."""
    found = mistakes(tmp_path, RECIPE.replace("name: demo", f"card: demo\nname: {name!r}"))
    assert found.startswith("recipes/demo.yaml:2: name: ")
    assert "is no name for a dataset" in found


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        ("{train: 0.9}", "add up to 0.9, so rows would be left over"),
        ("{train: 0.9, test: 0.2}", "add up to 1.1 (at most 1)"),
        ("{train: rest, test: rest}", "only one split takes the rest"),
        ("{train: {first: 2}, test: {first: 3}, x: rest}", "only one split takes the first rows"),
        ("{train: {count: 2}}", "counts alone would leave rows over"),
        ("{train: 0.5, test: {count: 2}}", "shares and counts together would leave rows over"),
        ("{train: 5}", "5 is not a share; write one above 0 and up to 1, or {count: ROWS} for so many rows"),
        ("{train: 0}", "0 is not a share"),
        ("{train: .nan}", "nan is not a share"),
        ("{train: most}", "'most' is not a split; write a share such as 0.9, `rest`"),
        ("{train: {count: 2, share: 0.5}}", "a split is exactly one of files, share, count, first, last"),
        ("{train: {count: 0}}", "0 is not allowed (at least 1)"),
        ("{train: {last: 1e3}}", "1000.0 is not allowed here; wanted: a whole number"),
        ("{train: {last: 99999999999999999999}}", "is not allowed (at most 9223372036854775807)"),
        ("{train: {where: 'a <'}, x: rest}", "configs.default.splits.train.where: the expression 'a <' is wrong"),
        ("{train: {share: 0.5, format: csv}, x: rest}", "format belongs to a split with files of its own"),
        ("{}", "{} is empty"),
        ("[train]", "['train'] is not allowed here; wanted: keys with values"),
        ("{train: null}", "null is not allowed here; wanted: the keys source, files"),
        ("{train: true}", "true is not allowed here; wanted: the keys source, files"),
    ],
)
def test_splits_that_do_not_work(tmp_path: Path, splits: str, expected: str) -> None:
    """Splits that overlap, leave rows over or say nothing are one mistake, at the line of the splits."""
    recipe = MORE_SPLITS.replace("    splits:\n", f"    rows: {{files: rows.jsonl}}\n    splits: {splits}\n")
    found = mistakes(tmp_path, recipe).splitlines()
    assert len(found) == 1, found
    assert found[0].startswith("recipes/demo.yaml:8: configs.default.splits")
    assert expected in found[0]


@pytest.mark.parametrize(
    "size", ["0", "-5", "1.5", "true", "null", "5 potatoes", ".inf", ".nan", "[1]", "''", "1e99GB", "9" * 400, "9PB9"]
)
def test_a_bad_size(tmp_path: Path, size: str) -> None:
    """What is no number of bytes is a mistake that shows how sizes are written."""
    found = mistakes(tmp_path, RECIPE + f"shards: {{max_bytes: {size}}}\n").splitlines()
    assert len(found) == 1
    assert found[0].endswith("is not a size; write a number of bytes, or e.g. 500MB, 2GB, 64MiB")


@pytest.mark.parametrize(
    ("size", "expected"),
    [("500", 500), ("500MB", 500_000_000), ("64 MiB", 64 << 20), ("1.5kb", 1500), ("2gib", 2 << 30)],
)
def test_a_good_size(tmp_path: Path, size: str, expected: int) -> None:
    """Sizes are numbers of bytes, with decimal or binary units."""
    assert load(tmp_path, RECIPE + f"shards: {{max_bytes: {size}}}\n").spec.shards.max_bytes == expected


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("fields: {text: 5}", "fields.text: 5 is not a field; write a column name, a template, or {default: 5}"),
        ("fields: {text: null}", "fields.text: null is not allowed here; wanted: the keys from, template"),
        ("fields: {text: {from: a, template: b}}", "fields.text: a field has `from` or `template`, not both"),
        ("fields: {text: {parse: list}}", "fields.text: `parse: list` needs a `separator`"),
        ("fields: {stars: {parse: integer, thousands: '1'}}", "thousands '1' would be read as part of a number"),
        ("fields: {stars: {parse: number, decimal: e}}", "decimal 'e' would be read as part of a number"),
        ("fields: {stars: {parse: number, thousands: .}}", "the separator of thousands and the decimal mark are"),
        ("fields: {stars: {parse: number, thousands: ''}}", "'' is empty (something must stand here)"),
        ("fields: {stars: {parse: number, thousands: ', '}}", "', ' is too long (at most 1 character)"),
        ("fields: {stars: {parse: int}}", "parse: 'int' is not allowed here; wanted: integer or number or boolean"),
        ("fields: {text: '{{ a|nofilter }}'}", "fields.text: the template '{{ a|nofilter }}' is wrong: No filter"),
        ("curate: [{}]", "curate[0]: a step is exactly one of drop_if, text, image, video, deduplicate, limit"),
        (
            "curate: [{deduplicate: all}]",
            "curate[0].deduplicate: 'all' is not allowed here; wanted: media or row or near, or the keys near, or a",
        ),
        (
            "curate: [{deduplicate: []}]",
            "curate[0].deduplicate: [] is not allowed here; wanted: media or row or near, or the keys near, or a list",
        ),
        ("curate: [{deduplicate: [3]}]", "curate[0].deduplicate: [3] is not allowed here"),
        ("curate: [{limit: 5, seed: -1}]", "curate[0].seed: -1 is not allowed (at least 0)"),
        ("curate: [{image: {min_width: 5, max_width: 3}}]", "curate[0].image: min_width 5 is larger than max_width 3"),
        ("curate: {limit: 5}", "curate: keys with values stand here; wanted: a list"),
        ("rejects: 0.5", "rejects: 0.5 is not allowed here; wanted: the keys max_share"),
        ("rejects: {max_share: .nan}", "rejects.max_share: nan is not a number to count with"),
        ("shards: {media: zip}", "shards.media: 'zip' is not allowed here; wanted: embed or files or archive"),
        ("media: {image: {within: ../no\n   where}}", "media.image.within: there is no folder '../no where'"),
        (
            "media: {image: {probe: all}}",
            "probe: 'all' is not allowed here; wanted: none or header or decode or all_frames",
        ),
        (
            "curate: [{image: {min_width: 5}}]\nmedia: {image: {probe: none}}",
            "curate[0]: 'min_width' is not known with `probe: none` (say `probe: header`, or leave it out)",
        ),
        ("card: 'no/such'", "card: there is no"),
        (f"card: {'x' * 5_000}", "card: there is no"),
    ],
)
def test_one_wrong_value(tmp_path: Path, more: str, expected: str) -> None:
    """Each wrong value is one mistake at its line, in words without jargon."""
    found = mistakes(tmp_path, RECIPE + more + "\n").splitlines()
    assert len(found) == 1, found
    assert found[0].startswith("recipes/demo.yaml:9: ")
    assert expected in found[0]
    assert not re.search(r"NoneType|dict|str\b|Input should|valid ", found[0])


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("{files: []}", "a split is exactly one of"),
        ("{files: a, delimiter: ',,'}", "',,' is too long (at most 1 character)"),
        ("{files: a, delimiter: '\"'}", "cannot be the delimiter and the quote or escape at once"),
        ('{files: a, delimiter: "\\n"}', "a line end is no delimiter, quote or escape"),
        ("{files: a, header: []}", "`header: []` names no column"),
        ("{files: a, header: [x, x]}", "a column name stands twice"),
        ("{files: a, header: 3}", "3 is not allowed here; wanted: true or false, or a list"),
        ("{files: a, encoding: hex}", "unknown encoding 'hex'"),
        ('{files: a, encoding: "a\\0"}', "unknown encoding"),
        ("{files: a, encoding: ''}", "unknown encoding ''"),
        ("{files: a, reader: rows}", "'rows' is no reader; write a file and a function of it, e.g. my_rows.py:rows"),
        ("{files: a, reader: 'no.py:rows'}", "there is no file 'no.py'"),
        ("{files: a, format: xml}", "'xml' is not allowed here; wanted: json or jsonl or csv or tsv or parquet"),
    ],
)
def test_rows_that_cannot_be_read(tmp_path: Path, rows: str, expected: str) -> None:
    """Options of reading that are wrong or contradict each other are one mistake at their line."""
    found = mistakes(tmp_path, RECIPE.replace("{files: rows.jsonl}", rows)).splitlines()
    assert len(found) == 1, found
    assert found[0].startswith("recipes/demo.yaml:8: ")
    assert expected in found[0]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("strng", "unknown type 'strng'; did you mean 'string'?"),
        ("int", "unknown type 'int'; did you mean 'int64'?"),
        ("list", "the type 'list' needs more; write {list: TYPE}"),
        ("null", "wanted: the keys type, nullable"),
        ("{type: null}", "null is not a type; allowed: string, bool"),
        ("{nullable: true}", "the key 'type' is missing"),
        ("{typ: string}", "typ: unknown key (did you mean 'type'?)"),
        ("{lst: string}", "unknown type 'lst'; did you mean 'list'?"),
        ("{list: {list: image}}", "an image or video stands in a column of its own, or in a list of them"),
        ("{list: {struct: {a: image}}}", "an image or video stands in a column of its own, or in a list of them"),
        ("{struct: {a: {list: video}}}", "an image or video stands in a column of its own, or in a list of them"),
        ("{struct: {_type: string}}", "`datasets` keeps the field name '_type' for itself"),
        ("{struct: {}}", "{} are no fields; write {struct: {name: TYPE, …}}"),
        ("{class_label: []}", "[] is no list of names"),
        ("{class_label: [a, a]}", "the name 'a' stands twice"),
        ("{class_label: [a, 5]}", "5 is not a name; in quotes it is: '5'"),
        ("{type: string, min: 3}", "`min` goes with a number, and this column is none"),
        ("{type: int64, min: 3, max: 2}", "min 3 is larger than max 2"),
        ("{type: int64, min: .nan}", "nan is not allowed here; wanted: a whole number, or a number"),
        ("{type: int64, values: [1, a]}", "'a' is never a value of this column"),
        ("{type: string, values: [true]}", "true is never a value of this column"),
        ("{type: string, values: []}", "an empty list of values allows nothing"),
        ("{type: string, pattern: '('}", "'(' is not a regular expression: missing ), unterminated subpattern"),
        ("{type: string, min_length: -1}", "-1 is not allowed (at least 0)"),
        ("{type: int64, min_length: 1}", "`min_length` goes with a text or a list, and this column is neither"),
        ("{type: image, unique: true}", "only a plain value can be unique"),
        ("{type: image, values: [a]}", "an image or video has no list of values"),
        ("{type: {class_label: [a]}, values: [a]}", "a class_label has its names already"),
    ],
)
def test_a_column_that_is_none(tmp_path: Path, column: str, expected: str) -> None:
    """A wrong type or rule of a column is a mistake at its line in the schema."""
    found = mistakes(tmp_path, schema=f"{SCHEMA}  mine: {column}\n").splitlines()
    assert found
    assert all(line.startswith("schemas/demo.yaml:8: columns.mine") for line in found), found
    assert expected in "\n".join(found)


@pytest.mark.parametrize(
    ("conversation", "expected"),
    [
        ("[]", "[] is no conversation"),
        ("hello", "'hello' is no conversation"),
        ("[user: null]", "the turn of 'user' says nothing"),
        ("[user: []]", "the turn of 'user' says nothing"),
        ("[{user: a, assistant: b}]", "a turn has exactly one role"),
        ("[usr: a]", "usr: unknown key (did you mean 'user'?)"),
        ("[user: [{img: image}]]", "img: unknown key"),
        ("[user: [{text: a, image: image}]]", "a part is exactly one of text, image, video"),
        ("[user: {image: ''}]", "unknown column ''"),
        ("[user: {image: text}]", "the column 'text' holds no image"),
        ("[user: {video: image}]", "the column 'image' holds no video"),
        ("[user: '{{ image }}']", "'image' is no text (a part of its own: {image: image})"),
        ("[user: '{{ txt }}']", "unknown column 'txt' (did you mean 'text'?)"),
        ("[user: '{{ text']", "is wrong"),
        ("[user: 5]", "5 is not allowed here; wanted: a list"),
        ("{column: txt}", "unknown column 'txt'"),
        ("{column: text}", "the column 'text' is not a list of structs"),
        ("{column: turns, roles: {}}", "{} is empty"),
        ("{column: turns, roles: {a: boss}}", "'boss' is not allowed here; wanted: system or user or assistant"),
        ("{column: turns, text_key: values}", "'turns' has no text field 'values' (did you mean 'value'?)"),
        ("{column: turns, tokens: {'': images}}", "is empty"),
        ("{column: turns, tokens: {<image>: imags}}", "unknown column 'imags' (did you mean 'images'?)"),
        ("{colum: turns}", "colum: unknown key (did you mean 'column'?)"),
    ],
)
def test_a_conversation_that_is_none(tmp_path: Path, conversation: str, expected: str) -> None:
    """A wrong conversation is a mistake at its line, with the column that was meant."""
    turns = "  turns: {list: {struct: {from: string, value: string}}}\n"
    found = mistakes(tmp_path, schema=f"{SCHEMA}{turns}conversation: {conversation}\n")
    assert found.startswith("schemas/demo.yaml:9: conversation"), found
    assert expected in found


def test_a_broken_column_is_blamed_once(tmp_path: Path) -> None:
    """Whatever else names a column with a wrong type is not called unknown."""
    schema = SCHEMA.replace("text: string", "text: strng") + (
        "placeholders: [{column: text, token: <image>, media: images}]\nconversation: [user: '{{ text }}']\n"
    )
    found = mistakes(tmp_path, schema=schema).splitlines()
    assert found == ["schemas/demo.yaml:5: columns.text: unknown type 'strng'; did you mean 'string'?"]


def test_anchors_and_merge_keys_work(tmp_path: Path) -> None:
    """Aliases and `<<` mean what they mean elsewhere, and a mistake in a merged key has the key's own line."""
    recipe = RECIPE.replace("  default:\n", "  default: &base\n") + "  other:\n    <<: *base\n    split_by: {seed: 3}\n"
    configs = load(tmp_path, recipe).configs
    assert configs["other"].splits == configs["default"].splits
    assert configs["other"].seed == 3
    found = mistakes(tmp_path, recipe.replace("files:", "fils:")).splitlines()
    assert found == [
        f"recipes/demo.yaml:8: configs.{name}.splits.train.fils: unknown key (did you mean 'files'?)"
        for name in ("default", "other")
    ]


def test_a_yaml_bomb_is_refused(tmp_path: Path) -> None:
    """Aliases of aliases that would fill the memory are a mistake, at once."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert mistakes(tmp_path, "\n".join(lines)).startswith("recipes/demo.yaml:6: more than 200,000 values")


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("---\nname: a\n  b: c\n---\n", ":3: not YAML: a second `key: value` on one line, or a wrong indent"),
        ("---\n- a\n---\n", ":2: the document is a list, not keys with values"),
        ("---\nname: a\ndataset_info: {}\n---\n", ":3: dataset_info: this key is computed from the shards"),
        (b"# caf\xe9\n", ":1: the file is not UTF-8"),
    ],
)
def test_a_wrong_card(tmp_path: Path, card: str | bytes, expected: str) -> None:
    """A mistake in the card has the card's own line."""
    assert mistakes(tmp_path, card=card).startswith(f"dataset_cards/demo.md{expected}")


def test_no_mistake_in_what_is_right(tmp_path: Path) -> None:
    """The plain recipe of these tests is right, also with a byte order mark and foreign line ends."""
    assert mistakes(tmp_path) == ""
    for text in (RECIPE, SCHEMA, CARD):
        assert text.isascii()
    recipe, schema = (b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode() for text in (RECIPE, SCHEMA))
    assert mistakes(tmp_path, recipe, schema) == ""
