"""Cards: what people wrote is kept to the byte, what is generated stands between its markers."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pipeline.card_text import (
    FACTS_BEGIN,
    FACTS_END,
    YAML_BEGIN,
    YAML_END,
    CardText,
    join_card,
    load_human_card,
    size_category,
    split_card,
    split_front_matter,
)
from pipeline.errors import RecipeError

CARDS = Path(__file__).parents[1] / "data" / "cards"
COMPUTED = "this key is computed from the shards (remove it from the human part)"
UNPAIRED = "marker has no partner, or stands twice (one begin and, below it, one end; or neither)"
BLOCK = "configs:\n- config_name: default\nsize_categories:\n- n<1K\n"


def joined(text: str, facts: str = "## Facts") -> str:
    """Return a card with generated parts."""
    return join_card(split_card(text, file="card.md"), yaml_block=BLOCK, facts=facts)


def mistakes(path: Path, text: str | bytes) -> list[str]:
    """Return the mistakes of a human card, without its folder."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    try:
        load_human_card(path, shown_as="card.md")
    except RecipeError as error:
        return [str(mistake) for mistake in error.mistakes]
    return []


HUMAN = [
    "",
    "# Title\n",
    "# Title",
    "# Title\n\n\n   \n",
    "---\npretty_name: Demo\n---\n# Title\n",
    "---\npretty_name: Demo # why\n\n# comment\nlicense: mit\n---\n\n\n# Title  \n\ttext\n",
    "---\n---\n# Title\n",
    "---\n# only comments\n---\n# Title\n",
    "---\r\npretty_name: Demo\r\n---\r\n# Title\r\ntext\r\n",
    "---\npretty_name: Demo\n---\n# Title\n\n---\n\nconfigs: no front matter\n---\n",
    "---\npretty_name: Demo\n---",
    "---   \npretty_name: Demo\n---\t\nx",
    "text\n---\na: b\n---\n",
    "---\nnot closed\n",
    f"---\na: b\n---\nabove\n{FACTS_BEGIN}\nold\n{FACTS_END}\nbelow\n",
    f"---\na: b\n---\nabove {FACTS_BEGIN}{FACTS_END} below",
    f"---\na: b\n{YAML_BEGIN}\nconfigs: []\n{YAML_END}\nc: d\n---\nx\n",
    "---\ntext: |\n  ---\n  # shardwright:begin\n---\nx\n",
    "\u2028\x85\x0c body \r mixed \r\n ends \n",
]


@pytest.mark.parametrize("text", HUMAN)
def test_the_human_part_is_kept_to_the_byte(text: str) -> None:
    """Front matter, body, comments, blanks and line ends come through; putting together twice changes nothing."""
    card = split_card(text, file="card.md")
    once = joined(text)
    again = split_card(once, file="card.md")
    assert again.front == card.front
    assert joined(once) == once
    before, _, after = card.body.partition(FACTS_BEGIN)
    assert again.body.startswith(before)
    if after:
        assert again.body.endswith(after.partition(FACTS_END)[2])
    assert once.count(FACTS_BEGIN) == once.count(FACTS_END) == once.count(YAML_BEGIN) == 1


@settings(max_examples=300, deadline=None)
@given(
    front=st.dictionaries(st.text("abc", min_size=1, max_size=3), st.text("xy: '\"-#\n", max_size=6), max_size=3),
    body=st.lists(
        st.sampled_from(
            ["# Title", "---", "\n", "\r\n", "text", " ", "```", "configs:", "<!-- x -->", FACTS_BEGIN, FACTS_END]
        ),
        max_size=10,
    ).map("".join),
    closed=st.booleans(),
)
@example(front={}, body="", closed=False)
def test_any_card_is_stable(front: dict[str, str], body: str, closed: bool) -> None:
    """For any front matter and body: joined, split and joined again is the same card, and no human byte is lost."""
    text = f"---\n{yaml.safe_dump(front) if front else ''}---\n{body}" if closed else body
    try:
        card = split_card(text, file="card.md")
    except RecipeError:
        assume(False)
        raise
    once = joined(text)
    assert joined(once) == once
    assert split_card(once, file="card.md").front == card.front
    human = card.body.partition(FACTS_BEGIN)[0]
    assert human in once
    changed = joined(once, facts="## Other")
    assert joined(changed) == once


