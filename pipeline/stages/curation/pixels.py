"""What steps of curation know of the pixels of a config's media, some rows at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.media.measured_media import MeasuredMedia, ToMeasure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.build import Build
    from pipeline.errors import RowRejected
    from pipeline.media.facts import Kind
    from pipeline.media.measured_media import What


def measuring(build: Build) -> MeasuredMedia:
    """Open what is known of the pixels of media."""
    return MeasuredMedia(build.workspace.cache, build.examiners)


def measured(
    known: MeasuredMedia, media: Iterable[dict[str, Any]], kind: Kind, what: What
) -> dict[str, dict[str, Any] | RowRejected]:
    """Return the measures of media of a kind, which are as the plan has them, by their hash."""
    orders = (
        ToMeasure(
            path=medium["path"],
            kind=kind,
            what=what,
            size=medium["size"],
            sha256=medium["sha256"],
            frames=medium["frames"],
        )
        for medium in media
        if medium["kind"] == kind
    )
    return known.of(orders, kind, what)
