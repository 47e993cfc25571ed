"""What the steps of curation did and measured, as a table by which a limit can be chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.stages.curation.measures import QUANTILES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_STEP, _MEASURE, _NUMBER = 16, 18, 12
_HEADINGS = {"p05": "5%", "p95": "95%"}


def step_table(configs: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Return the lines of a table: for each config its steps, with rows in, rows left out, and what was measured.

    The steps are as the manifest has them; configs without any are left out.
    """
    told = {name: steps for name, steps in configs.items() if steps}
    if not told:
        return []
    quantiles = "".join(f"{_HEADINGS.get(name, name):>{_NUMBER}}" for name in QUANTILES)
    lines = [f"{'step':<{_STEP}}{'rows in':>{_NUMBER}}{'left out':>{_NUMBER}}  {'measure':<{_MEASURE}}{quantiles}"]
    for config, steps in told.items():
        lines.append(f"{config}:")
        for number, step in enumerate(steps, 1):
            left_out = step["rows_in"] - step["rows_out"]
            name = f"{number} {step['step']}"
            start = f"{name:<{_STEP}}{step['rows_in']:>{_NUMBER},}{left_out:>{_NUMBER},}"
            for measure_name, measure in step["measured"].items() or (("", None),):
                values = "".join(_number(measure[quantile]) for quantile in QUANTILES) if measure else ""
                lines.append(f"{start}  {measure_name:<{_MEASURE}}{values}".rstrip())
                start = " " * len(start)
    return lines


def _number(value: float) -> str:
    return f"{value:>{_NUMBER},.6g}"
