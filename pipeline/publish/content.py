"""What is published: the files of a dataset or of a model on this machine, each with its hash."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pipeline.checks.files import LocalFiles
from pipeline.checks.read_card import CARD
from pipeline.errors import UsageError
from pipeline.publish.remote import LocalFile
from pipeline.sources.hub_listing import shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipeline.media.store import MediaStore
    from pipeline.publish.target import Kind

_SHARD = re.compile(r"(?:[^/]+/)*[^/]*-\d{5}-of-\d{5}(?:-[0-9a-f]+)?\.(?:parquet|arrow|tar)")
_MEDIUM = re.compile(r"media/(?:.+/[0-9a-f]{2}/[0-9a-f]{64}\.\w+|[^/]+-\d{5}\.tar)")
_WEIGHTS = re.compile(
    r"(?:[^/]+/)?(?:model|adapter_model|pytorch_model|diffusion_pytorch_model)[\w.-]*\.(?:safetensors|bin)"
)
_MODEL_FILES = frozenset(
    {
        "adapter_config.json",
        "added_tokens.json",
        "chat_template.jinja",
        "chat_template.json",
        "config.json",
        "generation_config.json",
        "merges.txt",
        "model.safetensors.index.json",
        "preprocessor_config.json",
        "processor_config.json",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
        "video_preprocessor_config.json",
        "vocab.json",
    }
)
"""What `save_pretrained` of a model, an adapter or a processor writes beside weights."""
FORBIDDEN = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
"""Pickles run code when they are loaded, and are no part of a model that is published."""


def is_of_ours(path: str, kind: Kind) -> bool:
    """Tell whether a file was put there by a push of this kind, so that it may go when it is no longer wanted.

    All others (`.gitattributes`, a licence, pictures of the card, whatever people added) stay as they are.
    """
    if kind == "dataset":
        return bool(_SHARD.fullmatch(path) or _MEDIUM.fullmatch(path))
    return bool(_WEIGHTS.fullmatch(path)) or PurePosixPath(path).name in _MODEL_FILES


def read_content(
    folder: Path, kind: Kind, store: MediaStore, *, advance: Callable[[int], None] | None = None
) -> dict[str, LocalFile]:
    """Return the files of a folder by POSIX path, hidden ones left out; hashes that are known are not taken again.

    Raises:
        UsageError: the folder holds nothing to publish, or what must not be published.
    """
    sizes = LocalFiles(folder).sizes()
    if CARD not in sizes:
        what = f"{folder} has no {CARD}, so it is no {kind} that can be published"
        raise UsageError(what, hint="build it first: make data" if kind == "dataset" else "write its model card first")
    if kind == "model" and (found := [name for name in sizes if name.endswith(FORBIDDEN)]):
        allowed = "weights as .safetensors, and the JSON and text files beside them"
        raise UsageError(f"{folder} holds {shown(found[0])}, which is or may be a pickle", allowed=allowed)
    paths = {name: (folder / name).resolve() for name in sizes}
    files = {}
    for name, path in paths.items():
        sha256, size = store.hashes_of([path])[path]
        files[name] = LocalFile(path=path, size=size, sha256=sha256)
        if advance is not None:
            advance(size)
    return files
