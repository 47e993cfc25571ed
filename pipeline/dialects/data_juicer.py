r"""data-juicer's JSONL: one `text` with tokens for media and ends of chunks, or `query` and `response`.

    [[human]]: <image>\nWhat?\n[[gpt]]: A dog. <|__dj__eoc|>    turns, as its own tool llava_to_dj writes them
    <__dj__image> A dog. <|__dj__eoc|>                         a caption: media are the question, the text is the answer
    system, query, response, history                           its form for fine-tuning

`<image>` stands for an image as `<__dj__image>` does. A text in which texts and media alternate is no conversation, and
is rejected: keep it as columns, without a dialect.
"""

from __future__ import annotations

import re
from typing import Any

from pipeline.dialects.dialect import IMAGE, VIDEO, Dialect, Likeness
from pipeline.dialects.fit import HARDLY, LIKELY, SURE, audio_doubts, fit_of
from pipeline.dialects.turns import SPOKEN, Messages, canonical, check_order, media_of, of_queries, with_system
from pipeline.errors import RowRejected
from pipeline.single_value import kind_of, shown

TAKES = ("text", "query", "response", "history", "system", "images", "videos")
END = "<|__dj__eoc|>"
TOKENS = {"<__dj__image>": IMAGE, "<__dj__video>": VIDEO}
_TURN = re.compile(r"(?:\A|(?<=\n))\[\[(\w+)\]\]: ?")
_MEDIA = rf"(?:\s*(?:{IMAGE}|{VIDEO}))+\s*"
_BEFORE, _BEHIND = re.compile(_MEDIA), re.compile(rf"{_MEDIA}\Z")


def read(record: dict[str, Any]) -> dict[str, Any]:
    """Return the canonical record of a data-juicer record."""
    images, videos = media_of(record, "images"), media_of(record, "videos")
    if record.get("query") is not None:
        if not isinstance(record["query"], str):
            raise RowRejected("dialect.type", f"'query' is {kind_of(record['query'])}; a text is allowed")
        messages = of_queries(record, record["query"], record.get("response"))
        for message in messages:
            message["content"] = _with_placeholders(message["content"].removesuffix(END).rstrip(" "))
        # `text` holds the same once more where an operator wants one
        return canonical(record, TAKES, messages, images, videos)
    text = record.get("text")
    if not isinstance(text, str):
        raise RowRejected(
            "dialect.column",
            f"there are {shown(list(record))}; a text at 'text', or 'query' and 'response' are allowed",
        )
    text = _with_placeholders(text)
    messages = _spoken(text) if _TURN.match(text) else _captioned(text)
    return canonical(record, TAKES, with_system(messages, record.get("system")), images, videos)


def _with_placeholders(text: str) -> str:
    for token, placeholder in TOKENS.items():
        text = text.replace(token, placeholder)
    return text


def _spoken(text: str) -> Messages:
    """Return the turns of a text that names who speaks."""
    pieces = _TURN.split(text)
    messages: Messages = []
    last = len(pieces) - 1
    for place in range(1, len(pieces), 2):
        role = SPOKEN.get(pieces[place])
        if role is None:
            raise RowRejected(
                "dialect.role", f"turn {place // 2 + 1} is of {shown(pieces[place])}; allowed: {', '.join(SPOKEN)}"
            )
        said = pieces[place + 1] if place + 1 == last else pieces[place + 1].removesuffix("\n")
        messages.append({"role": role, "content": _without_end(said)})
    check_order(messages, "text")
    return messages


def _without_end(text: str) -> str:
    """Take the mark of a chunk's end away; one within would be two chunks in one turn."""
    bare = text.rstrip()
    text = bare[: -len(END)].removesuffix(" ") if bare.endswith(END) else text
    if END in text:
        raise RowRejected("dialect.turns", f"a turn holds {END} {text.count(END)} times before its end")
    return text


def _captioned(text: str) -> Messages:
    """Return the question and the answer of a text that has all its media at one end."""
    bare = text.rstrip()
    chunks = bare.removesuffix(END).split(END)
    text = chunks[0].strip()
    before, behind = _BEFORE.match(text), _BEHIND.search(text)
    found = before or behind
    if len(chunks) > 1 or found is None:
        what = f"{len(chunks)} chunks of text and media" if len(chunks) > 1 else "a text without media"
        raise RowRejected(
            "dialect.turns",
            f"{what} and no `[[human]]: ` is no conversation; leave `dialect` out and keep `text` and media as columns",
        )
    caption = text[found.end() :] if before else text[: found.start()]
    if not caption or IMAGE in caption or VIDEO in caption:
        raise RowRejected(
            "dialect.turns", "media between texts, or without any, are no conversation; leave `dialect` out"
        )
    shows = "".join(re.findall(f"{IMAGE}|{VIDEO}", found[0]))
    return [{"role": "user", "content": shows}, {"role": "assistant", "content": caption}]


def likeness(records: list[dict[str, Any]]) -> Likeness:
    """Return how well records fit."""
    return fit_of(records, read, _strength, _doubts)


def _strength(record: dict[str, Any]) -> float:
    text = record.get("text")
    if isinstance(text, str) and (END in text or any(token in text for token in TOKENS) or _TURN.match(text)):
        return SURE
    if isinstance(record.get("query"), str) and "response" in record:
        if "<img>" in record["query"]:
            return HARDLY
        marked = any(token in record["query"] for token in TOKENS) or record.keys() & {"meta", "stats", "__dj__stats__"}
        return SURE if marked else LIKELY
    return 0


def _doubts(records: list[dict[str, Any]]) -> list[str]:
    doubts = audio_doubts(records)
    texts = [record["text"] for record in records if isinstance(record.get("text"), str) and "query" not in record]
    if texts and not any(_TURN.match(text) for text in texts):
        doubts.append("Texts are captions: the media become the question and the text the answer.")
    if not texts:
        doubts.append("ms-swift's old form has `query` and `response` too; both are read to the same rows.")
    return doubts


DATA_JUICER = Dialect(
    name="data-juicer",
    title="data-juicer JSONL",
    source="modelscope/data-juicer, tools/fmt_conversion/multimodal/README.md",
    read=read,
    likeness=likeness,
    takes=TAKES,
)
