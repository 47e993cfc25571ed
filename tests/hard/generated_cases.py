r"""Hard annotation inputs that no real file shows, each with what is right and why.

A case is one file, a recipe and schema for it, and what a build makes of it: its rows, and its rejects by line and
code; or the words with which the file is refused. Every case has a good row, because good rows must survive.
"""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Rows = list[dict[str, Any]]
Rejects = list[tuple[int, str]]

TEXT = {"v": "string"}
INTEGER = {"v": "int64"}
FLOAT = {"v": "float64"}
ANY = {"v": "json"}
COMMA_THOUSANDS = {"parse": "integer", "thousands": ","}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One hard input."""

    name: str
    why: str
    data: bytes
    ending: str
    columns: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    rows: Rows = field(default_factory=list)
    rejects: Rejects = field(default_factory=list)
    refused: str = ""

    @property
    def file(self) -> str:
        """The name of the file."""
        return f"{self.name}.{self.ending}"


def values(*found: Any) -> Rows:
    """Return rows of one column `v`."""
    return [{"v": value} for value in found]


def case(name: str, why: str, data: bytes | str, columns: dict[str, Any], **more: Any) -> Case:
    """Make a case; a text is UTF-8, and the ending is that of the name, e.g. `nan_csv`."""
    raw = data.encode() if isinstance(data, str) else data
    return Case(name=name, why=why, data=raw, columns=columns, ending=name.rpartition("_")[2], **more)


def lines(*records: str) -> str:
    """Write JSON Lines."""
    return "".join(record + "\n" for record in records)


# Encodings -----------------------------------

# Characters with bytes in them that mean something by themselves: a bar, a backslash, a quote, a comma, a line end.
AWKWARD = {
    "utf-8": "中文 é ʤ 🦀",
    "utf-8-sig": "中文 é ʤ 🦀",
    "utf-16": "ਊ∢Ⱜ 中文 🦀",
    "utf-16-le": "ਊ∢Ⱜ 中文 🦀",
    "utf-16-be": "ਊ∢Ⱜ 中文 🦀",
    "utf-32": "ਊ∢Ⱜ 中文 🦀",
    "gbk": "乗亅中文",
    "gb18030": "乗亅中文 ʤ 🦀",
    "big5": "功許繁體",
    "shift_jis": "表ポ日本語",
    "cp932": "表ポ①日本語",
    "euc_jp": "日本語の文",
    "cp949": "한국어 똠",
    "latin-1": "José Ñ ÿ",
    "cp1252": "œuf € “José”",
}
_MARKED = {"utf-8", "utf-8-sig", "utf-16", "utf-32"}


def _in_every_format(text: str) -> dict[str, str]:
    return {
        "csv": f"id,v\n1,{text}\n2,b\n",
        "tsv": f"id\tv\n1\t{text}\n2\tb\n",
        "jsonl": lines(json.dumps({"id": 1, "v": text}, ensure_ascii=False), '{"id": 2, "v": "b"}'),
        "json": f'[{{"id": 1, "v": {json.dumps(text, ensure_ascii=False)}}},\n{{"id": 2, "v": "b"}}]\n',
    }


def _encodings() -> list[Case]:
    cases = []
    for codec, text in AWKWARD.items():
        for ending, content in _in_every_format(text).items():
            raw, name = content.encode(codec), codec.replace("-", "_")
            rows = values(text, "b")
            why = "The encoding is declared, and bytes that mean something in ASCII mean nothing inside of a character."
            cases.append(
                case(f"declared_{name}_{ending}", why, raw, TEXT, options={"encoding": codec}, rows=rows),
            )
            if codec in _MARKED:
                why = "UTF-8, or what the byte order mark says, needs no word."
                cases.append(case(f"marked_{name}_{ending}", why, raw, TEXT, rows=rows))
    for ending, content in _in_every_format(AWKWARD["utf-16"]).items():
        raw = b"\xfe\xff" + content.encode("utf-16-be")
        why = "The mark tells the byte order, whether or not the recipe says utf-16."
        rows = values(AWKWARD["utf-16"], "b")
        cases.append(case(f"marked_utf_16_be_{ending}", why, raw, TEXT, rows=rows))
        cases.append(case(f"both_utf_16_be_{ending}", why, raw, TEXT, options={"encoding": "utf-16"}, rows=rows))
    return cases


def _encodings_in_doubt() -> list[Case]:
    cases = []
    sentences = {
        "gbk": ("数据集里的每一行都要读对。否则就要写下来。", "encoding: gb18030"),
        "shift_jis": ("今日は天気がいいので、公園に行きます。", "encoding: cp932"),
        "latin-1": ("Été à la plage, où José a vu un garçon", "encoding: cp1252"),
        "utf-16-le": ("中文", "encoding: utf-16-le"),
        "utf-16-be": ("中文", "encoding: utf-16-be"),
    }
    for codec, (text, told) in sentences.items():
        for ending, content in _in_every_format(text.replace(",", "")).items():
            why = "Nothing is declared or marked, so nothing is guessed; the likeliest encoding is named."
            name = f"undeclared_{codec.replace('-', '_')}_{ending}"
            cases.append(case(name, why, content.encode(codec), TEXT, refused=told))
    return [
        *cases,
        case(
            "mark_against_declared_csv",
            "The mark and the recipe contradict each other, and one of them is wrong.",
            "id,v\n1,é\n".encode("utf-8-sig"),
            TEXT,
            options={"encoding": "gbk"},
            refused="byte order mark says utf-8",
        ),
        case(
            "utf_16_of_no_order_csv",
            "utf-16 without a mark may be of either byte order; the two differ in every character.",
            "id,v\n1,a\n".encode("utf-16-le"),
            TEXT,
            options={"encoding": "utf-16"},
            refused="utf-16-le or utf-16-be",
        ),
        case(
            "utf_16_that_is_ascii_too_csv",
            "The bytes of these characters are ASCII, but the delimiter's zero byte gives UTF-16 away.",
            "中,潮\n1,2\n".encode("utf-16-le"),
            TEXT,
            refused="NUL byte",
        ),
        case(
            "gbk_in_utf_8_jsonl",
            "With UTF-8 declared only the records with other bytes are lost.",
            b'{"v": "a"}\n{"v": "' + "中文".encode("gbk") + b'"}\n{"v": "c"}\n',
            TEXT,
            options={"encoding": "utf-8"},
            rows=values("a", "c"),
            rejects=[(2, "read.encoding")],
        ),
        case(
            "undefined_in_cp1252_csv",
            "0x81 is no character in cp1252.",
            b"id,v\n1,\x80\n2,\x81\n3,c\n",
            TEXT,
            options={"encoding": "cp1252"},
            rows=values("€", "c"),
            rejects=[(3, "read.encoding")],
        ),
        case(
            "half_a_gbk_character_jsonl",
            "The file ends in the middle of a character.",
            b'{"v": "a"}\n{"v": "\xd6',
            TEXT,
            options={"encoding": "gbk"},
            rows=values("a"),
            rejects=[(2, "read.encoding")],
        ),
        case(
            "odd_byte_of_utf_16_csv",
            "The file ends in the middle of a code unit.",
            "id,v\n1,a\n2,b".encode("utf-16")[:-1],
            TEXT,
            rows=values("a"),
            rejects=[(3, "read.encoding")],
        ),
        case(
            "late_bytes_jsonl",
            "Behind the first MiB, invalid bytes in a file that looked like UTF-8 cost their record, not the file.",
            b'{"v": "a"}\n' + b" " * (1 << 20) + b'\n{"v": "\xff"}\n{"v": "c"}\n',
            TEXT,
            rows=values("a", "c"),
            rejects=[(3, "read.encoding")],
        ),
        case(
            "mark_inside_jsonl",
            "A byte order mark in front of a later line (two files put together) is no JSON.",
            b'\xef\xbb\xbf{"v": "a"}\n\xef\xbb\xbf{"v": "b"}\n{"v": "c"}\n',
            TEXT,
            rows=values("a", "c"),
            rejects=[(2, "read.json")],
        ),
    ]


# The shape of a table -----------------------------------


def _tables() -> list[Case]:
    cases = []
    for number, delimiter in enumerate(",;\t|"):
        data = f'id{delimiter}v\n1{delimiter}"a{delimiter}b"\n2{delimiter}c d\n'
        cases.append(
            case(
                f"detected_{number}_csv",
                f"{delimiter!r} is the one delimiter that stands in the header.",
                data,
                TEXT,
                rows=values(f"a{delimiter}b", "c d"),
            )
        )
    for number, delimiter in enumerate(",;\t|:^~ \x01\uff1b"):
        data = f'id{delimiter}v\n1{delimiter}"a{delimiter}b"\n2{delimiter}c,d;e\n'
        good = delimiter not in ",;"
        cases.append(
            case(
                f"declared_{number}_csv",
                f"{delimiter!r} is declared, so other delimiters are characters, and too many of it is ragged.",
                data,
                TEXT,
                options={"delimiter": delimiter},
                rows=values(f"a{delimiter}b", "c,d;e") if good else values(f"a{delimiter}b"),
                rejects=[] if good else [(3, "read.ragged")],
            )
        )
    return [
        *cases,
        case(
            "two_delimiters_csv",
            "Comma and semicolon cut every row alike, so either may be meant.",
            "a,b;v\n1,2;3\n",
            TEXT,
            refused="the delimiter is in doubt",
        ),
        case(
            "quoted_newlines_csv",
            "Line ends of all kinds inside quotes belong to the cell, and lines are counted on.",
            'id,v\n1,"a\nb"\n2,"a\r\nb"\n3,"a\rb"\n4,"a\n\n\nb"\n5\n6,c\n',
            TEXT,
            rows=values("a\nb", "a\r\nb", "a\rb", "a\n\n\nb", "c"),
            rejects=[(12, "read.ragged")],
        ),
        case(
            "ragged_csv",
            "A row with cells too few or too many is rejected, neither filled up nor cut; a blank line is no row.",
            "id,v\n1\n2,b\n3,c,d\n\n,\n4,e,\n",
            TEXT,
            rows=values("b", ""),
            rejects=[(2, "read.ragged"), (4, "read.ragged"), (7, "read.ragged")],
        ),
        case(
            "nul_csv",
            "A NUL byte is no text; also inside quotes, and beside a row that is good.",
            b'id,v\n1,a\n2,\0\n3,"\0"\n4,d\n',
            TEXT,
            rows=values("a", "d"),
            rejects=[(3, "read.nul"), (4, "read.nul")],
        ),
        case(
            "nul_jsonl",
            "A NUL byte is no JSON; the escape of one is, and stands for that character.",
            b'{"v": "a"}\n{"v": "\0"}\n\0\n{"v": "\\u0000"}\n',
            TEXT,
            rows=values("a", "\0"),
            rejects=[(2, "read.json"), (3, "read.json")],
        ),
        case(
            "nul_json",
            "Likewise in an array.",
            b'[{"v": "a"},\n{"v": "\0"},\n{"v": "\\u0000"}]',
            TEXT,
            rows=values("a", "\0"),
            rejects=[(2, "read.json")],
        ),
        case(
            "duplicate_header_csv", "Which of the two is meant?", "v,v\n1,2\n", TEXT, refused="2 columns are called 'v'"
        ),
        case("blank_header_csv", "A column needs a name.", "v,\n1,2\n", TEXT, refused="column 2 has no name"),
        case("white_header_csv", "White space is no name.", "v,  \n1,2\n", TEXT, refused="column 2 has no name"),
        case("headers_that_differ_in_case_csv", "v and V are two names.", "V,v\n1,2\n", TEXT, rows=values("2")),
        case(
            "blank_key_jsonl",
            "A blank key is valid JSON, and the column that is asked for is there.",
            '{"": 1, "v": "a"}\n',
            TEXT,
            rows=values("a"),
        ),
        case(
            "declared_header_csv",
            "With names declared, the file's own header is a row like others.",
            "v,v\n1,2\n",
            TEXT,
            options={"header": ["id", "v"]},
            rows=values("v", "2"),
        ),
        case(
            "no_line_ends_csv",
            "Only LF, CR LF and CR end a row: other characters that some programs call line ends are text.",
            "id,v\n1,a\x0bb\x0cc\x1cd\x1de\x1ef\x85g\u2028h\u2029i\n",
            TEXT,
            rows=values("a\x0bb\x0cc\x1cd\x1de\x1ef\x85g\u2028h\u2029i"),
        ),
        case(
            "unclosed_quote_csv",
            "A quote that is never closed takes all rows behind it along, and each line is counted: no row vanishes.",
            'id,v\n1,a\n2,"b\n3,c\n\n4,d\n',
            TEXT,
            rows=values("a"),
            rejects=[(line, "read.unterminated") for line in (3, 4, 5, 6)],
        ),
        case(
            "quote_closed_too_late_csv",
            "The next quote closes it, and what stands behind that has no meaning: one row of three lines is bad.",
            'id,v\n1,"a\n2,b\n3,"c"\n4,d\n',
            TEXT,
            rows=values("d"),
            rejects=[(2, "read.csv")],
        ),
        case(
            "stray_quote_csv",
            "Text behind a closing quote has no meaning; a quote in the middle of a bare cell is a character.",
            'id,v\n1,"a"b\n2,a"b\n3,""\n4,""""\n',
            TEXT,
            rows=values('a"b', "", '"'),
            rejects=[(2, "read.csv")],
        ),
    ]


