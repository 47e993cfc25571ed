"""The command `publish`, as a user runs it: plan, push, releases, refusals; against doubles and into a folder."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from tests.network.command import shardwright
from tests.network.hf_pushes import PushableDouble
from tests.network.hub_server import Fault
from tests.network.ms_pushes import PushableModelScope

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.network.hub_server import HubServer
    from tests.project import Project

NAME = "alice/demo"
CARD = "---\nlicense: cc0-1.0\nlanguage: [en]\n---\n# Demo\n\n## Citation\n\n    @misc{demo, title = {Demo}}\n"


def write(project: Project, rows: int, *, spoiled: int | None = None, **recipe: Any) -> None:
    """Write a dataset of pictures with captions; one caption is another one."""
    names = project.pictures(rows)
    captions = [f"picture {n}" if n != spoiled else "another caption" for n in range(rows)]
    rows_of = zip(names, captions, strict=True)
    project.rows("rows.jsonl", [{"image": name, "text": text, "id": f"r{n}"} for n, (name, text) in enumerate(rows_of)])
    splits = {"train": "rest", "test": {"last": 2}}
    configs = {"default": {"rows": {"files": "rows.jsonl"}, "splits": splits}}
    project.write({"configs": configs, **recipe}, {"id": "string", "image": "image", "text": "string"}, card=CARD)


@contextmanager
def hub_of(name: str) -> Iterator[tuple[HubServer, dict[str, str]]]:
    """Give a double, and what leads the client to it."""
    if name == "huggingface":
        with PushableDouble() as hub:
            yield hub, {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": "hf_alice"}
    else:
        with PushableModelScope() as other:
            yield other, {"MODELSCOPE_ENDPOINT": other.endpoint, "MODELSCOPE_API_TOKEN": "ms-alice"}


def publish(
    project: Project, *options: str, source: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return shardwright("publish", source or project.recipe_path, project.root, *options, **environment)


def files_of(hub: HubServer) -> dict[str, bytes]:
    """Return what readers get."""
    assert isinstance(hub, PushableDouble | PushableModelScope)
    files = hub.files(NAME) if isinstance(hub, PushableDouble) else hub.repos[NAME].revisions["master"]
    return {path: data for path, data in files.items() if path != ".gitattributes"}


@pytest.mark.parametrize("name", ["huggingface", "modelscope"])
def test_two_releases(project: Project, name: str) -> None:
    """A plan, a first release, nothing to do, a second release that says what changed, and validate agrees."""
    write(project, 12, publish={name: NAME})
    with hub_of(name) as (hub, environment):
        planned = publish(project, **environment)
        assert planned.returncode == 0, planned.stderr
        assert "is not there yet, and will be made" in planned.stdout
        assert "3 added, 0 replaced, 0 deleted" in planned.stdout
        assert "nothing was pushed; --yes does it" in planned.stdout
        assert not getattr(hub, "repos")  # noqa: B009  either double has it

        first = publish(project, "--yes", "--tag", "v1.0.0", **environment)
        assert first.returncode == 0, first.stderr
        assert "proved: 3 files are listed there with the hashes that they have here" in first.stdout
        assert "proved: the card was read back" in first.stdout
        assert "is the row that is here" in first.stdout
        published = files_of(hub)
        assert {path: data for path, data in published.items() if path != "README.md"} == {
            path.relative_to(project.out).as_posix(): path.read_bytes() for path in project.out.rglob("*.parquet")
        }
        card = published["README.md"].decode()
        assert "### v1.0.0\n\nFirst release." in card
        assert "license: cc0-1.0" in card
        assert "@misc{demo" in card

        asked = len(hub.log)
        again = publish(project, "--yes", "--tag", "v1.0.0", "--json", **environment)
        assert again.returncode == 0, again.stderr
        assert json.loads(again.stdout)["published"][0]["bytes_sent"] == 0
        assert files_of(hub) == published
        changing = [one for one in hub.log[asked:] if one.method in ("PUT", "DELETE") or "/commit/" in one.path]
        assert changing == []

        write(project, 14, spoiled=3, publish={name: NAME})
        second = publish(project, "--yes", "--tag", "v1.1.0", **environment)
        assert second.returncode == 0, second.stderr
        card = files_of(hub)["README.md"].decode()
        assert "| default | train | 12 | 2 | 0 | 1 |" in card
        assert card.index("### v1.1.0") < card.index("### v1.0.0")
        manifest = json.loads((project.work / "manifest.json").read_text(encoding="utf-8"))
        (recorded,) = manifest["stages"]["publish"]["targets"].values()
        assert recorded["tag"] == "v1.1.0"
        assert len(recorded["proved"]) == 3

        taken = publish(project, "--yes", "--tag", "v1.0.0", **environment)
        assert taken.returncode == 3
        assert "'v1.0.0' already" in taken.stderr

        judged = shardwright("validate", project.recipe_path.__class__(f"{name}:{NAME}"), project.root, **environment)
        assert judged.returncode == 0, judged.stdout + judged.stderr
    for path in project.root.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert b"hf_alice" not in data
            assert b"ms-alice" not in data


LOAD = """
import sys, datasets
loaded = datasets.load_dataset(sys.argv[1], cache_dir=sys.argv[2])
print({name: [(row["id"], row["text"], row["image"].size) for row in split] for name, split in loaded.items()})
"""


def test_a_pushed_dataset_loads_as_the_local_one(project: Project) -> None:
    """`load_dataset` gives the same rows from the hub and from the folder."""
    write(project, 8)
    with hub_of("huggingface") as (_, environment):
        pushed = publish(project, "--to", f"huggingface:{NAME}", "--yes", **environment)
        assert pushed.returncode == 0, pushed.stderr
        said = []
        for place in (NAME, str(project.out)):
            home = str(project.root / "home")
            command = [sys.executable, "-c", LOAD, place, str(project.root / "loaded" / str(len(said)))]
            env = {"PATH": "/usr/bin:/bin", "HOME": home, "HF_HUB_DISABLE_XET": "1", **environment}
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)
            assert done.returncode == 0, done.stderr
            said.append(done.stdout)
    assert said[0] == said[1]
    assert said[0].count("picture") == 8


def test_somebody_else_pushes_meanwhile(project: Project) -> None:
    """The second of two pushes stops with the plan for what is there now, and changes nothing."""
    write(project, 6)
    with hub_of("huggingface") as (hub, environment):
        assert isinstance(hub, PushableDouble)
        assert publish(project, "--to", f"huggingface:{NAME}", "--yes", **environment).returncode == 0
        write(project, 7)
        hub.faults.append(Other(hub))
        late = publish(project, "--to", f"huggingface:{NAME}", "--yes", **environment)
        assert late.returncode == 3
        assert "what would be done now" in late.stderr
        assert "1 replaced" in late.stderr or "2 replaced" in late.stderr or "3 replaced" in late.stderr
        assert files_of(hub)["LICENSE"] == b"somebody else's"


class Other(Fault):
    """Somebody who pushes just before our commit comes."""

    def __init__(self, hub: PushableDouble) -> None:
        super().__init__(path="/preupload/", method="POST")
        self.hub = hub

    def takes(self, request: Any, text: str) -> bool:
        """Push, once, and let the request be."""
        if super().takes(request, text):
            self.hub.repos[NAME].commit({"LICENSE": b"somebody else's"})
        return False


def test_what_is_wrong_is_not_published(project: Project) -> None:
    """A folder with errors is refused, and forced only with the errors in the commit; a folder takes it as well."""
    write(project, 6)
    project.build()
    card = project.out / "README.md"
    card.write_text(card.read_text(encoding="utf-8").replace("num_examples: 4", "num_examples: 5"), encoding="utf-8")
    with hub_of("huggingface") as (hub, environment):
        assert isinstance(hub, PushableDouble)
        to = ("--to", f"huggingface:{NAME}", "--yes")
        refused = publish(project, *to, source=project.out, **environment)
        assert refused.returncode == 1
        assert "SW106" in refused.stderr
        assert "--force-invalid" in refused.stderr
        assert hub.log == []
        forced = publish(project, *to, "--force-invalid", source=project.out, **environment)
        assert "SW106" in forced.stdout
        commit = json.loads(hub.asked("/commit/", "POST")[-1].body.splitlines()[0])["value"]
        assert "validate finds errors" in commit["description"]
        assert "SW106" in commit["description"]


def test_into_a_folder(project: Project) -> None:
    """A folder is a place like the others; offline as well."""
    write(project, 6)
    nas = project.root / "nas"
    nas.mkdir()
    done = publish(project, "--to", f"folder:{nas / 'demo'}", "--offline", "--yes", "--tag", "v1")
    assert done.returncode == 0, done.stderr
    assert pq.read_table(nas / "demo" / "default" / "train-00000-of-00001.parquet").num_rows == 4
    assert (nas / "demo@v1" / "README.md").is_file()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "no place is named to publish to"),
        (("--to", "github:a/b"), "is no place to publish to"),
        (("--to", "huggingface:b"), "owner/name"),
        (("--to", "huggingface:a/b", "--tag", "a b"), "is not the name of a tag"),
        (("--to", "huggingface:a/b", "--offline"), "--offline"),
        (("--to", "huggingface:alice/b", "--tag", "v1", "--key", "nothing"), "nothing"),
    ],
)
def test_mistakes(project: Project, options: tuple[str, ...], said: str) -> None:
    """What is wrong is said before anything is asked of a hub."""
    write(project, 4)
    with hub_of("huggingface") as (hub, environment):
        done = publish(project, *options, **environment)
        assert done.returncode == 2, done.stdout
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert not [one for one in hub.log if one.method != "GET"]
