"""Adapters merged into their model, as a folder that anything loads which loads the model; proved before it is there.

    <out>/  config.json  generation_config.json      as the model has them
            model*.safetensors                       every weight that the model has, in its precision
            tokenizer, processor, chat template      those that it was trained with

It is made under a temporary name: merged in float32, where the merged model has to answer as the adapters do, written
in the model's own precision, then loaded by a process of its own, whose weights have to be those that were merged to
the bit, and whose answers have to be the same but for that precision's rounding. Only then is it renamed.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.printable import escaped
from pipeline.workspace import TEMPORARY, disk_errors
from train.example import TrainError
from train.models.adapters import read_adapters
from train.models.answer_logits import Difference, answers, difference, questions
from train.models.fresh_model import hashes, read_answers, write_questions
from train.models.load import PRECISIONS, load_model, load_processor, quiet
from train.models.parts import tied

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from train.example import Encoded
    from train.families.family import Family

MERGED_CLOSE = 1e-4
"""How far answers in float32 may move by merging, as a share of the largest logit: sums are taken in another order."""
WRITTEN_CLOSE = {"float32": 1e-4, "bfloat16": 1e-1, "float16": 2e-2}
"""How far answers may move when weights and sums are rounded to the precision that is written.

In bfloat16, 4e-3 was seen on tiny models of two layers; deeper ones round more often."""
SHARD_BYTES = "5GB"
PATIENCE = 3600
"""Seconds for the process that loads what was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeReport:
    """What was proved of a merged model."""

    folder: Path
    dtype: str
    """The precision of its weights."""
    weights: int
    """Tensors."""
    bytes: int
    """Of all files."""
    tied: bool
    """Is the head the matrix of the embeddings, as it is in the model?"""
    merged: Difference
    """In float32: the adapters beside the model, and merged into it."""
    written: Difference
    """The adapters beside the model in float32, and the written folder, loaded by a fresh process."""
    quantised: Difference | None
    """Where the adapters were trained beside a model in 4 bits: beside that, and beside the whole model in float32.
    They learnt to mend what 4 bits lose, so this is not small, and says what the merged model answers otherwise."""


def merge_adapter(
    base: Path,
    adapter: Path,
    out: Path,
    *,
    examples: Sequence[Encoded],
    family: Family | None = None,
    quantised: bool = False,
    device: str = "cpu",
) -> MergeReport:
    """Write a model with its adapters merged in, and return what was proved of it.

    Args:
        base: Folder of the model that the adapters were trained beside; never the quantised one.
        adapter: Folder of the adapters. A processor that was saved in it goes with the merged model, since options of
            it may have been set for the training; else that of the base does.
        out: The folder to make; there must be none yet.
        examples: Real rows, with learnt tokens, that both are asked about.
        family: Of the model, where its `model_type` is not that of one.
        quantised: Were they trained beside a model in 4 bits? Then that is asked too.
        device: Where it is merged; the written folder is loaded on the processor.

    Raises:
        TrainError: one of the folders cannot be used, or a proof fails; then there is no `out`.
        WorkspaceError: the disk is full or read-only.
    """
    assert examples, "a proof needs rows"
    if out.exists():
        raise TrainError(f"{out} is there already", hint="name a folder that is not there, or move it away")
    loaded = load_model(base, family=family, device=device)
    asked = questions(examples, loaded.family)
    beside = None
    if quantised:
        in_four_bits = load_model(base, family=family, device=device, quantise=True, dtype="bfloat16").model
        beside = answers(read_adapters(in_four_bits, adapter), asked)
        del in_four_bits
    names = set(loaded.model.state_dict())
    was_tied = tied(loaded.model)
    wrapped = read_adapters(loaded.model, adapter)
    expected = answers(wrapped, asked)
    merged, apart = _merged(wrapped, expected, asked)
    _check_names(names, set(merged.state_dict()))
    dtype = _precision(base)
    temporary = out.with_name(f"{TEMPORARY}{secrets.token_hex(4)}-{out.name}"[:250])
    with disk_errors(out):
        try:
            count = _write(merged, base, adapter, temporary, dtype)
            written = _proved(temporary, [loaded.family.name, dtype], asked, expected, hashes(merged))
            bytes_ = sum(path.stat().st_size for path in temporary.rglob("*") if path.is_file())
            temporary.rename(out)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    return MergeReport(
        folder=out,
        dtype=dtype,
        weights=count,
        bytes=bytes_,
        tied=was_tied and tied(merged),
        merged=apart,
        written=written,
        quantised=None if beside is None else difference(beside, expected),
    )


