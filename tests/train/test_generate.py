"""What a model answers: the same in a batch as alone, greedily whatever its checkpoint says, and only up to its end."""

from __future__ import annotations

import copy
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.train.tiny_rows import FAMILIES, Rows, loaded, rows
from train.batching.collate import collate
from train.evaluation.answer_loss import answer_loss, mean_loss
from train.evaluation.generate import answers_to, generate_texts, left_padded
from train.example import TrainError
from train.families.family import IGNORED
from train.models.methods import Method, apply_method
from train.no_network import NetworkDuringTrainingError, no_network

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def learnt(tiny: Callable[[str], Path]) -> Callable[[str], Rows]:
    """Give a tiny model that knows the rows by heart, or nearly so; a copy, so that a test may change it."""
    known: dict[str, Rows] = {}

    def of(name: str) -> Rows:
        if name not in known:
            known[name] = loaded(tiny(name))
            batch = collate(known[name].encoded, known[name].family, pad_id=0)
            optimizer = torch.optim.AdamW(known[name].model.parameters(), lr=5e-3)
            for _ in range(40):
                optimizer.zero_grad()
                known[name].model(**batch).loss.backward()
                optimizer.step()
        return known[name]._replace(model=copy.deepcopy(known[name].model))

    return of


def _texts(model: Any, processor: Any, family: Any, **options: Any) -> list[str]:
    with no_network():
        return [answer.text for answer in generate_texts(model, processor, family, rows(), **options)]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_batch_answers_as_one_by_one(name: str, learnt: Callable[[str], Rows]) -> None:
    """Prompts of different lengths, with videos, several images and text alone, get the answers that they get alone."""
    model, processor, family, _ = learnt(name)
    prompts = [family.prompt(processor, example) for example in rows()]
    assert len({prompt.length for prompt in prompts}) == len(prompts)
    alone = _texts(model, processor, family, max_new_tokens=16)
    assert len(set(alone)) > 2
    assert _texts(model, processor, family, max_new_tokens=16, batch=3) == alone
    padded = left_padded(prompts, family, pad_id=0)
    assert padded["attention_mask"].sum(dim=1).tolist() == [prompt.length for prompt in prompts]


def test_an_answer_ends_where_the_model_ends_it(learnt: Callable[[str], Rows]) -> None:
    """What was learnt by heart comes back without the end of turn; a limit of tokens cuts it off, and says so."""
    model, processor, family, encoded = learnt("smolvlm")
    answers = list(generate_texts(model, processor, family, rows(), max_new_tokens=60, batch=4))
    assert [answer.text for answer in answers] == [str(row.turns[-1].parts[0]) for row in rows()]
    assert not any(answer.cut_off for answer in answers)
    assert [answer.tokens for answer in answers] == [int((one.labels != IGNORED).sum()) for one in encoded]
    short = list(generate_texts(model, processor, family, rows(), max_new_tokens=5, batch=4))
    assert [answer.tokens for answer in short] == [min(answer.tokens, 5) for answer in answers]
    assert all(whole.text.startswith(answer.text) for whole, answer in zip(answers, short, strict=True))
    assert [answer.cut_off for answer in short] == [answer.tokens > 5 for answer in answers]


def test_what_a_checkpoint_asks_for_is_left_aside(learnt: Callable[[str], Rows]) -> None:
    """Sampling and penalties of a checkpoint change nothing, and the model is left as it was."""
    model, processor, family, _ = learnt("qwen2_vl")
    expected = _texts(model, processor, family, max_new_tokens=12)
    own = model.generation_config
    own.update(do_sample=True, temperature=5.0, top_p=0.9, repetition_penalty=3.0, no_repeat_ngram_size=1)
    model.train()
    model.config.use_cache = False
    assert _texts(model, processor, family, max_new_tokens=12, batch=2) == expected
    assert model.training
    assert model.generation_config is own


def test_adapters_are_heard_and_can_be_switched_off(learnt: Callable[[str], Rows]) -> None:
    """A model with adapters answers with them; without them as its base does."""
    model, processor, family, _ = learnt("qwen3_vl")
    expected = _texts(model, processor, family, max_new_tokens=12)
    learner = apply_method(model, family, Method(kind="lora"))
    with torch.no_grad():
        for name, own in learner.named_parameters():
            if "lora_B" in name:
                own.fill_(0.5)
    assert _texts(learner, processor, family, max_new_tokens=12) != expected
    with learner.disable_adapter():
        assert _texts(learner, processor, family, max_new_tokens=12) == expected


def test_text_is_told_as_it_comes(learnt: Callable[[str], Rows]) -> None:
    """Pieces of an answer are its text, no character in halves; an answer ends when it is asked to."""
    model, processor, family, _ = learnt("internvl")
    prompt = family.prompt(processor, rows()[3])
    pieces: list[str] = []
    (answer,) = answers_to(model, processor, family, [prompt], max_new_tokens=40, heard=pieces.append)
    assert "".join(pieces) == answer.text
    assert len(pieces) > 5
    (stopped,) = answers_to(
        model, processor, family, [prompt], max_new_tokens=40, heard=pieces.append, stopping=lambda: len(pieces) > 8
    )
    assert stopped.tokens < answer.tokens
    assert stopped.cut_off


@pytest.mark.parametrize("name", FAMILIES)
def test_the_loss_is_that_of_the_training(name: str, tiny: Callable[[str], Path], monkeypatch: Any) -> None:
    """Losses of rows alone, weighted by their tokens, are the loss of all in one batch; however they are cut."""
    model, _, family, encoded = loaded(tiny(name))
    with torch.no_grad():
        expected = float(model(**collate(encoded, family, pad_id=0)).loss)
    sums = [answer_loss(model, one, family) for one in encoded]
    loss, perplexity = mean_loss(sums)
    assert loss == pytest.approx(expected, rel=1e-4)
    assert perplexity == pytest.approx(torch.tensor(expected).exp().item(), rel=1e-3)
    monkeypatch.setattr("train.evaluation.answer_loss.AT_ONCE", 2)
    assert answer_loss(model, encoded[3], family)[0] == pytest.approx(sums[3][0], rel=1e-5)
    assert mean_loss([]) == (None, None)


def test_no_network_while_it_answers(tiny: Callable[[str], Path]) -> None:
    """A connection that something asks for while a row is prepared is an error that names the row."""
    model, processor, family, _ = loaded(tiny("qwen2_vl"))
    original = family.call

    def calling(*given: Any) -> Any:
        socket.create_connection(("127.0.0.1", 9))
        return original(*given)

    with no_network(), pytest.raises(NetworkDuringTrainingError, match=r"train-00000-of-00001\.parquet row 0"):
        list(generate_texts(model, processor, replace(family, call=calling), rows(), max_new_tokens=2))


def test_a_full_memory_is_told(learnt: Callable[[str], Rows], monkeypatch: pytest.MonkeyPatch) -> None:
    """A device whose memory is full is an error that says what helps, and the model is left as it was."""
    model, processor, family, _ = learnt("smolvlm")

    def full(**_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(model, "generate", full)
    own = model.generation_config
    with pytest.raises(TrainError, match="too small to ask the model 4 rows at once") as error:
        list(generate_texts(model, processor, family, rows(), max_new_tokens=2, batch=4))
    assert "--batch" in error.value.hint
    assert model.generation_config is own
