"""The command line: thin commands that parse, call one function and print. Heavy imports come after parsing."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.command_options import RecipeName, build_options, cache_option, out_option, verbose_option

if TYPE_CHECKING:
    from pipeline.run import BuildReport

STAGE_HELP = {
    "download": "Unpack archives and find annotation files.",
    "convert": "Turn raw records into rows of the schema.",
    "cache": "Find, hash and probe the media of the rows.",
    "curate": "Leave out what the recipe does not want.",
    "split": "Decide which split each row is in.",
    "shard": "Write the Parquet shards.",
    "card": "Write README.md from the shards.",
}


def run() -> None:
    """Be the command `shardwright`: the whole process is ours."""
    global _own_process  # noqa: PLW0603
    _own_process = True
    main(prog_name="shardwright")


_own_process = False
"""Whether nobody else's code runs in this process."""


def _begin() -> None:
    """Prepare the process for work, once it is known that there is some."""
    if _own_process:
        from pipeline.without_pandas import leave_pandas_out

        leave_pandas_out()


def _say(text: str, *, error: bool = False) -> None:
    """Print a text that may quote names and values of strangers."""
    from pipeline.printable import escaped

    click.echo(escaped(text, keep="\n"), err=error)


class _Group(click.Group):
    """Turns our errors into what is printed, and a traceback only into our own bugs or with -v."""

    def invoke(self, context: click.Context) -> Any:
        from pipeline.errors import ShardwrightError

        try:
            return super().invoke(context)
        except ShardwrightError as error:
            if context.params.get("verbose"):
                raise
            _say(f"error: {error}", error=True)
            context.exit(error.exit_code)
        except KeyboardInterrupt:
            _say("interrupted; what is done is kept, run the same command to go on", error=True)
            context.exit(130)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="shardwright")
@click.option("-v", "--verbose", is_flag=True, help="Show a traceback with every error.")
def main(*, verbose: bool) -> None:
    """Turn raw annotations and the images and videos they point to into a dataset that loads everywhere."""


class _Elsewhere(click.Command):
    """A command that is built on this package, and found by its name when it is called."""

    def __init__(self, name: str, place: str, help_line: str) -> None:
        super().__init__(name, short_help=help_line)
        self.place = place

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **extra: Any) -> click.Context:
        """Have the command itself read its arguments."""
        module, _, name = self.place.partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command.make_context(info_name, args, *more, **extra)


main.add_command(
    _Elsewhere("train", "train.train_command:train", "Fine-tune a model on a dataset, or go on with a run.")
)
main.add_command(
    _Elsewhere("evaluate", "train.evaluate_command:evaluate", "Ask a model the rows of a split, and score its answers.")
)
main.add_command(_Elsewhere("merge", "train.merge_command:merge", "Merge adapters into their model, and prove it."))
main.add_command(_Elsewhere("generate", "train.generate_command:generate", "Ask a model about pictures and videos."))
main.add_command(_Elsewhere("chat", "train.chat_command:chat", "Talk with a model about pictures and videos."))


@main.command()
@click.argument("annotations")
@click.option(
    "--media", type=click.Path(path_type=Path), help="Where the images and videos are: a folder or an archive."
)
@click.option("--name", metavar="NAME", help="What the dataset is called; left out: as the file or folder is.")
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    default=".",
    show_default=True,
    help="The folder of recipes/, schemas/ and dataset_cards/.",
)
@click.option(
    "--dialect", metavar="NAME", help="What the annotations are, e.g. llava; `table` takes columns as they are."
)
@click.option("--yes", is_flag=True, help="Do not ask before the files are written.")
@cache_option
def new(annotations: str, *, yes: bool, **options: Any) -> None:
    """Look at annotations, and write the recipe, schema and card that build them.

    ANNOTATIONS is a file (JSON, JSON Lines, CSV, TSV, Parquet), a folder, an archive, or a dataset of a hub as
    huggingface:OWNER/NAME[@REVISION] (modelscope:… likewise). What was understood is shown with its first rows, and
    what could be meant otherwise. Nothing is guessed: what is like no dialect that is known, or like two, is refused
    with what to say. No file is overwritten.
    Exit code 0: written; 2: it must be said what the annotations are, or where their media lie.
    """
    _begin()
    from pipeline.new_command import run_new

    def may_write(understood: str) -> bool:
        _say(understood)
        if yes or not (sys.stdin.isatty() and sys.stdout.isatty()):
            return True
        return click.confirm("Write recipe, schema and card?", default=True)

    _say(run_new(annotations, may_write=may_write, **options))


