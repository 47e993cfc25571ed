"""Trainings of one model on the same rows, side by side: ours, transformers' Trainer, and TRL's.

    python benchmarks/training.py [--shape tiny|small|500m|2b] [--media clips|images] [--method lora|frozen-vision|full]
        [--rounds 2] [--rows N] [--only REGEX] [--trl PYTHON] [--device cpu|cuda] [--threads 1]

Every training is a process that goes through all rows once. What is told of its speed is that of its steps without the
first two, which leaves out everything before them: imports, the model, measured rows, proofs, and what caches cost to
build, which `seconds beside` sums up. Each of ours begins with an empty cache folder. PYTHON is one that has TRL.
On a processor the model has one thread, so that it leaves cores to whatever makes batches, as a GPU would. `processor s
a row` is what the training process itself used, its workers beside it; where others use the machine too, it says more
than the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import measure
from measure import print_machine, shardwright
from projects import settle, write_recipe
from training_models import FRAMES, QUESTION, SHAPES, make_model
from training_speed import Training, measured

from train.tiny import CORPUS

if TYPE_CHECKING:
    from training_models import Shape
    from training_speed import Speed

MEDIA = Path(__file__).parent.parent / "tests" / "data" / "media"
PEERS = Path(__file__).parent / "training_peers.py"
CLIPS = (
    *("bigbuckbunny.mp4", "chaplin.mp4", "nasa_13013.mp4", "video_without_audio_stream.mp4", "testvideo-43.avi"),
    *("video_with_undefined_display_aspect_ratio.mp4", "fixture.3gp", "h264_10bits.mp4"),
)
"""Clips of which every loop shows the same number of frames: they tell how many they have, and stand upright."""
PICTURES = (
    *("hopper_bad_exif.jpg", "hopper_orientation_6.jpg", "hopper_gray.jpg", "g4_orientation_6.tif", "transparent.png"),
    *("xmp_tags_orientation.png", "pil_sample_cmyk.jpg", "transparent.webp"),
)
PLAIN = "plain Trainer"


def make_dataset(folder: Path, column: str, count: int) -> Path:
    """Build a dataset of the sample media, each under many texts of 5 to 250 words; returns its folder."""
    source = folder / "source"
    source.mkdir(parents=True)
    names = CLIPS if column == "video" else PICTURES
    for name in names:
        shutil.copyfile(MEDIA / name, source / name)
    draw = random.Random(7)  # noqa: S311  (words, not secrets)
    words = " ".join(CORPUS[:3]).split()
    with (source / "rows.jsonl").open("w") as rows:
        for number in range(count):
            length = min(250, max(5, round(draw.lognormvariate(3.4, 0.9))))
            text = " ".join(draw.choices(words, k=length))
            rows.write(json.dumps({column: names[number % len(names)], "text": text}) + "\n")
    settle()
    recipe = write_recipe(folder, column, f"{{{column}: {column}, text: string}}", "rows.jsonl")
    measure.run(shardwright(recipe, folder))
    return folder / "out" / column


class Comparison:
    """The trainings of one model on one dataset."""

    def __init__(self, folder: Path, column: str, rows: int, *, shape: Shape, method: str, device: str) -> None:
        self.folder, self.column, self.shape, self.method, self.device = folder, column, shape, method, device
        self.model = folder / "model"
        self.parameters, self.tower = make_model(shape, self.model, half=device == "cuda")
        self.turns = [{"user": [{column: column}, QUESTION]}, {"assistant": "{{ text }}"}]
        self.dataset = make_dataset(folder / "data", column, rows)

    def ours(self, name: str, **said: Any) -> Training:
        """Return a training of ours, with what is said in its settings."""
        place = self.folder / "ours" / re.sub(r"\W+", "-", name)
        place.mkdir(parents=True)
        settings = {
            "model": str(self.model),
            "method": self.method,
            "batching": {"samples": self.shape.samples},
            "epochs": 1,
            "learning_rate": 1e-4,
            "log_every": 1,
            "save_every": 1_000_000,
            "report_to": [],
            **said,
            "data": {"dataset": str(self.dataset), "conversation": self.turns, "frames": {"count": FRAMES}}
            | said.get("data", {}),
        }
        (place / "settings.yaml").write_text(json.dumps(settings))
        command = shardwright(place / "settings.yaml", place, "train")
        command += ["--runs", str(place / "runs"), "--name", "run", "--device", self.device]
        return Training(name, command, lambda: _forget(place), place / "runs" / "run")

    def peer(self, name: str, loop: str, python: str, workers: int = 0) -> Training:
        """Return a training of somebody else's."""
        run = self.folder / "peers" / re.sub(r"\W+", "-", name)
        rows = self.folder / "data" / "source" / "rows.jsonl"
        given = (loop, rows, self.model, self.column, self.method, self.shape.samples, workers, self.device, run)
        command = [python, str(PEERS), *map(str, given)]
        return Training(name, command, lambda: shutil.rmtree(run, ignore_errors=True), run)

    def cases(self, trl: str | None) -> list[Training]:
        """Return all of them."""
        tokens = self.longest_batch()
        budget, packed = {"tokens": tokens}, {"tokens": tokens, "pack": True}
        found = [self.peer(PLAIN, "plain", sys.executable)]
        found.append(self.peer("the same, with a worker", "plain", sys.executable, workers=1))
        if trl is not None:
            found.append(self.peer("TRL", "trl", trl))
        found += [
            self.ours("ours"),
            self.ours("ours, no worker", workers=0),
            self.ours("token budget", batching=budget),
            self.ours("packed", batching=packed),
        ]
        if self.column == "video":
            found.append(self.ours("frame cache", frame_cache="jpeg"))
        if self.method != "full":
            found += [
                self.ours("vision cache", vision_cache=True),
                self.ours("token budget, vision cache", vision_cache=True, batching=budget),
                self.ours("packed, vision cache", vision_cache=True, batching=packed),
            ]
        return found

    def longest_batch(self) -> int:
        """Return the tokens that the plain loop's batches may have at the most: as many as fit into the same memory."""
        from train.families.registry import family_for
        from train.models.load import load_processor

        family, processor = family_for(self.shape.family), load_processor(self.model)
        data = self.opened()
        return self.shape.samples * max(family.length(processor, data.shape(row)) for row in range(data.rows))

    def opened(self) -> Any:
        """Return the rows as examples."""
        from train.feed.frame_sampling import FrameSampling
        from train.feed.open_data import open_training_data

        return open_training_data(
            self.dataset,
            config=None,
            split="train",
            conversation=self.turns,
            frames=FrameSampling(count=FRAMES),
            longest_side=None,
            id_column=None,
            cache=self.folder / "cache",
        )


