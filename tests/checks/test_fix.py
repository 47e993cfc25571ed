"""Mending: the computed part of a card follows the shards, everything else stays to the byte, and nothing is lost."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.checks.options import Options
from pipeline.cli import main
from pipeline.errors import WorkspaceError
from pipeline.mend_card import mend, plan_mending
from pipeline.splice_yaml import CannotSplice, same, with_values
from pipeline.validation import validate
from tests.project import Project, tree
from tests.test_validate import COLUMNS, MUTATIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

ROOT = Path(__file__).parents[2]
UNLOADED = Options(ignore=("SW2", "SW4", "SW5", "SW6", "SW7"))
"""All that the computed part of a card is about, without the seconds that a fresh process takes to load it."""
LEFT = {
    "a shard removed": {"SW110"},
    "a shard that no split names": {"SW105"},
    "a truncated shard": {"SW301"},
    "a flipped byte in a page": {"SW301"},
    "a column renamed in a shard": {"SW108", "SW109"},
    "labels swapped in a footer": {"SW108", "SW109"},
}
"""Damage of the shards themselves, which no card can mend."""
OTHER_CARD = {"the card is gone", "a row removed"}
"""Damage after which the right card is another one than before."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Give a project with two configs and people's words in its card."""
    project = Project(tmp_path_factory.mktemp("fix"))
    names = project.pictures(12)
    project.rows("rows.jsonl", [{"image": name, "text": name, "label": "ab"[n % 2]} for n, name in enumerate(names)])
    config = {"rows": {"files": "rows.jsonl"}, "splits": {"train": 0.75, "test": 0.25}}
    recipe = {"configs": {"real": config, "other": config}, "shards": {"max_bytes": "400B"}}
    project.write(recipe, COLUMNS, card="---\nlicense: mit  # ours\n---\n# Demo\n\n| config | split |\n|---|---|\n")
    project.build()
    return project


def copied(project: Project, folder: Path) -> Path:
    """Return a copy of the built dataset."""
    return Path(shutil.copytree(project.out, folder / "dataset"))


def human_part(card: bytes) -> bytes:
    """Return a card without its block and without its table of splits."""
    card = re.sub(rb"(?ms)^# shardwright:begin.*?^# shardwright:end", b"", card)
    return re.sub(rb"(?m)^\| (?:real|other) \| \w+ \| [\d,]+ \| [\d,]+ \| [\d,]+ \|\r?\n", b"", card)


def mended(folder: Path) -> list[str]:
    """Mend a folder; returns what could not be, and proves that a second time there is nothing to do."""
    plan = plan_mending(folder)
    mend(plan)
    again = plan_mending(folder)
    assert again.is_empty, str(again)
    assert again.cannot == plan.cannot
    return plan.cannot


# -- cards of ours


def test_a_good_dataset_is_left_alone(built: Project, tmp_path: Path) -> None:
    """Nothing is written, and the plan is empty."""
    out = copied(built, tmp_path)
    before = tree(out)
    plan = plan_mending(out)
    assert (plan.is_empty, plan.cannot, str(plan)) == (True, [], "")
    mend(plan)
    assert tree(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]


@pytest.mark.parametrize("name", MUTATIONS)
def test_damage_is_mended_as_far_as_it_can_be(name: str, built: Project, tmp_path: Path) -> None:
    """The card is that of before again, to the byte, where the shards say what it was; else it is said what is left."""
    out = copied(built, tmp_path)
    right = (out / "README.md").read_bytes()
    MUTATIONS[name][0](out)
    shards = {path: digest for path, digest in tree(out).items() if path != "README.md"}
    cannot = mended(out)
    assert set(validate(out, UNLOADED).counts) == LEFT.get(name, set())
    assert bool(cannot) == (name in LEFT)
    card = (out / "README.md").read_bytes()
    assert (card == right) == (name not in OTHER_CARD)
    if name != "the card is gone":
        assert human_part(card) == human_part(right)
    aside = tree(tmp_path / "dataset-leftovers")
    assert {path: digest for path, digest in tree(out).items() if path != "README.md"} | aside == shards
    assert bool(aside) == (name == "a leftover of an earlier shard count")


