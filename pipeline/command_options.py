"""Options that several commands have."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")


def _user_cache() -> str:
    return str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "shardwright")


def _set_verbose(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    """Let -v stand behind the command as well as before it."""
    if value:
        context.find_root().params["verbose"] = True


cache_option = click.option(
    "--cache",
    type=click.Path(path_type=Path),
    envvar="SHARDWRIGHT_CACHE",
    default=_user_cache,
    show_default="the user's cache folder",
    help="Folder of the media store, shared by all datasets.",
)
"""Adds the option that chooses the store."""
out_option = click.option(
    "--out",
    type=click.Path(path_type=Path),
    envvar="SHARDWRIGHT_OUT",
    default="out",
    show_default=True,
    help="Folder for finished datasets.",
)
"""Adds the option that says where finished datasets are."""
verbose_option = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    callback=_set_verbose,
    help="Show a traceback with every error.",
)
"""Adds -v, which may stand before the command as well."""


class RecipeName(click.Path):
    """A path, or the name of a recipe that `shardwright list` shows."""

    name = "recipe"

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path that is meant."""
        from pipeline.library import recipe_path

        path = super().convert(value, param, ctx)
        return recipe_path(path) if isinstance(path, Path) else path


def build_options(command: F) -> F:
    """Add the options that every building command has."""
    options: list[Callable[[F], F]] = [
        click.option(
            "--work",
            type=click.Path(path_type=Path),
            envvar="SHARDWRIGHT_WORK",
            default="work",
            show_default=True,
            help="Folder for intermediate results; safe to delete.",
        ),
        out_option,
        cache_option,
        click.option(
            "--workers",
            type=click.IntRange(1, 1024),
            default=None,
            show_default="one a processor",
            help="Processes to work in; any number gives the same bytes.",
        ),
        verbose_option,
        click.option("--json", "as_json", is_flag=True, help="Print the report as JSON on standard output."),
        click.option("--offline", is_flag=True, help="Touch no network; what is missing is named all at once."),
    ]
    for option in reversed(options):
        command = option(command)
    return command
