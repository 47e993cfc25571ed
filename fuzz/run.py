"""`make fuzz`: each subject under libFuzzer for so many seconds, then the property tests with many more examples.

    python -m fuzz.run --seconds 60                 all subjects, and the property tests
    python -m fuzz.run --seconds 600 readers        one subject, without the property tests
    python -m fuzz.run --input FILE readers         one input through the property function; needs no atheris

Corpora lie in work/fuzz/SUBJECT/corpus and grow from run to run; what breaks a property lies beside them, in `crashes`.
Exit codes: 0 nothing found; 1 something was found; 2 atheris is missing.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from fuzz.target import INSTRUMENTED

ROOT = Path(__file__).parents[1]
CORPORA = ROOT / "work" / "fuzz"

INPUT_SECONDS = 10
"""What one input may take."""
MEMORY_MB = 1024
"""What the process of one subject may have in memory, and one allocation may ask for."""
INPUT_BYTES = {"readers": 4096, "parquet": 8192, "recipe": 4096, "archives": 8192}
MAX_EXAMPLES = 5_000
EXAMPLES_PER_SECOND = 5
"""Examples of each property test for one second in all: the tests have about 250 of them in a second."""
PROPERTY_TESTS = (
    "tests/readers/test_read_properties.py",
    "tests/sources/test_archive_properties.py",
    "tests/words/test_document_properties.py",
)

_STATUS = re.compile(r"^#(\d+)\s.*?cov: (\d+) ft: (\d+) corp: (\d+)/(\S+)", re.MULTILINE)
_CRASH = re.compile(r"Test unit written to (\S+)")


@dataclass(kw_only=True)
class Outcome:
    """What one subject came to."""

    executions: int = 0
    coverage: int = 0
    features: int = 0
    inputs: int = 0
    size: str = "0b"
    crashes: list[Path] = field(default_factory=list)
    failed: bool = False
    """Whether libFuzzer ended with an error, with or without an input to show for it."""
    log: str = ""


def main() -> int:
    """Run what the arguments ask for and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.run")
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"of {', '.join(INSTRUMENTED)}; none: all")
    parser.add_argument("--seconds", type=int, default=60, help="for each subject, and for the property tests")
    parser.add_argument("--input", type=Path, help="check one input instead")
    options = parser.parse_args()
    if unknown := set(options.subjects) - set(INSTRUMENTED):
        parser.error(f"unknown subject {', '.join(sorted(unknown))}; known: {', '.join(INSTRUMENTED)}")
    if options.input is not None:
        if len(options.subjects) != 1:
            parser.error("--input goes with one SUBJECT")
        importlib.import_module(f"fuzz.fuzz_{options.subjects[0]}").check(options.input.read_bytes())
        print("every property holds")
        return 0
    if importlib.util.find_spec("atheris") is None:
        version = ".".join(map(str, sys.version_info[:2]))
        print(
            f"make fuzz: no atheris for this Python {version}; it has wheels for CPython 3.11 to 3.13 on Linux.\n"
            "  next: make clean, then make fuzz PYTHON=python3.11 (or 3.12, 3.13);\n"
            "  tests/test_fuzz_regressions.py runs the same properties over the known inputs without it",
            file=sys.stderr,
        )
        return 2
    found = False
    for subject in options.subjects or INSTRUMENTED:
        outcome = fuzz(subject, options.seconds)
        found |= outcome.failed
        _tell(subject, outcome)
    if not options.subjects:
        found |= not _properties(options.seconds)
    return 1 if found else 0


