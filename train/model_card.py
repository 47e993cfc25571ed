"""The card of a trained model: README.md, computed from what its run recorded, around what people wrote.

---
license: …                           written by people, kept to the byte
# shardwright:begin …                generated: base_model, datasets, model-index and the like
# shardwright:end
---
# Title                              written by people
<!-- shardwright:begin facts … -->   generated: training, data, losses, scores, how to use it, limits
<!-- shardwright:end facts -->

A fact that is not known is left out; none is guessed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import yaml

from pipeline.card_text import CardText, join_card, split_card
from pipeline.errors import Mistake, RecipeError
from train.card_facts import cell, facts_text
from train.scoring.scores import title_of

if TYPE_CHECKING:
    from train.model_facts import ModelFacts

MADE_FROM = "the run"
COMPUTED = ("base_model", "base_model_relation", "library_name", "pipeline_tag", "datasets", "model-index")
"""Keys of the front matter that people do not write."""


def model_card(facts: ModelFacts, human: str = "", *, file: str = "card.md") -> str:
    """Return a model's README.md.

    `human` is Markdown that people wrote, with or without front matter and markers; it is kept. `file` names it in
    messages.

    Raises:
        RecipeError: its front matter is no YAML, or says what is computed.
    """
    card = split_card(human, file=file)
    _check_human(facts, card, file)
    if not card.body.strip():
        card = replace(card, body=f"# {cell(facts.name)}\n")
    metadata = {key: value for key, value in _metadata(facts).items() if key not in card.metadata}
    block = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True, width=1_000)
    return join_card(card, yaml_block=block, facts=facts_text(facts), made_from=MADE_FROM)


def _check_human(facts: ModelFacts, card: CardText, file: str) -> None:
    def mistake(key: str, message: str, hint: str) -> Mistake:
        lines = enumerate(card.front.splitlines(), start=2)
        line = next((number for number, text in lines if text.startswith(f"{key}:")), 2)
        return Mistake(file=file, line=line, key=key, message=message, hint=hint)

    mistakes = [
        mistake(key, "this key is computed from the run", "remove it from the human part")
        for key in COMPUTED
        if key in card.metadata
    ]
    said = card.metadata.get("license")
    if facts.license and said not in (None, facts.license):
        what = f"the licence is {said!r} here, and {facts.license!r} in what the run was told"
        mistakes.append(mistake("license", what, "say the same in both, or only in one of them"))
    if mistakes:
        raise RecipeError(mistakes)


def _metadata(facts: ModelFacts) -> dict[str, Any]:
    """Return the front matter as Hugging Face reads it (https://huggingface.co/docs/hub/model-cards)."""
    adapter = facts.kind == "adapter"
    relation = "adapter" if adapter else "finetune"
    metadata: dict[str, Any] = {
        "license": facts.license,
        "language": list(facts.languages),
        "base_model": facts.base_model if facts.base_is_published else "",
        "base_model_relation": relation if facts.base_is_published else "",
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": _pipeline_tag(facts),
        "datasets": list(dict.fromkeys(one.dataset for one in facts.data if one.hub == "huggingface")),
        "tags": list(dict.fromkeys(filter(None, ["shardwright", facts.method, facts.family, *facts.tags]))),
        "model-index": _model_index(facts),
    }
    return {key: value for key, value in metadata.items() if value}


def _model_index(facts: ModelFacts) -> list[dict[str, Any]]:
    """Return the scores as Hugging Face reads them, where the rows they are of are there."""
    data = facts.evaluation_data
    metrics = [
        {"type": name.partition("/")[0], "name": title_of(name), "value": value}
        for name, value in facts.values.items()
        if value is not None
    ]
    if data is None or data.hub != "huggingface" or not metrics:
        return []
    dataset = {"type": data.dataset, "name": data.dataset, "config": data.config, "split": data.split}
    dataset["revision"] = data.revision
    known = {key: value for key, value in dataset.items() if value}
    result = {"task": {"type": _pipeline_tag(facts)}, "dataset": known, "metrics": metrics}
    return [{"name": facts.repo or facts.name, "results": [result]}]


def _pipeline_tag(facts: ModelFacts) -> str:
    return "video-text-to-text" if facts.media == {"video"} else "image-text-to-text"
