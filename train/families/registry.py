"""Which families there are. Another one is a file and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.printable import escaped
from train.example import TrainError
from train.families.internvl import INTERNVL
from train.families.qwen2_5_vl import QWEN2_5_VL
from train.families.qwen2_vl import QWEN2_VL
from train.families.qwen3_vl import QWEN3_VL
from train.families.smolvlm import SMOLVLM

if TYPE_CHECKING:
    from train.families.family import Family

_FAMILIES = (SMOLVLM, QWEN2_VL, QWEN2_5_VL, QWEN3_VL, INTERNVL)


def families() -> tuple[Family, ...]:
    """Return all families."""
    return _FAMILIES


def family_for(model_type: str) -> Family:
    """Return the family of models with a `config.model_type`.

    Raises:
        TrainError: none is known.
    """
    for family in _FAMILIES:
        if model_type in family.model_types:
            return family
    known = sorted(known for family in _FAMILIES for known in family.model_types)
    raise TrainError(
        f"models of type {escaped(model_type)!r} cannot be trained here",
        allowed=", ".join(known),
        hint="`model_type` stands in the checkpoint's config.json; take a model of one of these types",
    )
