"""data-juicer's own loading, and operators that read texts, images and videos.

Arguments: folder of the export, file for the answer, files of the export.
"""

from __future__ import annotations

import sys
from pathlib import Path

from data_juicer.config import init_configs
from data_juicer.core.data.dataset_builder import DatasetBuilder
from data_juicer.ops import load_ops
from told import Told, sha256

OPERATORS = [
    {"text_length_filter": {"min_len": 1}},
    {"image_shape_filter": {"min_width": 1, "min_height": 1}},
    {"video_resolution_filter": {"min_width": 1, "min_height": 1}},
]
"""They leave nothing out that can be read."""

folder, answer, *files = sys.argv[1:]
told = Told(answer)
recipe = Path.cwd() / "recipe.yaml"
recipe.write_text("process: []\n", encoding="utf-8")
for file in files:
    more = ["--dataset_path", str(Path(folder) / file), "--export_path", str(Path.cwd() / "out.jsonl"), "--np", "1"]
    config = init_configs(["--config", str(recipe), *more, "--use_cache", "false", "--skip_op_error", "false"])
    rows = DatasetBuilder(config).load_dataset()
    kept = rows.process(load_ops([*({**op} for op in OPERATORS)]), open_monitor=False)
    assert len(kept) == len(rows), f"{file}: {len(rows)} rows, {len(kept)} kept"
    for row in kept.to_list():
        stats, images, videos = row["__dj__stats__"], row["images"] or [], row["videos"] or []
        assert len(stats["image_width"] or []) == len(images), row
        assert len(stats["video_width"] or []) == len(videos), row
        told.any(
            {
                "file": file,
                "text": row["text"],
                "images": [sha256(image) for image in images],
                "videos": [sha256(video) for video in videos],
            }
        )
