"""Media are hashed and probed, and parts cut out of them, in bounded processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.errors import RowRejected
from pipeline.media.bounded import BoundedProcesses
from pipeline.media.excerpt import Piece
from pipeline.media.facts import MediaFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from pipeline.media.excerpt import Excerpt
    from pipeline.media.facts import Kind
    from pipeline.media.location import Location
    from pipeline.recipe_spec import Depth

EXCERPT_PATIENCE = 20
"""How many times longer than a probe it may take to cut something out, which may mean to encode it anew."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """A medium to be hashed and probed."""

    path: Location
    kind: Kind
    depth: Depth
    size: int
    sha256: str | None = None
    """Its hash, when that is known."""

    @property
    def patience(self) -> float:
        """How many times longer than others it may take."""
        return 1

    def arguments(self) -> list[Any]:
        """Return what `examine` is called with."""
        return [str(self.path), self.kind, self.depth, self.sha256]


@dataclass(frozen=True, slots=True)
class Examined:
    """What came of an order."""

    order: Order
    sha256: str | None
    """None: the file could not be read, or took the process down before it was hashed."""
    found: MediaFacts | RowRejected


@dataclass(frozen=True, kw_only=True, slots=True)
class CutOrder:
    """An excerpt to be cut out of a video."""

    path: Location
    size: int
    sha256: str
    """The video's hash."""
    excerpt: Excerpt
    folder: Path
    """Where the pieces are written."""

    @property
    def patience(self) -> float:
        """How many times longer than others it may take."""
        return EXCERPT_PATIENCE

    def arguments(self) -> list[Any]:
        """Return what `cut_out` is called with."""
        return [str(self.path), self.excerpt.text, str(self.folder)]


class Examiners(BoundedProcesses):
    """Some processes that look into media and cut excerpts out; closed by leaving the `with` block."""

    def examine(self, orders: Iterable[Order], *, advance: Callable[[int], object]) -> Iterator[Examined]:
        """Yield the hash and the facts of each medium, in any order; `advance` is called with how many are done.

        Raises:
            ShardwrightError: no process can be started.
        """
        for answer in self.work("pipeline.media.examine:examine", orders, advance=advance):
            order = answer.order
            if isinstance(answer.found, RowRejected):
                yield Examined(order, order.sha256, answer.found)
                continue
            sha256, facts, code, message = answer.found
            yield Examined(order, sha256, RowRejected(code, message) if facts is None else MediaFacts.from_json(facts))

    def cut(
        self, orders: Iterable[CutOrder], *, advance: Callable[[int], object]
    ) -> Iterator[tuple[CutOrder, list[Piece] | RowRejected]]:
        """Yield the pieces of each excerpt, which are files in its folder, or why it cannot be cut out.

        Raises:
            ShardwrightError: no process can be started.
            OSError: the disk failed under a piece.
        """
        for answer in self.work("pipeline.media.cut_out:cut_out", orders, advance=advance):
            if isinstance(answer.found, RowRejected):
                yield answer.order, answer.found
                continue
            pieces, code, message, errno = answer.found
            if errno is not None:
                raise OSError(errno, message, str(answer.order.folder))
            if pieces is None:
                yield answer.order, RowRejected(code, message)
            else:
                yield answer.order, [Piece(**piece) for piece in pieces]
