"""Trainings of tiny models on eight real rows, through the doors that the command uses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import torch

from pipeline.column_type import MEDIA_STRUCT
from pipeline.document import Document
from pipeline.report import Quiet
from pipeline.run import Folders
from tests.project import MEDIA
from tests.train.datasets_for_tests import write_dataset
from train.batching.collate import collate
from train.models.adapters import read_adapters
from train.models.load import load_model
from train.read_settings import check_settings
from train.runs.dataset_place import dataset_place
from train.runs.machine import this_machine
from train.runs.ready_model import known_model, model_place
from train.runs.run_folder import RunFolder
from train.runs.stage import Stage
from train.runs.stage_data import open_splits
from train.runs.stage_run import run_stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from train.runs.stage import Outcome
    from train.settings import Settings

ROWS: tuple[tuple[tuple[str, ...], str | None, str, str], ...] = (
    (("hopper_gray.jpg",), None, "What is it?", "A woman at a computer."),
    (("orientation_rectangle.jpg",), None, "What is it?", "A rectangle."),
    (("hopper_orientation_6.jpg", "mode_16bit.png"), None, "Both?", "A face, then grey."),
    ((), "bitmap.mp4", "What happens?", "A picture stands still."),
    ((), "unordered.mov", "What happens?", "A few frames follow."),
    ((), "test_video_66x50.mov", "What happens?", "Somebody cooks."),
    ((), None, "Hi", "Hello."),
    ((), None, "Is it true?", "It is."),
)
"""Images, video, question, answer: single images, several, clips, and text alone."""
CONVERSATION = [
    {"user": [{"image": "images"}, {"video": "video"}, "{{ question }}"]},
    {"assistant": "{{ answer }}"},
]
FEATURES = {"images": {"feature": {"_type": "Image"}, "_type": "List"}, "video": {"_type": "Video"}}


def eight_rows(folder: Path, rows: Sequence[Any] = ROWS, *, shards: int = 2) -> Path:
    """Write a dataset folder with these rows as its split `train`; returns it."""
    medium = MEDIA_STRUCT
    images = [[{"bytes": (MEDIA / name).read_bytes(), "path": name} for name in names] for names, *_ in rows]
    videos = [name and {"bytes": (MEDIA / name).read_bytes(), "path": name} for _, name, *_ in rows]
    table = pa.table(
        {
            "images": pa.array(images, pa.list_(medium)),
            "video": pa.array(videos, medium),
            "question": pa.array([question for *_, question, _ in rows]),
            "answer": pa.array([answer for *_, answer in rows]),
        }
    )
    return write_dataset(folder, table, FEATURES, shards=shards)


def settings_of(model: Path, dataset: Path, **given: Any) -> Settings:
    """Return settings as a file with these keys would give them."""
    data = {"dataset": str(dataset), "conversation": CONVERSATION, "longest_side": 64, "frames": {"count": 4}}
    value = {
        "model": str(model),
        "batching": {"samples": 4},
        "log_every": 1,
        "workers": 0,
        "report_to": [],
        **given,
        "data": {**data, **given.get("data", {})},
    }
    plain = json.loads(json.dumps(value))
    settings, mistakes = check_settings(Document(file="settings", value=plain, lines={(): 1}))
    assert settings is not None, mistakes
    return settings


def stage_of(settings: Settings, folder: Path, cache: Path, say: Callable[[str], None] = lambda _: None) -> Stage:
    """Return a training as the command would put it together, on the processor."""
    machine = this_machine("cpu")
    base = folder.parent
    folders = Folders(work=base / "work", out=base / "out", cache=cache)
    place = dataset_place(
        settings.data, base=base, recipe_path=None, folders=folders, workers=1, display=Quiet(), offline=True
    )
    return Stage(
        title=folder.name,
        settings=settings,
        base=base,
        place=place,
        known=known_model(settings, model_place(settings, base=base, cache=cache, offline=True)),
        folder=RunFolder(folder),
        cache=cache,
        machine=machine,
        display=Quiet(),
        dry_run=False,
        say=say,
    )


def trained(settings: Settings, folder: Path, cache: Path) -> Outcome:
    """Train."""
    return run_stage(stage_of(settings, folder, cache))


def answers(settings: Settings, folder: Path, cache: Path, *, quantise: bool = False) -> list[tuple[str, str]]:
    """Return what a trained model answers greedily to each row, loaded from its checkpoint, and the true answer."""
    stage = stage_of(settings, folder, cache)
    adapters = settings.method in ("lora", "dora", "qlora")
    where = settings.model if adapters else folder / "last"
    model, _, family, _ = load_model(where, quantise=quantise)
    if adapters:
        model = read_adapters(model, folder / "last")
    model.eval()
    processor = stage.known.processor
    (data,) = open_splits(stage.place, settings, base=stage.base, cache=cache, display=Quiet()).values()
    found = []
    for number in range(len(data)):
        example = data.example(number)
        prompt = family.prompt(processor, example)
        inputs = collate([prompt], family, pad_id=processor.tokenizer.pad_token_id)
        del inputs["labels"], inputs["use_cache"]
        with torch.no_grad():
            ids = model.generate(**inputs, max_new_tokens=40, do_sample=False)
        said = processor.tokenizer.decode(ids[0, prompt.length :], skip_special_tokens=True)
        found.append((said.strip(), str(example.turns[-1].parts[0])))
    return found
