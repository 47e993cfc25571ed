"""Write `expected.json`: what the processors of transformers themselves make of many sizes, lengths and rates.

Run by hand where torch, torchvision, transformers, num2words and tokenizers are installed, which no test needs:

    python tests/tokens/make_expected.py --tokenizers FOLDER

FOLDER holds `smollm2.json` and `qwen2.json`, the `tokenizer.json` of SmolLM2 and of Qwen2, or files with the same
vocabulary, merges and pre-tokenizer. `--live N` writes nothing: it draws N random images and N random videos a family
instead, and compares them with `pipeline.tokens` at once.

The processors are loaded from the released models' settings and run whole, but on torch's `meta` device: shapes are
computed and pixels are not, so that long videos and large pictures cost nothing. `--pixels` computes those of small
cases, too, and fails if that makes a difference.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import random
import sys
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

if importlib.metadata.version("torch").endswith("+cpu"):
    # torchvision's operators are not there without CUDA, but those that it registers at once must have a name
    _library = torch.library.Library("torchvision", "DEF")
    _library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import transformers
from tokenizers import Tokenizer
from transformers.video_utils import VideoMetadata

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from pipeline.tokens.cost import FAMILIES, image_cost, video_cost  # noqa: E402
from pipeline.tokens.family import Refused, VideoFacts  # noqa: E402

MEANS = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
PATCHES = {"temporal_patch_size": 2, "merge_size": 2}


def _smolvlm2(side: int, tile: int, tokens: int) -> dict[str, Any]:
    sampling = {"fps": 1, "max_frames": 64, "video_size": {"longest_edge": tile}}
    sizes = {"size": {"longest_edge": side}, "max_image_size": {"longest_edge": tile}}
    config = {**sizes, "video_sampling": sampling, "do_image_splitting": True, **MEANS}
    return {"preprocessor_config": config, "processor_config": {"image_seq_len": tokens}}


_QWEN2 = {"preprocessor_config": {"min_pixels": 3136, "max_pixels": 12845056, "patch_size": 14, **PATCHES, **MEANS}}
_QWEN3 = {"patch_size": 16, **PATCHES, **MEANS}
RELEASED: dict[str, dict[str, Any]] = {
    "smolvlm2": _smolvlm2(2048, 512, 64),
    "smolvlm2-2.2b": _smolvlm2(1536, 384, 81),
    "qwen2-vl": _QWEN2,
    "qwen2.5-vl": _QWEN2,
    "qwen3-vl": {
        "preprocessor_config": {"size": {"shortest_edge": 65536, "longest_edge": 16777216}, **_QWEN3},
        "video_preprocessor_config": {"size": {"shortest_edge": 4096, "longest_edge": 25165824}, **_QWEN3},
    },
    "internvl": {"preprocessor_config": {"size": {"height": 448, "width": 448}, **MEANS}},
}
"""What the files of the released models say that decides on sizes and tokens."""
VARIANTS: dict[str, tuple[dict[str, Any], ...]] = {
    "smolvlm2": (
        {"max_frames": 16},
        {"fps": 2, "max_frames": 32},
        {"longest_side": 1024},
        {"longest_side": 512},
        {"longest_side": 5000, "tile": 1024},
    ),
    "smolvlm2-2.2b": ({"longest_side": 1537},),
    "qwen2.5-vl": (
        {"fps": 1.0},
        {"fps": 4.0, "max_frames": 32},
        {"image_pixels": (200_704, 1_003_520)},
        {"video_pixels": (100_352, 602_112)},
        {"video_pixels": (100_352, 602_112), "capped": True},
        {"video_pixels": (100_352, 602_112), "capped": True, "max_video_tokens": 4_096},
    ),
    "qwen3-vl": (
        {"fps": 1.0, "max_frames": 64},
        {"capped": True},
        {"image_pixels": (262_144, 1_310_720)},
        {"video_pixels": (65_536, 1_048_576), "capped": True, "max_video_tokens": 128},
    ),
    "internvl": ({"frames": 32}, {"min_tiles": 2, "max_tiles": 6}, {"max_tiles": 1}),
}
"""Other settings than the released ones, as somebody may train with."""

IMAGE_TOKENS = {"smolvlm": "<image>", "internvl": "<IMG_CONTEXT>\n"}
VIDEO_TOKENS = {"smolvlm": "<video>", "internvl": "<video>\n"}
QWEN_SPECIAL = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")


class Real:
    """The real processor of a family."""

    def __init__(self, family: Any, tokenizers: Path) -> None:
        self.family = family
        self.kind = next(kind for kind in ("smolvlm", "qwen2", "qwen3", "internvl") if family.name.startswith(kind))
        self.place = [
            tokens.get(self.kind, f"<|vision_start|><|{pad}_pad|><|vision_end|>")
            for pad, tokens in (("image", IMAGE_TOKENS), ("video", VIDEO_TOKENS))
        ]
        with tempfile.TemporaryDirectory() as folder:
            for name, config in RELEASED[family.name].items():
                (Path(folder) / f"{name}.json").write_text(json.dumps(config), encoding="utf-8")
            self.processor = getattr(self, f"_{self.kind}")(Path(folder), tokenizers)
        self.video_processor = self.processor.video_processor

    def _smolvlm(self, folder: Path, tokenizers: Path) -> Any:
        rows = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
        names = {
            "image_token": "<image>",
            "fake_image_token": "<fake_token_around_image>",
            "global_image_token": "<global-img>",
            "end_of_utterance_token": "<end_of_utterance>",
            "video_token": "<video>",
        }
        tokenizer = transformers.PreTrainedTokenizerFast(
            tokenizer_file=str(tokenizers / "smollm2.json"), extra_special_tokens=names
        )
        tokenizer.add_tokens(rows, special_tokens=True)
        size, tile = {"longest_edge": self.family.longest_side}, {"longest_edge": self.family.tile}
        images = transformers.SmolVLMImageProcessor.from_pretrained(folder, size=size, max_image_size=tile)
        videos = transformers.SmolVLMVideoProcessor.from_pretrained(folder, max_image_size=tile)
        config = RELEASED[self.family.name]["processor_config"]
        self.sampling = {"fps": videos.fps, "num_frames": videos.num_frames}
        if (self.family.fps, self.family.max_frames) != (videos.fps, videos.num_frames):
            self.sampling = {"fps": self.family.fps, "num_frames": self.family.max_frames}
        return transformers.SmolVLMProcessor(images, tokenizer, videos, **config)

    def _qwen(self, tokenizers: Path) -> Any:
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tokenizers / "qwen2.json"))
        tokenizer.add_tokens(list(QWEN_SPECIAL), special_tokens=True)
        self.sampling = {"fps": self.family.fps}
        return tokenizer

    def _limits(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what differs from the released settings, for images and for videos.

        Where the file says `min_pixels` and `max_pixels`, `size` would be overruled by them without a word.
        """
        released = FAMILIES[self.family.name]
        pair: list[dict[str, Any]] = []
        for key in ("image_pixels", "video_pixels"):
            least, most = getattr(self.family, key)
            size = {"size": {"shortest_edge": least, "longest_edge": most}}
            size = {"min_pixels": least, "max_pixels": most} if self.kind == "qwen2" else size
            pair.append(size if getattr(released, key) != (least, most) else {})
        more = {"max_frames": self.family.max_frames, "max_video_tokens": self.family.max_video_tokens}
        return pair[0], pair[1] | more | {"cap_pixels_per_frame": self.family.capped}

    def _qwen2(self, folder: Path, tokenizers: Path) -> Any:
        images, videos = self._limits()
        processors = (
            transformers.Qwen2VLImageProcessor.from_pretrained(folder, **images),
            self._qwen(tokenizers),
            transformers.Qwen2VLVideoProcessor.from_pretrained(folder, **videos),
        )
        second = self.family.name == "qwen2-vl"
        return (transformers.Qwen2VLProcessor if second else transformers.Qwen2_5_VLProcessor)(*processors)

    def _qwen3(self, folder: Path, tokenizers: Path) -> Any:
        images, videos = self._limits()
        return transformers.Qwen3VLProcessor(
            transformers.Qwen2VLImageProcessor.from_pretrained(folder, **images),
            self._qwen(tokenizers),
            transformers.Qwen3VLVideoProcessor.from_pretrained(folder, **videos),
        )

    def _internvl(self, folder: Path, tokenizers: Path) -> Any:
        names = {
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        }
        tokenizer = transformers.PreTrainedTokenizerFast(
            tokenizer_file=str(tokenizers / "qwen2.json"), extra_special_tokens=names
        )
        tiles = {"min_patches": self.family.min_tiles, "max_patches": self.family.max_tiles}
        images = transformers.GotOcr2ImageProcessor.from_pretrained(folder, **tiles)
        videos = transformers.InternVLVideoProcessor.from_pretrained(folder)
        return transformers.InternVLProcessor(images, tokenizer, videos)

    def row(
        self, images: list[tuple[int, int]], videos: list[tuple[int, int, int, float]], *, pixels: bool = False
    ) -> list[int]:
        """Return frames, pixels and tokens of media before one word of text."""
        device = {} if pixels else {"device": "meta"}
        given: dict[str, Any] = {}
        if images:
            given |= {"images": [[_picture(*size) for size in images]], "images_kwargs": device}
        shown = [self._shown(*video) for video in videos]
        if videos:
            metadata = [_metadata(*video) for video in videos]
            sampling = {**self._sampling(videos[0][2]), "do_sample_frames": True}
            if any(extra for _, extra in shown):
                # more indices than asked for, the last behind the end: who reads files gets the frames there are
                sampling = {"do_sample_frames": False}
                videos = [(*video[:2], frames, video[3]) for video, (frames, _) in zip(videos, shown, strict=True)]
            videos_kwargs = {**sampling, "video_metadata": metadata, **device}
            given |= {"videos": [[_film(*video) for video in videos]], "videos_kwargs": videos_kwargs}
        prompt = self.place[0] * len(images) + self.place[1] * len(videos) + "What"
        out = self.processor(text=[prompt], return_tensors="pt", **given)
        return [sum(frames for frames, _ in shown), self._pixels(out), out["input_ids"].shape[1] - 1]

    def _shown(self, width: int, height: int, frames: int, fps: float) -> tuple[int, bool]:
        """Return how many frames are sampled, and whether one is asked for that is not there."""
        metadata = _metadata(width, height, frames, fps)
        indices = self.video_processor.sample_frames(metadata=metadata, **self._sampling(frames))
        there = sum(int(index) < frames for index in indices)
        return there, there < len(indices)

    def _sampling(self, total: int) -> dict[str, Any]:
        # who trains gives all frames of a video that is too short; the processor itself refuses
        return {"num_frames": min(self.family.frames, total)} if self.kind == "internvl" else self.sampling

    def _pixels(self, out: Any) -> int:
        total = 0
        for key, in_one in (("pixel_values", 1), ("pixel_values_videos", 2)):
            values = out.get(key)
            if values is not None and self.kind.startswith("qwen"):
                total += values.shape[0] * self.family.patch**2 * in_one
            elif values is not None:
                total += math.prod(values.shape) // 3
        return total


