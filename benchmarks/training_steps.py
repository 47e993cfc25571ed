"""What a step takes of a processor, for the same rows batched in different ways: forward, backward and optimizer alone.

    python benchmarks/training_steps.py [--shape small] [--method lora] [--rows 12] [--rounds 2]

One process with one thread, and rows that are encoded beforehand, so that neither decoding nor a worker is in the
figures. The kinds of batches take turns. Processor seconds are told, and not the clock's, so that it can be run where
others use the machine too.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ["OMP_NUM_THREADS"] = "1"

from measure import print_machine
from training import Comparison
from training_models import SHAPES

if TYPE_CHECKING:
    from training_models import Shape

WHOLE, BY_SAMPLE, PLAIN = "packed, as a whole", "packed, by sample", "padded, as the plain loop"


def seconds(shape: Shape, *, method: str, rows: int, rounds: int) -> dict[str, list[float]]:
    """Return processor seconds a row of each kind of batch, once a round."""
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        compared = Comparison(Path(scratch), "video", rows, shape=shape, method=method, device="cpu")
        model, batches = batched(compared, rows, method)
    return stepped(model, batches, rows, rounds)


def batched(compared: Comparison, rows: int, method: Any) -> tuple[Any, dict[str, list[Any]]]:
    """Return a model that learns, and the rows in every kind of batch."""
    from train.batching.collate import collate
    from train.batching.learnt_logits import learnt_logits
    from train.batching.media import PIXELS
    from train.batching.pack import pack
    from train.models.load import load_model
    from train.models.methods import Method, apply_method
    from train.models.vision_features import compute_features, frozen_depth, take_features

    loaded, samples = load_model(compared.model), compared.shape.samples
    family, processor = loaded.family, loaded.processor
    data = compared.opened()
    encoded = [family.encode(processor, data.example(row)) for row in range(rows)]
    model = apply_method(loaded.model, family, Method(kind=method)).train()

    def groups(made: Any, examples: list[Any]) -> list[Any]:
        return [made(examples[start : start + samples]) for start in range(0, rows, samples)]

    def padded(examples: list[Any]) -> Any:
        return collate(examples, family, pad_id=processor.tokenizer.pad_token_id)

    def packed(examples: list[Any]) -> Any:
        return pack(examples, family, model.config)

    def every_token(examples: list[Any]) -> Any:
        batch = padded(examples)
        media = batch["input_ids"] == model.config.image_token_id
        return batch | {"labels": batch["input_ids"].masked_fill(media | (batch["attention_mask"] == 0), -100)}

    kinds = {
        PLAIN: groups(every_token, encoded),
        "padded, logits of learnt positions": [learnt_logits(one) for one in groups(padded, encoded)],
        WHOLE: groups(packed, encoded),
        BY_SAMPLE: groups(packed, encoded),
        f"{BY_SAMPLE}, logits of learnt positions": [learnt_logits(one) for one in groups(packed, encoded)],
    }
    if method != "full":
        depth = frozen_depth(model, family)
        featured = []
        for one in encoded:
            media = {name: own for name, own in one.media.items() if name not in PIXELS}
            featured.append(replace(one, media=media | compute_features(model, family, one.media, depth)))
        take_features(model, family)
        kinds["the same, kept features"] = [learnt_logits(one) for one in groups(packed, featured)]
    return model, kinds


def stepped(model: Any, batches: dict[str, list[Any]], rows: int, rounds: int) -> dict[str, list[float]]:
    """Learn from all batches of a kind after the other, again and again."""
    import torch

    from train.models.sample_attention import attend_by_sample, attend_whole

    learning = [own for own in model.parameters() if own.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-4, fused=True)
    found: dict[str, list[float]] = {name: [] for name in batches}
    for turn in range(rounds + 1):
        for name, own in batches.items():
            attend_whole(model)
            if name != WHOLE:
                attend_by_sample(model)
            began = time.process_time()
            # the first turn only warms up
            for batch in own if turn else own[:1]:
                model(**batch).loss.backward()
                torch.nn.utils.clip_grad_norm_(learning, 1.0)
                optimizer.step()
                optimizer.zero_grad()
            if turn:
                found[name].append((time.process_time() - began) / rows)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--method", choices=["lora", "frozen-vision", "full"], default="lora")
    parser.add_argument("--rows", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    print_machine()
    found = seconds(SHAPES[asked.shape], method=asked.method, rows=asked.rows, rounds=asked.rounds)
    print(f"{asked.shape}, {asked.method}, {asked.rows} rows of clips, median of {asked.rounds} rounds\n")
    print("| | processor s a row | plain loop's by it |\n|---|---:|---:|")
    for name, own in found.items():
        pairs = zip(found[PLAIN], own, strict=True)
        print(f"| {name} | {statistics.median(own):.3f} | {statistics.median(one / two for one, two in pairs):.2f} |")


if __name__ == "__main__":
    main()
