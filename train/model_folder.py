"""Is a folder fit to be published as a model? What is looked at can be read in seconds; no tensor is loaded.

README.md                           card, with licence and base model
config.json                         a whole model: model.safetensors, or shards and model.safetensors.index.json
adapter_config.json                 or adapters: adapter_model.safetensors
processor_config.json               or preprocessor_config.json
tokenizer.json                      or tokenizer.model, or vocab.json and merges.txt
tokenizer_config.json
chat_template.jinja                 or the template in one of the other files
"""

from __future__ import annotations

import json
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from pipeline.card_text import split_card
from pipeline.checks.files import LocalFiles
from pipeline.checks.lfs_pointer import LFS_POINTER, LFS_PULL, is_lfs_pointer
from pipeline.checks.read_card import CARD, MAX_CARD_BYTES
from pipeline.errors import RecipeError
from pipeline.printable import escaped
from train.example import TrainError
from train.model_facts import is_repository
from train.safetensors_header import read_tensor_sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_INDEX = "model.safetensors.index.json"
_WHOLE, _ADAPTER = "model.safetensors", "adapter_model.safetensors"
_OF_TRAINING = re.compile(
    r"(?:optimizer|scheduler|scaler|rng_state|training_args|trainer_state)(?:[_\d]*\.\w+)|events\.out\.tfevents\..*"
)
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".distcp")
_PICKLE_STARTS = (*(bytes((0x80, protocol)) for protocol in range(2, 6)), b"PK\x03\x04")
"""Of pickles, and of the zip archives that torch writes."""
_PIECES_OF_TEXT = ("tokenizer.json", "vocab.json", "added_tokens.json", "special_tokens_map.json")
"""Files whose strings are what people write: one that looks like a path is none."""
_LOCAL_PATH = re.compile(r"(?:/[^/]+){2,}/?|~[\w.-]*/.+|[A-Za-z]:[\\/].+|file:/.+")
_NAMES = ("base_model_name_or_path", "_name_or_path", "name_or_path")
"""Keys by which a model is named that it was made from."""


def check_model_folder(folder: Path) -> list[str]:
    """Return what speaks against publishing a folder: file, what is wrong, what to do; nothing where it is fit.

    Raises:
        UsageError: there is no such folder.
    """
    files = _Folder(folder)
    checks: tuple[Callable[[_Folder], Iterator[str]], ...] = (_strays, _weights, _processor, _json_files, _card)
    return [problem for check in checks for problem in check(files)]


