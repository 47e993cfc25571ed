"""`shardwright new` as the tests call it, and builds of what it wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from pipeline.new_command import run_new
from pipeline.report import Quiet
from pipeline.run import Folders, build_dataset

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.run import BuildReport


@dataclass
class Asked:
    """What `new` said and wrote."""

    into: Path
    name: str
    said: str

    @property
    def recipe(self) -> dict[str, Any]:
        """The recipe."""
        return self._yaml("recipes")

    @property
    def schema(self) -> dict[str, Any]:
        """The schema, where there is one."""
        return self._yaml("schemas")

    @property
    def card(self) -> str:
        """The card."""
        return (self.into / "dataset_cards" / f"{self.name}.md").read_text(encoding="utf-8")

    def _yaml(self, folder: str) -> dict[str, Any]:
        loaded: dict[str, Any] = yaml.safe_load((self.into / folder / f"{self.name}.yaml").read_text(encoding="utf-8"))
        return loaded

    def build(self, *, upto: str = "card") -> BuildReport:
        """Build it, untouched."""
        folders = Folders(work=self.into / "work", out=self.into / "out", cache=self.into / "cache")
        path = self.into / "recipes" / f"{self.name}.yaml"
        return build_dataset(path, folders, workers=1, display=Quiet(), upto=upto)

    def rows(self, config: str = "default", split: str = "train") -> list[dict[str, Any]]:
        """Return the rows of a split of what was built."""
        paths = sorted((self.into / "out" / self.name / config).glob(f"{split}-*.parquet"))
        found: list[dict[str, Any]] = pa.concat_tables([pq.read_table(path) for path in paths]).to_pylist()
        return found


def ask(target: Path | str, into: Path, *, name: str = "asked", **options: Any) -> Asked:
    """Run `new`; the dataset is called `asked` unless it has another name."""
    said: list[str] = []

    def may_write(text: str) -> bool:
        said.append(text)
        return True

    every = {"media": None, "dialect": None, "cache": into / "cache", **options}
    said.append(run_new(str(target), name=name, into=into, may_write=may_write, **every))
    return Asked(into=into, name=name, said="\n".join(said))
