"""Recaption: a build in which a model writes the texts, goes on where it was, and says which model it was."""

# ruff: noqa: F811  fixtures of another file, which tests name as their arguments

from __future__ import annotations

import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.errors import RecipeError, RowRejected, ShardwrightError
from pipeline.report import Quiet
from pipeline.run import Folders, build_dataset
from pipeline.stages.curation import recaption as step
from pipeline.stages.curation.recaption import CaptionSettings, Question
from tests.project import MEDIA, tree
from tests.train.test_download import hf  # noqa: F401
from tests.train.tiny_blip2 import make_tiny_blip2
from train import recaption
from train.evaluation.blip2 import Blip2
from train.example import TrainError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.network.hf_double import HuggingFaceDouble
    from tests.project import Project

ROWS = 7
CONFIG = {"configs": {"default": {"splits": {"train": {"files": "*.jsonl"}}, "split_by": {"group": "none"}}}}
TEXT = {"type": "string", "nullable": True}
COLUMNS = {"id": "int64", "text": "string", "image": "image", "first_text": TEXT, "captioned_by": TEXT}
ASKED = {"column": "text", "image": "image", "max_new_tokens": 6, "batch": 3, "device": "cpu"}
PROMPT = "Describe the picture."


@pytest.fixture(scope="session")
def blip2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of a tiny BLIP-2; not to be written to."""
    return make_tiny_blip2(tmp_path_factory.mktemp("tiny") / "blip2")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Give how many questions each batch had that a model was asked."""
    batches: list[int] = []
    for kind in (recaption._ChatCaptioner, recaption._Blip2Captioner):
        captions = kind.captions

        def counted(self: Any, questions: Any, captions: Any = captions) -> Any:
            batches.append(len(questions))
            return captions(self, questions)

        monkeypatch.setattr(kind, "captions", counted)
    return batches


def pictures(project: Project, count: int = ROWS) -> list[str]:
    """Write pictures that look quite different; returns their paths in the source."""
    (project.source / "images").mkdir(exist_ok=True)
    draw = np.random.default_rng(1)
    for number in range(count):
        pixels = draw.integers(0, 256, (4 + number, 5, 3), dtype=np.uint8)
        picture = Image.fromarray(pixels).resize((50, 40 + 5 * number), Image.Resampling.NEAREST)
        picture.save(project.source / "images" / f"{number}.png")
    return [f"images/{number}.png" for number in range(count)]


def written(project: Project, model: Path, **more: Any) -> list[dict[str, Any]]:
    """Write a project in which a model writes the texts; returns its raw rows."""
    rows = [{"id": n, "text": f"old {n}", "image": path} for n, path in enumerate(pictures(project))]
    project.rows("rows.jsonl", rows)
    asks = {"model": str(model), **ASKED, **more}
    project.write(CONFIG | {"curate": [{"recaption": asks}]}, COLUMNS)
    return rows


def texts(project: Project) -> list[str]:
    """Return the texts of the result."""
    return list(project.split("train").column("text").to_pylist())


@pytest.mark.parametrize("kind", ["smolvlm", "blip2"])
def test_a_model_writes_the_texts(
    project: Project, tiny: Callable[[str], Path], blip2: Path, asked: list[int], kind: str
) -> None:
    """New texts are in the shards, old ones where it says, the model beside them; and nothing is asked twice."""
    model = blip2 if kind == "blip2" else tiny("smolvlm")
    rows = written(project, model, keep="first_text", by="captioned_by", prompt=PROMPT)
    report = project.build()
    found = project.split("train").to_pylist()
    assert [row["first_text"] for row in found] == [row["text"] for row in rows]
    assert not {row["text"] for row in found} & {row["text"] for row in rows}
    assert len({row["text"] for row in found}) > ROWS // 2
    (by,) = {row["captioned_by"] for row in found}
    assert by.startswith(f"{model.name}@")
    assert str(model) not in json.dumps(json.loads((project.work / "manifest.json").read_bytes()))
    assert asked == [3, 3, 1]
    (note,) = [note for stage in report.stages for note in stage.notes]
    assert f"{ROWS:,} of text" in note

    before = tree(project.out)
    again = project.build()
    assert all(stage.skipped for stage in again.stages if stage.stage != "download")
    # the model by another path is the same model, and what it said is known
    elsewhere = project.root / "elsewhere" / model.name
    shutil.copytree(model, elsewhere)
    written(project, Path("../elsewhere") / model.name, keep="first_text", by="captioned_by", prompt=PROMPT, batch=2)
    project.build(workers=2)
    assert tree(project.out) == before
    assert len(asked) == 3


