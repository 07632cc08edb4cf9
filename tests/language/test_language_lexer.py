"""Tokens, held against DuckDB where its rules are meant, and the dialects against sqlglot."""

from __future__ import annotations

import random
import string

import duckdb
import pytest

from dicomsql.errors import LanguageError
from dicomsql.language.lexer import Kind, lex, lexis, string_value


def kinds(text: str, dialect: str = "") -> list[tuple[str, str]]:
    return [(token.kind.name, token.text) for token in lex(text, lexis(dialect))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.b_1$", "WORD:a OPERATOR:. WORD:b_1$"),
        ("größe 東京 e\u0301a", "WORD:größe WORD:東京 WORD:e\u0301a"),
        ("'it''s'E'\\''e''''", "STRING:'it''s' STRING:E'\\'' STRING:e''''"),
        ('"a""b"`c``d`', 'QUOTED:"a""b" QUOTED:`c``d`'),
        ("$$a$b'$$ $t$ $$ $t$", "STRING:$$a$b'$$ STRING:$t$ $$ $t$"),
        ("1 1.5 .5 5. 1e-3 1_000 0x1F 1..2", "1 1.5 .5 5. 1e-3 1_000 0x1F 1 OPERATOR:. .2"),
        ("a--b\nc # d", "WORD:a COMMENT:--b WORD:c OPERATOR:# WORD:d"),
        ("--b\rc", "COMMENT:--b WORD:c"),
        ("/* a /* b */ */ /*+ H */", "COMMENT:/* a /* b */ */ HINT:/*+ H */"),
        ("@a @@b_1 @-c", "VARIABLE:@a VARIABLE:@@b_1 OPERATOR:@ OPERATOR:- WORD:c"),
        ("? $1 $nm =:x", "PARAMETER:? PARAMETER:$1 PARAMETER:$nm OPERATOR:= PARAMETER::x"),
        ("LIMIT :n", "WORD:LIMIT PARAMETER::n"),
        (
            "[:a] x[:b] x[1:b]",
            "OPERATOR:[ PARAMETER::a OPERATOR:] WORD:x OPERATOR:[ OPERATOR:: "
            "WORD:b OPERATOR:] WORD:x OPERATOR:[ 1 OPERATOR:: WORD:b OPERATOR:]",
        ),
        ("a::b", "WORD:a OPERATOR::: WORD:b"),
        (":a /*+ x */ :b", "PARAMETER::a HINT:/*+ x */ OPERATOR:: WORD:b"),
        (
            "{{ a }} {{b.c-d}} {{ 'a'",
            "PLACEHOLDER:{{ a }} PLACEHOLDER:{{b.c-d}} OPERATOR:{ OPERATOR:{ STRING:'a'",
        ),
        ("a->>'b'->c<=d", "WORD:a OPERATOR:->> STRING:'b' OPERATOR:-> WORD:c OPERATOR:<= WORD:d"),
        ("\ufeffa\u00a0b", "WORD:a WORD:b"),
    ],
)
def test_tokens(text: str, expected: str) -> None:
    shown = [said if kind == "NUMBER" else f"{kind}:{said}" for kind, said in kinds(text)]
    assert " ".join(shown) == expected


@pytest.mark.parametrize(
    "literal",
    ["'it''s'", r"E'a\'b''c\x41\101\t\\\q'", "e'\\n'", "$$it's$$", "$a_1$ $$ $a_1$", r"'a\'", "''"],
)
def test_string_values_are_duckdb_s(literal: str) -> None:
    (token,) = lex(literal)
    assert token.kind is Kind.STRING
    assert duckdb.sql(f"SELECT {literal}").fetchall() == [(string_value(literal),)]


def test_backslash_dialects() -> None:
    assert kinds(r"'a\'b' r'c\' `d`", "bigquery") == [
        ("STRING", r"'a\'b'"),
        ("STRING", r"r'c\'"),
        ("QUOTED", "`d`"),
    ]
    assert kinds('"a\\"b" # it\'s', "MySQL") == [("STRING", '"a\\"b"'), ("COMMENT", "# it's")]
    assert kinds('"a"', "postgres") == [("QUOTED", '"a"')]


def test_dialects_are_those_of_sqlglot() -> None:
    from sqlglot.dialects import DIALECTS
    from sqlglot.dialects.dialect import Dialect

    for dialect in DIALECTS:
        name = dialect.lower()
        tokenizer = Dialect.get_or_raise(name).tokenizer_class
        rules = lexis(name)
        assert rules.backslash == ("\\" in tokenizer.STRING_ESCAPES), name
        assert rules.hash_comments == ("#" in tokenizer.COMMENTS), name
        if "'" in tokenizer.QUOTES:  # one of sqlglot's has strings in double quotes alone
            assert rules.double_quoted == ('"' in tokenizer.QUOTES), name


def test_any_text_is_covered_or_refused() -> None:
    pieces = [
        "'",
        '"',
        "`",
        "$",
        "$a$",
        "--",
        "/*",
        "*/",
        "\n",
        "E'",
        "\\",
        "{{ a }}",
        "@",
        ":",
        " ",
    ]
    pieces += [*string.ascii_letters[:6], *string.digits[:3], *"().,;=<>é😀", "\x00", "\u2028"]
    chance = random.Random(7)
    refused = 0
    for _ in range(3000):
        text = "".join(chance.choices(pieces, k=chance.randint(0, 12)))
        try:
            tokens = lex(text)
        except LanguageError as error:
            assert error.position is not None
            assert error.position < len(text)
            refused += 1
            continue
        gaps, done = [], 0
        for token in tokens:
            gaps.append(text[done : token.start])
            assert text[token.start : token.end] == token.text
            done = token.end
        gaps.append(text[done:])
        assert not "".join(gaps).strip()
    assert 0 < refused < 3000


def test_a_long_text_without_an_end_is_refused_quickly() -> None:
    with pytest.raises(LanguageError, match="does not end"):
        lex("'" + "''" * 200_000)
