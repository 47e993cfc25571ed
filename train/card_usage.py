"""How a trained model is used: a program for its card, that shows it media as the training did."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pipeline.media.frame_index import SAME_TIME

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE, BASE = "path/to/this/repository", "path/to/the/base/model"
"""Stand where nobody said under which name a model is published."""


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
        base_model: The model that the adapters belong to; empty where that is on no hub.
        base_revision: Its commit; empty for none.
        adapter: Are there adapters alone?
        frames: How the training chose frames, as `FrameSampling.plain` says it; None for images.
        prompt: What is asked.
        max_new_tokens: Tokens of an answer at the most.
    """
    revision = f", revision={_text(base_revision)}" if base_revision else ""
    lines = [
        *(["import math", ""] if frames else []),
        *(["import av", "import numpy as np"] if frames else []),
        *(["from peft import PeftModel"] if adapter else []),
        *([] if frames else ["from PIL import Image"]),
        "from transformers import AutoModelForImageTextToText, AutoProcessor",
        "",
        f"repo = {_text(repo or HERE)}",
        "processor = AutoProcessor.from_pretrained(repo)",
    ]
    if adapter:
        lines += [
            f"base_model = {_text(base_model or BASE)}",
            f'base = AutoModelForImageTextToText.from_pretrained(base_model{revision}, dtype="auto")',
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
        f'content = [{medium}, {{"type": "text", "text": {_text(prompt)}}}]',
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


def _text(value: str) -> str:
    """Write a text as Python has it."""
    return json.dumps(value, ensure_ascii=False)


def _video(frames: Mapping[str, Any]) -> list[str]:
    """Return lines that read a video, and choose its frames as the training did where they are equally long."""
    return [
        'with av.open("clip.mp4") as container:',
        "    fps = float(container.streams.video[0].average_rate)",
        '    decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]',
        "",
        f"# as in the training: {frames_in_words(frames)}",
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


def _numbers(frames: Mapping[str, Any]) -> list[str]:
    """Return lines that set `numbers`, the frames to take; `FrameSampling.choose` is what they do."""
    start, end, centre, per_second = (frames.get(name) for name in ("start", "end", "centre", "per_second"))
    if centre:
        lines = [
            f"part = min({centre!r}, len(decoded) / fps)",
            "start = (len(decoded) / fps - part) / 2",
            "end = start + part",
        ]
    else:
        until = "len(decoded) / fps" if end is None else f"min({end!r}, len(decoded) / fps)"
        lines = [f"start, end = {start or 0!r}, {until}"]
    lines += [
        f"slack = min({float(SAME_TIME)!r}, 0.25 / fps)  # times in files are rounded",
        "first, last = math.ceil((start - slack) * fps), math.ceil((end - slack) * fps)",
    ]
    least, most = frames.get("at_least", 1), frames.get("at_most")
    lines.append(f"most = min({most}, last - first)" if most else "most = last - first")
    if per_second:
        lines.append(f"wanted = math.ceil((end - start - slack) * {per_second!r})")
        wanted = "wanted" if least == 1 else f"max(wanted, {least})"
    else:
        wanted = str(frames["count"])
    lines.append(f"count = min({wanted}, most)")
    if (multiple := frames.get("multiple_of", 1)) != 1:
        lines += [f"down = count // {multiple} * {multiple}", f"if down >= {least}:", "    count = down"]
        lines += [f"elif down + {multiple} <= most:", f"    count = down + {multiple}"]
    middles = "[start + (end - start) * (2 * part + 1) / (2 * count) for part in range(count)]"
    if per_second:
        lines += [f"moments = [start + step / {per_second!r} for step in range(count)]", "if count != wanted:"]
        lines.append(f"    moments = {middles}")
    else:
        lines.append(f"moments = {middles}")
    return [*lines, "numbers = sorted({min(max(int((moment + slack) * fps), first), last - 1) for moment in moments})"]