def _picture(width: int, height: int) -> Any:
    return torch.zeros((3, height, width), dtype=torch.uint8, device="meta" if width * height > 100_000 else "cpu")


def _film(width: int, height: int, frames: int, _fps: float) -> Any:
    device = "meta" if width * height * frames > 10_000_000 else "cpu"
    return torch.zeros((frames, 3, height, width), dtype=torch.uint8, device=device)


def _metadata(width: int, height: int, frames: int, fps: float) -> VideoMetadata:
    """Return what transformers reads from a file with PyAV."""
    return VideoMetadata(total_num_frames=frames, fps=fps, duration=frames / fps, width=width, height=height)


SIDES = (
    *(1, 2, 13, 14, 15, 27, 28, 29, 32, 33, 55, 56, 57, 64, 100, 224, 255, 256, 257, 383, 384, 385, 447, 448, 449, 512),
    *(513, 720, 768, 769, 896, 1024, 1025, 1080, 1536, 1537, 2048, 2049, 3000, 3584, 4095, 4096, 4097, 8000, 20000),
)
PAIRS = (
    *(
        (640, 480),
        (640, 272),
        (1280, 720),
        (1920, 1080),
        (3840, 2160),
        (4000, 3000),
        (1024, 768),
        (800, 600),
        (333, 500),
    ),
    *((8000, 50), (8000, 40), (8001, 40), (8000, 39), (200, 1), (201, 1), (400, 2), (401, 2), (5600, 28), (5601, 28)),
    *((6400, 32), (6401, 32), (10, 2000), (1, 8000), (3, 4), (5, 4), (31, 33), (28, 5000), (2048, 1025), (2048, 1537)),
    *((1536, 1153), (2048, 1023), (2048, 513), (2048, 511), (1000, 3), (448, 896), (897, 448), (449, 448), (1344, 448)),
    *((896, 1344), (1792, 448), (634, 634), (633, 633), (776, 776), (4096, 2730), (5472, 3648), (1170, 2532)),
)
COUNTS = (1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 31, 63, 64, 65, 100, 199, 300, 767, 769, 1000, 1999, 2000)
RATES = (1.0, 8.0, 24000 / 1001, 25.0, 30000 / 1001, 120.0)


