"""Validation: any dataset, made by us or not, looked at quickly, in samples, or whole.

from pipeline.validation import validate

report = validate("path/to/dataset")
print(report.ok, report)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.checks.codes import codes_of
from pipeline.checks.counts import check_counts, check_footers, check_recorded, check_sums
from pipeline.checks.dataset import read_dataset
from pipeline.checks.features import check_features
from pipeline.checks.files import LocalFiles
from pipeline.checks.loads import check_loads
from pipeline.checks.membership import check_leftovers, check_membership
from pipeline.checks.names import check_described, check_names
from pipeline.checks.options import Options
from pipeline.checks.report import Report
from pipeline.executor import InProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipeline.checks.dataset import Dataset
    from pipeline.checks.problem import Problem
    from pipeline.executor import Executor
    from pipeline.report import Progress

CARD_CHECKS: tuple[tuple[Callable[[Dataset], Iterator[Problem]], tuple[str, ...]], ...] = (
    (check_names, ("SW103",)),
    (check_described, ("SW102",)),
    (check_membership, ("SW105",)),
    (check_leftovers, ("SW110",)),
    (check_footers, ("SW301", "SW302")),
    (check_counts, ("SW106", "SW108", "SW111", "SW117")),
    (check_features, ("SW109",)),
)
"""The checks that need the card, the listing and the footers alone, and the codes that each finds."""


def validate(
    target: Path | str,
    options: Options | None = None,
    *,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Report:
    """Check a dataset folder.

    Raises:
        UsageError: there is no such folder.
    """
    options = options or Options()
    folder = Path(target)
    report = Report(target=str(target), look=options.look, select=options.select, ignore=options.ignore)
    dataset, problems = read_dataset(LocalFiles(folder))
    report.add(problems)
    if dataset is None:
        return report
    _note_listing(dataset, report)
    for check, codes in CARD_CHECKS:
        if report.wants(*codes):
            report.add(check(dataset))
        if progress is not None:
            progress.advance()
    if options.look == "quick":
        report.add(check_sums(dataset))
        return report
    if report.wants("SW107", "SW108", "SW301"):
        report.add(check_recorded(dataset, executor or InProcess()))
    if report.wants(*codes_of("SW2")) and dataset.splits and report.ok:
        report.add(check_loads(dataset, folder, max_bytes=options.load_limit, scratch=options.scratch))
    return report


def _note_listing(dataset: Dataset, report: Report) -> None:
    """Say what there is, and what is no Parquet."""
    rows = sum(footer.rows for name in dataset.shards if (footer := dataset.footer(name)) is not None)
    report.facts |= {"configs": len(dataset.configs), "splits": len(dataset.splits)}
    report.facts |= {"shards": len(dataset.shards), "rows": rows}
    report.facts["bytes"] = sum(dataset.sizes[name] for name in dataset.shards)
    others = [name for split in dataset.splits for name in split.files if name not in split.shards]
    if others:
        report.notes.append(
            f"{len(others):,} data files are no Parquet, e.g. {others[0]}; only loading looks into them"
        )
