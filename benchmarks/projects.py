"""Projects to measure: made files of a realistic size, and a recipe for them."""

from __future__ import annotations

import io
import json
import random
import shutil
import time
from typing import TYPE_CHECKING

import av
import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

SETTLE_SECONDS = 2.5
"""Files younger than two seconds are not trusted by their times, and a build would look at them twice."""


def write_recipe(folder: Path, name: str, columns: str, files: str, more: str = "") -> Path:
    """Write a recipe of one config and one split, of files below `folder/source`; returns its path."""
    for part in ("recipes", "schemas", "dataset_cards"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "schemas" / f"{name}.yaml").write_text(f"name: {name}\ncolumns: {columns}\n")
    (folder / "dataset_cards" / f"{name}.md").write_text(f"# {name}\n")
    recipe = folder / "recipes" / f"{name}.yaml"
    recipe.write_text(
        f"name: {name}\nschema: {name}\nsources: {{mine: {{path: ../source}}}}\n"
        f"configs: {{default: {{splits: {{train: {{files: {files}}}}}}}}}\n{more}"
    )
    return recipe


def forget(folder: Path, *names: str) -> None:
    """Remove some of what builds wrote."""
    for name in names:
        shutil.rmtree(folder / name, ignore_errors=True)


def put_aside(folder: Path, *names: str) -> None:
    """Move some of what builds wrote out of the way; whoever made the folder removes it in the end.

    To remove it now would slow down the next round: ext4 does not give away an inode for five seconds after it was
    freed, and looks through all of them for each new file.
    """
    trash = folder / f"trash-{time.time_ns()}"
    trash.mkdir()
    for name in names:
        if (folder / name).exists():
            (folder / name).rename(trash / name)


def settle() -> None:
    """Wait until new files may be trusted by their times."""
    time.sleep(SETTLE_SECONDS)


SCORES = (
    *("visual quality", "temporal consistency", "dynamic degree"),
    *("text-to-video alignment", "factual consistency"),
)
ROW_COLUMNS = (
    '{id: string, "text prompt": string, "video link": string, images: {type: {list: string}}, '
    + ", ".join(f'"{score}": {{type: int8, min: 1, max: 4}}' for score in SCORES)
    + "}"
)


def make_rows(path: Path, count: int, *, first: int = 0) -> None:
    """Append rows of about 2 kB, as VideoFeedback has them, to a JSON Lines file."""
    draw = random.Random(first)  # noqa: S311  (words, not secrets)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(3_000)]
    with path.open("a") as file:
        for number in range(first, first + count):
            row = {
                "id": f"video_{number:07d}",
                "images": [f"frames/{number}/{frame}.jpg" for frame in range(2)],
                "text prompt": " ".join(draw.choices(words, k=290))[:1_800],
                "video link": f"videos/{number}.mp4",
                **{score: draw.randint(1, 4) for score in SCORES},
            }
            file.write(json.dumps(row) + "\n")


def as_array(lines: Path, path: Path) -> None:
    """Write the rows of a JSON Lines file as one array, a record a line."""
    with lines.open() as source, path.open("w") as file:
        file.write("[\n")
        for number, line in enumerate(source):
            file.write((",\n" if number else "") + "  " + line.rstrip("\n"))
        file.write("\n]\n")


def make_pictures(folder: Path, count: int) -> int:
    """Write different JPEGs of about 36 kB and their annotation file; returns their bytes."""
    (folder / "images").mkdir(parents=True)
    noise = np.random.default_rng(7)
    base = noise.integers(0, 256, (320, 320, 3), np.uint8)
    total = 0
    with (folder / "rows.jsonl").open("w") as rows:
        for number in range(count):
            picture = np.roll(base, number * 37, axis=number % 2).copy()
            picture[:32, :32] = noise.integers(0, 256, (32, 32, 3), np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, "JPEG", quality=40)
            name = f"images/{number:06d}.jpg"
            (folder / name).write_bytes(buffer.getvalue())
            total += len(buffer.getvalue())
            rows.write(json.dumps({"image": name, "text": f"picture {number}"}) + "\n")
    return total


def make_clips(folder: Path, count: int) -> int:
    """Write different H.264 clips of two seconds, 320 x 240, and their annotation file; returns their bytes."""
    (folder / "clips").mkdir(parents=True)
    noise = np.random.default_rng(7)
    frames = np.repeat(np.repeat(noise.integers(0, 256, (40, 30, 40, 3), np.uint8), 8, 1), 8, 2)
    total = 0
    with (folder / "rows.jsonl").open("w") as rows:
        for number in range(count):
            name = f"clips/{number:06d}.mp4"
            with av.open(str(folder / name), "w") as container:
                stream = container.add_stream("libx264", rate=20, options={"preset": "ultrafast", "crf": "30"})
                stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
                for frame in frames:
                    shifted = np.roll(frame, number * 3, axis=number % 2)
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(shifted, format="rgb24")))
                container.mux(stream.encode())
            total += (folder / name).stat().st_size
            rows.write(json.dumps({"video": name, "text": f"clip {number}"}) + "\n")
    return total