@main.command()
@click.argument("recipe", type=RecipeName())
@build_options
def build(recipe: Path, **options: Any) -> None:
    """Build a dataset, every stage to the proof.

    RECIPE is a recipe file, such as recipes/sample.yaml.
    """
    _run(recipe, "validate", **options)


def _stage_command(name: str, text: str) -> None:
    @click.argument("recipe", type=RecipeName())
    @build_options
    def command(recipe: Path, **options: Any) -> None:
        _run(recipe, name, **options)

    if name == "cache":
        for option in (
            click.option("--retry", type=click.Choice(["failed"]), help="Ask again for URLs that failed for good."),
            click.option("--status", "retry_status", type=int, help="Only those that a server answered so, e.g. 404."),
        ):
            command = option(command)
    help_text = f"{text} The stages before it are run as well.\n\nRECIPE is a recipe file."
    main.command(name=name, help=help_text)(command)


for _name, _text in STAGE_HELP.items():
    _stage_command(_name, _text)


@main.command()
@click.argument("target", type=RecipeName())
@build_options
@click.option("--quick", is_flag=True, help="Look at the card and the shards' footers alone; no row is read.")
@click.option("--full", is_flag=True, help="Read every row and decode every medium, however many there are.")
@click.option("--select", multiple=True, metavar="CODE", help="Only these codes, or those that begin so; repeatable.")
@click.option("--ignore", multiple=True, metavar="CODE", help="Not these codes; repeatable.")
@click.option("--group", metavar="COLUMN", help="The column whose values must stay on one side of the splits.")
@click.option("--schema", type=click.Path(path_type=Path), help="A schema file that the rows must keep.")
@click.option("--budget", metavar="FAMILY", help="Count tokens for a model family: smolvlm2, qwen2.5-vl, internvl, …")
@click.option("--max-tokens", type=click.IntRange(1), help="With --budget: tokens that a row may cost.")
@click.option(
    "--fix", is_flag=True, help="Write the computed part of the card anew from the shards; asks before it does."
)
@click.option("--yes", is_flag=True, help="With --fix: do not ask.")
@click.option(
    "--load-limit",
    default="10GB",
    show_default=True,
    help="Bytes of shards up to which load_dataset loads everything; it writes them once more into a cache.",
)
def validate(target: Path, *, yes: bool, **options: Any) -> None:
    """Prove a recipe's dataset, any dataset folder, or a dataset of a hub.

    TARGET is a recipe file, a dataset folder, or huggingface:ORG/NAME[@REVISION] (modelscope:… likewise). Of a large
    dataset a sample of rows and media is looked at, of one of a hub only card and footers unless --full is given, and
    what was left out is said. docs/checks.md lists the codes.
    Exit code 0: nothing wrong, 1: problems found, 2: it could not be looked at.
    """
    _begin()
    from pipeline.validate_command import run_validate

    def may_write(plan: str) -> bool:
        _say(plan, error=options["as_json"])
        if yes or not (sys.stdin.isatty() and sys.stdout.isatty()):
            return yes
        return click.confirm("Write this?")

    text, code = run_validate(target, may_write=may_write, **options)
    _say(text)
    if code:
        sys.exit(code)


