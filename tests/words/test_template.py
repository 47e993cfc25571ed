"""Templates and expressions: native values, no null in text, and nothing but the record within reach."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.errors import RowRejected
from pipeline.template import Expression, Template, is_template

ROW: dict[str, Any] = {
    "a": "x",
    "n": 5,
    "z": None,
    "text prompt": "hi `q`",
    "it's": 1,
    "words": ["p", "q"],
    "holes": ["p", None],
    "d": {"k": 1},
    "result": 3,
    "self": 4,
    "range": 7,
    "evil": "{{ 7 * 7 }}{% for x in range(9) %}",
    "wide": 10**9,
    "path": "b\\c/d.tar.gz",
    "long": "y" * 1_000,
    "on": " 1",
    "off": "0",
    "yes": True,
    "no": None,
}


def rendered(source: str, **extra: Any) -> Any:
    """Return the value of a template, or the code of the reason why there is none."""
    try:
        return Template(source).render(ROW, **extra)
    except RowRejected as error:
        return error.code


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("{{ n }}", 5),
        (" {{ n + 1 }}\n", 6),
        ("{{ n > 3 }}", True),
        ("{{ z }}", None),
        ("{{ words }}", ["p", "q"]),
        ("{{ d }}", {"k": 1}),
        ("{{ d.k }}", 1),
        ("{{ '}}' }}", "}}"),
        ("{{ result + n }}", 8),
        ("{{ range }}", 7),
        ("{{ row['self'] }}", 4),
        ("{{ row.a }}", "x"),
        ("{{ 'a,b'.split(',')[1] }}", "b"),
        ("{{ words|map('upper')|list }}", ["P", "Q"]),
        ("{{ n }}{{ n }}", "55"),
        ("n{{ n }}", "n5"),
        ("{% for w in words %}{{ w }};{% endfor %}", "p;q;"),
        ("{{ a }}\r\n", "x"),
    ],
)
def test_a_lone_expression_keeps_its_type(source: str, value: Any) -> None:
    """One expression and nothing else gives the value itself; anything around it makes a text."""
    assert rendered(source) == value
    assert type(rendered(source)) is type(value)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("{{ `text prompt` }}", "hi `q`"),
        ("{{ row['text prompt'] }}", "hi `q`"),
        ("<{{ `text prompt`|upper }}>", "<HI `Q`>"),
        ("{{ '`text prompt`' }}", "`text prompt`"),
        ("x`a`{{ a }}`b`", "x`a`x`b`"),
        ("{{ `it's` }}", 1),
        ("x{{ '}}' ~ `text prompt` }}y", "x}}hi `q`y"),
        ("{# `no column` #}{{ a }}", "x"),
        ("{% if `text prompt` %}y{% endif %}", "y"),
    ],
)
def test_backticks(source: str, value: Any) -> None:
    """Backticks name a column that is no identifier, in code only and never inside quotes."""
    assert rendered(source) == value


@pytest.mark.parametrize(
    "source",
    [
        "a{{ z }}",
        "{{ a ~ z }}",
        "{{ z|upper }}",
        "{{ z|string }}",
        "{{ z|basename }}",
        "{{ '%s' % z }}",
        "{{ '%s-%s' % (a, z) }}",
        "{{ '%s'|format(z) }}",
        "{{ '{}'.format(z) }}",
        "{{ holes|join(',') }}",
        "{{ ','.join(holes) }}",
        "{{ z|split }}",
        "{{ z|replace('a', 'b') }}",
        "{{ z|int }}",
        "{{ z|trim }}",
        "{% filter upper %}{{ z }}{% endfilter %}",
    ],
)
def test_null_is_never_the_word_none(source: str) -> None:
    """A null on its way into a text is an error, through `~`, filters, formats and joins too."""
    assert rendered(source) == "template.null"
    assert rendered("{{ z or '' }}!") == "!"


@pytest.mark.parametrize(
    "source",
    [
        "{{ nope }}",
        "x{{ nope }}",
        "{{ nope.a }}",
        "{{ row.nope }}",
        "{{ d.nope }}",
        "{{ row['nope'] }}",
        "{{ `no pe` }}",
        "{{ nope|upper }}",
        "{{ nope ~ a }}",
        "{{ dict }}",
        "{{ lipsum() }}",
        "{{ cycler }}",
    ],
)
def test_an_unknown_column(source: str) -> None:
    """A column that the record does not have is an error that names it, and Jinja's own globals are not there."""
    assert rendered(source) == "template.unknown"


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "x{{ ''.__class__ }}",
        "{{ ''['__class__'] }}",
        "{{ ''|attr('__class__') }}",
        "{{ row.__init__.__globals__ }}",
        "{{ '{0.__class__}'.format(a) }}",
        "{{ '{0.__class__.__mro__}'.format(a) ~ 'x' }}",
        "{{ words.append(1) }}",
        "{{ d.update({'k': 2}) }}",
        "{{ d.clear() }}",
        "{{ words.__len__() }}",
        "{{ a.encode() }}",
        "{{ (a.upper).__self__ }}",
        "{% set x = d.pop('k') %}{{ x }}",
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{% extends 'x' %}",
        "{{ a.upper }}",
        "{{ words|map('upper') }}",
    ],
)
def test_nothing_but_the_record_is_within_reach(source: str) -> None:
    """Attribute escapes, changes of the record, other files and things that are no values are errors."""
    before = repr(ROW)
    assert rendered(source) in ("template.error", "template.unknown")
    assert repr(ROW) == before


