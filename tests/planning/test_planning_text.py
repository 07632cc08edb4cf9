"""The text of a query: operands by their tokens, edits, placeholders, other dialects."""

from __future__ import annotations

import pytest

from dicomsql.errors import LanguageError, ProgrammingError
from dicomsql.language.statements import Fragment
from dicomsql.planning.parameters import check_parameters, count_question_marks
from dicomsql.planning.text import QueryText
from dicomsql.planning.values import parameter_text, quoted


def text_of(sql: str, **options: object) -> QueryText:
    return QueryText(Fragment(sql, 0), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("after", "operand"),
    [
        ("b.y AND c", "b.y"),
        ("split_part(b.y, '/', -1) GROUP BY ALL", "split_part(b.y, '/', -1)"),
        ("'(' || 'or' OR c", "'(' || 'or'"),
        ("CASE WHEN c AND d THEN 1 ELSE 2 END ORDER BY 1", "CASE WHEN c AND d THEN 1 ELSE 2 END"),
        ('b."and" LEFT JOIN t ON true', 'b."and"'),
        ("b[1:2] IS NULL", "b[1:2]"),
    ],
)
def test_an_operand_ends_where_the_next_word_begins(after: str, operand: str) -> None:
    text = text_of(f"SELECT 1 FROM a WHERE x = {after}")
    start, end = text.operand_after(text.text.index("= ") + 1)
    assert text.text[start:end] == operand


@pytest.mark.parametrize(
    ("before", "operand"),
    [
        ("WHERE b.y", "b.y"),
        ("WHERE a AND concat('and', (x))", "concat('and', (x))"),
        ("WHERE (NOT 'x' || ')'", "'x' || ')'"),
    ],
)
def test_an_operand_begins_behind_the_word_before(before: str, operand: str) -> None:
    closing = ")" if before.count("(") % 2 and "NOT" in before else ""
    text = text_of(f"SELECT 1 FROM a {before} = z{closing}")
    start, end = text.operand_before(text.text.index("= z"))
    assert text.text[start:end] == operand


def test_edits_nest_and_a_piece_can_be_rendered() -> None:
    text = text_of("SELECT a FROM b WHERE c")
    text.replace(7, 8, "x")
    text.insert(14, "(")
    assert text.render() == "SELECT x FROM (b WHERE c"
    assert text.render(14, 15) == "(b"
    text.replace(0, 8, text.render(0, 8) + "!")
    assert text.render() == "SELECT x! FROM (b WHERE c"


@pytest.mark.parametrize(
    ("sql", "count"),
    [("?", 1), ("?::UUID, '?::', ?", 2), ("'?' -- ?\n /* ? */ ? \"?\"", 1), ("a", 0), ("'?", 0)],
)
def test_question_marks_in_quotes_and_comments_do_not_count(sql: str, count: int) -> None:
    assert count_question_marks(sql) == count


def test_parameters_are_counted() -> None:
    check_parameters("SELECT ?, $3", [1, 2, 3])
    check_parameters("SELECT :a", {"a": 1})
    with pytest.raises(ProgrammingError, match="2 placeholders, but 1 parameter "):
        check_parameters("SELECT ?, ?", [1])


def test_each_place_of_a_placeholder_has_its_own_name() -> None:
    text = text_of("SELECT :a, $a, :a_2", parameters={"a": 1, "a_2": 2})
    assert text.render() == "SELECT $a, $a_3, $a_2"
    assert text.values == {"a": 1, "a_3": 1, "a_2": 2}
    assert text.values_in("SELECT $a_2") == (("a_2", 2),)


def test_a_placeholder_may_be_cast() -> None:
    assert count_question_marks("SELECT ?::DATE, [?::INTEGER], '?::DATE'") == 2
    cast = text_of("SELECT ?::DATE, ? ::INTEGER", parameters=["2026-01-31", 1])
    assert cast.render() == "SELECT $p1::DATE, $p2 ::INTEGER"
    assert cast.values == {"p1": "2026-01-31", "p2": 1}


def test_a_named_placeholder_takes_a_mapping() -> None:
    with pytest.raises(ProgrammingError, match="mapping"):
        text_of("SELECT $a", parameters=[1])
    with pytest.raises(ProgrammingError, match="at least 2"):
        text_of("SELECT ?, ?", parameters=[1])


def test_another_dialect_is_printed_again() -> None:
    assert text_of("SELECT `a b` FROM t", dialect="bigquery").render() == 'SELECT "a b" FROM t'
    with pytest.raises(ProgrammingError, match="not known"):
        text_of("SELECT 1", dialect="klingon")
    with pytest.raises(LanguageError, match="Not bigquery"):
        text_of("SELECT (", dialect="bigquery")


@pytest.mark.parametrize("sql", ["SELECT 'a", "", "SELECT 1 +", "SELECT FROM WHERE"])
def test_what_is_no_query_is_refused(sql: str) -> None:
    with pytest.raises(LanguageError):
        text_of(sql)


def test_an_error_knows_its_place_in_the_users_own_text() -> None:
    source = "EXPLAIN SELECT ?, nothing FROM t"
    text = QueryText(Fragment(source[8:], 8), source=source, parameters=[1])
    error = text.error("Unknown", text.tree.expressions[1])
    assert (error.line, error.column) == (1, source.index("nothing") + 1)


def test_spelling() -> None:
    assert [quoted(n) for n in ("abc", "Abc", 'a"b')] == ["abc", '"Abc"', '"a""b"']
    assert [parameter_text(v) for v in (True, 5, "x")] == ["true", "5", "x"]
