"""Column types are those of `datasets`: in Arrow, in a Parquet footer, and in a card."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import ClassLabel, Dataset, Features, Image, Json, List, Value, Video
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.column_type import SCALARS, ColumnType, arrow_type, feature_json, feature_yaml, media_kind, parse_type
from pipeline.schema import Column, ColumnSpec, Schema

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8).filter(lambda n: n != "_type")
LABELS = st.lists(NAMES, min_size=1, max_size=4, unique=True)
PLAIN = st.recursive(
    st.sampled_from([*SCALARS, "json"]) | LABELS.map(lambda names: {"class_label": names}),
    lambda inner: (
        inner.map(lambda item: {"list": item})
        | st.dictionaries(
            NAMES | st.sampled_from(["dtype", "list", "struct", "names", "feature"]), inner, min_size=1, max_size=3
        ).map(lambda fields: {"struct": fields})
    ),
    max_leaves=6,
)
TYPES = PLAIN | st.sampled_from(["image", "video", {"list": "image"}, {"list": "video"}])


def feature(written: Any) -> Any:
    """Return the feature of `datasets` for a type as a schema writes it."""
    if isinstance(written, str):
        kinds = {"image": Image, "video": Video, "json": Json}
        return kinds[written]() if written in kinds else Value(written)
    ((kind, inner),) = written.items()
    if kind == "list":
        return List(feature(inner))
    if kind == "class_label":
        return ClassLabel(names=inner)
    return {name: feature(item) for name, item in inner.items()}


def schema(columns: dict[str, ColumnType]) -> Schema:
    """Return a schema with these columns."""
    made = {name: Column(name=name, type=kind, rules=ColumnSpec(type=None)) for name, kind in columns.items()}
    return Schema(name="demo", columns=made, placeholders=(), conversation=None, source={})


WRITTEN: list[Any] = [
    *SCALARS,
    "image",
    "video",
    "json",
    {"class_label": ["cat", "dog"]},
    {"class_label": ["1", "0", "null", "no", "ž"]},
    *({"list": name} for name in (*SCALARS, "image", "video", "json")),
    {"list": {"class_label": ["a"]}},
    {"list": {"list": "int64"}},
    {"list": {"list": {"list": {"struct": {"a": "string"}}}}},
    {"struct": {"a": "string", "b": {"list": "int8"}, "c": {"struct": {"d": "json"}}}},
    {"list": {"struct": {"from": "string", "value": "string"}}},
    {"list": {"list": {"class_label": ["x", "y"]}}},
    {"struct": {"dtype": "string", "list": "int64", "struct": "bool"}},
]


@pytest.mark.parametrize("written", WRITTEN, ids=str)
def test_a_type_is_that_of_datasets(written: Any) -> None:
    """Arrow type, footer and card of a type are exactly those that `datasets` makes."""
    same_as_datasets({"column": written})


@settings(max_examples=150, deadline=None)
@given(written=st.dictionaries(NAMES, TYPES, min_size=1, max_size=4))
def test_any_types_are_those_of_datasets(written: dict[str, Any]) -> None:
    """The same for any columns and any nesting."""
    same_as_datasets(written)


def same_as_datasets(written: dict[str, Any]) -> None:
    """Hold columns against the features of `datasets`."""
    types = {name: parse_type(value) for name, value in written.items()}
    features = Features({name: feature(value) for name, value in written.items()})
    expected = features.arrow_schema
    ours = schema(types)
    assert ours.arrow_schema(embedded=True).equals(expected, check_metadata=False)
    assert {name: arrow_type(kind) for name, kind in types.items()} == {f.name: f.type for f in expected}
    assert {name: feature_json(kind) for name, kind in types.items()} == features.to_dict()
    ours_yaml = ours.features_yaml(embedded=True)
    assert ours_yaml == features._to_yaml_list()
    dumped = yaml.safe_load(yaml.safe_dump(ours_yaml, sort_keys=False, allow_unicode=True))
    assert Features._from_yaml_list(dumped) == features
    metadata = ours.arrow_schema(embedded=True).metadata
    assert json.loads(metadata[b"huggingface"]) == json.loads(expected.metadata[b"huggingface"])
    assert Features.from_arrow_schema(ours.arrow_schema(embedded=True)) == features


@pytest.mark.parametrize("written", WRITTEN, ids=str)
def test_media_beside_the_shards_are_paths(written: Any) -> None:
    """Media that are not embedded are texts in Arrow, in the footer and in the card alike."""
    kind = parse_type(written)
    one, many = pa.string(), pa.list_(pa.string())
    if media_kind(kind):
        listed = isinstance(written, dict)
        assert arrow_type(kind, embedded=False) == (many if listed else one)
        features = Features({"column": List(Value("string")) if listed else Value("string")})
        assert {"column": feature_json(kind, embedded=False)} == features.to_dict()
        assert [{"name": "column", **feature_yaml(kind, embedded=False)}] == features._to_yaml_list()
    else:
        assert arrow_type(kind, embedded=False) == arrow_type(kind)
        assert feature_yaml(kind, embedded=False) == feature_yaml(kind)


def test_the_footer_is_the_one_that_datasets_writes() -> None:
    """The metadata of a Parquet file written by `datasets` equals the metadata of our schema, byte for byte."""
    written = {"text": "string", "label": {"class_label": ["a", "b"]}, "turns": {"list": {"struct": {"v": "string"}}}}
    buffer = io.BytesIO()
    features = Features({name: feature(value) for name, value in written.items()})
    rows = {"text": ["x"], "label": [1], "turns": [[{"v": "y"}]]}
    Dataset.from_dict(rows, features=features).to_parquet(buffer)
    footer = pq.read_schema(pa.BufferReader(buffer.getvalue()))
    ours = schema({name: parse_type(value) for name, value in written.items()}).arrow_schema(embedded=True)
    assert footer.metadata[b"huggingface"] == ours.metadata[b"huggingface"]
    assert footer.equals(ours, check_metadata=False)
