"""Features: those of the card, of the footers, and the columns of every shard are the same."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.checks.dataset import REBUILD
from pipeline.checks.feature_fit import fits
from pipeline.checks.problem import Problem
from pipeline.checks.read_card import CARD

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa

    from pipeline.checks.dataset import Dataset


STRANGE = (ValueError, TypeError, KeyError, AttributeError, NotImplementedError, RecursionError)
"""What `datasets` raises on features that nobody wrote on purpose."""
MOST_KINDS = 50
"""Differing kinds of shards that are looked at: where each is another, the first ones say enough."""
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
"""Where the words of a class name meet."""
NAMED = 8
"""Columns that a message names."""


@dataclass(frozen=True)
class Kind:
    """Shards with the same columns and the same features in their footers."""

    shards: list[str]
    schema: pa.Schema

    @property
    def shown(self) -> str:
        """How people are told of it."""
        return self.shards[0] + (f" (and {len(self.shards) - 1:,} more)" if len(self.shards) > 1 else "")


def check_features(dataset: Dataset) -> Iterator[Problem]:
    """Features of the card = features in the footers = columns of every shard, but for casts that loading does."""
    for config in dataset.configs:
        names = (name for split in dataset.splits_of(config) for name in split.shards)
        kinds = _kinds_of(dataset, dict.fromkeys(names))
        written = dataset.info(config).get("features")
        if not kinds:
            continue
        if written is not None and not isinstance(written, list):
            message = f"the features of the card are a {type(written).__name__}, and must be a list"
            yield Problem(code="SW109", file=CARD, config=config, message=message, hint=REBUILD)
        elif written is not None:
            yield from _card_differs(config, written, kinds)
        else:
            for kind in kinds[1:]:
                for message in _shards_differ(kind, kinds[0]):
                    yield Problem(code="SW109", file=kind.shards[0], config=config, message=message, hint=REBUILD)


def _kinds_of(dataset: Dataset, names: Iterable[str]) -> list[Kind]:
    """Sort shards by what they hold; those without a readable footer are reported elsewhere."""
    kinds: list[Kind] = []
    for name in names:
        if (footer := dataset.footer(name)) is None:
            continue
        text = _text(footer.schema)
        for kind in reversed(kinds):
            if text == _text(kind.schema) and footer.schema.equals(kind.schema, check_metadata=False):
                kind.shards.append(name)
                break
        else:
            if len(kinds) < MOST_KINDS:
                kinds.append(Kind([name], footer.schema))
    return kinds


def _text(schema: pa.Schema) -> bytes | None:
    return (schema.metadata or {}).get(b"huggingface")


def _shards_differ(kind: Kind, first: Kind) -> Iterator[str]:
    """Say how the columns of shards differ from those of the first ones, to which loading casts them."""
    here, there = set(kind.schema.names), set(first.schema.names)
    if here != there:
        yield _columns(kind, here - there, there - here, first.shown)
        return
    wanted, found = _read(first.schema), _read(kind.schema)
    if isinstance(wanted, str) or isinstance(found, str):
        yield f"the features in its footer cannot be read: {found if isinstance(found, str) else wanted}"
        return
    for name, feature in found.items():
        if not fits(wanted[name], feature, by_hand=False):
            yield f"{name!r} is {_short(feature)}, and {_short(wanted[name])} in {first.shown}"


def _columns(kind: Kind, more: set[str], fewer: set[str], other: str) -> str:
    """Say which columns are not on both sides."""
    says = []
    if more:
        says.append(f"{other} has no {_listed(more)} of {kind.shown}; loading fails on that")
    if fewer:
        says.append(f"{kind.shown} has no {_listed(fewer)} of {other}; loading fills that with nulls")
    return "; ".join(says)


def _listed(names: set[str]) -> str:
    shown = ", ".join(repr(name[:60]) for name in sorted(names)[:NAMED])
    return shown + (f" and {len(names) - NAMED:,} more" if len(names) > NAMED else "")


def _short(feature: Any) -> str:
    text = " ".join(str(feature).split())
    return text if len(text) <= 200 else f"{text[:200]}…"


def _read(schema: pa.Schema) -> Any:
    """Return the features of a shard as `datasets` reads them, or why it cannot."""
    from datasets import Features  # late, because it takes a second

    try:
        return Features.from_arrow_schema(schema)
    except STRANGE as error:
        return f"{type(error).__name__}: {error}"[:300]


def _features(schema: pa.Schema) -> Any:
    text = _text(schema)
    try:
        return json.loads(text)["info"]["features"] if text else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _as_yaml(features: Any) -> list[dict[str, Any]] | None:
    """Return the features of a footer as a card usually lists them; None: that is for `datasets` to say."""
    try:
        return [{"name": name, **_feature_yaml(feature)} for name, feature in features.items()]
    except (AttributeError, KeyError, TypeError, RecursionError):
        return None


def _feature_yaml(feature: Any) -> dict[str, Any]:
    """Follow `Features._to_yaml_list` of datasets 5.2."""
    if isinstance(feature, list):
        return {"list": _simply(_feature_yaml(feature[0]))}
    kind = feature.get("_type")
    rest = {key: value for key, value in feature.items() if key != "_type"}
    if kind == "Value":
        return rest
    if kind in ("List", "LargeList"):
        item = _simply(_feature_yaml(rest.pop("feature")))
        return {"list" if kind == "List" else "large_list": item, **rest}
    if kind is None:
        return {"struct": [{"name": name, **_feature_yaml(item)} for name, item in feature.items()]}
    if kind == "ClassLabel" and isinstance(rest.get("names"), list):
        rest["names"] = {str(number): name for number, name in enumerate(rest["names"])}
    snake = _WORDS.sub("_", kind).lower()
    return {"dtype": {snake: rest}} if rest else {"dtype": snake}


def _simply(item: dict[str, Any]) -> Any:
    return next(iter(item.values())) if list(item) in (["dtype"], ["struct"]) else item


def _card_differs(config: str, written: list[Any], kinds: list[Kind]) -> Iterator[Problem]:
    """Compare the features that the card lists with those of the shards."""
    problem = functools.partial(Problem, code="SW109", file=CARD, config=config, hint=REBUILD)
    names = {str(entry.get("name")) for entry in written if isinstance(entry, dict)}
    rest = []
    for kind in kinds:
        columns = set(kind.schema.names)
        if names != columns:
            yield problem(message=_columns(kind, columns - names, names - columns, "the card"))
        elif repr(written) != repr(_as_yaml(_features(kind.schema))):  # the order of keys counts for `datasets`
            rest.append(kind)
    if not rest:
        return
    from datasets import Features  # late, because it takes a second

    try:
        card = Features._from_yaml_list(written)  # noqa: SLF001  (the reading that `load_dataset` itself does)
    except STRANGE as error:
        message = f"the card's features cannot be read: {type(error).__name__}: {error}"[:400]
        yield problem(message=message)
        return
    for kind in rest:
        shards = _read(kind.schema)
        if isinstance(shards, str):
            message = f"the features in its footer cannot be read: {shards}"
            yield Problem(code="SW109", file=kind.shards[0], config=config, message=message, hint=REBUILD)
            continue
        for name, feature in card.items():
            if not fits(feature, shards[name], by_hand=_features(kind.schema) is None):
                message = f"the card says {name!r} is {_short(feature)}, {kind.shown} says {_short(shards[name])}"
                yield problem(key=name, message=message)
