"""The card of a model says what the run knows and nothing else; a folder that is not fit to be published is found."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from huggingface_hub import ModelCard

from pipeline.card_text import split_card, split_front_matter
from pipeline.errors import RecipeError, UsageError
from train.card_usage import frames_in_words
from train.example import RowRef, TrainError
from train.metrics_file import Measured
from train.model_card import model_card
from train.model_facts import DataFacts, ModelFacts
from train.model_folder import check_model_folder
from train.safetensors_header import read_tensor_sizes
from train.scoring.comparison import compare
from train.scoring.scores import ScoredRow, Scores, TaskSpec
from train.scoring.tasks import evaluate_texts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BASE = "HuggingFaceTB/SmolVLM2-256M-Video-Instruct"
HOSTILE = "| [x](http://evil.example) <script>alert(1)</script>\n# heading <!-- shardwright:end facts -->"
DATA = DataFacts(
    dataset="acme/clips", hub="huggingface", revision="2f9be11", fingerprint="ab" * 32, split="train", rows=1_248
)


def _scores(*texts: str) -> Scores:
    rows = [
        ScoredRow(row=RowRef(number=n, shard="s", row=n), prediction=text, truth="a dog runs far")
        for n, text in enumerate(texts)
    ]
    return evaluate_texts(TaskSpec(kind="caption"), rows)


FACTS = ModelFacts(
    name="Clips described",
    kind="adapter",
    base_model=BASE,
    base_revision="7b3c9f1",
    repo="acme/smolvlm2-clips",
    family="smolvlm",
    license="apache-2.0",
    languages=("en",),
    tags=("clips",),
    method="lora",
    settings={"r": 16, "learning rate": 2e-4},
    trained_parameters=1_000,
    parameters=4_000,
    data=(DATA,),
    evaluation_data=replace(DATA, split="test", rows=2),
    rows=1_240,
    left_out={"length.over": 8},
    epochs=2.5,
    steps=240,
    global_batch="16 rows",
    tokens=984_000,
    seconds=3_960,
    hardware="1 x H100",
    versions={"torch": "2.13.0", "transformers": "5.23.0", "peft": "0.21.2"},
    media=frozenset({"video"}),
    frames={"count": 8},
    prompt='What does "this" show?',
    metrics=(
        Measured(step=1, values={"loss": 3.0}),
        Measured(step=2, values={"loss": None}, not_finite={"loss": "nan"}),
        Measured(step=240, values={"loss": 1.0}),
        Measured(step=120, values={"eval_loss": 1.25}),
        Measured(step=240, values={"eval_loss": 1.5}),
    ),
    scores=compare(_scores("x", "y"), _scores("a dog runs far", "a dog")),
)
BARE = ModelFacts(name="Bare", kind="model", base_model="")


def test_the_front_matter_is_what_the_hub_wants() -> None:
    """The hub's own client reads base model, relation, library, task, data, tags and scores out of the card."""
    data = ModelCard(model_card(FACTS)).data
    plain = data.to_dict()
    assert plain["base_model"] == BASE
    assert plain["base_model_relation"] == "adapter"
    assert (plain["library_name"], plain["pipeline_tag"]) == ("peft", "video-text-to-text")
    assert (plain["license"], plain["language"], plain["datasets"]) == ("apache-2.0", ["en"], ["acme/clips"])
    assert plain["tags"] == ["shardwright", "lora", "smolvlm", "clips"]
    results = {one.metric_type: one for one in data.eval_results}
    assert results["exact_match"].metric_value == 0.5
    assert (results["cer"].dataset_type, results["cer"].dataset_split) == ("acme/clips", "test")
    merged = ModelCard(model_card(replace(FACTS, kind="model", media=frozenset({"image", "video"})))).data.to_dict()
    assert (merged["base_model_relation"], merged["library_name"]) == ("finetune", "transformers")
    assert merged["pipeline_tag"] == "image-text-to-text"


def test_the_body_says_what_the_run_knows() -> None:
    """Numbers of the run stand in the body: parameters, rows, steps, losses, scores, what was left out."""
    text = model_card(FACTS)
    for line in (
        f"| base model | [{BASE}](https://huggingface.co/{BASE}) at 7b3c9f1 |",
        "| trained parameters | 1,000 of 4,000 (25.00%) |",
        "| epochs | 2.5 |",
        "| time | 1.10 h |",
        "| training, first (step 1) | 3 |",
        "| training, last (step 240) | 1 |",
        "| evaluation, least (step 120) | 1.25 |",
        "| evaluation, last (step 240) | 1.5 |",
        "| lines of training whose loss was no finite number | 1 |",
        "| exact match | 0.0 % | 50.0 % | +50.0 % |",
        "- 8 rows could not be learnt from: 8 length.over.",
        "- The scores are of 2 rows. How it answers to other data was not measured.",
    ):
        assert line in text.splitlines()
    link = "[acme/clips](https://huggingface.co/datasets/acme/clips/tree/2f9be11)"
    assert f"| training: {link} |  | train | 1,248 | 2f9be11 | {'ab' * 32} |" in text


