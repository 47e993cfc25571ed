"""Reading a training's configuration, from a file of its own or the `train` of a recipe: every mistake at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from pipeline.conversation import Ready, Turn
from pipeline.document import Document, Location, nearest, read_document, shown
from pipeline.errors import Mistake, RecipeError
from pipeline.model_check import mistakes_of
from train.models.methods import ADAPTERS
from train.runs.option_names import OWNED, lora_options, training_arguments
from train.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LORA_SHORT = ("alpha", "dropout", "init")
"""Short names of options of LoraConfig."""
LORA_OWNED = ("use_dora", "task_type", "peft_type", "inference_mode", "base_model_name_or_path")
"""Options of LoraConfig that the method decides."""

_TURNS: TypeAdapter[list[Turn]] = TypeAdapter(list[Turn])

Found = tuple[Location, str, str]
"""A place, what is wrong there, and what is allowed."""


def read_settings(path: Path, *, elsewhere: bool = False) -> Settings:
    """Return the settings of a file; `elsewhere` says that the rows come from somewhere that it need not name.

    Raises:
        RecipeError: every mistake in it, with line and nearest valid key.
    """
    document = read_document(path)
    settings, mistakes = check_settings(document)
    if settings is not None and not elsewhere:
        for at, one in enumerate(settings.resolved()):
            if one.data.dataset is None and one.data.recipe is None:
                mistakes.append(_nowhere(document, ("stages", at, "data") if settings.stages else ("data",)))
    if settings is None or mistakes:
        raise RecipeError(mistakes)
    return settings


def settings_of_recipe(document: Document, folder: Path) -> tuple[Settings | None, list[Mistake]]:
    """Check what a recipe says under `train`; `folder` is the recipe's.

    Returns the settings, or None when there are mistakes or nothing is said.
    """
    said = document.value.get("train")
    if isinstance(said, str):
        path = folder / said
        if not _is_file(path):
            return None, [
                document.mistake(("train",), f"there is no file {said!r}", "paths start at the recipe's folder")
            ]
        try:
            inner = read_document(path)
        except RecipeError as error:
            return None, error.mistakes
        return check_settings(inner)
    if not isinstance(said, dict):
        return None, []
    settings, mistakes = check_settings(document, ("train",))
    if settings is not None:
        for key in ("dataset", "recipe"):
            if getattr(settings.data, key) is not None:
                what = "a recipe trains on its own dataset"
                mistakes.append(
                    document.mistake(("train", "data", key), what, "write a file of its own, with `model: …`")
                )
    return (None if mistakes else settings), mistakes


def check_settings(document: Document, prefix: Location = ()) -> tuple[Settings | None, list[Mistake]]:
    """Check what stands at a place of a document; returns the settings or None, and every mistake."""
    value: Any = document.value
    for part in prefix:
        value = value[part]
    mistakes = list(document.mistakes) if not prefix else []
    settings: Settings | None = None
    try:
        settings = Settings.model_validate(value)
    except ValidationError as error:
        mistakes += mistakes_of(error, Settings, document, prefix)
    for place, holder in _holders(value):
        mistakes += _conversation(holder, document, (*prefix, *place))
    for place, message, hint in (*_option_names(value), *(_contradictions(settings) if settings else ())):
        mistakes.append(document.mistake(document.standing((*prefix, *place)), message, hint))
    return (None if mistakes else settings), mistakes


def _is_file(path: Path) -> bool:
    """Tell whether there is a file; a path that no disk could hold is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _nowhere(document: Document, place: Location) -> Mistake:
    return document.mistake(
        document.standing(place),
        "nothing says which rows are learnt from",
        "write `data: {dataset: …}` or `data: {recipe: …}`",
    )


def parsed_conversation(said: Any) -> list[Turn] | Ready | None:
    """Return what `data.conversation` of checked settings says."""
    if said is None:
        return None
    return Ready.model_validate(said) if isinstance(said, dict) else _TURNS.validate_python(said)


