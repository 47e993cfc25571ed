"""Files below a folder: patterns of the recipe, and paths that strangers wrote into rows."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.errors import RowRejected, SourceError
from pipeline.sources.local import MediaRoot, expand, resolve_media


def fill(root: Path, *names: str) -> Path:
    """Make files below a folder."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def expanded(root: Path, *patterns: str) -> list[str]:
    """Return the relative names of what patterns match."""
    return [path.relative_to(root).as_posix() for path in expand(root, patterns)]


def code_of(value: str, *, base: Path, root: Path) -> str:
    """Return the code that a path is rejected with."""
    with pytest.raises(RowRejected) as caught:
        resolve_media(value, base=base, root=root)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 600
    return caught.value.code


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["*.csv"], ["a.csv", "b.csv"]),
        (["train/*.json"], ["train/1.json", "train/2.json"]),
        (["**/*.json"], ["[1].json", "train/1.json", "train/2.json", "train/deep/3.json"]),
        (["[1].json"], ["[1].json"]),
        (["b.csv", "*.csv", "train/2.json"], ["a.csv", "b.csv", "train/2.json"]),
        (["train/[12].json"], ["train/1.json", "train/2.json"]),
        (["train/**"], []),
        (["?.csv"], ["a.csv", "b.csv"]),
        ([".hidden.csv"], [".hidden.csv"]),
        ([".*/*.csv"], [".git/x.csv"]),
    ],
)
def test_patterns(patterns: list[str], expected: list[str], tmp_path: Path) -> None:
    """Patterns and literal names match files only, each once and in order, and hidden files only when asked for."""
    fill(tmp_path, "b.csv", "a.csv", ".hidden.csv", ".git/x.csv", "[1].json", "train/1.json", "train/2.json")
    fill(tmp_path, "train/deep/3.json")
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    if expected:
        assert expanded(tmp_path, *patterns) == expected
    else:
        with pytest.raises(SourceError, match="matches"):
            expanded(tmp_path, *patterns)


def test_order_is_by_posix_path(tmp_path: Path) -> None:
    """Files come sorted by their relative path, whatever order the disk or the patterns have."""
    names = [f"{folder}/{number}.csv" for folder in ("b", "a", "B") for number in (10, 9, 1)]
    fill(tmp_path, *names)
    assert expanded(tmp_path, "b/*.csv", "**/*.csv") == sorted(names)


@pytest.mark.parametrize("pattern", ["/etc/*", "../*.csv", "a/../../*.csv", "", ".", "a\0b", "**.csv", "x" * 300])
def test_patterns_that_cannot_be_used(pattern: str, tmp_path: Path) -> None:
    """A pattern that is absolute, climbs, or is no pattern is refused with the pattern in the message."""
    fill(tmp_path, "a.csv")
    with pytest.raises(SourceError) as caught:
        expand(tmp_path, [pattern])
    assert repr(pattern[:200])[1:-1] in caught.value.what


def test_a_pattern_without_match_names_the_nearest(tmp_path: Path) -> None:
    """A pattern that matches nothing is refused with the root, the pattern, and names that come near."""
    fill(tmp_path, "train/labels.json", "train/other.txt")
    for pattern, word in (
        ("train/lables.json", "'train/labels.json'"),
        ("zzz", "the folder holds 'train/labels.json'"),
        ("train", "'train/*'"),
    ):
        with pytest.raises(SourceError) as caught:
            expand(tmp_path, ["train/*.json", pattern])
        assert word in caught.value.hint
        assert repr(pattern) in caught.value.what
        assert str(tmp_path) in caught.value.what
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="holds no files"):
        expand(tmp_path / "empty", ["*"])
    with pytest.raises(SourceError, match="does not exist"):
        expand(tmp_path / "missing", ["*"])


