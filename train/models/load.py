"""Models from a folder on this machine: whole, of a family that is known, in the precision and on the device asked for.

Nothing here reaches a network; `download.py` brings a model before a training. Weights are read from safetensors only,
since other files of weights run code, and no code of a repository is ever run.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.document import shown
from pipeline.printable import escaped
from train.example import TrainError
from train.models.parts import part_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from train.families.family import Family

ATTENTION = ("sdpa", "eager", "flash_attention_2", "flash_attention_3", "flex_attention")
PRECISIONS = ("float32", "bfloat16", "float16")
FEW = 3
"""Names of weights that a message lists."""


class Loaded(NamedTuple):
    """A model that is ready to be used."""

    model: Any
    processor: Any
    family: Family
    folder: Path
    """Where it was read from."""


def load_model(
    name: str | Path,
    *,
    revision: str | None = None,
    family: Family | None = None,
    dtype: str = "float32",
    attention: str = "sdpa",
    quantise: bool = False,
    device: str = "cpu",
) -> Loaded:
    """Return a model with its processor and its family.

    Args:
        name: A folder, or `owner/name` of a model that lies in the cache of the Hugging Face client already.
        revision: With `owner/name`, a branch, tag or commit.
        family: Its family, where its `model_type` is not that of one.
        dtype: One of `PRECISIONS`, in which weights are held and computed with.
        attention: One of `ATTENTION`.
        quantise: Hold the text model's linear layers in 4 bits (NF4, with quantised constants), and compute in `dtype`;
            vision tower, projector and head stay as they are.
        device: `cpu`, `cuda`, `cuda:1`, …

    Raises:
        TrainError: it is not there, not whole, not of a known family, or cannot be had like this on this machine.
    """
    from train.torchvision_ops import ensure_torchvision

    _check_choice("precision", dtype, PRECISIONS)
    _check_choice("attention", attention, ATTENTION)
    folder = model_folder(name, revision)
    ensure_torchvision()
    family = family or family_of(folder)
    return Loaded(
        model=_model(folder, family, dtype=dtype, attention=attention, quantise=quantise, device=device),
        processor=load_processor(folder),
        family=family,
        folder=folder,
    )


def model_folder(name: str | Path, revision: str | None = None) -> Path:
    """Return the folder of a model on this machine.

    Raises:
        TrainError: there is none.
    """
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise TrainError(f"{folder} is no model: it has no config.json", hint="name the folder that holds it")
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(str(name), revision=revision, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError):
        at = f" at {revision}" if revision else ""
        raise TrainError(
            f"the model {shown(str(name))}{at} is not on this machine",
            allowed="a folder that holds a model, or owner/name of one that was downloaded",
            hint="a training does not use the network: download it beforehand, or name its folder",
        ) from None


def family_of(folder: Path) -> Family:
    """Return the family of the model in a folder.

    Raises:
        TrainError: its config cannot be read, or its family is not known.
    """
    from transformers import AutoConfig

    from train.families.registry import family_for

    try:
        config = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise TrainError(f"the config of the model in {folder} cannot be read: {_said(error)}") from None
    return family_for(config.model_type)


def load_processor(folder: Path) -> Any:
    """Return the processor of a model.

    Raises:
        TrainError: it is not there, or something that it needs is not installed.
    """
    from transformers import AutoProcessor

    try:
        with quiet():
            return AutoProcessor.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except ImportError as error:
        hint = "install what it names: pip install 'shardwright[train]'"
        raise TrainError(f"the processor of the model in {folder} needs more: {_said(error)}", hint=hint) from None
    except (OSError, ValueError, KeyError) as error:
        raise TrainError(f"the processor of the model in {folder} cannot be read: {_said(error)}") from None


@contextmanager
def quiet() -> Iterator[None]:
    """Let transformers draw no bars and warn of nothing: what is wrong is told by whoever asks."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _model(folder: Path, family: Family, *, dtype: str, attention: str, quantise: bool, device: str) -> Any:
    import torch

    _check_device(device)
    options: dict[str, Any] = {}
    if quantise:
        options["quantization_config"] = _four_bits(family, getattr(torch, dtype))
    model = read_model(folder, dtype=dtype, attention=attention, device=device, **options)
    if quantise:
        _keep_layout(model)
    there = {part_of(name, family) for name, _ in model.named_parameters()}
    if not {"vision", "projector", "text"} <= there:
        raise TrainError(
            f"the parts of the model in {folder} have other names than those of {family.name} models",
            hint="use the version of transformers that pyproject.toml asks for",
        )
    return model


def read_model(folder: Path, *, dtype: str, attention: str, device: str, **options: Any) -> Any:
    """Return the model in a folder, of whatever family that turns images and texts into texts.

    Raises:
        TrainError: it is not whole, or cannot be had like this on this machine.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForImageTextToText

    _check_device(device)
    options |= {"dtype": getattr(torch, dtype), "attn_implementation": attention}
    if "quantization_config" in options or device != "cpu":
        options["device_map"] = {"": device}
    try:
        with quiet():
            model, found = AutoModelForImageTextToText.from_pretrained(
                str(folder),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
                **options,
            )
    except ImportError as error:
        raise TrainError(f"the model in {folder} cannot be loaded like this: {_said(error)}") from None
    except torch.OutOfMemoryError:
        raise TrainError(
            f"the model in {folder} does not fit into the memory of {device}",
            hint="load it in bfloat16 or in 4 bits, or take a smaller one",
        ) from None
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise TrainError(
            f"the model in {folder} cannot be loaded: {_said(error)}",
            hint="compare its files with where they came from, and download it again; weights have to be safetensors",
        ) from None
    missing = sorted(found["missing_keys"])
    if missing:
        # transformers would begin with random numbers in their place
        more = f" and {len(missing) - FEW} more" if len(missing) > FEW else ""
        raise TrainError(
            f"the model in {folder} lacks weights: {', '.join(missing[:FEW])}{more}",
            hint="download it again; if it is a part of a model, or its adapters, name the whole",
        )
    return model


def _four_bits(family: Family, dtype: Any) -> Any:
    from transformers import BitsAndBytesConfig

    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        raise TrainError("a model in 4 bits needs bitsandbytes", hint="pip install bitsandbytes") from None
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        # whole names: what begins with one is left as it is, and a last part alone is not found
        llm_int8_skip_modules=[family.vision, *family.projector, "lm_head"],
    )


def _keep_layout(model: Any) -> None:
    """Have layers in 4 bits stay as they are laid out.

    Without this, bitsandbytes (0.50) lays them out anew at the first forward pass in evaluation mode on processors with
    AVX512-BF16, and nothing can be learnt through them from then on. Each training is proved so before its first step.
    """
    import bitsandbytes

    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False


def _check_choice(what: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise TrainError(f"there is no {what} {shown(value)}", allowed=", ".join(allowed))


def _check_device(device: str) -> None:
    import torch

    kind, _, number = device.partition(":")
    if kind == "cuda" and not torch.cuda.is_available():
        raise TrainError(f"there is no GPU for {shown(device)}", hint="train on the device 'cpu', or mend the driver")
    if kind == "cuda" and number and int(number) >= torch.cuda.device_count():
        raise TrainError(f"there is no {device}: this machine has {torch.cuda.device_count()} GPUs")


def _said(error: Exception) -> str:
    """Return the beginning of what a library says, fit to be shown."""
    return escaped(" ".join(str(error).split()))[:400]
