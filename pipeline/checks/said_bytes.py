"""`num_bytes` of a card: when it is right, although `datasets` itself writes three different numbers for the same rows.

All of datasets 5.2, which compares none of them: `utils/info_utils.py:verify_splits` looks at `num_examples` alone.

- Loading records the Arrow bytes of the batches that it writes to its cache (`pipeline/recorded_bytes.py`).
- `Dataset.push_to_hub` writes an estimate (`arrow_dataset.py:_estimate_nbytes`): the table in memory, which lacks the
  null bitmaps that reading Parquet adds; media that are files yet, by the sizes of the first 1,000; and rows that were
  picked (`filter`, `shuffle`, `train_test_split`), by their share of the table they come from, whatever they weigh.
- `IterableDataset.push_to_hub` writes the uncompressed bytes of the row groups (`iterable_dataset.py`).

So a card that Shardwright wrote must say what loading records, to the byte. Any other may say that, more or less the
null bitmaps, or what the row groups hold. What else it says is taken for an estimate only if the card was written
together with these very files: its `download_size` is theirs to the byte, its `dataset_size` is the sum of its splits,
and the number is not absurd. A push keeps all three; who edits one number, or exchanges files, breaks one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.checks.dataset import Dataset, Footer, Split

OURS = "\n# shardwright:begin"
"""What stands in the front matter of a card that Shardwright wrote."""
LEEWAY = 1_000
"""How many times too large or too small an estimate may be: about as much as one row may outweigh another."""
ROWS_A_CHUNK = 10
"""The smallest batches that `datasets` writes; each may round the bitmap of each level up to a byte."""


def written_splits(info: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what the `dataset_info` of a config says of its splits, by their names."""
    entries = info.get("splits")
    entries = entries if isinstance(entries, list) else []
    return {str(entry.get("name")): entry for entry in entries if isinstance(entry, dict)}


def sum_of_splits(info: dict[str, Any]) -> int | None:
    """Return the bytes of all splits that a `dataset_info` names; None: it does not say them."""
    each = [entry.get("num_bytes") for entry in written_splits(info).values()]
    whole = [one for one in each if type(one) is int]
    return sum(whole) if each and len(whole) == len(each) else None


def is_ours(dataset: Dataset) -> bool:
    """Tell whether Shardwright wrote the numbers of the card."""
    return dataset.card is not None and OURS in dataset.card.text


def is_right(dataset: Dataset, split: Split, said: int, recorded: int) -> bool:
    """Tell whether a card may say these bytes of a split of which loading records others."""
    if said == recorded or is_ours(dataset):
        return said == recorded
    footers = [footer for name in split.shards if (footer := dataset.footer(name)) is not None]
    if abs(said - recorded) <= sum(map(bitmap_bytes, footers)):
        return True
    if footers and said == sum(group.bytes for footer in footers for group in footer.groups):
        return True
    return is_written_with_files(dataset, split.config) and max(said, recorded) <= LEEWAY * min(said, recorded)


def is_written_with_files(dataset: Dataset, config: str) -> bool:
    """Tell whether the sizes of a config in the card are those of these very files, and add up."""
    info = dataset.info(config)
    names = {name for split in dataset.splits_of(config) for name in split.files}
    files = sum(dataset.sizes[name] for name in names)
    total = info.get("dataset_size")
    return type(total) is int and info.get("download_size") == files and total == sum_of_splits(info)


def bitmap_bytes(footer: Footer) -> int:
    """Return what the null bitmaps of a shard weigh at the most: a bit for each value and each list around it."""
    metadata, bits, chunks = footer.metadata, 0, footer.rows // ROWS_A_CHUNK + 1 + len(footer.groups)
    for column in range(metadata.num_columns):
        levels = 1 + metadata.schema.column(column).max_repetition_level
        values = sum(metadata.row_group(group).column(column).num_values for group in range(metadata.num_row_groups))
        bits += levels * (values + 8 * chunks)
    return bits // 8
