"""What the passes over rows and media find out, as columns: what checks of the whole dataset are made of.

A shard's facts are small beside it: 40 bytes a row and 90 bytes a medium, whatever texts and media weigh.
"""

from __future__ import annotations

import pyarrow as pa

ROW_FACTS = pa.schema(
    [
        ("row", pa.int64()),
        ("values", pa.uint64()),
        ("question", pa.uint64()),
        ("answer", pa.uint64()),
        ("group", pa.uint64()),
        ("characters", pa.int64()),
    ]
)
"""A row that was looked at. row: counted from 0 in its shard; values: a hash of all values but the media; question and
answer: hashes of what stands before the last word of the assistant and of that, or of nothing and of the class labels,
null where there is neither; group: a hash of the value of `Options.group`; characters: those of its texts, the
conversation's alone where there is one."""

MEDIA_FACTS = pa.schema(
    [
        ("row", pa.int64()),
        ("column", pa.int16()),
        ("position", pa.int32()),
        ("sha256", pa.binary(16)),
        ("look", pa.binary(16)),
        ("bytes", pa.int64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("frames", pa.int64()),
        ("fps", pa.float64()),
        ("duration", pa.float64()),
    ]
)
"""A medium of such a row. column: position in `Columns.media`; position: in the row's list, else 0; sha256: its first
sixteen bytes; look: its perceptual hash, null where there is none; width and height as it is shown, seconds as
`duration`; null is what is not known."""
