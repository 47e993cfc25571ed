"""Templates and expressions in recipes and schemas: the one door to Jinja.

A template is text with `{{ … }}`: it sees the record's columns by name and, for names that are no identifiers,
as `row['text prompt']` or in backticks; `record` tells where it comes from: source, file, line, split (null unless the
split has files of its own). A template that is one expression and nothing else keeps the value's type; any other gives
text. A null or unknown column inside text is an error, never the word "None".

Templates come from the recipe, values from the data; a value is never read as a template. What a value could make
huge (padding, repetition, powers, ranges) has limits, and what would differ from run to run is not there at all.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from typing import TYPE_CHECKING, Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, Undefined, UndefinedError, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pipeline.errors import RowRejected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_LENGTH = 10_000_000
"""Characters or items of a value that a template makes."""
MAX_BITS = 4_096
"""Bits of a number that a template makes."""
MAX_STEPS = 1_000_000
"""Numbers that the ranges of one rendering may give."""
MAX_SOURCE = 100_000
"""Characters of a template."""

# Nothing here is ever tried in two ways (`*+`), and a quote that is not closed goes to the end, where Jinja refuses it:
# otherwise 40 quotes take a minute.
_STRING = r"""'(?:[^'\\]|\\.)*+(?:'|\\?\Z)|"(?:[^"\\]|\\.)*+(?:"|\\?\Z)"""
_QUOTED = rf"{_STRING}|`[^`]*+(?:`|\Z)"
_INSIDE = rf"(?:{_QUOTED}|(?!\}}\}}|\{{\{{).)*+"
_WHOLE_EXPRESSION = re.compile(rf"\s*+\{{\{{(?P<expression>{_INSIDE})\}}\}}\s*+\Z", re.DOTALL)
_CODE_BEGINS = re.compile(r"\{[{%#]")
_CODE = re.compile(
    rf"\{{\{{(?:{_QUOTED}|(?!\}}\}}).)*+\}}\}}|\{{%(?:{_QUOTED}|(?!%\}}).)*+%\}}|(?P<comment>\{{#.*?#\}})", re.DOTALL
)
_STRINGS_OR_BACKTICKS = re.compile(rf"{_STRING}|`(?P<column>[^`]++)`", re.DOTALL)
_WIDE_FORMAT = re.compile(r"\*|[0-9]{5}|\{[^{}]*\{")


class _NullInText(Exception):
    """A null reached the text of a template."""


class _TooMuch(ValueError):
    """A template makes a value beyond the limits."""


def _no_null(value: Any) -> Any:
    if value is None:
        raise _NullInText
    return value if type(value) in _PLAIN else _real(value)


_PLAIN = (str, int, float, bool)
_UNREAL = (Iterator, range, KeysView, ValuesView, ItemsView, complex)


def _real(value: Any) -> Any:
    """Return a value that a text or a column may get; raise for what lives in Python only, or holds such a thing.

    As text, a generator or a method is an address of memory: another one in every run.
    """
    pending, seen = [value], 0
    while pending:
        item = pending.pop()
        if type(item) in _PLAIN:
            continue
        if isinstance(item, list | tuple | dict):
            seen += len(item)
            _expect(seen)
            pending.extend(item.values() if isinstance(item, dict) else item)
        elif isinstance(item, Undefined):
            item._fail_with_undefined_error()  # noqa: SLF001  (Jinja's own way to say which name is unknown)
        elif isinstance(item, _UNREAL) or callable(item):
            raise TypeError("it is no value; `()` calls a method, `|list` makes a list")
    return value


def _short(value: Any) -> Any:
    if isinstance(value, str | bytes | list | tuple | dict) and len(value) > MAX_LENGTH:
        raise _TooMuch(f"it makes more than {MAX_LENGTH:,} characters or items")
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise _TooMuch(f"it makes a number of more than {MAX_BITS:,} bits")
    return value


def _expect(length: int) -> None:
    if length > MAX_LENGTH:
        raise _TooMuch(f"it makes more than {MAX_LENGTH:,} characters or items")


def _format_fits(text: Any, values: Any) -> None:
    if _WIDE_FORMAT.search(str(text)):
        raise _TooMuch("a format has no width of 10,000 or more, and none that comes from the data")
    for value in values:
        _no_null(value)


def _basename(value: Any) -> str:
    return posixpath.basename(str(_no_null(value)).replace("\\", "/"))


def _stem(value: Any) -> str:
    return posixpath.splitext(_basename(value))[0]


def _joined(parts: list[Any]) -> str:
    """Put together what stands on both sides of `~`."""
    return str(_short("".join(str(_no_null(part)) for part in parts)))


_NO_DEFAULT = object()


def _int(value: Any, default: Any = _NO_DEFAULT) -> Any:
    """Read a whole number; Jinja's own filter makes 0 of anything else."""
    try:
        return int(_no_null(value))
    except (ValueError, OverflowError):
        if default is _NO_DEFAULT:
            raise
        return default


def _float(value: Any, default: Any = _NO_DEFAULT) -> Any:
    """Read a number; Jinja's own filter makes 0.0 of anything else."""
    try:
        return float(_no_null(value))
    except (ValueError, OverflowError):
        if default is _NO_DEFAULT:
            raise
        return default


_SET = {"1", "true", "yes", 1}
_UNSET = {"0", "false", "no", "", 0, None}


def _flags(row: Mapping[str, Any], *columns: str) -> list[str]:
    """Return those of some columns that are set, as one column a label has them (1 or 0, true or false, yes or no)."""
    found = []
    for column in columns:
        if column not in row:
            raise LookupError(f"there is no column {column!r}")
        value = row[column]
        plain = value.strip().lower() if isinstance(value, str) else value
        if not isinstance(plain, str | int | float | None) or plain not in _SET | _UNSET:
            raise ValueError(f"{column} is {str(value)[:50]!r}, which is neither set nor unset")
        if plain in _SET:
            found.append(column)
    return found


def _text_filter(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a filter of texts refuse null, instead of working on the word "None"."""

    def refusing(value: Any, *arguments: Any, **named: Any) -> Any:
        return function(_no_null(value), *arguments, **named)

    return refusing


class _Generator(CodeGenerator):
    """Jinja's translation to Python, where `~` refuses null as `{{ }}` does."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802  (Jinja's name)
        """Translate `a ~ b`."""
        self.write("environment.joined([")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("])")

    def visit_Name(self, node: nodes.Name, frame: Frame) -> None:  # noqa: N802  (Jinja's name)
        """Translate a name; a few mean something of Jinja's own, which is no column."""
        if node.name in _JINJAS_OWN and node.ctx == "load":
            self.fail(f"write row['{node.name}'] for the column {node.name!r}", node.lineno)
        super().visit_Name(node, frame)


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja with limits: a template may look at a record, and nothing else."""

    code_generator_class = _Generator
    joined = staticmethod(_joined)
    intercepted_binops = frozenset({"+", "*", "**", "%", "-", "/", "//"})
    """All of them, so that none is computed while the template is compiled."""

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, finalize=_no_null, autoescape=False, keep_trailing_newline=True)
        self.optimized = False
        self.steps_left = MAX_STEPS
        self.globals = {"range": self.range_of}
        for name in _TEXT_FILTERS:
            self.filters[name] = _text_filter(self.filters[name])
        for name in _LEFT_OUT:
            del self.filters[name]
        self.filters.update(
            basename=_basename,
            stem=_stem,
            flags=_flags,
            split=lambda value, separator=None: str(_no_null(value)).split(separator),
            join=self._join,
            replace=lambda value, old, new, count=-1: self._replace(str(_no_null(value)), old, new, count),
            format=self._format,
            int=_int,
            float=_float,
            tojson=lambda value: json.dumps(value, ensure_ascii=False),
        )

    def range_of(self, *arguments: int) -> range:
        """Return a range, as long as all of them together stay below the limit."""
        result = range(*arguments)
        self.steps_left -= len(result)
        if self.steps_left < 0:
            raise _TooMuch(f"its ranges give more than {MAX_STEPS:,} numbers")
        return result

    def call_binop(self, context: Any, operator_: str, left: Any, right: Any) -> Any:
        """Compute `left operator right` within the limits."""
        if operator_ == "%" and isinstance(left, str):
            values = right if isinstance(right, tuple) else (right,)
            _format_fits(left, right.values() if isinstance(right, dict) else values)
        elif operator_ == "*":
            for text, times in ((left, right), (right, left)):
                if isinstance(text, str | bytes | list | tuple) and isinstance(times, int):
                    _expect(len(text) * max(times, 0))
        elif operator_ == "**" and isinstance(left, int) and isinstance(right, int):
            if left.bit_length() * abs(right) > MAX_BITS:
                raise _TooMuch(f"it makes a number of more than {MAX_BITS:,} bits")
        elif operator_ == "+" and isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple):
            _expect(len(left) + len(right))
        return _short(super().call_binop(context, operator_, left, right))

    def call(self, context: Any, function: Any, /, *arguments: Any, **named: Any) -> Any:
        """Call a method of a value within the limits."""
        text, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
        if isinstance(text, str):
            if name in ("center", "ljust", "rjust", "zfill", "expandtabs"):
                numbers = [number for number in (*arguments, *named.values()) if isinstance(number, int)]
                _expect(max([0, *numbers]) * (text.count("\t") if name == "expandtabs" else 1))
            elif name == "replace":
                return self._replace(text, *arguments, **named)
            elif name == "join":
                (values,) = arguments
                return self._join(values, text)
            elif name in ("translate", "encode"):
                raise _TooMuch(f"`{name}` is not allowed")
        return _short(super().call(context, function, *arguments, **named))

    def wrap_str_format(self, value: Any) -> Any:
        """Let `'…'.format` refuse wide formats and nulls too."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None
        text = value.__self__

        def fitting(*arguments: Any, **named: Any) -> Any:
            _format_fits(text, [*arguments, *named.values()])
            return wrapped(*arguments, **named)

        return fitting

    @staticmethod
    def _replace(text: str, old: Any, new: Any, count: int = -1) -> str:
        if not isinstance(old, str) or not isinstance(new, str):
            raise TypeError("replace takes two texts")
        _expect(len(text) + len(new) * (len(text) + 1 if not old else text.count(old)))
        return text.replace(old, new, count)

    @staticmethod
    def _join(values: Any, separator: Any = "", attribute: Any = None) -> str:
        if attribute is not None:
            raise TypeError("join takes no attribute here; use map(attribute=…) before it")
        texts = [str(_no_null(value)) for value in values]
        _expect(sum(map(len, texts)) + len(str(separator)) * len(texts))
        return str(separator).join(texts)

    @staticmethod
    def _format(text: Any, *arguments: Any, **named: Any) -> str:
        if arguments and named:
            raise TypeError("format takes values or named values, not both")
        _format_fits(_no_null(text), [*arguments, *named.values()])
        return str(text) % (named or arguments)


_TEXT_FILTERS = (
    *("string", "upper", "lower", "title", "capitalize", "trim", "striptags", "escape", "e", "forceescape", "safe"),
    *("truncate", "urlencode", "wordcount"),
)
_JINJAS_OWN = ("self", "super", "caller")
_LEFT_OUT = (
    "random",  # differs from run to run
    "batch",  # these make values of any size
    "center",
    "indent",
    "slice",
    "wordwrap",
    "pprint",  # these are for pages
    "urlize",
    "xmlattr",
)
_ENVIRONMENT = _Environment()


def is_template(text: str) -> bool:
    """Tell whether a text is a template rather than a column name."""
    return "{{" in text or "{%" in text


def _without_backticks(expression: str) -> str:
    """Write `` `text prompt` `` as `row['text prompt']`, outside of quoted strings."""

    def replace(match: re.Match[str]) -> str:
        column = match.group("column")
        return match.group(0) if column is None else f"row[{column!r}]"

    return _STRINGS_OR_BACKTICKS.sub(replace, expression)


def _code_without_backticks(text: str) -> str:
    """Write backticks as `row[…]` in all code of a template, up to code that does not end, which Jinja refuses."""
    parts, at = [], 0
    while (begin := _CODE_BEGINS.search(text, at)) and (code := _CODE.match(text, begin.start())):
        parts += [text[at : code.start()], code["comment"] or _without_backticks(code[0])]
        at = code.end()
    return "".join([*parts, text[at:]])


class Template:
    """A compiled template; call `render` with a record."""

    def __init__(self, source: str) -> None:
        """Compile; raises ValueError with Jinja's message when the template is wrong."""
        self.source = source
        whole = _WHOLE_EXPRESSION.match(source)
        if whole:
            self._evaluate, self.columns = _compiled("template", source, whole["expression"], lone=True)
        else:
            self._evaluate, self.columns = _compiled("template", source, source, lone=False)

    def render(self, row: Mapping[str, Any], **extra: Any) -> Any:
        """Return the template's value for a record; raises RowRejected when a column is unknown, null or unfit."""
        return _run(self._evaluate, self.source, row, extra)


class Expression:
    """A compiled expression such as ``stars > 10 and `text prompt` != ''``."""

    def __init__(self, source: str) -> None:
        """Compile; raises ValueError with Jinja's message when the expression is wrong."""
        self.source = source
        self._evaluate, self.columns = _compiled("expression", source, source, lone=True)

    def evaluate(self, row: Mapping[str, Any], **extra: Any) -> Any:
        """Return the expression's value for a record; raises RowRejected when it cannot be computed."""
        return _run(self._evaluate, self.source, row, extra)


def _compiled(what: str, source: str, code: str, *, lone: bool) -> tuple[Callable[..., Any], frozenset[str]]:
    """Compile an expression, or the text of a template; returns how to evaluate it, and the columns it looks at."""
    quoted = repr(source) if len(source) <= 200 else f"{source[:198]!r}…"
    if len(source) > MAX_SOURCE:
        raise ValueError(f"the {what} {quoted} is longer than {MAX_SOURCE:,} characters")
    try:
        if lone:
            code = _without_backticks(code)
            evaluate: Callable[..., Any] = _ENVIRONMENT.compile_expression(code, undefined_to_none=False)
            return evaluate, _columns(f"{{{{ {code} }}}}")
        code = _code_without_backticks(code)
        return _ENVIRONMENT.from_string(code).render, _columns(code)
    except TemplateSyntaxError as error:
        raise ValueError(f"the {what} {quoted} is wrong: {error.message}") from None
    except (SyntaxError, RecursionError, MemoryError, TypeError, ValueError, AssertionError) as error:
        # Python's own limits, met by what Jinja makes of the template, e.g. 100 brackets in each other.
        raise ValueError(f"the {what} {quoted} is wrong: {str(error) or type(error).__name__}") from None


def _columns(template: str) -> frozenset[str]:
    """Return the columns a template may look at: plain names, and `row['name']`."""
    tree = _ENVIRONMENT.parse(template)
    names = {node.name for node in tree.find_all(nodes.Name) if node.ctx == "load"}
    stored = {node.name for node in tree.find_all(nodes.Name) if node.ctx in ("store", "param")}
    names -= {*stored, "row", "item", "record", "range", "loop"}
    for item in tree.find_all(nodes.Getitem):
        if isinstance(item.node, nodes.Name) and item.node.name == "row" and isinstance(item.arg, nodes.Const):
            names.add(str(item.arg.value))
    for call in tree.find_all(nodes.Filter):
        if call.name == "flags":
            names |= {str(item.value) for item in call.args if isinstance(item, nodes.Const)}
    for attribute in tree.find_all(nodes.Getattr):
        if (
            isinstance(attribute.node, nodes.Name)
            and attribute.node.name == "row"
            and not hasattr(dict, attribute.attr)
        ):
            names.add(attribute.attr)
    return frozenset(names)


def _run(evaluate: Callable[..., Any], source: str, row: Mapping[str, Any], extra: Mapping[str, Any]) -> Any:
    _ENVIRONMENT.steps_left = MAX_STEPS
    try:
        value = evaluate({**row, **extra, "row": row})
        return str(_short(value)) if isinstance(value, str) else _short(_real(value))
    except _NullInText:
        raise RowRejected(
            "template.null", f"a null in the text of {source!r}; write `(name or '')` to allow it"
        ) from None
    except UndefinedError as error:
        raise RowRejected("template.unknown", f"{str(error)[:200]} in {source!r}") from None
    except (
        TypeError,
        ValueError,
        ArithmeticError,
        LookupError,
        AttributeError,
        RuntimeError,
        MemoryError,
        AssertionError,
        TemplateError,
    ) as error:
        raise RowRejected("template.error", f"{source!r} cannot be computed: {str(error)[:200]}") from None
