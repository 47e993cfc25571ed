"""The pass over media: each one of the chosen row groups is hashed and decoded, in a process that may come to harm."""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.checks.media_orders import Cutting, PlacesOrder, orders_of
from pipeline.checks.media_problems import undecoded
from pipeline.checks.media_records import count_of, packed, table_of
from pipeline.checks.media_sources import beside, sources_of
from pipeline.checks.problem import Problem
from pipeline.checks.report import SHOWN, Report
from pipeline.errors import RowRejected
from pipeline.media.bounded import MOST_BYTES
from pipeline.printable import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa

    from pipeline.checks.dataset import Dataset
    from pipeline.checks.media_orders import LookOrder
    from pipeline.checks.media_sources import Source
    from pipeline.checks.options import Options
    from pipeline.media.bounded import BoundedProcesses
    from pipeline.report import Progress

LOOK, PLACES = "pipeline.checks.media_jobs:look", "pipeline.checks.media_jobs:places"
CHUNKS_OF_A_PROCESS = 8
"""How often a process is given orders, at the least, so that none is idle for long when the others do their last."""
ORDERS_AT_ONCE = 4_096
"""Orders for each process that are known at a time, so that memory does not grow with the dataset."""


def pass_over_media(
    dataset: Dataset,
    options: Options,
    chosen: dict[str, list[int]],
    examiners: BoundedProcesses,
    progress: Progress | None = None,
) -> Iterator[tuple[str, pa.Table, list[Problem], dict[str, int]]]:
    """Look at the media of the chosen row groups, shard by shard; what is not on this machine is left out.

    Yields the name of a shard, its facts (`MEDIA_FACTS`), the first problems of each code, and code -> how many there
    are beyond those.

    Raises:
        ShardwrightError: no process can be started.
    """
    waiting: dict[str, _Shard] = {}
    orders: list[LookOrder] = []
    for shard, mine in _cut(dataset, options, chosen, examiners):
        before = list(waiting)
        waiting[shard.name] = shard
        for order in mine:
            orders.append(order)
            if len(orders) >= ORDERS_AT_ONCE * examiners.processes:
                _work(orders, waiting, examiners, progress)
                orders = []
                # of these nothing is left to be looked at
                yield from (waiting.pop(name).result() for name in before)
                before = []
    _work(orders, waiting, examiners, progress)
    yield from (shard.result() for shard in waiting.values())


@dataclass(kw_only=True)
class _Shard:
    """What is known of the media of a shard."""

    name: str
    config: str
    split: str
    records: list[bytes] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    """Code -> the first problems by row and column, and some more."""

    def add(self, source: Source, found: Iterable[tuple[Any, ...]]) -> None:
        """Add what is wrong with media of a column: row, position, code, message and hint of each."""
        for row, position, code, message, hint in found:
            self.counts[code] += 1
            kept = self.first.setdefault(code, [])
            key = f"{escaped(source.name)}[{position}]" if source.is_list else escaped(source.name)
            kept.append((row, source.number, position, key, message, hint))
            if len(kept) > 4 * SHOWN:
                # answers come in any order
                self.first[code] = sorted(kept)[:SHOWN]

    def result(self) -> tuple[str, pa.Table, list[Problem], dict[str, int]]:
        """Return what is known when all of it was looked at."""
        place = {"file": self.name, "config": self.config, "split": self.split}
        problems = [
            Problem(code=code, row=row, key=key, message=message, hint=hint, **place)
            for code in sorted(self.first)
            for row, _, _, key, message, hint in sorted(self.first[code])[:SHOWN]
        ]
        more = {code: count - SHOWN for code, count in sorted(self.counts.items()) if count > SHOWN}
        return self.name, table_of(self.records), problems, more


def _cut(
    dataset: Dataset, options: Options, chosen: dict[str, list[int]], examiners: BoundedProcesses
) -> Iterator[tuple[_Shard, Iterator[LookOrder]]]:
    """Yield the shards with what is to be looked at in each."""
    wants = Report(target="", look=options.look, select=options.select, ignore=options.ignore).wants
    sources = {config: sources_of(dataset, dataset.splits_of(config), examiners) for config in dataset.configs}
    rows = sum(footer.rows for name in dataset.shards if (footer := dataset.footer(name)) is not None)
    each_beside = sum(beside(dataset).values()) // max(1, rows)
    done: set[str] = set()
    for split in dataset.splits:
        cutting = Cutting(
            full=options.look == "full",
            hashes=len(dataset.splits_of(split.config)) > 1 and wants("SW602"),
            each_beside=each_beside,
        )
        for name in split.shards:
            if chosen.get(name) and name not in done:
                done.add(name)
                shard = _Shard(name=name, config=split.config, split=split.name)
                yield shard, orders_of(dataset, name, chosen[name], sources[split.config], cutting)


def _work(
    orders: list[LookOrder], waiting: dict[str, _Shard], examiners: BoundedProcesses, progress: Progress | None
) -> None:
    """Look at media, and put what is found to their shards."""
    for order, answer in answers(orders, examiners, job=LOOK):
        shard = waiting[order.shard]
        if isinstance(answer, RowRejected):
            place = (order.start + order.first, order.position or 0)
            shard.records.append(packed((place[0], order.source.number, place[1])))
            shard.add(order.source, [(*place, *undecoded(order.source.kind or "image", answer))])
        else:
            records = base64.b64decode(answer[0])
            shard.records.append(records)
            shard.add(order.source, answer[1])
            if progress is not None:
                progress.advance(count_of(records))


def answers(orders: list[LookOrder], examiners: BoundedProcesses, *, job: str) -> Iterator[tuple[LookOrder, Any]]:
    """Yield what a job makes of orders; those that ended their process are cut smaller, down to the medium at fault."""
    rows: list[LookOrder] = []
    lists: list[LookOrder] = []
    at_once = min(MOST_BYTES, sum(order.size for order in orders) // (CHUNKS_OF_A_PROCESS * examiners.processes))
    for answer in examiners.work(job, orders, advance=lambda _: None, at_once=at_once):
        order = answer.order
        if not isinstance(answer.found, RowRejected):
            yield order, answer.found
        elif order.count > 1:
            rows += order.rows()
        elif order.source.is_list and order.position is None:
            lists.append(order)
        else:
            yield order, answer.found
    if lists:
        for counted in examiners.work(PLACES, [PlacesOrder(order) for order in lists], advance=lambda _: None):
            order = counted.order.order
            if isinstance(counted.found, int) and counted.found > 0:
                rows += order.media(counted.found)
            else:
                yield order, RowRejected("media.crash", "its row ends the process that reads it")
    if rows:
        yield from answers(rows, examiners, job=job)