def _images(chance: random.Random, drawn: int, every: int) -> list[tuple[int, int]]:
    sizes = [(side, side) for side in SIDES]
    sizes += [pair for size in PAIRS for pair in (size, size[::-1])]
    sizes = sizes[::every]
    sizes += [(_log(chance, 1, 9000), _log(chance, 1, 9000)) for _ in range(drawn)]
    return list(dict.fromkeys(sizes))


def _videos(chance: random.Random, drawn: int, every: int) -> list[tuple[int, int, int, float]]:
    films = [(64, 48, frames, rate) for frames in COUNTS for rate in RATES]
    films = films[::every]
    films += [(64, 48, frames, 1.0) for frames in (*range(101, 113), *range(1001, 1013))]  # a digit more at the end
    films += [(*size, 60, 25.0) for size in (*PAIRS[:20], (1, 1), (31, 31), (32, 32), (33, 33), (28, 28), (27, 29))]
    films += [(*size, 601, 30000 / 1001) for size in ((1280, 720), (640, 272), (320, 240), (1080, 1920))]
    films += [(640, 480, 2000, 25.0)]
    films += [(2304, 1536, frames, 25.0) for frames in (63, 75, 88, 101)]
    films += [(32, 32, frames, rate) for frames, rate in ((200_000, 25.0), (3_000_000, 30.0), (30_000, 0.1))]
    films += [_any_film(chance) for _ in range(drawn)]
    return list(dict.fromkeys(films))


