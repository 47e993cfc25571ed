"""Contents on their way to Hugging Face: in bounded batches, hashed as they go, counted, and never half a file.

What is sent here is seen by nobody before a commit names it. The hub keeps it, so a push that is cut off and made again
sends only the rest: whole files through Git LFS, new chunks of files through Xet.
"""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from huggingface_hub.utils import _xet as client_xet
from huggingface_hub.utils._runtime import is_xet_available

from pipeline.checks.read_card import CARD
from pipeline.publish.hf_additions import Addition, Meter
from pipeline.publish.remote import PublishError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pipeline.publish.hf_client import HfClient
    from pipeline.publish.remote import LocalFile
    from pipeline.sources.hub_retry import Failure

BATCH_FILES, BATCH_BYTES = 256, 4_000_000_000
"""A batch is sent before the next begins: as many files as the hub answers for in one request, or so many bytes."""
IN_THE_COMMIT = 750_000_000
"""Bytes of small files, which travel inside the commit: in base64 they are a gigabyte, the most that the hub takes."""
TICK, GRACE = 0.2, 5.0
"""Seconds between two looks at how far it is, and that a thread is given to end after Ctrl-C."""
NOTHING_IGNORED = "# a push says itself which files it holds\n"
"""Sent as the .gitignore that counts, or the one in the repository would silently leave files out."""

XET: Any = client_xet
"""The half of the client that speaks to the storage of chunks; it has no types."""


class Uploads:
    """The files of one push, sent and then named by the operations of its commit."""

    def __init__(self, client: HfClient, revision: str, *, pull_request: bool) -> None:
        self._client = client
        self._revision = revision
        self._pull_request = pull_request
        self._meter = Meter()
        self._xet = is_xet_available()
        self._inside = 0

    @property
    def sent(self) -> int:
        """Bytes of contents that went over the network, those inside the commit included."""
        return self._meter.sent + self._inside

    def send(
        self, files: Mapping[str, LocalFile], there: set[str | None], advance: Callable[[int], None]
    ) -> list[Addition]:
        """Send what is large; return the operations that name all files, the small ones with their content.

        `there` holds the SHA-256 of contents that the repository has; `advance` gets the bytes of all others.

        Raises:
            PublishError: a file is not the one that was planned, or was refused.
        """
        additions = [self._addition(path, files[path]) for path in sorted(files)]
        for start, end in pairwise(_cuts([one.local.size for one in additions])):
            batch = additions[start:end]
            new = {one.local.sha256: one.local.size for one in batch if one.local.sha256 not in there}
            self._send_batch(batch, sum(new.values()), advance)
            there = there | set(new)
        return additions

    def _addition(self, path: str, local: LocalFile) -> Addition:
        if not _is_still(local):
            raise self._client.words.changed(path)
        try:
            made = Addition(path, local, self._client.words, self._meter)
        except ValueError as error:
            raise self._client.words.bad_path(path, error) from None
        if made.path_in_repo != path:
            raise self._client.words.bad_path(path, "it is not written plainly")
        if not self._xet:
            # The client would read every file once more to hash it; here that is done while it is sent.
            made.upload_info.sha256 = bytes.fromhex(local.sha256)
        return made

    def _send_batch(self, batch: list[Addition], total: int, advance: Callable[[int], None]) -> None:
        shown = 0

        def show() -> None:
            nonlocal shown
            now = min(self._meter.handled, total)
            if now > shown:
                advance(now - shown)
                shown = now

        def preupload(_: int) -> None:
            self._meter.handled = 0
            with _reporting(self._meter):
                _in_a_thread(lambda: self._preupload(batch), show, self._meter)

        def failure(error: Exception) -> Failure:
            for one in batch:
                if not _is_still(one.local):
                    raise self._client.words.changed(one.path_in_repo) from None
            return self._client.storage_failure(error, self._revision, pull_request=self._pull_request)

        reports = self._meter.reports
        self._client.tried(preupload, failure)
        for one in batch:
            self._check(one, told=self._meter.reports > reports)
        advance(total - shown)

    def _preupload(self, batch: list[Addition]) -> None:
        self._client.api.preupload_lfs_files(
            additions=batch,
            revision=self._revision,
            create_pr=self._pull_request,
            gitignore_content=NOTHING_IGNORED,
            **self._client.place,
        )

    def _check(self, one: Addition, *, told: bool) -> None:
        """Compare what the client sent, or will send inside the commit, with what was planned."""
        words, path = self._client.words, one.path_in_repo
        if getattr(one, "_should_ignore", False):
            raise words.left_out(path)
        if not isinstance(one.path_or_fileobj, str):  # the client lets go of files that it has sent
            if one.upload_info.sha256.hex() != one.local.sha256:
                raise words.changed(path)
            if not told and self._xet:
                self._meter.count(sent=one.local.size, handled=0)
            return
        self._inside += one.local.size
        if self._inside > IN_THE_COMMIT:
            what = f"the small files of this push are more than {IN_THE_COMMIT:,} bytes, which one commit cannot hold"
            raise PublishError(what, hint="pack them (`media: archive`), or have .gitattributes keep them out of git")
        try:
            data = one.local.path.read_bytes()
        except FileNotFoundError:
            raise words.changed(path) from None
        if hashlib.sha256(data).hexdigest() != one.local.sha256:
            raise words.changed(path)
        if path == CARD and not _is_text(data):  # or the client fails as it reads it
            raise words.bad_card("it is not UTF-8")
        one.path_or_fileobj = data


