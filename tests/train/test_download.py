"""Models are brought from hubs before a training: only what it reads, and refused before weights are fetched."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pipeline.errors import SourceError
from pipeline.sources import hub_retry
from tests.network.hf_double import HuggingFaceDouble
from tests.network.hub_server import Fault
from tests.network.ms_pushes import PushableModelScope
from tests.train.tiny_rows import loaded
from train.example import TrainError
from train.models.download import download_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NAME = "alice/tiny"


@pytest.fixture
def hf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HuggingFaceDouble]:
    """Give a double of Hugging Face, and keep the client away from this machine's caches, tokens and proxies."""
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    for name in list(os.environ):
        if name.startswith(("HF_", "HUGGING")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HOME", str(home))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    with HuggingFaceDouble() as double:
        monkeypatch.setenv("HF_ENDPOINT", double.endpoint)
        yield double
    close_session()


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_model_is_brought_once(hf: HuggingFaceDouble, tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """What a training reads comes, is loaded from there, and is not fetched again; other programs' files stay there."""
    files = _files(tiny("smolvlm"))
    others = {"pytorch_model.bin": b"code", "onnx/model.onnx": b"other", ".gitattributes": b"x"}
    hf.repo(NAME, {**files, **others, "LICENSE": b"free"}, kind="model")
    came: list[int] = []
    folder = download_model(NAME, tmp_path / "models", advance=came.append)
    assert _files(folder) == {**files, "LICENSE": b"free"}
    assert sum(came) == sum(map(len, files.values())) + 4
    assert loaded(folder).family.name == "smolvlm"
    fetched = len(hf.asked("/resolve/"))
    assert download_model(NAME, tmp_path / "models") == folder
    assert len(hf.asked("/resolve/")) == fetched


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"model.safetensors": b"x"}, "is no model: it has no config.json"),
        ({"config.json": b'{"model_type": "smolvlm"}', "pytorch_model.bin": b"x"}, "no weights as safetensors"),
        ({"config.json": b'{"model_type": "bert"}', "model.safetensors": b"x"}, "models of type 'bert'"),
    ],
)
def test_what_cannot_be_trained_is_not_fetched(
    files: dict[str, bytes], said: str, hf: HuggingFaceDouble, tmp_path: Path
) -> None:
    """A repository that holds no model of a known family is refused before any of its weights is asked for."""
    hf.repo(NAME, files, kind="model")
    with pytest.raises(TrainError, match=said):
        download_model(NAME, tmp_path / "models")
    assert not hf.asked(r"/resolve/.*(safetensors|bin)")


def test_a_model_that_is_not_there(hf: HuggingFaceDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that there is not, that is gated or that may not be asked for is an error that speaks of a model."""
    with pytest.raises(SourceError, match="the model 'alice/tiny' on Hugging Face is not there"):
        download_model(NAME, tmp_path / "models")
    hf.repo(NAME, {"config.json": b"{}", "model.safetensors": b"x"}, kind="model", gated=True)
    with pytest.raises(SourceError, match="is gated") as caught:
        download_model(NAME, tmp_path / "models")
    assert f"{hf.endpoint}/{NAME}" in caught.value.hint
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(TrainError, match="cannot be downloaded while HF_HUB_OFFLINE is set"):
        download_model(NAME, tmp_path / "models")


def test_what_was_brought_needs_no_network(
    hf: HuggingFaceDouble, tiny: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that was brought once is there by its commit, when its hub is silent, and when none may be asked."""
    repo = hf.repo(NAME, _files(tiny("smolvlm")), kind="model")
    folder = download_model(NAME, tmp_path / "models")
    assert download_model(NAME, tmp_path / "models", revision=repo.branches["main"]) == folder
    asked = len(hf.log)
    assert download_model(NAME, tmp_path / "models", revision=repo.branches["main"]) == folder
    assert len(hf.log) == asked
    monkeypatch.setattr(hub_retry, "pause", lambda _: None)
    hf.faults.append(Fault(".", method="*", times=1000, reset=True))
    assert download_model(NAME, tmp_path / "models") == folder
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert download_model(NAME, tmp_path / "models") == folder


def test_a_model_of_modelscope(
    hf: HuggingFaceDouble, tiny: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model on ModelScope comes likewise, and Hugging Face is not asked for it."""
    home = tmp_path / "home"
    monkeypatch.setenv("MODELSCOPE_HOME", str(home / "ms"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(home / "ms-cache"))
    files = _files(tiny("internvl"))
    with PushableModelScope() as double:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", double.endpoint)
        double.made("model", NAME, {**files, "pytorch_model.bin": b"code"}, visibility=5)
        assert _files(download_model(NAME, tmp_path / "models", hub="modelscope")) == files
    assert not hf.log


def test_damaged_weights_come_again(hf: HuggingFaceDouble, tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """Weights that were damaged on the way are fetched again, and are whole in the end."""
    hf.repo(NAME, {**_files(tiny("qwen2_vl"))}, kind="model")
    hf.faults.append(Fault(r"model\.safetensors", wrong=True))
    assert _files(download_model(NAME, tmp_path / "models")) == _files(tiny("qwen2_vl"))
