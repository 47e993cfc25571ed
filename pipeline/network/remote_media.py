"""Remote media: URLs that rows ask for, fetched once, proved, and let into the store."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from pipeline.errors import RowRejected, SourceError
from pipeline.media.examiners import Order
from pipeline.network.hub_media import bring_from_hub, by_repository
from pipeline.network.ledger import LASTING, Entry, Ledger

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from types import TracebackType

    from pipeline.media.examiners import Examiners
    from pipeline.media.facts import Kind, MediaFacts
    from pipeline.media.store import MediaStore
    from pipeline.network.fetcher import Arrived, Fetcher
    from pipeline.network.hub_media import FromHub
    from pipeline.network.limits import FetchLimits
    from pipeline.network.urls import WebUrl
    from pipeline.recipe_spec import Depth

MOST_SOURCE_BYTES = 1 << 40
"""Of one file that a recipe names."""
SOURCE_SECONDS = 86_400.0
OFFLINE = "media.offline"
"""Code of a medium that would have to be fetched, in a build that must not."""
OF_THIS_MACHINE = ("media.missing", "media.timeout", "media.crash", "media.memory")
"""What tells of this machine as much as of the bytes."""


@dataclass(frozen=True, slots=True)
class Want:
    """What a URL should be, and which row said so first."""

    kind: Kind
    depth: Depth
    row: str


@dataclass
class RemoteMedia:
    """The door to all media of a build that are named by URLs; a context manager."""

    cache: Path
    store: MediaStore
    examiners: Examiners
    limits: FetchLimits
    offline: bool = False
    retry: bool = False
    """Whether lasting failures are tried again."""
    retry_status: int | None = None
    """Only those that a server answered so."""
    missing: list[str] = field(default_factory=list)
    """Rows and URLs that a build without the network wants."""
    _ledger: Ledger | None = None
    _fetcher: Fetcher | None = None
    _stack: ExitStack = field(default_factory=ExitStack)
    _tried: set[str] = field(default_factory=set)
    """Keys that this build has asked for; it does not ask twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def ledger(self) -> Ledger:
        """The ledger, opened when it is needed first."""
        if self._ledger is None:
            self._ledger = self._stack.enter_context(Ledger(self.cache))
        return self._ledger

    def entries(self, urls: Iterable[WebUrl]) -> dict[str, Entry]:
        """Return what the ledger knows of URLs, by key; an object that is gone or cut off counts as not fetched."""
        entries = self.ledger.entries({url.key for url in urls})
        return {key: entry for key, entry in entries.items() if entry.sha256 is None or self._is_there(entry)}

    def _is_there(self, entry: Entry) -> bool:
        assert entry.sha256 is not None
        try:
            # for every URL of every build, and half the time of Path.stat
            return os.stat(f"{self.store.objects}/{entry.sha256[:2]}/{entry.sha256}").st_size == entry.bytes  # noqa: PTH116
        except OSError:
            return False

    def is_settled(self, entry: Entry | None) -> bool:
        """Tell whether nothing more is to be done about a URL in this build."""
        if entry is None:
            return False
        if entry.sha256 is not None:
            return True
        if entry.key in self._tried:
            return True
        again = self.retry and self.retry_status in (None, entry.http)
        return entry.lasts == LASTING and not again

    def source(self, url: WebUrl, *, sha256: str | None, row: str) -> Entry:
        """Return the entry of a file that a recipe names, fetched when it is not in the store.

        The recipe's author chose its host, which may be on private ground.

        Raises:
            SourceError: it cannot be had, or has another hash than the recipe says.
        """
        entry = self.entries([url]).get(url.key)
        if entry is not None and entry.sha256 is not None and sha256 in (None, entry.sha256):
            return entry
        if self.offline:
            raise SourceError(f"{url.shown} is not in the cache, and this build is offline", hint="run it once online")
        from pipeline.network.fetcher import Arrived, Failed, Fetcher

        limits = replace(
            self.limits,
            allow_hosts=self.limits.allow_hosts | {url.host},
            max_bytes=MOST_SOURCE_BYTES,
            whole=SOURCE_SECONDS,
        )

        def is_known(entry: Entry) -> bool:
            return sha256 in (None, entry.sha256) and self._is_there(entry)

        with Fetcher(self.cache, limits, is_known=is_known) as fetcher:
            # a page in place of an annotation file or archive is no such file, unless its hash was foretold
            for results in fetcher.fetch([url], media=sha256 is None):
                for result in results:
                    if isinstance(result, Failed):
                        self.ledger.remember([replace(result.entry, row=row)])
                        raise SourceError(
                            result.error.message, hint="look whether the URL is right, or name `fallbacks`"
                        )
                    if isinstance(result, Arrived):
                        self._let_in(result, sha256, row)
        entry = self.entries([url]).get(url.key)
        assert entry is not None
        return entry

    def _let_in(self, file: Arrived, sha256: str | None, row: str) -> None:
        wrong = sha256 is not None and file.sha256 != sha256
        what = f"{file.url.shown}: the file has the sha256 {file.sha256}, and the recipe says {sha256}"
        entry = file.refused("fetch.hash", what) if wrong else file.stored(self.store.object_path(file.sha256))
        self.ledger.remember([replace(entry, row=row)])
        file.done()
        if wrong:
            raise SourceError(what, hint="look whether the file was replaced, and correct `sha256`")

    def bring(self, wanted: dict[WebUrl, Want]) -> None:
        """Fetch URLs, look into what comes, and write down what became of each.

        A file that a probe refuses is fetched once more, in case it was damaged on its way.
        """
        if self.offline or not wanted:
            return
        # URLs that differ in their signatures alone are one
        wanted = {url: wanted[url] for url in {url.key: url for url in reversed(wanted)}.values()}
        rows = {url.key: want.row for url, want in wanted.items()}
        self._tried |= rows.keys()
        for repo, paths in by_repository(wanted).items():
            for brought in bring_from_hub(repo, paths, self.cache, self.limits):
                self.ledger.remember(replace(entry, row=rows[entry.key]) for entry in brought.lost)
                # what a hub lists is what came, so it is not fetched once more
                self._judge(brought.files, wanted, once_more=False)
            wanted = {url: want for url, want in wanted.items() if url not in paths}
        if not wanted:
            return
        if self._fetcher is None:
            from pipeline.network.fetcher import Fetcher  # late: builds without URLs need none of it

            self._fetcher = self._stack.enter_context(Fetcher(self.cache, self.limits, is_known=self._is_there))
        doubtful = self._fetch(wanted, once_more=True)
        self._fetch({url: wanted[url] for url in doubtful}, once_more=False)

    def _fetch(self, wanted: dict[WebUrl, Want], *, once_more: bool) -> list[WebUrl]:
        """Fetch URLs; returns those that a probe refused and that are to be fetched once more."""
        from pipeline.network.fetcher import Arrived, Failed

        assert self._fetcher is not None
        again: list[WebUrl] = []
        for results in self._fetcher.fetch(list(wanted)):
            self.ledger.remember(
                replace(result.entry, row=wanted[result.url].row) for result in results if isinstance(result, Failed)
            )
            arrived = [result for result in results if isinstance(result, Arrived)]
            again += self._judge(arrived, wanted, once_more=once_more)
        return again

    def _judge(
        self, arrived: Sequence[Arrived | FromHub], wanted: dict[WebUrl, Want], *, once_more: bool
    ) -> list[WebUrl]:
        """Look into files and let them in or not; returns those that are to be fetched `once_more`."""
        again: list[WebUrl] = []
        # several URLs may mean one file of a hub
        waiting: dict[Order, list[Arrived | FromHub]] = {}
        for file in arrived:
            want = wanted[file.url]
            order = Order(path=file.path, kind=want.kind, depth=want.depth, size=file.bytes, sha256=file.sha256)
            waiting.setdefault(order, []).append(file)
        facts: dict[tuple[Kind, Depth], list[tuple[str, MediaFacts | RowRejected]]] = {}
        judged: list[Entry] = []
        done: list[Arrived | FromHub] = []
        for examined in self.examiners.examine(waiting, advance=lambda _: None):
            order, found = examined.order, examined.found
            lasting = isinstance(found, RowRejected) and found.code not in OF_THIS_MACHINE
            for file in waiting[order]:
                if lasting and once_more:
                    again.append(file.url)
                    file.forget()
                    continue
                if isinstance(found, RowRejected):
                    entry = file.refused(found.code, f"{file.url.shown}: {found.message}", lasting=lasting)
                else:
                    entry = file.stored(self.store.object_path(file.sha256))
                    facts.setdefault((order.kind, order.depth), []).append((file.sha256, found))
                judged.append(replace(entry, row=wanted[file.url].row))
                done.append(file)
        for (kind, depth), entries in facts.items():
            self.store.remember_facts(entries, kind, depth)
        self.ledger.remember(judged)
        for file in done:
            file.done()
        return again


def rejected(url: WebUrl, entry: Entry | None) -> RowRejected:
    """Return why a row has no medium behind a URL."""
    if entry is None or entry.reason is None:
        return RowRejected(OFFLINE, f"{url.shown} is not in the cache, and this build is offline")
    return RowRejected(entry.reason, entry.message or url.shown)
