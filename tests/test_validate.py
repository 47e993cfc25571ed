"""Validate: an untouched dataset is clean, and each kind of damage is found by the code meant for it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.checks.options import Options
from pipeline.errors import ProblemsFound
from pipeline.validation import validate
from tests.project import Project

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

QUICK = Options(look="quick")
COLUMNS = {"image": "image", "text": "string", "label": {"class_label": ["a", "b"]}}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Give a project with two configs, built and proved."""
    project = Project(tmp_path_factory.mktemp("validate"))
    names = project.pictures(12)
    project.rows("rows.jsonl", [{"image": name, "text": name, "label": "ab"[n % 2]} for n, name in enumerate(names)])
    config = {"rows": {"files": "rows.jsonl"}, "splits": {"train": 0.75, "test": 0.25}}
    recipe = {"configs": {"real": config, "other": config}, "shards": {"max_bytes": "400B"}}
    project.write(recipe, COLUMNS)
    project.build(upto="validate")
    return project


def _edit_card(old: str, new: str) -> Callable[[Path], None]:
    def edit(out: Path) -> None:
        card = out / "README.md"
        text = card.read_text(encoding="utf-8")
        assert old in text, text
        card.write_text(text.replace(old, new, 1), encoding="utf-8")

    return edit


def _shards(out: Path, split: str = "train") -> list[Path]:
    return sorted((out / "real").glob(f"{split}-*.parquet"))


