"""BLIP-2: one image, and a text that goes on with the prompt or, without one, describes it.

It is no family that can be trained here; it writes captions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from pipeline.workspace import read_json
from train.evaluation.generate import memory_errors
from train.example import TrainError
from train.models.load import load_processor, quiet, read_model
from train.torchvision_ops import ensure_torchvision

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np

MODEL_TYPE = "blip-2"


def is_blip2(folder: Path) -> bool:
    """Tell whether the model in a folder is one."""
    config = read_json(folder / "config.json")
    return isinstance(config, dict) and config.get("model_type") == MODEL_TYPE


class Blip2:
    """A model that is loaded."""

    def __init__(self, folder: Path, *, dtype: str, device: str) -> None:
        """Load it.

        Raises:
            TrainError: it is not whole, or cannot be had like this on this machine.
        """
        ensure_torchvision()
        self._processor = load_processor(folder)
        self._model = read_model(folder, dtype=dtype, attention="sdpa", device=device).eval()
        self._processor.tokenizer.padding_side = "left"
        self._name_the_image_token()

    def captions(
        self, images: Sequence[np.ndarray], prompts: Sequence[str] | None, *, max_new_tokens: int
    ) -> list[str]:
        """Return what the model says, greedily, to each image and its prompt, all at once.

        Args:
            images: Each [height, width, 3] of uint8.
            prompts: One for each; None: it describes them.
            max_new_tokens: Of a caption at the most.

        Raises:
            TrainError: the device's memory is too small.
        """
        if not images:
            return []
        model, tokenizer = self._model, self._processor.tokenizer
        text = {"text": list(prompts), "padding": True} if prompts is not None else {}
        with quiet():
            inputs = self._processor(images=list(images), return_tensors="pt", **text)
        given = {
            name: value.to(model.device, model.dtype if value.is_floating_point() else value.dtype)
            for name, value in inputs.items()
        }
        greedy = self._greedy(max_new_tokens)
        with memory_errors(len(images)), torch.no_grad(), quiet():
            written = model.generate(**given, generation_config=greedy)
        if not model.config.text_config.is_encoder_decoder:
            # a decoder gives back what it was given before what it says: the image, a token of beginning, the prompt
            before = model.config.num_query_tokens + 1 if prompts is None else given["input_ids"].shape[1]
            written = written[:, before:]
        texts: list[str] = tokenizer.batch_decode(written, skip_special_tokens=True)
        return [one.strip() for one in texts]

    def _greedy(self, max_new_tokens: int) -> Any:
        from transformers import GenerationConfig

        model, text = self._model, self._model.config.text_config
        own = model.generation_config
        named = [own.eos_token_id, text.eos_token_id]
        ends = {one for ids in named for one in (ids if isinstance(ids, list) else [ids]) if one is not None}
        return GenerationConfig(
            do_sample=False,
            num_beams=1,
            max_new_tokens=max_new_tokens,
            bos_token_id=text.bos_token_id,
            eos_token_id=sorted(ends),
            pad_token_id=next(one for one in (text.pad_token_id, *sorted(ends)) if one is not None),
            decoder_start_token_id=getattr(text, "decoder_start_token_id", None),
            use_cache=True,
        )

    def _name_the_image_token(self) -> None:
        """Give checkpoints that are older than it the token that stands for the image, as newer ones have it."""
        model, processor = self._model, self._processor
        processor.num_query_tokens = model.config.num_query_tokens
        number = processor.tokenizer.convert_tokens_to_ids(str(processor.image_token))
        if model.config.image_token_index is None:
            model.config.image_token_index = number
        if number >= model.get_input_embeddings().num_embeddings:
            raise TrainError(
                "the tokenizer of this BLIP-2 has more tokens than the model", hint="take another copy of the model"
            )
