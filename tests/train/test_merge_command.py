"""From a run to what others load: merged and proved, asked from the command line, published with its card."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.document import read_document
from pipeline.media.bounded import BoundedProcesses
from tests.project import MEDIA
from tests.publish.hf_place import kept_alone, open_place
from tests.train.taught_run import CLIPS, PICTURES, QUESTION
from train.chat_command import Talk
from train.evaluation.asked_model import Device, asked_model, opened
from train.evaluation.generate import answers_to
from train.evaluation.media_file import decoded, looked_at, media_file, shown_by
from train.example import Example, RowRef, Turn
from train.models import merge as merging

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

    from tests.publish.hf_place import Place

ROOT = Path(__file__).parents[2]
BASE = "someone/tiny-video-model"
SUIT, RABBIT = MEDIA / "hopper_gray.jpg", MEDIA / "bitmap.mp4"


def command(*arguments: object, lines: str | None = None) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(main, [*map(str, arguments)], input=lines)


@pytest.fixture
def run(taught: Path, tmp_path: Path) -> Path:
    """Give a run of its own to a test."""
    return Path(shutil.copytree(taught, tmp_path / "runs" / "clips"))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Give a double of the hub, to which the client is led."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for _ in kept_alone(tmp_path, monkeypatch):
        yield from open_place(tmp_path, monkeypatch, xet=False)


def said_of(model: Path, medium: Path) -> str:
    """Return what a model says of a file, by the way of Python."""
    asked = asked_model(str(model))
    with BoundedProcesses(1) as decoders:
        ((file, record),) = looked_at([media_file(medium)], decoders)
    turn = Turn(role="user", parts=(decoded(file, record, shown_by(asked.run, {})), QUESTION))
    prompt = asked.family.prompt(asked.processor, Example(row=RowRef(number=0, shard="", row=0), turns=(turn,)))
    with opened(asked, Device("cpu", "float32")) as loaded:
        (answer,) = answers_to(loaded, asked.processor, asked.family, [prompt], max_new_tokens=40)
    return answer.text


def test_merged_and_published(run: Path, taught: Path, hub: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adapters are merged on the run's rows, pushed to a hub with a card, and say what they learnt from there."""
    cache = taught.parent / "cache"
    merged = command("merge", run, "--cache", cache, "--device", "cpu")
    assert merged.exit_code == 0, merged.output
    assert "the names of the base model's and no other, float32" in merged.output
    found = re.findall(r"(merged|written) +logits differ by at most (\S+), of up to", merged.output)
    assert [name for name, _ in found] == ["merged", "written"]
    assert all(float(number) < 1e-3 for _, number in found)
    assert "loaded by a fresh process as float32, every weight to the bit" in merged.output
    assert command("evaluate", run, "--cache", cache, "--device", "cpu").exit_code == 0

    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    target = ["--to", "huggingface:alice/clips-model", "--cache", cache]
    refused = command("publish", run / "merged", *target)
    assert refused.exit_code == 2
    assert "--base-id owner/name" in refused.output
    named = ["--base-id", BASE, "--dataset-id", "huggingface:alice/clips", "--license", "apache-2.0"]
    planned = command("publish", run / "merged", *target, *named)
    assert planned.exit_code == 0, planned.output
    assert "nothing was pushed; --yes does it" in planned.output
    assert not hub.hub.repos
    pushed = command("publish", run / "merged", *target, *named, "--yes")
    assert pushed.exit_code == 0, pushed.output
    assert "proved: the card was read back" in pushed.output

    from huggingface_hub import snapshot_download

    there = Path(snapshot_download("alice/clips-model", endpoint=hub.hub.endpoint, cache_dir=run.parent / "hub"))
    card = read_card(there / "README.md")
    assert card["base_model"] == BASE
    assert card["base_model_relation"] == "finetune"
    assert card["datasets"] == ["alice/clips"]
    metrics = {one["type"]: one["value"] for one in card["model-index"][0]["results"][0]["metrics"]}
    assert metrics["exact_match"] == 1.0
    text = (there / "README.md").read_text(encoding="utf-8")
    assert "the scores are of the adapters, before they were merged" in text
    assert "| exact match | 0.0 % | 100.0 % | +100.0 % |" in text
    assert re.search(r"repo = .alice/clips-model", text)
    for path in there.iterdir():
        assert str(run.parents[1]).encode() not in path.read_bytes(), path.name
    assert said_of(there, SUIT) == PICTURES[SUIT.name]
    again = command("publish", run / "merged", *target, *named, "--yes")
    assert "nothing to push" in again.output