@main.command()
@click.argument("source", type=RecipeName())
@click.option(
    "--to",
    multiple=True,
    metavar="PLACE",
    help="huggingface:owner/name[@branch], modelscope:owner/name[@branch] or folder:/some/where; repeatable.",
)
@click.option("--yes", is_flag=True, help="Push; without it the plan is printed, and nothing is changed.")
@click.option("--tag", metavar="NAME", help="Make it a release of this name, e.g. v1.2.0; the card says what changed.")
@click.option("--branch", metavar="NAME", help="Write this branch in place of the main one.")
@click.option("--pull-request", is_flag=True, help="Propose it in place of writing the branch (Hugging Face).")
@click.option("--public", is_flag=True, help="A repository that is made is public; one that is there stays as it is.")
@click.option("--gated", type=click.Choice(["auto", "manual"]), help="Let in those who ask, or those whom you let in.")
@click.option("--message", default="", help="The title of the commit.")
@click.option("--key", metavar="COLUMN", help="The column that says which row is which; left out: id.")
@click.option("--force-invalid", is_flag=True, help="Push although validate finds errors; the commit says so.")
@click.option("--kind", type=click.Choice(["dataset", "model"]), help="What it is; left out: looked at.")
@click.option("--base-id", metavar="OWNER/NAME", help="A run: the name of its base model, where that was a folder.")
@click.option("--dataset-id", metavar="HUB:OWNER/NAME", help="A run: where its rows are published, if they were here.")
@click.option("--license", help="A run: the licence of the model, as a hub names it; or in the front matter of --card.")
@click.option("--card", type=click.Path(path_type=Path), help="A run: Markdown that you wrote for the model's card.")
@build_options
def publish(source: Path, **options: Any) -> None:
    """Publish a dataset or a model: a plan first, then one atomic push, then the proof that it is there.

    SOURCE is a recipe file (its dataset is built and proved first), a dataset folder, a folder with a model and its
    card, or a run's folder: its best checkpoint, or what is named of it (best, last, merged), gets a card and is
    checked. Without --yes nothing is changed. Readers see what was there before or what is there after, never half.
    Tokens come from HF_TOKEN, MODELSCOPE_API_TOKEN, or where the hubs' own logins stored them.
    Exit code 0: done, or planned; 1: validate finds errors; 2: a mistake in the command; 3: it could not be pushed.
    """
    _begin()
    from pipeline.errors import UsageError
    from pipeline.publish_command import run_publish

    of_run = {name: options.pop(name) for name in ("base_id", "dataset_id", "license", "card")}
    runs = [source / "run.json", source.absolute().parent / "run.json", *source.glob("*/run.json")]
    if any(path.is_file() for path in runs):
        text, code = import_module("train.publish_model").publish_run(source, **of_run, **options)
    elif named := [name.replace("_", "-") for name, value in of_run.items() if value is not None]:
        raise UsageError(f"--{named[0]} goes with a run's folder", hint="a dataset or a model has its own card")
    else:
        text, code = run_publish(source, **options)
    _say(text)
    if code:
        sys.exit(code)


@main.command()
@click.argument("dataset", type=RecipeName())
@click.option(
    "--to",
    multiple=True,
    metavar="FORMAT",
    help="llava, qwen-vl, internvl, ms-swift, llama-factory, xtuner, trl, data-juicer, webdataset, folder or csv; "
    "repeatable.",
)
@click.option("--config", metavar="NAME", help="Only this config.")
@click.option("--split", metavar="NAME", help="Only this split.")
@click.option(
    "--schema",
    type=click.Path(path_type=Path),
    help="What a row says: a schema file, or one with nothing but `conversation`.",
)
@click.option("--id-column", metavar="COLUMN", help="The column that says which row is which; left out: id.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    show_default="exports/ and the folder's name",
    help="Folder of the exports; each format has its own in it, and media are shared.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was written and lost as JSON on standard output.")
@verbose_option
def export(dataset: Path, **options: Any) -> None:
    """Write a finished dataset as somebody else's trainer reads it, and say what could not be carried over.

    DATASET is a dataset folder, whoever made it, or a recipe whose dataset is built; its schemas then say what a row
    says. Media are written once and linked into each format's folder. What was written is held against the target's
    own rule; docs/export.md says what each format carries.
    Exit code 0: done, 1: a format can hold no row of it, or the rule does not hold, 2: a mistake in the command,
    3: it cannot be read or written.
    """
    _begin()
    from pipeline.export_command import run_export

    text, code = run_export(dataset, **options)
    _say(text)
    if code:
        sys.exit(code)


@main.command("list")
@out_option
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON on standard output.")
def list_recipes(out: Path, *, as_json: bool) -> None:
    """List the recipes that can be named in place of a path, with what each needs.

    They are those of recipes/ here, of the folders in SHARDWRIGHT_RECIPES, and those that come with this program.
    """
    _begin()
    from pipeline.list_command import run_list

    _say(run_list(out=out, as_json=as_json))


@main.command()
@cache_option
@click.option("--failed", is_flag=True, help="List every URL that is not stored, with its reason and first row.")
@click.option("--status", type=int, help="With --failed: only those that a server answered so.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON on standard output.")
def ledger(cache: Path, *, failed: bool, status: int | None, as_json: bool) -> None:
    """Show what became of URLs, by host and reason."""
    from pipeline.network.ledger import Ledger

    with Ledger(cache.absolute()) as book:
        if failed:
            entries = book.failed(status=status)
            if as_json:
                _say(
                    json.dumps(
                        [{name: getattr(entry, name) for name in entry.__slots__} for entry in entries], indent=1
                    )
                )
                return
            for entry in entries:
                _say(f"{entry.http or '-':>4} {entry.reason:<18} {entry.tries:>4} tries  {entry.shown}")
                _say(f"     {entry.row or '-'}: {entry.message}")
            return
        counts = book.counts()
    if as_json:
        names = ("host", "reason", "http", "urls", "tries", "bytes")
        _say(json.dumps([dict(zip(names, row, strict=True)) for row in counts], indent=1))
        return
    _say(f"{'host':<40}{'reason':<20}{'http':>5}{'urls':>10}{'tries':>10}{'bytes':>18}")
    for host, reason, http, urls, tries, size in counts:
        _say(f"{host:<40}{reason:<20}{http or '':>5}{urls:>10,}{tries:>10,}{size:>18,}")


