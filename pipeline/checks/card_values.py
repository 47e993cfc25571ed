"""Values of a card that the Hub does not know, and links of it that lead to no file of the dataset."""

from __future__ import annotations

import posixpath
import reprlib
import unicodedata
from typing import TYPE_CHECKING, Any

from pipeline.checks.card_links import relative_links
from pipeline.checks.hub_values import LICENCES, TASK_CATEGORIES, TASK_IDS, is_language, meant, meant_languages
from pipeline.checks.problem import Problem
from pipeline.checks.read_card import CARD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.checks.card_links import Link
    from pipeline.checks.dataset import Dataset

TEXTS = ("pretty_name", "tags", "task_categories", "task_ids")
"""Keys whose values the Hub wants to be text."""
HINTED = 100
"""Values for which the nearest known one is looked for."""
VIEWS = frozenset({"blob", "resolve", "raw", "tree"})
"""What stands before a revision in addresses of the Hub."""


def check_licence(dataset: Dataset) -> Iterator[Problem]:
    """A licence that the Hub shows and filters by."""
    yield from _other_key(dataset, "SW112", "license", ("licenses", "licence"))
    values = _values(dataset.metadata.get("license"))
    unknown = [value for value in values if not isinstance(value, str) or value not in LICENCES]
    for number, value in enumerate(unknown):
        near = meant(value, LICENCES) if isinstance(value, str) and number < HINTED else ""
        hint = f"did you mean {near!r}? " if near else ""
        hint += "else write `license: other` with `license_name` and `license_link`"
        message = f"the Hub knows no licence {_shown(value)}"
        yield Problem(code="SW112", file=CARD, key="license", message=message, hint=hint)


def check_language(dataset: Dataset) -> Iterator[Problem]:
    """Languages as the Hub names them."""
    yield from _other_key(dataset, "SW113", "language", ("languages",))
    for value in _values(dataset.metadata.get("language")):
        if isinstance(value, str) and is_language(value):
            continue
        if value is False:
            message = "`no` without quotes is read as false, not as Norwegian"
            yield Problem(code="SW113", file=CARD, key="language", message=message, hint="write it as 'no'")
            continue
        near = meant_languages(value) if isinstance(value, str) else []
        hint = "write its code of ISO 639-1 or 639-3 in small letters, e.g. en or yue"
        if near:
            hint = f"write {' and '.join(near)}"
        if len(near) == 1 and isinstance(value, str) and value.lower().startswith((f"{near[0]}-", f"{near[0]}_")):
            hint += f", and {value[:100]} under `language_bcp47`"
        message = f"the Hub knows no language {_shown(value)}"
        yield Problem(code="SW113", file=CARD, key="language", message=message, hint=hint)


def check_values(dataset: Dataset) -> Iterator[Problem]:
    """Tasks that the Hub knows, and texts where it wants texts."""
    for key in TEXTS:
        wrong = [value for value in _values(dataset.metadata.get(key)) if not isinstance(value, str)]
        if wrong:
            message = f"{_listed(wrong)} is no text, and the Hub wants one" if len(wrong) == 1 else ""
            message = message or f"{_listed(wrong)} are no texts, and the Hub wants such"
            yield Problem(code="SW114", file=CARD, key=key, message=message, hint="put it in quotes, or leave it out")
    for key, known in (("task_categories", TASK_CATEGORIES), ("task_ids", TASK_IDS)):
        values = _values(dataset.metadata.get(key))
        unknown = [value for value in values if isinstance(value, str) and value not in known]
        if unknown:
            near = meant(unknown[0], known)
            hint = f"did you mean {near!r}?" if near else "take one of huggingface.co/tasks, or put it under `tags`"
            if unknown[0] in TASK_CATEGORIES:
                hint = f"{unknown[0]!r} is one of `task_categories`"
            what = "task" if len(unknown) == 1 else "tasks"
            message = f"the Hub knows no {what} {_listed(unknown)} in `{key}`"
            yield Problem(code="SW114", file=CARD, key=key, message=message, hint=hint)


