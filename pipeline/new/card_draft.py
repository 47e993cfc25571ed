"""The human part of a card, begun: what is known stands there, and what only people know is asked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pipeline.printable import escaped
from pipeline.splice_yaml import dumped

if TYPE_CHECKING:
    from pipeline.new.config_draft import ConfigDraft
    from pipeline.new.proposal import Proposal

_MARKUP = re.compile(r"([\\`*_\[\]<>#|])")
TASKS = {"image": "image-text-to-text", "video": "video-text-to-text"}
"""The hubs' word for data of which a medium is asked about."""


def card_text(proposal: Proposal) -> str:
    """Return the text of a card, with a question wherever an answer is missing."""
    title = proposal.name.replace("_", " ").replace("-", " ").strip() or proposal.name
    front: dict[str, object] = {"pretty_name": title}
    kinds = {kind for config in proposal.configs for kind in config.media_kinds.values() if config.conversation}
    tasks = sorted(TASKS[kind] for kind in kinds)
    if tasks:
        front["task_categories"] = tasks
    configs = "\n".join(_told(config) for config in proposal.configs)
    return (
        f"---\n{dumped(front)}---\n\n# {_plain(title)}\n\n"
        f"<!-- What is it, in two sentences? Who made it, when, and what for? -->\n\n"
        f"## Where it comes from\n\nMade from `{_in_code(proposal.material.title)}`:\n\n{configs}\n\n"
        "<!-- How were the rows written: by people, by a model, by which? Where were the media found? -->\n\n"
        f"## Columns\n\n{_columns(proposal)}\n\n"
        "<!-- What does each column mean, and in which unit? -->\n\n"
        "## Licence\n\n"
        "**Not decided yet.** Under which licence may others use the annotations, and under which the media?\n"
        "<!-- Then write `license: …` into the front matter above (a name that the hubs know, e.g. cc-by-4.0), the\n"
        "same under `sources` in the recipe with `credit:`, and take this question away. -->\n\n"
        "## Limits\n\n"
        "<!-- What is missing, one-sided or wrong in it? Are there people in it, and were they asked? -->\n"
    )


def _told(config: ConfigDraft) -> str:
    rows = f"{config.look.rows:,} records" if config.look.whole else f"more than {config.look.rows - 1:,} records"
    return f"- `{config.name}`: {rows}, read as {_plain(config.reading.title)}"


def _columns(proposal: Proposal) -> str:
    several = len(proposal.configs) > 1
    lines = []
    for config in proposal.configs:
        names = ", ".join(f"`{_in_code(name)}`" for name in config.columns)
        lines.append(f"- `{config.name}`: {names}" if several else names)
    return "\n".join(lines)


def _in_code(text: str) -> str:
    return escaped(text)[:200].replace("`", "'")


def _plain(text: str) -> str:
    return _MARKUP.sub(r"\\\1", escaped(text)[:200])
