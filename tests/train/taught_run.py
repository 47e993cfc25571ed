"""A run as a training leaves it: a tiny model that knows rows of a real dataset by heart, with adapters or whole."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import torch

from pipeline.report import Quiet
from tests.project import MEDIA, Project
from train.batching.collate import collate
from train.models.load import load_model
from train.models.methods import Method, apply_method
from train.runs.dataset_place import DatasetPlace, open_split
from train.runs.identity import settings_yaml, versions
from train.runs.known_run import places_of
from train.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

CLIPS = {
    "bitmap.mp4": "A drawn rabbit looks up.",
    "h265_video.mp4": "A man talks to the camera.",
    "video_90.mov": "People ride bikes.",
}
PICTURES = {"hopper_gray.jpg": "A woman in a dark suit.", "hopper_orientation_6.webp": "She smiles, in colour."}
QUESTION = "What is shown?"
LORA = {"r": 16, "alpha": 32}


def build_rows(project: Project) -> Path:
    """Build a dataset of clips and pictures; `test` holds four rows, `train` one. Returns its folder."""
    rows = []
    for name, caption in {**CLIPS, **PICTURES}.items():
        (project.source / name).write_bytes((MEDIA / name).read_bytes())
        kind = "video" if name in CLIPS else "image"
        rows.append({"id": name.partition(".")[0], "video": None, "image": None, kind: name, "caption": caption})
    project.rows("train.jsonl", rows[2:3])
    project.rows("test.jsonl", rows[:2] + rows[3:])
    splits = {name: {"files": f"{name}.jsonl"} for name in ("train", "test")}
    turns = [{"user": [{"video": "video"}, {"image": "image"}, QUESTION]}, {"assistant": "{{ caption }}"}]
    media = {kind: {"type": kind, "nullable": True} for kind in ("video", "image")}
    columns = {"id": "string", **media, "caption": "string"}
    project.write({"configs": {"default": {"splits": splits}}}, columns, conversation=turns)
    project.build()
    assert project.reasons() == []
    return project.out


def taught_run(folder: Path, dataset: Path, base: Path, *, method: str = "lora", steps: int = 50) -> Path:
    """Teach a model the rows of `test`, and write it down as a training does; returns the run's folder."""
    schema = dataset.parents[1] / "schemas" / "demo.yaml"
    settings = Settings.model_validate(
        {
            "model": str(base),
            "method": method,
            "lora": LORA if method == "lora" else {},
            "data": {
                "dataset": str(dataset),
                "schema": str(schema),
                "eval": "test",
                "id": "id",
                "frames": {"count": 2},
            },
            "evaluate": {"task": "caption", "max_new_tokens": 40},
        }
    )
    place = DatasetPlace(folder=dataset, told={"name": dataset.name})
    data = open_split(place, settings, "test", base=folder, cache=folder.parent / "cache", display=Quiet())
    loss = _taught(data, base, method, steps, folder / "best")
    (folder / "config.yaml").write_text(settings_yaml(settings), encoding="utf-8")
    lines = [
        {"step": 10, "loss": 3.0, "learning_rate": 0.01, "tokens": 900},
        {"step": steps, "loss": loss, "tokens": 9000},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    told = {
        "title": folder.name,
        "dataset": place.told,
        "model": str(base),
        "commit": None,
        "family": "",
        "device": "cpu",
    }
    told |= {"versions": versions(), **places_of(place, folder, [data])}
    (folder / "run.json").write_text(json.dumps(told), encoding="utf-8")
    (folder / "rejected.jsonl").write_text("", encoding="utf-8")
    return folder


def _taught(data: Any, base: Path, method: Any, steps: int, checkpoint: Path) -> float:
    """Train on all rows at once, save as the Trainer does, and return the last loss."""
    torch.manual_seed(0)
    model, processor, family, _ = load_model(base)
    learner = apply_method(model, family, Method(kind=method, lora=LORA if method == "lora" else {}))
    batch = collate([family.encode(processor, data.example(row)) for row in range(data.rows)], family, pad_id=0)
    learning = [own for own in learner.parameters() if own.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-2 if method == "lora" else 5e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = learner(**batch).loss
        loss.backward()
        optimizer.step()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learner.save_pretrained(checkpoint)
    processor.save_pretrained(checkpoint)
    (checkpoint / "README.md").unlink(missing_ok=True)
    torch.save({"state": 1}, checkpoint / "optimizer.pt")
    state = {"global_step": steps, "epoch": float(steps), "best_metric": float(loss.detach())}
    (checkpoint / "trainer_state.json").write_text(json.dumps(state), encoding="utf-8")
    return float(loss.detach())
