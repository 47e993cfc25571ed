"""LLaMA-Factory's own loading: `dataset_info.json`, its aligner, and the rules of its processors.

Arguments: folder of the export, file for the answer.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cpu_torch  # noqa: F401
from llamafactory.data.loader import _get_merged_dataset
from llamafactory.data.mm_plugin import get_mm_plugin
from llamafactory.hparams import DataArguments, ModelArguments
from told import Told, sha256
from transformers import Seq2SeqTrainingArguments

PIXELS = {"image_max_pixels": 64 * 64, "image_min_pixels": 4 * 4}

folder, answer = sys.argv[1:]
told = Told(answer)
plugin = get_mm_plugin("base", "<image>", "<video>")
training = Seq2SeqTrainingArguments(output_dir=str(Path.cwd() / "unused"), use_cpu=True, report_to=[])
for name, entry in json.loads((Path(folder) / "dataset_info.json").read_text(encoding="utf-8")).items():
    data = DataArguments(dataset_dir=folder, dataset=name, template="qwen2_vl", overwrite_cache=True)
    rows = _get_merged_dataset(data.dataset, ModelArguments(model_name_or_path="none"), data, training, "sft")
    for row in rows:
        # else SupervisedDatasetProcessor drops it
        assert len(row["_prompt"]) % 2 == 1, row
        assert len(row["_response"]) == 1, row
        messages = row["_prompt"] + row["_response"]
        images, videos = row["_images"] or [], row["_videos"] or []
        plugin._validate_messages(messages, images, videos, [])
        plugin._regularize_images(images, **PIXELS)
        plugin._regularize_videos(videos, video_fps=2.0, video_maxlen=4, **PIXELS)
        system = [("system", row["_system"])] if row["_system"] else []
        told.row(
            entry["file_name"],
            [*system, *((message["role"], message["content"]) for message in messages)],
            images=[sha256(image) for image in images],
            videos=[sha256(video) for video in videos],
        )