def _forget(place: Path) -> None:
    for name in ("runs", "cache"):
        shutil.rmtree(place / name, ignore_errors=True)


def in_turn(cases: list[Training], rounds: int) -> dict[str, list[Speed]]:
    """Run every training once a round, so that a machine that slows down slows all of them."""
    speeds: dict[str, list[Speed]] = {case.name: [] for case in cases}
    for _ in range(rounds):
        for case in cases:
            case.before()
            speeds[case.name].append(measured(case))
            print(f"{case.name}: {speeds[case.name][-1]}", file=sys.stderr, flush=True)
    return speeds


def print_speeds(speeds: dict[str, list[Speed]]) -> None:
    """Print the medians as a Markdown table, with the ratios of speeds to the plain loop's in the same rounds."""
    print(
        "| | rows/s | of the plain loop's | processor s a row | of workers | plain loop's by its | tokens a row", end=""
    )
    print(" | waiting | MB | MB, all | seconds beside |\n|---" + "|---:" * 10 + "|")
    for name, done in speeds.items():
        pairs = list(zip(done, speeds[PLAIN], strict=True))
        by_clock = statistics.median(mine.rows / plain.rows for mine, plain in pairs)
        by_use = statistics.median(plain.own_seconds / mine.own_seconds for mine, plain in pairs)
        told = {key: statistics.median(getattr(one, key) for one in done) for key in vars(done[0])}
        print(
            f"| {name} | {told['rows']:.2f} | {by_clock:.2f} | {told['own_seconds']:.3f} | "
            f"{told['workers_seconds']:.3f} | {by_use:.2f} | {told['tokens']:.0f} | {told['waiting']:.1%} | "
            f"{told['memory_mb']:,.0f} | {told['all_mb']:,.0f} | {told['beside']:.1f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--media", choices=["clips", "images"], default="clips")
    parser.add_argument("--method", choices=["lora", "frozen-vision", "full"], default="lora")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--only", default="", help="names of trainings to measure beside the plain loop")
    parser.add_argument("--trl", help="a Python that has TRL; it takes images only")
    parser.add_argument("--threads", type=int, default=1, help="of torch, where the model is on the processor")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    asked = parser.parse_args()
    shape, column = SHAPES[asked.shape], {"clips": "video", "images": "image"}[asked.media]
    if asked.device == "cpu":
        os.environ["OMP_NUM_THREADS"] = str(asked.threads)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        print_machine()
        rows = asked.rows or shape.rows
        compared = Comparison(Path(scratch), column, rows, shape=shape, method=asked.method, device=asked.device)
        millions = f"{compared.parameters / 1e6:,.1f} million parameters, {compared.tower / 1e6:,.1f} of them see"
        print(f"{asked.shape}, {shape.family}: {millions}; {rows} rows of {asked.media}, {asked.method}\n")
        cases = compared.cases(asked.trl if column == "image" else None)
        chosen = [case for case in cases if case.name == PLAIN or re.search(asked.only, case.name)]
        print_speeds(in_turn(chosen, asked.rounds))


if __name__ == "__main__":
    main()
