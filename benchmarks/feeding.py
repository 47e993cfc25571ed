"""Examples out of shards for a training, against `datasets` with the same shards and the same decoders.

    python benchmarks/feeding.py [IMAGES] [CLIPS] [ROUNDS]

Both go through all rows in the same shuffled order in one process, and make arrays of RGB of them: of an image its
pixels, of a clip 8 frames at 256 pixels. `datasets` opens the shards with `load_dataset`, out of a cache that it has
filled before; it gives images decoded, and clips as bytes, which are decoded from the start on with PyAV, as trainings
do. Shardwright reads in place, with an index that it has made before; what it costs to make both is measured as well.
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

from measure import Case, arguments, in_turn, print_machine, print_table, run, shardwright
from projects import forget, make_clips, make_pictures, settle, write_recipe

OURS = """
import sys
from pathlib import Path
from train.feed.build_frame_cache import build_frame_cache
from train.feed.frame_sampling import FrameSampling
from train.feed.open_data import open_training_data
from train.feed.order import order
folder, cache, column, kept = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
asked = [{"user": [{column: column}, "What?"]}, {"assistant": "{{ text }}"}]
data = open_training_data(
    folder, config=None, split="train", conversation=asked, frames=FrameSampling(count=8), longest_side=SIDE,
    id_column=None, cache=cache, frame_cache=kept if kept in ("jpeg", "png") else None, processes=2)
if kept in ("jpeg", "png"):
    build_frame_cache(data, processes=2)
if kept != "index":
    total = 0
    for number in order(data.row_groups, 7, 0, 64):
        total += sum(medium.pixels.shape[0] for medium in data.example(int(number)).media)
    print(total)
""".replace("SIDE", "256")
PEER = """
import io, sys
import av, numpy as np
from datasets import Video, disable_progress_bars, load_dataset
disable_progress_bars()
folder, cache, column, only = sys.argv[1:5]
data = load_dataset(folder, split="train", cache_dir=cache)
if column == "video":
    data = data.cast_column("video", Video(decode=False))

def frames(video):
    with av.open(io.BytesIO(video["bytes"])) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        total = stream.frames
        wanted = {int((2 * n + 1) * total / 16) for n in range(8)}
        found = []
        for number, frame in enumerate(container.decode(stream)):
            if number in wanted:
                scale = min(1, 256 / max(frame.width, frame.height))
                size = {"width": round(frame.width * scale), "height": round(frame.height * scale)}
                found.append(frame.to_ndarray(format="rgb24", **size))
            if number >= max(wanted):
                break
    return np.stack(found)

if only != "index":
    total = 0
    for number in np.random.default_rng(7).permutation(len(data)):
        row = data[int(number)]
        if column == "video":
            total += frames(row["video"]).shape[0]
        else:
            image = row["image"].convert("RGB")
            image.thumbnail((256, 256))
            total += np.asarray(image).shape[0]
    print(total)
"""


def main() -> None:
    images, clips, rounds = arguments(5_000, 300, 3)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        print_machine()
        for column, count, make in (("image", images, make_pictures), ("video", clips, make_clips)):
            place = folder / column
            size = make(place / "source", count)
            settle()
            run(shardwright(write_recipe(place, column, f"{{{column}: {column}, text: string}}", "rows.jsonl"), place))
            print(f"\n{count:,} {column}s, {size / 1e6:,.0f} MB; what is ready before an epoch\n")
            peer, ours = (partial(command, place, column, program) for program in (PEER, OURS))
            ready = [
                Case("datasets", peer("datasets", "index"), partial(forget, place, "datasets")),
                Case("the index, two processes", ours("cache", "index"), partial(forget, place, "cache")),
            ]
            if column == "video":
                ready.append(Case("and frames kept as JPEGs", ours("cache", "jpeg"), partial(forget, place, "cache")))
            print_table(in_turn(ready, rounds), "datasets")
            print("\nan epoch of it\n")
            epoch = [Case("datasets", peer("datasets", "epoch")), Case("in place", ours("cache", "none"))]
            if column == "video":
                epoch.append(Case("kept as JPEGs", ours("cache", "jpeg")))
            runs = in_turn(epoch, rounds)
            assert len({one.output for done in runs.values() for one in done}) == 1
            print_table(runs, "datasets")


def command(place: Path, column: str, program: str, cache: str, what: str) -> list[str]:
    """Return a command that goes through the shards, with its cache below the folder."""
    return [sys.executable, "-c", program, str(place / "out" / column), str(place / cache), column, what]


if __name__ == "__main__":
    main()
