"""What a run knows of the model it made, and of the rows it was made from: what its card is computed from."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from train.scoring.comparison import Comparison

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from train.metrics_file import Measured
    from train.scoring.scores import Scores

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9][\w./-]*", re.ASCII)


def is_repository(name: str) -> bool:
    """Tell whether a name can be that of a repository on a hub, `owner/name`."""
    return _REPOSITORY.fullmatch(name) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """Rows of a dataset."""

    dataset: str
    """`owner/name` on a hub, or what people call a dataset that is on none."""
    hub: Literal["huggingface", "modelscope", ""] = ""
    """Empty: it is on none."""
    revision: str = ""
    """The commit."""
    fingerprint: str = ""
    """The sha256 by which the rows are known: of the dataset's manifest, or of its shards."""
    config: str = ""
    split: str = ""
    rows: int | None = None

    @property
    def url(self) -> str:
        """Where it is, at this revision; empty where it is on no hub."""
        if not self.hub or not is_repository(self.dataset):
            return ""
        place = "https://huggingface.co" if self.hub == "huggingface" else "https://modelscope.cn"
        tree = f"/tree/{self.revision}" if _REVISION.fullmatch(self.revision) else ""
        return f"{place}/datasets/{self.dataset}{tree}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What a run knows of the model it made. What is empty or None is not known, and not told."""

    name: str
    """The title, where people wrote none."""
    kind: Literal["adapter", "model"]
    """Adapters beside a base model, or a whole model: trained, or merged."""
    base_model: str
    """`owner/name`, or the folder it was read from, which is told in words and never as a repository."""
    base_revision: str = ""
    repo: str = ""
    """Where this model is to be published, `owner/name`."""
    family: str = ""
    """Of `train.families`."""
    license: str = ""
    """As a hub names it, e.g. `apache-2.0`."""
    languages: Sequence[str] = ()
    tags: Sequence[str] = ()
    method: str = ""
    """`lora`, `full` and so on."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What else was set, by name: rank, learning rate, precision, seed, …"""
    trained_parameters: int | None = None
    parameters: int | None = None
    """All of them, with those of the adapters."""
    data: Sequence[DataFacts] = ()
    """What it learnt from."""
    evaluation_data: DataFacts | None = None
    rows: int | None = None
    """Rows that were learnt from."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Reason -> rows that could not be used."""
    epochs: float | None = None
    steps: int | None = None
    """Optimizer steps."""
    global_batch: str = ""
    """What a step learns from, over all devices, in words: `16 rows`, `up to 32,768 tokens`."""
    tokens: int | None = None
    """Tokens that the model saw, media included, padding not."""
    seconds: float | None = None
    hardware: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    media: frozenset[str] = frozenset()
    """`image`, `video`: what examples held."""
    frames: Mapping[str, Any] | None = None
    """How frames of videos were chosen, as `FrameSampling.plain` says it."""
    prompt: str = ""
    """What a user says in an example, without media; without it the program of the card asks for a description."""
    max_new_tokens: int = 256
    metrics: Sequence[Measured] = ()
    """Lines of metrics.jsonl."""
    scores: Comparison | Scores | None = None

    @property
    def base_is_published(self) -> bool:
        """Is the base model named by a repository, and not by a folder?"""
        return is_repository(self.base_model)

    @property
    def values(self) -> dict[str, float | None]:
        """The scores of the model, by the names of their metrics."""
        if isinstance(self.scores, Comparison):
            return {one.name: one.after for one in self.scores.table}
        return self.scores.values if self.scores else {}
