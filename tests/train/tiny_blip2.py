"""A tiny BLIP-2 with random weights: about 0.1 million parameters, which says another thing of every picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from train.tiny import CORPUS, TEXT, VISION
from train.torchvision_ops import ensure_torchvision

if TYPE_CHECKING:
    from pathlib import Path

QUERIES = 4
ROLES = {"bos_token": "</s>", "eos_token": "</s>", "pad_token": "<pad>"}


def make_tiny_blip2(folder: Path, *, seed: int = 0) -> Path:
    """Write it with its processor, and return its folder."""
    ensure_torchvision()
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=["<pad>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    words.train_from_iterator(CORPUS, trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, **ROLES)
    size = {"height": 28, "width": 28}
    images = transformers.BlipImageProcessor(size=size)
    processor = transformers.Blip2Processor(images, tokenizer, num_query_tokens=QUERIES)
    numbers = {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 0, "vocab_size": len(tokenizer) + 7}
    layers = {"num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.Blip2Config(
        vision_config=VISION | layers | {"image_size": 28, "patch_size": 14},
        qformer_config=VISION | layers | {"vocab_size": 8},
        text_config={
            "model_type": "opt",
            "hidden_size": TEXT["hidden_size"],
            "word_embed_proj_dim": TEXT["hidden_size"],
            "ffn_dim": TEXT["intermediate_size"],
            "max_position_embeddings": 256,
            **layers,
            **numbers,
        },
        num_query_tokens=QUERIES,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = transformers.Blip2ForConditionalGeneration(config)
        # as drawn, nothing that is seen would change what is said
        for name, weights in model.named_parameters():
            if weights.ndim > 1:
                weights.normal_(0, 1.0 if "query" in name or "projection" in name else 0.2)
    model.generation_config.eos_token_id = 1
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
