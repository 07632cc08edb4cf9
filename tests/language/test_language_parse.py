"""Statements: SQL in, one compact line for each statement out (fixtures), and syntax errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicomsql.errors import LanguageError
from dicomsql.language import statements as st
from dicomsql.language.parse import literal, parse

FIXTURES = Path(__file__).parent / "fixtures"
VARIABLES = {"p": "my-project", "who": "O'Neil", "n": 5, "labels": {"env": "x"}}


def cases(file: str) -> list[tuple[str, str]]:
    """(SQL, expected) of a fixture file: blank lines part the cases, `-->` begins the answer."""
    found = []
    for block in (FIXTURES / file).read_text().split("\n\n"):
        lines = block.strip("\n").splitlines()
        sql = "\n".join(line for line in lines if not line.startswith("-->"))
        answer = "\n".join(line[4:] for line in lines if line.startswith("-->"))
        found.append((sql, answer))
    return found


def compact(statement: st.Statement) -> str:
    parts = [type(statement).__name__]
    if statement.hints:
        parts.append("/*" + ",".join(sorted(statement.hints)) + "*/")
    for name in statement.__dataclass_fields__:
        if name not in {"source", "start", "end", "hints"}:
            value = getattr(statement, name)
            if value not in (None, (), "", False):
                parts.append(f"{name}={shown(value)}")
    return " ".join(parts)


def shown(value: object) -> str:
    match value:
        case st.Fragment():
            return "<" + value.text.replace("\n", "\\n") + ">"
        case st.Name():
            return "|".join(value.parts)
        case st.Assignment():
            return f"{shown(value.target)}:{shown(value.value)}"
        case st.Statement():
            return f"({compact(value)})"
        case tuple():
            return "[" + ", ".join(shown(v) for v in value) + "]"
        case _:
            return str(value)


ALL = [
    pytest.param(sql, answer, id=f"{file.stem}-{i}")
    for file in sorted(FIXTURES.glob("*.sql"))
    if file.stem != "errors"
    for i, (sql, answer) in enumerate(cases(file.name))
]


@pytest.mark.parametrize(("sql", "answer"), ALL)
def test_statements(sql: str, answer: str) -> None:
    found = parse(sql, VARIABLES)
    assert "\n".join(map(compact, found)) == answer


@pytest.mark.parametrize(("sql", "answer"), ALL)
def test_fragments_stand_where_they_say(sql: str, answer: str) -> None:
    for statement in parse(sql, VARIABLES):
        assert statement.source[statement.start : statement.end] == statement.text
        assert not statement.text.endswith(";")
        for name in statement.__dataclass_fields__:
            value = getattr(statement, name)
            if isinstance(value, st.Fragment):
                at = statement.source[value.start : value.start + len(value.text)]
                assert at == value.text


@pytest.mark.parametrize(("sql", "answer"), cases("errors.sql"))
def test_errors_say_what_was_expected_and_where(sql: str, answer: str) -> None:
    with pytest.raises(LanguageError) as caught:
        parse(sql, {})
    error = caught.value
    assert f"{error.line}:{error.column} {error.message}" == answer


def test_no_text_is_no_statement() -> None:
    assert parse("") == parse(" ;; -- nothing;\n/* at all */ ; /*+ hint */ ") == ()


def test_an_error_shows_the_line_and_a_caret() -> None:
    with pytest.raises(LanguageError) as caught:
        parse("SELECT 1;\nDELETE google.healthcare.studies")
    assert str(caught.value).splitlines() == [
        "Expected FROM, but found `google`, at line 2, column 8",
        "  DELETE google.healthcare.studies",
        "         ^",
    ]


def test_an_error_does_not_quote_a_literal() -> None:
    with pytest.raises(LanguageError) as caught:
        parse("EXEC a.b.c.d 'Doe^Jane'")
    assert "Doe" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'it''s'", "it's"),
        (r"E'a\tb\x41\101\q\''", "a\tbAAq'"),
        ("$x$a'b$x$", "a'b"),
        ("17 -- seventeen", 17),
        ("1_000", 1000),
        ("-2.5", -2.5),
        ("+3", 3),
        ("TRUE", True),
        ("false", False),
        ("null", None),
        ("skip", "skip"),
        ('"a""b"', 'a"b'),
    ],
)
def test_literal(text: str, value: object) -> None:
    assert literal(st.Fragment(text, 0)) == value


@pytest.mark.parametrize("text", ["1 + 1", "lower('A')", "- 'a'", "", "?"])
def test_literal_takes_one_value_only(text: str) -> None:
    with pytest.raises(LanguageError, match="one value"):
        literal(st.Fragment(text, 0))