def test_a_mended_dataset_loads(built: Project, tmp_path: Path) -> None:
    """`datasets` records what the mended card says, and nothing is left to say."""
    out = copied(built, tmp_path)
    card = (out / "README.md").read_text(encoding="utf-8")
    card = re.sub(r"num_(\w+): \d+", r"num_\1: 1", card).replace("dtype: image", "dtype: string")
    (out / "README.md").write_text(card.replace("real/test-", "real/tset-"), encoding="utf-8")
    assert mended(out) == []
    assert validate(out).counts == {}


def test_an_unpaired_marker_is_left_to_people(built: Project, tmp_path: Path) -> None:
    """Without its end, nobody knows how far the block goes."""
    out = copied(built, tmp_path)
    text = (out / "README.md").read_text(encoding="utf-8").replace("# shardwright:end", "# end")
    (out / "README.md").write_text(text, encoding="utf-8")
    plan = plan_mending(out)
    assert plan.is_empty
    assert "no pair" in plan.cannot[0]


words = st.text(alphabet="abc \u00e4\u732b#-*|`\n", max_size=60)


@settings(max_examples=25, deadline=None)
@given(
    front=st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers()), unique_by=lambda pair: pair[0]),
    below=st.sampled_from(["", "# ours\n", "z: 1 # ours\n\n"]),
    body=words,
    tail=words,
    damage=st.sampled_from([("num_examples: 9", "num_examples: 1"), ("n<1K", "n>1T"), ("configs:", "configs: [")]),
    newline=st.sampled_from(["\n", "\r\n"]),
)
def test_what_people_wrote_stays_to_the_byte(
    built: Project, tmp_path_factory: pytest.TempPathFactory, **drawn: Any
) -> None:
    """Keys, comments, text and line ends around the block and the table."""
    out = copied(built, tmp_path_factory.mktemp("people"))
    text = (out / "README.md").read_text(encoding="utf-8")
    keys = "".join(f"{key}: {value}  # {key}\n" for key, value in drawn["front"])
    text = text.replace("license: mit", f"{keys}license: mit").replace("---\n# Demo", f"{drawn['below']}---\n# Demo")
    text = text.replace("# Demo\n", f"# Demo\n{drawn['body']}\n") + drawn["tail"]
    text = text.replace(*drawn["damage"], 1).replace("\n", drawn["newline"])
    (out / "README.md").write_bytes(text.encode())
    assert mended(out) == []
    card = (out / "README.md").read_bytes()
    assert human_part(card) == human_part(text.encode())
    assert card.count(b"\r") == (card.count(b"\n") if drawn["newline"] == "\r\n" else 0)
    assert not validate(out, Options(look="quick", ignore=("SW11",))).counts


# -- cards of other people

FOREIGN = """---
# what this is about
license: "mit"   # quoted, as we like it
dataset_info:
  # computed once
  features:
  - name: id
    dtype: int64
  - name: label     # what it shows
    dtype:
      class_label:
        names:
          '0': cat
          '1': dog
  splits:
    - {name: train, num_bytes: 96.0, num_examples: 6}   # flow
    - name: test
      num_bytes: 4800
      num_examples: 4
  download_size: 1
  dataset_size: 4896  # bytes
configs:
- config_name: default # the only one
  data_files:
  - split: train
    path: data/train-*
  - split: "test"
    path: 'data/test-*'
size_categories: [n<1K]
tags: [a,   b]
---

Text  \t
--- and more, without an end of line"""