def read_card(path: Path) -> dict[str, Any]:
    """Return the front matter of a card."""
    front = path.read_text(encoding="utf-8").split("---\n")[1]
    path = path.with_name("front.yaml")
    path.write_text(front, encoding="utf-8")
    value: dict[str, Any] = read_document(path).value
    path.unlink()
    return value


def test_adapters_are_published_beside_their_base(run: Path, taught: Path, tmp_path: Path) -> None:
    """Adapters go without what belongs to the training, and name their base as others do; people's words are kept."""
    card = tmp_path / "card.md"
    card.write_text("---\nlicense: mit\nlanguage: [en]\n---\n# Clips\n\nMade by hand.\n", encoding="utf-8")
    place = tmp_path / "place"
    told = ["--to", f"folder:{place}", "--cache", taught.parent / "cache", "--base-id", f"{BASE}@main", "--card", card]
    before = {path.name: path.read_bytes() for path in (run / "best").iterdir()}
    done = command("publish", run, *told, "--yes")
    assert done.exit_code == 0, done.output
    adapters = json.loads((place / "adapter_config.json").read_text(encoding="utf-8"))
    assert (adapters["base_model_name_or_path"], adapters["revision"]) == (BASE, "main")
    assert not {"optimizer.pt", "trainer_state.json"} & {path.name for path in place.iterdir()}
    text = (place / "README.md").read_text(encoding="utf-8")
    assert "# Clips\n\nMade by hand.\n" in text
    assert "| LoRA r | 16 |" in text
    assert "| trained parameters | 32,768 of 209,760 (15.62%) |" in text
    assert "Its answers were not scored." in text
    assert read_card(place / "README.md")["base_model_relation"] == "adapter"
    assert {path.name: path.read_bytes() for path in (run / "best").iterdir()} == before
    without = command("publish", run, *told[:-2])
    assert without.exit_code == 1
    assert "it names no licence" in without.output
    other = command("publish", taught.parents[1] / "out" / "demo", "--to", f"folder:{place}", "--base-id", BASE)
    assert other.exit_code == 2
    assert "--base-id goes with a run's folder" in other.output


