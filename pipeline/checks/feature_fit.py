"""Whether what a shard holds is what a card (or another shard) says, after the casts that loading does without a loss.

Features are those of `datasets`; what they share is taken apart by the names of their classes, so that nothing here has
to import it. Loading casts every shard to the card's features, or without a card to those of the first shard.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

UNITS = ("s", "ms", "us", "ns")
MEDIA_KEYS = frozenset(("bytes", "path"))


def fits(wanted: Any, found: Any, *, by_hand: bool) -> bool:
    """Tell whether loading makes one feature of the other, with the same meaning.

    `by_hand`: the shard knows nothing of features, so whatever type of its kind the card says is what people want.
    """
    kind, other = type(wanted).__name__, type(found).__name__
    if other == "Value" and pa.types.is_null(found.pa_type):
        return True
    if kind == "Value":
        return other == "Value" and _values_fit(wanted.pa_type, found.pa_type, by_hand=by_hand)
    if kind in ("List", "LargeList", "Sequence", "list"):
        if other not in ("List", "LargeList", "Sequence", "list") or not _lengths_fit(wanted, found):
            return False
        return fits(_item(wanted), _item(found), by_hand=by_hand)
    if isinstance(wanted, dict) and kind == "dict":
        if not isinstance(found, dict) or wanted.keys() != found.keys():
            return False
        return all(fits(wanted[name], found[name], by_hand=by_hand) for name in wanted)
    if kind == "ClassLabel":
        if other == "Value":
            return pa.types.is_integer(found.pa_type) or _is_text(found.pa_type)
        return other == kind and list(wanted.names or []) == list(found.names or [])
    if other == kind:
        return kind in ("Image", "Video", "Audio", "Pdf", "Nifti", "Mesh") or bool(wanted == found)
    if other == "Value":  # a medium as its bytes or its path
        return _is_text(found.pa_type) or _is_bytes(found.pa_type)
    if kind in ("Image", "Video", "Audio", "Pdf", "Nifti", "Mesh"):
        return other == "dict" and bool(found) and found.keys() <= MEDIA_KEYS
    return other in ("List", "LargeList", "Sequence", "list", "dict")  # arrays, translations: loading will tell


def _item(feature: Any) -> Any:
    return feature[0] if isinstance(feature, list) else feature.feature


def _lengths_fit(wanted: Any, found: Any) -> bool:
    lengths = {getattr(feature, "length", -1) for feature in (wanted, found)} - {-1}
    return len(lengths) < 2


def _values_fit(wanted: pa.DataType, found: pa.DataType, *, by_hand: bool) -> bool:
    """Tell whether a plain type holds all values of another, or at least is one of its kind, if that will do."""
    if pa.types.is_dictionary(found):
        found = found.value_type
    if wanted == found or (_is_text(wanted) and _is_text(found)) or (_is_bytes(wanted) and _is_bytes(found)):
        return True
    for is_kind in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_date):
        if is_kind(wanted) and is_kind(found):
            return by_hand or _is_wider(wanted, found)
    for is_kind in (pa.types.is_timestamp, pa.types.is_time, pa.types.is_duration):
        if is_kind(wanted) and is_kind(found):
            same_zone = getattr(wanted, "tz", None) == getattr(found, "tz", None)
            return same_zone and (by_hand or UNITS.index(wanted.unit) >= UNITS.index(found.unit))
    return False


def _is_wider(wanted: pa.DataType, found: pa.DataType) -> bool:
    if pa.types.is_decimal(wanted):
        return bool(wanted.scale >= found.scale and wanted.precision - wanted.scale >= found.precision - found.scale)
    if pa.types.is_integer(wanted) and pa.types.is_signed_integer(wanted) != pa.types.is_signed_integer(found):
        return bool(pa.types.is_signed_integer(wanted) and wanted.bit_width > found.bit_width)
    return bool(wanted.bit_width >= found.bit_width)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    plain = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    return bool(plain or pa.types.is_fixed_size_binary(kind))
