"""Import after export gives the same rows, but for what the losses name."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.column_type import ListOf, Media, Scalar
from pipeline.errors import RowRejected
from pipeline.exports.losses import Losses
from pipeline.exports.place import Place
from pipeline.exports.registry import FORMATS, format_named
from pipeline.exports.shared_media import SharedMedia
from pipeline.media.examiners import Examiners
from tests.exports.canonical_rows import but_for_losses, codes_of, conversations, medium, row, turn
from tests.exports.imported import imported

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.exports.writer import Written
    from pipeline.rows.canonical import CanonicalRow, CanonicalTurn
    from tests.exports.canonical_rows import Plain

Talks = list[tuple["CanonicalTurn", ...]]

NAMED = {
    *("export.video", "export.several_images", "export.several_videos", "export.mixed_media", "export.place_of_video"),
    *("export.media_in_answer", "export.media_in_system", "export.tag_in_text", "export.turns", "export.empty"),
    *("export.shown_twice", "export.no_media"),
}
"""Why a format may refuse a whole row."""
CHANGES = {"export.system_turn", "export.line_after_video"}
"""What a row may lose of its conversation while the rest is carried over."""
PLACES = {"export.place_of_image"}
"""What the target's trainer does with a row that is carried over whole."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedMedia]:
    """Give a folder of media, and a process that looks into them."""
    with Examiners(1) as processes:
        yield SharedMedia(tmp_path_factory.mktemp("shared"), processes)


def exported(name: str, folder: Path, rows: list[CanonicalRow], shared: SharedMedia) -> tuple[list[Plain], list[str]]:
    """Export rows to a format; returns what is to come back, and the files it comes from."""
    target, losses = format_named(name), Losses()
    place = Place(
        folder=folder,
        dataset="demo",
        config="default",
        split="train",
        columns={"id": Scalar("string"), "images": ListOf(Media("image")), "videos": ListOf(Media("video"))},
        id_column="id",
        extras=(),
        loose=(),
        has_conversation=True,
        shared=shared,
    )
    writer = target.begin(place, losses)
    expected = []
    for one in rows:
        before = codes_of(losses)
        try:
            writer.add(one)
        except RowRejected as error:
            assert error.code in NAMED, error.code  # noqa: PT017  (which rows are refused is not known beforehand)
            continue
        codes = {code for code, count in codes_of(losses).items() if count != before.get(code)}
        assert codes <= CHANGES | PLACES
        expected.append(but_for_losses(one, codes))
    written: list[Written] = [writer.finish()]
    assert written[0].rows == len(expected)
    target.conclude(folder, written)
    assert target.check(folder, written) == []
    return expected, list(written[0].files) if expected else []


def comes_back(name: str, talks: Talks, shared: SharedMedia) -> None:
    """Assert that rows with these turns come back from a format."""
    with tempfile.TemporaryDirectory(dir=shared.folder.parent) as scratch:
        rows = [row(number, *turns, name=f"row {number}") for number, turns in enumerate(talks)]
        expected, files = exported(name, Path(scratch), rows, shared)
        found = [one for file in files for one in imported(name, Path(scratch), file)]
    # a format may put rows into several files
    assert sorted(found, key=lambda one: one.id) == expected


QUICK = settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
LONG = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
IMAGE, VIDEO = medium("image", 0), medium("video", 0)
KNOWN: Talks = [
    (turn("user", IMAGE, "What?"), turn("assistant", "A dog.")),
    (turn("user", "What is ", IMAGE, " and ", medium("image", 1), "?\n"), turn("assistant", " Two dogs. ")),
    (turn("system", "Be kind."), turn("user", VIDEO, "\nWhat?"), turn("assistant", "A cat.\n")),
    (turn("user", VIDEO, "What?"), turn("assistant", "A cat.")),
    (turn("user", IMAGE, VIDEO, "Both?"), turn("assistant", "Yes."), turn("user", IMAGE), turn("assistant", "Again.")),
    (turn("user", 'Only words, "quoted", and\r\nlines\r'), turn("assistant", "2024-01-01")),
    (turn("user", "Hi."), turn("assistant", "Hi."), turn("user", IMAGE, "Now?"), turn("assistant", "=1+1")),
]
"""One of each kind that formats treat in their own ways."""


@pytest.mark.parametrize("name", FORMATS)
@QUICK
@given(talks=st.lists(conversations(placeholders=False), min_size=1, max_size=4))
@example(talks=KNOWN)
def test_rows_come_back(name: str, shared: SharedMedia, talks: Talks) -> None:
    """Whatever is said and shown, and in whatever order, comes back from every format, or is named."""
    comes_back(name, talks, shared)


def never_misread(name: str, talks: Talks, shared: SharedMedia) -> None:
    """Assert that rows whose texts hold placeholders come back as they were, or are refused on one of the ways."""
    with tempfile.TemporaryDirectory(dir=shared.folder.parent) as scratch:
        rows = [row(number, *turns, name=f"row {number}") for number, turns in enumerate(talks)]
        expected, files = exported(name, Path(scratch), rows, shared)
        refused: list[RowRejected] = []
        found = [one for file in files for one in imported(name, Path(scratch), file, refused=refused)]
    assert {error.code for error in refused} <= {"dialect.placeholders"}
    assert len(found) + len(refused) == len(expected)
    by_id = {one.id: one for one in expected}
    for one in found:
        assert one == by_id[one.id]


@pytest.mark.parametrize("name", FORMATS)
@QUICK
@given(talks=st.lists(conversations(placeholders=True), min_size=1, max_size=4))
def test_placeholders_in_texts_are_never_misread(name: str, shared: SharedMedia, talks: Talks) -> None:
    """A text such as `<image>` that is only text is never taken for a medium: it stays, or its row is refused."""
    never_misread(name, talks, shared)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
@LONG
@given(talks=st.lists(conversations(placeholders=True), min_size=1, max_size=4))
def test_placeholders_are_never_misread_in_many_texts(name: str, shared: SharedMedia, talks: Talks) -> None:
    """The same with many more rows."""
    never_misread(name, talks, shared)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
@LONG
@given(talks=st.lists(conversations(placeholders=False), min_size=1, max_size=4))
def test_many_rows_come_back(name: str, shared: SharedMedia, talks: Talks) -> None:
    """The same with many more rows."""
    comes_back(name, talks, shared)
