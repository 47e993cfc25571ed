"""The house keeps its own rules: imports go one way, help is quick, and the documents say what is there."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

LAYERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "words",
        (
            "errors",
            "printable",
            "document",
            "model_check",
            "load_recipe",
            "load_mix",
            "mix_spec",
            "mixed_recipe",
            "library",
            "recipe_files",
            "template",
            "column_type",
            "labels",
            "conform",
            "single_value",
            "conversation",
            "schema",
            "recipe_spec",
            "curate_spec",
            "check_curate",
            "spec_values",
            "recaption_spec",
            "juicer_spec",
            "card_text",
            "splice_yaml",
            "recipe",
            "tokens",
            "dialects",
        ),
    ),
    (
        "ground",
        (
            "workspace",
            "database",
            "manifest",
            "executor",
            "without_pandas",
            "report",
            "rejects",
            "changed_values",
            "cutting",
            "row_file",
            "recorded_bytes",
            "content_hash",
        ),
    ),
    ("doors", ("sources", "readers", "media", "network")),
    ("build", ("build",)),
    ("stages", ("stages", "samples")),
    ("checks", ("checks", "validation")),
    ("rows", ("rows",)),
    ("publish", ("publish", "exports", "new")),
    (
        "top",
        (
            "run",
            "cli",
            "command_options",
            "arranged_configs",
            "described_shards",
            "card_in_place",
            "mend_card",
            "validate_command",
            "publish_command",
            "new_command",
            "export_command",
            "list_command",
            "__main__",
        ),
    ),
)
"""From the ground up; a module imports its own layer or lower ones. `stages.validate` is the one stage above checks."""

DOORS = {
    "data_juicer": ("pipeline/stages/curation/juicer_driver.py",),
    "av": (
        "pipeline/media/video.py",
        "pipeline/media/opened_video.py",
        "pipeline/media/read_frame_index.py",
        "pipeline/media/decoded_frames.py",
        "pipeline/media/clip_file.py",
        "pipeline/media/clip_sound.py",
        "pipeline/media/copy_packets.py",
        "pipeline/media/encode_frames.py",
        "pipeline/media/sample_frames.py",
        "pipeline/media/standing_still.py",
    ),
    "PIL": ("pipeline/media/image.py",),
    "jinja2": ("pipeline/template.py",),
    "py3langid": ("pipeline/stages/curation/language.py",),
    "aiohttp": ("pipeline/network/fetcher.py", "pipeline/network/transfer.py", "pipeline/network/addresses.py"),
    "huggingface_hub": (
        "pipeline/sources/hub_huggingface.py",
        "pipeline/publish/huggingface.py",
        "pipeline/publish/hf_additions.py",
        "pipeline/publish/hf_client.py",
        "pipeline/publish/hf_commits.py",
        "pipeline/publish/hf_reading.py",
        "pipeline/publish/hf_uploads.py",
    ),
    "modelscope_hub": (
        "pipeline/sources/hub_modelscope.py",
        "pipeline/publish/ms_client.py",
        "pipeline/publish/ms_commit.py",
        "pipeline/publish/ms_transport.py",
    ),
}
"""The doors of foreign libraries."""


def _modules() -> list[Path]:
    return [path for path in sorted((ROOT / "pipeline").rglob("*.py")) if path.name != "__init__.py"]


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def _layer(module: str) -> int:
    """Return the layer of a module below `pipeline`, given as a dotted name without it."""
    first = module.partition(".")[0]
    if module == "stages.validate":
        first = "run"
    return next(number for number, (_, rooms) in enumerate(LAYERS) if first in rooms)


ROOMS = ("families", "feed", "batching", "models", "scoring", "pages", "runs", "evaluation")
"""The rooms of `train`, from the ground up; modules beside them are words that all may use, or commands on top."""


def test_rooms_of_training_build_on_each_other() -> None:
    """No room of `train` imports one that stands above it."""
    for path in sorted((ROOT / "train").rglob("*.py")):
        room = path.relative_to(ROOT / "train").parts[0]
        if room not in ROOMS:
            continue
        for name in _imports(path):
            parts = name.split(".")
            if parts[0] == "train" and len(parts) > 1 and parts[1] in ROOMS:
                assert ROOMS.index(parts[1]) <= ROOMS.index(room), f"{path.relative_to(ROOT)} imports {name}"


def test_imports_go_one_way() -> None:
    """No module imports a higher layer, every module has a layer, and pipeline never imports train."""
    for path in _modules():
        module = ".".join(path.relative_to(ROOT / "pipeline").with_suffix("").parts)
        for name in _imports(path):
            assert name.partition(".")[0] != "train", f"{module} imports {name}"
            if name.startswith("pipeline."):
                imported = name.removeprefix("pipeline.")
                assert _layer(imported) <= _layer(module), f"{module} imports {imported}, which is above it"


def test_each_foreign_library_has_one_door() -> None:
    """Only the door of a foreign library imports it."""
    for path in _modules():
        for name in _imports(path):
            door = DOORS.get(name.partition(".")[0])
            assert door is None or path in [ROOT / one for one in door], f"{path.relative_to(ROOT)} imports {name}"


def test_a_build_loads_no_pandas(tmp_path: Path) -> None:
    """The command and its workers leave pandas out, which takes a quarter of a second to load in each of them."""
    script = (
        "import sys\n"
        "from pipeline import cli, executor\n"
        "def loaded(_): return [name for name in ('pandas', 'datasets') if name in sys.modules]\n"
        "if __name__ == '__main__':\n"
        "    sys.argv[1:] = ['card', sys.argv[1], *(f'--{n}={sys.argv[2]}/{n}' for n in ('work', 'out', 'cache'))]\n"
        "    try: cli.run()\n"
        "    except SystemExit as end: assert not end.code\n"
        "    with executor.LocalProcesses(2) as processes:\n"
        "        print(loaded(0), *processes.map(loaded, [1, 2], work_bytes=1 << 30))\n"
        "    import pandas\n"
    )
    path = tmp_path / "build.py"
    path.write_text(script, encoding="utf-8")
    command = [sys.executable, path, ROOT / "recipes" / "sample.yaml", tmp_path]
    path_of_ours = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=path_of_ours)
    assert done.stdout.splitlines()[-1] == "[] [] []"


def test_help_is_light() -> None:
    """`--help` of every command loads no torch, transformers, av, datasets, pyarrow or pandas."""
    script = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from pipeline.cli import main\n"
        "for command in ('', *main.commands):\n"
        "    result = CliRunner().invoke(main, [*filter(None, [command]), '--help'])\n"
        "    assert result.exit_code == 0, result.output\n"
        "heavy = {'torch', 'transformers', 'av', 'datasets', 'pyarrow', 'pandas', 'numpy', 'pydantic', 'PIL'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_every_command_stands_in_the_readme() -> None:
    """The README names every command and every make target, and no other."""
    from pipeline.cli import main

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `shardwright (\w+)", readme, re.MULTILINE))
    assert named == set(main.commands)
    targets = set(re.findall(r"^(\w+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"`make (\w+)", readme)) >= targets - {"help"}


def test_architecture_map_is_the_tree() -> None:
    """The map in ARCHITECTURE.md names every module of pipeline and train, and nothing that is not there."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `((?:pipeline|train)/[\w/]+\.py)` \|", text, re.MULTILINE))
    there = {
        path.relative_to(ROOT).as_posix() for folder in ("pipeline", "train") for path in (ROOT / folder).rglob("*.py")
    }
    packages = {name for name in there if name.endswith("__init__.py")} - {"train/__init__.py"}
    assert named == there - packages


