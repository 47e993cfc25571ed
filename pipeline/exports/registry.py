"""Which formats there are to export to."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from pipeline.document import nearest
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.exports.writer import Format

FORMATS: dict[str, str] = {
    "llava": "pipeline.exports.llava:Llava",
    "qwen-vl": "pipeline.exports.qwen_vl:QwenVL",
    "internvl": "pipeline.exports.internvl:InternVL",
    "ms-swift": "pipeline.exports.ms_swift:MsSwift",
    "llama-factory": "pipeline.exports.llama_factory:LlamaFactory",
    "xtuner": "pipeline.exports.xtuner:XTuner",
    "trl": "pipeline.exports.trl:Trl",
    "data-juicer": "pipeline.exports.data_juicer:DataJuicer",
    "webdataset": "pipeline.exports.webdataset:WebDataset",
    "folder": "pipeline.exports.folder:MediaFolder",
    "csv": "pipeline.exports.csv_table:CsvTable",
}
"""Name of a format -> its class, imported when it is asked for."""


def format_named(name: str) -> Format:
    """Return a format.

    Raises:
        UsageError: there is none of this name.
    """
    if name not in FORMATS:
        raise UsageError(f"there is no format {name!r}", allowed=", ".join(FORMATS), hint=nearest(name, FORMATS))
    module, _, class_name = FORMATS[name].partition(":")
    found: type[Format] = getattr(import_module(module), class_name)
    return found()