def _cuts(sizes: list[int]) -> list[int]:
    """Return where batches begin, and where the last one ends."""
    cuts, held = [0], 0
    for number, size in enumerate(sizes):
        if number - cuts[-1] >= BATCH_FILES or (held and held + size > BATCH_BYTES):
            cuts.append(number)
            held = 0
        held += size
    return [*cuts, len(sizes)] if sizes else cuts


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_still(local: LocalFile) -> bool:
    try:
        return local.path.stat().st_size == local.size
    except (FileNotFoundError, NotADirectoryError):
        return False


def _in_a_thread(action: Callable[[], None], show: Callable[[], None], meter: Meter) -> None:
    """Run an action beside this thread, which shows how far it is and stays free for Ctrl-C."""
    raised: list[BaseException] = []
    done = threading.Event()

    def work() -> None:
        try:
            action()
        except BaseException as error:  # noqa: BLE001  raised again by whoever waits
            raised.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=work, daemon=True, name="uploads")
    thread.start()
    try:
        while not done.wait(TICK):
            show()
        show()
    except BaseException:
        meter.stopped = True
        XET.abort_xet_session()
        thread.join(GRACE)
        raise
    if raised:
        raise raised[0]


@contextmanager
def _reporting(meter: Meter) -> Iterator[None]:
    """Let the storage of chunks report to us: the client has no option for that, and asks for its session by name."""
    given = XET.get_xet_session

    def session() -> _ReportingSession:
        return _ReportingSession(given(), meter)

    XET.get_xet_session = session
    try:
        yield
    finally:
        XET.get_xet_session = given


class _ReportingSession:
    """A session of `hf_xet` whose uploads are counted."""

    def __init__(self, session: Any, meter: Meter) -> None:
        self._session = session
        self._meter = meter

    def new_upload_commit(self, **options: Any) -> Any:
        """Begin an upload; what is reported of it are totals, those of chunks that were there already left out."""
        sent = handled = 0

        def told(report: Any, _: Any) -> None:
            nonlocal sent, handled
            now = (int(report.total_transfer_bytes_completed), int(report.total_bytes_completed))
            self._meter.count(sent=max(0, now[0] - sent), handled=max(0, now[1] - handled))
            sent, handled = max(sent, now[0]), max(handled, now[1])

        return self._session.new_upload_commit(**{**options, "progress_callback": told})