def test_every_recipe_key_is_documented() -> None:
    """The page on recipes names every key that a recipe may have."""
    from pydantic import BaseModel

    from pipeline import curate_spec, recipe_spec

    text = (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8")
    specs = (recipe_spec, curate_spec)
    for model in [value for spec in specs for value in vars(spec).values()]:
        if isinstance(model, type) and issubclass(model, BaseModel) and model.__module__.startswith("pipeline."):
            for name, field in model.model_fields.items():
                key = field.alias or name
                assert f"`{key}`" in text, f"{model.__name__}.{key} is missing in docs/recipe.md"


def test_no_path_of_a_machine_in_the_repository() -> None:
    """No tracked text holds an absolute path of the machine it was written on."""
    pattern = "(^|[^.a-z/])/(wor" + "k|roo" + "t|hom" + "e)/[a-z]"
    done = subprocess.run(
        ["git", "grep", "-nIE", pattern, "--", "*.py", "*.md", "*.yaml", "Makefile"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""


def test_every_check_is_documented() -> None:
    """The page on checks has a row for every code, with what it means, how bad it is and an example; and no other."""
    from pipeline.checks.codes import CODES

    text = (ROOT / "docs" / "checks.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (SW\d{3}) \| (warning)? ?\| (.*?) \| (quick|sampled|full) \| (.*) \|$", text, re.MULTILINE)
    told = {code: (severity or "error", what, look) for code, severity, what, look, _ in rows}
    assert told == {code: (known.severity, known.what, known.look) for code, known in CODES.items()}
    assert all(len(example) > 10 for *_, example in rows)
