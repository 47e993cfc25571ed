"""Where a format writes one split, and how it puts media there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.column_type import ColumnType
    from pipeline.exports.shared_media import SharedMedia
    from pipeline.media.facts import MediaFacts
    from pipeline.rows.canonical import Medium


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the rows of one config and split go."""

    folder: Path
    """The format's folder; it is new and empty before the first split."""
    dataset: str
    """The name of the dataset, usable as a file name."""
    config: str
    split: str
    columns: dict[str, ColumnType | None]
    """All columns of the dataset in their order, with their types; None: texts that are paths of media."""
    id_column: str | None
    """The column that `row.id` is from, which is not among the extras; None: rows have no id."""
    extras: tuple[str, ...]
    """The columns whose values are in `row.extras` of every row, in their order."""
    loose: tuple[str, ...]
    """The columns whose media are in `row.loose`, in their order."""
    has_conversation: bool
    """Whether rows have turns."""
    shared: SharedMedia

    @property
    def stem(self) -> str:
        """What the files of this split are called before their ending; never the same for two splits."""
        return self.split if self.config == "default" else f"{self.config}-{self.split}"

    def media(self, medium: Medium, name: str | None = None) -> str:
        """Put a medium into the format's folder and return its POSIX path there, as rows name it.

        It is written once into the media folder that all formats share, proved by its hash, and linked from here; where
        links are not possible it is copied, and the report says so. Without a `name` (a POSIX path below the folder) it
        is `media/<first two digits>/<sha256><ending>`. A name that another medium has gets `-2`, `-3` … before its
        ending, so the path may differ from the name.
        """
        return self.shared.link(medium, self.folder, name)

    def facts(self, medium: Medium) -> MediaFacts:
        """Return what a bounded probe says of a medium: sides as shown, and of videos frames, fps and duration.

        Raises:
            RowRejected: it cannot be read.
        """
        return self.shared.facts(medium)
