"""Values and links of cards: what the Hub knows passes, what it does not is named, and nothing strange ends a check."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.checks.card_links import relative_links
from pipeline.checks.card_values import check_language, check_licence, check_links, check_values
from pipeline.checks.dataset import Dataset
from pipeline.checks.hub_values import LANGUAGES, LICENCES, TASK_CATEGORIES, TASK_IDS
from pipeline.checks.read_card import CARD, read_card

if TYPE_CHECKING:
    from pipeline.checks.problem import Problem

CARDS = Path(__file__).parents[1] / "data" / "cards"
CHECKS = (check_licence, check_language, check_values, check_links)


class InMemory:
    """The files of a dataset, by name."""

    shown = "a dataset"

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def sizes(self) -> dict[str, int]:
        """Return the bytes of every file."""
        return {name: len(data) for name, data in self.files.items()}

    def open(self, name: str) -> BinaryIO:
        """Open a file."""
        return io.BytesIO(self.files[name])

    def path(self, name: str) -> Path | None:  # noqa: ARG002
        """Return that it lies nowhere."""
        return None


def found(card: str, *others: str) -> list[Problem]:
    """Return what is wrong with a card beside other files."""
    files = InMemory({CARD: card.encode(), **dict.fromkeys(others, b"")})
    read, problems = read_card(files, files.sizes())
    if read is not None:
        dataset = Dataset(files=files, sizes=files.sizes(), card=read)
        problems += [problem for check in CHECKS for problem in check(dataset)]
    return problems


def codes(card: str, *others: str) -> list[str]:
    """Return only the codes."""
    return [problem.code for problem in found(card, *others)]


def metadata(**values: Any) -> str:
    """Return a card of these values."""
    return f"---\n{yaml.safe_dump(values)}---\n# Card\n"


# -- values


@pytest.mark.parametrize(
    "front",
    [
        "license: apache-2.0",
        "license:\n- mit\n- cc-by-4.0",
        "license: unknown",
        "license: other\nlicense_name: my-licence-1.0\nlicense_link: https://example.org/licence",
        "license: other",
        "license:",
        "language: en",
        "language: [en, deu, chi, yue, code, multilingual]",
        "language: 'no'",
        "task_categories: visual-question-answering",
        "task_categories: [image-text-to-text, text2text-generation]\ntask_ids: [image-captioning]",
        "task_ids: []\ntags: [3d, '2024', anything at all]\npretty_name: Caf\u00e9",
    ],
)
def test_what_the_hub_knows_passes(front: str) -> None:
    """Values as good cards have them."""
    assert codes(f"---\n{front}\n---\n") == []


@pytest.mark.parametrize(
    ("front", "code", "hint"),
    [
        ("license: CC-BY-4.0", "SW112", "did you mean 'cc-by-4.0'?"),
        ("license: Apache 2.0", "SW112", "did you mean 'apache-2.0'?"),
        ("license: [mit, mine]", "SW112", "license_name"),
        ("license: 1.0", "SW112", "license_name"),
        ("license: {x: [[1]]}", "SW112", "license_name"),
        ("licenses: mit", "SW112", "call it `license`"),
        ("language: EN", "SW113", "write en"),
        ("language: English", "SW113", "write en"),
        ("language: [ja, cn]", "SW113", "write zh"),
        ("language: pt_pt", "SW113", "write pt, and pt_pt under `language_bcp47`"),
        ("language: zh-CN", "SW113", "write zh, and zh-CN under `language_bcp47`"),
        ("language: en-de", "SW113", "write en and de"),
        ("language: no", "SW113", "'no'"),
        ("language: protein sequences", "SW113", "ISO 639-1"),
        ("languages: [en]", "SW113", "call it `language`"),
        ("task_categories: Visual Question Answering", "SW114", "did you mean 'visual-question-answering'?"),
        ("task_categories: [vqa, ocr]", "SW114", "tags"),
        ("task_ids: [summarization]", "SW114", "one of `task_categories`"),
        ("tags: [2024]", "SW114", "in quotes"),
        ("pretty_name: 12", "SW114", "in quotes"),
    ],
)
def test_what_the_hub_does_not_know_is_named(front: str, code: str, hint: str) -> None:
    """One problem, with what was probably meant."""
    problems = found(f"---\n{front}\n---\n")
    assert [problem.code for problem in problems] == [code]
    assert hint in problems[0].hint
    assert problems[0].severity == "warning"


def test_lists_are_those_of_the_hub() -> None:
    """No list was cut short, and its words are words."""
    assert len(LANGUAGES) == 185
    assert all(len(code) == 2 and code.isalpha() and code.islower() for code in LANGUAGES)
    assert {"mit", "cc0-1.0", "openrail++", "llama3.3", "other", "unknown"} <= LICENCES
    assert {"image-text-to-text", "video-text-to-text", "other"} <= TASK_CATEGORIES
    assert {"extractive-qa", "pose-estimation"} <= TASK_IDS
    assert (len(LICENCES), len(TASK_CATEGORIES), len(TASK_IDS)) == (83, 60, 74)


@pytest.mark.parametrize("path", sorted(CARDS.glob("*.README.md")) + sorted(CARDS.glob("sample*.md")), ids=str)
def test_published_cards_are_clean(path: Path) -> None:
    """Cards that people published raise no alarm."""
    assert codes(path.read_text(encoding="utf-8")) == []


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.dates() | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(
    ["license", "licenses", "license_link", "language", "task_categories", "task_ids", "tags", "pretty_name"]
)


@given(st.dictionaries(KEYS, values, max_size=4))
def test_no_value_ends_a_check(front: dict[str, Any]) -> None:
    """Whatever stands in a card, the checks end and say it in a few words."""
    for problem in found(metadata(**front)):
        assert len(str(problem)) < 3_000


def test_thousands_of_unknown_values_take_no_time() -> None:
    """The nearest known value is looked for a number of times only."""
    front = {key: [f"x-{number}" for number in range(20_000)] for key in ("license", "language", "task_ids", "tags")}
    card = metadata(**front)
    start = time.perf_counter()
    problems = found(card)
    assert time.perf_counter() - start < 30
    assert len(problems) == 40_001


# -- two blocks, one key twice


@pytest.mark.parametrize(
    ("front", "key"),
    [
        ("license: mit\nlicense: other", "license"),
        ("dataset_info:\n  splits: []\n  splits: []", "dataset_info.splits"),
        ("configs:\n- config_name: a\n- config_name: b\n  config_name: c", "configs[1].config_name"),
        ("dataset_info: {a: 1, a: 2}", "dataset_info.a"),
    ],
)
def test_one_key_twice(front: str, key: str) -> None:
    """At any level, with both lines."""
    problems = found(f"---\n{front}\n---\n")
    assert [(problem.code, problem.key) for problem in problems] == [("SW116", key)]


def test_lines_of_a_double_key() -> None:
    """Lines are those of the file, also below an empty line."""
    message = found("\n---\nlicense: mit\ntags: []\nlicense: mit\n---\n")[0].message
    assert "line 5 stands in line 3" in message


def test_same_key_in_two_places_is_none() -> None:
    """Keys of different mappings, keys of different types, merges and aliases are no double keys."""
    front = "a: &a {x: 1}\nb: {<<: *a, y: 1}\nc: {<<: *a, x: 2}\nd: {1: a, '1': b}\nconfigs:\n- &c {x: 1}\n- *c"
    assert codes(f"---\n{front}\n---\n") == []


@pytest.mark.parametrize(
    "below", ["---\nlicense: mit\n---\n", "\n---\nlicense: mit\n---\nText\n", "license: mit\n---\n# Title\n"]
)
def test_two_blocks(below: str) -> None:
    """A second block right behind the first is one that nobody reads."""
    problems = found(f"---\ntags: [a]\n---\n{below}")
    assert [problem.code for problem in problems] == ["SW116"]
    assert "`license`" in problems[0].message


@pytest.mark.parametrize(
    "below",
    [
        "# Title\n\n---\nlicense: mit\n---\n",
        "\n---\nTitle\n---\n",
        "---\nNote: this\n---\n",
        "```\nlicense: a\n---\n```\n",
    ],
)
def test_rules_and_titles_are_no_second_block(below: str) -> None:
    """Lines of dashes are Markdown, too."""
    assert codes(f"---\ntags: [a]\n---\n{below}") == []


def test_metadata_without_a_line_above() -> None:
    """Front matter that lacks its first line is none."""
    problems = found("license: mit\nlanguage: en\n---\n# Title\n")
    assert [problem.code for problem in problems] == ["SW101"]
    assert "no line `---` above" in problems[0].message


def test_front_matter_below_empty_lines_is_read() -> None:
    """As the Hub's client does."""
    assert codes("\n \n---\nlicense: mine\n---\n") == ["SW112"]


