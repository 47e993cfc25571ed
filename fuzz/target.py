"""One subject under libFuzzer: `python -m fuzz.target SUBJECT [libFuzzer's own arguments]`.

The modules that lead libFuzzer by their coverage are instrumented while they are imported, thus before anything else
has imported them: this module imports nothing of the project itself.
"""

from __future__ import annotations

import importlib
import sys

INSTRUMENTED = {
    "readers": ["pipeline"],
    "parquet": ["pipeline"],
    "recipe": ["pipeline"],
    "archives": ["pipeline"],
}
"""Subject -> the packages whose coverage counts."""


def main() -> None:
    """Fuzz until libFuzzer's limits are reached or an input breaks a property."""
    import atheris

    subject = sys.argv[1]
    with atheris.instrument_imports(include=INSTRUMENTED[subject]):
        harness = importlib.import_module(f"fuzz.fuzz_{subject}")
    atheris.Setup([sys.argv[0], *sys.argv[2:]], harness.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
