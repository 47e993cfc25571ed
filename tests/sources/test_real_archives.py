"""Hostile, damaged and odd archives from other projects, each with what is to come of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from unpacking import assert_refused, files_below, left_in_place, unpacked

from pipeline.sources.archive import is_archive

ARCHIVES = Path(__file__).parent.parent / "data" / "archives"

NO_END = "End of central directory record signature not found Either not a zip file or file is truncated"
UNPACKED = {
    "codeclysm_extract/archive-with-backslashes.zip": {"AZ3166/libraries/AzureIoT/keywords.txt": 7},
    "go_archive/ustar-file-devs.tar": {"file": 0},
    "yauzl_ok/empty.zip": {},
    "yauzl_ok/unicode.zip": {
        "Turmion Kätilöt/Hoitovirhe/Rautaketju.mp3": 0,
        "Turmion Kätilöt/Pirun nyrkki/Mistä veri pakenee.mp3": 0,
    },
    "yauzl_ok/zip64.zip": {"test1.txt": 3, "test2.txt": 3},
}

REFUSED = {
    "codeclysm_extract/archive.tar.gz": "symbolic link",
    "codeclysm_extract/evil.tar": "climbs",
    "codeclysm_extract/evil.zip": "climbs",
    "commons_compress/COMPRESS-544_truncated_in_padding-fail.tar": "cut off",
    "commons_compress/COMPRESS-569-fail.tar": "damaged tar header",
    "commons_compress/bla-stored-dd-sizes-differ.zip": "not where its end record says",
    "go_archive/gnu-not-utf8.tar": "not UTF-8",
    "go_archive/gnu-sparse-big.tar": "sparse",
    "go_archive/hardlink.tar": "hard link",
    "go_archive/pax-bad-hdr-file.tar": "damaged pax header",
    "go_archive/symlink.zip": "symbolic link",
    "go_archive/test-baddirsz.zip": "not where its end record says",
    "rubyzip_traversal/absolute1.zip": "absolute path",
    "rubyzip_traversal/absolutepath.zip": "absolute path",
    "rubyzip_traversal/dirsymlink.zip": "symbolic link",
    "rubyzip_traversal/relative0.zip": "climbs",
    "rubyzip_traversal/symlink.zip": "symbolic link",
    f"yauzl_failure/{NO_END}.zip": "truncated",
    "yauzl_failure/absolute path C xt.zip": "drive letter",
    "yauzl_failure/invalid characters in fileName a txt.zip": "contradicts the directory",
    "yauzl_failure/invalid relative path xt.zip": "climbs",
    "yauzl_failure/not enough bytes in the stream expected 2048576 got only 1000000.zip": "contradicts the directory",
    "yauzl_failure/too many bytes in the stream expected 82496 got at least 98304.zip": "contradicts the directory",
    "yauzl_failure/unexpected EOF.zip": "no ZIP64 field",
}


@pytest.mark.parametrize("name", UNPACKED)
def test_good_archives_give_their_files(name: str, tmp_path: Path) -> None:
    """An odd but honest archive unpacks to its files, and to nothing else."""
    archive = Path(shutil.copy(ARCHIVES / name, tmp_path))
    report = unpacked(archive)
    sizes = {file: len(data) for file, data in files_below(tmp_path / "out").items()}
    assert sizes == UNPACKED[name]
    assert (report.files, report.bytes) == (len(sizes), sum(sizes.values()))
    assert sorted(tmp_path.iterdir()) == sorted([archive, tmp_path / "out"])
    (tmp_path / "out").rename(tmp_path / "unpacked")
    assert left_in_place(archive) == files_below(tmp_path / "unpacked")


@pytest.mark.parametrize("name", REFUSED)
def test_bad_archives_are_refused(name: str, tmp_path: Path) -> None:
    """A hostile or damaged archive is refused with its reason, and nothing of it is left."""
    folder = tmp_path / "deep" / "deeper"
    folder.mkdir(parents=True)
    assert_refused(Path(shutil.copy(ARCHIVES / name, folder)), REFUSED[name])
    assert list(tmp_path.iterdir()) == [tmp_path / "deep"]
    assert list((tmp_path / "deep").iterdir()) == [folder]


def test_table_names_every_archive() -> None:
    """Each archive of the folder is in one of the two tables, is known as an archive, and stands in the README."""
    files = {path.relative_to(ARCHIVES).as_posix() for path in ARCHIVES.glob("*/*")}
    assert files == UNPACKED.keys() | REFUSED.keys()
    readme = (ARCHIVES / "README.md").read_text()
    assert all(f"| `{file}` |" in readme and is_archive(ARCHIVES / file) for file in files)
