"""The command `merge`: adapters of a run merged into their model, proved on real rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.command_options import cache_option

if TYPE_CHECKING:
    from train.evaluation.asked_model import AskedModel
    from train.evaluation.evaluated_data import OpenedRows
    from train.example import Encoded
    from train.models.answer_logits import Difference
    from train.models.merge import MergeReport

MERGED = "merged"


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder to make; left out: merged, beside the checkpoint.")
@click.option("--data", help="Rows to prove it on: a dataset folder, or huggingface:owner/name; left out: the run's.")
@click.option("--config", help="The dataset's config, where it has several.")
@click.option("--split", help="Left out: the split that the run was evaluated on, else test.")
@click.option(
    "--schema", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="The schema file of the rows."
)
@click.option("--rows", type=click.IntRange(1), default=4, show_default=True, help="Rows that it is proved on.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cuda", "cpu"]),
    default="auto",
    show_default=True,
    help="Where it is merged; what was written is loaded by the processor.",
)
@cache_option
@click.option("--json", "as_json", is_flag=True, help="Print the proof as JSON.")
@click.option("--offline", is_flag=True, help="Touch no network to find the rows.")
def merge(source: Path, **options: Any) -> None:
    """Merge adapters into their model, so that it is loaded like any other; proved before it is there.

    SOURCE is a run's folder, one of its checkpoints, or a folder of adapters. What is merged has every weight of the
    base model and nothing else, gives the logits of the adapters on real rows, and is loaded by a fresh process.
    Exit code 0: done; 2: a mistake in the command; 3: it cannot be merged, or a proof failed; then nothing is there.
    """
    click.echo(run_merge(source, **options))


def run_merge(
    source: Path,
    *,
    out: Path | None,
    data: str | None,
    config: str | None,
    split: str | None,
    schema: Path | None,
    rows: int,
    device: str,
    cache: Path,
    as_json: bool,
    offline: bool,
) -> str:
    """Merge and prove; returns what to print.

    Raises:
        TrainError: there are no adapters, their model is not on this disk, or a proof fails.
        ShardwrightError: the rows cannot be had.
    """
    import json
    from contextlib import closing

    from pipeline.printable import escaped
    from pipeline.report import display_for
    from train.evaluation.asked_model import asked_model, device_for, quieted
    from train.evaluation.evaluated_data import WantedData, open_rows
    from train.example import TrainError
    from train.models.merge import merge_adapter
    from train.no_network import no_network

    quieted()
    asked = asked_model(str(source))
    if asked.adapter is None:
        raise TrainError(f"{source} is a whole model: there is nothing to merge", hint="use it as it is")
    split = split or (asked.run.settings.data.eval if asked.run is not None and data is None else None)
    found = open_rows(
        WantedData(data=data, config=config, split=split, schema=schema),
        asked.run,
        model=str(source),
        cache=cache.absolute(),
        offline=offline,
        display=display_for(quiet=as_json),
    )
    with closing(found.data), no_network():
        report = merge_adapter(
            asked.base,
            asked.adapter,
            out or _out(asked),
            examples=_examples(asked, found, rows),
            family=asked.family,
            quantised=asked.quantise,
            device=device_for(device).name,
        )
    if as_json:
        return json.dumps(_plain(report), indent=1)
    return escaped(_told(report, asked, found), keep="\n")


def _out(asked: AskedModel) -> Path:
    """Return the folder of a merged model of which nobody says it."""
    assert asked.adapter is not None
    if asked.run is not None:
        return asked.run.folder.path / MERGED
    return asked.adapter.with_name(f"{asked.adapter.resolve().name}-{MERGED}")


def _examples(asked: AskedModel, found: OpenedRows, count: int) -> list[Encoded]:
    """Return the first rows that the model can be asked.

    Raises:
        TrainError: there is none; says why the first is none.
    """
    from pipeline.errors import RowRejected
    from train.example import TrainError

    examples: list[Encoded] = []
    reason = "there are no rows"
    for number in range(found.data.rows):
        try:
            examples.append(asked.family.encode(asked.processor, found.data.example(number)))
        except RowRejected as error:
            reason = reason if examples else f"{found.data.ref(number)}: {error.message} ({error.code})"
        if len(examples) == count:
            break
    if not examples:
        raise TrainError(f"no row of the split {found.split!r} can prove it: {reason}", hint="name others with --data")
    return examples


def _plain(report: MergeReport) -> dict[str, Any]:
    """Return the proof as plain values."""

    def numbers(one: Difference | None) -> dict[str, float] | None:
        return None if one is None else {**one._asdict()}

    return {
        "folder": str(report.folder),
        "dtype": report.dtype,
        "weights": report.weights,
        "bytes": report.bytes,
        "tied": report.tied,
        "merged": numbers(report.merged),
        "written": numbers(report.written),
        "quantised": numbers(report.quantised),
    }


def _told(report: MergeReport, asked: AskedModel, found: OpenedRows) -> str:
    """Return the proof for people."""
    lines = [
        f"merged: {asked.title}",
        f"  weights   {report.weights:,} tensors, the names of the base model's and no other, {report.dtype}",
        f"  merged    {_apart(report.merged)}, in float32 beside the adapters",
        f"  written   {_apart(report.written)}, loaded by a fresh process as {report.dtype}, every weight to the bit",
    ]
    if report.quantised is not None:
        lines.append(f"  4 bits    {_apart(report.quantised)}: the adapters learnt beside a model in 4 bits")
    lines.append(f"  on rows of the split {found.split!r} of {found.told.get('name', found.data.plan.root.name)}")
    lines.append(f"{report.folder}: {report.bytes:,} bytes, with its processor and chat template")
    return "\n".join(lines)


def _apart(one: Difference) -> str:
    """Return how far logits lie apart, in words."""
    most = f"logits differ by at most {one.largest:.2g}, of up to {one.scale:.3g}"
    return f"{most}; {one.agreeing:.1%} of the tokens agree"