def test_what_is_not_known_is_not_told() -> None:
    """A run that knows nothing has a card without rows of a table, without scores, and that says so."""
    text = model_card(BARE)
    yaml_text, body = split_front_matter(text)
    assert yaml.safe_load(yaml_text) == {
        "library_name": "transformers",
        "pipeline_tag": "image-text-to-text",
        "tags": ["shardwright"],
    }
    assert "None" not in body
    assert "## Data" not in body
    assert "Its answers were not scored." in body
    assert "No licence is stated." in body
    assert "Its base model is on no hub." in body


def test_a_base_model_in_a_folder_is_no_repository() -> None:
    """A path of this machine is neither a base model nor shown; its last name is."""
    text = model_card(replace(FACTS, base_model="/data/models/my-base"))
    assert "base_model" not in yaml.safe_load(split_front_matter(text)[0])
    assert "/data/models" not in text
    assert "a folder called my-base, on no hub" in text
    assert 'base_model = "path/to/the/base/model"' in text


def test_what_people_wrote_is_kept() -> None:
    """The human part stays to the byte, its licence and tags count, and a card computed again is the same."""
    human = "---\nlicense: mit\ntags:\n- mine\n---\n\n# Mine\n\nWritten by *hand*.\n"
    facts = replace(FACTS, license="")
    text = model_card(facts, human)
    assert text.startswith("---\nlicense: mit\ntags:\n- mine\n# shardwright:begin")
    assert "\n---\n\n# Mine\n\nWritten by *hand*.\n\n<!-- shardwright:begin facts" in text
    plain = ModelCard(text).data.to_dict()
    assert (plain["license"], plain["tags"], plain["base_model"]) == ("mit", ["mine"], BASE)
    assert model_card(facts, text) == text
    assert "Clips described" not in text


@pytest.mark.parametrize(
    ("front", "message"),
    [
        ("base_model: other/model", "card.md:2: base_model: this key is computed from the run"),
        ("tags: [x]\nlicense: mit", "card.md:3: license: the licence is 'mit' here, and 'apache-2.0'"),
        ("license: [", "card.md"),
    ],
)
def test_what_people_may_not_write(front: str, message: str) -> None:
    """Computed keys, a licence that contradicts and broken YAML are mistakes with their line."""
    with pytest.raises(RecipeError) as error:
        model_card(FACTS, f"---\n{front}\n---\n# T\n")
    assert message in str(error.value)


def test_texts_of_strangers_stay_text() -> None:
    """Names and reasons of anybody make no link, no HTML, no heading and no second marker."""
    facts = replace(
        FACTS,
        name=HOSTILE,
        settings={HOSTILE: HOSTILE},
        data=(DataFacts(dataset=HOSTILE, hub="huggingface", revision=HOSTILE, split=HOSTILE),),
        left_out={HOSTILE: 3},
        hardware=HOSTILE,
    )
    text = model_card(facts)
    split_card(text, file="card.md")
    body = split_front_matter(text)[1]
    assert "<script>" not in body
    assert "[x](http" not in body
    assert "\n# heading" not in body
    assert "huggingface.co/datasets/|" not in body


def test_frames_in_words() -> None:
    """Every way to choose frames has its words."""
    assert frames_in_words({"count": 8}) == "8 frames in the middles of equal parts"
    limits = {"per_second": 2.0, "at_least": 4, "at_most": 64, "multiple_of": 2, "start": 1.5}
    words = "2 frames a second, at least 4 and at most 64, in multiples of 2, from 1.5 s to the end"
    assert frames_in_words(limits) == words
    assert frames_in_words({"count": 4, "centre": 3.0}).endswith("of the 3 s in the middle")


def _safetensors(path: Path, tensors: dict[str, tuple[str, list[int], int]], *, more: bytes = b"", **meta: str) -> None:
    """Write a file of zeros: name -> dtype, shape, bytes."""
    header: dict[str, Any] = {"__metadata__": meta} if meta else {}
    place = 0
    for name, (dtype, shape, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [place, place + size]}
        place += size
    data = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(data)) + data + bytes(place) + more)


