"""Hostile file names of media, annotation files and members: each works, byte for byte, or is refused in words.

What is refused: names that no file can have, that lead elsewhere, and control characters. All else is a name.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import unicodedata
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.errors import SourceError
from tests.project import Project, png

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST = 255
"""Bytes of a name on Linux and macOS."""

PLAIN = "plain.png"
NAMES = (
    *(PLAIN, "it's.png", 'say "hi".png', "`x`.png", "'", '"'),
    *("star*.png", "what?.png", "[1].png", "[!a].png", "{a,b}.png", "**"),
    *("a#b.png", "file.png?x=1", "%2F.png", "%s%n.png", "a&b;c|d.png", "a=b.png", "a@2x.png", "<tag>.png"),
    *("~.png", "~root", "$(x).png", "${HOME}.png", "{{ x }}.png", "{% x %}.png", "!x.png", "-rf.png", "--"),
    *(" lead.png", "trail.png ", "in side.png", ".hidden.png", "dots...", "...png", "...", "CON.png", "nul", "NUL.txt"),
    *("\u202egnp.exe.png", "\u200fmark.png", "\u2066isolate\u2069.png", "עברית.png", "العربية.png"),
    *(
        "zero\u200bwidth.png",
        "\ufeffmark.png",
        "soft\u00adhyphen.png",
        "\u00a0nbsp.png",
        "a\u2028b.png",
        "a\u2029b.png",
    ),
    *("日本語.png", "😀.png", "👩‍🚀.png", "\U000e0041tag.png", "\ue000.png", "\ufffe.png"),
    *(unicodedata.normalize("NFC", "é.png"), unicodedata.normalize("NFD", "é.png")),
    *("A.png", "a.png", "ß.png", "SS.png"),
    *("x" * (LONGEST - 4) + ".png", "é" * 125 + "x.png", "😀" * 62 + ".png"),
    *("http:a.png", "scene:1.png"),
)
"""Names that a file in a folder and an archive can have; each is published as it is."""

WAYS = {
    "./here.png": "here.png",
    "below//double.png": "double.png",
    "below/../up.png": "up.png",
    "C:x.png": "C:x.png",
    "a:b.png": "a:b.png",
    "back\\slash.png": "slash.png",
    "below\\windows.png": "windows.png",
    "link.png": "link.png",
}
"""Other ways to ask for a file, and the name it is published under: its own, without a folder of any system."""

ASKED = {
    "new\nline.png": "media.path_invalid",
    "cr\r.png": "media.path_invalid",
    "tab\t.png": "media.path_invalid",
    "esc\x1b[31m.png": "media.path_invalid",
    "bell\x07.png": "media.path_invalid",
    "nul\0.png": "media.path_invalid",
    "del\x7f.png": "media.path_invalid",
    "next\x85line.png": "media.path_invalid",
    "x" * (LONGEST - 3) + ".png": "media.path_invalid",
    "é" * 128: "media.path_invalid",
    "a/" * 2_100 + PLAIN: "media.path_invalid",
    "": "media.null",
    " ": "media.path_empty",
    ".": "media.not_file",
    "..": "media.outside",
    "../outside.png": "media.outside",
    "below/../../outside.png": "media.outside",
    "..\\outside.png": "media.outside",
    "/etc/passwd": "media.outside",
    "//etc/passwd": "media.outside",
    "/dev/null": "media.outside",
    "/proc/self/environ": "media.outside",
    "file:///etc/passwd": "media.url",
    "FILE://localhost/etc/passwd": "media.url",
    "http://a:0/b.png": "media.url",
    "https://user:word@a/b.png?x": "media.url",
    "ftp://a/b.png": "media.url",
    "s3://bucket/key.png": "media.url",
    "concat://a|b": "media.url",
    "data:image/png;base64,xx": "media.inline",
    "C:\\windows\\win.ini": "media.missing",
    "\\\\server\\share\\x.png": "media.outside",
    "missing.png": "media.missing",
    "~/plain.png": "media.missing",
    "%70lain.png": "media.missing",
    "*.png": "media.missing",
    "$PWD/plain.png": "media.missing",
    f"{PLAIN}/": "media.not_file",
    f"{PLAIN}/x": "media.missing",
    f"{PLAIN}\\": "media.not_file",
    "folder.png": "media.not_file",
    "folder.png/": "media.not_file",
    "fifo.png": "media.not_file",
    "socket.png": "media.not_file",
    "circle.png": "media.not_file",
    "dangling.png": "media.missing",
    "way_out.png": "media.outside",
    "door/outside.png": "media.outside",
}
"""What else rows may ask for, and the reason of its reject."""

UNREADABLE = "unreadable.png"


@dataclass(frozen=True)
class Built:
    """A build of one row a name."""

    project: Project
    rows: dict[int, dict[str, Any]]
    """Number of the name -> its row."""


def write_rows(project: Project, values: Sequence[str], name: str = "rows.jsonl") -> None:
    """Write a row for each value; half a surrogate pair and all else is escaped."""
    lines = [json.dumps({"number": number, "image": value}) for number, value in enumerate(values)]
    (project.source / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def image_recipe(**more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a recipe of one annotation file, and its columns."""
    config = {"rows": {"files": "rows.jsonl"}, "splits": {"train": 1.0}}
    return {"configs": {"default": config}, **more}, {"number": "int64", "image": {"type": "image"}}