def _merged(wrapped: Any, expected: list[Tensor], asked: list[dict[str, Tensor]]) -> tuple[Any, Difference]:
    """Merge adapters into their model, which has to answer as before."""
    try:
        merged = wrapped.merge_and_unload(safe_merge=True)
    except ValueError as error:
        raise TrainError(f"the adapters cannot be merged: {escaped(str(error))[:300]}") from None
    apart = difference(expected, answers(merged, asked))
    if not apart.within(MERGED_CLOSE):
        raise TrainError(
            f"the merged model answers otherwise than its adapters: logits differ by {apart.largest:.3g}, of at most "
            f"{apart.scale:.3g}",
            hint="keep the adapters as they are, which a model can be loaded with",
        )
    return merged, apart


def _check_names(expected: set[str], names: set[str]) -> None:
    if names != expected:
        odd = ", ".join(sorted(names ^ expected)[:3])
        raise TrainError(
            f"the merged model has not the weights of its base: {len(names ^ expected)} differ, e.g. {odd}"
        )


def _precision(base: Path) -> str:
    """Return the precision in which most of a model's numbers are stored."""
    from safetensors import safe_open

    known = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
    found = dict.fromkeys(PRECISIONS, 0)
    for path in base.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  no dict
                part = file.get_slice(name)
                if part.get_dtype() in known:
                    size = 1
                    for side in part.get_shape():
                        size *= side
                    found[known[part.get_dtype()]] += size
    return max(found, key=found.__getitem__)


def _write(merged: Any, base: Path, adapter: Path, folder: Path, dtype: str) -> int:
    """Write a model with what lies beside its weights; returns how many weights were written."""
    import torch
    from safetensors import safe_open
    from transformers import GenerationConfig

    merged.to(getattr(torch, dtype))
    # written as a default, and then taken from the base as it is, since some released ones are refused
    merged.generation_config = GenerationConfig()
    with quiet():
        merged.save_pretrained(folder, max_shard_size=SHARD_BYTES)
        load_processor(adapter if any(adapter.glob("*processor_config.json")) else base).save_pretrained(folder)
    generation = folder / "generation_config.json"
    if (base / generation.name).is_file():
        shutil.copyfile(base / generation.name, generation)
    else:
        generation.unlink(missing_ok=True)
    count = 0
    for path in folder.iterdir():
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                count += len(file.keys())
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    return count


def _proved(
    folder: Path, kind: list[str], asked: list[dict[str, Tensor]], expected: list[Tensor], weights: dict[str, str]
) -> Difference:
    """Have a process of its own load a folder and answer; its weights have to be those that were merged.

    `kind` is the family's name and the precision.
    """
    import train

    questions_, answers_ = (folder / f"{TEMPORARY}{name}.safetensors" for name in ("questions", "answers"))
    write_questions(questions_, asked)
    command = [sys.executable, "-m", "train.models.fresh_model", str(folder), *kind, str(questions_), str(answers_)]
    ours = str(Path(train.__file__).parents[1])
    path = os.pathsep.join(filter(None, (ours, os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    try:
        done = subprocess.run(  # noqa: S603  our own module
            command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        raise TrainError(f"the merged model was not loaded by a fresh process within {PATIENCE} seconds") from None
    if done.returncode:
        said = escaped(" ".join(done.stderr.split()[-80:]))[-600:]
        raise TrainError(f"the merged model cannot be loaded by a fresh process: {said}")
    given, loaded = read_answers(answers_)
    for left_over in (questions_, answers_):
        left_over.unlink()
    if loaded != weights:
        odd = sorted(name for name in {*loaded, *weights} if loaded.get(name) != weights.get(name))
        raise TrainError(
            f"a fresh process loads other weights than were merged: {len(odd)} differ, e.g. {odd[0]}",
            hint="the disk may fail: write it to another one",
        )
    apart = difference(expected, given)
    if not apart.within(WRITTEN_CLOSE[kind[-1]]):
        raise TrainError(
            f"loaded by a fresh process, the merged model answers otherwise: logits differ by {apart.largest:.3g}, of "
            f"at most {apart.scale:.3g}",
            hint="keep the adapters as they are, which a model can be loaded with",
        )
    return apart
