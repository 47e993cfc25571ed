"""Clips and frames that recipes cut out of longer videos: the right ones, once, on one side, and every other named."""

from __future__ import annotations

import io
import shutil
from typing import TYPE_CHECKING, Any

import av
import pytest
from PIL import Image, ImageChops, ImageStat

from pipeline.errors import RecipeError
from pipeline.media.store_care import prune
from tests.project import MEDIA, Project, tree

if TYPE_CHECKING:
    from pathlib import Path

VIDEO = "nasa_13013.mp4"
FRAMES, RATE = 390, 29.97


def frames_of(source: Path | bytes) -> list[Image.Image]:
    """Decode a whole video."""
    with av.open(io.BytesIO(source) if isinstance(source, bytes) else str(source)) as container:
        return [frame.to_image() for frame in container.decode(container.streams.best("video"))]


@pytest.fixture(scope="module")
def shown() -> list[Image.Image]:
    """The frames of the video that everything here is cut from."""
    return frames_of(MEDIA / VIDEO)


def unlike(one: Image.Image, other: Image.Image) -> float:
    """Return the mean difference of two pictures, from 0 to 255."""
    return sum(ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB"))).mean) / 3


def clips(project: Project, rows: list[dict[str, Any]], **media: Any) -> None:
    """Write a project whose rows want clips."""
    shutil.copy(MEDIA / VIDEO, project.source / VIDEO)
    project.rows("rows.jsonl", [{"n": n, "video": VIDEO, **row} for n, row in enumerate(rows)])
    config = {"rows": {"files": "rows.jsonl"}, "splits": {"train": {"rest": True}}}
    project.write({"configs": {"default": config}, "media": {"video": media}}, {"n": "int64", "video": "video"})


def test_clips_by_seconds(project: Project, shown: list[Image.Image]) -> None:
    """Times come as numbers, text or clocks; each clip shows its frames; what is no time is named by row."""
    rows: list[dict[str, Any]] = [
        {"from": 1, "to": 2.5},
        {"from": "00:00:03.0", "to": "4"},
        {"from": 12.0, "to": None},
        {"from": "", "to": 0.5},
        {"from": "soon", "to": 5},
        {"from": 5, "to": 4},
        {"from": 500, "to": 600},
        {"to": 3},
    ]
    clips(project, rows, clip={"start": "from", "end": "to"})
    report = project.build()
    assert project.reasons() == [
        ("rows.jsonl", 5, "clip.span"),
        ("rows.jsonl", 8, "clip.span"),
        ("rows.jsonl", 6, "clip.span"),
        ("rows.jsonl", 7, "clip.span"),
    ]
    wanted = {0: (1, 2.5), 1: (3, 4), 2: (12, 99), 3: (0, 0.5)}
    published = {row["n"]: row["video"] for row in project.split("train").to_pylist()}
    assert published.keys() == wanted.keys()
    for n, (start, end) in wanted.items():
        frames = frames_of(published[n]["bytes"])
        numbers = [number for number in range(len(shown)) if start - 0.001 <= number / RATE < end - 0.001]
        assert len(frames) == len(numbers)
        for place in (0, len(frames) // 2, -1):
            assert unlike(frames[place], shown[numbers[place]]) < 6
    assert [published[n]["path"] for n in (0, 3)] == ["nasa_13013_1.001-2.502.mp4", "nasa_13013_0-0.5.mp4"]
    (note,) = [note for stage in report.stages for note in stage.notes if "out of longer videos" in note]
    assert note == "default: 4 clips encoded anew out of longer videos"


def test_clips_by_frames_and_templates(project: Project, shown: list[Image.Image]) -> None:
    """Frames count from 0 and the end is outside; a template makes an inclusive last frame so."""
    rows = [{"first": 10, "last": 19}, {"first": 385, "last": 389}, {"first": 100, "last": 100}]
    clips(project, rows, clip={"start_frame": "first", "end_frame": "{{ last + 1 }}"})
    project.build()
    published = {row["n"]: frames_of(row["video"]["bytes"]) for row in project.split("train").to_pylist()}
    assert {n: len(frames) for n, frames in published.items()} == {0: 10, 1: 5, 2: 1}
    for n, row in enumerate(rows):
        assert unlike(published[n][0], shown[row["first"]]) < 6
        assert unlike(published[n][-1], shown[row["last"]]) < 6


def test_clips_that_need_not_be_exact(project: Project) -> None:
    """Not exact, a clip is copied: its packets are the video's own."""
    clips(project, [{"from": 4, "to": 5}], clip={"start": "from", "end": "to", "exact": False})
    report = project.build()
    assert any("1 clips copied out of longer videos" in note for stage in report.stages for note in stage.notes)
    with av.open(str(MEDIA / VIDEO)) as container:
        packets = {bytes(packet) for packet in container.demux(container.streams.best("video"))}
    (row,) = project.split("train").to_pylist()
    with av.open(io.BytesIO(row["video"]["bytes"])) as container:
        assert {bytes(packet) for packet in container.demux(video=0)} <= packets


def sampled(project: Project, rows: list[dict[str, Any]], columns: dict[str, Any] | None = None, **media: Any) -> None:
    """Write a project whose rows want frames."""
    shutil.copy(MEDIA / VIDEO, project.source / VIDEO)
    project.rows("rows.jsonl", [{"n": n, "video": VIDEO, **row} for n, row in enumerate(rows)])
    config = {"rows": {"files": "rows.jsonl"}, "splits": {"train": {"rest": True}}}
    recipe = {"configs": {"default": config}, "media": {"frames": {"from": "video", **media}}}
    project.write(recipe, {"n": "int64", "frames": {"type": {"list": "image"}}, **(columns or {})})


def test_frames(project: Project, shown: list[Image.Image]) -> None:
    """Frames lie in the middles of equal parts of the video, or of the row's part of it, and are named by number."""
    rows = [{"a": None, "b": None}, {"a": 2, "b": 4}]
    sampled(project, rows, clip={"start": "a", "end": "b"}, frames={"count": 4, "format": "png"})
    project.build()
    published = {row["n"]: row["frames"] for row in project.split("train").to_pylist()}
    names = [[frame["path"] for frame in published[n]] for n in (0, 1)]
    assert names[0] == [f"nasa_13013_{number:06d}.png" for number in (48, 146, 243, 341)]
    for frames in published.values():
        for frame in frames:
            number = int(frame["path"][-10:-4])
            picture = Image.open(io.BytesIO(frame["bytes"]))
            assert picture.size == shown[number].size
            assert unlike(picture, shown[number]) < 2


def test_frames_a_second(project: Project) -> None:
    """So many frames a second; a video that gives more than allowed costs its row, and so does a list too short."""
    rows = [{"a": 0, "b": 3}, {"a": 0, "b": 9}, {"a": 0, "b": 1}]
    columns = {"frames": {"type": {"list": "image"}, "min_length": 4}}
    sampled(project, rows, columns, clip={"start": "a", "end": "b"}, frames={"per_second": 2, "most": 10})
    project.build()
    (row,) = project.split("train").to_pylist()
    assert [frame["path"] for frame in row["frames"]] == [
        f"nasa_13013_{number:06d}.jpg" for number in (0, 15, 30, 44, 59, 74)
    ]
    assert project.reasons() == [("rows.jsonl", 2, "clip.most"), ("rows.jsonl", 3, "schema.rule")]


def test_one_video_stays_on_one_side(project: Project) -> None:
    """Clips of one video are one group, though their bytes differ."""
    shutil.copy(MEDIA / "chaplin.mp4", project.source / "other.mp4")
    shutil.copy(MEDIA / "bigbuckbunny.mp4", project.source / "third.mp4")
    clips(project, [])
    names = [VIDEO, "other.mp4", "third.mp4"]
    rows = [{"n": n, "video": names[n % 3], "from": n // 3 * 0.2, "to": n // 3 * 0.2 + 0.2} for n in range(12)]
    project.rows("rows.jsonl", rows)
    config = {"rows": {"files": "rows.jsonl"}, "splits": {"train": 0.67, "test": 0.33}}
    media = {"video": {"clip": {"start": "from", "end": "to"}}}
    project.write({"configs": {"default": config}, "media": media}, {"n": "int64", "video": "video"})
    project.build()
    sides = {split: {row["n"] % 3 for row in project.split(split).to_pylist()} for split in ("train", "test")}
    assert not sides["train"] & sides["test"]
    assert sides["train"] | sides["test"] == {0, 1, 2}
    assert not project.reasons()


def test_cut_once(project: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What was cut is not cut again, nor pruned; a lost piece is made again, and two workers make the same bytes."""
    clips(project, [{"from": n, "to": n + 1} for n in range(6)], clip={"start": "from", "end": "to"})
    project.build()
    built = tree(project.out)
    objects = tree(project.root / "cache" / "media" / "objects")
    assert len(objects) == 6
    times = {path: path.stat().st_mtime_ns for path in (project.root / "cache").rglob("objects/*/*")}
    (project.work / "plan").rename(project.root / "old")
    project.build()
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert prune(project.root / "cache", remove=True)[0] == 0
    lost = next(iter(times))
    lost.unlink()
    for path in project.out.rglob("*.parquet"):
        path.unlink()
    assert project.build().stages[2].skipped is True  # the plan is the same, though a piece was cut again
    assert tree(project.root / "cache" / "media" / "objects") == objects
    assert tree(project.out) == built
    other = Project(tmp_path_factory.mktemp("other"))
    clips(other, [{"from": n, "to": n + 1} for n in range(6)], clip={"start": "from", "end": "to"})
    other.build(workers=2)
    assert tree(other.out) == built
    assert not list((project.root / "cache" / "media").glob("cutting/*"))


def test_a_damaged_video_costs_its_rows(project: Project) -> None:
    """A span that cannot be decoded rejects its row, and the others of the same video stay."""
    clips(project, [{"from": 0.1, "to": 0.5}, {"from": 2, "to": 4}], clip={"start": "from", "end": "to"})
    shutil.copy(MEDIA / "corrupted.mp4", project.source / VIDEO)
    project.build()
    assert [row["n"] for row in project.split("train").to_pylist()] == [0]
    ((file, line, reason),) = project.reasons()
    assert (file, line) == ("rows.jsonl", 2)
    assert reason.startswith(("clip.", "media."))


PHASES = ["idle"] * 40 + ["cut"] * 25 + ["idle"] * 10


def write_phases(project: Project, lines: list[str], **runs: Any) -> None:
    """Write a project whose rows are runs of frames."""
    shutil.copy(MEDIA / VIDEO, project.source / "video01.mp4")
    text = "".join(f"{line}\n" for line in ["Frame\tPhase\tHook\tGrasper", *lines])
    (project.source / "video01-phase.txt").write_text(text)
    rows = {"files": "*-phase.txt", "format": "tsv", "runs": {"frame": "Frame", **runs}}
    recipe = {
        "configs": {"default": {"rows": rows, "splits": {"train": {"rest": True}}}},
        "fields": {
            "phase": "Phase",
            "tools": "{{ (['Hook'] if Hook == '1' else []) + (['Grasper'] if Grasper == '1' else []) }}",
            "frames": "{{ run.frames }}",
        },
        "media": {
            "video": {
                "path": "{{ record.file | replace('-phase.txt', '.mp4') }}",
                "clip": {"start": "{{ run.start }}", "end": "{{ run.end }}"},
            }
        },
    }
    columns = {"phase": "string", "tools": {"type": {"list": "string"}}, "frames": "int64", "video": "video"}
    project.write(recipe, columns)


def test_runs_of_frames(project: Project) -> None:
    """A phase for each frame, as Cholec80 has it, gives a clip for each run of a phase and its tools."""
    lines = [f"{n}\t{phase}\t{int(n >= 50)}\t1" for n, phase in enumerate(PHASES)]
    lines[5] = "five\tidle\t0\t1"
    lines[70] = lines[69]
    write_phases(project, lines, same=["Phase", "Hook", "Grasper"], fps=RATE)
    project.build()
    assert project.reasons() == [("video01-phase.txt", 7, "read.frame"), ("video01-phase.txt", 72, "read.frame")]
    rows = project.split("train").to_pylist()
    told = [(row["phase"], row["tools"], row["frames"]) for row in rows]
    assert told == [
        ("idle", ["Grasper"], 5),
        ("idle", ["Grasper"], 34),
        ("cut", ["Grasper"], 10),
        ("cut", ["Hook", "Grasper"], 15),
        ("idle", ["Hook", "Grasper"], 5),
        ("idle", ["Hook", "Grasper"], 4),
    ]
    for row in rows:
        assert len(frames_of(row["video"]["bytes"])) == row["frames"]


def test_long_runs_in_pieces(project: Project) -> None:
    """A run that is longer than allowed becomes several; lines that tell of every fifth frame count for five."""
    lines = [f"{n}\tidle\t0\t0" for n in range(0, 100, 5)]
    write_phases(project, lines, same=["Phase", "Hook", "Grasper"], fps=RATE, step=5, max_frames=30)
    project.build()
    assert [row["frames"] for row in project.split("train").to_pylist()] == [30, 30, 30, 10]


@pytest.mark.parametrize(
    ("media", "column", "words"),
    [
        ({"clip": {"start": "a"}}, "image", "a clip is a video"),
        ({"frames": {"count": 3}}, "video", "frames are images"),
        ({"frames": {"count": 3}}, "image", "holds one image a row"),
        ({"frames": {"count": 3, "per_second": 2}}, {"list": "image"}, "by `count` or by `per_second`"),
        ({"frames": {"count": 3, "most": 2}}, {"list": "image"}, "above `most`"),
        ({"clip": {"exact": True}}, "video", "`start` and `end`, or `start_frame` and `end_frame`"),
        ({"clip": {"start": 1, "end_frame": 3}}, "video", "`start` and `end`, or `start_frame` and `end_frame`"),
        ({"clip": {"start": "{{ a"}}, "video", "is wrong"),
    ],
)
def test_wrong_recipes(project: Project, media: Any, column: Any, words: str) -> None:
    """What cannot be cut is said before any work starts, with its line."""
    config = {"rows": {"files": "rows.jsonl"}, "splits": {"train": {"rest": True}}}
    recipe = {"configs": {"default": config}, "media": {"medium": media}}
    project.write(recipe, {"medium": {"type": column}})
    with pytest.raises(RecipeError, match=words):
        project.build()


def test_placeholders_do_not_count_frames(project: Project) -> None:
    """How many frames a video gives is not known when placeholders are counted, so that is a mistake."""
    config = {"rows": {"files": "rows.jsonl"}, "splits": {"train": {"rest": True}}}
    recipe = {"configs": {"default": config}, "media": {"frames": {"from": "video", "frames": {"count": 2}}}}
    columns = {"text": "string", "frames": {"type": {"list": "image"}}}
    project.write(recipe, columns, placeholders=[{"column": "text", "token": "<image>", "media": "frames"}])
    with pytest.raises(RecipeError, match="how many frames a video gives is not known"):
        project.build()