def foreign(folder: Path, card: str = FOREIGN, *, rows: dict[str, int] | None = None) -> Path:
    """Write a dataset as other tools do: no features in the footers, 16 bytes a row."""
    out = folder / "theirs"
    (out / "data").mkdir(parents=True)
    for split, count in (rows or {"train": 6, "test": 3}).items():
        table = pa.table({"id": pa.array(range(count)), "label": pa.array([n % 2 for n in range(count)])})
        pq.write_table(table, out / "data" / f"{split}-00000-of-00001.parquet")
    (out / "README.md").write_bytes(card.encode())
    return out


def changed_lines(before: str, after: str) -> list[tuple[str, str]]:
    """Return the lines that differ, of texts with as many lines."""
    pairs = list(zip(before.split("\n"), after.split("\n"), strict=True))
    return [(old, new) for old, new in pairs if old != new]


def test_only_wrong_numbers_of_a_foreign_card_change(tmp_path: Path) -> None:
    """Comments, quotes, spaces and the order of keys stay; a class label that fits its numbers does, too."""
    out = foreign(tmp_path)
    assert mended(out) == []
    after = (out / "README.md").read_text(encoding="utf-8")
    found = changed_lines(FOREIGN, after)
    size = sum(path.stat().st_size for path in (out / "data").iterdir())
    numbers = yaml.safe_load(after.split("---\n")[1])["dataset_info"]["splits"]
    assert [new for _, new in found] == [
        f"    - {{name: train, num_bytes: {numbers[0]['num_bytes']}, num_examples: 6}}   # flow",
        f"      num_bytes: {numbers[1]['num_bytes']}",
        "      num_examples: 3",
        f"  download_size: {size}",
        f"  dataset_size: {numbers[0]['num_bytes'] + numbers[1]['num_bytes']}  # bytes",
    ]
    assert not validate(out, UNLOADED).counts


def test_wrong_features_of_a_foreign_card_change_and_no_other(tmp_path: Path) -> None:
    """The column at fault is taken from the shards; the other one keeps its labels."""
    out = foreign(tmp_path, FOREIGN.replace("  - name: id\n    dtype: int64", "  - name: id\n    dtype: string"))
    assert mended(out) == []
    after = (out / "README.md").read_text(encoding="utf-8")
    features = yaml.safe_load(after.split("---\n")[1])["dataset_info"]["features"]
    assert features[0] == {"name": "id", "dtype": "int64"}
    assert features[1]["dtype"] == {"class_label": {"names": {"0": "cat", "1": "dog"}}}
    assert "- name: label     # what it shows" in after


def test_a_missing_split_is_added_below_the_others(tmp_path: Path) -> None:
    """In `configs` and in `dataset_info`, written as its neighbours are."""
    out = foreign(tmp_path, rows={"train": 6, "test": 3, "validation": 2})
    assert mended(out) == []
    after = (out / "README.md").read_text(encoding="utf-8")
    assert "    path: 'data/test-*'\n  - split: validation\n    path: data/validation-*\nsize_categories" in after
    assert "    - name: validation\n      num_bytes: " in after
    assert not validate(out, UNLOADED).counts


def test_numbers_of_a_card_without_them_are_not_added(tmp_path: Path) -> None:
    """A card may do without; what is not wrong is not mended."""
    card = "---\nconfigs:\n- config_name: default\n  data_files: data/*.parquet\n---\nText\n"
    assert plan_mending(foreign(tmp_path, card)).is_empty
    assert plan_mending(foreign(tmp_path / "other", "Text\n")).is_empty


def test_estimates_of_others_stay(tmp_path: Path) -> None:
    """`push_to_hub` estimates `num_bytes`; where all else is as it wrote it, nothing of it is wrong."""
    out = foreign(tmp_path)
    mended(out)
    text = (out / "README.md").read_text(encoding="utf-8")
    info = yaml.safe_load(text.split("---\n")[1])["dataset_info"]
    train, test = (split["num_bytes"] for split in info["splits"])
    text = text.replace(f"num_bytes: {train},", f"num_bytes: {train + 300},")
    text = text.replace(f"dataset_size: {train + test}", f"dataset_size: {train + test + 300}")
    (out / "README.md").write_text(text, encoding="utf-8")
    assert plan_mending(out).is_empty
    assert not validate(out, UNLOADED).counts


