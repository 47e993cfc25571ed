"""A model seen by a process that knows nothing of how it was made: what `merge.py` starts to prove a folder.

    python -m train.models.fresh_model FOLDER FAMILY DTYPE QUESTIONS ANSWERS

QUESTIONS and ANSWERS are safetensors files; ANSWERS holds logits, and in its metadata a hash of every weight as loaded.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from train.torchvision_ops import ensure_torchvision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def hashes(model: Any) -> dict[str, str]:
    """Return a hash of every weight of a model, by its name."""
    from train.models.tensor_hash import tensor_hash

    return {name: tensor_hash(own) for name, own in model.state_dict().items()}


def write_questions(path: Path, asked: Sequence[dict[str, Tensor]]) -> None:
    """Write questions for `main`."""
    from safetensors.torch import save_file

    named = {f"{place}.{name}": own.contiguous() for place, one in enumerate(asked) for name, own in one.items()}
    save_file(named, path)


def read_answers(path: Path) -> tuple[list[Tensor], dict[str, str]]:
    """Return the logits that `main` wrote, and the hash of every weight."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        given = [file.get_tensor(str(place)) for place in range(len(file.keys()))]
        return given, json.loads(file.metadata()["weights"])


def main(folder: str, family: str, dtype: str, questions: str, written: str) -> None:
    """Load a model, answer, and write it down."""
    ensure_torchvision()
    from safetensors.torch import load_file, save_file

    from train.families.registry import families
    from train.models.answer_logits import answers
    from train.models.load import load_model

    asked: dict[int, dict[str, Tensor]] = {}
    for name, own in load_file(questions).items():
        place, _, argument = name.partition(".")
        asked.setdefault(int(place), {})[argument] = own
    known = next(one for one in families() if one.name == family)
    model = load_model(Path(folder), family=known, dtype=dtype).model
    given = answers(model, [asked[place] for place in sorted(asked)])
    told = {"weights": json.dumps(hashes(model))}
    save_file({str(place): own for place, own in enumerate(given)}, written, metadata=told)


if __name__ == "__main__":
    main(*sys.argv[1:])