def test_one_by_one_it_says_the_same(project: Project, tiny: Callable[[str], Path], blip2: Path) -> None:
    """Batches of any size, and prompts of any length beside each other, give the same texts."""
    settings = CaptionSettings(max_new_tokens=5, frames=2, longest_side=None, dtype="auto", device="cpu")
    questions = [
        Question(prompt="What is it? " * number + PROMPT, media=(("image", str(project.source / path)),))
        for number, path in enumerate(pictures(project, 4))
    ]
    for model in (tiny("smolvlm"), blip2):
        with recaption.opened_captioner(model, settings) as captioner:
            alone = [captioner.captions([question])[0] for question in questions]
            assert captioner.captions(questions) == alone
            assert len(set(alone)) > 1


def test_it_goes_on_where_it_was_interrupted(
    project: Project, blip2: Path, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was said before an interruption is not asked again, and the result is that of one go."""
    written(project, blip2, batch=2)
    project.build()
    whole = tree(project.out)
    shutil.rmtree(project.work)
    del asked[:]
    captions = recaption._Blip2Captioner.captions

    def interrupted(self: Any, questions: Any) -> Any:
        if len(asked) == 2:
            raise KeyboardInterrupt
        return captions(self, questions)

    with monkeypatch.context() as patch:
        patch.setattr(recaption._Blip2Captioner, "captions", interrupted)
        with pytest.raises(KeyboardInterrupt):
            project.build()
    assert asked == [2, 2]
    project.build()
    assert asked == [2, 2, 2, 1]
    assert tree(project.out) == whole


@pytest.mark.slow
def test_a_killed_build_loses_a_batch(project: Project, blip2: Path) -> None:
    """A process that is killed while the model answers leaves what was said before."""
    written(project, blip2, batch=2)
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from pipeline.stages.curation import recaption\n"
        "from tests.project import Project\n"
        "note = recaption._Journal.note\n"
        "said = []\n"
        "def noted(self, answers):\n"
        "    if len(said) == 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    said.append(note(self, answers))\n"
        "recaption._Journal.note = noted\n"
        "Project(Path(sys.argv[1])).build()\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script, project.root], cwd=root, timeout=200, check=False)
    assert done.returncode == -signal.SIGKILL
    with sqlite3.connect(project.work / "captions.sqlite") as journal:
        assert journal.execute("SELECT count(*) FROM captions").fetchone() == (4,)
    project.build()
    after = tree(project.out)
    shutil.rmtree(project.work)
    project.build()
    assert tree(project.out) == after


def test_rows_are_chosen_and_replaced(project: Project, blip2: Path, asked: list[int]) -> None:
    """Only rows of which the condition is true are captioned, in the words of the template; the old text is gone."""
    written(project, blip2, where="id % 2 == 1", by="captioned_by", write="<image> {{ caption }} ({{ id }})")
    project.build(upto="shard")
    found = project.split("train").to_pylist()
    assert all(row["text"].startswith("<image> ") and row["text"].endswith(f" ({row['id']})") for row in found[1::2])
    assert [row["text"] == f"old {row['id']}" for row in found] == [True, False, True, False, True, False, True]
    assert [row["captioned_by"] is None for row in found] == [True, False, True, False, True, False, True]
    assert [row["first_text"] for row in found] == [None] * ROWS
    assert asked == [3]


def test_the_same_picture_is_asked_once(project: Project, blip2: Path, asked: list[int]) -> None:
    """Rows with the same media and prompt share what was said, and one without media keeps its text."""
    (path,) = pictures(project, 1)
    rows = [{"id": n, "text": "old", "image": path if n else None} for n in range(5)]
    project.rows("rows.jsonl", rows)
    curate = [{"recaption": {"model": str(blip2), **ASKED}}]
    project.write(CONFIG | {"curate": curate}, COLUMNS | {"image": {"type": "image", "nullable": True}})
    project.build(upto="shard")
    first, *others = texts(project)
    assert (first, len(set(others)), asked) == ("old", 1, [1])


def test_what_cannot_be_shown_is_a_reject(project: Project, blip2: Path) -> None:
    """A picture that does not decode costs its row, by name; the others of its batch are captioned."""
    rows = written(project, blip2)
    data = (project.source / rows[1]["image"]).read_bytes()
    (project.source / rows[1]["image"]).write_bytes(data[: len(data) // 2])
    recipe = CONFIG | {"curate": [{"recaption": {"model": str(blip2), **ASKED}}], "media": {"image": {"probe": "none"}}}
    project.write(recipe, COLUMNS)
    project.build(upto="shard")
    assert [row["id"] for row in project.split("train").to_pylist()] == [0, 2, 3, 4, 5, 6]
    (row,) = project.rejected()
    assert (row["stage"], row["reason"], row["line"]) == ("curate", "media.decode", 2)
    assert row["message"].startswith("image: ")


@pytest.mark.parametrize(("empty", "left"), [("reject", []), ("keep", [f"old {n}" for n in range(ROWS)])])
def test_silence(project: Project, blip2: Path, monkeypatch: pytest.MonkeyPatch, empty: str, left: list[str]) -> None:
    """Where a model says nothing, the row is left out, or keeps its text."""
    monkeypatch.setattr(Blip2, "captions", lambda _, images, *__, **___: ["" for _ in images])
    monkeypatch.setattr(step, "CHUNK_ROWS", 2)
    written(project, blip2, empty=empty)
    if left:
        project.build(upto="shard")
        assert texts(project) == left
        return
    with pytest.raises(ShardwrightError, match="would be empty"):
        project.build()
    assert {row["reason"] for row in project.rejected()} == {"curate.recaption.empty"}


def test_videos(project: Project, tiny: Callable[[str], Path], blip2: Path) -> None:
    """A family that looks at videos is shown frames of them; BLIP-2 says that it does not."""
    shutil.copy(MEDIA / "video_0.mov", project.source)
    project.rows("rows.jsonl", [{"id": 1, "text": "old", "clip": "video_0.mov"}])
    columns = {"id": "int64", "text": "string", "clip": "video"}
    asks = {**ASKED, "video": "clip", "frames": 3, "longest_side": 32, "prompt": PROMPT}
    del asks["image"]
    project.write(CONFIG | {"curate": [{"recaption": {"model": str(tiny("smolvlm")), **asks}}]}, columns)
    project.build(upto="shard")
    assert texts(project) != ["old"]
    project.write(CONFIG | {"curate": [{"recaption": {"model": str(blip2), **asks}}]}, columns)
    with pytest.raises(TrainError, match="BLIP-2 looks at images"):
        project.build(upto="curate")


def test_mistakes_are_named(project: Project, tiny: Callable[[str], Path], blip2: Path, tmp_path: Path) -> None:
    """What cannot be is said before any work: in the recipe with its line, of the model with its name."""
    wrong = {
        "column": "txt",
        "keep": "id",
        "by": "text",
        "image": "text",
        "where": "idd > 1",
        "prompt": "{{ tex }}",
        "write": "{{ captio }}",
    }
    written(project, blip2, **wrong)
    with pytest.raises(RecipeError) as caught:
        project.build()
    assert [(mistake.key.rpartition(".")[2], mistake.message) for mistake in caught.value.mistakes] == [
        ("column", "unknown column 'txt'"),
        ("image", "'text' is no image column"),
        ("keep", "the column 'id' holds no text"),
        ("by", "the column 'text' may not be null, and rows without a caption have nothing there"),
        ("where", "unknown column 'idd'"),
        ("prompt", "unknown column 'tex'"),
        ("write", "unknown column 'captio'"),
    ]
    written(project, tiny("smolvlm"))
    with pytest.raises(TrainError, match=r"is asked something\n  next: write a `prompt`"):
        project.build()
    written(project, Path("owner"))
    with pytest.raises(TrainError, match="there is no model 'owner'"):
        project.build()
    (tmp_path / "no_model").mkdir()
    written(project, tmp_path / "no_model")
    with pytest.raises(TrainError, match="is no model"):
        project.build()


@pytest.mark.slow
def test_without_training_installed(project: Project, blip2: Path) -> None:
    """Where torch is missing, it is said what to install."""
    written(project, blip2)
    script = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from tests.project import Project\n"
        "Project(Path(sys.argv[1])).build()\n"
    )
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", script, project.root]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=100, check=False)
    assert "`recaption` needs what training needs, and torch is not installed" in done.stderr
    assert "pip install 'shardwright[train]'" in done.stderr


def test_blip2_of_before_the_image_token(tmp_path: Path, blip2: Path) -> None:
    """Checkpoints whose config names no token for the image say what newer ones say."""
    old = tmp_path / "old"
    shutil.copytree(blip2, old)
    config = json.loads((old / "config.json").read_bytes())
    config["image_token_index"] = None
    (old / "config.json").write_text(json.dumps(config), encoding="utf-8")
    processor = json.loads((old / "processor_config.json").read_bytes())
    del processor["num_query_tokens"]
    (old / "processor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    picture = np.random.default_rng(2).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    said = [
        Blip2(folder, dtype="float32", device="cpu").captions([picture] * 2, prompts, max_new_tokens=5)
        for folder in (blip2, old)
        for prompts in (None, ["What is it?", PROMPT])
    ]
    assert said[:2] == said[2:]
    assert said[0][0] == said[0][1]


def test_archive_members_are_shown(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """A medium that lies in an archive as it is, is shown from there."""
    video, picture = (MEDIA / "video_0.mov").read_bytes(), (MEDIA / "hopper_gray.jpg").read_bytes()
    archive = tmp_path / "media.tar"
    archive.write_bytes(b"x" * 7 + video + picture)
    settings = CaptionSettings(max_new_tokens=4, frames=2, longest_side=32, dtype="auto", device="cpu")
    places = [
        [("video", str(MEDIA / "video_0.mov")), ("video", f"7+{len(video)}:{archive}")],
        [("image", str(MEDIA / "hopper_gray.jpg")), ("image", f"{7 + len(video)}+{len(picture)}:{archive}")],
    ]
    with recaption.opened_captioner(tiny("smolvlm"), settings) as captioner:
        for kind in places:
            one, other = captioner.captions([Question(prompt=PROMPT, media=(place,)) for place in kind])
            assert one == other
        broken, _ = captioner.captions(
            [
                Question(prompt=PROMPT, media=(("image", f"0+50:{archive}"),)),
                Question(prompt=PROMPT, media=(places[1][0],)),
            ]
        )
    assert isinstance(broken, RowRejected)


def test_a_model_of_a_hub_is_fetched_once(project: Project, blip2: Path, hf: HuggingFaceDouble) -> None:
    """It is brought before the first row; a commit of it that is there needs no network, and is named in the rows."""
    files = {path.name: path.read_bytes() for path in blip2.iterdir()}
    commit = hf.repo("alice/blip2", files, kind="model").branches["main"]
    written(project, Path("alice/blip2"), by="captioned_by", where="id < 2", revision=commit)
    project.build(upto="shard")
    assert {row["captioned_by"] for row in project.split("train").to_pylist()} == {None, f"alice/blip2@{commit}"}
    fetched = len(hf.asked(""))
    shutil.rmtree(project.work)
    project.build(upto="shard", offline=True)
    assert len(hf.asked("")) == fetched


@pytest.mark.slow
def test_the_example_of_better_synth(tmp_path: Path, blip2: Path) -> None:
    """What the sample of the challenge says in comments of recaptioning builds when it is no comment any more."""
    root = Path(__file__).parents[2]
    for folder in ("recipes", "schemas", "dataset_cards", "samples/better_synth"):
        shutil.copytree(root / folder, tmp_path / folder)
    recipe = tmp_path / "recipes" / "better_synth_sample.yaml"
    lines = recipe.read_text(encoding="utf-8").splitlines()
    first = next(number for number, line in enumerate(lines) if "- recaption" in line)
    lines[first : first + 5] = [line.replace("# ", "", 1) for line in lines[first : first + 5]]
    text = "\n".join(lines).replace("Salesforce/blip2-opt-2.7b", str(blip2))
    recipe.write_text(text, encoding="utf-8")
    folders = Folders(work=tmp_path / "work", out=tmp_path / "out", cache=tmp_path / "cache")
    report = build_dataset(recipe, folders, workers=1, display=Quiet(), upto="validate")
    changed = pq.read_table(tmp_path / "work" / "better_synth_sample" / "changed.parquet").to_pylist()
    assert len(changed) == report.rows_in
    assert all(re.fullmatch(r"<__dj__image> .* <\|__dj__eoc\|>", row["after"], re.DOTALL) for row in changed)
