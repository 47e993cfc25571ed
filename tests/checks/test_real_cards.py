"""Cards that people published, each alone in a folder: the data are not there, and what else is wrong is told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.validation import validate

CARDS = Path(__file__).parents[1] / "data" / "cards"
NO_DATA = {"SW104": "README.md: configs: no data files are found\n       next: put Parquet files beside the card"}
SAYS: dict[str, dict[str, str]] = {
    "beans.README.md": NO_DATA,
    "cifar10.README.md": NO_DATA,
    "food101.README.md": NO_DATA,
    "textvqa.README.md": NO_DATA,
    "sample_datasetcard_simple.md": NO_DATA,
    "sample_no_metadata.md": NO_DATA,
    "templates/datasetcard.md": {"SW101": "the front matter is not YAML: line 92: found unhashable key"},
    "glue.md": {
        "SW103": "README.md: configs: 12 of its entries are no mappings, e.g. 'ax'; `datasets` fails on that",
        "SW114": "the Hub knows no tasks 'text-classification-other-coreference-nli',",
    },
}
"""Card -> codes, and words of each. The template has placeholders in braces; GLUE's card lists configs as plain names,
as cards did when scripts made datasets."""


@pytest.mark.parametrize("name", SAYS)
def test_real_cards(name: str, tmp_path: Path) -> None:
    """Each card is read to its end, and only what is wrong is called wrong."""
    shutil.copy(CARDS / name, tmp_path / "README.md")
    report = validate(tmp_path)
    assert set(report.counts) == set(SAYS[name]), str(report)
    for words in SAYS[name].values():
        assert words in str(report)


def test_every_card_is_read() -> None:
    """The cards above are those that lie here."""
    assert {path.relative_to(CARDS).as_posix() for path in CARDS.rglob("*.md")} == {*SAYS, "README.md"}