def test_patterns_do_not_leave_the_root(tmp_path: Path) -> None:
    """A link out of the root is refused, a link inside it is followed, and a circle of links ends."""
    fill(tmp_path, "out/secret.csv", "root/in/a.csv")
    root = tmp_path / "root"
    (root / "alias.csv").symlink_to("in/a.csv")
    (root / "in" / "circle").symlink_to(root)
    assert expanded(root, "*.csv", "**/*.csv") == ["alias.csv", "in/a.csv"]
    (root / "escape.csv").symlink_to("../out/secret.csv")
    (root / "door").symlink_to("../out")
    for pattern in ("escape.csv", "*.csv", "door/*.csv", "door/secret.csv"):
        with pytest.raises(SourceError, match="link out of"):
            expand(root, [pattern])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a root with files, links and things that are not files, and a secret beside it."""
    fill(tmp_path, "secret.jpg", "root-2/secret.jpg")
    root = fill(
        tmp_path / "root", "ann/a.json", "images/1.jpg", "images/b c%20d.jpg", "images/~x.jpg", "ann/win\\1.jpg"
    )
    (root / "images" / "inside.jpg").symlink_to("1.jpg")
    (root / "images" / "twice.jpg").symlink_to("inside.jpg")
    (root / "images" / "outside.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "images" / "dangling.jpg").symlink_to("nowhere.jpg")
    (root / "images" / "circle.jpg").symlink_to("circle.jpg")
    (root / "door").symlink_to(tmp_path)
    (root / "pictures").symlink_to("images")
    os.mkfifo(root / "images" / "pipe.jpg")
    return root


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("../images/1.jpg", "images/1.jpg"),
        ("{root}/images/1.jpg", "images/1.jpg"),
        ("./..//images/./1.jpg", "images/1.jpg"),
        ("..\\images\\1.jpg", "images/1.jpg"),
        ("win\\1.jpg", "ann/win\\1.jpg"),
        ("../images/b c%20d.jpg", "images/b c%20d.jpg"),
        ("../images/~x.jpg", "images/~x.jpg"),
        ("../images/inside.jpg", "images/1.jpg"),
        ("../images/twice.jpg", "images/1.jpg"),
        ("../pictures/1.jpg", "images/1.jpg"),
        ("../../root/images/1.jpg", "images/1.jpg"),
        ("../door/root/images/1.jpg", "images/1.jpg"),
    ],
)
def test_media_that_are_there(value: str, expected: str, root: Path) -> None:
    """A path gives the real path of its file when that lies in the root, through whatever links."""
    found = resolve_media(value.format(root=root), base=root / "ann", root=root)
    assert found == (root / expected).resolve()


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "media.path_empty"),
        ("  \t ", "media.path_empty"),
        ("a\0b.jpg", "media.path_invalid"),
        ("a\nb.jpg", "media.path_invalid"),
        ("a\x9bb.jpg", "media.path_invalid"),
        ("\udcff.jpg", "media.path_invalid"),
        ("x" * 256, "media.path_invalid"),
        ("é" * 128, "media.path_invalid"),
        ("a/" * 2049, "media.path_invalid"),
        ("http://example.org/1.jpg", "media.url"),
        ("S3://bucket/1.jpg", "media.url"),
        ("file:///etc/passwd", "media.url"),
        ("data:image/png;base64,AAAA", "media.url"),
        ("../../secret.jpg", "media.outside"),
        ("../../root-2/secret.jpg", "media.outside"),
        ("..\\..\\secret.jpg", "media.outside"),
        ("/etc/passwd", "media.outside"),
        ("/etc/no-such-file", "media.outside"),
        ("../images/outside.jpg", "media.outside"),
        ("../door/secret.jpg", "media.outside"),
        ("/", "media.outside"),
        ("//etc//passwd", "media.outside"),
        ("../" * 100 + "etc/passwd", "media.outside"),
        ("/dev/zero", "media.outside"),
        ("/proc/self/fd/0", "media.outside"),
        ("../images/2.jpg", "media.missing"),
        ("no/such/folder/2.jpg", "media.missing"),
        ("a.json/2.jpg", "media.missing"),
        ("../images/b%20c%20d.jpg", "media.missing"),
        ("~/1.jpg", "media.missing"),
        ("C:\\images\\1.jpg", "media.missing"),
        ("../images/dangling.jpg", "media.missing"),
        ("..", "media.not_file"),
        ("../images", "media.not_file"),
        ("../images/", "media.not_file"),
        ("../images/1.jpg/", "media.not_file"),
        ("../images/1.jpg/.", "media.not_file"),
        ("../images/pipe.jpg", "media.not_file"),
        ("../images/circle.jpg", "media.not_file"),
    ],
)
def test_media_that_are_not_to_be_had(value: str, code: str, root: Path) -> None:
    """Each way in which a path can be wrong has its code and a message that is short and printable."""
    assert code_of(value, base=root / "ann", root=root) == code


def test_messages_say_what_to_do(root: Path) -> None:
    """A remote path and a path out of the root are rejected with a way on."""
    with pytest.raises(RowRejected, match="local source"):
        resolve_media("https://example.org/1.jpg", base=root, root=root)
    with pytest.raises(RowRejected, match="name a wider root"):
        resolve_media("../secret.jpg", base=root, root=root)
    with pytest.raises(SourceError, match="does not exist"):
        MediaRoot(base=root, root=root / "missing")


def test_root_and_base_may_be_links(root: Path, tmp_path: Path) -> None:
    """A root and a base that are links themselves are followed first; the file system's root is a root as well."""
    (tmp_path / "alias").symlink_to(root)
    alias = tmp_path / "alias"
    expected = (root / "images/1.jpg").resolve()
    assert resolve_media("../images/1.jpg", base=alias / "ann", root=alias) == expected
    assert resolve_media(str(alias / "images/1.jpg"), base=alias, root=root) == expected
    assert resolve_media("images/1.jpg", base=root, root=Path("/")) == expected


