"""Make the environment of a peer: `make interop` calls this with its name and a folder.

Its packages are those of `constraints-<peer>.txt`, which was made from an environment in which the tests pass. Where
torch is one for CPUs, torchaudio's libraries are taken away: its only wheel is compiled for CUDA and fails at import,
and without them it is plain Python.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

PACKAGES = {
    "ms-swift": ["ms-swift", "torch", "torchvision"],
    "llama-factory": ["llamafactory", "torch", "torchvision", "torchaudio"],
    # what it imports and does not name: aiohttp, ray and torch; av, before 14, is for operators that read videos
    "data-juicer": ["py-data-juicer", "aiohttp", "av", "ray", "torch"],
    "trl": ["trl", "pillow", "torch", "torchvision"],
}
"""Peer -> what is installed of it."""
TAKEN_AWAY = """
import importlib.util, pathlib, torch
found = importlib.util.find_spec("torchaudio")
if found is not None and torch.version.cuda is None:
    for path in pathlib.Path(found.origin).parent.rglob("lib/*.so"):
        path.unlink()
"""


def main(peer: str, folder: Path) -> None:
    """Make it, or bring it to the constraints as they are now."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    constraints = Path(__file__).with_name(f"constraints-{peer}.txt")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", constraints]
    subprocess.run([*install, *PACKAGES[peer]], check=True)
    subprocess.run([python, "-c", TAKEN_AWAY], check=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
