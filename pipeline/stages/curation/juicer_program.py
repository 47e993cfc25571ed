"""data-juicer as a program: where it is installed, which version it is, and one run of it over a file of rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipeline.errors import ShardwrightError
from pipeline.printable import escaped

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "SHARDWRIGHT_DATA_JUICER"
"""Names the Python of an environment with data-juicer."""
PACKAGE = "py-data-juicer"
TESTED = "1.6.1"
DRIVER = Path(__file__).with_name("juicer_driver.py")
ASKING_SECONDS = 60
TOLD_LINES = 2
"""Last lines of what a run said that are shown when it fails."""
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "PIP_NO_INDEX": "1",
    "UV_OFFLINE": "1",
}
HINT = (
    "make an environment for it: `python3 -m venv juicer`, "
    f"`juicer/bin/pip install {PACKAGE}=={TESTED} aiohttp av==13.1.0 ray torch`, "
    f"then `export {VARIABLE}=$PWD/juicer/bin/python`"
)


class Juicer(NamedTuple):
    """A data-juicer on this machine."""

    python: str
    version: str


def found_juicer(environment: Mapping[str, str] = os.environ) -> Juicer:
    """Return the data-juicer of the environment that the variable names, or the one beside us.

    Raises:
        ShardwrightError: there is none.
    """
    named = environment.get(VARIABLE)
    if named:
        return Juicer(named, _version_there(named))
    try:
        return Juicer(sys.executable, version(PACKAGE))
    except PackageNotFoundError:
        raise ShardwrightError(
            "a step of curation runs a recipe of data-juicer, which is not installed here", hint=HINT
        ) from None


@lru_cache(maxsize=4)
def _version_there(python: str) -> str:
    script = f"import importlib.metadata; print(importlib.metadata.version({PACKAGE!r}))"
    try:
        done = subprocess.run(  # noqa: S603  (the user names the interpreter)
            [python, "-I", "-c", script], capture_output=True, text=True, check=False, timeout=ASKING_SECONDS
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        reason = getattr(error, "strerror", None) or "it does not answer"
        raise ShardwrightError(
            f"{VARIABLE} names {escaped(python)}, which cannot be run: {reason}", hint=HINT
        ) from None
    found = done.stdout.strip()
    if done.returncode or not found:
        raise ShardwrightError(f"{VARIABLE} names {escaped(python)}, and there is no {PACKAGE} beside it", hint=HINT)
    return found


def run_juicer(juicer: Juicer, folder: Path, *, rows: Path, recipe: Path, row: str, columns: list[str]) -> Path:
    """Run a recipe over a file of rows, and return the answer; pipeline/stages/curation/juicer_driver.py says of what.

    Args:
        juicer: What runs it.
        folder: An empty folder of ours; whatever data-juicer writes goes there.
        rows: JSON lines.
        recipe: The recipe of data-juicer.
        row: The column by which rows are known again.
        columns: Those whose values are wanted back.

    Raises:
        ShardwrightError: it fails, or an operator does what cannot be taken over.
    """
    work, order, answer, said = (folder / name for name in ("work", "order.json", "answer.jsonl", "said.txt"))
    work.mkdir()
    told = {"recipe": str(recipe), "rows": str(rows), "work": str(work), "answer": str(answer)}
    order.write_text(json.dumps(told | {"row": row, "columns": columns}), encoding="utf-8")
    # a short path: sockets are put there
    with tempfile.TemporaryDirectory(prefix="shardwright-") as temporary, said.open("wb") as log:
        done = subprocess.run(  # noqa: S603  (the interpreter that the user named, our own script)
            [juicer.python, "-I", str(DRIVER), str(order)],
            cwd=work,
            env={**os.environ, **OFFLINE, "TMPDIR": temporary},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode or not answer.is_file():
        lines = [line for line in said.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        tail = " | ".join(escaped(line.strip())[:300] for line in lines[-TOLD_LINES:]) or "it said nothing"
        raise ShardwrightError(
            f"data-juicer {juicer.version} ended with {done.returncode} over {recipe}: {tail}",
            hint="`dj-process` with this recipe over an export (`shardwright export --to data-juicer`) tells more",
        )
    with answer.open("rb") as lines_of_answer:
        first = json.loads(lines_of_answer.readline() or b"{}")
    if "problem" in first:
        raise ShardwrightError(
            f"{recipe}: {escaped(first['operator'])} {escaped(first['problem'])}, and curation can only leave rows out "
            "and change their texts",
            hint="take the operator out of the recipe, or run it before: what it writes is annotations for a build",
        )
    return answer