@main.group()
def store() -> None:
    """Look at the media store, prove it, make room in it."""


@store.command("ls")
@cache_option
def store_ls(cache: Path) -> None:
    """List the objects of the store: hash and bytes."""
    from pipeline.media.store_care import objects

    count = total = 0
    for path, size in objects(cache.absolute()):
        _say(f"{path.name}  {size:>15,}")
        count, total = count + 1, total + size
    _say(f"{count:,} objects, {total:,} bytes")


@store.command("verify")
@cache_option
def store_verify(cache: Path) -> None:
    """Prove every object by its hash; a damaged one is set aside, to be fetched again.

    Exit code 0: nothing wrong; 1: damaged objects were found.
    """
    from pipeline.media.store_care import verify

    count, damaged = verify(cache.absolute())
    for path in damaged:
        _say(f"damaged: {path}")
    _say(f"{count:,} objects, {len(damaged):,} damaged")
    if damaged:
        sys.exit(1)


@store.command("prune")
@cache_option
@click.option("--yes", is_flag=True, help="Remove them; without it they are only counted.")
def store_prune(cache: Path, *, yes: bool) -> None:
    """Remove objects that no workspace needs any more."""
    from pipeline.media.store_care import prune

    count, total, kept = prune(cache.absolute(), remove=yes)
    what = "removed" if yes else "could be removed (--yes does it)"
    _say(f"{count:,} objects, {total:,} bytes {what}; {kept:,} are needed by workspaces")


def _run(
    recipe: Path, upto: str, *, work: Path, out: Path, cache: Path, workers: int | None, as_json: bool, **more: Any
) -> None:
    from pipeline.errors import UsageError

    if not recipe.is_file():
        others = ", ".join(str(path) for path in sorted(recipe.parent.glob("*.yaml"))[:20])
        raise UsageError(
            f"there is no recipe {recipe}",
            allowed=others,
            hint="name a recipe file, e.g. recipes/sample.yaml, or a recipe that `shardwright list` shows",
        )
    _begin()
    from pipeline.executor import default_workers
    from pipeline.report import display_for
    from pipeline.run import Folders, build_dataset

    retry = more.pop("retry", None) is not None
    if more.get("retry_status") is not None and not retry:
        raise UsageError("--status stands beside --retry", hint="write --retry failed --status NUMBER")
    report = build_dataset(
        recipe,
        Folders(work=work, out=out, cache=cache),
        workers=workers or default_workers(),
        display=display_for(quiet=as_json),
        upto=upto,
        retry=retry,
        **more,
    )
    if as_json:
        value = {
            "name": report.name,
            "out": str(report.out),
            "rejected": str(report.rejected),
            "stages": [stage.as_json() for stage in report.stages],
        }
        _say(json.dumps(value, indent=1))
    else:
        _print_report(report, upto)


def _print_report(report: BuildReport, upto: str) -> None:
    """Print the closing table: what each stage did, why rows were left out, where the result is."""
    _say(f"{'stage':<10}{'rows in':>12}{'rows out':>12}{'left out':>10}{'media':>10}{'bytes':>16}{'seconds':>9}")
    for stage in report.stages:
        if stage.skipped:
            _say(f"{stage.stage:<10}{'nothing had changed':>34}{'':>35}{stage.seconds:>9.2f}")
            continue
        left = sum(stage.rejected.values())
        _say(
            f"{stage.stage:<10}{stage.rows_in:>12,}{stage.rows_out:>12,}{left:>10,}{stage.media:>10,}"
            f"{stage.bytes:>16,}{stage.seconds:>9.2f}"
        )
    for stage in report.stages:
        if stage.stage == upto and stage.table:
            _say("\n" + "\n".join(stage.table))
    if report.reasons:
        _say("\nleft out, by reason:")
        for reason, count in report.reasons.items():
            _say(f"  {count:>9,}  {reason}")
        _say(f"  every row: {report.rejected}")
    for stage in report.stages:
        for note in stage.notes:
            _say(f"note: {stage.stage}: {note}")
    if upto == "validate":
        _say(f"\n{report.out}: proved, and ready for datasets.load_dataset({str(report.out)!r})")
