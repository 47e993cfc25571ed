"""A build that is killed at any moment and run again ends exactly as one that was left in peace.

`make torture` kills it a hundred times; SHARDWRIGHT_KILLS and SHARDWRIGHT_SEED say how often, and at which moments.
"""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections import Counter, deque
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tests.disturbed import (
    FOLDERS,
    KILLS,
    SEED,
    STAGES,
    STATES,
    TORTURE,
    VICTIMS,
    Child,
    assert_same,
    empty,
    rich_recipe,
    rich_sources,
    tell,
    undisturbed,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.project import Project


@dataclass
class Moment:
    """A moment of a build: so long after it has said something so often."""

    event: str
    count: int
    delay: float


class Timeline:
    """How an undisturbed build went: what it said in each stage, and how long it said nothing after that."""

    def __init__(self, events: list[tuple[str, float]]) -> None:
        self._stages: dict[str, list[tuple[str, int, float, float]]] = {}
        count: Counter[str] = Counter()
        for (event, start), (_, end) in pairwise(events):
            count[event] += 1
            self._stages.setdefault(event.rstrip("."), []).append((event, count[event], start, end))
        assert set(STAGES) <= set(self._stages)

    def draw(self, stage: str, draw: random.Random) -> Moment:
        """Return a random moment of a stage."""
        parts = self._stages[stage]
        moment = draw.uniform(parts[0][2], parts[-1][3])
        event, count, start, _ = next(part for part in reversed(parts) if part[2] <= moment)
        return Moment(event, count, moment - start)


def where(project: Project, child: Child) -> tuple[str, list[str]]:
    """Return in which stage a build was killed, and what it was writing there."""
    said = child.events[-1][0]
    work, out = project.work, project.out
    writes = {
        "unpacking": list((work / "sources").glob(".*.unpacking")),
        "records": list(work.glob("records/*/.tmp-*")),
        "plan": list(work.glob("plan/*/.tmp-*")),
        "kept rows": list(work.glob("plan/.tmp-*")),
        "rejects": [*work.glob(".tmp-*rejected*"), *work.glob("rejects/*/.tmp-*")],
        "manifest": list(work.glob(".tmp-*manifest*")),
        "facts of shards": list(work.glob("shards/*/.tmp-*")),
        "shards": list(out.glob("*/.tmp-*.parquet")),
        "media beside": list(out.glob("media/**/.tmp-*")),
        "card": list(out.glob(".tmp-*README*")),
        "objects": list((project.root / "cache").glob("media/objects/*/.tmp-*")),
    }
    stage = "after the card" if said == "card." else said.rstrip(".")
    return stage, [name for name, files in writes.items() if files]


class Tally:
    """Whom the kills hit, where they landed, and what was being written then."""

    def __init__(self) -> None:
        self.whom: Counter[str] = Counter()
        self.stages: Counter[str] = Counter()
        self.writing: Counter[str] = Counter()

    def kill(self, project: Project, child: Child, moment: Moment, whom: str) -> None:
        """Kill a build, or one of its processes, at a moment; with a dead worker it ends, without an examiner not."""
        child.go()
        if child.until(moment.event, moment.count):
            time.sleep(moment.delay)
            whom = child.signal(signal.SIGKILL, whom)
        code = child.end()
        if code == 0:
            self.stages[f"(the build ended well; hit, if it was still there: {whom})"] += 1
            return
        assert code == {"worker": 3}.get(whom, -signal.SIGKILL), child.stderr()
        assert "Traceback" not in child.stderr()
        self.whom[whom] += 1
        stage, written = where(project, child)
        self.stages[stage] += 1
        self.writing.update(f"{stage}: {name}" for name in written)

    def lines(self) -> Iterator[str]:
        """Yield what is printed."""
        yield "  killed: " + ", ".join(f"{name} {count}" for name, count in self.whom.most_common())
        yield from (f"  {count:>4}  {stage}" for stage, count in sorted(self.stages.items()))
        yield "  being written then:"
        yield from (f"  {count:>4}  {name}" for name, count in sorted(self.writing.items()))


@pytest.mark.timeout(120 + 10 * KILLS)
def test_kill_at_any_moment(project: Project, script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After `kill -9` at a random moment of each stage and a run to the end: the same files to the byte, no other."""
    draw = random.Random(SEED)  # noqa: S311  (moments, not secrets)
    started = time.monotonic()
    tally = Tally()

    def change(state: int) -> Project:
        release, media = STATES[state]
        rich_recipe(project, media)
        return rich_sources(project, release)

    with ExitStack() as stack:
        # they make themselves ready while something else is done
        ready = deque(stack.enter_context(Child(script, change(0))) for _ in range(2))
        goods = [undisturbed(change(state)) for state in range(len(STATES))]
        state = 0
        empty(change(state))
        with ready.popleft() as child:
            child.go()
            assert child.end() == 0, child.stderr()
            timeline = Timeline(child.events)
        assert_same(project, goods[state])
        for attempt in range(KILLS):
            cold = attempt % 10 == 8  # killed while its processes start
            ready.append(stack.enter_context(Child(script, project, "wait" if attempt % 10 == 7 else "warm,wait")))
            if attempt % 3 == 0:  # from nothing, from what is left of a build, or on top of another one
                empty(project)
            elif attempt % 3 == 1:
                shutil.rmtree(project.root / draw.choice(FOLDERS), ignore_errors=True)
            else:
                state = (state + 1) % len(STATES)
                change(state)
            moment = timeline.draw(STAGES[(attempt + SEED) % len(STAGES)], draw)
            if cold:
                moment = Moment("convert", 1, draw.uniform(0, 1.2))
            with ready.popleft() as child:
                tally.kill(project, child, moment, VICTIMS[(attempt + SEED) % len(VICTIMS)])
            if TORTURE or attempt % 2 or attempt == KILLS - 1:
                project.build()
                assert_same(project, goods[state])
    killed = tally.whom.total()
    tell(capsys, f"{killed} builds killed in {time.monotonic() - started:.0f} s, seed {SEED}", *tally.lines())
    assert killed >= KILLS // 3
