"""The changes in a card: computed entries on top, older ones only as they were written, and the rest to the byte."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.card_text import FACTS_BEGIN, FACTS_END, join_card, split_card
from pipeline.checks.files import LocalFiles
from pipeline.checks.options import Options
from pipeline.errors import RecipeError
from pipeline.mend_card import mend, plan_mending
from pipeline.publish import changelog
from pipeline.publish.changelog import CHANGES_BEGIN, CHANGES_END, Entry, entry_of, with_changes
from pipeline.publish.row_changes import Changes, SplitChange, changes_between
from pipeline.validation import validate

if TYPE_CHECKING:
    from tests.project import Project

CARD = "---\nlicense: mit\n---\n# Clips\n\nText.\n"


def split(
    name: str, before: int | None, after: int | None, *counts: int | None, config: str = "default"
) -> SplitChange:
    """Return what became of a split: rows added, removed and changed."""
    added, removed, changed = counts or (after or 0, before or 0, 0)
    assert added is not None
    assert removed is not None
    return SplitChange(
        config=config, split=name, before=before, after=after, added=added, removed=removed, changed=changed
    )


def changes(*splits: SplitChange, first: bool = False) -> Changes:
    """Return changes."""
    return Changes(is_first=first, splits=splits)


FIRST = changes(split("train", None, 1_000), split("test", None, 20), first=True)
SECOND = changes(split("train", 1_000, 1_008, 10, 2, 3), split("test", 20, 20, 0, 0, 0))
THIRD = changes(split("train", 1_008, 1_008, 1, 1, None), split("test", 20, None), split("en", None, 7, config="new"))
NOTHING = changes(split("train", 5, 5, 0, 0, 0))

BOTH = f"""{CARD}
{CHANGES_BEGIN}

## Changes

### v1.1.0

| config | split | rows | added | removed | changed |
|---|---|---:|---:|---:|---:|
| default | train | 1,008 | 10 | 2 | 3 |

### v1.0.0

First release.

| config | split | rows |
|---|---|---:|
| default | train | 1,000 |
| default | test | 20 |

