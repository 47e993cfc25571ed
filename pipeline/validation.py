"""Validation: any dataset, made by us or not, looked at quickly, in samples, or whole.

from pipeline.validation import validate

report = validate("path/to/dataset")
print(report.ok, report)
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.checks.budget import budget_of
from pipeline.checks.card_values import check_language, check_licence, check_links, check_values
from pipeline.checks.codes import codes_of
from pipeline.checks.counts import check_counts, check_footers, check_recorded, check_sums
from pipeline.checks.dataset import read_dataset
from pipeline.checks.features import check_features
from pipeline.checks.files import LocalFiles
from pipeline.checks.leaks import check_leaks
from pipeline.checks.loads import check_loads
from pipeline.checks.media_pass import pass_over_media
from pipeline.checks.membership import check_leftovers, check_membership
from pipeline.checks.names import check_described, check_names
from pipeline.checks.options import Options
from pipeline.checks.report import Report
from pipeline.checks.row_pass import after_rows, pass_over_rows
from pipeline.checks.sampling import chosen_groups
from pipeline.checks.shard_health import check_shard_health
from pipeline.executor import InProcess, default_workers
from pipeline.media.examiners import Examiners

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import pyarrow as pa

    from pipeline.checks.dataset import Dataset
    from pipeline.checks.files import DatasetFiles
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
    (check_licence, ("SW112",)),
    (check_language, ("SW113",)),
    (check_values, ("SW114",)),
    (check_links, ("SW115",)),
    (check_shard_health, ("SW303", "SW304", "SW305", "SW306")),
)
"""The checks that need the card, the listing and the footers alone, and the codes that each finds."""


def validate(
    target: Path | str | DatasetFiles,
    options: Options | None = None,
    *,
    executor: Executor | None = None,
    decoders: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Check a dataset folder, or files elsewhere, of which only the card, the listing and the footers are looked at.

    `decoders` is how many media are decoded beside each other; left out, as many as there are processors.

    Raises:
        UsageError: there is no such folder.
        SourceError: a file elsewhere cannot be had.
    """
    options = options or Options()
    files = LocalFiles(Path(target)) if isinstance(target, Path | str) else target
    folder = files.folder if isinstance(files, LocalFiles) else None
    if folder is None:
        options = replace(options, look="quick")
    report = Report(target=files.shown, look=options.look, select=options.select, ignore=options.ignore)
    dataset, problems = read_dataset(files)
    doubts = _Doubts()
    report.add(doubts.without_consequences(problems))
    if dataset is None:
        return report
    _note_listing(dataset, report)
    for check, codes in CARD_CHECKS:
        if report.wants(*codes):
            report.add(doubts.without_consequences(check(dataset)))
        if progress is not None:
            progress.advance()
    if options.look == "quick" or folder is None:
        report.add(doubts.without_consequences(check_sums(dataset)))
        return report
    executor = executor or InProcess()
    if report.wants("SW107", "SW108", "SW301"):
        report.add(doubts.without_consequences(check_recorded(dataset, executor)))
    if report.wants(*codes_of("SW2")) and dataset.splits and report.ok:
        report.add(check_loads(dataset, folder, max_bytes=options.load_limit, scratch=options.scratch))
    _look_inside(dataset, options, report, executor, decoders or default_workers())
    return report


def _look_inside(dataset: Dataset, options: Options, report: Report, executor: Executor, decoders: int) -> None:
    """Look at rows and media, and at what only all of them together tell."""
    together = report.wants(*codes_of("SW6")) or options.budget is not None
    of_rows, of_media = report.wants(*codes_of("SW4")) or together, report.wants(*codes_of("SW5")) or together
    if not dataset.shards or not (of_rows or of_media):
        return
    chosen, note = chosen_groups(dataset, options)
    damaged = {problem.file for problem in report.problems if problem.code == "SW301"}
    chosen = {name: groups for name, groups in chosen.items() if name not in damaged}
    report.notes.append(note)
    rows: dict[str, pa.Table] = {}
    media: dict[str, pa.Table] = {}
    if of_rows:
        shards = []
        for shard in pass_over_rows(dataset, options, chosen, executor):
            report.add(shard.problems)
            report.add_uncounted(shard.more)
            rows[shard.name] = shard.facts
            shards.append(shard)
        problems, more = after_rows(dataset, options, shards)
        report.add(problems)
        report.add_uncounted(more)
    if of_media:
        with Examiners(decoders) as examiners:
            for name, facts, problems, more in pass_over_media(dataset, options, chosen, examiners):
                report.add(problems)
                report.add_uncounted(more)
                media[name] = facts
    if together:
        report.add(check_leaks(dataset, options, rows, media))
        problems, budget = budget_of(dataset, options, rows, media)
        report.add(problems)
        if budget:
            report.facts["budget"] = budget
            report.add_uncounted({"SW701": max(0, budget.get("over", 0) + budget.get("refused", 0) - len(problems))})


class _Doubts:
    """Configs of which it is in doubt which files or rows are theirs: what follows from that is not said as well."""

    def __init__(self) -> None:
        self._of: dict[str, set[str]] = {"files": set(), "rows": set()}

    def without_consequences(self, problems: Iterable[Problem]) -> Iterator[Problem]:
        """Yield the problems that do not follow from one that was found before."""
        for problem in problems:
            if problem.code in ("SW106", "SW107", "SW108") and problem.config in self._of["files"]:
                continue
            if problem.code in ("SW107", "SW108") and problem.config in self._of["rows"]:
                continue
            if problem.code in ("SW104", "SW105", "SW110", "SW301") and problem.config:
                self._of["files"].add(problem.config)
            if problem.code == "SW106":
                self._of["rows"].add(problem.config)
            yield problem


def _note_listing(dataset: Dataset, report: Report) -> None:
    """Say what there is, and what is no Parquet."""
    rows = sum(footer.rows for name in dataset.shards if (footer := dataset.footer(name)) is not None)
    report.facts |= {"configs": len(dataset.configs), "splits": len(dataset.splits)}
    report.facts |= {"shards": len(dataset.shards), "rows": rows}
    report.facts["bytes"] = sum(dataset.sizes[name] for name in dataset.shards)
    others = [name for split in dataset.splits for name in split.others]
    if others:
        count = f"{len(others):,} data files are" if len(others) > 1 else "1 data file is"
        report.notes.append(f"{count} no Parquet, e.g. {others[0]}; only loading looks into them")
    if elsewhere := [split.place for split in dataset.splits if split.is_elsewhere]:
        report.notes.append(f"files of {', '.join(elsewhere[:5])} lie at a URL, and were not looked at")
