"""A peer's environment, and a loader of ours that runs in it with the peer's own functions, without a network."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VARIABLE = "SHARDWRIGHT_INTEROP"
"""The folder with the environments; see tests/interop/make_environment.py."""
LOADERS = Path(__file__).parent / "loaders"
SECONDS = 280
KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE")


@functools.cache
def alone() -> list[str]:
    """Return what a command begins with that is to have no network; nothing, where the system does not allow it."""
    command = ["unshare", "--user", "--map-root-user", "--net"]
    allowed = shutil.which("unshare") and not subprocess.run([*command, "true"], check=False, timeout=20).returncode
    return command if allowed else []


@dataclass(frozen=True)
class Peer:
    """An environment in which a peer is installed."""

    name: str
    folder: Path
    """Where it works, and whatever it keeps goes."""

    @property
    def python(self) -> Path:
        """Its Python."""
        # not resolved: it would be the Python that the environment was made with
        return Path(os.environ[VARIABLE]).absolute() / self.name / "bin" / "python"

    def rows(self, export: Path, *files: str) -> list[dict[str, Any]]:
        """Return what its loader tells of an export."""
        answer = self.folder / "answer.jsonl"
        loader = LOADERS / f"load_{self.name.replace('-', '_')}.py"
        environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        environment |= {
            "HOME": str(self.folder),
            "HF_HOME": str(self.folder / "hf"),
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "MODELSCOPE_CACHE": str(self.folder / "modelscope"),
            "ROOT_IMAGE_DIR": str(export),
            "PIP_NO_INDEX": "1",
            "UV_OFFLINE": "1",
        }
        done = subprocess.run(
            [*alone(), self.python, loader, export, answer, *files],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=SECONDS,
        )
        assert done.returncode == 0, done.stdout[-6000:]
        return [json.loads(line) for line in answer.read_text(encoding="utf-8").splitlines()]
