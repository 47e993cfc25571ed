"""How a model is fine-tuned: what of it learns, and what is put beside it.

    method         vision   projector   text and head   adapters
    lora, dora     frozen   frozen      frozen          beside the text model's linear layers
    qlora          frozen   frozen      frozen, 4 bits  likewise
    full           learns   learns      learns
    frozen-vision  frozen   learns      learns
    projector      frozen   learns      frozen

Training in two stages is `projector`, saved as a model, and then any other method that loads what was saved.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from pipeline.document import nearest, shown
from train.example import TrainError
from train.models.adapters import with_adapters
from train.models.parts import PARTS, part_of, tied

if TYPE_CHECKING:
    from collections.abc import Mapping

    from train.families.family import Family

Kind = Literal["lora", "dora", "qlora", "full", "frozen-vision", "projector"]

KINDS: tuple[str, ...] = get_args(Kind)
ADAPTERS = frozenset({"lora", "dora", "qlora"})
"""Methods that leave the model as it is and train matrices beside it."""
LEARNING = {
    "full": frozenset(PARTS),
    "frozen-vision": frozenset(PARTS) - {"vision"},
    "projector": frozenset({"projector"}),
}
"""The parts that learn, for the methods without adapters."""

_SHORT = {"alpha": "lora_alpha", "dropout": "lora_dropout", "init": "init_lora_weights"}
_OURS = {"use_dora": "method", "task_type": "", "peft_type": "", "inference_mode": "", "base_model_name_or_path": ""}
"""Options of LoraConfig that the method decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """What of a model learns."""

    kind: Kind
    lora: Mapping[str, Any] = field(default_factory=dict)
    """For methods with adapters: options of peft's LoraConfig by their names there, or `alpha`, `dropout`, `init`."""
    checkpointing: bool = False
    """Activations are computed again on the way back instead of being kept: a third more time, far less memory."""

    def __post_init__(self) -> None:
        """Refuse a method or an option that there is not."""
        if self.kind not in KINDS:
            raise TrainError(f"there is no method {shown(self.kind)}", allowed=", ".join(KINDS))
        if self.lora and not self.adapters:
            raise TrainError(
                f"the method {self.kind!r} has no adapters, and {', '.join(map(shown, self.lora))} is given for them",
                hint=f"leave it out, or choose {', '.join(sorted(ADAPTERS))}",
            )

    @property
    def adapters(self) -> bool:
        """Does it train adapters?"""
        return self.kind in ADAPTERS

    @property
    def quantise(self) -> bool:
        """Must the model be loaded in 4 bits?"""
        return self.kind == "qlora"


def apply_method(model: Any, family: Family, method: Method) -> Any:
    """Return the model with the right parameters set to learn; for methods with adapters, wrapped by peft.

    For qlora the model has to be loaded with `quantise=True`.

    Raises:
        TrainError: an option of the adapters that there is not or that fits no layer; a model of another precision.
    """
    quantised = bool(getattr(model, "is_loaded_in_4bit", False))
    if method.quantise != quantised:
        raise TrainError(
            f"the method {method.kind!r} needs a model {'in' if method.quantise else 'not in'} 4 bits",
            hint=f"load it with quantise={method.quantise}",
        )
    model.requires_grad_(requires_grad=False)
    if method.adapters:
        learning = with_adapters(model, lora_config(model, family, method))
    else:
        learning = model
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(part_of(name, family) in LEARNING[method.kind])
    if method.checkpointing:
        # after peft, which would make the inputs of the layers learn for the sake of the reentrant kind
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    return learning


def lora_config(model: Any, family: Family, method: Method) -> Any:
    """Return peft's LoraConfig for a method with adapters.

    Raises:
        TrainError: an option that there is not, that the method decides, or whose value peft refuses.
    """
    from peft import LoraConfig

    known = {option.name for option in dataclasses.fields(LoraConfig) if option.init} - set(_OURS)
    options: dict[str, Any] = {"target_modules": family.lora_targets}
    for key, value in method.lora.items():
        name = _SHORT.get(key, key)
        if name not in known:
            hint = "choose the method 'dora'" if key == "use_dora" else nearest(key, known | set(_SHORT))
            raise TrainError(f"there is no option {shown(key)} of {method.kind} adapters to set", hint=hint)
        options[name] = value
    if options.get("modules_to_save") and tied(model):
        # else a copy of the embeddings learns, and the merged model has two that differ
        options.setdefault("ensure_weight_tying", True)
    try:
        return LoraConfig(task_type="CAUSAL_LM", use_dora=method.kind == "dora", **options)
    except (TypeError, ValueError) as error:
        raise TrainError(f"peft refuses the options of the adapters: {error}") from None
