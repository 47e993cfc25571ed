"""Loads: every config by `datasets` with every check on, streaming, pandas and pyarrow, in a clean process, offline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from pipeline.checks.dataset import REBUILD
from pipeline.checks.problem import Problem
from pipeline.checks.said_bytes import is_right, written_splits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.checks.dataset import Dataset

_SCRIPT = """
import json, os, sys
import datasets
datasets.disable_progress_bars()
told = json.loads(sys.argv[1])
result = {}

def attempt(work):
    try:
        return work()
    except Exception as error:
        text, root = f"{type(error).__name__}: {error}", error
        while root.__cause__ or root.__context__:
            root = root.__cause__ or root.__context__
        return {"error": text if root is error else f"{text} ({type(root).__name__}: {root})"}

def whole(config):
    options, refused = {"cache_dir": told["cache"]}, None
    try:
        loaded = datasets.load_dataset(told["folder"], config, verification_mode="all_checks", **options)
    except datasets.exceptions.SplitsVerificationError as error:  # once more, for the numbers that it would record
        refused = type(error).__name__
        loaded = datasets.load_dataset(told["folder"], config, verification_mode="no_checks", **options)
    splits = {name: {"num_examples": split.info.splits[name].num_examples, "rows": len(split),
                     "num_bytes": split.info.splits[name].num_bytes, "columns": split.column_names}
              for name, split in loaded.items()}
    return {"splits": splits, "refused": refused}

def streamed(config):
    loaded = datasets.load_dataset(told["folder"], config, cache_dir=told["cache"], streaming=True)
    return {name: {"columns": sorted(next(iter(split.decode(False)), {}))} for name, split in loaded.items()}

def framed(path):
    import pandas, pyarrow.parquet
    table = pyarrow.parquet.read_table(path)
    frame = pandas.read_parquet(path)
    described = (table.schema.pandas_metadata or {}).get("index_columns", [])  # pandas makes its index of them again
    index = [name for name in table.column_names if name in described]
    columns = sorted([*index, *(name for name in map(str, frame.columns) if name not in index)])
    return {"pyarrow": [table.num_rows, sorted(table.column_names)], "pandas": [len(frame), columns]}

for config in told["configs"]:
    result[config] = {"whole": None if told["streaming"] else attempt(lambda: whole(config)),
                      "streamed": attempt(lambda: streamed(config))}
