"""Tokens that say something to a model or to its processor, so that no text of a dataset may write them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from train.example import TrainError

UNSEEN = "\U000f0000"
"""A character of nobody's script, behind which transformers' processors take a placeholder for text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlTokens:
    """The control tokens of one tokenizer."""

    written: re.Pattern[str]
    """Finds any of them in a text, the longest first."""
    cutters: tuple[tuple[str, int], ...]
    """Tokens, with their ids, that cut a text where they stand and change nothing of what is beside them."""

    def cutter(self, text: str) -> tuple[str, int]:
        """Return a token that cuts and that the text does not hold.

        Raises:
            TrainError: the text holds all of them.
        """
        for token, number in self.cutters:
            if token not in text:
                return token, number
        raise TrainError("the model's tokenizer has no control token that its chat template does not write")


_KNOWN: WeakKeyDictionary[Any, ControlTokens] = WeakKeyDictionary()


def control_tokens(processor: Any) -> ControlTokens:
    """Return the control tokens of a processor: its tokenizer's special ones, and its placeholders of media."""
    tokenizer = processor.tokenizer
    known = _KNOWN.get(tokenizer)
    if known is None:
        known = _KNOWN[tokenizer] = _read(processor, tokenizer)
    return known


def _read(processor: Any, tokenizer: Any) -> ControlTokens:
    media = {processor.image_token, processor.video_token}
    special = {number: token for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    contents = {UNSEEN, *media, *(token.content for token in special.values())}
    longest_first = sorted(contents, key=lambda content: (-len(content), content))
    cutters = tuple(
        (token.content, number)
        for number, token in sorted(special.items())
        if not (token.lstrip or token.rstrip or token.single_word or token.normalized or token.content in media)
    )
    return ControlTokens(written=re.compile("|".join(map(re.escape, longest_first))), cutters=cutters)
