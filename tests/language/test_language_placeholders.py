"""Placeholders: each place has its escaping, and no value becomes more than a value."""

from __future__ import annotations

import json
import random
from datetime import date
from decimal import Decimal

import duckdb
import pytest

from dicomsql.errors import LanguageError
from dicomsql.language.lexer import lexis, string_value
from dicomsql.language.placeholders import fill

NASTY = "a'b\"c\\d$$e--f/*g\nh{{ i }}"


def filled(text: str, dialect: str = "", **variables: object) -> str:
    return fill(text, variables, lexis(dialect))[0]


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("'{{ x }}'", "it's", "'it''s'"),
        ("'a-{{x}}-{{ x }}'", 5, "'a-5-5'"),
        ("'{{ x }}'", True, "'true'"),
        ("'{{ x }}'", Decimal("1.50"), "'1.50'"),
        ("'{{ x }}'", date(2026, 1, 31), "'2026-01-31'"),
        ("'{{ x }}'", {"a": "it's"}, "'{\"a\": \"it''s\"}'"),
        ("'{{ x }}'", [1, date(2026, 1, 31)], "'[1, \"2026-01-31\"]'"),
        (r"E'\t{{ x }}'", "a\\'b", "E'\t" + r"a\\\'b'"),
        ("$${{ x }}$$", "it's", "$$it's$$"),
        ('"{{ x }}"', 'a"b', '"a""b"'),
        ("`{{ x }}`", "a`b", "`a``b`"),
        ("SELECT {{ x }}", 5, "SELECT 5"),
        ("SELECT {{ x }}", -1.5, "SELECT -1.5"),
        ("FROM {{ x }}", "google.healthcare.studies", "FROM google.healthcare.studies"),
        ("SELECT {{ x }}", True, "SELECT TRUE"),
        ("SELECT {{ x }}", None, "SELECT NULL"),
        ("-- {{ y }}\n/* '{{ z }}' */", 1, "-- {{ y }}\n/* '{{ z }}' */"),
        ("'{{ .values.x }} {{ a b }}'", 1, "'{{ .values.x }} {{ a b }}'"),
        # JSON in a literal
        ("""'{"a": "{{ x }}"}'""", 'it\'s "b"', """'{"a": "it''s \\"b\\""}'"""),
        ("""'{"a": "{{ x }}"}'""", {"b": ["it's"]}, """'{"a": {"b": ["it''s"]}}'"""),
        ("""'{"a": "pre {{ x }}"}'""", [1], """'{"a": "pre [1]"}'"""),
        ("""'{"a": "\\"{{ x }}"}'""", [1], """'{"a": "\\"[1]"}'"""),
        ("""'{"a": {{ x }}, "b": "{{ x }}"}'""", 5, """'{"a": 5, "b": "5"}'"""),
        ("""'[{{ x }}]'""", '{"a": "it\'s"}', """'[{"a": "it''s"}]'"""),
        ("""'[{{ x }}]'""", None, "'[null]'"),
        ("""'[CT] {{ x }}'""", 'a"b', """'[CT] a"b'"""),
    ],
)
def test_values_are_written_for_their_place(text: str, value: object, expected: str) -> None:
    assert filled(text, x=value) == expected


def test_dotted_names_are_looked_up_whole_and_as_paths() -> None:
    assert filled("'{{ a.b }}{{ c.d }}'", **{"a.b": 1, "c": {"d": 2}, "unused": 3}) == "'12'"
    with pytest.raises(LanguageError, match=r"none: a\.b\.c"):
        filled("'{{ a.b.c }}'", a={"b": "text"})


@pytest.mark.parametrize(
    ("text", "value", "reason"),
    [
        ("SELECT {{ x }}", "1; DROP TABLE t", "only a number or a plain name"),
        ("SELECT {{ x }}", "'a'", "only a number or a plain name"),
        ("SELECT {{ x }}", {}, "only a number or a plain name"),
        ("SELECT {{ x }}", float("nan"), "only a number or a plain name"),
        ("SELECT 1 -{{ x }}", -5, "touches what stands beside it"),
        ("SELECT pre_{{ x }}", "fix", "touches what stands beside it"),
        ("$${{ x }}$$", "a$$b", r"ends the literal"),
        ("$$ {{ x }}$$", "a$", r"ends the literal"),
        ("'{{ x }}'", None, "is null"),
        ("'{{ x }}'", b"a", "is a bytes"),
        ("""'{"a": {{ x }}}'""", "b", "is not JSON"),
        ("'{{ x }}'", [object()], "cannot be written as JSON"),
    ],
)
def test_values_that_cannot_stand_there_are_refused(text: str, value: object, reason: str) -> None:
    with pytest.raises(LanguageError, match=reason) as caught:
        filled(text, x=value)
    assert caught.value.position is not None
    assert "DROP" not in str(caught.value)


def test_other_dialects() -> None:
    assert filled("'{{ x }}' \"{{ x }}\"", "bigquery", x="a'\"\\") == r"""'a\'"\\' "a'\"\\" """[:-1]
    assert filled("""'{"a": "{{ x }}"}'""", "mysql", x='"') == """'{"a": "\\\\""}'"""
    assert filled("r'{{ x }}'", "bigquery", x="a\\d") == "r'a\\d'"
    with pytest.raises(LanguageError, match=r"ends an r"):
        filled("r'{{ x }}'", "bigquery", x="it's")


def test_missing_variables_are_named_at_their_place() -> None:
    with pytest.raises(LanguageError) as caught:
        filled("SELECT '{{ a }}',\n '{{ b }}', '{{ a }}', '{{ c }}'", b=1)
    assert "none: a, c." in caught.value.message
    assert (caught.value.line, caught.value.column) == (1, 9)


def test_no_value_leaves_its_literal() -> None:
    chance = random.Random(11)
    letters = [
        "'",
        '"',
        "\\",
        "$",
        "$$",
        "-",
        "--",
        "/*",
        "*/",
        ";",
        "\n",
        "{{",
        "}}",
        "E",
        "a",
        ",",
    ]
    for _ in range(300):
        value = "".join(chance.choices(letters, k=chance.randint(0, 8)))
        for literal in ("'<{{ x }}>'", "E'<{{ x }}>'"):
            rows = duckdb.sql(filled(f"SELECT {literal}", x=value)).fetchall()
            assert rows == [(f"<{value}>",)]
        said = filled("""'{"a": "<{{ x }}>", "b": 1}'""", x=value)
        assert json.loads(string_value(said)) == {"a": f"<{value}>", "b": 1}
        name = duckdb.sql(filled('SELECT 1 AS "<{{ x }}>"', x=value)).columns
        assert name == [f"<{value}>"]


def test_a_nasty_value_comes_back_whole() -> None:
    rows = duckdb.sql(filled("SELECT '{{ x }}', E'{{ x }}', 1", x=NASTY)).fetchall()
    assert rows == [(NASTY, NASTY, 1)]