# Numbers -----------------------------------


def _numbers() -> list[Case]:
    no_numbers = ("NaN", "-NaN", "Infinity", "-Infinity", "nan", "inf", "1e999", "-1e999")
    as_lines = lines('{"v": 1.5}', *(f'{{"v": {text}}}' for text in no_numbers), '{"v": 2.5}')
    as_array = "[" + as_lines.strip().replace("\n", ",\n") + "]"
    as_table = "v\n1.5\n" + "".join(f"{text}\n" for text in no_numbers) + "2.5\n"
    rejected = [(line, "read.json") for line in range(2, 10)]
    edge = (2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64 - 1, 2**64, 10**30)
    edges = lines(*(f'{{"v": {number}}}' for number in edge))
    edges_csv = "v\n" + "".join(f"{number}\n" for number in edge)
    texts = values(*map(str, edge))
    fits_int64 = [number for number in edge if -(2**63) <= number < 2**63]
    fits_uint64 = [number for number in edge if 0 <= number < 2**64]
    fits_float = [number for number in edge if int(float(number)) == number]

    def left(kept: list[int], code: str, first_line: int = 1) -> Rejects:
        return [(line, code) for line, number in enumerate(edge, first_line) if number not in kept]

    parquet = io.BytesIO()
    pq.write_table(pa.table({"v": [1.5, math.nan, math.inf, -math.inf, None]}), parquet)
    return [
        case("nan_jsonl", "JSON has neither.", as_lines, FLOAT, rows=values(1.5, 2.5), rejects=rejected),
        case(
            "nan_json",
            "JSON has neither, in an array no more.",
            as_array,
            FLOAT,
            rows=values(1.5, 2.5),
            rejects=rejected,
        ),
        case(
            "nan_csv",
            "A word is no number, and a number larger than any float is not infinity.",
            as_table,
            FLOAT,
            rows=values(1.5, 2.5),
            rejects=[(line, "schema.type") for line in range(3, 11)],
        ),
        case(
            "nan_as_text_csv",
            "In a text column the words are words.",
            as_table,
            TEXT,
            rows=values("1.5", *no_numbers, "2.5"),
        ),
        case(
            "nan_parsed_csv",
            "`parse: number` reads numbers, and these are none.",
            as_table,
            FLOAT,
            fields={"v": {"from": "v", "parse": "number"}},
            rows=values(1.5, 2.5),
            rejects=[(line, "parse.number") for line in range(3, 11)],
        ),
        case(
            "nan_wanted_csv",
            "A template that asks for a float in so many words gets one, and NaN is one.",
            "v\nNaN\n-inf\n1\n",
            FLOAT,
            fields={"v": "{{ v | float }}"},
            rows=values(math.nan, -math.inf, 1.0),
        ),
        case(
            "nan_parquet",
            "Parquet has NaN and Infinity, so there they are values.",
            parquet.getvalue(),
            FLOAT,
            rows=values(1.5, math.nan, math.inf, -math.inf),
            rejects=[(5, "schema.null")],
        ),
        case(
            "nan_for_json_parquet",
            "A json column cannot hold what JSON has no word for.",
            parquet.getvalue(),
            {"v": {"type": "json", "nullable": True}},
            rows=values("1.5", None),
            rejects=[(line, "schema.json") for line in (2, 3, 4)],
        ),
        case(
            "edges_int64_jsonl",
            "An integer is exact or its row is rejected.",
            edges,
            INTEGER,
            rows=values(*fits_int64),
            rejects=left(fits_int64, "schema.range"),
        ),
        case(
            "edges_uint64_jsonl",
            "An integer is exact or its row is rejected.",
            edges,
            {"v": "uint64"},
            rows=values(*fits_uint64),
            rejects=left(fits_uint64, "schema.range"),
        ),
        case(
            "edges_float64_jsonl",
            "An integer becomes a float only when the float is that integer: 2**53 + 1 is none.",
            edges,
            FLOAT,
            rows=values(*map(float, fits_float)),
            rejects=left(fits_float, "schema.range"),
        ),
        case(
            "edges_float32_jsonl",
            "A float32 holds every integer up to 2**24.",
            lines('{"v": 16777216}', '{"v": 16777217}'),
            {"v": "float32"},
            rows=values(16777216.0),
            rejects=[(2, "schema.range")],
        ),
        case(
            "edges_string_jsonl",
            "A number is no text, and is not written as one.",
            lines('{"v": "1"}', *edges.splitlines()),
            TEXT,
            rows=values("1"),
            rejects=[(line, "schema.type") for line in range(2, len(edge) + 2)],
        ),
        case(
            "edges_json_jsonl",
            "JSON has integers of any length.",
            edges,
            ANY,
            rows=values(*map(str, edge)),
        ),
        case(
            "edges_int64_csv",
            "Digits are read as the integer they are.",
            edges_csv,
            INTEGER,
            rows=values(*fits_int64),
            rejects=left(fits_int64, "schema.range", 2),
        ),
        case(
            "edges_float64_csv",
            "Digits without a point are an integer, so the float must be that integer.",
            edges_csv,
            FLOAT,
            rows=values(*map(float, fits_float)),
            rejects=left(fits_float, "schema.range", 2),
        ),
        case("edges_string_csv", "A text keeps its digits.", edges_csv, TEXT, rows=texts),
        case(
            "edges_parsed_jsonl",
            "`parse: number` reads digits as an integer, not by way of a float.",
            lines(*(f'{{"v": "{number}"}}' for number in edge)),
            INTEGER,
            fields={"v": {"from": "v", "parse": "number"}},
            rows=values(*fits_int64),
            rejects=left(fits_int64, "schema.range"),
        ),
        case(
            "floats_for_int64_jsonl",
            "3.0 and 1e2 are floats by their spelling, and -0 is the integer 0.",
            lines('{"v": 3}', '{"v": 3.0}', '{"v": 1e2}', '{"v": -0}', '{"v": true}'),
            INTEGER,
            rows=values(3, 0),
            rejects=[(2, "schema.type"), (3, "schema.type"), (5, "schema.type")],
        ),
        case(
            "odd_spellings_csv",
            "Only a plain number is read unasked: no plus, no zero in front, no underscore, no other digits.",
            "v\n5\n +5\n05\n1_000\n0x10\n\uff11\n5.\n.5\n5 \n1e3\n",
            FLOAT,
            rows=values(5.0, 5.0, 1000.0),
            rejects=[(line, "schema.type") for line in (3, 4, 5, 6, 7, 8, 9)],
        ),
        case(
            "zeros_jsonl",
            '"007" is a text, and 007 is no JSON.',
            lines('{"v": "007"}', '{"v": 007}', '{"v": "7"}'),
            TEXT,
            rows=values("007", "7"),
            rejects=[(2, "read.json")],
        ),
        case(
            "zeros_csv",
            '"007" stays a text, quoted or not.',
            'id,v\n1,007\n2,"007"\n3,0\n',
            TEXT,
            rows=values("007", "007", "0"),
        ),
        case(
            "zeros_for_int64_csv",
            '"007" is no plain number: it may be a code, and its zeros would be lost.',
            "id,v\n1,007\n2,7\n",
            INTEGER,
            rows=values(7),
            rejects=[(2, "schema.type")],
        ),
        case(
            "zeros_for_int64_jsonl",
            "A text is no number in JSON, whatever its digits.",
            lines('{"v": "007"}', '{"v": "7"}', '{"v": 7}'),
            INTEGER,
            rows=values(7),
            rejects=[(1, "schema.type"), (2, "schema.type")],
        ),
        case(
            "zeros_parsed_csv",
            "`parse: integer` says that it is a number.",
            "id,v\n1,007\n",
            INTEGER,
            fields={"v": {"from": "v", "parse": "integer"}},
            rows=values(7),
        ),
        case("thousands_as_text_csv", '"1,234" stays a text.', 'id,v\n1,"1,234"\n', TEXT, rows=values("1,234")),
        case(
            "thousands_unsaid_csv",
            'Nothing says what the comma in "1,234" is.',
            'id,v\n1,"1,234"\n2,1234\n',
            INTEGER,
            rows=values(1234),
            rejects=[(2, "schema.type")],
        ),
        case(
            "thousands_unsaid_jsonl",
            "`parse: integer` alone does not say that a comma parts thousands.",
            lines('{"v": "1,234"}', '{"v": "1234"}'),
            INTEGER,
            fields={"v": {"from": "v", "parse": "integer"}},
            rows=values(1234),
            rejects=[(1, "parse.integer")],
        ),
        case(
            "thousands_said_jsonl",
            "The recipe says so; a comma in an odd place is no separator of thousands.",
            lines(
                *(
                    f'{{"v": "{text}"}}'
                    for text in ("1,234", "-12,345,678", "1234", "12,34", "1,2345", ",123", "1,234.5")
                )
            ),
            INTEGER,
            fields={"v": {"from": "v", **COMMA_THOUSANDS}},
            rows=values(1234, -12345678, 1234),
            rejects=[(line, "parse.integer") for line in (4, 5, 6, 7)],
        ),
        case(
            "decimal_comma_said_csv",
            'The recipe says that the comma is the decimal mark: the same "1,234" is another number.',
            'id,v\n1,"1,234"\n2,"1.234,5"\n3,1.5\n',
            FLOAT,
            fields={"v": {"from": "v", "parse": "number", "decimal": ",", "thousands": "."}},
            rows=values(1.234, 1234.5),
            rejects=[(4, "parse.number")],
        ),
        case(
            "booleans_csv",
            "true and false are words of their own; 1, yes and T are not them.",
            "id,v\n1,true\n2,FALSE\n3,1\n4,yes\n5,T\n",
            {"v": "bool"},
            rows=values(True, False),
            rejects=[(line, "schema.type") for line in (4, 5, 6)],
        ),
    ]