def _rewrite(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    def edit(out: Path) -> None:
        path = _shards(out)[0]
        pq.write_table(change(pq.read_table(path)), path)

    return edit


def _flip_byte(out: Path) -> None:
    path = _shards(out)[0]
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(data)


def _other_metadata(table: pa.Table) -> pa.Table:
    info = json.loads(table.schema.metadata[b"huggingface"])
    info["info"]["features"]["label"]["names"] = ["b", "a"]
    return table.replace_schema_metadata({"huggingface": json.dumps(info)})


# damage: how it is done, the code meant for it, and codes that may come with it
MUTATIONS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "the card is gone": (lambda out: (out / "README.md").unlink(), "SW100"),
    "the front matter does not parse": (_edit_card("configs:", "configs: ["), "SW101"),
    "configs are gone": (_edit_card("configs:", "konfigs:"), "SW102 SW105"),
    "dataset_info describes another config": (
        _edit_card("dataset_info:\n- config_name: real", "dataset_info:\n- config_name: reel"),
        "SW102 SW106 SW109",
    ),
    "a config name lost to null": (
        _edit_card("- config_name: real", "- config_name: null"),
        "SW103 SW102 SW105",
    ),
    "a config name with a slash": (
        _edit_card("- config_name: real", "- config_name: re/al"),
        "SW103 SW102 SW106 SW109",
    ),
    "a pattern that matches nothing": (
        _edit_card("real/test-*.parquet", "real/tset-*.parquet"),
        "SW104 SW105 SW106 SW107 SW108 SW111",
    ),
    "a shard in two splits": (
        _edit_card("real/test-*.parquet", "real/t*.parquet"),
        "SW105 SW106 SW107 SW108 SW110",
    ),
    "a hand-edited number of rows": (_edit_card("num_examples: 9", "num_examples: 20"), "SW106"),
    "a number of rows as float": (_edit_card("num_examples: 9", "num_examples: 9.0"), "SW117"),
    "a hand-edited number of bytes": (_edit_card("num_bytes: ", "num_bytes: 1"), "SW107"),
    "a hand-edited download size": (_edit_card("download_size: ", "download_size: 1"), "SW108"),
    "a hand-edited dataset size": (_edit_card("dataset_size: ", "dataset_size: 1"), "SW108"),
    "another type in the card": (_edit_card("dtype: image", "dtype: video"), "SW109"),
    "a column renamed in the card": (_edit_card("name: text", "name: caption"), "SW109"),
    "another size category": (_edit_card("n<1K", "1K<n<10K"), "SW111"),
    "a shard removed": (lambda out: _shards(out)[0].unlink(), "SW110 SW106 SW107 SW108"),
    "a leftover of an earlier shard count": (
        lambda out: shutil.copy(_shards(out)[0], out / "real" / "train-00000-of-00002.parquet"),
        "SW110 SW106 SW107 SW108",
    ),
    "a shard that no split names": (lambda out: shutil.copy(_shards(out)[0], out / "extra.parquet"), "SW105"),
    "a truncated shard": (lambda out: _shards(out)[0].write_bytes(_shards(out)[0].read_bytes()[:-20]), "SW301"),
    "a flipped byte in a page": (_flip_byte, "SW301"),
    "a row removed": (_rewrite(lambda table: table.slice(1)), "SW106 SW107 SW108 SW302"),
    "a column renamed in a shard": (
        _rewrite(lambda table: table.rename_columns(["image", "words", "label"])),
        "SW109 SW108",
    ),
    "labels swapped in a footer": (_rewrite(_other_metadata), "SW109 SW108"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_damage_is_found(name: str, built: Project, tmp_path: Path) -> None:
    """Each kind of damage is found by its code, and by no code that is not about it."""
    mutate, codes = MUTATIONS[name]
    meant, *others = codes.split()
    out = tmp_path / "dataset"
    shutil.copytree(built.out, out)
    mutate(out)
    found = set(validate(out, Options(ignore=("SW4", "SW5", "SW6"))).counts)
    assert meant in found
    assert found <= {meant, *others}


QUICKLY = [
    *("a truncated shard", "a row removed", "a column renamed in a shard", "labels swapped in a footer"),
    *("a shard removed", "a shard that no split names", "another size category"),
]


@pytest.mark.parametrize("name", QUICKLY)
def test_damage_is_found_quickly(name: str, built: Project, tmp_path: Path) -> None:
    """What card and footers can tell is found without a row being read."""
    mutate, codes = MUTATIONS[name]
    out = tmp_path / "dataset"
    shutil.copytree(built.out, out)
    mutate(out)
    found = set(validate(out, QUICK).counts)
    assert found
    assert found <= set(codes.split())


def test_quick_reads_no_row(built: Project, tmp_path: Path) -> None:
    """A flipped byte in a page is not seen quickly, and an untouched folder is clean."""
    out = tmp_path / "dataset"
    shutil.copytree(built.out, out)
    assert not validate(out, QUICK).counts
    _flip_byte(out)
    assert not validate(out, QUICK).counts
    assert validate(out).counts


def test_untouched_is_clean(built: Project, tmp_path: Path) -> None:
    """A copy of a built dataset, in another place and without its workspace, has nothing wrong."""
    shutil.copytree(built.out, tmp_path / "copy")
    assert not validate(tmp_path / "copy").counts


def test_build_behind_the_folder_is_proved(built: Project) -> None:
    """A shard exchanged for another good one, or a reject that vanished, is found against the build."""
    shard = _shards(built.out)[0]
    good = shard.read_bytes()
    other = _shards(built.out)[1].read_bytes()
    rejected = (built.work / "rejected.parquet").read_bytes()
    try:
        shard.write_bytes(other)
        with pytest.raises(ProblemsFound, match="SW803"):
            _prove(built)
        shard.write_bytes(good)
        pq.write_table(pa.Table.from_pylist([{"config": "real", "reason": "made.up"}]), built.work / "rejected.parquet")
        with pytest.raises(ProblemsFound, match="SW801"):
            _prove(built)
    finally:
        shard.write_bytes(good)
        (built.work / "rejected.parquet").write_bytes(rejected)
    _prove(built)


def _prove(project: Project) -> None:
    """Prove the folder against its build, without building anything."""
    from pipeline.build import Build
    from pipeline.checks.against_build import check_rows, check_shards
    from pipeline.checks.report import Report
    from pipeline.executor import InProcess
    from pipeline.load_recipe import load_recipe
    from pipeline.manifest import Manifest
    from pipeline.media.examiners import Examiners
    from pipeline.media.store import MediaStore
    from pipeline.network.limits import FetchLimits
    from pipeline.network.remote_media import RemoteMedia
    from pipeline.report import Quiet
    from pipeline.stages.validate import raise_errors
    from pipeline.workspace import Workspace

    recipe = load_recipe(project.recipe_path)
    workspace = Workspace(work=project.work, out=project.out, cache=project.root / "cache")
    with MediaStore(workspace.cache) as store, Examiners(1) as examiners:
        build = Build(
            recipe=recipe,
            workspace=workspace,
            store=store,
            executor=InProcess(),
            examiners=examiners,
            remote=RemoteMedia(cache=workspace.cache, store=store, examiners=examiners, limits=FetchLimits()),
            display=Quiet(),
            manifest=Manifest.load(workspace.manifest, recipe.name),
        )
        report = Report(target="", look="sampled")
        report.add([*check_rows(build), *check_shards(build)])
        raise_errors(report)


def test_command_line_says_it(built: Project, tmp_path: Path) -> None:
    """The command ends with 0 on a clean folder and with 1 on a damaged one, in words and as JSON."""
    out = tmp_path / "dataset"
    shutil.copytree(built.out, out)
    command = [sys.executable, "-m", "pipeline", "validate", str(out)]
    clean = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (clean.returncode, clean.stderr) == (0, "")
    assert "nothing wrong" in clean.stdout
    _edit_card("num_examples: 9", "num_examples: 20")(out)
    damaged = subprocess.run(command, capture_output=True, text=True, check=False)
    assert damaged.returncode == 1
    assert "the card says num_examples 20, the shards have 9" in damaged.stdout
    quick = subprocess.run([*command, "--quick"], capture_output=True, text=True, check=False)
    assert quick.returncode == 1
    assert "the card says num_examples 20, the shards have 9" in quick.stdout
    as_json = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert as_json.returncode == 1
    assert [problem["code"] for problem in json.loads(as_json.stdout)["problems"]] == ["SW106"]
