"""Splits are as large as asked, groups stand on one side, and what had to give way is in the rejects."""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pipeline.errors import SourceError
from pipeline.row_file import read_rows
from pipeline.samples import KEPT_SCHEMA, media_groups
from pipeline.stages.split import _spread
from tests.project import Project, tree

if TYPE_CHECKING:
    from collections.abc import Iterable

COLUMNS = {"n": "int64", "g": {"type": "string", "nullable": True}, "s": {"type": "string", "nullable": True}}
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def divided(
    project: Project, rows: Iterable[dict[str, Any]], splits: dict[str, Any], **by: Any
) -> dict[str, list[dict[str, Any]]]:
    """Divide rows, and return them side by side."""
    project.rows("rows.jsonl", [{"g": None, "s": None, "n": n, **row} for n, row in enumerate(rows)])
    project.write({"configs": {"default": {"rows": {"files": "*.jsonl"}, "splits": splits, "split_by": by}}}, COLUMNS)
    project.build(upto="split")
    return placed(project, splits)


def placed(project: Project, splits: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each split, read where the stages left them."""
    (records,) = (project.work / "records").rglob("*.arrow")
    values = read_rows(records).to_pylist()
    kept = read_rows(project.work / "plan" / "default.split.arrow").to_pylist()
    return {
        name: [values[sample["row"]] for sample in kept if sample["split"] == number]
        for number, name in enumerate(splits)
    }


@pytest.mark.parametrize("group", ["none", "media", "g"])
def test_shares_of_single_rows_are_exact(project: Project, group: str) -> None:
    """Without groups every share is exact to the row, whatever the number of rows, and all rows are placed."""
    splits = {"train": 0.8, "validation": 0.15, "test": 0.05}
    sides = divided(project, ({} for _ in range(1_000)), splits, group=group)
    assert [len(rows) for rows in sides.values()] == [800, 150, 50]
    assert sorted(row["n"] for rows in sides.values() for row in rows) == list(range(1_000))
    assert not project.rejected()


def test_counts_first_last_and_rest(project: Project) -> None:
    """`first` and `last` go by file order, `count` is a number of the others, a share one of all, `rest` the rest."""
    splits = {"test": {"last": 4}, "a": {"first": 3}, "b": {"count": 5}, "c": {"share": 0.1}, "train": "rest"}
    sides = divided(project, ({} for _ in range(100)), splits)
    assert [row["n"] for row in sides["test"]] == [96, 97, 98, 99]
    assert [row["n"] for row in sides["a"]] == [0, 1, 2]
    assert [len(rows) for rows in sides.values()] == [4, 3, 5, 10, 78]


@QUICK
@given(
    sizes=st.lists(st.integers(1, 12), min_size=4, max_size=40),
    shares=st.sampled_from([(0.5, 0.5), (0.8, 0.2), (0.6, 0.2, 0.2), (0.9, "rest")]),
    seed=st.integers(0, 99),
)
def test_groups_are_whole_and_shares_exact_to_half_a_group(
    sizes: list[int], shares: Any, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No group stands on two sides, and no border is further than half a group from where it should be."""
    rows = [{"g": f"group {number}"} for number, size in enumerate(sizes) for _ in range(size)]
    splits = {f"s{number}": share for number, share in enumerate(shares)}
    project = Project(tmp_path_factory.mktemp("case"))
    mixed = np.random.default_rng(0).permutation(np.array(rows))
    sides: dict[str, list[dict[str, Any]]] = {}
    with suppress(SourceError):  # a split would be empty
        sides = divided(project, mixed, splits, group="g", seed=seed)
    assume(sides)
    assert_no_leaks({name: {row["g"] for row in found} for name, found in sides.items()})
    wanted = [share if isinstance(share, float) else 0.1 for share in shares]
    for border in range(1, len(shares)):
        ideal = sum(wanted[:border]) * len(rows)
        real = sum(len(sides[f"s{number}"]) for number in range(border))
        assert abs(real - ideal) <= max(sizes) / 2 + 1


def assert_no_leaks(sides: dict[str, set[Any]]) -> None:
    """No value is on two sides."""
    counts = Counter(value for values in sides.values() for value in values)
    assert not [value for value, count in counts.items() if count > 1]


def test_rows_without_a_group_stand_alone(project: Project) -> None:
    """Rows whose group is null are no group of their own, so that shares stay exact."""
    sides = divided(project, ({"g": None if n % 2 else "g"} for n in range(40)), {"a": 0.75, "b": 0.25}, group="g")
    assert abs(len(sides["a"]) - 30) <= 10
    assert len({row["g"] is None for row in sides["a"]} | {row["g"] is None for row in sides["b"]}) == 2
    assert sum(row["g"] is None for row in sides["a"]) not in (0, 20)


@given(
    strata=st.lists(st.integers(1, 500), min_size=1, max_size=60),
    shares=st.lists(st.integers(1, 20), min_size=1, max_size=5),
)
def test_strata_are_within_one_row_of_their_share(strata: list[int], shares: list[int]) -> None:
    """Every stratum gives every split its share to within one row, and both strata and splits add up."""
    total = sum(strata)
    ends = np.round(np.cumsum(shares) / sum(shares) * total).astype(int)
    rows = np.diff(ends, prepend=0)
    quotas = _spread(np.array(strata), rows)
    assert (quotas >= 0).all()
    assert quotas.sum(axis=0).tolist() == rows.tolist()
    assert quotas.sum(axis=1).tolist() == strata
    assert (np.abs(quotas - np.outer(strata, rows) / total) < 1 + 1e-9).all()


@QUICK
@given(
    strata=st.lists(st.integers(0, 12), min_size=20, max_size=120),
    shares=st.sampled_from([(0.5, 0.5), (0.8, 0.1, 0.1), (0.6, 0.3, 0.1)]),
)
def test_stratified_rows(
    strata: list[int], shares: tuple[float, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In a build too: splits are exact, and each stratum is within one row of its share in each split."""
    project = Project(tmp_path_factory.mktemp("case"))
    splits = {f"s{number}": share for number, share in enumerate(shares)}
    sides = divided(project, ({"s": f"stratum {value}"} for value in strata), splits, stratify="s", group="none")
    for share, rows in zip(shares, sides.values(), strict=True):
        assert abs(len(rows) - share * len(strata)) < 1
        found = Counter(row["s"] for row in rows)
        for value, count in Counter(strata).items():
            assert abs(found[f"stratum {value}"] - count * len(rows) / len(strata)) < 1 + 1e-9


def test_stratified_groups(project: Project) -> None:
    """With groups, strata are spread to within a group, and the splits still are what was asked to within one."""
    rows = [{"g": f"{n // 4}", "s": "rare" if n % 40 < 4 else "common"} for n in range(2_000)]
    sides = divided(project, rows, {"train": 0.8, "test": 0.2}, group="g", stratify="s")
    assert_no_leaks({name: {row["g"] for row in found} for name, found in sides.items()})
    assert abs(len(sides["test"]) - 400) <= 4
    assert abs(sum(row["s"] == "rare" for row in sides["test"]) - 40) <= 4


def test_the_seed_alone_changes_the_draw(project: Project) -> None:
    """The same seed gives the same sides, another seed others."""
    rows = [{} for _ in range(200)]
    first = divided(project, rows, {"a": 0.5, "b": 0.5}, seed=1)
    assert divided(project, rows, {"a": 0.5, "b": 0.5}, seed=1) == first
    other = divided(project, rows, {"a": 0.5, "b": 0.5}, seed=2)
    moved = {row["n"] for row in first["a"]} ^ {row["n"] for row in other["a"]}
    assert 60 < len(moved) < 140


@pytest.mark.parametrize("by", [{}, {"stratify": "s"}, {"group": "g"}, {"group": "g", "stratify": "s"}])
def test_new_rows_move_few_old_ones(project: Project, by: dict[str, Any]) -> None:
    """One per cent of new rows moves at most two per cent of the old ones to another side."""
    rows = [{"g": f"{n // 2}", "s": str(n % 7)} for n in range(2_020)]
    splits = {"train": 0.8, "validation": 0.1, "test": 0.1}
    before = divided(project, rows[:2_000], splits, **by)
    after = divided(project, rows, splits, **by)
    where = {row["n"]: name for name, found in after.items() for row in found}
    assert sum(where[row["n"]] != name for name, found in before.items() for row in found) <= 40


def test_a_column_group_keeps_its_side_when_rows_come_before_it(project: Project) -> None:
    """The draw of a group goes by its value, so rows put in front of a file do not shuffle the groups."""
    rows = [{"g": f"{n // 2}"} for n in range(400)]
    before = divided(project, rows, {"a": 0.5, "b": 0.5}, group="g")
    after = divided(project, [{"g": "new"}, *rows], {"a": 0.5, "b": 0.5}, group="g")
    assert len({row["g"] for row in before["a"]} ^ {row["g"] for row in after["a"]} - {"new"}) <= 3


def test_rows_that_share_media_stay_together(project: Project) -> None:
    """Rows that share an image stay together, also over a chain A-B, B-C, and over lists; others do not."""
    names = project.pictures(60)
    chains = [[names[0], names[1]], [names[1], names[2]], [names[3]], [names[2], names[3]]]
    project.rows("rows.jsonl", [{"images": row} for row in [*chains, [], [], *([name] for name in names[10:])]])
    splits = {"a": 0.5, "b": 0.5}
    for seed in range(5):
        recipe = {"rows": {"files": "rows.jsonl"}, "splits": splits, "split_by": {"seed": seed}}
        project.write({"configs": {"default": recipe}}, {"images": {"list": "image"}})
        project.build(upto="split")
        kept = read_rows(project.work / "plan" / "default.split.arrow").to_pylist()
        assert len({sample["split"] for sample in kept if sample["row"] < 4}) == 1
        assert abs(sum(sample["split"] for sample in kept) - 28) <= 2


@given(rows=st.lists(st.lists(st.integers(0, 15), max_size=4), max_size=25), offset=st.integers(0, 5))
def test_media_groups_are_connected_components(rows: list[list[int]], offset: int) -> None:
    """Two samples have one group exactly when a chain of shared media, or videos they are cut from, joins them."""
    values = [
        {"file": 0, "row": n, "line": n, "bytes": 1, "columns": [0] * len(row)}
        | {"media": [f"{n} {m}" for m in row], "origins": [str(m) for m in row]}
        for n, row in enumerate(rows)
    ]
    import pyarrow as pa

    groups = media_groups(pa.Table.from_pylist(values, KEPT_SCHEMA).slice(offset))
    rows = rows[offset:]
    names = list(range(len(rows)))
    changed = True
    while changed:
        changed = False
        for one, left in enumerate(rows):
            for two, right in enumerate(rows):
                if set(left) & set(right) and names[one] != names[two]:
                    names = [min(names[one], names[two]) if n in (names[one], names[two]) else n for n in names]
                    changed = True
    together = defaultdict(set)
    for name, group in zip(names, groups.tolist(), strict=True):
        together[name].add(group)
    assert all(len(found) == 1 for found in together.values())
    assert len({next(iter(found)) for found in together.values()}) == len(together)


@QUICK
@given(data=st.data())
def test_no_group_is_left_on_two_sides(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """However splits are given, no group is on two sides afterwards, and every row is on a side or in the rejects."""
    groups = data.draw(st.lists(st.integers(0, 12), min_size=10, max_size=60))
    leaks = data.draw(st.sampled_from(["reject", "reject", "keep"]))
    splits = data.draw(
        st.sampled_from(
            [
                {"test": {"last": 4}, "train": "rest"},
                {"a": {"first": 3}, "z": {"last": 3}, "b": {"count": 2}, "train": "rest"},
                {"z": {"last": 5}, "b": 0.3, "train": "rest"},
                {"train": 0.7, "test": 0.3},
                {"train": {"files": "a.jsonl"}, "test": {"files": "b.jsonl"}, "x": {"files": "c.jsonl"}},
            ]
        )
    )
    project = Project(tmp_path_factory.mktemp("case"))
    rows = [{"n": n, "g": str(group)} for n, group in enumerate(groups)]
    third = len(rows) // 3
    project.rows("a.jsonl", rows[: 2 * third])
    project.rows("b.jsonl", rows[2 * third : -third])
    project.rows("c.jsonl", rows[-third:])
    config: dict[str, Any] = {"splits": splits, "split_by": {"group": "g", "leaks": leaks}}
    if "x" not in splits:
        config["rows"] = {"files": ["a.jsonl", "b.jsonl", "c.jsonl"]}
    project.write({"configs": {"default": config}}, {"n": "int64", "g": "string"})
    with suppress(SourceError):  # a split would be empty
        project.build(upto="shard")
    assume(project.out.exists())
    sides = {name: project.split(name).to_pylist() for name in splits}
    out = [row["n"] for found in sides.values() for row in found]
    assert len(out) + len(project.rejected()) == len(rows)
    assert len(set(out)) == len(out)
    if leaks == "keep":
        assert not project.rejected()
        return
    assert_no_leaks({name: {row["g"] for row in found} for name, found in sides.items()})
    assert {reason for _, _, reason in project.reasons()} <= {"split.leak"}
    lines = [(f"{name}.jsonl", line + 1) for name, part in (("a", 2 * third),) for line in range(part)]
    assert {(file, line) for file, line, _ in project.reasons() if file == "a.jsonl"} <= set(lines)


def test_the_smaller_split_keeps_what_leaks(project: Project) -> None:
    """A group in two files stays in the smaller split; the larger one's rows are rejected with file and line."""
    names = project.pictures(12)
    project.rows("train.jsonl", [{"image": name} for name in names[:10]])
    project.rows("test.jsonl", [{"image": name} for name in [*names[8:], names[9]]])
    splits = {"train": {"files": "train.jsonl"}, "test": {"files": "test.jsonl"}}
    project.write({"configs": {"default": {"splits": splits}}}, {"image": "image"})
    project.build()
    assert project.reasons() == [("train.jsonl", 9, "split.leak"), ("train.jsonl", 10, "split.leak")]
    assert {row["split"] for row in project.rejected()} == {"train"}
    assert [project.split(name).num_rows for name in splits] == [8, 5]
    keep = {"splits": splits, "split_by": {"leaks": "keep"}}
    project.write({"configs": {"default": keep}}, {"image": "image"})
    report = project.build()
    assert not project.rejected()
    assert [project.split(name).num_rows for name in splits] == [10, 5]
    (note,) = next(stage for stage in report.stages if stage.stage == "split").notes
    assert "2 groups stand on two sides" in note
    assert "2 groups of `default` stand in more than one split" in (project.out / "README.md").read_text("utf-8")


def test_an_empty_split_is_said(project: Project) -> None:
    """A split that would be empty stops the build with the counts and the way out."""
    with pytest.raises(SourceError, match="split 'test' would be empty: 3 rows in 3 groups") as error:
        divided(project, ({} for _ in range(3)), {"train": 0.9, "test": 0.1})
    assert "(train 3, test 0)" in str(error.value)
    assert "larger share" in error.value.hint
    with pytest.raises(SourceError, match="split 'rest' would be empty"):
        divided(project, ({} for _ in range(3)), {"some": {"count": 9}, "rest": "rest"})
    with pytest.raises(SourceError, match="would be empty: 2 rows"):
        divided(project, ({} for _ in range(2)), {"a": {"first": 2}, "b": {"last": 2}, "c": "rest"})


def test_a_recipe_that_failed_leaves_no_wrong_rejects(project: Project) -> None:
    """Going back to the recipe before gives its rejects again, not those of a build that stopped half way."""
    rows = [{"g": str(n % 5)} for n in range(30)]
    good = {"test": {"last": 4}, "train": "rest"}
    divided(project, rows, good, group="g")
    rejected = project.rejected()
    assert len(rejected) == 20
    with pytest.raises(SourceError, match="would be empty"):
        divided(project, rows, {"test": {"last": 30}, "train": "rest"}, group="g")
    divided(project, rows, good, group="g")
    assert project.rejected() == rejected
    (project.work / "rejects" / "split" / "default.parquet").unlink()
    project.build(upto="split")
    assert project.rejected() == rejected
    assert tree(project.work / "rejects")
