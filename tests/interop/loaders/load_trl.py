"""TRL's own reading of rows: `load_dataset`, then what `SFTTrainer` asks of an example.

Arguments: folder of the export, file for the answer.
"""

from __future__ import annotations

import io
import sys
from hashlib import sha256
from pathlib import Path

import cpu_torch  # noqa: F401
from datasets import Image, List, get_dataset_config_names, load_dataset
from PIL import Image as Picture
from told import Told
from trl.data_utils import is_conversational, prepare_multimodal_messages

folder, answer = sys.argv[1:]
told = Told(answer)
for config in get_dataset_config_names(folder):
    for split, rows in load_dataset(folder, config, cache_dir=str(Path.cwd() / "cache")).items():
        stored = rows.cast_column("images", List(Image(decode=False)))
        for row, kept in zip(rows, stored, strict=True):
            assert is_conversational(row), row
            images = list(row["images"])
            assert all(isinstance(image, Picture.Image) for image in images)
            # raises where parts and images are not as many
            for message in prepare_multimodal_messages(row["messages"], images):
                assert all(part["type"] != "image" or part["image"] in images for part in message["content"])
            turns = [
                (
                    message["role"],
                    "".join("<image>" if part["type"] == "image" else part["text"] for part in message["content"]),
                )
                for message in row["messages"]
            ]
            data = [image["bytes"] for image in kept["images"]]
            for one in data:
                Picture.open(io.BytesIO(one)).verify()
            hashes = [sha256(one).hexdigest() for one in data]
            told.row(f"{config}/{split}", turns, images=hashes, videos=[])