# Texts and nesting -----------------------------------


def _texts() -> list[Case]:
    high, low, pair = r"\ud83e", r"\udd80", r"\ud83e\udd80"
    halves = [f'{{"v": "{text}"}}' for text in (high, low, low + high, f"{high}x", pair)]
    return [
        case(
            "surrogates_jsonl",
            "Half of a surrogate pair is no character; a whole pair is one.",
            lines(*halves),
            TEXT,
            rows=values("🦀"),
            rejects=[(line, "read.json") for line in (1, 2, 3, 4)],
        ),
        case(
            "surrogates_json",
            "Likewise in an array.",
            "[" + ",\n".join(halves) + "]",
            TEXT,
            rows=values("🦀"),
            rejects=[(line, "read.json") for line in (1, 2, 3, 4)],
        ),
        case(
            "surrogate_in_a_key_jsonl",
            "Half of a pair in a key spoils its record, although no column asks for it.",
            lines(f'{{"v": "a", "{high}": 1}}', '{"v": "b"}'),
            TEXT,
            rows=values("b"),
            rejects=[(1, "read.json")],
        ),
        case(
            "surrogate_bytes_csv",
            "Half of a pair written as UTF-8 is no UTF-8.",
            b"id,v\n1,a\n2,\xed\xa0\x80\n",
            TEXT,
            options={"encoding": "utf-8"},
            rows=values("a"),
            rejects=[(3, "read.encoding")],
        ),
        case(
            "surrogate_units_csv",
            "Half of a pair in UTF-16 is no text.",
            "id,v\n1,a\n2,".encode("utf-16") + b"\x00\xd8\n\x00" + "3,c\n".encode("utf-16-le"),
            TEXT,
            rows=values("a", "c"),
            rejects=[(3, "read.encoding")],
        ),
        case(
            "surrogate_in_parsed_json_csv",
            "`parse: json` finds what the reader could not see.",
            f'v\n"{{""v"": ""{high}""}}"\n"{{""v"": 1}}"\n',
            ANY,
            fields={"v": {"from": "v", "parse": "json"}},
            rows=values('{"v":1}'),
            rejects=[(2, "schema.text")],
        ),
        case(
            "nested_nulls_jsonl",
            "A null, a missing one, a list of one null, and a null inside of an object are all kept as what they are.",
            lines(
                '{"v": null}',
                "{}",
                '{"v": []}',
                '{"v": [null]}',
                '{"v": [{"a": null}, null, {"a": [null, 1]}, {}]}',
                '{"v": {"a": 1}}',
            ),
            {"v": {"type": {"list": {"struct": {"a": {"list": "int64"}}}}, "nullable": True}},
            rows=values(None, None, [], [None], [{"a": None}, None, {"a": [None, 1]}, {"a": None}]),
            rejects=[(6, "schema.type")],
        ),
        case(
            "null_where_a_value_must_be_jsonl",
            "A null and a missing one are rejected where the schema wants a value; null is no record.",
            lines('{"v": {"a": null}}', '{"v": null}', "{}", "null", '{"v": {"a": 1}}'),
            {"v": {"type": {"struct": {"a": "int64"}}}},
            rows=values({"a": None}, {"a": 1}),
            rejects=[(2, "schema.null"), (3, "schema.null"), (4, "read.not_object")],
        ),
        case(
            "null_as_json_jsonl",
            "In a json column what is inside of a value is kept as it is.",
            lines('{"v": {"a": [null, {"b": null}]}}', '{"v": [null]}'),
            ANY,
            rows=values('{"a":[null,{"b":null}]}', "[null]"),
        ),
        case(
            "mixed_int64_jsonl",
            "Of a field of all types an integer column takes the integers.",
            lines(*(f'{{"v": {value}}}' for value in ("1", '"1"', "1.5", "true", "null", "[1]", '{"a": 1}', "2"))),
            INTEGER,
            rows=values(1, 2),
            rejects=[(line, "schema.null" if line == 5 else "schema.type") for line in range(2, 8)],
        ),
        case(
            "mixed_string_jsonl",
            "Of a field of all types a text column takes the texts.",
            lines(*(f'{{"v": {value}}}' for value in ('"a"', "1", "1.5", "false", "[]", "{}", '"b"'))),
            TEXT,
            rows=values("a", "b"),
            rejects=[(line, "schema.type") for line in range(2, 7)],
        ),
        case(
            "mixed_list_jsonl",
            "One item of another type spoils its list, and a lone value is no list of one.",
            lines(*(f'{{"v": {value}}}' for value in ("[1, 2]", '[1, "2"]', "1", "[[1]]", "[]"))),
            {"v": {"list": "int64"}},
            rows=values([1, 2], []),
            rejects=[(line, "schema.type") for line in (2, 3, 4)],
        ),
        case(
            "mixed_json_jsonl",
            "A json column takes all types, as the recipe's author asked for.",
            lines(*(f'{{"v": {value}}}' for value in ("1", '"1"', "1.5", "true", "[1]", '{"a":1}'))),
            ANY,
            rows=values("1", '"1"', "1.5", "true", "[1]", '{"a":1}'),
        ),
    ]