def test_adapters_of_no_run(run: Path, taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adapters that came without their run are merged on rows that are named; a base that is not here is told of."""
    adapters = tmp_path / "adapters"
    shutil.copytree(run / "best", adapters)
    rows = ["--data", taught.parents[1] / "out" / "demo", "--schema", taught.parents[1] / "schemas" / "demo.yaml"]
    given: list[Any] = []
    monkeypatch.setattr(merging, "_proved", lambda *told: given.append(told) or merging.Difference(0.0, 0.0, 1.0, 1.0))
    nothing = command("merge", adapters, "--cache", tmp_path)
    assert nothing.exit_code == 2
    assert "--data FOLDER" in nothing.output
    done = command("merge", adapters, *rows, "--cache", tmp_path, "--json", "--rows", 2, "--device", "cpu")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["folder"] == str(tmp_path / "adapters-merged")
    assert report["merged"]["largest"] < 1e-3
    assert len(given[0][2]) == 2
    twice = command("merge", adapters, *rows, "--cache", tmp_path)
    assert twice.exit_code == 3
    assert "is there already" in twice.output
    whole = command("merge", tmp_path / "adapters-merged", *rows, "--cache", tmp_path)
    assert "is a whole model: there is nothing to merge" in whole.output

    told = json.loads((adapters / "adapter_config.json").read_text(encoding="utf-8"))
    told |= {"base_model_name_or_path": BASE, "revision": "0123abc"}
    (adapters / "adapter_config.json").write_text(json.dumps(told), encoding="utf-8")
    gone = command("merge", adapters, *rows, "--cache", tmp_path, "--out", tmp_path / "elsewhere")
    assert gone.exit_code == 3
    assert f"hf download {BASE} --revision 0123abc" in gone.output
    assert not (tmp_path / "elsewhere").exists()


def test_another_base_is_refused(run: Path, tmp_path: Path) -> None:
    """Adapters are not put beside a model that is another one than the run began with."""
    told = json.loads((run / "run.json").read_text(encoding="utf-8"))
    told["same"] = {"model": "0" * 64}
    (run / "run.json").write_text(json.dumps(told), encoding="utf-8")
    done = command("merge", run, "--cache", tmp_path)
    assert done.exit_code == 3
    assert "is not the one that clips began with" in done.output


def test_generate(run: Path, tmp_path: Path) -> None:
    """Files and folders are answered in order; what fails is named, and the rest goes on."""
    one = command("generate", run, SUIT, "--prompt", QUESTION, "--device", "cpu")
    assert one.exit_code == 0, one.output
    assert one.output == f"{PICTURES[SUIT.name]}\n"
    folder = tmp_path / "media"
    (folder / ".hidden").mkdir(parents=True)
    (folder / "below").mkdir()
    for source, name in ((SUIT, "a.jpg"), (MEDIA / "broken.png", "b.png"), (RABBIT, "below/c.mp4")):
        shutil.copy(source, folder / name)
    shutil.copy(SUIT, folder / ".hidden" / "d.jpg")
    (folder / "notes.txt").write_text("none of both", encoding="utf-8")
    done = command("generate", run, folder, "--prompt", QUESTION, "--device", "cpu", "--batch", 4)
    assert done.exit_code == 1
    said = [f"{folder / 'a.jpg'}\t{PICTURES[SUIT.name]}", f"{folder / 'below/c.mp4'}\t{CLIPS[RABBIT.name]}"]
    assert done.stdout.splitlines() == said
    assert re.fullmatch(rf"error: {folder}/b\.png: .* \(media\.decode\)\n", done.stderr)
    plain = command("generate", run, folder, "--prompt", QUESTION, "--device", "cpu", "--json")
    lines = [json.loads(line) for line in plain.stdout.splitlines()]
    assert [Path(line["file"]).name for line in lines] == ["a.jpg", "b.png", "c.mp4"]
    assert lines[1]["code"] == "media.decode"
    assert lines[2]["text"] == CLIPS[RABBIT.name]
    mistake = command("generate", run, folder / "notes.txt", "--prompt", QUESTION)
    assert mistake.exit_code == 2
    assert "does not tell whether it is a picture or a video" in mistake.output
    other = command("generate", run, SUIT, "--prompt", "<image>?", "--device", "cpu")
    assert other.exit_code == 1
    assert "train.placeholder" in other.output


def test_chat_over_a_pipe(run: Path) -> None:
    """Lines of a pipe are questions and commands; answers come back, and the end of the lines is the end."""
    lines = [
        f"/image {SUIT}",
        QUESTION,
        "/clear",
        f"/video '{RABBIT}'",
        "",
        QUESTION,
        "/image none.png",
        "/nothing",
        f"/image {SUIT}",
        "Both?",
        "/clear",
        f"/video {MEDIA / 'h265_video.mp4'}",
        QUESTION,
        "/quit",
        "Never asked",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "chat", str(run), "--device", "cpu"],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if not line.startswith(("(", "/"))]
    assert said[0] == PICTURES[SUIT.name]
    assert said[1] == CLIPS[RABBIT.name]
    assert said[2] == "error: there is no file none.png"
    assert "error: there is no command /nothing" in said
    assert any("(train.mixed)" in line for line in said)
    assert said[-1] == CLIPS["h265_video.mp4"]
    assert done.stderr == ""


def test_what_was_said_is_kept(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second question is asked with the first and its answer before it; --image is shown with the first."""
    import train.evaluation.generate as generating

    prompts: list[str] = []
    asking = generating.answers_to

    def heard(model: Any, processor: Any, family: Any, given: Any, **options: Any) -> Any:
        prompts.append(processor.tokenizer.decode(given[0].input_ids))
        return asking(model, processor, family, given, **options)

    monkeypatch.setattr(generating, "answers_to", heard)
    done = command("chat", run, "--image", SUIT, "--device", "cpu", lines=f"{QUESTION}\nIs it true?\n")
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"{PICTURES[SUIT.name]}\n")
    assert PICTURES[SUIT.name] in prompts[1]
    assert prompts[1].index(QUESTION) < prompts[1].index(PICTURES[SUIT.name]) < prompts[1].index("Is it true?")
    assert [text.count("<global-img>") for text in prompts] == [1, 1]
    missing = command("chat", run, "--video", "none.mp4", lines="")
    assert missing.exit_code == 2
    assert "there is no file none.mp4" in missing.output


def test_ctrl_c_ends_an_answer(run: Path) -> None:
    """Ctrl-C ends the answer that comes and not the conversation, which goes on with what was said by then."""
    pieces: list[str] = []

    def say(text: str) -> None:
        pieces.append(text)
        if len(pieces) == 3:
            signal.raise_signal(signal.SIGINT)

    asked = asked_model(str(run))
    with BoundedProcesses(1) as decoders, opened(asked, Device("cpu", "float32")) as loaded:
        talk = Talk(asked, shown_by(asked.run, {}), decoders, system="", max_new_tokens=40, say=say)
        talk.show("image", str(SUIT))
        assert talk.heard(QUESTION, loaded)
        said = str(talk.turns[-1].parts[0])
        assert 0 < len(said) < len(PICTURES[SUIT.name])
        assert PICTURES[SUIT.name].startswith(said)
        assert pieces[-1] == " (cut off)\n"
        assert talk.heard("/clear", loaded)
        assert talk.turns == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
