"""CSV and TSV."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from reading import outcome_of

from pipeline.errors import SourceError
from pipeline.readers.record import MAX_RECORD_BYTES

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("data", "row"),
    [
        (b"a,b\n1,2\n", {"a": "1", "b": "2"}),
        (b"a;b\n1,5;2\n", {"a": "1,5", "b": "2"}),
        (b"a\tb\n1,5\t2\n", {"a": "1,5", "b": "2"}),
        (b'"a,x"|b\n1|2\n', {"a,x": "1", "b": "2"}),
        (b"a,b;c\n1,2\n3,4\n", {"a": "1", "b;c": "2"}),
        (b'a\n"1,2"\n', {"a": "1,2"}),
        (b'\xef\xbb\xbf"a",b\r\n1,\r\n', {"a": "1", "b": ""}),
    ],
)
def test_delimiter_is_detected_when_only_one_fits(tmp_path: Path, data: bytes, row: dict[str, str]) -> None:
    """The delimiter is the one that cuts all rows alike; quotes and a byte order mark do not disturb."""
    assert outcome_of(tmp_path / "a.csv", data).rows[0] == row


@pytest.mark.parametrize(
    ("data", "options", "told"),
    [
        (b"a,b;c,d\n1,2;3,4\n", {}, "the delimiter is in doubt"),
        (b"a,b\n1,2\n", {"delimiter": ",,"}, "one character"),
        (b"a,b\n1,2\n", {"delimiter": '"'}, "two roles"),
        (b"a,b\n1,2\n", {"header": False}, "without names"),
        (b"a,,a\n1,2,3\n", {}, "column 2 has no name, 2 columns are called 'a'"),
        (b'[{"a": 1}]\n', {}, "looks like JSON"),
    ],
)
def test_doubt_is_refused(tmp_path: Path, data: bytes, options: dict[str, Any], told: str) -> None:
    """A delimiter or header in doubt, and impossible options, raise SourceError."""
    with pytest.raises(SourceError, match=told):
        outcome_of(tmp_path / "a.csv", data, **options)


def test_header_can_be_declared(tmp_path: Path) -> None:
    """With declared names the first row is data, and a doubtful delimiter is settled by their number."""
    found = outcome_of(tmp_path / "a.csv", b"1,2;3,4\n5,6;7,8\n", header=("x", "y"))
    assert found.rows == [{"x": "1,2", "y": "3,4"}, {"x": "5,6", "y": "7,8"}]
    assert found.lines == [1, 2]


def test_row_has_the_line_it_starts_on(tmp_path: Path) -> None:
    r"""Lines end in `\n`, `\r\n` or `\r`, also inside quotes, and blank lines count."""
    found = outcome_of(tmp_path / "a.csv", b'a,b\r\n1,"x\r\ny"\n\n2,z\r3,"p\rq\nr"\r4,5')
    assert found.rows == [
        {"a": "1", "b": "x\r\ny"},
        {"a": "2", "b": "z"},
        {"a": "3", "b": "p\rq\nr"},
        {"a": "4", "b": "5"},
    ]
    assert found.lines == [2, 5, 6, 9]


def test_bad_rows_do_not_disturb_the_others(tmp_path: Path) -> None:
    """Each kind of bad row is rejected with its code; the rows between are read."""
    data = b'a,b\n1\n2,3\n\0,4\n5,6\n"x"y,7\n8,9\n\xff,1\n1,2,3\n4,5\n"'
    found = outcome_of(tmp_path / "a.csv", data, encoding="utf-8")
    assert found.lines == [3, 5, 7, 10]
    assert found.codes == [
        (2, "read.ragged"),
        (4, "read.nul"),
        (6, "read.csv"),
        (8, "read.encoding"),
        (9, "read.ragged"),
        (11, "read.unterminated"),
    ]
    assert found.bad[0].message == "1 cells where the header has 2 columns"


def test_unquoted_files_keep_their_quotes(tmp_path: Path) -> None:
    """With `quote: null` a quote is a character like others."""
    assert outcome_of(tmp_path / "a.tsv", b'a\tb\n"x\ty\n', quote=None).rows == [{"a": '"x', "b": "y"}]


def test_invalid_bytes_behind_the_first_block_reject_their_row(tmp_path: Path) -> None:
    """Nothing declared: invalid bytes in the first MiB refuse the file, later ones cost their row."""
    rows = b"".join(b"%d,x\n" % number for number in range(200_000))
    found = outcome_of(tmp_path / "a.csv", b"a,b\n" + rows + b"1,\xff\n2,y\n")
    assert len(found.rows) == 200_001
    assert found.codes == [(200_002, "read.encoding")]


def test_row_of_absurd_length_is_passed_over(tmp_path: Path) -> None:
    """A row longer than the limit is one bad record, and the next one is read."""
    found = outcome_of(tmp_path / "a.csv", b"a,b\n1," + b"x" * MAX_RECORD_BYTES + b"\n2,3\n")
    assert found.rows == [{"a": "2", "b": "3"}]
    assert found.codes == [(2, "read.too_large")]