def _any_film(chance: random.Random) -> tuple[int, int, int, float]:
    frames = _log(chance, 1, 2000)
    most = 4000 if frames < 100 else 1000 if frames < 500 else 400
    rate = chance.choice((*RATES, round(chance.uniform(0.2, 60), 3)))
    return _log(chance, 1, most), _log(chance, 1, most), frames, rate


def _log(chance: random.Random, least: int, most: int) -> int:
    return round(math.exp(chance.uniform(math.log(least), math.log(most))))


def _outcome(real: Real, images: list[Any], videos: list[Any], *, pixels: bool = False) -> list[int] | str:
    """Return what a row costs, or the name of the error that the processor raises."""
    try:
        return real.row(images, videos, pixels=pixels)
    except (ValueError, ZeroDivisionError, IndexError, RuntimeError) as error:
        return type(error).__name__


def _cases(real: Real, chance: random.Random, drawn: int, *, pixels: bool, every: int = 1) -> dict[str, Any]:
    found: dict[str, Any] = {"images": [], "videos": []}
    for size in _images(chance, drawn, every):
        outcome = _outcome(real, [size], [])
        found["images"].append([*size, outcome])
        if pixels and size[0] * size[1] < 100_000:
            again = _outcome(real, [size], [], pixels=True)
            assert again == outcome, (real.family, size, outcome, again)
    for film in _videos(chance, drawn, every):
        outcome = _outcome(real, [], [film])
        found["videos"].append([*film, outcome])
        if pixels and film[0] * film[1] * film[2] < 1_000_000:
            again = _outcome(real, [], [film], pixels=True)
            assert again == outcome, (real.family, film, outcome, again)
    return found