DOUBLED = "{% set s = 'a' * 1000000 %}" + "{% set s = s ~ s %}" * 40 + "{{ s }}"


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "source",
    [
        "{{ 'a' * 10**9 }}",
        "{{ 10**9 * 'a' }}",
        "{{ [1] * 10**9 }}",
        "{{ words * wide }}",
        "{{ 10**10**10 * 10**9999 }}",
        "{{ n ** wide }}",
        "{{ 2**4000 * 2**4000 }}",
        "{{ range(10**9)|list }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 'a'.center(wide) }}",
        "{{ 'a'.zfill(width=wide) }}",
        "{{ 'a'.rjust(wide) }}",
        "{{ ('\t' * 1000).expandtabs(wide) }}",
        "{{ long.replace('', long * 100) }}",
        "{{ long|replace('', long * 100) }}",
        "{{ (long * 1000).join([a] * 1000) }}",
        "{{ [a] * 1000|join(long * 1000) }}",
        "{{ '%999999999d' % n }}",
        "{{ '%*d' % (wide, n) }}",
        "{{ '%999999999d'|format(n) }}",
        "{{ '{:999999999}'.format(a) }}",
        "{{ '{:>{}}'.format(a, wide) }}",
        "{{ '{:{w}}'.format_map({'': 1, 'w': wide}) }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        DOUBLED,
        DOUBLED.replace("~", "+"),
        "{{ 1 / 0 }}",
        "{{ 'a' + 1 }}",
    ],
)
def test_what_runs_away_is_stopped(source: str) -> None:
    """Repetition, powers, padding, nested ranges, doubling and endless recursion are errors, at once."""
    with pytest.raises(RowRejected) as caught:
        Template(source).render({name: value for name, value in ROW.items() if name != "range"})
    assert caught.value.code == "template.error"


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "source",
    ["{{ range(10**9)|list }}", "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"],
)
def test_ranges_have_an_end(source: str) -> None:
    """All ranges of one rendering give a million numbers at the most, and the next rendering starts afresh."""
    for _ in range(3):
        with pytest.raises(RowRejected) as caught:
            Template(source).render({})
        assert caught.value.code == "template.error"
    assert Template("{{ range(3)|list }}").render({}) == [0, 1, 2]


def test_values_are_never_templates() -> None:
    """A value that looks like a template is text."""
    assert rendered("{{ evil }}") == ROW["evil"]
    assert rendered("a{{ evil }}{{ evil ~ evil }}") == "a" + ROW["evil"] * 3


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("{{ path|basename }}", "d.tar.gz"),
        ("{{ path|stem }}", "d.tar"),
        ("{{ row|flags('on', 'off', 'yes', 'no') }}", ["on", "yes"]),
        ("{{ row|flags('on', 'words') }}", "template.error"),
        ("{{ row|flags('nowhere') }}", "template.error"),
        ("{{ '%05d' % n }}", "00005"),
        ("{{ '{:05d}'.format(n) }}", "00005"),
        ("{{ '%s-%s'|format(a, n) }}", "x-5"),
        ("{{ words|join('+') }}", "p+q"),
        ("{{ 'a b'|split }}", ["a", "b"]),
        ("{{ '12'|int + 1 }}", 13),
        ("{{ 'x'|int }}", "template.error"),
        ("{{ 'x'|int(0) }}", 0),
        ("{{ '1.5'|float }}", 1.5),
        ("{{ '1.5'|int }}", "template.error"),
        ("{{ nope|default('d') }}", "d"),
        ("{{ words|tojson }}", '["p", "q"]'),
        ("{{ '<é>'|tojson }}", '"<é>"'),
    ],
)
def test_filters(source: str, value: Any) -> None:
    """Filters give plain values, and one that cannot read its input says so instead of making a zero."""
    assert rendered(source) == value
    assert type(rendered(source)) is type(value)


