"""Features: those of the card, of the footers, and the columns of every shard are the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.checks.dataset import REBUILD
from pipeline.checks.problem import Problem
from pipeline.checks.read_card import CARD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.checks.dataset import Dataset


def check_features(dataset: Dataset) -> Iterator[Problem]:
    """Features of the card = features in the footers = columns of every shard."""
    for config in dataset.configs:
        first: tuple[str, pa.Schema] | None = None
        for name in (name for split in dataset.splits_of(config) for name in split.shards):
            footer = dataset.footer(name)
            if footer is None:
                continue  # reported as SW301
            if first is None:
                first = name, footer.schema
                yield from _card_differs(dataset, config, name, footer.schema)
            elif message := _shards_differ(footer.schema, *first):
                yield Problem(code="SW109", file=name, config=config, message=message, hint=REBUILD)


def _shards_differ(schema: pa.Schema, first_name: str, first: pa.Schema) -> str:
    """Say how the columns of a shard differ from those of the first one, or nothing."""
    if schema.equals(first, check_metadata=False) and _features(schema) == _features(first):
        return ""
    here, there = dict(zip(schema.names, schema.types, strict=True)), dict(zip(first.names, first.types, strict=True))
    for name in dict.fromkeys([*there, *here]):
        if here.get(name) != there.get(name):
            return f"{name!r} is {here.get(name, 'not there')}, and {there.get(name, 'not there')} in {first_name}"
    if list(here) != list(there):
        return ""  # another order, which loaders do not mind
    return f"its features are not those of {first_name}"


def _features(schema: pa.Schema) -> Any:
    text = (schema.metadata or {}).get(b"huggingface")
    try:
        return json.loads(text)["info"]["features"] if text else None
    except (ValueError, KeyError, TypeError):
        return None


def _as_yaml(features: Any) -> list[dict[str, Any]] | None:
    """Return the features of a footer as a card usually lists them; None: that is for `datasets` to say."""
    try:
        return [{"name": name, **_feature_yaml(feature)} for name, feature in features.items()]
    except (AttributeError, KeyError, TypeError):
        return None


def _feature_yaml(feature: dict[str, Any]) -> dict[str, Any]:
    match feature.get("_type"):
        case "Value":
            return {"dtype": feature["dtype"]}
        case "Image" | "Video" | "Json" as kind:
            return {"dtype": kind.lower()}
        case "ClassLabel":
            names = {str(number): name for number, name in enumerate(feature["names"])}
            return {"dtype": {"class_label": {"names": names}}}
        case "List":
            inner = _feature_yaml(feature["feature"])
            return {"list": next(iter(inner.values())) if list(inner) in (["dtype"], ["struct"]) else inner}
        case None:
            return {"struct": [{"name": name, **_feature_yaml(item)} for name, item in feature.items()]}
    raise KeyError(feature["_type"])


def _card_differs(dataset: Dataset, config: str, shard: str, schema: pa.Schema) -> Iterator[Problem]:
    written = dataset.info(config).get("features")
    if written is None:
        return  # then `datasets` takes those of the shards
    if not isinstance(written, list):
        message = f"the features of the card are a {type(written).__name__}, and must be a list"
        yield Problem(code="SW109", file=CARD, config=config, message=message, hint=REBUILD)
        return
    names = [entry.get("name") for entry in written if isinstance(entry, dict)]
    if sorted(map(str, names)) != sorted(schema.names):
        message = f"the card lists the columns {names}, the shards have {schema.names}"
        yield Problem(code="SW109", file=CARD, config=config, message=message, hint=REBUILD)
        return
    if written == _as_yaml(_features(schema)):
        return
    from datasets import Features  # late, because it takes a second

    try:
        card = Features._from_yaml_list(written)  # noqa: SLF001  (the reading that `load_dataset` itself does)
    except (ValueError, TypeError, KeyError) as error:
        message = f"the card's features cannot be read: {error}"
        yield Problem(code="SW109", file=CARD, config=config, message=message, hint=REBUILD)
        return
    if _features(schema) is None:
        # shards of somebody else's hold no features: `datasets` casts them to those of the card
        card = Features.from_arrow_schema(pa.schema(list(card.arrow_schema)))
    shards = Features.from_arrow_schema(schema)
    for name, feature in card.items():
        if shards[name] != feature:
            message = f"the card says {name!r} is {feature}, {shard} says {shards[name]}"
            yield Problem(code="SW109", file=CARD, config=config, key=name, message=message, hint=REBUILD)