def test_markers_are_filled_in_place() -> None:
    """Facts go where the markers stand, else to the end; facts that quote a marker do no harm."""
    text = f"# Title\n{FACTS_BEGIN}\nold\n{FACTS_END}\nend\n"
    assert joined(text).partition("# Title\n")[2] == f"{FACTS_BEGIN}\n\n## Facts\n\n{FACTS_END}\nend\n"
    assert joined("# Title\n").endswith(f"# Title\n\n{FACTS_BEGIN}\n\n## Facts\n\n{FACTS_END}\n")
    hostile = joined("# Title\n", facts=f"| {FACTS_END} | {FACTS_BEGIN} | \\1 \\g<0> |")
    assert hostile.count(FACTS_END) == hostile.count(FACTS_BEGIN) == 1
    assert "\\1 \\g<0>" in hostile
    assert joined(hostile) == joined("# Title\n")


def test_front_matter_is_what_a_hub_reads() -> None:
    """The front matter of a finished card has the human and the generated keys, and no mark stands before it."""
    once = joined("\ufeff---\npretty_name: Demo\n---\n# Title\n")
    assert once.startswith("---\n")
    front, body = split_front_matter(once)
    assert yaml.safe_load(front) == {
        "pretty_name": "Demo",
        "configs": [{"config_name": "default"}],
        "size_categories": ["n<1K"],
    }
    assert body.startswith("# Title\n")


def test_the_generated_part_is_known() -> None:
    """What stands between the markers is read apart; in a card of other making, the generated keys are."""
    card = split_card(joined("---\na: b\n---\n"), file="card.md")
    assert card.metadata == {"a": "b"}
    assert set(card.generated) == {"configs", "size_categories"}
    other = split_card("---\na: b\ndataset_info: {}\n---\n", file="card.md")
    assert other.generated == {"dataset_info": {}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("---\na: b\nconfigs: []\n---\n", [f"card.md:3: configs: {COMPUTED}"]),
        (
            f"---\na: b\n{YAML_BEGIN}\nconfigs: []\n{YAML_END}\n\nsize_categories: x\n---\n",
            [f"card.md:7: size_categories: {COMPUTED}"],
        ),
        (
            "---\r\na: b\r\ndataset_info: {}\r\n---\r\n",
            [f"card.md:3: dataset_info: {COMPUTED}"],
        ),
        ("---\na: b\na: c\n---\n", ["card.md:3: a: the key stands twice; the first one is on line 2"]),
        (
            "---\nA sentence\n---\n",
            ["card.md:2: the document is a text, not keys with values (it starts like `name: …`)"],
        ),
        ("---\na: [\n---\n", ["card.md:3: not YAML: a bracket or quote is not closed (check the lines above)"]),
        (f"---\na: b\n{YAML_BEGIN}\n---\n", [f"card.md:3: this begin {UNPAIRED}"]),
        (
            f"---\na: b\n---\n\n{FACTS_END}\n{FACTS_BEGIN}\n",
            [
                f"card.md:5: this end {UNPAIRED}",
                f"card.md:6: this begin {UNPAIRED}",
            ],
        ),
        (f"x\n{FACTS_BEGIN}\n", [f"card.md:2: this begin {UNPAIRED}"]),
        (
            "a\nb \x80".encode("latin-1"),
            ["card.md:2: the file is not UTF-8: byte 0x80 is no character (save it as UTF-8)"],
        ),
    ],
)
def test_mistakes_have_the_line_of_the_card(tmp_path: Path, text: str | bytes, expected: list[str]) -> None:
    """A mistake in a card names the line where it stands in the file, below generated lines too."""
    assert mistakes(tmp_path / "card.md", text) == expected


def test_a_card_that_is_not_there(tmp_path: Path) -> None:
    """A card that cannot be opened is a mistake, not a traceback."""
    with pytest.raises(RecipeError, match="cannot be read: No such file"):
        load_human_card(tmp_path / "none.md")


@pytest.mark.parametrize("path", sorted(set(CARDS.glob("*.md")) - {CARDS / "README.md"}), ids=lambda path: path.name)
def test_real_cards(path: Path) -> None:
    """Cards that people published come through to the byte, and their generated keys are known."""
    text = path.read_bytes().decode()
    card = split_card(text, file=path.name)
    once = joined(text)
    assert split_card(once, file=path.name) == CardText(
        front=card.front,
        body=split_front_matter(once)[1],
        metadata=card.metadata,
        generated=yaml.safe_load(BLOCK),
    )
    assert once.endswith(f"{FACTS_END}\n")
    assert split_front_matter(once)[1].startswith(card.body)
    assert joined(once) == once


def test_size_categories() -> None:
    """A category holds up to, but not including, its limit."""
    assert [size_category(rows) for rows in (0, 999, 1_000, 9_999, 10_000, 10**12 - 1, 10**12)] == [
        "n<1K", "n<1K", "1K<n<10K", "1K<n<10K", "10K<n<100K", "100B<n<1T", "n>1T",
    ]  # fmt: skip
