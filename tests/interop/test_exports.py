"""What was exported, loaded by the peer that it was exported for: the same rows, texts and media, in the same order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.dialects.registry import dialect
from pipeline.exports.export import export
from pipeline.exports.registry import format_named
from pipeline.load_recipe import load_recipe
from pipeline.report import Quiet
from tests.exports.canonical_rows import Plain, but_for_losses, plain
from tests.exports.imported import rows_in
from tests.exports.small_datasets import IMAGES, VIDEOS, talks, write_split
from tests.project import MEDIA
from tests.test_real_datasets import COUNTS, build, prepared

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipeline.exports.format_folder import Exported
    from pipeline.rows.canonical import CanonicalRow
    from pipeline.rows.conversation_view import Conversation
    from tests.interop.peer import Peer

PEERS = ("ms-swift", "llama-factory", "data-juicer", "trl")
TAGS = re.compile("(<image>|<video>)")
NO_VIDEOS = ("trl",)
"""They have none; rows with videos are left out of the export, by name."""
REAL = [(name, config) for name in ("llamafactory", "qwenvl", "datajuicer") for config in COUNTS[name]]


@dataclass(frozen=True)
class Exports:
    """A dataset that was exported to all peers' formats."""

    rows: list[CanonicalRow]
    done: dict[str, Exported]


CHATS = {
    "column": "messages",
    "role_key": "role",
    "text_key": "content",
    "roles": {"system": "system", "user": "user", "assistant": "assistant"},
    "tokens": {"<image>": "images", "<video>": "videos"},
}


def exported(folder: Path, config: str, conversation: Conversation, out: Path) -> Exports:
    """Export a config to the formats of all peers."""
    formats = [format_named(name) for name in PEERS]
    done = export(folder, formats, out=out, config=config, conversation=conversation, display=Quiet())
    rows = rows_in(folder, config, conversation)
    return Exports([row for split in rows.values() for row in split], {one.format.name: one for one in done})


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Exports:
    """Export chats about one image, several images, a video, both, and about none; with systems and several turns."""
    pictures = [
        (MEDIA / name).read_bytes() for name in ("hopper_gray.jpg", "bmp.bmp", "transparent.webp", "transparent.png")
    ]
    clips = [(MEDIA / name).read_bytes() for name in ("h265_video.mp4", "test_video_66x50.mov")]
    said: list[tuple[list[tuple[str, str]], list[bytes], list[bytes]]] = [
        ([("user", "<image>\nWhat is it?"), ("assistant", "A face.\n\n* grey\n* 128 x 128 ✓")], pictures[:1], []),
        (
            [
                ("system", "Be brief."),
                ("user", "Left <image> or right <image>?"),
                ("assistant", "Left."),
                ("user", "And <image>?"),
                ("assistant", "\u201cNeither\u201d, 答え。"),
            ],
            [pictures[1], pictures[1], pictures[2]],
            [],
        ),
        ([("user", "<video>What moves?"), ("assistant", 'Much. {"a": [1, 2]}')], [], clips[:1]),
        ([("user", "<video>\n<image>\n<video>"), ("assistant", "Three.")], pictures[3:], clips),
        ([("user", "Just text \\n \u2028 and more"), ("assistant", "Yes\ttext")], [], []),
        ([("system", "You count."), ("user", "1"), ("assistant", "2"), ("user", "3"), ("assistant", "4")], [], []),
    ]
    table = talks(
        [talk for talk, _, _ in said],
        {"images": [images for _, images, _ in said], "videos": [videos for _, _, videos in said]},
        stars=[str(number) for number in range(len(said))],
    )
    folder = tmp_path_factory.mktemp("chats")
    write_split(folder / "chats", table, IMAGES | VIDEOS)
    exports = exported(folder / "chats", "default", CHATS, folder / "exports")
    assert len(exports.rows) == len(said)
    return exports


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Exports]:
    """Build and export the real datasets."""
    found = {}
    for name in dict.fromkeys(name for name, _ in REAL):
        folder = prepared(name, tmp_path_factory.mktemp(name) / name)
        out = build(folder, upto="card").out
        recipe = load_recipe(folder / "recipe.yaml")
        for config in COUNTS[name]:
            found[name, config] = exported(out, config, recipe.configs[config].schema, folder / "exports" / config)
    return found


@pytest.mark.parametrize("name", PEERS)
def test_chats(chats: Exports, peer: Callable[[str], Peer], name: str) -> None:
    """Each kind of chat is loaded as it was, to the letter and to the byte."""
    check(chats, peer(name))
    assert chats.done[name].rows == (len(chats.rows) - 2 if name in NO_VIDEOS else len(chats.rows))


@pytest.mark.parametrize("name", PEERS)
def test_real_datasets(real: dict[tuple[str, str], Exports], peer: Callable[[str], Peer], name: str) -> None:
    """So are the rows of real datasets that the export says it carried over."""
    loaded = 0
    for exports in real.values():
        loaded += check(exports, peer(name))
    assert loaded > 20


def check(exports: Exports, peer: Peer) -> int:
    """Assert that a peer loads what was exported for it; returns how many rows."""
    done = exports.done[peer.name]
    if not done.rows:
        return 0
    files = [file for one in done.written if one.rows for file in one.files]
    named = files if peer.name in ("ms-swift", "data-juicer") else []
    told = peer.rows(done.folder, *named)
    if peer.name == "llama-factory":
        told.sort(key=lambda row: files.index(row["file"]))
    found = [as_plain(row) for row in told]
    codes = {loss.code for loss in done.losses.found if not loss.whole_rows}
    expected = [without_id(but_for_losses(row, codes)) for row in exports.rows]
    expected = [row for row in expected if peer.name not in NO_VIDEOS or "video:" not in str(row)]
    assert len(found) == done.rows
    if done.losses.rejected == len(exports.rows) - len(expected):
        assert found == expected
    else:
        left = iter(expected)
        assert all(row in left for row in found), "the same rows in the same order, but for those that were rejected"
    return len(found)


def without_id(row: Plain) -> Plain:
    """Peers read no ids."""
    return Plain("", row.turns)


def as_plain(row: dict[str, Any]) -> Plain:
    """Return what a loader told of a row: turns, with media where their tags are."""
    if "text" in row:
        read = dialect("data-juicer").read({"text": row["text"], "images": row["images"], "videos": row["videos"]})
        row["turns"] = [(message["role"], message["content"]) for message in read["messages"]]
    media = {"<image>": iter(row["images"]), "<video>": iter(row["videos"])}
    turns = tuple(
        (
            role,
            tuple(
                f"{piece[1:-1]}:{next(media[piece])}" if piece in media else piece
                for piece in TAGS.split(text)
                if piece
            ),
        )
        for role, text in row["turns"]
    )
    assert not any(list(rest) for rest in media.values()), "media that no turn shows"
    return Plain("", turns)


def test_plain_is_what_is_compared(chats: Exports) -> None:
    """What is compared says what the rows say."""
    (first, *_) = [plain(row) for row in chats.rows]
    assert first.turns[0][1][0].startswith("image:")
    assert first.turns[1] == ("assistant", ("A face.\n\n* grey\n* 128 x 128 ✓",))
