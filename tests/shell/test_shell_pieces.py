"""Cutting what was typed into statements and meta-commands."""

from __future__ import annotations

import pytest

from dicomsql.language.lexer import lexis
from dicomsql.shell.pieces import Meta, Sql, is_complete, pieces


def shape(text: str) -> list[str]:
    """The pieces as short texts: `select 1;`, `select 1`, `\\d x`."""
    return [
        f"{p.text}{';' * p.ended}" if isinstance(p, Sql) else f"\\{p.name} {p.arguments}".strip()
        for p in pieces(text)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" ;; ;", []),
        ("select 1;", ["select 1;"]),
        ("select 1; select 2", ["select 1;", "select 2"]),
        ("select ';', \"a;b\" -- ; \n, $$;$$, $x$;$x$ /* ; */;", None),
        ("select '{{ a }};' , {{ b }};", None),
        ("select 'open;\n", ["select 'open;"]),
        ("select $$ open;", ["select $$ open;"]),
        ("select /* open;", ["select /* open;"]),
        ("select 1 \\gx", ["select 1", "\\gx"]),
        ("select 1;\\x on\nselect 2;", ["select 1;", "\\x on", "select 2;"]),
        ("\\echo it's; so\nselect 1;", ["\\echo it's; so", "select 1;"]),
        (".mode csv\n.tables", ["\\mode csv", "\\tables"]),
        ("select 1\n.5;", ["select 1\n.5;"]),
        ("select a -- note\n\\g", ["select a -- note", "\\g"]),
        ("-- a comment\n\\d", ["\\d"]),
        ("\\d+ a.b.c", ["\\d+ a.b.c"]),
        ("\\! ls | wc", ["\\! ls | wc"]),
        ("\\?", ["\\?"]),
        ("\\", ["\\"]),
        ("help", ["\\help"]),
        (" Quit ; ", ["\\quit"]),
        ("select help", ["select help"]),
    ],
)
def test_pieces(text: str, expected: list[str] | None) -> None:
    assert shape(text) == ([text] if expected is None else expected)


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("", True),
        ("  \n", True),
        ("select 1;", True),
        ("select 1;  -- done", True),
        ("select 1", False),
        ("select 1; select", False),
        ("select 'a;", False),
        # Half a DELETE must not run because a comment above its last condition ends in `;`.
        ("DELETE FROM a.b.c WHERE x = 1 -- required;", False),
        ("-- a comment", True),
        (";", True),
        ("/* a comment", False),
        ("select 1 \\g", True),
        ("\\timing", True),
        ("quit", True),
    ],
)
def test_enter_runs_what_is_complete(text: str, complete: bool) -> None:
    assert is_complete(text) is complete


def test_the_dialect_decides_what_a_string_is() -> None:
    text = r"select 'it\'s; so';"
    assert pieces(text, lexis("bigquery")) == (Sql(text[:-1], 0, ended=True),)
    assert not is_complete(text)


def test_places_are_those_in_the_text() -> None:
    text = "  select 1;\n  \\d x"
    sql, meta = pieces(text)
    assert isinstance(sql, Sql)
    assert isinstance(meta, Meta)
    assert text[sql.start :].startswith("select")
    assert text[meta.start :].startswith("\\d")
