"""The check of a document against a pydantic model: every mistake, each with its line, in words for people."""

from __future__ import annotations

import copy
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ByteSize, ConfigDict, ValidationError

from pipeline.document import Document, Location, nearest, shown

if TYPE_CHECKING:
    from pipeline.errors import Mistake

M = TypeVar("M", bound="Strict")


class Strict(BaseModel):
    """A part of a document: frozen, and an unknown key is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False, strict=True, allow_inf_nan=False)


def check(model: type[M], document: Document) -> tuple[M | None, list[Mistake]]:
    """Check a document against a model; returns the model or None, and every mistake."""
    try:
        checked = model.model_validate(document.value)
    except ValidationError as error:
        return None, [*document.mistakes, *mistakes_of(error, model, document)]
    return (None if document.mistakes else checked), list(document.mistakes)


def salvage(model: type[M], document: Document) -> tuple[M | None, set[Location]]:
    """Check what is left of a document without its wrong keys, so that more mistakes can be found in it.

    Returns the model, or None when too little is left, and the places that were left out.
    """
    value = copy.deepcopy(document.value)
    lost: set[Location] = set()
    for _ in range(20):
        try:
            return model.model_validate(value), lost
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                place: Location = tuple(detail["loc"])
                if detail["type"] == "missing":
                    place = place[:-1]
                if any(place[:end] in lost for end in range(1, len(place) + 1)):
                    continue
                place = _take_out(value, place)
                if not place:
                    return None, lost
                lost.add(place)
    return None, lost


def _take_out(value: Any, location: Location) -> Location:
    """Remove what stands at a location, or its nearest ancestor that is there; returns where it was.

    With an item of a list go those behind it, so that the items before it keep their places.
    """
    holder, owner = value, None
    found: Location = ()
    for depth, part in enumerate(location):
        there = part in holder if isinstance(holder, dict) else isinstance(holder, list) and part in range(len(holder))
        if not there:
            break
        owner, holder, found = holder, holder[part], location[: depth + 1]
    if isinstance(owner, list):
        del owner[int(found[-1]) :]
    elif owner is not None:
        del owner[found[-1]]
    return found


def mistakes_of(error: ValidationError, annotation: Any, document: Document, prefix: Location = ()) -> list[Mistake]:
    """Return what is wrong according to pydantic, in words for people; `prefix` is where the checked value stands."""
    mistakes: dict[Location, Mistake] = {}
    for detail in error.errors(include_url=False):
        location = (*prefix, *detail["loc"])
        place = location if detail["type"] in ("missing", "extra_forbidden") else document.standing(location)
        if place[: len(prefix)] != prefix:
            place = prefix
        if detail["type"] == "missing":
            place = document.standing(location[:-1])
            missing = str(location[-1])
            known = _keys_at(annotation, place[len(prefix) :])
            hint = f"known: {', '.join(sorted(known))}" if known else ""
            mistakes.setdefault(location, document.mistake(place, f"the key {missing!r} is missing", hint))
            continue
        mistakes.setdefault(place, _mistake(annotation, document, prefix, place, detail))
    return list(mistakes.values())


def _mistake(annotation: Any, document: Document, prefix: Location, place: Location, detail: Any) -> Mistake:
    inner = place[len(prefix) :]
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return document.mistake(place, "unknown key", nearest(str(place[-1]), _keys_at(annotation, inner[:-1])))
    if kind == "value_error":
        return document.mistake(place, str(context["error"]))
    value = _at(document.value, place)
    for name, words in _LIMITS.items():
        if name in context:
            return document.mistake(place, f"{shown(value)} is not allowed", f"{words} {shown(context[name])}")
    if kind == "finite_number":
        return document.mistake(place, f"{shown(value)} is not a number to count with")
    if kind in ("too_short", "string_too_short"):
        return document.mistake(place, f"{shown(value)} is empty", "something must stand here")
    if kind == "string_too_long":
        return document.mistake(place, f"{shown(value)} is too long", _amount(context["max_length"], "character"))
    if kind == "string_pattern_mismatch":
        return document.mistake(place, f"{shown(value)} has not the right form", f"it must match {context['pattern']}")
    wanted = _wanted(_follow(annotation, inner))
    hint = f"in quotes it is a text: '{value}'" if wanted == "a text" and type(value) in (int, float, bool) else ""
    if isinstance(value, dict) and "keys with values" not in wanted and not wanted.startswith("the keys"):
        return document.mistake(place, f"keys with values stand here; wanted: {wanted}", hint)
    return document.mistake(place, f"{shown(value)} is not allowed here; wanted: {wanted}", hint)


_LIMITS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


def _amount(count: int, noun: str) -> str:
    return f"at most {count} {noun}{'s' if count != 1 else ''}"


def _at(value: Any, location: Location) -> Any:
    for part in location:
        value = value[part]
    return value


def _wanted(annotation: Any) -> str:
    """Describe what the model allows at a place, in words."""
    names = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", ByteSize: "a size"}
    words: list[str] = []
    for choice in _alternatives(annotation):
        origin = get_origin(choice)
        if choice is NoneType:
            continue
        if choice in names:
            words.append(names[choice])
        elif origin is Literal:
            words.append(" or ".join(map(str, get_args(choice))))
        elif origin in (list, tuple):
            words.append("a list of texts" if get_args(choice)[0] is str else "a list")
        elif isinstance(choice, type) and issubclass(choice, BaseModel):
            words.append(f"the keys {', '.join(_fields(choice))}")
        else:
            words.append("keys with values")
    return ", or ".join(dict.fromkeys(words))


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {info.alias or name: info.annotation for name, info in model.model_fields.items()}


def _keys_at(annotation: Any, location: Location) -> set[str]:
    """Return the keys that the model allows at a place of the document."""
    for candidate in _alternatives(_follow(annotation, location)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return set(_fields(candidate))
    return set()


def _follow(annotation: Any, location: Location) -> Any:
    for part in location:
        annotation = _step(annotation, part)
    return annotation


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return tuple(inner for argument in get_args(annotation) for inner in _alternatives(argument))
    return (annotation,)


def _step(annotation: Any, part: str | int) -> Any:
    for candidate in _alternatives(annotation):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel) and part in _fields(candidate):
            return _fields(candidate)[str(part)]
        if get_origin(candidate) is dict:
            return get_args(candidate)[1]
        if get_origin(candidate) in (list, tuple) and isinstance(part, int):
            return get_args(candidate)[0]
    return None
