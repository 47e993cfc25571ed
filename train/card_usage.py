"""How a trained model is used: a program for its card, that shows it media as the training did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = "path/to/this/repository"
"""Stands where nobody said under which name the model is published."""


def usage(
    *,
    repo: str,
    base_model: str,
    base_revision: str,
    adapter: bool,
    frames: Mapping[str, Any] | None,
    prompt: str,
    max_new_tokens: int,
) -> str:
    """Return a Python program that asks the model about an image, or about a video where `frames` says how.

    Args:
        repo: Where the model is; empty where that is not known.
        base_model: The model that the adapters belong to.
        base_revision: Its commit; empty for none.
        adapter: Are there adapters alone?
        frames: How the training chose frames, as `FrameSampling.plain` says it; None for images.
        prompt: What is asked.
        max_new_tokens: Tokens of an answer at the most.
    """
    revision = f", revision={base_revision!r}" if base_revision else ""
    lines = [
        *(["import math", ""] if frames and frames.get("per_second") else []),
        *(["import av", "import numpy as np"] if frames else []),
        *(["from peft import PeftModel"] if adapter else []),
        *([] if frames else ["from PIL import Image"]),
        "from transformers import AutoModelForImageTextToText, AutoProcessor",
        "",
        f"repo = {repo or HERE!r}",
        "processor = AutoProcessor.from_pretrained(repo)",
    ]
    if adapter:
        lines += [
            f'base = AutoModelForImageTextToText.from_pretrained({base_model!r}{revision}, dtype="auto")',
            "model = PeftModel.from_pretrained(base, repo)",
        ]
    else:
        lines.append('model = AutoModelForImageTextToText.from_pretrained(repo, dtype="auto")')
    lines.append("")
    if frames:
        lines += [*_video(frames), ""]
        medium, options = '{"type": "video", "video": video}', ["    processor_kwargs=video_options,"]
    else:
        lines += ['image = Image.open("image.png").convert("RGB")', ""]
        medium, options = '{"type": "image", "image": image}', []
    lines += [
        f'content = [{medium}, {{"type": "text", "text": {prompt!r}}}]',
        "inputs = processor.apply_chat_template(",
        '    [{"role": "user", "content": content}],',
        "    add_generation_prompt=True,",
        "    tokenize=True,",
        "    return_dict=True,",
        '    return_tensors="pt",',
        *options,
        ").to(model.device, model.dtype)",
        f"generated = model.generate(**inputs, max_new_tokens={max_new_tokens}, do_sample=False)",
        'print(processor.decode(generated[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))',
    ]
    return "\n".join(lines)


def _video(frames: Mapping[str, Any]) -> list[str]:
    """Return lines that read a video, and choose its frames as the training did where they are equally long."""
    return [
        'with av.open("clip.mp4") as container:',
        "    fps = float(container.streams.video[0].average_rate)",
        '    decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]',
        "",
        f"# as in the training: {frames_in_words(frames)}",
        *_part(frames),
        *_numbers(frames),
        "video = np.stack([decoded[number] for number in numbers])",
        "video_options = {",
        '    "do_sample_frames": False,',
        '    "video_metadata": [',
        "        {",
        '            "total_num_frames": len(decoded),',
        '            "fps": fps,',
        '            "duration": len(decoded) / fps,',
        '            "frames_indices": numbers,',
        '            "height": video.shape[1],',
        '            "width": video.shape[2],',
        "        }",
        "    ],",
        "}",
    ]


def frames_in_words(frames: Mapping[str, Any]) -> str:
    """Say how frames are chosen."""
    if frames.get("per_second"):
        words = f"{frames['per_second']:g} frames a second"
        bounds = [f"{name.replace('_', ' ')} {frames[name]}" for name in ("at_least", "at_most") if frames.get(name)]
        if frames.get("at_least") == 1:
            bounds = bounds[1:]
        words += f", {' and '.join(bounds)}" if bounds else ""
    else:
        words = f"{frames['count']} frames in the middles of equal parts"
    if frames.get("multiple_of", 1) != 1:
        words += f", in multiples of {frames['multiple_of']}"
    if frames.get("centre"):
        return f"{words}, of the {frames['centre']:g} s in the middle"
    start, end = frames.get("start"), frames.get("end")
    if start is not None or end is not None:
        words += f", from {start or 0:g} s to {'the end' if end is None else f'{end:g} s'}"
    return words


def _part(frames: Mapping[str, Any]) -> list[str]:
    """Return lines that set `first` and `total`, the frames that are looked at."""
    start, end, centre = (frames.get(name) for name in ("start", "end", "centre"))
    if centre:
        return [
            f"half = min({centre!r} * fps, len(decoded)) / 2",
            "first, last = math.ceil(len(decoded) / 2 - half), math.ceil(len(decoded) / 2 + half)",
            "total = last - first",
        ]
    lines = [f"first = math.ceil({start!r} * fps)" if start else "first = 0"]
    until = f"min(math.ceil({end!r} * fps), len(decoded))" if end is not None else "len(decoded)"
    return [*lines, f"total = {until} - first" if start else f"total = {until}"]
