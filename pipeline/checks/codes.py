"""The codes of everything that a check can find: what each means, how bad it is, and how deep one must look for it.

Codes are stable: a code that is no longer used is not given to anything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]
Look = Literal["quick", "sampled", "full"]
"""quick: the card, the listing and the footers; sampled: a sample of rows and media as well; full: all of them."""
LOOKS: tuple[Look, ...] = ("quick", "sampled", "full")


@dataclass(frozen=True, slots=True)
class Code:
    """What a code says."""

    what: str
    """What is wrong, for the table of codes."""
    severity: Severity = "error"
    """error: it breaks a loader, a training or a promise of the card; warning: somebody should look at it."""
    look: Look = "quick"
    """The least look that finds it."""


CODES: dict[str, Code] = {
    # the card and its shards
    "SW100": Code("there is no card, so `datasets` guesses which files belong together", "warning"),
    "SW101": Code("the card cannot be read, or its front matter is not YAML"),
    "SW102": Code("`configs` and `dataset_info` do not name the same configs and splits"),
    "SW103": Code("a config or split name that `datasets` refuses, or none at all"),
    "SW104": Code("a pattern of `data_files` matches no file"),
    "SW105": Code("a shard belongs to no split, or to more than one"),
    "SW106": Code("the card's rows are not those of the shards"),
    "SW107": Code("the card's `num_bytes` is not what `datasets` records", look="sampled"),
    "SW108": Code("`download_size` or `dataset_size` is wrong"),
    "SW109": Code("features of the card, the footers and the shards differ"),
    "SW110": Code("shards left over from an earlier count"),
    "SW111": Code("the size category does not fit the rows", "warning"),
    "SW112": Code("a licence that the Hub does not know", "warning"),
    "SW113": Code("a language that the Hub does not know", "warning"),
    "SW114": Code("a task or another value of the card that the Hub does not know", "warning"),
    "SW115": Code("a link or picture in the card leads to no file of the dataset", "warning"),
    "SW116": Code("front matter with two blocks, or with one key twice"),
    "SW117": Code("a number of the card is not a whole one"),
    # loading
    "SW201": Code("`datasets.load_dataset` fails, or gives other splits", look="sampled"),
    "SW202": Code("too large to be loaded whole, so the first rows were streamed", "warning", look="sampled"),
    "SW203": Code("`datasets` recorded other numbers than the card's", look="sampled"),
    "SW204": Code("streaming fails, or gives other columns", look="sampled"),
    "SW205": Code("pandas or plain pyarrow cannot read a shard", look="sampled"),
    # the health of shards
    "SW301": Code("a shard is truncated, damaged or no Parquet"),
    "SW302": Code("a shard or row group without rows"),
    "SW303": Code("rows that are more than the Hub's viewer reads at once", "warning"),
    "SW304": Code("large row groups without a page index", "warning"),
    "SW305": Code("media that are compressed or dictionary-encoded once more, which saves nothing", "warning"),
    "SW306": Code("a column of one row group is near to or over what 32-bit offsets hold"),
    # rows
    "SW401": Code("a value that its schema forbids", look="sampled"),
    "SW402": Code("a value that stands twice in a column that says it is unique", look="sampled"),
    "SW403": Code("a column that is null in every row", "warning", look="sampled"),
    "SW404": Code("texts that are empty or only white space", "warning", look="sampled"),
    "SW405": Code("texts that were decoded with the wrong encoding", "warning", look="sampled"),
    "SW406": Code("placeholders in a text are not as many as the row has media", look="sampled"),
    "SW407": Code("a conversation that is empty, out of turn, or does not end with the assistant", look="sampled"),
    "SW408": Code("absolute paths of somebody's machine", look="sampled"),
    "SW409": Code("a secret in a text: a token, a password or a private key", look="sampled"),
    "SW410": Code("e-mail addresses in texts", "warning", look="sampled"),
    # media
    "SW501": Code("a medium does not decode", look="sampled"),
    "SW502": Code("a medium is not of the size, length or rate that its row says", look="sampled"),
    "SW503": Code("a video without frames", look="sampled"),
    "SW504": Code("a video that stands still", "warning", look="sampled"),
    "SW505": Code(
        "a picture that `datasets` turns by its EXIF orientation, and plain Pillow does not", "warning", look="sampled"
    ),
    "SW506": Code(
        "an animated picture, or one of several pages, where one picture is expected", "warning", look="sampled"
    ),
    "SW507": Code("a file name whose ending does not fit the content", "warning", look="sampled"),
    "SW508": Code("a medium that is not there: no bytes, and no file of its path", look="sampled"),
    # leaks
    "SW601": Code("the same medium on two sides", look="sampled"),
    "SW602": Code("nearly the same picture on two sides", "warning", look="sampled"),
    "SW603": Code("the same group on two sides", look="sampled"),
    "SW604": Code("rows that are the same all through", "warning", look="sampled"),
    "SW605": Code("different answers to the same question about the same medium", "warning", look="sampled"),
    # the budget of a training
    "SW701": Code(
        "rows that cost more tokens than allowed, or hold media that the model's processor refuses", look="sampled"
    ),
    # the build behind the dataset
    "SW801": Code("rows in are not rows out plus rejects"),
    "SW802": Code("a medium in a shard, or beside it, is not the one that was cached"),
    "SW803": Code("a shard is not the file that was built"),
    "SW804": Code("values that curation changed are not those that it noted"),
}
"""Code -> what it says."""


def codes_of(group: str) -> tuple[str, ...]:
    """Return the codes that begin so."""
    return tuple(code for code in CODES if code.startswith(group))