def test_files_elsewhere_are_not_replaced(tmp_path: Path) -> None:
    """URLs match no file of the dataset, and are right all the same; other ways to name files are left alone."""
    for number, files in enumerate(
        ("\n  - split: test\n    path: https://example.org/x.parquet", " data/test-*\n  data_dir: ./")
    ):
        card = f"---\nconfigs:\n- config_name: default\n  data_files:{files}\n---\n"
        out = foreign(tmp_path / str(number), card, rows={"test": 3})
        mend(plan_mending(out))
        assert (out / "README.md").read_text(encoding="utf-8") == card


def test_a_pattern_is_not_guessed(tmp_path: Path) -> None:
    """Shards whose names say no split, or two places that could be meant, are left to people."""
    out = foreign(tmp_path, FOREIGN.replace("data/test-*", "data/tset-*"))
    (out / "data" / "test-00000-of-00001.parquet").rename(out / "data" / "rest.parquet")
    before = (out / "README.md").read_bytes()
    cannot = mended(out)
    assert any("'data/tset-*' matches no file" in what for what in cannot)
    assert any("rest.parquet" in what for what in cannot)
    assert b"tset" in (out / "README.md").read_bytes()
    assert before.count(b"\n") == (out / "README.md").read_bytes().count(b"\n")


def test_two_folders_with_one_split_are_not_guessed(tmp_path: Path) -> None:
    """Which of them is meant only people know."""
    card = FOREIGN.replace("data/test-*", "gone/test-*")
    out = foreign(tmp_path, card)
    (out / "more").mkdir()
    (out / "data" / "test-00000-of-00001.parquet").rename(out / "more" / "test-00000-of-00001.parquet")
    shutil.copytree(out / "more", out / "less")
    assert any("'gone/test-*' matches no file" in what for what in mended(out))


def test_line_ends_and_a_byte_order_mark_stay(tmp_path: Path) -> None:
    """Also where lines are added."""
    card = "\ufeff" + FOREIGN.replace("\n", "\r\n")
    out = foreign(tmp_path, card, rows={"train": 6, "test": 3, "validation": 2})
    assert mended(out) == []
    after = (out / "README.md").read_bytes()
    assert after.startswith(b"\xef\xbb\xbf---\r\n")
    assert after.count(b"\n") == after.count(b"\r\n")
    assert after.endswith(card.partition("size_categories")[2].encode())


def test_a_card_that_does_not_parse_is_left_to_people(tmp_path: Path) -> None:
    """Without markers nobody knows what is whose."""
    plan = plan_mending(foreign(tmp_path, FOREIGN.replace("configs:", "configs: [")))
    assert plan.is_empty
    assert "not YAML" in plan.cannot[0]


@pytest.mark.parametrize(
    "value",
    [
        "null",
        "[]",
        "{}",
        "text",
        "[[1]]",
        "[{config_name: [x]}]",
        "[{config_name: a, data_files: 3}]",
        "[a, b]",
        "&a [*a]",
    ],
)
@pytest.mark.parametrize("key", ["configs", "dataset_info", "size_categories"])
def test_strange_values_end_no_mending(key: str, value: str, tmp_path: Path) -> None:
    """Whatever stands there, a plan comes out, and what is written can be read."""
    card = f"---\nlicense: mit # x\n{key}: {value}\n---\nText\n"
    out = foreign(tmp_path, card)
    plan = plan_mending(out)
    mend(plan)
    text = (out / "README.md").read_text(encoding="utf-8")
    assert isinstance(yaml.safe_load(text.split("---\n")[1]), dict)
    assert (text == card) == (plan.after is None)
    assert ("n<1K" in text) == (key == "size_categories" and value not in ("null", "&a [*a]"))
    assert "license: mit # x\n" in text
    assert text.endswith("---\nText\n")


# -- shards put aside


