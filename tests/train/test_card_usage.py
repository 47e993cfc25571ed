"""The program in a model's card runs, chooses the frames that the training did, and asks as the training asked."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import pytest

from pipeline.media.read_frame_index import with_index
from train.card_usage import usage
from train.example import Example, Frames, Image, RowRef, Turn
from train.feed.frame_sampling import FrameSampling

if TYPE_CHECKING:
    from collections.abc import Callable

MEDIA = Path(__file__).parents[1] / "data" / "media"
PROMPT = 'What happens in the "video"?'
FAMILIES = ("smolvlm", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "internvl")
SAMPLINGS = (
    FrameSampling(count=8),
    FrameSampling(count=1),
    FrameSampling(count=100),
    FrameSampling(count=6, multiple_of=2, start=0.5, end=2.0),
    FrameSampling(per_second=2.0),
    FrameSampling(per_second=3.0, at_most=6, multiple_of=2),
    FrameSampling(per_second=1.0, at_least=5),
    FrameSampling(per_second=2.0, centre=1.5),
)


def _program(sampling: FrameSampling | None, folder: str, base: str = "") -> str:
    return usage(
        repo=folder,
        base_model=base,
        base_revision="",
        adapter=bool(base),
        frames=sampling.plain() if sampling else None,
        prompt=PROMPT,
        max_new_tokens=2,
    )


@pytest.mark.parametrize("clip", ["chaplin.mp4", "h265_video.mp4"])
@pytest.mark.parametrize("sampling", SAMPLINGS, ids=lambda sampling: str(sampling.plain()))
def test_the_frames_are_those_of_the_training(
    clip: str, sampling: FrameSampling, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of clips whose frames are equally long, the program takes the frames that the training was shown."""
    shutil.copy(MEDIA / clip, tmp_path / "clip.mp4")
    monkeypatch.chdir(tmp_path)
    program = _program(sampling, "x")
    lines = program.splitlines()
    imports = [line for line in lines if line.startswith("import ")]
    reading = lines[lines.index('with av.open("clip.mp4") as container:') : lines.index("video_options = {")]
    done: dict[str, Any] = {}
    exec("\n".join(imports + reading), done)  # noqa: S102  what the card tells people to run
    expected = with_index(tmp_path / "clip.mp4", sampling.choose)
    assert tuple(done["numbers"]) == expected
    assert len(done["video"]) == len(expected)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)  # peft asks transformers so
def test_it_asks_as_the_training_asked(
    family: str,
    tiny: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The whole program runs, for images and videos, and asks with the tokens that an example has before its answer."""
    pytest.importorskip("torch")
    from train.families.registry import family_for

    folder = tiny(family)
    shutil.copy(MEDIA / "bigbuckbunny.mp4", tmp_path / "clip.mp4")
    PIL.Image.open(MEDIA / "hopper_gray.jpg").save(tmp_path / "image.png")
    monkeypatch.chdir(tmp_path)
    for sampling in (FrameSampling(count=8), None):
        done: dict[str, Any] = {}
        exec(_program(sampling, str(folder)), done)  # noqa: S102  what the card tells people to run
        medium: Image | Frames
        if sampling:
            numbers, total = tuple(done["numbers"]), len(done["decoded"])
            medium = Frames(pixels=done["video"], numbers=numbers, total=total, fps=done["fps"])
        else:
            medium = Image(pixels=np.asarray(done["image"]))
        turns = (Turn(role="user", parts=(medium, PROMPT)), Turn(role="assistant", parts=("A rabbit.",)))
        example = Example(row=RowRef(number=0, shard="s", row=0), turns=turns)
        found = family_for(done["model"].config.model_type)
        encoded = found.encode(done["processor"], example)
        asked = done["inputs"]["input_ids"][0].tolist()
        assert encoded.input_ids[: len(asked)].tolist() == asked
        assert encoded.labels[len(asked) - 1] == -100
        assert encoded.labels[len(asked)] != -100
    assert capsys.readouterr().out