def fuzz(subject: str, seconds: int) -> Outcome:
    """Fuzz one subject in a process of its own, and in a temporary folder that goes with it."""
    corpus, given, crashes = (CORPORA / subject / name for name in ("corpus", "seeds", "crashes"))
    for folder in (corpus, given, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    harness = importlib.import_module(f"fuzz.fuzz_{subject}")
    for name, data in [*harness.seeds(), *_regressions(subject)]:
        (given / name.replace("/", "_")).write_bytes(data)
    words = given.with_name("dictionary")
    words.write_text("".join(_entry(word) for word in dict.fromkeys(harness.DICTIONARY)), encoding="ascii")
    with tempfile.TemporaryDirectory(prefix="shardwright-fuzz-") as scratch:
        command = [
            *(sys.executable, "-m", "fuzz.target", subject, str(corpus), str(given)),
            *(f"-max_total_time={seconds}", f"-timeout={INPUT_SECONDS}", f"-rss_limit_mb={MEMORY_MB}"),
            *(f"-max_len={INPUT_BYTES[subject]}", f"-dict={words}", f"-artifact_prefix={crashes}/"),
            "-print_final_stats=1",
        ]
        environment = os.environ | {"TMPDIR": scratch, "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            # libFuzzer looks at its clock between two inputs, so that it may take a little longer.
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=seconds + 10 * INPUT_SECONDS,
                check=False,
            )
            log, code = done.stdout.decode(errors="replace"), done.returncode
        except subprocess.TimeoutExpired as late:
            log, code = (late.stdout or b"").decode(errors="replace") + "\nlibFuzzer did not end by itself", -1
    outcome = Outcome(failed=code != 0, log=log)
    if last := _STATUS.findall(log):
        executions, coverage, features, inputs, outcome.size = last[-1]
        outcome.executions, outcome.coverage = int(executions), int(coverage)
        outcome.features, outcome.inputs = int(features), int(inputs)
    outcome.crashes = [Path(path) for path in _CRASH.findall(log)]
    return outcome


def _regressions(subject: str) -> list[tuple[str, bytes]]:
    folder = ROOT / "tests" / "data" / "fuzz" / subject
    return [(f"regression-{path.name}", path.read_bytes()) for path in sorted(folder.glob("*"))]


def _entry(word: bytes) -> str:
    """Write a word as a line of a libFuzzer dictionary."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n'


def _tell(subject: str, outcome: Outcome) -> None:
    print(
        f"{subject:9} {outcome.executions:>9,} executions  cov {outcome.coverage:,}  ft {outcome.features:,}  "
        f"corpus {outcome.inputs:,} inputs ({outcome.size})  {'FAILED' if outcome.failed else 'nothing found'}",
        flush=True,
    )
    if outcome.failed:
        print("\n".join(f"    {line}" for line in outcome.log.splitlines()[-40:]))
    for crash in outcome.crashes:
        shown = crash.relative_to(ROOT) if crash.is_relative_to(ROOT) else crash
        print(f"  again: {shlex.join([sys.executable, '-m', 'fuzz.run', '--input', str(shown), subject])}")


def _properties(seconds: int) -> bool:
    """Run the property tests with the Hypothesis profile `fuzz`; say whether all that ran passed."""
    examples = min(MAX_EXAMPLES, EXAMPLES_PER_SECOND * seconds)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--timeout", "0", *PROPERTY_TESTS]
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="shardwright-fuzz-") as scratch:
        environment = os.environ | {
            "HYPOTHESIS_PROFILE": "fuzz",
            "FUZZ_EXAMPLES": str(examples),
            "HYPOTHESIS_STORAGE_DIRECTORY": str(CORPORA / "hypothesis"),
            "TMPDIR": scratch,
        }
        try:
            code = subprocess.run(command, cwd=ROOT, env=environment, check=False, timeout=4 * seconds + 60).returncode
        except subprocess.TimeoutExpired:
            print(f"property tests: stopped after {4 * seconds + 60} s; nothing found until there")
            return True
    said = "passed" if code == 0 else "FAILED"
    print(f"property tests, {examples:,} examples each: {said} in {time.monotonic() - start:.0f} s", flush=True)
    return code == 0


if __name__ == "__main__":
    sys.exit(main())