VALUES = (*NAMES, *WAYS, *ASKED, UNREADABLE)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build a folder with files of all names, and what is no file, and rows that ask for all of them."""
    project = Project(tmp_path_factory.mktemp("names") / "project")
    source = project.source
    (source / "below").mkdir()
    for number, name in enumerate((*NAMES, *WAYS)):
        if name != "link.png":
            (source / name.replace("below\\", "below/")).write_bytes(png(number))
    link = VALUES.index("link.png")
    (source / "target").write_bytes(png(link))
    (source / "link.png").symlink_to("target")
    (source.parent / "outside.png").write_bytes(png(0))
    (source / "folder.png").mkdir()
    os.mkfifo(source / "fifo.png")
    with socket.socket(socket.AF_UNIX) as listener:
        # the path of a socket may be 100 bytes long: from within the folder it is
        before = Path.cwd()
        os.chdir(source)
        try:
            listener.bind("socket.png")
        finally:
            os.chdir(before)
    (source / "circle.png").symlink_to("circle.png")
    (source / "dangling.png").symlink_to("nowhere.png")
    (source / "way_out.png").symlink_to("../outside.png")
    (source / "door").symlink_to("..")
    (source / UNREADABLE).write_bytes(png(VALUES.index(UNREADABLE)))
    (source / UNREADABLE).chmod(0)
    for name in ("new\nline.png", "cr\r.png", "tab\t.png", "esc\x1b[31m.png"):
        (source / name).write_bytes(png(0))
    write_rows(project, VALUES)
    project.write(*image_recipe())
    project.build()
    return Built(project, {row["number"]: row["image"] for row in project.split("train").to_pylist()})


@pytest.mark.parametrize("name", [*NAMES, *WAYS], ids=ascii)
def test_names_of_media_work(built: Built, name: str) -> None:
    """A medium of any name is found, and published byte for byte under its own name."""
    number = VALUES.index(name)
    published = WAYS.get(name, name)
    assert built.rows[number] == {"bytes": png(number), "path": published}
    assert "/" not in published


@pytest.mark.parametrize("value", ASKED, ids=lambda value: ascii(value[:60]))
def test_what_is_no_name_is_rejected(built: Built, value: str) -> None:
    """What cannot be a file of the source is rejected with file, line and reason, in words that fit on a line."""
    number = VALUES.index(value)
    assert number not in built.rows
    (reject,) = [row for row in built.project.rejected() if row["line"] == number + 1]
    assert (reject["file"], reject["reason"]) == ("rows.jsonl", ASKED[value])
    assert reject["message"].isprintable()
    assert len(reject["message"]) < 500


def test_a_file_that_may_not_be_read(built: Built) -> None:
    """A file without the right to read it is missing; the superuser reads it."""
    number = VALUES.index(UNREADABLE)
    if os.access(built.project.source / UNREADABLE, os.R_OK):
        assert built.rows[number]["bytes"] == png(number)
    else:
        (reject,) = [row for row in built.project.rejected() if row["line"] == number + 1]
        assert reject["reason"] == "media.missing"


def test_every_row_is_somewhere(built: Built) -> None:
    """Rows in = rows out + rejects."""
    assert len(built.rows) + len(built.project.rejected()) == len(VALUES)


def test_names_load_with_datasets(built: Built) -> None:
    """`datasets` gives the same names and bytes in a process of its own."""
    script = (
        "import sys\n"
        "from datasets import Image, load_dataset\n"
        "rows = load_dataset(sys.argv[1], split='train', cache_dir=sys.argv[2])\n"
        "rows = rows.cast_column('image', Image(decode=False))\n"
        "import json, hashlib\n"
        "digests = {r['number']: [r['image']['path'], hashlib.sha256(r['image']['bytes']).hexdigest()] for r in rows}\n"
        "print(json.dumps(digests))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, built.project.out, built.project.root / "datasets"],
        capture_output=True,
        check=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(built.project.root / "hub")},
    )
    loaded = json.loads(done.stdout)
    assert loaded == {
        str(number): [row["path"], hashlib.sha256(row["bytes"]).hexdigest()] for number, row in built.rows.items()
    }


@pytest.mark.parametrize("text", ["\ud800.png", "invalid\udcff.png"], ids=ascii)
def test_halves_of_characters_are_rejected(project: Project, text: str) -> None:
    """A name that is not Unicode cannot be asked for, even when there is a file of that name."""
    Path(os.fsdecode(os.fsencode(project.source) + b"/invalid\xff.png")).write_bytes(png(0))
    (project.source / PLAIN).write_bytes(png(1))
    write_rows(project, [text, PLAIN])
    project.write(*image_recipe())
    project.build()
    assert project.reasons() == [("rows.jsonl", 1, "read.json")]


def test_templates_are_filled_in_once(project: Project) -> None:
    """A name that looks like a template, or climbs, is text where a recipe makes a path of it."""
    folder = project.source / "images"
    folder.mkdir()
    names = ["{{ 7 * 7 }}", "{% for x in y %}", "49", "a'b", "..", "../../outside", "/etc/passwd"]
    for number, name in enumerate(names[:4]):
        (folder / f"{name}.png").write_bytes(png(number))
    write_rows(project, names)
    recipe, columns = image_recipe(media={"image": {"from": "image", "path": "images/{{ item }}.png"}})
    project.write(recipe, columns)
    project.build()
    rows = project.split("train").to_pylist()
    assert [row["image"] for row in rows] == [
        {"path": f"{name}.png", "bytes": png(number)} for number, name in enumerate(names[:4])
    ]
    assert [line for _, line, _ in project.reasons()] == [5, 6, 7]


# annotation files

FILES = (
    *dict.fromkeys(f"{name.removesuffix('.png')}.jsonl" for name in NAMES if len(os.fsencode(name)) < LONGEST - 10),
    "x" * (LONGEST - 6) + ".jsonl",
    "back\\slash.jsonl",
)


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Build annotation files of all names, by a pattern and by their names; each holds a good and a bad row."""
    project = Project(tmp_path_factory.mktemp("files") / "project")
    for number, name in enumerate(FILES):
        (project.source / name).write_text(f'{{"number": {number}}}\n{{broken\n', encoding="utf-8")
    patterns = {"pattern": ["*.jsonl", ".*.jsonl"], "names": list(FILES)}
    configs = {name: {"rows": {"files": files}, "splits": {"train": 1.0}} for name, files in patterns.items()}
    project.write({"configs": configs}, {"number": "int64"})
    project.build()
    return project