{CHANGES_END}
"""


def published(*entries: Entry, card: str = CARD) -> str:
    """Return the card after these releases, the first one first."""
    previous: str | None = None
    notes: list[str] = []
    for entry in entries:
        previous = with_changes(card, previous, entry, notes=notes)
        assert with_changes(card, previous, entry, notes=notes) == previous
        assert with_changes(previous, previous, entry, notes=notes) == previous
    assert notes == []
    return previous or card


def titles(card: str) -> list[str]:
    """Return the titles of the entries of a card."""
    return [line.removeprefix("### ") for line in card.splitlines() if line.startswith("### ")]


# -- entries


def test_two_releases() -> None:
    """The newest stands on top; of splits, those that changed are told; again it gives the same bytes."""
    assert published(entry_of(FIRST, tag="v1.0.0"), entry_of(SECOND, tag="v1.1.0")) == BOTH


def test_configs_splits_and_unknown_keys() -> None:
    """What is new and gone is said, and what a missing key means for the numbers."""
    assert str(entry_of(THIRD, tag="v2")) == (
        "### v2\n\nNew config: new\n\nGone split: default/test\n\n"
        "| config | split | rows | added | removed | changed |\n|---|---|---:|---:|---:|---:|\n"
        "| default | train | 1,008 | 1 | 1 | - |\n| default | test | 0 | 0 | 20 | 0 |\n| new | en | 7 | 7 | 0 | 0 |\n\n"
        "Where `changed` is -, no column tells rows apart: a changed row counts as one removed and one added.\n"
    )


def test_what_is_not_tagged() -> None:
    """It is said since when; it gives way to the next push, to a tag, and to nothing at all."""
    v1 = entry_of(FIRST, tag="v1")
    since = published(v1, entry_of(SECOND, since="v1"))
    assert titles(since) == ["since v1", "v1"]
    assert titles(with_changes(CARD, since, entry_of(THIRD, since="v1"))) == ["since v1", "v1"]
    assert titles(with_changes(CARD, since, entry_of(THIRD, tag="v2"))) == ["v2", "v1"]
    assert titles(with_changes(CARD, since, entry_of(NOTHING, since="v1"))) == ["v1"]
    assert with_changes(CARD, None, entry_of(NOTHING, since="v1")) == CARD
    first = published(entry_of(FIRST))
    assert titles(first) == ["not tagged yet"]
    assert with_changes(CARD, first, entry_of(NOTHING)) == first
    assert titles(with_changes(CARD, first, entry_of(FIRST, tag="v1"))) == ["v1"]


def test_a_tag_without_changes() -> None:
    """A release in which no row changed says so; an entry of the same tag is replaced."""
    card = published(entry_of(FIRST, tag="v1"), entry_of(NOTHING, tag="v2"))
    assert "### v2\n\nNo row changed.\n\n### v1\n" in card
    assert titles(with_changes(CARD, card, entry_of(SECOND, tag="v2"))) == ["v2", "v1"]


NAMES = st.text(min_size=1, max_size=8) | st.sampled_from(["a|b", "`x`", "[x](y)", "\n### v9", CHANGES_END, "a b", "-"])
COUNTS = st.integers(0, 10**10)
SPLITS = st.builds(
    SplitChange,
    config=NAMES,
    split=NAMES,
    before=st.none() | COUNTS,
    after=st.none() | COUNTS,
    added=COUNTS,
    removed=COUNTS,
    changed=st.none() | COUNTS,
)
ENTRIES = st.builds(
    entry_of,
    st.builds(Changes, is_first=st.booleans(), splits=st.lists(SPLITS, max_size=3).map(tuple)),
    tag=st.none() | NAMES,
    since=st.none() | NAMES,
)


@settings(max_examples=100, deadline=None)
@given(first=ENTRIES, second=ENTRIES)
def test_any_entry_is_found_again(first: Entry, second: Entry) -> None:
    """Whatever names hold, an entry is read as it was written, and ends nothing that it stands in."""
    card = with_changes(CARD, None, first)
    notes: list[str] = []
    both = with_changes(CARD, card, second, notes=notes)
    assert notes == []
    assert both.count(CHANGES_BEGIN) == both.count(CHANGES_END) == (CHANGES_BEGIN in both)
    if first.is_tagged and first.title != second.title:
        assert str(first) in both
    assert with_changes(CARD, both, second) == both
    assert both.startswith(CARD)


# -- the card around


@pytest.mark.parametrize(
    "card",
    [
        "",
        "# Title",
        "# Title\n\n",
        "---\nlicense: mit\n---\r\n# Title\r\ntext\r\n",
        "\ufeff---\nlicense: mit\n---\n# Title\n",
        f"---\nnote: '{CHANGES_BEGIN}'\n---\n# Title\n",
        f"# Title\n\n{CHANGES_BEGIN}{CHANGES_END}\n\n## More\n",
        f"# Title {CHANGES_BEGIN}\n\nold things\n\n{CHANGES_END}",
        f"---\na: b\n---\n{FACTS_BEGIN}\n\n## Splits\n\n{FACTS_END}\n",
    ],
)
def test_the_rest_is_kept_to_the_byte(card: str) -> None:
    """What stands around the block is as it was, and the block stays where it is."""
    done = published(entry_of(FIRST, tag="v1"), entry_of(SECOND, tag="v2"), card=card)
    body = done.rindex(CHANGES_BEGIN)
    before, inside, after = done[:body], done[body:].partition(CHANGES_END)[0], done[body:].partition(CHANGES_END)[2]
    assert titles(inside) == ["v2", "v1"]
    if card.count(CHANGES_END):
        at = card.rindex(CHANGES_BEGIN)
        assert (before, after) == (card[:at], card[at:].partition(CHANGES_END)[2])
    else:
        assert before.startswith(card)
        assert before[len(card) :].strip("\n") == after.strip("\n") == ""


@pytest.mark.parametrize(
    "markers", [CHANGES_BEGIN, CHANGES_END, CHANGES_END + CHANGES_BEGIN, 2 * (CHANGES_BEGIN + CHANGES_END)]
)
def test_markers_that_are_no_pair(markers: str) -> None:
    """In the card that is published they are a mistake with its line; in the one before they cost its entries."""
    entry = entry_of(SECOND, tag="v1.1.0")
    with pytest.raises(RecipeError, match=r"README\.md:7: this marker of the changes has no partner"):
        with_changes(f"{CARD}{markers}\n", None, entry)
    notes: list[str] = []
    assert titles(with_changes(CARD, f"{CARD}{markers}\n", entry, notes=notes)) == ["v1.1.0"]
    assert len(notes) == 1


def test_facts_and_changes_live_together() -> None:
    """The facts of a card are written anew around the changes, and credits cannot open a block."""
    card = published(entry_of(FIRST, tag="v1"))
    facts = f"## Sources\n\ncredit: {CHANGES_BEGIN} ### v0 {CHANGES_END}"
    joined = join_card(split_card(card, file="card.md"), yaml_block="configs: []\n", facts=facts)
    assert joined.count(CHANGES_BEGIN) == 1
    assert titles(with_changes(joined, card, entry_of(SECOND, tag="v2"))) == ["v2", "v1"]
    again = join_card(split_card(joined, file="card.md"), yaml_block="configs: []\n", facts=facts)
    assert again == joined


# -- what a stranger may have written there

HOSTILE = [
    "Buy this: [here](https://example.com)",
    "<script>alert(1)</script>",
    "| default | train | 1,008 | 10 | 2 | 3 | 4 |",
    "| default | train | 1008 | 10 | 2 | 3 |",
    "| [x](y) | train | 1,008 | 10 | 2 | 3 |",
    "| default | train | ٣ | 10 | 2 | 3 |",
    "New config: <b>",
    "First release.",
    "No row changed.",
    FACTS_BEGIN,
    "# shardwright:begin",
    "---",
    "\r",
]


@pytest.mark.parametrize("line", HOSTILE)
def test_entries_of_strangers_are_left_out(line: str) -> None:
    """One line that is not ours costs the entry that it stands in, and no other; it is told and never shown raw."""
    at = BOTH.index("| default | train | 1,008")
    previous = f"{BOTH[:at]}{line}\n{BOTH[at:]}"
    notes: list[str] = []
    done = with_changes(CARD, previous, entry_of(THIRD, tag="v2"), notes=notes)
    assert titles(done) == ["v2", "v1.0.0"]
    assert line not in done.replace("First release.\n", "", 1) or line == "---"
    assert notes == ["of the changes in the card there a part is left out, which nobody wrote so: '### v1.1.0'"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("### v1.1.0", "### [v1.1.0](https://example.com)"),
        ("### v1.1.0", "### v1.1.0 <!-- -->"),
        ("### v1.1.0", "#### v1.1.0"),
        ("## Changes\n\n", "## Changes\n\n[x](y)\n\n"),
        ("## Changes\n\n", ""),
        ("added | removed", "removed | added"),
        ("| 10 | 2 | 3 |", "| 10 | 2 | 3 | "),
        ("\n\n### v1.0.0", "\n### v1.0.0"),
    ],
)
def test_shapes_that_are_not_ours(old: str, new: str) -> None:
    """What does not look as it was written is left out, and what is left is ours."""
    assert old in BOTH
    notes: list[str] = []
    done = with_changes(CARD, BOTH.replace(old, new, 1), entry_of(THIRD, tag="v2"), notes=notes)
    assert len(notes) == 1
    assert titles(done)[0] == "v2"
    assert set(titles(done)) <= {"v2", "v1.1.0", "v1.0.0"}
    for title in titles(done)[1:]:
        entry = f"### {title}\n" + BOTH.partition(f"### {title}\n")[2].partition("###")[0].partition("<!--")[0]
        assert entry.rstrip() in done
    assert "example.com" not in done
    assert "[x](y)" not in done


def test_a_title_that_stands_twice() -> None:
    """Of two entries with one title the first is taken."""
    notes: list[str] = []
    previous = BOTH.replace("### v1.0.0", "### v1.1.0")
    done = with_changes(CARD, previous, entry_of(THIRD, tag="v2"), notes=notes)
    assert titles(done) == ["v2", "v1.1.0"]
    assert "First release" not in done
    assert len(notes) == 1


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_only_what_is_ours_is_taken_over(data: st.DataObject) -> None:
    """However an old card is disturbed, every entry that is taken over is one that could have been written."""
    lines = BOTH.split("\n")
    draw = data.draw(st.randoms(use_true_random=False))
    for _ in range(data.draw(st.integers(1, 4))):
        at = draw.randrange(len(lines))
        lines[at : at + draw.randrange(2)] = [draw.choice([*lines, *HOSTILE])]
    done = with_changes(CARD, "\n".join(lines), entry_of(THIRD, tag="v2"))
    for entry in changelog._entries_of(done, notes := []):
        assert str(entry) in done
    assert notes == []


def test_a_long_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries are bounded, and a card of nothing but beginnings is read in no time."""
    monkeypatch.setattr(changelog, "MAX_ENTRIES", 20)
    previous = None
    for number in range(30):
        previous = with_changes(CARD, previous, entry_of(SECOND, tag=f"v{number}"))
    assert titles(previous or "") == [f"v{number}" for number in range(29, 8, -1)]
    noise = random.Random(1)  # noqa: S311  no secret
    for part in ("### ", "| a ", "| a | b | 1 | ", "New configs: a, ", CHANGES_BEGIN, "&#1;", "\n\n"):
        text = f"{CHANGES_BEGIN}\n\n## Changes\n\n### v1\n\n{part * 50_000}{noise.random()}\n{CHANGES_END}\n"
        assert titles(with_changes(CARD, text, entry_of(SECOND, tag="v2"))) == ["v2"]