@pytest.mark.parametrize(
    ("source", "columns"),
    [
        ("{{ a }}", {"a"}),
        ("{{ a.b['c'] }}", {"a"}),
        ("{{ `text prompt` ~ row['x y'] ~ row.z }}", {"text prompt", "x y", "z"}),
        ("{{ row.items() }}", set()),
        ("{% for w in words %}{{ w }}{{ loop.index }}{% endfor %}", {"words"}),
        ("{% set q = a %}{{ q }}", {"a"}),
        ("{{ item }}{{ true }}{{ none }}{{ range(3) }}", set()),
        ("{{ a if b else c }}", {"a", "b", "c"}),
        ("{% raw %}{{ a }}{% endraw %}", set()),
        ("plain", set()),
    ],
)
def test_columns_are_found(source: str, columns: set[str]) -> None:
    """The columns a template may look at are known before a row is seen."""
    assert Template(source).columns == columns


@pytest.mark.parametrize(
    "source",
    [
        "{{",
        "{{ }}",
        "{{ a",
        "{{ a b }}",
        "{{ a|nofilter }}",
        "{{ a|random }}",
        "{% if %}",
        "{% do 1 %}",
        "{{ `` }}",
        "{{ `x }}",
        "{{ self }}",
        "{{ " + "(" * 500 + "n" + ")" * 500 + " }}",
        "{{ " + "n+" * 20_000 + "n }}",
        "{{ " + "[" * 150 + "]" * 150 + " }}",
        "{{ a }}" * 20_000,
        "{% for x in y %}" * 30 + "{% endfor %}" * 30,
    ],
)
def test_what_does_not_compile(source: str) -> None:
    """A template or expression that is wrong, or too much, is a ValueError with a short message."""
    with pytest.raises(
        ValueError, match=r"^the template .* (is wrong: .+|is longer than 100,000 characters)"
    ) as caught:
        Template(source)
    assert len(str(caught.value)) < 400


def test_expressions() -> None:
    """An expression gives its value, and its columns are known."""
    expression = Expression("n < 10 or `text prompt` == ''")
    assert expression.columns == {"n", "text prompt"}
    assert expression.evaluate(ROW) is True
    with pytest.raises(ValueError, match="the expression 'n <' is wrong"):
        Expression("n <")
    with pytest.raises(RowRejected, match="'nope' is undefined"):
        Expression("nope < 3").evaluate(ROW)
    with pytest.raises(RowRejected, match="cannot be computed"):
        Expression("z < 3").evaluate(ROW)


def test_item_is_there_when_it_is_given() -> None:
    """A media path may name the item at hand."""
    assert rendered("images/{{ item }}.jpg", item=3) == "images/3.jpg"


PIECES = st.sampled_from(
    [
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "#}",
        "`",
        "'",
        '"',
        "\\",
        "a",
        "z",
        "n",
        "words",
        "d",
        "row",
        " ",
        ".",
        "|",
        "~",
        "+",
        "*",
        "**",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "if",
        "else",
        "for",
        "in",
        "set",
        "endfor",
        "endif",
        "upper",
        "join",
        "format",
        "__class__",
        "1",
        "9" * 9,
        "%s",
        "not",
        "is",
        "defined",
        "macro",
        "raw",
        "\n",
        "é",
        "\0",
        "\ud800",
    ]
)


@settings(max_examples=400, deadline=None)
@given(
    source=st.lists(PIECES, max_size=14).map("".join)
    | st.lists(PIECES, max_size=14).map(lambda p: "{{ " + " ".join(p) + " }}")
)
@example("{{ ''.__class__ }}")
@example("{{ 9**9**9 }}")
def test_any_template(source: str) -> None:
    """Arbitrary text as a template or expression: ValueError, RowRejected or a value, and never a leak."""
    assert is_template(source) == ("{{" in source or "{%" in source)
    for compiler in (Template, Expression):
        try:
            made = compiler(source)
            value = made.render(ROW) if isinstance(made, Template) else made.evaluate(ROW)
        except (ValueError, RowRejected):
            continue
        assert type(value) in (str, int, float, bool, list, dict, tuple, type(None))


@settings(max_examples=100, deadline=None)
@given(value=st.text(max_size=20))
def test_any_value_comes_through(value: str) -> None:
    """An arbitrary text in a column comes out as it is, alone and in text, whatever the column is called."""
    assert Template("{{ t }}").render({"t": value}) == value
    assert Template("<{{ t }}>").render({"t": value}) == f"<{value}>"
    name = value.replace("`", "'") or " "
    assert Template(f"{{{{ `{name}` }}}}").render({name: 3}) == 3