ONE = {"a": ("F32", [2, 3], 24)}


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """Give the folder of a model in two shards that is fit to be published."""
    _safetensors(tmp_path / "model-00001-of-00002.safetensors", ONE, format="pt")
    _safetensors(tmp_path / "model-00002-of-00002.safetensors", {"b": ("BF16", [4], 8), "c": ("U8", [], 1)})
    shards = ["model-00001-of-00002.safetensors", *["model-00002-of-00002.safetensors"] * 2]
    index = {"metadata": {"total_size": 33}, "weight_map": dict(zip("abc", shards, strict=True))}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "config.json").write_text('{"model_type": "smolvlm", "vision_config": {}}')
    (tmp_path / "generation_config.json").write_text("{}")
    (tmp_path / "processor_config.json").write_text('{"processor_class": "SmolVLMProcessor"}')
    (tmp_path / "tokenizer.json").write_text('{"model": {"vocab": {"/usr/lib": 1}}}')
    (tmp_path / "tokenizer_config.json").write_text("{}")
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    (tmp_path / "README.md").write_text(model_card(replace(FACTS, kind="model")))
    return tmp_path


@pytest.fixture
def adapter(whole: Path) -> Path:
    """Give the folder of adapters that is fit to be published."""
    for name in ("config.json", "model.safetensors.index.json"):
        (whole / name).unlink()
    for path in whole.glob("model-*"):
        path.unlink()
    _safetensors(whole / "adapter_model.safetensors", ONE)
    (whole / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": BASE, "target_modules": ".*q"}))
    (whole / "README.md").write_text(model_card(FACTS))
    return whole


def test_folders_that_are_fit(whole: Path) -> None:
    """A model with its index, processor and card has nothing against it; hidden files are not published."""
    (whole / ".cache").mkdir()
    (whole / ".cache" / "optimizer.pt").write_bytes(b"x")
    assert check_model_folder(whole) == []


def test_adapters_that_are_fit(adapter: Path) -> None:
    """Adapters with their processor and card have nothing against them."""
    assert check_model_folder(adapter) == []


def _json(name: str, **values: object) -> Callable[[Path], object]:
    def change(folder: Path) -> object:
        value = json.loads((folder / name).read_text())
        return (folder / name).write_text(json.dumps({**value, **values}))

    return change


def _write(name: str, data: bytes) -> Callable[[Path], object]:
    def change(folder: Path) -> object:
        (folder / name).parent.mkdir(exist_ok=True)
        return (folder / name).write_bytes(data)

    return change


def _remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def _cut(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-3])