def test_bombs_are_not_set_off() -> None:
    """Ten levels of ten aliases each are a few lines, and would be written out into every message."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]" for old, new in zip("abcdefghi", "bcdefghij", strict=True)
    ]
    front = "\n".join([*lines, "size_categories: *j", "configs: [*j]", "license: *j"])
    problems = found(f"---\n{front}\n---\n")
    assert [problem.code for problem in problems] == ["SW101"]
    assert "once its aliases are written out" in problems[0].message
    assert codes(f"---\nlicense: mit\nnumber: 0x{'f' * 10_000}\n---\n") == ["SW101"]


@pytest.mark.parametrize(
    "front", ['!!int ""', "!!bool maybe", "!!timestamp x", "!!binary ä", "[" * 3_000, "&a [*a]", "2024-99-99"]
)
def test_strange_yaml_ends_no_check(front: str) -> None:
    """What PyYAML stumbles over is a card that cannot be read, or an odd value."""
    assert set(codes(f"---\nlicense: {front}\n---\n")) <= {"SW101", "SW112"}
    assert codes(f"---\nlicense: {front}\n---\n")


# -- links

FILES = ("LICENSE", "images/a b.png", "images/100%.png", "images/fig.png", "docs/caf\u00e9.md", "data/train-0.parquet")


@pytest.mark.parametrize(
    "text",
    [
        "[l](LICENSE) ![p](images/fig.png) [p](./images/fig.png 'title') [p](images/fig.png?raw=true#top)",
        "![p](images/a%20b.png) ![p](<images/a b.png>) ![p](images/100%.png) ![p](images/100%25.png)",
        "[d](data) [d](data/) [d](./) [d](docs/caf%C3%A9.md) [d](docs/café.md) [d](docs/../LICENSE)",
        "<img width=3 src=\"images/fig.png\"> <a href='LICENSE'>x</a> <img\n src=images/fig.png>",
        "[a](https://example.org/x.png) [b](#part) [c](mailto:me@example.org) [d](//x.org/y) [e](/datasets/a/b)",
        '<a href="#top">x</a> <img src="data:image/png;base64,AAAA"> <a name="missing.png">',
        "`[x](missing.png)` ``a ` [x](missing.png)`` <code>[x](missing.png)</code> <!-- [x](missing.png) -->",
        "```\n[x](missing.png)\n```\n~~~~ md\n[x](missing.png)\n```\n~~~\n~~~~\n\n    [x](missing.png)\n",
        "$x[a](b.c)$ and $$\nx[a](b.c)\n$$ \\[x\\](missing.png) [^1]: see.this [x] (missing.png) [x](two words.png)",
        "[hidden](.github/workflows/x.yml) [page](resolve/main/images/fig.png) [tree](tree/main) [x](todo) [x](...)",
        "[ref]: images/fig.png 'title'\n[1]: Smith et al. 2020",
    ],
)
def test_links_that_lead_somewhere_else_or_to_a_file(text: str) -> None:
    """Files and folders of the dataset, other places, code, comments and formulas."""
    assert codes(text, *FILES) == []


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("![p](missing.png)", "'missing.png' in line 1 leads to no file", "add the file"),
        ("one\n\n[![b](https://x.org/b.svg)](LICENCE.md)", "'LICENCE.md' in line 3", "add the file"),
        ("![p](images/Fig.png)", "leads to no file", "it is 'images/fig.png': upper and lower case count"),
        ("[up](../other/README.md)", "leads out of the dataset", "put the file into the dataset"),
        ("[up](docs/../../x.md)", "leads out of the dataset", "put the file into the dataset"),
        ('<p align="center">\n    <img src="missing.png">\n</p>', "in line 2", "add the file"),
        ("- a\n\n    [deep](missing.png)", "in line 3", "add the file"),
        ("<video controls src='clip.mp4'></video>", "'clip.mp4'", "add the file"),
        ("[ref]: missing.png", "'missing.png'", "add the file"),
        ("[mail](me@example.org)", "leads to no file", "write mailto:"),
        ("[site](example.org/page)", "leads to no file", "write https://"),
        ("[l](LICENCE)", "'LICENCE'", "add the file"),
        ("``` not closed\n```\n[x](missing.png)", "in line 3", "add the file"),
        ("a ` tick\n\nand [x](missing.png) ` another", "in line 3", "add the file"),
    ],
)
def test_links_that_lead_nowhere(text: str, message: str, hint: str) -> None:
    """Each with its line and what to do."""
    problems = found(text, *FILES)
    assert [problem.code for problem in problems] == ["SW115"]
    assert message in problems[0].message
    assert hint in problems[0].hint


def test_lines_of_links_count_from_the_top_of_the_file() -> None:
    """Front matter is above the text."""
    assert "in line 5" in found("---\ntags: []\n---\n\n[x](missing.png)\n")[0].message


def test_a_licence_beside_the_card() -> None:
    """`license_link` names a file of the dataset, or another place."""
    front = "---\nlicense: other\nlicense_name: mine\nlicense_link: LICENSE\n---\n"
    assert codes(front, "LICENSE") == []
    assert codes(front) == ["SW115"]


def test_a_link_is_told_once() -> None:
    """However often it stands there."""
    assert codes("[x](missing.png)\n" * 5) == ["SW115"]


@given(st.text(alphabet="[]()<>`$!\\ab./\n \"'#:-~", max_size=200))
def test_any_text_has_links_or_none(text: str) -> None:
    """Destinations stand in the text, and lines are lines of it."""
    for link in relative_links(text):
        assert 1 <= link.line <= text.count("\n") + 1


@pytest.mark.parametrize(
    "piece", ["[", "](", "](a", "`", "` ``", "<a ", "<img src=", "$", "$$", "[a]: ", "\\", "<!--", "    ["]
)
def test_time_is_in_proportion_to_the_text(piece: str) -> None:
    """No text of a few bytes over and over takes long."""
    start = time.perf_counter()
    list(relative_links(piece * (300_000 // len(piece))))
    assert time.perf_counter() - start < 20