# -- real datasets


def test_a_dataset_with_such_a_card(project: Project) -> None:
    """A published card is good to `validate`, `--fix` leaves the changes alone, and a build goes on with it."""

    def build(count: int) -> None:
        rows: list[dict[str, Any]] = [{"id": n, "text": f"text {n}"} for n in range(count)]
        project.rows("rows.jsonl", rows)
        splits = {"default": {"splits": {"train": {"files": "rows.jsonl"}}}}
        front = "---\nlicense: cc0-1.0\nlanguage: en\n---\n# Demo\n"
        project.write({"configs": splits}, {"id": "int64", "text": "string"}, card=front)
        project.build()

    build(5)
    path = project.out / "README.md"
    plain = path.read_text()
    first = with_changes(plain, None, entry_of(changes_between(None, LocalFiles(project.out)), tag="v1"))
    assert "| default | train | 5 |\n" in first
    path.write_text(first)
    report = validate(project.out)
    assert (report.ok, report.warnings) == (True, 0), str(report)
    assert plan_mending(project.out).is_empty
    path.write_text(first.replace("num_examples: 5", "num_examples: 6"))
    assert not validate(project.out, Options(look="quick")).ok
    mend(plan_mending(project.out))
    assert path.read_text() == first
    build(5)
    assert path.read_text() == plain
    assert with_changes(plain, first, entry_of(changes_between(None, LocalFiles(project.out)), tag="v1")) == first
