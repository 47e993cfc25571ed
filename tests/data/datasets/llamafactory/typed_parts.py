"""Rows of LLaMA-Factory's v1 format: a message is a list of typed parts, and images stand among the texts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line, row) with `<image>` where an image stood, and the images in a list of their own."""
    for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not text.strip():
            continue
        images: list[str] = []
        messages = []
        for message in json.loads(text)["messages"]:
            content = ""
            for part in message["content"]:
                if part["type"] == "image_url":
                    images.append(part["value"].removeprefix("data/"))
                    content += "<image>"
                else:
                    content += part["value"]
            messages.append({"role": message["role"], "content": content})
        yield line, {"messages": messages, "images": images}