def leftover(out: Path) -> Path:
    """Add a shard of an earlier count."""
    path = out / "data" / "train-00000-of-00007.parquet"
    shutil.copy(out / "data" / "train-00000-of-00001.parquet", path)
    return path


def test_leftovers_never_overwrite(tmp_path: Path) -> None:
    """Each mending has a folder of its own."""
    out = foreign(tmp_path)
    for number in range(3):
        path = leftover(out)
        path.write_bytes(path.read_bytes() + b"" if number else path.read_bytes())
        assert mended(out) == []
        assert not path.exists()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["theirs", "theirs-leftovers", "theirs-leftovers-2", "theirs-leftovers-3"]
    assert (tmp_path / "theirs-leftovers-3" / "data" / "train-00000-of-00007.parquet").is_file()


def test_the_plan_says_where_shards_go(tmp_path: Path) -> None:
    """Before anything is done."""
    out = foreign(tmp_path)
    leftover(out)
    plan = plan_mending(out)
    assert f"move data/train-00000-of-00007.parquet to {tmp_path / 'theirs-leftovers'}/data/" in str(plan)
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


def test_a_linked_leftover_stays(tmp_path: Path) -> None:
    """A link may lead nowhere from elsewhere."""
    out = foreign(tmp_path)
    path = leftover(out)
    target = tmp_path / "elsewhere.parquet"
    path.rename(target)
    path.symlink_to("../../elsewhere.parquet")
    assert any("is a link" in what for what in mended(out))
    assert path.is_symlink()


def test_a_card_that_changed_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    """What was shown is what is written, or nothing is."""
    out = foreign(tmp_path)
    plan = plan_mending(out)
    (out / "README.md").write_bytes(b"mine")
    with pytest.raises(WorkspaceError, match="has changed meanwhile"):
        mend(plan)
    assert (out / "README.md").read_bytes() == b"mine"


# -- the command


def command(*arguments: str) -> Result:
    """Run `shardwright validate` in this process, which has no terminal."""
    return CliRunner().invoke(main, ["validate", *arguments, "--workers=1", "--ignore=SW2"])


def broken(folder: Path) -> Path:
    """Return a dataset with a wrong number and a leftover."""
    out = foreign(folder)
    mended(out)
    text = (out / "README.md").read_text(encoding="utf-8")
    (out / "README.md").write_text(text.replace("num_examples: 6", "num_examples: 7"), encoding="utf-8")
    leftover(out)
    return out


def test_fix_asks_first(tmp_path: Path) -> None:
    """Without a terminal nobody can answer: it is only shown."""
    out = broken(tmp_path)
    before = tree(tmp_path)
    result = command(str(out), "--fix")
    assert result.exit_code == 1
    assert "num_examples: 7" in result.stdout
    assert "move data/train-00000-of-00007.parquet to " in result.stdout
    assert "nothing was changed; --yes does it without asking" in result.stdout
    assert tree(tmp_path) == before


def test_fix_with_yes_mends_and_proves(tmp_path: Path) -> None:
    """The exit code is that of what lies there then; a second time there is nothing to do."""
    out = broken(tmp_path)
    assert command(str(out)).exit_code == 1
    result = command(str(out), "--fix", "--yes")
    assert result.exit_code == 0, result.output
    assert "+    - {name: train, num_bytes: " in result.stdout
    assert "the computed part of the card was written anew" in result.stdout
    assert "1 shards of an earlier count were moved to" in result.stdout
    assert command(str(out)).exit_code == 0
    again = command(str(out), "--fix")
    assert again.exit_code == 0
    assert "nothing was mended" in again.stdout


def test_fix_says_what_is_left(tmp_path: Path) -> None:
    """A shard that is gone cannot be made out of a card."""
    out = broken(tmp_path)
    (out / "data" / "test-00000-of-00001.parquet").write_bytes(b"PAR1")
    result = command(str(out), "--fix", "--yes")
    assert result.exit_code == 1
    assert "cannot be mended: default/test: its shards are not all there or not all readable" in result.stdout
    assert "SW301" in result.stdout


