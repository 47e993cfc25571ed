"""The options of transformers and peft by name, read from their source: importing them takes seconds, and torch."""

from __future__ import annotations

import ast
import functools
import importlib.util
from pathlib import Path

OWNED = {
    "output_dir": "a run lies in the folder that `--runs` and `--name` say",
    "per_device_train_batch_size": "write `batching: {samples: …}` or `batching: {tokens: …}`",
    "per_device_eval_batch_size": "the batches of an evaluation are made like those of the training, see `batching`",
    "gradient_accumulation_steps": "write `global_batch_size`; how many batches are accumulated follows from it",
    "auto_find_batch_size": "the batches are planned before the first step; write `batching`",
    "num_train_epochs": "write `epochs`",
    "max_steps": "write `steps`",
    "learning_rate": "write `learning_rate` without `arguments` around it",
    "bf16": "write `precision`",
    "fp16": "write `precision`",
    "bf16_full_eval": "write `precision`",
    "fp16_full_eval": "write `precision`",
    "gradient_checkpointing": "write `gradient_checkpointing` without `arguments` around it",
    "gradient_checkpointing_kwargs": "write `gradient_checkpointing` without `arguments` around it",
    "activation_checkpointing": "write `gradient_checkpointing`",
    "activation_checkpointing_kwargs": "write `gradient_checkpointing`",
    "use_liger_kernel": "write `liger`",
    "use_cache": "there is nothing to keep for later tokens while a model is trained",
    "label_smoothing_factor": "the Trainer would compare each token with itself instead of the next for these models",
    "average_tokens_across_devices": "a step's loss is always the mean over the answers' tokens of all devices",
    "logging_strategy": "write `log_every`",
    "logging_steps": "write `log_every`",
    "logging_first_step": "the first step is always logged",
    "logging_nan_inf_filter": "a loss that is no number stops the run, and names the rows",
    "disable_tqdm": "progress is a bar on a terminal and lines in a log",
    "report_to": "write `report_to` without `arguments` around it",
    "eval_strategy": "write `evaluate_every`",
    "eval_steps": "write `evaluate_every`",
    "prediction_loss_only": "an evaluation within the training is its loss",
    "eval_do_concat_batches": "an evaluation within the training is its loss",
    "eval_use_gather_object": "an evaluation within the training is its loss",
    "eval_accumulation_steps": "an evaluation within the training is its loss",
    "include_for_metrics": "an evaluation within the training is its loss",
    "batch_eval_metrics": "an evaluation within the training is its loss",
    "include_num_input_tokens_seen": "metrics.jsonl counts the tokens",
    "skip_memory_metrics": "metrics.jsonl holds the memory",
    "save_strategy": "write `save_every`",
    "save_steps": "write `save_every`",
    "save_total_limit": "the last and the best checkpoint are kept",
    "save_only_model": "checkpoints hold what it takes to go on",
    "enable_jit_checkpoint": "a checkpoint is saved when the run is interrupted",
    "load_best_model_at_end": "the best checkpoint lies in the folder best/",
    "metric_for_best_model": "the best checkpoint is the one with the least loss on `data.eval`",
    "greater_is_better": "the best checkpoint is the one with the least loss on `data.eval`",
    "push_to_hub": "run `shardwright publish` when the training is done",
    "hub_token": "run `shardwright publish` when the training is done",
    "hub_private_repo": "run `shardwright publish` when the training is done",
    "hub_model_id": "run `shardwright publish` when the training is done",
    "hub_strategy": "run `shardwright publish` when the training is done",
    "hub_always_push": "run `shardwright publish` when the training is done",
    "hub_revision": "run `shardwright publish` when the training is done",
    "resume_from_checkpoint": "a run goes on by itself where it stopped",
    "ignore_data_skip": "a run goes on with the row behind the last one",
    "restore_callback_states_from_checkpoint": "a run goes on by itself where it stopped",
    "seed": "write `seed` without `arguments` around it",
    "data_seed": "write `seed`",
    "use_cpu": "use `--device cpu`",
    "dataloader_drop_last": "every row is in a batch",
    "dataloader_num_workers": "write `workers`",
    "dataloader_persistent_workers": "workers live as long as the training",
    "dataloader_multiprocessing_context": "workers are forked",
    "dataloader_in_order": "the order of the rows is part of a run",
    "train_sampling_strategy": "write `batching: {by_length: true}`",
    "length_column_name": "lengths are counted from the rows themselves",
    "remove_unused_columns": "a batch holds what the model takes",
    "label_names": "labels are the tokens of the answers",
    "parallelism_config": "it is no value that a file can hold; use `fsdp`",
    "trackio_space_id": "the training touches no network",
    "trackio_bucket_id": "the training touches no network",
    "trackio_static_space_id": "the training touches no network",
    "project": "it is for services that the training does not talk to",
    "run_name": "use `--name`",
    "do_train": "it means nothing to the Trainer itself",
    "do_eval": "it means nothing to the Trainer itself",
    "do_predict": "it means nothing to the Trainer itself",
    "local_rank": "the launcher says it",
}
"""Fields of TrainingArguments that follow from something else, and what to do instead."""


@functools.cache
def training_arguments() -> frozenset[str] | None:
    """Return the fields of transformers' TrainingArguments, or None where transformers is not installed."""
    return _fields("transformers", "training_args.py", "TrainingArguments")


@functools.cache
def lora_options() -> frozenset[str] | None:
    """Return the fields of peft's LoraConfig, or None where peft is not installed."""
    return _fields("peft", "tuners/lora/config.py", "LoraConfig")


def _fields(package: str, file: str, name: str) -> frozenset[str] | None:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    tree = ast.parse((Path(spec.origin).parent / file).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return frozenset(
                line.target.id
                for line in node.body
                if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
            )
    raise AssertionError(f"{package} has no class {name} in {file}")