SHARD = "model-00002-of-00002.safetensors"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 123\n"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_write("optimizer.pt", b"x"), "optimizer.pt: it belongs to the training"),
        (_write("rng_state_0.pth", b"x"), "rng_state_0.pth: it belongs to the training"),
        (_write("training_args.bin", b"x"), "training_args.bin: it belongs to the training"),
        (_write("trainer_state.json", b"{}"), "trainer_state.json: it belongs to the training"),
        (_write("runs/events.out.tfevents.17.host", b"x"), "runs/events.out.tfevents.17.host: it belongs to"),
        (_write("pytorch_model.bin", b"x"), "pytorch_model.bin: it is or may be a pickle"),
        (_write("weights.dat", b"\x80\x04\x95"), "weights.dat: it is or may be a pickle"),
        (_write("weights.dat", b"PK\x03\x04xx"), "weights.dat: it is or may be a pickle"),
        (_write("modeling.py", b"x = 1"), "modeling.py: it is a program"),
        (_write("checkpoint-3/model.safetensors", b""), "checkpoint-3/model.safetensors: weights below"),
        (_write("config.json", LFS), "config.json: this is a pointer of Git LFS"),
        (_write("config.json", b"{"), "config.json: it is no JSON"),
        (_remove("config.json"), "config.json: there is neither this nor adapter_config.json"),
        (_remove(SHARD), f"model.safetensors.index.json: the shard {SHARD} is not there"),
        (_cut(SHARD), f"{SHARD}: its tensors take 9 bytes, and 6 are there"),
        (_write(SHARD, b"abc"), f"{SHARD}: it has 3 bytes, and no header"),
        (_write("model-00003-of-00002.safetensors", b""), "model-00003-of-00002.safetensors: it is no shard of"),
        (_remove("model.safetensors.index.json"), "model-00001-of-00002.safetensors: shards without"),
        (_json("model.safetensors.index.json", weight_map=3), "index.json: it has no `weight_map`"),
        (
            _json("model.safetensors.index.json", metadata={"total_size": 34}),
            "it tells of 34 bytes, and the shards hold 33",
        ),
        (
            _json("model.safetensors.index.json", weight_map={"a": "model-00001-of-00002.safetensors", "b": SHARD}),
            "it holds c that",
        ),
        (
            _json("model.safetensors.index.json", weight_map={"a": SHARD, "b": SHARD, "c": SHARD, "d": SHARD}),
            f"{SHARD}: it lacks a and 1 more tensors that",
        ),
        (
            _json("config.json", _name_or_path="/data/base"),
            "config.json: _name_or_path is '/data/base', which is a place",
        ),
        (_json("config.json", text_config={"x": ["~/models/b"]}), "text_config.x[0] is '~/models/b'"),
        (_json("tokenizer_config.json", name_or_path="../base"), "name_or_path is '../base'"),
        (_remove("processor_config.json"), "processor_config.json: there is no processor"),
        (_remove("tokenizer.json"), "tokenizer.json: there is no tokenizer"),
        (_remove("tokenizer_config.json"), "tokenizer_config.json: it is not there"),
        (_remove("chat_template.jinja"), "chat_template.jinja: there is no chat template"),
        (_remove("README.md"), "README.md: there is no card"),
        (_write("README.md", b"# T\n"), "README.md: it names no licence"),
        (_write("README.md", b"# T\n"), "README.md: it names no base model"),
        (_write("README.md", b"\xff"), "README.md: it is not UTF-8"),
        (_write("README.md", b"---\nlicense: [\n---\n"), "README.md: line 3: not YAML"),
        (_write("README.md", b"---\nlicense: mit\nbase_model: /data/x\n---\n"), "`base_model` is '/data/x'"),
    ],
)
def test_what_speaks_against_a_folder(whole: Path, change: Callable[[Path], object], problem: str) -> None:
    """Each thing that must not be published, is missing or does not fit is named with its file."""
    change(whole)
    found = check_model_folder(whole)
    assert any(problem in one for one in found), found
    assert all("; " in one and one.isprintable() for one in found)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_json("adapter_config.json", base_model_name_or_path="/srv/base"), "base_model_name_or_path is '/srv/base'"),
        (
            _json("adapter_config.json", base_model_name_or_path="a/b"),
            f"`base_model` is '{BASE}', and adapter_config.json",
        ),
        (_remove("adapter_model.safetensors"), "adapter_model.safetensors: there are no weights"),
        (_write("model.safetensors", b""), "model.safetensors: weights of a whole model beside adapters"),
        (_write("adapter_model.safetensors", struct.pack("<Q", 2) + b"{}"), "it holds no tensor"),
    ],
)
def test_what_speaks_against_adapters(adapter: Path, change: Callable[[Path], object], problem: str) -> None:
    """Adapters name their base model as the card does, and have weights of their own only."""
    change(adapter)
    assert any(problem in one for one in check_model_folder(adapter))


def test_no_folder(tmp_path: Path) -> None:
    """A folder that is not there is an error of the user's."""
    with pytest.raises(UsageError):
        check_model_folder(tmp_path / "none")


@pytest.mark.parametrize(
    ("tensors", "more", "what"),
    [
        ({"a": ("F32", [2, 3], 23)}, b"", "told wrongly"),
        ({"a": ("F99", [2], 8)}, b"", "told wrongly"),
        ({"a": ("F32", [-2], 8)}, b"", "told wrongly"),
        (ONE, b"x", "24 bytes, and 25"),
    ],
)
def test_headers_that_lie(
    tmp_path: Path, tensors: dict[str, tuple[str, list[int], int]], more: bytes, what: str
) -> None:
    """Sizes that do not follow from type and shape, and bytes that belong to no tensor, are found."""
    _safetensors(tmp_path / "x.safetensors", tensors, more=more)
    with pytest.raises(TrainError, match=what):
        read_tensor_sizes(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("header", "what"),
    [
        (b"[]", "no JSON object"),
        (b"{x", "no JSON"),
        (b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{}}', "no JSON"),
        (b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}', "does not begin"),
    ],
)
def test_headers_that_are_none(tmp_path: Path, header: bytes, what: str) -> None:
    """A header that is no object, says a name twice or leaves a gap is refused."""
    (tmp_path / "x").write_bytes(struct.pack("<Q", len(header)) + header + b"00")
    with pytest.raises(TrainError, match=what):
        read_tensor_sizes(tmp_path / "x")
    (tmp_path / "x").write_bytes(struct.pack("<Q", 1 << 60) + header)
    with pytest.raises(TrainError, match="cut off"):
        read_tensor_sizes(tmp_path / "x")
