"""Templates and expressions in recipes and schemas: the one door to Jinja.

A template is text with `{{ … }}`: it sees the record's columns by name and, for names that are no identifiers,
as `row['text prompt']` or in backticks. A template that is one expression and nothing else keeps the
value's type; any other gives text. A null or unknown column inside text is an error, never the word "None".
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Any

from jinja2 import StrictUndefined, TemplateSyntaxError, Undefined, UndefinedError, nodes
from jinja2.exceptions import SecurityError, TemplateRuntimeError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pipeline.errors import RowRejected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_WHOLE_EXPRESSION = re.compile(r"^\s*\{\{(?P<expression>(?:(?!\}\}|\{\{).)*)\}\}\s*$", re.DOTALL)
_STRINGS_OR_BACKTICKS = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`(?P<column>[^`]+)`""")


class _NullInText(Exception):
    """A null reached the text of a template."""


def _finalize(value: Any) -> Any:
    if value is None:
        raise _NullInText
    return value


def _basename(value: Any) -> str:
    return posixpath.basename(str(value).replace("\\", "/"))


def _stem(value: Any) -> str:
    return posixpath.splitext(_basename(value))[0]


_ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, finalize=_finalize, autoescape=False, keep_trailing_newline=True
)
_ENVIRONMENT.filters.update(basename=_basename, stem=_stem)
_ENVIRONMENT.filters["split"] = lambda value, separator=None: str(value).split(separator)


def is_template(text: str) -> bool:
    """Tell whether a text is a template rather than a column name."""
    return "{{" in text or "{%" in text


def _without_backticks(expression: str) -> str:
    """Write `` `text prompt` `` as `row['text prompt']`, outside of quoted strings."""

    def replace(match: re.Match[str]) -> str:
        column = match.group("column")
        return match.group(0) if column is None else f"row[{column!r}]"

    return _STRINGS_OR_BACKTICKS.sub(replace, expression)


class Template:
    """A compiled template; call `render` with a record."""

    def __init__(self, source: str) -> None:
        """Compile; raises ValueError with Jinja's message when the template is wrong."""
        self.source = source
        whole = _WHOLE_EXPRESSION.match(source)
        try:
            if whole:
                self._evaluate: Callable[..., Any] = _expression(whole["expression"])
                self.columns = _columns(f"{{{{ {_without_backticks(whole['expression'])} }}}}")
            else:
                text = re.sub(
                    r"\{\{.*?\}\}|\{%.*?%\}", lambda m: _without_backticks(m.group(0)), source, flags=re.DOTALL
                )
                self._evaluate = _ENVIRONMENT.from_string(text).render
                self.columns = _columns(text)
        except TemplateSyntaxError as error:
            raise ValueError(f"the template {source!r} is wrong: {error.message}") from None

    def render(self, row: Mapping[str, Any], **extra: Any) -> Any:
        """Return the template's value for a record; raises RowRejected when a column is unknown, null or unfit."""
        return _run(self._evaluate, self.source, row, extra)


class Expression:
    """A compiled expression such as ``stars > 10 and `text prompt` != ''``."""

    def __init__(self, source: str) -> None:
        """Compile; raises ValueError with Jinja's message when the expression is wrong."""
        self.source = source
        try:
            self._evaluate = _expression(source)
            self.columns = _columns(f"{{{{ {_without_backticks(source)} }}}}")
        except TemplateSyntaxError as error:
            raise ValueError(f"the expression {source!r} is wrong: {error.message}") from None

    def evaluate(self, row: Mapping[str, Any], **extra: Any) -> Any:
        """Return the expression's value for a record; raises RowRejected when it cannot be computed."""
        return _run(self._evaluate, self.source, row, extra)


def _expression(source: str) -> Callable[..., Any]:
    return _ENVIRONMENT.compile_expression(_without_backticks(source), undefined_to_none=False)


def _columns(template: str) -> frozenset[str]:
    """Return the columns a template may look at: plain names, and `row['name']`."""
    tree = _ENVIRONMENT.parse(template)
    names = {node.name for node in tree.find_all(nodes.Name) if node.ctx == "load"}
    for item in tree.find_all(nodes.Getitem):
        if isinstance(item.node, nodes.Name) and item.node.name == "row" and isinstance(item.arg, nodes.Const):
            names.add(str(item.arg.value))
    stored = {node.name for node in tree.find_all(nodes.Name) if node.ctx == "store"}
    return frozenset(names - stored - {"row", "item", "true", "false", "none", "True", "False", "None"})


def _run(evaluate: Callable[..., Any], source: str, row: Mapping[str, Any], extra: Mapping[str, Any]) -> Any:
    try:
        value = evaluate({**row, **extra, "row": row})
        if isinstance(value, Undefined):
            value._fail_with_undefined_error()  # noqa: SLF001  (Jinja's own way to say which name is unknown)
    except _NullInText:
        raise RowRejected(
            "template.null", f"a null in the text of {source!r}; write `(name or '')` to allow it"
        ) from None
    except UndefinedError as error:
        raise RowRejected("template.unknown", f"{error} in {source!r}") from None
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        raise RowRejected("template.error", f"{source!r} cannot be computed: {error}") from None
    except (SecurityError, TemplateRuntimeError) as error:
        raise RowRejected("template.error", f"{source!r} cannot be computed: {error}") from None
    return value