# The shape of JSON -----------------------------------


def _json() -> list[Case]:
    deep = 100_000
    return [
        case(
            "duplicate_keys_jsonl",
            "One key with two values contradicts itself, on any level and however it is spelt; 1, 1.0 and true differ.",
            lines(
                '{"v": 1, "v": 2}',
                '{"v": {"a": 1, "a": 2}}',
                '{"v": [{"a": 1, "a": null}]}',
                r'{"v": 1, "\u0076": 2}',
                '{"v": 1, "v": 1.0}',
                '{"v": 1, "v": true}',
                '{"v": 1, "v": 1}',
                '{"v": 3, "V": 4}',
            ),
            ANY,
            rows=values("1", "3"),
            rejects=[(line, "read.duplicate_key") for line in range(1, 7)],
        ),
        case(
            "duplicate_keys_json",
            "Likewise in an array.",
            '[{"v": 1, "v": 2},\n{"v": 3}]',
            INTEGER,
            rows=values(3),
            rejects=[(1, "read.duplicate_key")],
        ),
        case(
            "duplicate_keys_of_a_keyed_object_json",
            "A keyed object may hold the same key twice; both are records, and none is lost.",
            '{"a": {"v": 1},\n"a": {"v": 2},\n"b": {"v": 3}}',
            {"id": "string", "v": "int64"},
            options={"key": "id"},
            rows=[{"id": "a", "v": 1}, {"id": "a", "v": 2}, {"id": "b", "v": 3}],
        ),
        case(
            "duplicate_keys_in_parsed_json_csv",
            "`parse: json` must be as strict as the reader.",
            'v\n"{""a"": 1, ""a"": 2}"\n"{""a"": 1, ""a"": 1}"\n',
            ANY,
            fields={"v": {"from": "v", "parse": "json"}},
            rows=values('{"a":1}'),
            rejects=[(2, "parse.json")],
        ),
        case(
            "several_on_a_line_jsonl",
            "Whole objects one after another are records; with anything else between or behind, the line is bad.",
            lines(
                '{"v": 1}{"v": 2} {"v": 3}\t{"v": 4}',
                '{"v": 5}, {"v": 6}',
                '{"v": 7} 8',
                '{"v": 9}{"v": 10',
                '{"v": "}{"} {"v": 11}',
                '{"v": 12}',
            ),
            ANY,
            rows=values("1", "2", "3", "4", '"}{"', "11", "12"),
            rejects=[(2, "read.json"), (3, "read.json"), (4, "read.json")],
        ),
        case(
            "not_objects_jsonl",
            "A record is an object; other values are valid JSON and no records.",
            lines('{"v": 1}', "1", '"a"', "[1]", "true", "null", '[{"v": 1}]'),
            INTEGER,
            rows=values(1),
            rejects=[(line, "read.not_object") for line in range(2, 8)],
        ),
        case(
            "blank_lines_jsonl",
            "Blank lines are no records, but they are lines.",
            '\n{"v": 1}\r\n \t\n\n{"v": 2}\r\n{\n',
            INTEGER,
            rows=values(1, 2),
            rejects=[(6, "read.json")],
        ),
        case(
            "carriage_returns_jsonl",
            "A lone carriage return is white space in JSON and ends no line, so these are objects on one line.",
            '{"v": 1}\r{"v": 2}\r',
            INTEGER,
            rows=values(1, 2),
        ),
        case(
            "trailing_jsonl",
            "Garbage behind an object spoils its line.",
            lines('{"v": 1}', '{"v": 2} // two', '{"v": 3},', '{"v": 4};', '{"v": 5}}', '{"v": 6}'),
            INTEGER,
            rows=values(1, 6),
            rejects=[(line, "read.json") for line in (2, 3, 4, 5)],
        ),
        case(
            "trailing_json",
            "What stands behind the document is told once, and the document is good.",
            '[{"v": 1},\n{"v": 2}]\ngarbage {"v": 3}\nand more',
            INTEGER,
            rows=values(1, 2),
            rejects=[(3, "read.trailing")],
        ),
        case(
            "trailing_csv",
            "A closing line of another shape is no row.",
            "id,v\n1,2\n(1 row)\n",
            INTEGER,
            rows=values(2),
            rejects=[(3, "read.ragged")],
        ),
        case(
            "cut_off_jsonl",
            "The last line is cut off.",
            '{"v": 1}\n{"v": 2}\n{"v": 3',
            INTEGER,
            rows=values(1, 2),
            rejects=[(3, "read.json")],
        ),
        case(
            "no_last_newline_jsonl",
            "A last line without an end is a line.",
            '{"v": 1}\n{"v": 2}',
            INTEGER,
            rows=values(1, 2),
        ),
        case(
            "cut_off_json",
            "The array is cut off inside of a record.",
            '[{"v": 1},\n{"v": 2},\n{"v": 3',
            INTEGER,
            rows=values(1, 2),
            rejects=[(3, "read.json")],
        ),
        case(
            "cut_off_behind_a_record_json",
            "The array is cut off between two records: the ones before are whole, and its end is missing.",
            '[{"v": 1},\n{"v": 2}\n',
            INTEGER,
            rows=values(1, 2),
            rejects=[(3, "read.json")],
        ),
        case(
            "cut_off_behind_a_comma_json",
            "A comma says that one more follows.",
            '[{"v": 1},\n{"v": 2},\n',
            INTEGER,
            rows=values(1, 2),
            rejects=[(3, "read.json")],
        ),
        case(
            "cut_off_csv",
            "The last row is cut off before its last cell.",
            "id,v\n1,2\n3",
            INTEGER,
            rows=values(2),
            rejects=[(3, "read.ragged")],
        ),
        case(
            "cut_off_in_quotes_csv",
            "The last row is cut off inside of quotes.",
            'id,v\n1,a\n2,"b',
            TEXT,
            rows=values("a"),
            rejects=[(3, "read.unterminated")],
        ),
        case(
            "brackets_jsonl",
            "100,000 open brackets are one bad line, closed or not.",
            lines(
                '{"v": 1}',
                "[" * deep,
                '{"v": ' + "[" * deep + "}",
                '{"v": ' + "[" * deep + "]" * deep + "}",
                '{"v":' * deep,
                "]" * deep,
                '{"v": 2}',
            ),
            ANY,
            rows=values("1", "2"),
            rejects=[(line, "read.json") for line in range(2, 7)],
        ),
        case(
            "brackets_json",
            "In an array, closed brackets cost their record; open ones the rest, since nothing tells where they end.",
            '[{"v": 1},\n{"v": ' + "[" * deep + "]" * deep + '},\n{"v": 2},\n{"v": ' + "[" * deep,
            ANY,
            rows=values("1", "2"),
            rejects=[(2, "read.json"), (4, "read.json")],
        ),
        case(
            "brackets_in_text_jsonl",
            "Brackets inside of a string are text.",
            lines(json.dumps({"v": "[" * deep})),
            TEXT,
            rows=values("[" * deep),
        ),
        case(
            "brackets_in_parsed_json_csv",
            "`parse: json` says what is wrong, and no recursion ends the build.",
            f'v\n{"[" * deep}\n"{"[" * deep + "]" * deep}"\n[1]\n',
            ANY,
            fields={"v": {"from": "v", "parse": "json"}},
            rows=values("[1]"),
            rejects=[(2, "parse.json"), (3, "parse.json")],
        ),
        case(
            "levels_jsonl",
            "128 levels are read, the record included; one more is not.",
            lines('{"v": ' + "[" * 127 + "]" * 127 + "}", '{"v": ' + "[" * 128 + "]" * 128 + "}"),
            ANY,
            rows=values("[" * 127 + "]" * 127),
            rejects=[(2, "read.json")],
        ),
        case(
            "first_line_opens_brackets_jsonl",
            "A bad first line costs itself, also when it looks like the beginning of an array.",
            lines("[" * deep, '{"v": 1}', '{"v": 2}', '{"v": 3}'),
            INTEGER,
            rows=values(1, 2, 3),
            rejects=[(1, "read.json")],
        ),
        case(
            "first_line_is_a_list_jsonl",
            "A list on the first line of JSON Lines is one bad line.",
            lines("[1, 2]", '{"v": 1}', '{"v": 2}', '{"v": 3}'),
            INTEGER,
            rows=values(1, 2, 3),
            rejects=[(1, "read.not_object")],
        ),
    ]


CASES = [*_encodings(), *_encodings_in_doubt(), *_tables(), *_numbers(), *_texts(), *_json()]