@pytest.mark.parametrize("config", ["pattern", "names"])
def test_names_of_annotation_files_work(annotated: Project, config: str) -> None:
    """Annotation files of any name are read, named as they are or by a pattern, and rejects name them exactly."""
    numbers = annotated.split("train", config)["number"].to_pylist()
    assert sorted(numbers) == list(range(len(FILES)))
    rejects = [row for row in annotated.rejected() if row["config"] == config]
    assert sorted((row["file"], row["line"], row["reason"]) for row in rejects) == sorted(
        (name, 2, "read.json") for name in FILES
    )


@pytest.mark.parametrize(
    "name",
    [b"new\nline", b"cr\r", b"tab\t", b"esc\x1b[31m", b"del\x7f", b"next\xc2\x85line", b"invalid\xff"],
    ids=ascii,
)
def test_names_of_annotation_files_that_are_refused(project: Project, name: bytes) -> None:
    """An annotation file whose name is no text, or would write on a terminal, stops the build before any work."""
    Path(os.fsdecode(os.fsencode(project.source) + b"/" + name + b".jsonl")).write_text('{"number": 1}\n')
    project.write({"configs": {"default": {"rows": {"files": "*"}, "splits": {"train": 1.0}}}}, {"number": "int64"})
    with pytest.raises(SourceError, match=r"holds a control character|is not valid Unicode") as refused:
        project.build()
    assert all(line.isprintable() for line in str(refused.value).splitlines())
    assert len(str(refused.value).splitlines()) == 2