def _conversation(holder: dict[str, Any], document: Document, place: Location) -> list[Mistake]:
    data = holder.get("data")
    said = data.get("conversation") if isinstance(data, dict) else None
    place = (*place, "data", "conversation")
    if said is None:
        return []
    if not said or not isinstance(said, dict | list):
        what = f"{shown(said)} is no conversation"
        return [document.mistake(place, what, "a list of turns, or `column` with a column of messages")]
    try:
        parsed_conversation(said)
    except ValidationError as error:
        return mistakes_of(error, Ready if isinstance(said, dict) else list[Turn], document, place)
    return []


def _holders(value: Any) -> Iterator[tuple[Location, dict[str, Any]]]:
    """Yield the whole and its stages, as far as they hold keys."""
    if isinstance(value, dict):
        yield (), value
        stages = value.get("stages")
        for at, stage in enumerate(stages if isinstance(stages, list) else ()):
            if isinstance(stage, dict):
                yield ("stages", at), stage


def _option_names(value: dict[str, Any]) -> Iterator[Found]:
    """Yield options of transformers and peft that there are not, or that follow from other keys."""
    for place, holder in _holders(value):
        known = training_arguments()
        given = holder.get("arguments")
        for name in given if isinstance(given, dict) else ():
            if name in OWNED:
                yield (*place, "arguments", name), "this follows from something else", OWNED[name]
            elif known is not None and name not in known:
                yield (
                    (*place, "arguments", name),
                    "TrainingArguments has no such field",
                    nearest(name, known - set(OWNED)),
                )
        options = lora_options()
        given = holder.get("lora")
        for name in given if isinstance(given, dict) else ():
            if name in LORA_OWNED:
                yield (
                    (*place, "lora", name),
                    "the method decides it",
                    "write `method: dora`" if name == "use_dora" else "",
                )
            elif options is not None and name not in options and name not in LORA_SHORT:
                hint = "write `r`" if name == "rank" else nearest(name, options | set(LORA_SHORT))
                yield (*place, "lora", name), "LoraConfig has no such option", hint


def _contradictions(settings: Settings) -> Iterator[Found]:
    """Yield what cannot be meant together."""
    stages = settings.resolved()
    for at, one in enumerate(stages):
        place: Location = ("stages", at) if settings.stages else ()
        if one.epochs is not None and one.steps is not None:
            yield (*place, "steps"), "the training is as long as `epochs` or `steps` says, not both", ""
        own = settings.stages[at] if settings.stages else settings
        if one.lora and one.method not in ADAPTERS and "lora" in own.model_fields_set:
            allowed = f"it goes with the methods {', '.join(sorted(ADAPTERS))}"
            yield (*place, "lora"), f"the method {one.method!r} has no adapters", allowed
        if one.global_batch_size is not None and one.accumulation is not None:
            yield (*place, "accumulation"), "it follows from `global_batch_size`", "leave one of them out"
        if one.global_batch_size is not None and one.batching.samples is None:
            what = "with `batching.tokens` the rows of a step differ"
            yield (*place, "global_batch_size"), what, "write `accumulation`, or `batching.samples`"
        if one.data.eval is None and one.evaluate_every is not None:
            yield (*place, "evaluate_every"), "there is no split to evaluate on", "write `data: {eval: …}`"
        if one.vision_cache and one.method == "full":
            yield (*place, "vision_cache"), "the vision tower learns, so that it makes something else each time", ""
        if one.over == "fewer_frames" and one.max_tokens is None:
            yield (
                (*place, "over"),
                "frames are taken away down to `max_tokens`, which is left out",
                "write `max_tokens`",
            )
        if at < len(stages) - 1 and one.method in ADAPTERS:
            what = f"a stage with {one.method!r} ends with adapters, and the next begins with a whole model"
            yield (*place, "method"), what, "only the last stage can have adapters"
    if settings.evaluate is not None and stages[-1].data.eval is None:
        yield ("evaluate",), "there is no split to evaluate on", "write `data: {eval: …}`"
