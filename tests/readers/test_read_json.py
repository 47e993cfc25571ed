"""JSON documents and JSON Lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from reading import outcome, outcome_of

from pipeline.errors import SourceError
from pipeline.readers.read import detect_format
from pipeline.readers.record import MAX_RECORD_BYTES, ReadOptions

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20


@pytest.mark.parametrize("ending", ["json", "jsonl"])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'[{"a": 1}]', "json"),
        (b'\n [\n{"a": 1}]', "json"),
        (b'{"a": 1}\n{"a": 2}\n', "jsonl"),
        (b'\xef\xbb\xbf{"a": 1}\r\n{"a": 2}', "jsonl"),
        (b'{"a": \n{"a": 2}\n', "jsonl"),
        (b'{\n"a": 1}\n', "json"),
        (b'{\n"a": 1}\n{\n"a": 2}', "json"),
    ],
)
def test_json_is_told_by_its_content(tmp_path: Path, ending: str, content: bytes, told: str) -> None:
    """An array in .jsonl and JSON Lines in .json are seen for what they are."""
    path = tmp_path / f"a.{ending}"
    path.write_bytes(content)
    assert detect_format(path, ReadOptions()) == told


@pytest.mark.parametrize(("ending", "told"), [("json", "json"), ("jsonl", "jsonl")])
def test_single_line_is_what_its_ending_says(tmp_path: Path, ending: str, told: str) -> None:
    """One object on one line may be either format, so the ending decides."""
    path = tmp_path / f"a.{ending}"
    path.write_bytes(b'{"a": 1}\n')
    assert detect_format(path, ReadOptions()) == told
    assert outcome(path).rows == [{"a": 1}]


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("18446744073709551616", 18446744073709551616),
        ("-9223372036854775809", -9223372036854775809),
        ("123456789012345678901234567890", 123456789012345678901234567890),
        pytest.param("-" + "7" * 4000, -int("7" * 4000), id="4000 digits"),
        ("1e22", 1e22),
        ("9007199254740993", 9007199254740993),
        ('{"b": 1, "b": 1}', {"b": 1}),
        (r'"\u003a and : and \":"', ":" + ' and : and ":'),
    ],
)
def test_values_are_exact(tmp_path: Path, value: str, read: Any) -> None:
    """Integers of any length are kept to the last digit, and colons in strings raise no suspicion."""
    found = outcome_of(tmp_path / "a.json", f'[{{"a": {value}}}]'.encode())
    assert found.rows == [{"a": read}]
    assert type(found.rows[0]["a"]) is type(read)


@pytest.mark.parametrize(
    ("value", "code", "told"),
    [
        ("NaN", "read.json", "NaN is not a JSON number"),
        ("-Infinity", "read.json", "-Infinity is not a JSON number"),
        ("1e999", "read.json", "infinity"),
        (r'"\ud800"', "read.json", "surrogate"),
        ('{"b": 1, "b": 2}', "read.duplicate_key", "'b' stands twice"),
        ('{"b": 1, "b": true}', "read.duplicate_key", "'b' stands twice"),
        ('{"b" : 1, "b"\t: 1.0}', "read.duplicate_key", "'b' stands twice"),
        (r'{"b": 1, "b": "\u003a"}', "read.duplicate_key", "'b' stands twice"),
        ("[" * 200 + "]" * 200, "read.json", "nested deeper"),
        ("[" * 5000 + "]" * 5000, "read.json", "depth"),
        ("1" * 5000, "read.json", "5000 digits"),
        ("1" * 400 + ".5", "read.json", "infinity"),
        ('["' + "1" * 400 + '", ' + "1" * 400 + r', "\ud800"]', "read.json", "infinity"),
        ('"a\tb"', "read.json", "control character"),
    ],
)
@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_what_json_has_not_is_a_bad_record(tmp_path: Path, ending: str, value: str, code: str, told: str) -> None:
    """A value that cannot be kept as it stands rejects its record and no other."""
    lines = ['{"n": 1}', f'{{"a": {value}}}', '{"n": 3}']
    text = "\n".join(lines) if ending == "jsonl" else "[" + ",\n".join(lines) + "]"
    found = outcome_of(tmp_path / f"a.{ending}", text.encode())
    assert found.rows == [{"n": 1}, {"n": 3}]
    assert found.lines == [1, 3]
    assert found.codes == [(2, code)]
    assert told in found.bad[0].message


@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_invalid_bytes_reject_their_record_only(tmp_path: Path, ending: str) -> None:
    """With UTF-8 declared, a record with other bytes is rejected and the ones around it are read."""
    lines = [b'{"n": 1}', b'{"a": "\xff"}', b'{"n": 3}']
    data = b"\n".join(lines) if ending == "jsonl" else b"[" + b",\n".join(lines) + b"]"
    found = outcome_of(tmp_path / f"a.{ending}", data, encoding="utf-8")
    assert found.rows == [{"n": 1}, {"n": 3}]
    assert found.codes == [(2, "read.encoding")]


def test_only_newlines_end_a_json_line(tmp_path: Path) -> None:
    """U+2028 and U+0085 stay in their strings, blank lines count but are no records."""
    found = outcome_of(tmp_path / "a.jsonl", '\n{"a":"x\u2028y\x85z"}\r\n\r\n{"a":2}'.encode())
    assert found.rows == [{"a": "x\u2028y\x85z"}, {"a": 2}]
    assert found.lines == [2, 4]


def test_cut_off_last_line_is_a_bad_record(tmp_path: Path) -> None:
    """A file that ends in the middle of a line gives all the lines before it."""
    found = outcome_of(tmp_path / "a.jsonl", b'{"a": 1}\n{"a": 2}\n{"a": "thr')
    assert found.lines == [1, 2]
    assert found.codes == [(3, "read.json")]


@pytest.mark.parametrize("indent", [None, 2])
def test_truncated_array_gives_its_good_records_and_one_bad(tmp_path: Path, indent: int | None) -> None:
    """A cut array loses only the record the cut goes through."""
    rows = [{"id": number, "parts": [{"id": 1}, {"id": 2}]} for number in range(50)]
    text = json.dumps(rows, indent=indent)
    found = outcome_of(tmp_path / "a.json", text[: text.rindex("parts")].encode())
    assert found.rows == rows[:-1]
    assert [bad.code for bad in found.bad] == ["read.json"]
    assert "could not be read" in found.bad[0].message


def test_reading_goes_on_behind_a_lost_quote(tmp_path: Path) -> None:
    """In a file whose records stand on lines of their own, a lost quote or bracket costs one record."""
    rows = [{"id": number, "parts": [{"id": 1}, {"id": 2}]} for number in range(50)]
    text = json.dumps(rows, indent=2).replace('"id": 20,', '"id: 20,').replace('"id": 30,', '"id": [30,')
    found = outcome_of(tmp_path / "a.json", text.encode())
    assert [row["id"] for row in found.rows] == [number for number in range(50) if number not in (20, 30)]
    assert [bad.code for bad in found.bad] == ["read.json", "read.json"]


def test_records_at_a_path(tmp_path: Path) -> None:
    """`records` leads to an array inside objects, whatever stands before and behind it."""
    path = tmp_path / "a.json"
    data = b'{"info": {"ann": [1, "]"]},\n"data": {"skip": "}", "ann": [\n{"a": 1},\n{"a": 2}], "z": [{}]}}'
    found = outcome_of(path, data, records="data.ann")
    assert found == ([{"a": 1}, {"a": 2}], [3, 4], [])
    assert outcome_of(path, data[:-1], records="data.ann").codes == [(4, "read.json")]
    for wrong, told in [("data.nix", "'skip', 'ann', 'z'"), ("info.ann.x", "no object"), ("data", "key: COLUMN")]:
        with pytest.raises(SourceError, match=told):
            outcome(path, records=wrong)


def test_keyed_object_puts_the_key_into_a_column(tmp_path: Path) -> None:
    """Each value of a keyed object is a record that has its key, unless it says something else itself."""
    data = b'{"x": {"a": 1},\n"y": {"id": "y"},\n"z": {"id": "q"},\n"w": [1]}'
    found = outcome_of(tmp_path / "a.json", data, key="id")
    assert found.rows == [{"id": "x", "a": 1}, {"id": "y"}]
    assert found.codes == [(3, "read.key_conflict"), (4, "read.not_object")]


@pytest.mark.parametrize("options", [{"key": "id"}, {"records": "a"}])
def test_options_of_documents_are_refused_for_lines(tmp_path: Path, options: dict[str, str]) -> None:
    """`records` and `key` given for JSON Lines are an error, not ignored."""
    with pytest.raises(SourceError, match="given"):
        outcome_of(tmp_path / "a.jsonl", b'{"a": 1}\n', format="jsonl", **options)


def test_nested_objects_of_a_bad_record_are_never_records(tmp_path: Path) -> None:
    """Reading goes on behind a bad record, not at objects inside it that look like records."""
    good = '{"id": 1, "parts": [{"id": 2},\n{"id": 3}]}'
    bad = '{"id": 4, "parts": [{"id": 5},\n{"id": 6}], "x": NaN}'
    found = outcome_of(tmp_path / "a.json", f"[{good},\n{good},\n{bad},\n{good}]".encode())
    assert [row["id"] for row in found.rows] == [1, 1, 1]
    assert found.codes == [(5, "read.json")]


@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_record_of_absurd_length_is_passed_over(tmp_path: Path, ending: str) -> None:
    """A record longer than the limit is one bad record, and the next one is read."""
    path = tmp_path / f"a.{ending}"
    between = b"," if ending == "json" else b"\n"
    with path.open("wb") as file:
        file.write((b"[" if ending == "json" else b"") + b'{"a": 1}' + between + b'{"a": "')
        for _ in range(MAX_RECORD_BYTES // MIB + 2):
            file.write(b"x" * MIB)
        file.write(b'"}' + between + b'{"a": 3}' + (b"]" if ending == "json" else b""))
    found = outcome(path)
    assert found.rows == [{"a": 1}, {"a": 3}]
    assert [bad.code for bad in found.bad] == ["read.too_large"]
    assert len(found.bad[0].excerpt) == 200


@pytest.mark.parametrize("codec", ["utf-16", "utf-32", "utf-8-sig", "utf-16-le", "gb18030"])
def test_declared_or_marked_encodings_are_read(tmp_path: Path, codec: str) -> None:
    """Any encoding that is declared gives the same rows and lines, also across the borders of blocks."""
    rows = [{"id": number, "text": "中文 é \n" * 9} for number in range(9000)]
    text = "[" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "]"
    found = outcome_of(tmp_path / "a.json", text.encode(codec), encoding=codec)
    assert found.rows == rows
    assert found.lines == list(range(1, 9001))


def test_undecodable_bytes_of_another_encoding_reject_their_record(tmp_path: Path) -> None:
    """In a declared multi-byte encoding too, invalid bytes cost one record."""
    data = '{"a": "中"}\n'.encode("gb18030") + b'{"a": "\xff\xff"}\n{"a": 3}\n'
    found = outcome_of(tmp_path / "a.jsonl", data, encoding="gb18030")
    assert found.rows == [{"a": "中"}, {"a": 3}]
    assert found.codes == [(2, "read.encoding")]


@pytest.mark.parametrize(
    ("data", "encoding", "told"),
    [
        ('[{"a": 1}]'.encode("utf-16-le"), None, "say `encoding: utf-16-le`"),
        ('[{"a": 1}]'.encode("utf-16-le"), "utf-16", "utf-16-le or utf-16-be"),
        ('[{"a": 1}]'.encode("utf-8-sig"), "latin-1", "byte order mark says utf-8"),
        (b"[]", "zlib", "unknown encoding"),
        (b"[]", "no-such\0codec", "unknown encoding"),
        (b"[]", "idna", "unknown encoding"),
    ],
)
def test_encoding_in_doubt_is_refused(tmp_path: Path, data: bytes, encoding: str | None, told: str) -> None:
    """An encoding is never guessed, and a declared one that cannot be right is refused."""
    with pytest.raises(SourceError, match=told):
        outcome_of(tmp_path / "a.json", data, encoding=encoding)


@pytest.mark.parametrize("data", [b"hello", b'"text"', b"12"])
def test_other_text_is_no_json(tmp_path: Path, data: bytes) -> None:
    """A .json file with anything but an array or object is refused."""
    with pytest.raises(SourceError, match="is not JSON"):
        outcome_of(tmp_path / "a.json", data)


def test_paths_that_are_no_files_are_refused(tmp_path: Path) -> None:
    """A folder and a missing file raise SourceError."""
    with pytest.raises(SourceError, match="not a regular file"):
        outcome(tmp_path)
    for format_name in ("json", "jsonl", "csv", "parquet"):
        with pytest.raises(SourceError, match="does not exist"):
            outcome(tmp_path / "missing", format=format_name)


def test_packed_files_are_refused(tmp_path: Path) -> None:
    """A compressed file is named as such."""
    with pytest.raises(SourceError, match="packed with gzip"):
        outcome_of(tmp_path / "a.jsonl", b"\x1f\x8b\x08\0")