# members of archives

Kind = Literal["zip", "tar"]
TWINS = {"A.png", unicodedata.normalize("NFD", "é.png"), "SS.png"}
"""Names that stand beside another which is the same on a disk that folds case or normal form."""
MEMBERS = tuple(name for name in NAMES if name not in TWINS)

REFUSED_MEMBERS = {
    "new line": (["new\nline.png"], "control character"),
    "tab": (["tab\t.png"], "control character"),
    "escape": (["esc\x1b[31m.png"], "control character"),
    "256 bytes": (["x" * 256], "more than 255 bytes"),
    "climbs": (["../up.png"], "climbs"),
    "climbs inside": (["below/../up.png"], "climbs"),
    "absolute": (["/abs.png"], "absolute path"),
    "drive": (["C:/x.png"], "drive letter"),
    "drive without slash": (["a:b.png"], "drive letter"),
    "deep": (["a/" * 200 + "x.png"], "folders deep"),
    "case twins": (["A.png", "a.png"], "ignores case"),
    "normal form twins": ([unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD")], "normal form"),
    "twice": (["a.png", "a.png"], "twice"),
    "dot": (["."], "without a name"),
}


def archive(project: Project, kind: Kind, names: Sequence[str]) -> None:
    """Write a source that is an archive, of annotations and pictures."""
    write_rows(project, names)
    rows = (project.source / "rows.jsonl").read_bytes()
    members = [("rows.jsonl", rows), *[(name, png(number)) for number, name in enumerate(names)]]
    path = project.source / f"all.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as zipped:
            for name, data in members:
                entry = zipfile.ZipInfo("x")
                entry.filename = name
                zipped.writestr(entry, data)
    else:
        with tarfile.open(path, "w") as tarred:
            for name, data in members:
                header = tarfile.TarInfo(name)
                header.size = len(data)
                tarred.addfile(header, io.BytesIO(data))
    recipe, columns = image_recipe(sources={"mine": {"path": f"../source/all.{kind}", "license": "cc0-1.0"}})
    project.write(recipe, columns)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_of_members_work(project: Project, kind: Kind) -> None:
    """Members of any name are unpacked, found and published byte for byte."""
    archive(project, kind, MEMBERS)
    project.build()
    rows = {row["number"]: row["image"] for row in project.split("train").to_pylist()}
    assert rows == {number: {"bytes": png(number), "path": name} for number, name in enumerate(MEMBERS)}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("case", REFUSED_MEMBERS)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_of_members_that_are_refused(project: Project, kind: Kind, case: str) -> None:
    """An archive with a member that leads elsewhere, or is two on one disk, is refused in words."""
    names, reason = REFUSED_MEMBERS[case]
    archive(project, kind, names)
    with pytest.raises(SourceError, match=reason) as refused:
        project.build(upto="download")
    assert all(line.isprintable() for line in str(refused.value).splitlines())


def test_a_backslash_in_a_zip_is_a_folder(project: Project) -> None:
    """Windows packs with backslashes; rows may ask either way."""
    archive(project, "zip", ["below\\one.png", "below\\two.png"])
    (project.source / "rows.jsonl").unlink()
    project.build()
    assert [row["image"]["path"] for row in project.split("train").to_pylist()] == ["one.png", "two.png"]


# what the command line prints

NASTY = "\x1b[31m\u202egnp\u200b\x07\x85"
"""Colours a terminal red, turns its text around, hides, rings."""
QUIET_NASTY = "\u202egnp\u200b\u2028"
"""What a name of an annotation file may hold of that."""


def said(project: Project, *command: str) -> str:
    """Return everything that a command prints on a terminal, which must not hold what a terminal obeys."""
    folders = [word for name in ("work", "out", "cache") for word in (f"--{name}", str(project.root / name))]
    result = CliRunner().invoke(main, [*command, *folders], color=True)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    assert {c for c in result.output if not c.isprintable()} <= {"\n"}, ascii(result.output)
    return result.output


def test_rejects_are_printed_safely(project: Project) -> None:
    """The table of reasons shows names of files and media with their control characters and marks escaped."""
    write_rows(project, [f"{NASTY}\n{number}.png" for number in range(3)], f"{QUIET_NASTY}.jsonl")
    recipe, columns = image_recipe(rejects={"max_share": 0.0})
    recipe["configs"]["default"]["rows"]["files"] = "*.jsonl"
    project.write(recipe, columns)
    assert "media.path_invalid" in said(project, "build", str(project.recipe_path))


def test_broken_rows_are_printed_safely(project: Project) -> None:
    """So are the bad rows themselves."""
    path = project.source / f"{QUIET_NASTY}.jsonl"
    path.write_text(f'{{"number": 1, "image": "{NASTY}}}\n{NASTY}\n', encoding="utf-8")
    recipe, columns = image_recipe(rejects={"max_share": 0.0})
    recipe["configs"]["default"]["rows"]["files"] = "*.jsonl"
    project.write(recipe, columns)
    assert "rows are broken" in said(project, "build", str(project.recipe_path))


def test_suggested_names_are_printed_safely(project: Project) -> None:
    """A pattern without a match is answered with names that come near, escaped."""
    (project.source / f"{NASTY}\nrows.jsonl").write_text("{}\n")
    recipe, columns = image_recipe()
    recipe["configs"]["default"]["rows"]["files"] = f"{QUIET_NASTY}rows.json"
    project.write(recipe, columns)
    assert "did you mean" in said(project, "build", str(project.recipe_path))


@pytest.mark.parametrize("command", ["build", "validate"])
def test_paths_given_are_printed_safely(project: Project, command: str) -> None:
    """A recipe or dataset of a hostile name that is not there is named with its marks escaped."""
    (project.root / f"{NASTY}.yaml").touch()
    assert "there is no" in said(project, command, str(project.root / f"{NASTY}\n.yml" / "x"))
    (project.root / NASTY).mkdir()
    assert said(project, "validate", str(project.root / NASTY))


def test_mistakes_are_printed_safely(project: Project) -> None:
    """Keys and values of a recipe are printed escaped, and so is its name."""
    path = project.recipe_path.with_name(f"{QUIET_NASTY}.yaml")
    path.write_text('"\\e[31m\\u202E": 1\nname: "\\e[31m\\u202E"\nschema: "\\u202E"\n', encoding="utf-8")
    assert "mistake" in said(project, "build", str(path))


def test_members_are_printed_safely(project: Project) -> None:
    """A member of an archive is named with its control characters escaped."""
    archive(project, "tar", [f"{NASTY}\n.png"])
    assert "control character" in said(project, "build", str(project.recipe_path))


def test_what_is_done_is_printed_safely(project: Project) -> None:
    """So are the folders of a build that works."""
    nasty = Project(project.root / NASTY)
    (nasty.source / PLAIN).write_bytes(png(1))
    write_rows(nasty, [PLAIN, "missing.png"])
    nasty.write(*image_recipe())
    assert "left out" in said(nasty, "card", str(nasty.recipe_path))
