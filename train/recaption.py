"""New texts for media: what the curation step `recaption` asks for, by name, of the models that training knows.

Models of the families of `train/families` are asked like in a chat; BLIP-2 goes on with the prompt, or describes the
image without one. Answers are greedy, and the network is forbidden while a model is used.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch  # noqa: F401  (whoever finds this module by name learns here that torch is not installed)

from pipeline.errors import RowRejected
from pipeline.media.bounded import BoundedProcesses
from pipeline.media.location import location_of
from train.evaluation.asked_model import device_for, quieted
from train.evaluation.blip2 import Blip2, is_blip2
from train.evaluation.generate import answers_to
from train.evaluation.media_file import JOB, MediaFile, Shown, decoded
from train.example import Example, Image, RowRef, TrainError, Turn
from train.feed.frame_sampling import FrameSampling
from train.feed.media_record import MediaRecord
from train.models.load import family_of, load_model, model_folder
from train.no_network import no_network, working_on
from train.runs.ready_model import ModelPlace, found_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pipeline.stages.curation.recaption import Captioner, CaptionSettings, Question
    from train.example import Frames

PROCESSES = 1
"""In which media are looked at before they are decoded: a batch is looked at by one."""


def found_captioner(said: str, revision: str | None, *, base: Path, cache: Path, offline: bool) -> ModelPlace:
    """Find a model, or bring it to this machine.

    Raises:
        TrainError: it is nowhere, or turns no media into texts; found out before its weights are fetched.
        SourceError: the hub does not give it.
    """
    return found_model(said, revision, base=base, cache=cache, offline=offline, check=_check)


def _check(folder: Path) -> None:
    if not is_blip2(folder):
        family_of(folder)


@contextmanager
def opened_captioner(folder: Path, settings: CaptionSettings) -> Iterator[Captioner]:
    """Load a model, and give it ready to be asked.

    Raises:
        TrainError: it cannot be had like this on this machine.
        UsageError: there is no GPU, and one is asked for.
    """
    quieted()
    place = device_for(settings.device)
    if settings.dtype != "auto":
        place = place._replace(dtype=settings.dtype)
    with no_network(), BoundedProcesses(PROCESSES) as decoders:
        model = _Blip2Captioner if is_blip2(model_folder(folder)) else _ChatCaptioner
        yield model(folder, settings, decoders, device=place.name, dtype=place.dtype)


class _Decoding:
    """Decodes what questions show."""

    def __init__(self, settings: CaptionSettings, decoders: BoundedProcesses) -> None:
        self._decoders = decoders
        self._shown = Shown(frames=FrameSampling(count=settings.frames), longest_side=settings.longest_side)

    def decoded(self, questions: Sequence[Question]) -> list[list[Image | Frames] | RowRejected]:
        """Return the media of each question as pixels, or why one of them cannot be shown."""
        files = [
            (number, MediaFile(location_of(place), kind))
            for number, question in enumerate(questions)
            for kind, place in question.media
        ]
        records = self._records([file for _, file in files])
        found: list[list[Image | Frames] | RowRejected] = [[] for _ in questions]
        for (number, file), record in zip(files, records, strict=True):
            so_far = found[number]
            if isinstance(so_far, RowRejected):
                continue
            try:
                so_far.append(decoded(file, record, self._shown))
            except RowRejected as error:
                found[number] = error
        return found

    def _records(self, files: list[MediaFile]) -> list[MediaRecord]:
        """Return what files are, which is found out in bounded processes."""
        numbers = {id(file): number for number, file in enumerate(files)}
        records: dict[int, MediaRecord] = {}
        for answer in self._decoders.work(JOB, files, advance=lambda _: None):
            refused = isinstance(answer.found, RowRejected)
            record = MediaRecord(row=0, position=0, refused=answer.found) if refused else MediaRecord.of(answer.found)
            records[numbers[id(answer.order)]] = record
        return [records[number] for number in range(len(files))]


class _ChatCaptioner:
    """A model of a family that training knows."""

    def __init__(
        self, folder: Path, settings: CaptionSettings, decoders: BoundedProcesses, *, device: str, dtype: str
    ) -> None:
        self._loaded = load_model(folder, dtype=dtype, device=device)
        self._loaded.model.eval()
        self._most, self._decoding = settings.max_new_tokens, _Decoding(settings, decoders)

    def captions(self, questions: Sequence[Question]) -> list[str | RowRejected]:
        """Return what the model says to each question, or why it cannot be asked."""
        model, processor, family, folder = self._loaded
        said: list[str | RowRejected] = []
        prompts = []
        for question, media in zip(questions, self._decoding.decoded(questions), strict=True):
            if question.prompt is None:
                raise TrainError(
                    f"the model in {folder} is of the family {family.name}, which is asked something",
                    hint="write a `prompt` in the recipe, e.g. `Describe the image in one sentence.`",
                )
            if isinstance(media, RowRejected):
                said.append(media)
                continue
            row = RowRef(number=len(said), shard=", ".join(place for _, place in question.media), row=0)
            example = Example(row=row, turns=(Turn(role="user", parts=(*media, question.prompt)),))
            try:
                with working_on(row):
                    prompts.append(family.prompt(processor, example))
            except RowRejected as error:
                said.append(error)
                continue
            said.append("")
        if prompts:
            answers = answers_to(model, processor, family, prompts, max_new_tokens=self._most)
            for answer in answers:
                said[answer.row.number] = answer.text.strip()
        return said


class _Blip2Captioner:
    """BLIP-2, which looks at one image."""

    def __init__(
        self, folder: Path, settings: CaptionSettings, decoders: BoundedProcesses, *, device: str, dtype: str
    ) -> None:
        self._model = Blip2(folder, dtype=dtype, device=device)
        self._most, self._decoding = settings.max_new_tokens, _Decoding(settings, decoders)

    def captions(self, questions: Sequence[Question]) -> list[str | RowRejected]:
        """Return what the model says of each image, or why it cannot be asked."""
        if any(kind != "image" for question in questions for kind, _ in question.media):
            raise TrainError(
                "BLIP-2 looks at images, and the column holds videos",
                hint="take a model that looks at videos, e.g. HuggingFaceTB/SmolVLM2-2.2B-Instruct",
            )
        said: list[str | RowRejected] = []
        shown: list[tuple[int, Any, str | None]] = []
        for question, media in zip(questions, self._decoding.decoded(questions), strict=True):
            if isinstance(media, RowRejected):
                said.append(media)
            elif len(media) != 1:
                said.append(RowRejected("recaption.media", f"BLIP-2 looks at one image, and there are {len(media)}"))
            else:
                shown.append((len(said), media[0].pixels, question.prompt))
                said.append("")
        # with and without a prompt are two kinds of input
        for asked in (True, False):
            some = [one for one in shown if (one[2] is not None) == asked]
            texts = self._model.captions(
                [pixels for _, pixels, _ in some],
                [str(prompt) for _, _, prompt in some] if asked else None,
                max_new_tokens=self._most,
            )
            for (number, _, _), text in zip(some, texts, strict=True):
                said[number] = text
        return said
