"""Releases: the card as it will be published, with what changed in the rows since the last one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pipeline.checks.dataset import read_dataset
from pipeline.checks.files import LocalFiles
from pipeline.checks.hub_files import HubFiles
from pipeline.checks.read_card import CARD
from pipeline.errors import SourceError
from pipeline.publish.changelog import entry_of, with_changes
from pipeline.publish.folder import FolderRemote
from pipeline.publish.row_changes import Comparison
from pipeline.sources.hub import HubRepo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from pipeline.checks.files import DatasetFiles
    from pipeline.publish.remote import LocalFile, Remote, RemoteState

WORTH_TELLING = 50_000_000
"""Bytes of an older release from which on the plan says that they were read."""
MAX_CARD_BYTES = 5_000_000
"""Of a card that lies there; of a longer one no entries are taken over."""
_NUMBERS = re.compile(r"v?(?P<numbers>\d+(?:\.\d+)*)(?P<rest>.*)")


def card_of_release(
    folder: Path,
    files: Mapping[str, LocalFile],
    remote: Remote,
    state: RemoteState,
    *,
    tag: str | None,
    key: str | None,
    digests: Path | None,
    advance: Callable[[int], None],
) -> tuple[bytes | None, list[str]]:
    """Return the card with its changes, and what a person should know; None: it stays as it is.

    Raises:
        UsageError: the key is no column that can tell rows apart.
        PublishError: the card that lies there cannot be read.
        RecipeError: the card has markers that are no pair.
    """
    last = last_release(name for name in state.tags if name != tag)
    if last is None and tag is None:
        return None, []
    notes: list[str] = []
    try:
        before, hashes = _release(remote, last) if last else (None, None)
        comparison = _comparison(folder, files, before, hashes, key=key, digests=digests)
        if comparison.bytes_to_read > WORTH_TELLING:
            notes.append(f"to say what changed, {comparison.bytes_to_read:,} bytes of {last} are read")
        changes = comparison.changes(advance=advance)
    except SourceError as error:
        # A release that nobody can read is no reason not to publish the next one.
        notes.append(f"the card does not say what changed since {last}: {error.what}")
        return None, notes
    notes += changes.notes
    previous = None
    if CARD in state.files and (state.files[CARD].size or 0) <= MAX_CARD_BYTES and state.commit:
        # ModelScope may not say commits, and what stands for one cannot be asked for
        at = remote.target.branch if remote.target.hub == "modelscope" else state.commit
        previous = b"".join(remote.read(CARD, at)).decode("utf-8", "replace")
    card = files[CARD].path.read_text(encoding="utf-8", errors="surrogateescape")
    text = with_changes(card, previous, entry_of(changes, tag=tag, since=last), tags=set(state.tags), notes=notes)
    return text.encode("utf-8", "surrogateescape"), notes


def remember_release(folder: Path, files: Mapping[str, LocalFile], *, key: str | None, digests: Path) -> None:
    """Keep the hashes of all rows, so that the next release need not read this one where it was published."""
    try:
        _comparison(folder, files, None, None, key=key, digests=digests).keep()
    except SourceError:
        return  # not all Parquet: the next release says so


def last_release(tags: Iterable[str]) -> str | None:
    """Return the newest release: the highest number, or the last tag where none is a number."""
    names = list(tags)
    numbered = [(number, name) for name in names if (number := _number(name)) is not None]
    return max(numbered)[1] if numbered else (names[-1] if names else None)


def _number(tag: str) -> tuple[tuple[int, ...], bool, str] | None:
    """Return what versions are ordered by: `v1.10.0` is after `v1.9`, and `v2.0-rc1` before `v2.0`."""
    match = _NUMBERS.fullmatch(tag)
    if match is None:
        return None
    numbers = [int(part) for part in match["numbers"].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers), not match["rest"], match["rest"]


def _release(remote: Remote, tag: str) -> tuple[DatasetFiles, dict[str, str] | None]:
    """Return the files of a release, and their hashes where nobody else lists them."""
    target = remote.target
    if isinstance(remote, FolderRemote):
        path, listing = remote.version(tag)
        return LocalFiles(path), {name: file.sha256 for name, file in listing.items() if file.sha256}
    assert target.hub != "folder"
    return HubFiles(HubRepo(hub=target.hub, id=target.place, revision=tag)), None


def _comparison(
    folder: Path,
    files: Mapping[str, LocalFile],
    before: DatasetFiles | None,
    hashes_before: Mapping[str, str] | None,
    *,
    key: str | None,
    digests: Path | None,
) -> Comparison:
    after = LocalFiles(folder)
    keys = {}
    if key is not None:
        dataset, _ = read_dataset(after)
        keys = dict.fromkeys(dataset.configs if dataset is not None else [], key)
    hashes = {name: file.sha256 for name, file in files.items()}
    return Comparison(before, after, keys=keys, cache=digests, hashes_before=hashes_before, hashes_after=hashes)
