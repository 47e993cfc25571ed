"""The peer of media benchmarks: `datasets` embedding files by its own means, and writing Parquet."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

EMBED = """
import json
import os
import sys
from datasets import Dataset, Features, Image, Value, Video
from datasets.table import embed_table_storage
folder, out, kind = sys.argv[1:]
os.makedirs(out)
rows = [json.loads(line) for line in open(f"{folder}/rows.jsonl")]
features = Features({kind: {"image": Image, "video": Video}[kind](), "text": Value("string")})
columns = {kind: [f"{folder}/{row[kind]}" for row in rows], "text": [row["text"] for row in rows]}
data = Dataset.from_dict(columns, features=features).with_format("arrow")
data = data.map(embed_table_storage, batched=True, batch_size=500, cache_file_name=f"{out}/cache.arrow")
data.with_format(None).to_parquet(f"{out}/train.parquet")
"""


def embed_command(folder: Path, out: Path, kind: str) -> list[str]:
    """Return the command that embeds the files of a JSON Lines file (`rows.jsonl` in `folder`); `out` is made."""
    return [sys.executable, "-c", EMBED, str(folder), str(out), kind]
