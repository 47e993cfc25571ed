"""The dialects of archives, folders and tables: what each takes, refuses, and how sure it is of what it sees."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.dialects.media_folder import MEDIA_FOLDER
from pipeline.dialects.table import TABLE
from pipeline.dialects.webdataset import WEBDATASET
from pipeline.errors import RowRejected

TALK = [
    {"role": "user", "content": [{"type": "image", "text": None}, {"type": "text", "text": "What?"}]},
    {"role": "assistant", "content": [{"type": "text", "text": "That."}]},
]
CLIP = [{**TALK[0], "content": [{"type": "video", "text": None}]}, TALK[1]]
MESSAGES = [{"role": "user", "content": "<image>What?"}, {"role": "assistant", "content": "That."}]


def test_a_sample_names_its_members() -> None:
    """Members are found by name or by field; what no message shows stays a column; `txt` says nothing new."""
    sample = {"__key__": "07", "0.jpg": "a.tar/07.0.jpg", "mask.png": "a.tar/07.mask.png", "txt": "That.", "score": 3}
    for name in ("07.0.jpg", "0.jpg"):
        assert WEBDATASET.read({**sample, "messages": TALK, "images": [name], "videos": []}) == {
            "messages": MESSAGES,
            "images": ["a.tar/07.0.jpg"],
            "videos": [],
            "mask.png": "a.tar/07.mask.png",
            "score": 3,
        }


@pytest.mark.parametrize("name", ["07.1.jpg", "txt", "__key__", 3, None])
def test_a_member_that_is_not_there(name: Any) -> None:
    """A name that leads to no member of the sample rejects it."""
    with pytest.raises(RowRejected, match="no member"):
        WEBDATASET.read({"__key__": "07", "0.jpg": "a.tar/07.0.jpg", "messages": TALK, "images": [name]})


@pytest.mark.parametrize(
    ("row", "images", "videos"),
    [
        ({"file_name": "a.png", "messages": TALK}, ["a.png"], []),
        ({"file_name": "a.gif", "messages": CLIP}, [], ["a.gif"]),
        ({"file_names": ["a.png"], "messages": TALK}, ["a.png"], []),
        ({"images_file_names": ["a.png"], "messages": TALK}, ["a.png"], []),
        ({"videos_file_names": ["a.mp4"], "images": [], "messages": CLIP}, [], ["a.mp4"]),
        ({"file_name": None, "messages": [{"role": "user", "content": "Hi."}]}, [], []),
        ({"file_name": "a.mp4", "messages": [{"role": "user", "content": "When?"}]}, [], ["a.mp4"]),
    ],
)
def test_metadata_name_files(row: dict[str, Any], images: list[str], videos: list[str]) -> None:
    """A file is what the messages show it as, whichever way the metadata name it."""
    found = MEDIA_FOLDER.read({**row, "score": 1})
    assert (found["images"], found["videos"], found["score"]) == (images, videos, 1)
    assert set(found) == {"messages", "images", "videos", "score"}


@pytest.mark.parametrize(
    "row",
    [
        {"image": "a.png", "question": "What?", "answer": "That."},
        {"images": '["a.png"]', "question": "What?", "answer": "That.", "messages": ""},
        {"images": ["a.png"], "messages": TALK, "question": "", "answer": ""},
    ],
)
def test_a_row_of_a_table(row: dict[str, Any]) -> None:
    """A question stands behind its media; messages may be JSON; other columns stay, whatever they are called."""
    assert TABLE.read({**row, "prompt": "p"}) == {
        "messages": MESSAGES,
        "images": ["a.png"],
        "videos": [],
        "prompt": "p",
    }


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": "What?"}, "a text at 'answer' is allowed"),
        ({"question": "What?", "answer": "A", "messages": "[]"}, "one of them is allowed"),
        ({"question": "<image>What?", "answer": "A"}, "placeholder|place of a medium"),
        ({"answer": "A", "question": 3}, "a text is allowed"),
    ],
)
def test_rows_that_are_refused(row: dict[str, Any], said: str) -> None:
    """What does not fit is refused with what is allowed."""
    with pytest.raises(RowRejected, match=said):
        TABLE.read(row)


def test_how_sure_they_are() -> None:
    """Only what is written so by nobody else is believed at once; a table of other columns is left to its columns."""
    sample = {"__key__": "07", "jpg": "a.tar/07.jpg", "messages": TALK, "images": ["07.jpg"]}
    assert WEBDATASET.likeness([sample]).score > 0.9
    assert WEBDATASET.likeness([{"__key__": "07", "jpg": "a.tar/07.jpg", "txt": "A dog."}]).score == 0
    assert MEDIA_FOLDER.likeness([{"file_name": "a.png", "messages": TALK}]).score > 0.9
    assert MEDIA_FOLDER.likeness([{"file_name": "a.png", "label": "dog"}]).score == 0
    assert TABLE.likeness([{"image": "a.png", "question": "What?", "answer": "That."}]).score > 0.7
    assert TABLE.likeness([{"photo": "a.png", "question": "What?", "answer": "That."}]).score < 0.5
