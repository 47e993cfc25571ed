"""Multiple choice, as in MMBench: which option a generated text names, and whether it is the right one.

The rule. The first that finds a letter decides; one that finds different letters finds none:

1. The text is a letter alone: `B`, `(B)`, `b.`, `**B**`.
2. It says that it answers: `The answer is (B).`, `Answer: B`, `the correct option is B`, `答案是B`, `故选B`.
3. A line begins with a letter and a mark: `B. a dog`, `(b) a dog`, `B: a dog`.
4. A capital stands alone, or any letter in brackets: `I would pick B`.
5. The text holds, as whole words, the text of one option (one inside of a longer one that is there does not count), and
   is at most twice as long as all options together.

In 2 and 4 an `A` or `I` that words follow is taken for a word, and so is a small letter that is not in brackets.
MMBench (Liu et al. 2023, arXiv 2307.06281) matches letters and option texts much like this, and asks a language model
where that fails; here it is counted as no answer, so accuracies can be lower than with its judge.
"""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING

from train.scoring.captions import for_exact_match
from train.scoring.scores import Outcome, RowScores, mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from train.scoring.scores import ScoredRow, TaskSpec

_OPEN, _CLOSE = r"[(\[{\uff08\u3010\u300c]", r"[)\]}\uff09\u3011\u300d]"
_MARKS = r"[\s*_`\"'\u2018\u2019\u201c\u201d]*"
_ENDS = r"(?=\s*(?:\Z|[^\w\s]))"
_LETTER = (
    rf"{_MARKS}(?:{_OPEN}\s*(?P<bracketed>[A-Za-z])\s*{_CLOSE}"
    rf"|(?P<word>[AI]){_ENDS}|(?P<capital>[B-HJ-Z])(?![A-Za-z0-9'\u2019-])|(?P<small>[a-z]){_ENDS})"
)
_ALONE = re.compile(rf"{_MARKS}{_OPEN}?\s*(?P<small>[A-Za-z])\s*{_CLOSE}?[\s.,:;!*_`\"'\uff0e\u3002)]*")
_SAYS = re.compile(
    r"(?:\b[Aa]nswer\b|\bANSWER\b"
    r"|\b(?:[Aa]nswer|[Oo]ption|[Cc]hoice)\b\s*(?:is|was|would be|should be|must be|:|\uff1a|=)"
    r"|答案(?:应该|應該)?(?:是|为|為)?|正确(?:选项|答案)?(?:是|为)|[故应應]?[选選](?:择|擇)?|答えは?|正解は?)"
    rf"{_MARKS}(?:(?:is|was|:|\uff1a|=|-|the|option|choice|选项|選項){_MARKS}){{0,3}}" + _LETTER
)
_BEGINS = re.compile(
    rf"^{_MARKS}(?:{_OPEN}\s*(?P<bracketed>[A-Za-z])\s*{_CLOSE}|(?P<small>[A-Za-z])\s*[.):\uff1a\uff0e\u3001]{_MARKS}(?=\s|\Z|[^\x00-\x7f]))",
    re.MULTILINE,
)
_STANDS = re.compile(
    rf"(?<![A-Za-z0-9'\u2019-])(?:{_OPEN}\s*(?P<bracketed>[A-Za-z])\s*{_CLOSE}"
    rf"|(?P<word>[AI]){_ENDS}|(?P<capital>[B-HJ-Z])(?![A-Za-z0-9'\u2019-]))"
)


def option_in(text: str, options: Mapping[str, str]) -> str | None:
    """Return the letter of the option that a text names, or None. Without options any letter is one."""
    letters = {letter.strip().upper(): letter for letter in options} or {one: one for one in string.ascii_uppercase}
    if alone := _ALONE.fullmatch(text):
        return letters.get(alone["small"].upper())
    for pattern in (_SAYS, _BEGINS, _STANDS):
        said = {letter for match in pattern.finditer(text) if (letter := letters.get(_letter(match)))}
        if len(said) > 1:
            return None
        if said:
            return said.pop()
    return _option_by_text(text, options)


def _letter(match: re.Match[str]) -> str:
    return next(value for value in match.groupdict().values() if value).upper()


def _option_by_text(text: str, options: Mapping[str, str]) -> str | None:
    whole = for_exact_match(text)
    texts = {letter: for_exact_match(option) for letter, option in options.items()}
    same = [letter for letter, option in texts.items() if option and option == whole]
    if same:
        return same[0] if len(same) == 1 else None
    if len(whole) > 2 * sum(map(len, texts.values())):
        return None
    there = [
        letter
        for letter, option in texts.items()
        if option and re.search(rf"(?<![a-z0-9]){re.escape(option)}(?![a-z0-9])", whole)
    ]
    there = [
        one for one in there if not any(texts[one] != texts[other] and texts[one] in texts[other] for other in there)
    ]
    return there[0] if len(there) == 1 else None


def score(task: TaskSpec, rows: Sequence[ScoredRow]) -> Outcome:
    """Score choices: what names no option is wrong, and counted in `unread`.

    A true answer that is no option is counted and named; its row has nothing to be compared with.
    """
    per_row, known = [], []
    unread = unread_truths = 0
    for row in rows:
        said, true = option_in(row.prediction, row.options), option_in(row.truth, row.options)
        unread += said is None
        unread_truths += true is None
        notes = ["truth: names no option"] * (true is None) + ["names no option"] * (said is None)
        right = None if true is None else float(said == true)
        if right is not None:
            known.append((row, right))
        per_row.append(RowScores(row=row.row, values={"accuracy": right}, note="; ".join(notes)))
    values = {"accuracy": mean([right for _, right in known])}
    counts = {"unread": unread, "unread_truths": unread_truths}
    notes = [] if known else ["no true answer names an option to compare with"]
    if task.circular:
        values["circular_accuracy"], counts["questions"] = _circular(known)
    return Outcome(values=values, per_row=per_row, counts=counts, notes=notes)


def _circular(known: Iterable[tuple[ScoredRow, float]]) -> tuple[float | None, int]:
    """Return the share of questions that are right in all their rows, and how many questions there are.

    A row without a group is a question of its own.
    """
    groups: dict[tuple[str, int], float] = {}
    for row, right in known:
        key = (row.group, 0 if row.group else row.row.number)
        groups[key] = min(groups.get(key, 1.0), right)
    return mean(list(groups.values())), len(groups)
