"""What runs where data-juicer is installed: one recipe over one file of rows, operator by operator.

    python -I juicer_driver.py order.json

This file is given to another Python than ours, so it imports nothing of ours. It uses data-juicer's own configuration,
loader, operators and tracer, and takes the operators one after another, so that what each of them does to each row is
known: which rows are gone after it, which are there twice, whose media it changed.

The answer is a file of JSON lines, in rising order of the rows, one for each row that was sent:

    {"row": 3, "values": {"text": "…"}, "stats": {"text_len": 66}}          it stays, with these values now
    {"row": 4, "operator": "text_length_filter", "stats": {"text_len": 9}}  it is gone after this operator

or, where rows cannot be brought back, `{"problem": "…", "operator": "…"}` alone.
"""

from __future__ import annotations

import json
import socket
import sys
from collections import Counter
from multiprocessing import Manager
from pathlib import Path
from typing import Any

ALL = 1 << 40
"""Samples that the tracer is to note: all of them."""


class Unusable(Exception):
    """An operator did to the rows what cannot be taken over."""

    def __init__(self, operator: str, problem: str) -> None:
        super().__init__(problem)
        self.operator = operator


def stay_here() -> None:
    """Let nothing of this process leave the machine, nor install anything, which data-juicer does by itself."""

    def refuse(_: Any, address: Any, *__: Any) -> Any:
        raise OSError(f"curation stays on this machine; an operator asks for {str(address)[:200]}")

    connect = socket.socket.connect

    def connect_here(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX:
            refuse(self, address)
        connect(self, address)

    socket.socket.connect = connect_here  # type: ignore[assignment, method-assign]
    socket.socket.connect_ex = refuse  # type: ignore[method-assign]
    socket.getaddrinfo = lambda host, *_, **__: refuse(None, host)

    from data_juicer.utils.lazy_loader import LazyLoader

    def missing(_: Any, package: str, *__: Any) -> None:
        raise ImportError(f"the package {package} is not installed beside data-juicer")

    LazyLoader._install_package = classmethod(missing)  # noqa: SLF001  (there is no option for it)


def run(order: dict[str, Any]) -> None:
    """Run the recipe and write the answer."""
    from data_juicer.config import init_configs
    from data_juicer.core.data.dataset_builder import DatasetBuilder
    from data_juicer.core.data.schema import Schema
    from data_juicer.core.preflight import post_instantiation_check, pre_instantiation_check
    from data_juicer.core.tracer import Tracer
    from data_juicer.ops import load_ops
    from data_juicer.ops.base_op import Filter

    work = Path(order["work"])
    config = init_configs(
        [
            *("--config", order["recipe"], "--dataset_path", order["rows"], "--work_dir", str(work)),
            *("--export_path", str(work / "unused.jsonl"), "--ds_cache_dir", str(work / "cache")),
            # else an operator that fails on one row takes up to a thousand away
            *("--skip_op_error", "false", "--executor_type", "default", "--use_cache", "false"),
            *("--text_keys", "text", "--image_key", "images", "--video_key", "videos", "--audio_key", "audios"),
            *("--image_special_token", "<__dj__image>", "--video_special_token", "<__dj__video>"),
            *("--eoc_special_token", "<|__dj__eoc|>", "--open_monitor", "false", "--open_tracer", "true"),
        ]
    )
    pre_instantiation_check(config.process)
    dataset = DatasetBuilder(config).load_dataset()
    operators = load_ops(config.process)
    post_instantiation_check(operators, Schema.from_hf_features(dataset.features), config)
    # mappers need no trace: their rows are all in the answer
    filters = [operator._name for operator in operators if isinstance(operator, Filter)]  # noqa: SLF001
    tracer = Tracer(config.work_dir, filters, show_num=ALL, lock=Manager().Lock()) if filters else None
    rows = Rows(order["row"], order["columns"], dataset)
    for number, operator in enumerate(operators, 1):
        name = f"{operator._name} (operator {number})"  # noqa: SLF001  (data-juicer's own messages use it too)
        dataset = dataset.process([operator], work_dir=config.work_dir, tracer=tracer, open_monitor=False)
        rows.take(name, dataset, tracer and Path(tracer.get_trace_file_path(operator._name)))  # noqa: SLF001
    rows.write(Path(order["answer"]), dataset)


class Rows:
    """What becomes of the rows that were sent."""

    def __init__(self, row: str, columns: list[str], dataset: Any) -> None:
        self._row, self._columns = row, columns
        self._kinds = [name for name in ("images", "videos") if name in dataset.column_names]
        self._media = self._media_of("the loader", dataset)
        self._gone: dict[int, tuple[str, dict[str, Any]]] = {}

    def take(self, operator: str, dataset: Any, trace: Path | None) -> None:
        """Note what an operator did; the trace says what filters measured of what they left out."""
        media = self._media_of(operator, dataset)
        for number in self._media.keys() - media.keys():
            self._gone[number] = (operator, {})
        for number, paths in media.items():
            if self._media.get(number) != paths:
                problem = "changed the media of" if number in self._media else "made"
                raise Unusable(operator, f"{problem} row {number}")
        self._media = media
        if trace is not None and trace.is_file():
            with trace.open(encoding="utf-8") as lines:
                for line in lines:
                    sample = json.loads(line)
                    if self._row in sample and sample[self._row] in self._gone:
                        name = self._gone[sample[self._row]][0]
                        self._gone[sample[self._row]] = (name, _stats(sample))

    def write(self, answer: Path, dataset: Any) -> None:
        """Write what became of each row."""
        kept = {number: place for place, number in enumerate(dataset[self._row])}
        with answer.open("w", encoding="utf-8") as file:
            for number in sorted([*kept, *self._gone]):
                told: dict[str, Any] = {"row": number}
                if number in kept:
                    sample = dataset[kept[number]]
                    told |= {"values": {name: sample.get(name) for name in self._columns}, "stats": _stats(sample)}
                else:
                    operator, stats = self._gone[number]
                    told |= {"operator": operator, "stats": stats}
                file.write(json.dumps(told, default=str) + "\n")

    def _media_of(self, operator: str, dataset: Any) -> dict[int, tuple[list[Any], ...]]:
        """Return the media of each row that there is."""
        lost = [name for name in (self._row, *self._columns, *self._kinds) if name not in dataset.column_names]
        if lost:
            raise Unusable(operator, f"took the column {lost[0]!r} away from")
        numbers = list(dataset[self._row])
        if any(not isinstance(number, int) for number in numbers):
            raise Unusable(operator, "made rows that are none of those that it was given")
        often = Counter(numbers).most_common(1)
        if often and often[0][1] > 1:
            raise Unusable(operator, f"made {often[0][1]} rows of row {often[0][0]}")
        paths = zip(*([list(one or ()) for one in dataset[kind]] for kind in self._kinds), strict=True)
        return dict(zip(numbers, paths if self._kinds else ([()] * len(numbers)), strict=True))


def _stats(sample: dict[str, Any]) -> dict[str, Any]:
    """Return what filters measured of a row, without what is not known."""
    stats = sample.get("__dj__stats__") or {}
    stats = json.loads(stats) if isinstance(stats, str) else stats
    return {name: value for name, value in stats.items() if value not in (None, [])}


def main() -> None:
    """Do what the order says."""
    order = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    stay_here()
    try:
        run(order)
    except Unusable as error:
        told = {"problem": str(error), "operator": error.operator}
        Path(order["answer"]).write_text(json.dumps(told) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