frames = {name: attempt(lambda: framed(os.path.join(told["folder"], name))) for name in told["frames"]}
print(json.dumps({"configs": result, "frames": frames}), flush=True)
os._exit(0)  # Arrow's reading threads may hang or abort a normal exit (apache/arrow#45214)
"""
"""Runs in the clean process; any failure at all of `datasets` is a finding, so the blanket except is right there."""
FRAME_BYTES = 200_000_000
"""Shards up to this size are read by pandas and pyarrow, the smallest of each config."""
LOAD_SECONDS = 3_600
"""Seconds that loading may take."""


def check_loads(dataset: Dataset, folder: Path, *, max_bytes: int, scratch: Path | None = None) -> Iterator[Problem]:
    """Load every config; above `max_bytes` the first row of each split is only streamed, and that is said."""
    size = sum(dataset.sizes[name] for split in dataset.splits for name in split.files)
    streaming = size > max_bytes
    if streaming:
        message = f"{size:,} bytes are over the limit of {max_bytes:,}; the first row of each split was streamed"
        yield Problem(code="SW202", message=message, hint="raise --load-limit")
    here = [name for name in dataset.configs if not any(split.is_elsewhere for split in dataset.splits_of(name))]
    frames = [
        min((name for split in dataset.splits_of(config) for name in split.shards), key=dataset.sizes.__getitem__)
        for config in dataset.configs
        if any(split.shards for split in dataset.splits_of(config))
    ]
    frames = [name for name in dict.fromkeys(frames) if dataset.sizes[name] <= FRAME_BYTES]
    if not here:
        return
    with tempfile.TemporaryDirectory(prefix="shardwright-load-", dir=scratch) as cache:
        result = _in_clean_process(
            cache,
            {
                "folder": str(folder.absolute()),
                "cache": f"{cache}/datasets",
                "streaming": streaming,
                "configs": here,
                "frames": frames,
            },
        )
    if isinstance(result, Problem):
        yield result
        return
    for config in here:
        yield from _compare(dataset, config, result["configs"][config])
    for name, read in result["frames"].items():
        yield from _compare_frame(dataset, name, read)


def _in_clean_process(cache: str, told: dict[str, Any]) -> dict[str, Any] | Problem:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING_FACE"))}
    environment |= {
        "HF_HOME": cache,
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TMPDIR": cache,
    }
    try:
        done = subprocess.run(  # noqa: S603  (our own interpreter and script)
            [sys.executable, "-c", _SCRIPT, json.dumps(told)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            cwd=cache,
            timeout=LOAD_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return Problem(code="SW201", message=f"loading took more than {LOAD_SECONDS:,} seconds, and was stopped")
    if done.returncode:
        tail = done.stderr.strip().splitlines()[-1:] or ["no message"]
        return Problem(code="SW201", message=f"the process ended with {done.returncode}: {tail[0][:500]}")
    loaded: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return loaded


def _compare(dataset: Dataset, config: str, result: dict[str, Any]) -> Iterator[Problem]:
    """Compare what was loaded of a config with the card."""
    whole, streamed = result["whole"], result["streamed"]
    if "error" in streamed:
        message = f"load_dataset fails with streaming=True: {streamed['error'][:1000]}"
        yield Problem(code="SW204", config=config, message=message)
    if whole is None:
        return
    if "error" in whole:
        yield Problem(code="SW201", config=config, message=f"load_dataset fails: {whole['error'][:1000]}")
        return
    named = {split.name: split for split in dataset.splits_of(config)}
    refused, whole = whole["refused"], whole["splits"]
    written = written_splits(dataset.info(config))
    if refused:
        says = ", ".join(f"{name} {entry.get('num_examples')!r}" for name, entry in written.items())
        gives = ", ".join(f"{name} {loaded['rows']}" for name, loaded in whole.items())
        message = f"load_dataset fails with {refused}: the card says rows of {says}, the files give {gives}"[:1000]
        yield Problem(code="SW201", config=config, message=message, hint=REBUILD)
        return
    if sorted(whole) != sorted(named):
        message = f"load_dataset gives the splits {sorted(whole)}, the card names {sorted(named)}"
        yield Problem(code="SW201", config=config, message=message, hint=REBUILD)
    for name, loaded in whole.items():
        split = named.get(name)
        said = written.get(name, {}).get("num_bytes")
        if split is not None and type(said) is int and not is_right(dataset, split, said, loaded["num_bytes"]):
            message = f"the card says num_bytes {said:,}, `datasets` recorded {loaded['num_bytes']:,}"
            yield Problem(code="SW203", config=config, split=name, key="num_bytes", message=message, hint=REBUILD)
        if loaded["rows"] != loaded["num_examples"]:
            message = f"{loaded['rows']} rows can be indexed, {loaded['num_examples']} were recorded"
            yield Problem(code="SW203", config=config, split=name, message=message)
        if "error" not in streamed and streamed.get(name, {}).get("columns") != sorted(loaded["columns"]):
            message = f"streaming gives the columns {streamed.get(name)}, loading {sorted(loaded['columns'])}"
            yield Problem(code="SW204", config=config, split=name, message=message)


def _compare_frame(dataset: Dataset, name: str, read: dict[str, Any]) -> Iterator[Problem]:
    """Compare what pandas and pyarrow read of a shard with its footer."""
    footer = dataset.footer(name)
    if "error" in read or footer is None:
        yield Problem(code="SW205", file=name, message=f"it cannot be read: {read.get('error', '')[:1000]}")
        return
    for library, (rows, columns) in read.items():
        names = sorted(footer.schema.names)
        if rows != footer.rows or columns != names:
            message = f"{library} reads {rows:,} rows of {columns}, the footer says {footer.rows:,} of {names}"
            yield Problem(code="SW205", file=name, message=message)
