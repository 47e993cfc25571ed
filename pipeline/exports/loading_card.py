"""The README.md by which `load_dataset` finds the configs and splits of an export, and where needed their features."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.splice_yaml import dumped
from pipeline.workspace import write_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.exports.writer import Written


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedSplit:
    """A split as `load_dataset` is to find it."""

    config: str
    split: str
    patterns: tuple[str, ...]
    """Of its files, as POSIX paths below the README.md."""
    features: list[dict[str, Any]] | None = None
    """The columns as a card lists them; None: the files say it themselves. The same for all splits of a config."""


_BODY = """\
# {title}

```python
from datasets import load_dataset

dataset = load_dataset("path/to/this/folder"{config})
```

{text}
"""


def splits_of(written: list[Written], features: dict[str, list[dict[str, Any]]] | None = None) -> list[LoadedSplit]:
    """Return the splits of which files were written; `features`: the columns of each config."""
    return [
        LoadedSplit(
            config=one.config,
            split=one.split,
            patterns=tuple(glob.escape(file) for file in one.files),
            features=features[one.config] if features is not None else None,
        )
        for one in written
        if one.files
    ]


def write_loading_card(folder: Path, splits: list[LoadedSplit], title: str, text: str) -> None:
    """Write the README.md of a folder; `text` says in a sentence or two what is in it."""
    configs: dict[str, list[dict[str, Any]]] = {}
    features: dict[str, list[dict[str, Any]]] = {}
    for one in splits:
        path = one.patterns[0] if len(one.patterns) == 1 else list(one.patterns)
        configs.setdefault(one.config, []).append({"split": one.split, "path": path})
        if one.features is not None:
            features[one.config] = one.features
    front: dict[str, Any] = {"configs": [{"config_name": name, "data_files": found} for name, found in configs.items()]}
    if features:
        front["dataset_info"] = [{"config_name": name, "features": found} for name, found in features.items()]
    config = f', "{next(iter(configs))}"' if len(configs) > 1 else ""
    body = _BODY.format(title=title, config=config, text=text)
    write_bytes(folder / "README.md", f"---\n{dumped(front)}---\n\n{body}".encode())
