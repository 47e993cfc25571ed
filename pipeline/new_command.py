"""The command `new`: what its options mean, and what it prints."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pipeline.errors import UsageError
from pipeline.new.file_names import plain_name
from pipeline.new.hub_material import hub_material, repository_of
from pipeline.new.material import material_of
from pipeline.new.places import archive_place, folder_place
from pipeline.new.proposal import propose
from pipeline.new.recognise import check_dialect
from pipeline.new.tell import told
from pipeline.new.write_files import drafted, write
from pipeline.printable import escaped
from pipeline.sources.archive import is_archive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipeline.new.material import Material
    from pipeline.new.places import Place


def run_new(
    target: str,
    *,
    media: Path | None,
    name: str | None,
    into: Path,
    dialect: str | None,
    cache: Path,
    may_write: Callable[[str], bool],
) -> str:
    """Look at annotations and write recipe, schema and card; returns what to print.

    `may_write` is shown what was understood, and says whether files are written.

    Raises:
        UsageError: an option makes no sense, a file is there already, or it must be said what the annotations are.
        SourceError: a file or a hub cannot be read.
    """
    if dialect is not None:
        check_dialect(dialect)
    if name is not None and plain_name(name, otherwise="") != name:
        raise UsageError(f"{escaped(name)!r} is no name for a dataset", allowed="letters, digits, `-`, `_` and `.`")
    with _material(target, cache) as material:
        proposal = propose(material, name=name, wanted=dialect, named=_named(media))
        draft = drafted(proposal, into)
        if not may_write(told(proposal)):
            return "nothing was written"
        write(draft)
    lines = [f"wrote {path}" for path in draft.texts]
    return "\n".join([*lines, f"next: shardwright build {draft.recipe}"])


@contextmanager
def _material(target: str, cache: Path) -> Iterator[Material]:
    repo = repository_of(target)
    if repo is None:
        with material_of(Path(target)) as material:
            yield material
        return
    with TemporaryDirectory(prefix="shardwright-new-") as scratch:
        yield hub_material(repo, cache, Path(scratch))


def _named(media: Path | None) -> Place | None:
    if media is None:
        return None
    if media.is_dir():
        return folder_place(media)
    if is_archive(media):
        return archive_place(media)
    raise UsageError(f"--media: there is no folder or archive {escaped(str(media))}")