def check_links(dataset: Dataset) -> Iterator[Problem]:
    """Relative links and pictures of the card lead to files of the dataset."""
    card = dataset.card
    if card is None:
        return
    below = card.text.count("\n") - card.body.count("\n")
    names = _Names(dataset)
    for link in relative_links(card.body):
        if wrong := names.wrong(link):
            message, hint = wrong
            message = f"the link {_shown(link.written)} in line {link.line + below} {message}"
            yield Problem(code="SW115", file=CARD, message=message, hint=hint)
    given = dataset.metadata.get("license_link")
    if isinstance(given, str):
        for link in relative_links(f"[the licence](<{given}>)"):
            if wrong := names.wrong(link):
                message = f"`license_link` {_shown(given)} {wrong[0]}"
                yield Problem(code="SW115", file=CARD, key="license_link", message=message, hint=wrong[1])


class _Names:
    """The files of a dataset and the folders that hold them."""

    def __init__(self, dataset: Dataset) -> None:
        self.there = set(dataset.sizes)
        for name in dataset.sizes:
            while (name := posixpath.dirname(name)) and name not in self.there:
                self.there.add(name)
        self._folded: dict[str, str] | None = None

    def wrong(self, link: Link) -> tuple[str, str] | None:
        """Say why a link leads nowhere, and what to do; None: it leads somewhere, or that cannot be told."""
        paths = [posixpath.normpath(path) for path in (link.path, link.raw)]
        if any(path in (".", *self.there) or _is_hidden(path) for path in paths):
            return None
        parts = paths[0].split("/")
        view = next((place for place, part in enumerate(parts[:3]) if part in VIEWS), None)
        if view is not None and (len(parts) == view + 2 or "/".join(parts[view + 2 :]) in self.there):
            return None  # as in `resolve/main/picture.png`, which the page of a dataset leads to its file
        if "@" in parts[0]:
            return "leads to no file of the dataset", "write mailto: in front of an address"
        if link.is_address:
            return "leads to no file of the dataset", "write https:// in front of an address"
        if parts[0] == "..":
            return "leads out of the dataset", "put the file into the dataset, or link to its address"
        near = self._nearest(paths[0])
        hint = f"it is {near!r}: upper and lower case count" if near else "add the file, or correct the link"
        return "leads to no file of the dataset", hint

    def _nearest(self, path: str) -> str:
        if self._folded is None:
            self._folded = {_folded(name): name for name in self.there}
        return self._folded.get(_folded(path), "")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _is_hidden(path: str) -> bool:
    """Tell whether a path is one that a listing leaves out."""
    return any(part[0] == "." and part != ".." for part in path.split("/") if part)


def _other_key(dataset: Dataset, code: str, key: str, others: tuple[str, ...]) -> Iterator[Problem]:
    """Find a key that the Hub does not read, where it reads another."""
    for other in others:
        if dataset.metadata.get(other) and not dataset.metadata.get(key):
            message = f"the Hub reads `{key}`, not `{other}`"
            yield Problem(code=code, file=CARD, key=other, message=message, hint=f"call it `{key}`")


def _values(value: Any) -> list[Any]:
    """Return the single values of a key, which may be one, a list, or one of both for each config."""
    if isinstance(value, dict):
        return [one for part in value.values() for one in (part if isinstance(part, list) else [part])]
    return [one for one in (value if isinstance(value, list) else [value]) if one is not None]


def _shown(value: Any) -> str:
    """Quote a value of strangers, whatever it is, and not too long."""
    return repr(value[:100]) if isinstance(value, str) else reprlib.repr(value)


def _listed(values: list[Any]) -> str:
    more = f" and {len(values) - 5:,} more" if len(values) > 5 else ""
    return ", ".join(map(_shown, values[:5])) + more