def test_many_rows_are_fast(tmp_path: Path) -> None:
    """A hundred thousand rows resolve in a few seconds: folders are looked up once."""
    fill(tmp_path, *(f"images/{number % 10}/{number}.jpg" for number in range(200)))
    media = MediaRoot(base=tmp_path, root=tmp_path)
    start = time.process_time()
    for row in range(100_000):
        media.resolve(f"images/{row % 10}/{row % 200}.jpg")
    assert time.process_time() - start < 5


PIECES = st.sampled_from(
    [
        "..",
        ".",
        "/",
        "\\",
        "//",
        "door",
        "images",
        "pictures",
        "1.jpg",
        "outside.jpg",
        "secret.jpg",
        "root",
        "deep",
        "etc",
    ]
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make one small root for all examples of the property, with doors that lead out and back."""
    folder = fill(tmp_path_factory.mktemp("world"), "secret.jpg", "root/images/1.jpg", "root/1.jpg", "root/secret.jpg")
    root = folder / "root"
    (root / "door").symlink_to(folder)
    (root / "pictures").symlink_to("images")
    (root / "outside.jpg").symlink_to("../secret.jpg")
    (root / "deep").symlink_to("/usr/lib")
    return root


@given(
    value=st.lists(PIECES, max_size=12).map("".join) | st.lists(PIECES, max_size=9).map("/".join) | st.text(max_size=40)
)
@settings(max_examples=1500, deadline=None)
@example(value="door/root/../secret.jpg")
@example(value="deep/../../secret.jpg")
def test_nothing_outside_is_ever_returned(value: str, world: Path) -> None:
    """Whatever text a row holds, a path that comes back is a real file inside the real root."""
    try:
        found = resolve_media(value, base=world, root=world)
    except RowRejected:
        return
    assert found == found.resolve(strict=True)
    assert found.is_relative_to(world.resolve())
    assert found.is_file()
