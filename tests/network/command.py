"""The command as a user runs it: in a process of its own, in a home of its own, and with nothing of ours in its way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def shardwright(
    stage: str, recipe: Path, folder: Path, *options: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a stage of a recipe; work, output, cache and home lie in the folder."""
    folders = [f"--{name}={folder / name}" for name in ("work", "out", "cache")]
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HF_", "MODELSCOPE_")) and not name.lower().endswith("_proxy")
    }
    env = {
        **clean,
        "HOME": str(folder / "home"),
        "PYTHONPATH": str(ROOT),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        **environment,
    }
    command = [sys.executable, "-m", "pipeline", stage, str(recipe), *folders, *options]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)
