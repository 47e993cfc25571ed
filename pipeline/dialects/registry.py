"""Which dialects there are, by the names that recipes, `shardwright new` and `shardwright export` say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.dialects.alpaca import ALPACA
from pipeline.dialects.data_juicer import DATA_JUICER
from pipeline.dialects.internvl import INTERNVL
from pipeline.dialects.llama_factory import LLAMA_FACTORY
from pipeline.dialects.llava import LLAVA
from pipeline.dialects.media_folder import MEDIA_FOLDER
from pipeline.dialects.ms_swift import MS_SWIFT
from pipeline.dialects.qwen_vl import QWEN_VL
from pipeline.dialects.table import TABLE
from pipeline.dialects.trl import TRL
from pipeline.dialects.webdataset import WEBDATASET
from pipeline.dialects.xtuner import XTUNER
from pipeline.document import nearest
from pipeline.errors import UsageError
from pipeline.single_value import shown

if TYPE_CHECKING:
    from pipeline.dialects.dialect import Dialect

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        LLAVA,
        QWEN_VL,
        INTERNVL,
        MS_SWIFT,
        LLAMA_FACTORY,
        ALPACA,
        XTUNER,
        TRL,
        DATA_JUICER,
        WEBDATASET,
        MEDIA_FOLDER,
        TABLE,
    )
}
"""Name -> dialect; of two that fit equally well, the first is the more usual one."""


def dialect(name: str) -> Dialect:
    """Return the dialect of a name; raises UsageError that names the nearest one."""
    found = DIALECTS.get(name)
    if found is None:
        raise UsageError(
            f"there is no dialect {shown(name)}", allowed=", ".join(DIALECTS), hint=nearest(name, DIALECTS)
        )
    return found
