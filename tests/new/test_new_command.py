"""The command: what it writes and never overwrites, its exit codes, names of strangers, and datasets of a hub."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from huggingface_hub import constants

from pipeline.card_text import load_human_card
from pipeline.cli import main
from pipeline.errors import UsageError
from pipeline.new_command import run_new
from tests.network import miniatures
from tests.network.hf_double import HuggingFaceDouble
from tests.new.asking import ask
from tests.project import png, tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Give a folder with two pictures and what they show."""
    folder = tmp_path / "two pictures"
    folder.mkdir()
    for number in range(2):
        (folder / f"{number}.png").write_bytes(png(number))
    rows = [{"image": f"{number}.png", "caption": f"a picture {number}"} for number in range(2)]
    (folder / "pairs.json").write_text(json.dumps(rows), encoding="utf-8")
    return folder


def test_it_writes_three_files(pairs: Path, tmp_path: Path) -> None:
    """The command writes recipe, schema and card, and says what to do next."""
    into = tmp_path / "mine"
    done = CliRunner().invoke(main, ["new", str(pairs), "--into", str(into)])
    assert done.exit_code == 0, done.output
    assert sorted(tree(into)) == [
        "dataset_cards/two_pictures.md",
        "recipes/two_pictures.yaml",
        "schemas/two_pictures.yaml",
    ]
    assert f"next: shardwright build {into / 'recipes' / 'two_pictures.yaml'}" in done.output
    card = load_human_card(into / "dataset_cards" / "two_pictures.md")
    assert "license" not in card.metadata
    for part in ("## Where it comes from", "## Columns", "## Licence\n\n**Not decided yet.**", "## Limits"):
        assert part in card.body


def test_nothing_is_overwritten(pairs: Path, tmp_path: Path) -> None:
    """A second run is an error that says what to do, and every file stays as it was, also one that was there alone."""
    into = tmp_path / "mine"
    (into / "schemas").mkdir(parents=True)
    (into / "schemas" / "asked.yaml").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="nothing is overwritten") as error:
        ask(pairs, into)
    assert "--name" in error.value.hint
    assert list(tree(into)) == ["schemas/asked.yaml"]
    ask(pairs, into, name="other")
    before = tree(into)
    done = CliRunner().invoke(main, ["new", str(pairs), "--into", str(into), "--name", "other", "--yes"])
    assert done.exit_code == 2
    assert tree(into) == before


def test_no_is_an_answer(pairs: Path, tmp_path: Path) -> None:
    """Who does not want the files has none."""
    into = tmp_path / "mine"
    options: dict[str, Any] = dict.fromkeys(("media", "name", "dialect"))
    assert run_new(str(pairs), into=into, cache=tmp_path, may_write=lambda _: False, **options) == "nothing was written"
    assert not into.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.json"], "there is no file or folder nowhere.json"),
        (["{pairs}", "--dialect", "lava"], "there is no dialect 'lava'"),
        (["{pairs}", "--name", "../x"], "'../x' is no name for a dataset"),
        (["{pairs}", "--media", "nowhere"], "--media: there is no folder or archive nowhere"),
        (["{pairs}", "--dialect", "llava"], "none of its first 2 records can be read as LLaVA JSON"),
        (["huggingface:nobody"], "names no repository"),
    ],
)
def test_mistakes(pairs: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    """Mistakes in the command end with exit code 2 and what is allowed."""
    given = [argument.format(pairs=pairs) for argument in arguments]
    done = CliRunner().invoke(main, ["new", *given, "--into", str(tmp_path / "mine")])
    assert done.exit_code == 2, done.output
    assert said in " ".join(done.output.split())


def test_names_of_strangers_are_shown_escaped(tmp_path: Path) -> None:
    """Control characters in names, columns and values reach neither the terminal nor the files."""
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "0.png").write_bytes(png(0))
    row = {"image": "0.png", "caption": "red \x1b[31m \u202e", "col\x1b[2J": 1}
    (folder / "rows.json").write_text(json.dumps([row, row]), encoding="utf-8")
    done = CliRunner().invoke(main, ["new", str(folder), "--into", str(tmp_path / "mine"), "--name", "odd"])
    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.output
    assert "\u202e" not in done.output
    assert "col\\x1b[2J" in done.output
    for path in (tmp_path / "mine").rglob("*.*"):
        assert "\x1b" not in path.read_text(encoding="utf-8")


def test_secrets_in_urls_stay_hidden(tmp_path: Path) -> None:
    """Signatures of URLs are not printed."""
    rows = [{"image": f"https://example.org/{n}.png?X-Amz-Signature=abcdef0123456789", "text": "x"} for n in range(3)]
    (tmp_path / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    asked = ask(tmp_path / "rows.json", tmp_path)
    assert "3 URLs, fetched by the build" in asked.said
    assert "abcdef0123456789" not in asked.said


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HuggingFaceDouble]:
    """Give a double of Hugging Face."""
    with HuggingFaceDouble() as double:
        monkeypatch.setenv("HF_ENDPOINT", double.endpoint)
        # else the client asks once a day for a list of programs that may be using it
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        for name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        yield double


def test_ready_parquet_of_a_hub(hub: HuggingFaceDouble, tmp_path: Path) -> None:
    """LaTeX-OCR: of each Parquet file the first rows are read where they are; the hub is the source of the recipe."""
    files, _ = miniatures.latex_ocr()
    hub.repo("linxy/LaTeX_OCR", files)
    asked = ask("huggingface:linxy/LaTeX_OCR", tmp_path)
    assert asked.recipe["sources"]["data"]["huggingface"] == "linxy/LaTeX_OCR"
    assert "full/train-*.parquet" in asked.recipe["sources"]["data"]["files"]
    assert set(asked.recipe["configs"]["small"]["splits"]) == {"train", "validation", "test"}
    assert asked.schema["columns"] == {"image": "image", "text": {"type": "string", "nullable": True}}
    assert "inside the annotations" in asked.said


@pytest.mark.slow
def test_rows_and_pictures_of_a_hub(hub: HuggingFaceDouble, tmp_path: Path) -> None:
    """A repository with JSON and its pictures beside it is the source of both, and builds as it is."""
    rows = [{"image": f"images/{n}.png", "caption": f"a picture {n}"} for n in range(3)]
    files = {"rows.json": json.dumps(rows).encode(), **{f"images/{n}.png": png(n) for n in range(3)}}
    hub.repo("somebody/pairs", files)
    asked = ask("huggingface:somebody/pairs", tmp_path)
    files = ["rows.json", "images/**"]
    assert asked.recipe["sources"] == {"data": {"huggingface": "somebody/pairs", "files": files}}
    assert asked.build().reasons == {}
    assert len(asked.rows()) == 3