def test_fix_as_json(tmp_path: Path) -> None:
    """The plan goes beside the report, so that programs can read it."""
    out = broken(tmp_path)
    shown = command(str(out), "--fix", "--json")
    assert (shown.exit_code, json.loads(shown.stdout)["mended"]) == (1, False)
    done = command(str(out), "--fix", "--yes", "--json")
    assert (done.exit_code, json.loads(done.stdout)["ok"]) == (0, True)
    assert "num_examples: 7" in done.stderr


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1)])
def test_fix_on_a_terminal(answer: str, code: int, tmp_path: Path) -> None:
    """It asks, and does what it is told."""
    out = broken(tmp_path)
    before = tree(out)
    ours, theirs = pty.openpty()
    arguments = [sys.executable, "-m", "pipeline", "validate", str(out), "--fix", "--workers=1", "--ignore=SW2"]
    with subprocess.Popen(arguments, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=subprocess.STDOUT) as process:
        os.close(theirs)
        os.write(ours, f"{answer}\n".encode())
        said = b""
        with contextlib.suppress(OSError):  # how the end of a terminal is told
            while data := os.read(ours, 4_096):
                said += data
    os.close(ours)
    assert b"Write this? [y/N]: " in said
    assert process.returncode == code
    assert (tree(out) == before) == (answer == "n")


def test_fix_mends_folders_only(tmp_path: Path) -> None:
    """A recipe's dataset is built again."""
    result = command(str(ROOT / "recipes" / "sample.yaml"), "--fix", "--yes", f"--out={tmp_path}")
    assert result.exit_code == 2
    assert "--fix mends a dataset folder" in result.stderr


# -- the splice


def in_flow(value: Any) -> str:
    """Write a value on one line."""
    return str(yaml.safe_dump([value], sort_keys=False, default_flow_style=True, width=1 << 30))[1:-2]


LAYOUTS: dict[str, Callable[[Any], str]] = {
    "block": lambda value: str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True)),
    "flow inside": lambda value: "".join(f"{key}: {in_flow(item)}  # {key}\n" for key, item in value.items()),
    "wide": lambda value: str(yaml.safe_dump(value, sort_keys=False, indent=4, width=20)),
}
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet="ab: #-'\n\u00e4", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=8,
)
mappings = st.dictionaries(st.sampled_from("klmno"), plain, min_size=1, max_size=4)


@settings(max_examples=300, deadline=None)
@given(before=mappings, after=mappings, layout=st.sampled_from(sorted(LAYOUTS)))
def test_spliced_values_are_read_back(before: dict[str, Any], after: dict[str, Any], layout: str) -> None:
    """Any values can be put in place of any others, and the keys that are not named stay to the byte."""
    kept = "keep: [1,   2]   # spaces\n"
    text = f"# above\n{kept}{LAYOUTS[layout](before)}# below\n"
    result = with_values(text, after)
    assert same(yaml.safe_load(result), {"keep": [1, 2], **before, **after})
    assert result.startswith(f"# above\n{kept}")
    if same({**before, **after}, before):
        assert result == text


@pytest.mark.parametrize("value", [{"n": 2}, [], 3])
def test_anchors_are_not_torn(value: Any) -> None:
    """A value that stands in two places is not changed in one of them; what is beside it can be changed."""
    text = "a: &x {n: 1}\nb: *x\nc: 1\n"
    with pytest.raises(CannotSplice):
        with_values(text, {"b": value})
    assert with_values(text, {"c": 2}) == text.replace("c: 1", "c: 2")


@pytest.mark.parametrize("text", ["[1]", "{a: 1}", "text", "a: [", "? [x]\n: 1\na: 1"])
def test_other_documents_are_not_spliced(text: str) -> None:
    """Only keys with values on lines of their own; a mapping with odd keys is no such."""
    with pytest.raises(CannotSplice):
        with_values(text, {"a": 2})