class _Folder:
    """The files of a folder, hidden ones left out, as they are when it is published."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = LocalFiles(folder)
        self.sizes = self.files.sizes()

    def json(self, name: str) -> Any:
        """Return the value of a JSON file; None where there is none, or what is there is no JSON."""
        try:
            return json.loads((self.folder / name).read_bytes()) if name in self.sizes else None
        except (ValueError, RecursionError):
            return None

    def at_top(self, name: str) -> bool:
        """Tell whether a file is there, not in a folder below."""
        return name in self.sizes


def _problem(name: str, what: str, todo: str) -> str:
    return escaped(f"{name}: {what}; {todo}")


def _strays(files: _Folder) -> Iterator[str]:
    """Yield what has no place in a published model."""
    for name, size in files.sizes.items():
        path = PurePosixPath(name)
        if is_lfs_pointer(files.files, name, size):
            yield _problem(name, LFS_POINTER, LFS_PULL)
        elif _OF_TRAINING.fullmatch(path.name):
            yield _problem(name, "it belongs to the training, not to the model", "leave it out")
        elif path.suffix.lower() in _PICKLES or _start(files, name) in _PICKLE_STARTS:
            yield _problem(name, "it is or may be a pickle, which runs code when it is loaded", "leave it out")
        elif path.suffix == ".py":
            yield _problem(name, "it is a program, which a model of these families does not need", "leave it out")
        elif path.suffix == ".safetensors" and len(path.parts) > 1:
            yield _problem(name, "weights below the model's folder, which nothing loads", "leave them out")


def _start(files: _Folder, name: str) -> bytes:
    with files.files.open(name) as file:
        start = file.read(4)
    return start if start[:1] != b"\x80" else start[:2]


def _weights(files: _Folder) -> Iterator[str]:
    """Yield what is wrong with the configuration and the weights it is for."""
    adapter, whole = files.at_top("adapter_config.json"), files.at_top("config.json")
    names = [name for name in files.sizes if "/" not in name and name.endswith(".safetensors")]
    if not adapter and not whole:
        yield _problem("config.json", "there is neither this nor adapter_config.json", "save the model again")
    if adapter and (odd := [name for name in names if name != _ADAPTER]):
        yield _problem(odd[0], "weights of a whole model beside adapters", "publish one of the two")
    if not names:
        yield _problem(_ADAPTER if adapter else _WHOLE, "there are no weights", "save the model again")
    tensors = {}
    for name in names:
        try:
            tensors[name] = read_tensor_sizes(files.folder / name)
        except TrainError as error:
            yield _problem(name, error.what, "save the model again")
            continue
        if not tensors[name]:
            yield _problem(name, "it holds no tensor", "save the model again")
    if not adapter and names:
        yield from _index(files, names, tensors)


def _index(files: _Folder, names: list[str], tensors: dict[str, dict[str, int]]) -> Iterator[str]:
    """Yield where shards and their index are not of one another."""
    if not files.at_top(_INDEX):
        if names != [_WHOLE]:
            yield _problem(names[0], f"shards without {_INDEX}", "save the model again")
        return
    index = files.json(_INDEX)
    where = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(where, dict) or not all(isinstance(shard, str) for shard in where.values()):
        yield _problem(_INDEX, "it has no `weight_map` from tensors to shards", "save the model again")
        return
    for shard in sorted(set(where.values()) - set(names)):
        yield _problem(_INDEX, f"the shard {shard} is not there", "find it, or save the model again")
    for shard in names:
        if shard not in where.values():
            yield _problem(shard, f"it is no shard of {_INDEX}", "leave it out")
    for shard, held in tensors.items():
        told = {tensor for tensor, at in where.items() if at == shard}
        if told and (missing := sorted(told - held.keys())):
            what = f"{_counted(missing)} that {_INDEX} looks for in it"
            yield _problem(shard, f"it lacks {what}", "save the model again")
        if told and (extra := sorted(held.keys() - told)):
            yield _problem(shard, f"it holds {_counted(extra)} that {_INDEX} does not know", "save the model again")
    total = index.get("metadata", {}).get("total_size") if isinstance(index.get("metadata"), dict) else None
    bytes_ = sum(sum(held.values()) for shard, held in tensors.items() if shard in where.values())
    if isinstance(total, int) and tensors.keys() >= set(where.values()) and total != bytes_:
        yield _problem(_INDEX, f"it tells of {total:,} bytes, and the shards hold {bytes_:,}", "save the model again")


def _counted(tensors: list[str]) -> str:
    more = f" and {len(tensors) - 1:,} more tensors" if len(tensors) > 1 else ""
    return f"{tensors[0]}{more}"


def _processor(files: _Folder) -> Iterator[str]:
    """Yield what is missing to turn texts and media into tensors."""
    todo = "save the processor beside the model"
    if not files.at_top("processor_config.json") and not files.at_top("preprocessor_config.json"):
        yield _problem("processor_config.json", "there is no processor", todo)
    slow = files.at_top("vocab.json") and files.at_top("merges.txt")
    if not (slow or files.at_top("tokenizer.json") or files.at_top("tokenizer.model")):
        yield _problem("tokenizer.json", "there is no tokenizer", todo)
    if not files.at_top("tokenizer_config.json"):
        yield _problem("tokenizer_config.json", "it is not there", todo)
    others = ("chat_template.json", "tokenizer_config.json", "processor_config.json")
    inside = any(isinstance(value := files.json(name), dict) and value.get("chat_template") for name in others)
    if not files.at_top("chat_template.jinja") and not inside:
        yield _problem("chat_template.jinja", "there is no chat template", todo)


def _json_files(files: _Folder) -> Iterator[str]:
    """Yield JSON that cannot be read, and what in it is true of this machine only."""
    for name in files.sizes:
        if not name.endswith(".json"):
            continue
        value = files.json(name)
        if value is None:
            yield _problem(name, "it is no JSON", "save the model again")
        elif name not in _PIECES_OF_TEXT:
            for key, text in _strings(value):
                last = key.rpartition(".")[2]
                local = _LOCAL_PATH.fullmatch(text.strip()) is not None
                if local or (last in _NAMES and text and not is_repository(text)):
                    what = f"{key} is {text[:200]!r}, which is a place on one machine"
                    yield _problem(name, what, "write the name of a repository, owner/name, or take it out")


def _strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield all strings of a JSON value, each with where it stands; templates of chats are programs."""
    waiting = [(key, value)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, str):
            yield key, value
        elif isinstance(value, dict):
            waiting += [(f"{key}.{name}" if key else str(name), one) for name, one in reversed(value.items())]
        elif isinstance(value, list):
            waiting += [(f"{key}[{place}]", one) for place, one in reversed(list(enumerate(value)))]


def _card(files: _Folder) -> Iterator[str]:
    """Yield what the card does not say, or says otherwise than the adapters."""
    todo = "write it into the front matter, or have the card computed again"
    if not files.at_top(CARD):
        yield _problem(CARD, "there is no card", "have it computed from the run")
        return
    try:
        text = (files.folder / CARD).read_bytes()[:MAX_CARD_BYTES].decode("utf-8-sig")
        card = split_card(text, file=CARD)
    except UnicodeDecodeError:
        yield _problem(CARD, "it is not UTF-8", "have it computed from the run")
        return
    except RecipeError as error:
        yield _problem(CARD, "; ".join(f"line {one.line}: {one.message}" for one in error.mistakes), "mend it")
        return
    said = {**card.metadata, **card.generated}
    if not said.get("license"):
        yield _problem(CARD, "it names no licence (`license`)", todo)
    base = said.get("base_model")
    bases = base if isinstance(base, list) else [base] if base else []
    if not bases:
        yield _problem(CARD, "it names no base model (`base_model`)", todo)
    for one in bases:
        if not isinstance(one, str) or not is_repository(one):
            yield _problem(CARD, f"`base_model` is {one!r}, which is no repository", "write owner/name")
    adapters = files.json("adapter_config.json")
    beside = adapters.get("base_model_name_or_path") if isinstance(adapters, dict) else None
    if bases and isinstance(beside, str) and beside not in bases:
        what = f"`base_model` is {bases[0]!r}, and adapter_config.json says {beside!r}"
        yield _problem(CARD, what, "say the same in both")
