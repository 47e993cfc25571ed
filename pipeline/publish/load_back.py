"""Loading back: one row of each config, read where it was published, and compared with the row that was pushed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from pipeline.checks.dataset import read_dataset
from pipeline.checks.files import LocalFiles
from pipeline.checks.hub_files import HubFiles
from pipeline.publish.remote import NotVerifiedError
from pipeline.sources.hub import HubRepo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.checks.files import DatasetFiles
    from pipeline.publish.target import Target

SECONDS = 600
"""What loading a row of every config may take."""
_SCRIPT = """
import hashlib, json, os, sys
import datasets
datasets.disable_progress_bars()
told = json.loads(sys.argv[1])

def first(place, config, split, **more):
    loaded = datasets.load_dataset(place, config, split=split, streaming=True, **more)
    return next(iter(loaded.decode(False)))

def key(value):
    if isinstance(value, dict):
        # a path that `datasets` found says where a file is, which is not the same here and there
        return {name: key(item) for name, item in value.items() if not (name == "path" and value.get("bytes"))}
    if isinstance(value, (list, tuple)):
        return [key(item) for item in value]
    return hashlib.sha256(value).hexdigest() if isinstance(value, bytes) else repr(value)

result = {}
for config, split in told["rows"]:
    try:
        there = first(told["place"], config, split, revision=told["revision"])
        here = first(told["folder"], config, split)
        result[config] = "" if key(there) == key(here) else "another row than here"
    except Exception as error:
        result[config] = f"{type(error).__name__}: {error}"
print(json.dumps(result))
sys.stdout.flush()
os._exit(0)  # a thread of Arrow may hold up the interpreter's end
"""


def load_back(folder: Path, target: Target, revision: str) -> list[str]:
    """Load the first row of each config from where it was published; returns what was proved, in words.

    Raises:
        NotVerifiedError: a config cannot be loaded, or its row is another one.
        SourceError: a hub cannot be read.
    """
    here, _ = read_dataset(LocalFiles(folder))
    if here is None:
        return []
    rows = [
        (config, next((split for split in here.splits_of(config) if split.shards), None)) for config in here.configs
    ]
    known = [(config, split.name, split.shards[0]) for config, split in rows if split is not None]
    if not known:
        return []
    if target.hub == "huggingface":
        told = {
            "place": target.place,
            "revision": revision,
            "folder": str(folder.absolute()),
            "rows": [(config, split) for config, split, _ in known],
        }
        wrong = {config: why for config, why in _by_datasets(told).items() if why}
        how = "datasets.load_dataset, streaming"
    else:
        there: DatasetFiles
        if target.hub == "folder":
            there = LocalFiles(folder.__class__(target.place))
        else:
            there = HubFiles(HubRepo(hub="modelscope", id=target.place, revision=revision))
        wrong = dict(_by_arrow(folder, there, [(config, shard) for config, _, shard in known]))
        how = "pyarrow"
    if wrong:
        told_wrong = "; ".join(f"{config}: {why[:500]}" for config, why in wrong.items())
        what = f"{target} was pushed, but a row of it cannot be loaded as it is here: {told_wrong}"
        raise NotVerifiedError(what, hint="look at it there, then push again or go back to the commit before")
    many = f"{len(known)} configs" if len(known) > 1 else "the one config"
    return [f"a row of {many} was loaded from there ({how}) and is the row that is here"]


def _by_datasets(told: dict[str, Any]) -> dict[str, str]:
    """Load rows in a clean process, with caches of its own, so that nothing that is here already answers."""
    dropped = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "HUGGINGFACE_HUB_CACHE")
    with tempfile.TemporaryDirectory(prefix="shardwright-load-") as cache:
        environment = {name: value for name, value in os.environ.items() if name not in dropped}
        environment |= {
            "HF_HUB_CACHE": f"{cache}/hub",
            "HF_DATASETS_CACHE": f"{cache}/datasets",
            "HF_MODULES_CACHE": f"{cache}/modules",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_XET_CACHE": f"{cache}/xet",
        }
        try:
            done = subprocess.run(  # noqa: S603  (our own interpreter and script)
                [sys.executable, "-c", _SCRIPT, json.dumps(told)],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                cwd=cache,
                timeout=SECONDS,
            )
        except subprocess.TimeoutExpired:
            return {config: f"loading took more than {SECONDS:,} seconds" for config, _ in told["rows"]}
    if done.returncode:
        tail = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {config: f"the process ended with {done.returncode}: {tail}" for config, _ in told["rows"]}
    result: dict[str, str] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def _by_arrow(folder: Path, there: DatasetFiles, shards: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Read the first row of a shard of each config here and there; of the one there, only what is needed is fetched."""
    for config, name in shards:
        try:
            with there.open(name) as opened, (folder / name).open("rb") as mine:
                rows = [
                    next((batch.to_pylist() for batch in pq.ParquetFile(file).iter_batches(batch_size=1)), None)
                    for file in (opened, mine)
                ]
        except (OSError, ValueError) as error:
            yield config, f"{type(error).__name__}: {error}"
            continue
        if rows[0] != rows[1]:
            yield config, "another row than here"