ROWS: tuple[tuple[list[Any], list[Any]], ...] = (
    ([(640, 480), (333, 500), (8, 6)], []),
    ([(1280, 720)] * 5, []),
    ([], [(640, 272, 250, 25.0), (640, 272, 250, 25.0)]),
    ([], [(320, 240, 100, 10.0), (64, 48, 100, 10.0)]),
)


def make(tokenizers: Path, *, pixels: bool) -> dict[str, Any]:
    """Return the whole of `expected.json`."""
    packages = ("torch", "torchvision", "transformers", "tokenizers", "num2words", "numpy")
    result: dict[str, Any] = {
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "tokenizers": {path.stem: _described(path) for path in sorted(tokenizers.glob("*.json"))},
        "families": {},
        "variants": [],
    }
    for name, family in FAMILIES.items():
        real = Real(family, tokenizers)
        cases = _cases(real, _chance(name), 60, pixels=pixels)
        cases["rows"] = [[images, videos, _outcome(real, images, videos)] for images, videos in ROWS]
        result["families"][name] = cases
        for changes in VARIANTS.get(name, ()):
            real = Real(replace(family, **changes), tokenizers)  # type: ignore[type-var]
            cases = _cases(real, _chance(f"{name} {changes}"), 20, pixels=False, every=9)
            result["variants"].append({"family": name, "changes": changes, **cases})
    return result


def _chance(seed: str) -> random.Random:
    return random.Random(seed)  # noqa: S311


def _described(path: Path) -> dict[str, Any]:
    tokenizer = Tokenizer.from_file(str(path))
    words = "You are provided the following series of sixty-four frames from a 0:12:34 [H:MM:SS] video.\n"
    return {
        "tokens": tokenizer.get_vocab_size(),
        "tokens of the sample": len(tokenizer.encode(words, add_special_tokens=False).ids),
    }


def live(tokenizers: Path, drawn: int) -> None:
    """Compare random cases with our arithmetic at once."""
    for name, family in FAMILIES.items():
        real = Real(family, tokenizers)
        chance = random.Random()  # noqa: S311
        wrong = 0
        for _ in range(drawn):
            size, film = (_log(chance, 1, 9000), _log(chance, 1, 9000)), _any_film(chance)
            for images, videos in (([size], []), ([], [film])):
                theirs = _outcome(real, images, videos)
                try:
                    spent = image_cost(family, *size) if images else video_cost(family, _facts(film))
                    ours: list[int] | str = list(spent)
                except Refused as error:
                    ours = str(error)
                if theirs != ours and not (isinstance(theirs, str) and isinstance(ours, str)):
                    wrong += 1
                    sys.stdout.write(f"  {name}: {images or videos}: ours {ours}, theirs {theirs}\n")
        sys.stdout.write(f"{name}: {2 * drawn:,} random cases, {wrong:,} differ\n")


def _facts(film: tuple[int, int, int, float]) -> VideoFacts:
    width, height, frames, fps = film
    return VideoFacts(width=width, height=height, frames=frames, fps=fps)


def main() -> None:
    """Write the file, or compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tokenizers", type=Path, required=True)
    parser.add_argument("--pixels", action="store_true")
    parser.add_argument("--live", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    if options.live:
        live(options.tokenizers, options.live)
        return
    result = make(options.tokenizers, pixels=options.pixels)
    text = json.dumps(result, separators=(",", ":")).replace("]],", "]],\n").replace('],"', '],\n"')
    (HERE / "expected.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
