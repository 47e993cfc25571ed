"""Loads: `load_dataset` opens each config with every check on: in a clean cache, offline, in its own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from pipeline.checks.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.checks.folder import Folder

_SCRIPT = """
import json, os, sys
import datasets
datasets.disable_progress_bars()
folder, cache, streaming, configs = sys.argv[1], sys.argv[2], sys.argv[3] == "streaming", sys.argv[4:]
result = {}
for config in configs:
    try:
        loaded = datasets.load_dataset(folder, config, cache_dir=cache, streaming=streaming,
                                       verification_mode="all_checks")
        if streaming:
            result[config] = {"splits": {name: {"first": bool(next(iter(split.decode(False)), None))}
                                         for name, split in loaded.items()}}
        else:
            result[config] = {"splits": {name: {"num_examples": split.info.splits[name].num_examples,
                                                "num_bytes": split.info.splits[name].num_bytes,
                                                "rows": len(split)}
                                         for name, split in loaded.items()}}
        del loaded
    except Exception as error:
        result[config] = {"error": f"{type(error).__name__}: {error}"}
print(json.dumps(result), flush=True)
os._exit(0)  # Arrow's reading threads may hang or abort a normal exit (apache/arrow#45214)
"""
"""Runs in the clean process; any failure at all of `datasets` is a finding, so the blanket except is right there."""


def check_loads(folder: Folder, *, max_bytes: int, scratch: Path | None = None) -> Iterator[Problem]:
    """Load every config; above `max_bytes` the first row of each split is streamed instead, and that is said."""
    configs = list(dict.fromkeys(split.config for split in folder.splits))
    size = sum(path.stat().st_size for split in folder.splits for path in split.shards)
    streaming = size > max_bytes
    if streaming:
        message = f"{size:,} bytes are over the limit of {max_bytes:,}; the first row of each split was streamed"
        yield Problem(
            code="SW202", severity="warning", place="load_dataset", message=message, hint="raise --load-limit"
        )
    with tempfile.TemporaryDirectory(prefix="shardwright-load-", dir=scratch) as cache:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING_FACE"))
        }
        environment |= {
            "HF_HOME": cache,
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "TMPDIR": cache,
        }
        done = subprocess.run(  # noqa: S603  (our own interpreter and script)
            [
                sys.executable,
                "-c",
                _SCRIPT,
                str(folder.path.absolute()),
                f"{cache}/datasets",
                "streaming" if streaming else "whole",
                *configs,
            ],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            cwd=cache,
        )
    if done.returncode:
        tail = done.stderr.strip().splitlines()[-1:] or ["no message"]
        yield Problem(
            code="SW201", place="load_dataset", message=f"the process ended with {done.returncode}: {tail[0][:500]}"
        )
        return
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    for config in configs:
        yield from _compare(folder, config, result[config], streaming=streaming)


def _compare(folder: Folder, config: str, result: dict[str, Any], *, streaming: bool) -> Iterator[Problem]:
    if "error" in result:
        yield Problem(code="SW201", place=config, message=f"load_dataset fails: {result['error'][:1000]}")
        return
    named = [split.name for split in folder.splits if split.config == config]
    if sorted(result["splits"]) != sorted(named):
        message = f"load_dataset gives the splits {sorted(result['splits'])}, the card names {sorted(named)}"
        yield Problem(code="SW201", place=config, message=message)
    if streaming:
        return
    written = {entry["name"]: entry for entry in folder.info(config).get("splits") or []}
    for name, loaded in result["splits"].items():
        entry = written.get(name, {})
        for key in ("num_examples", "num_bytes"):
            if loaded[key] != entry.get(key):
                message = f"the card says {key} {entry.get(key)!r}, `datasets` recorded {loaded[key]}"
                yield Problem(code="SW203", place=f"{config}/{name}", message=message)
        if loaded["rows"] != loaded["num_examples"]:
            message = f"{loaded['rows']} rows can be indexed, {loaded['num_examples']} were recorded"
            yield Problem(code="SW203", place=f"{config}/{name}", message=message)
