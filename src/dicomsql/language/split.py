"""Splits tokens into statements, by `;` and by StackQL's comments that swallow one.

StackQL's pages print `AND x = 'y' -- required;`: there the semicolon stands in the comment. Such
a comment ends the statement where the next token can only start another one; where it could as
well go on, it goes on, because half a statement must never run (a DELETE without its last
condition least of all).
"""

from __future__ import annotations

from collections.abc import Iterator

from dicomsql.language.lexer import DEPTH, Kind, Token, words

# Words that a statement can start with. DESC and FROM are not here: after a comment they are
# taken to continue an ORDER BY or a SELECT.
_STARTS = words(
    "SELECT WITH VALUES INSERT UPDATE REPLACE DELETE EXEC SHOW DESCRIBE USE SET RESET EXPLAIN "
    "CREATE DROP ALTER PRAGMA SUMMARIZE COPY ATTACH DETACH CALL BEGIN COMMIT ROLLBACK"
)

# Words after which something must follow, so that no statement ends there.
_OPEN_ENDED = words(
    "AND OR NOT IN IS LIKE ILIKE SIMILAR BETWEEN AS ON UNION ALL EXCEPT INTERSECT DISTINCT BY FROM "
    "INTO WHERE SET SELECT VALUES HAVING QUALIFY GROUP ORDER JOIN INNER LEFT RIGHT FULL CROSS "
    "OUTER LATERAL ASOF SEMI ANTI NATURAL USING CASE WHEN THEN ELSE RETURNING EXPLAIN ANALYZE "
    "SHOW DESCRIBE EXTENDED METHOD INSERT UPDATE DELETE REPLACE EXEC IGNORE LIMIT OFFSET TO FOR DO "
    "WITH RECURSIVE EXISTS ANY SOME TABLE USE ESCAPE MATERIALIZED CREATE DROP ALTER"
)

# Statements that hold a query after something else, and what such a query can begin with.
_HOLDS_QUERY = words("INSERT WITH CREATE COPY FROM PIVOT UNPIVOT")
_QUERY_WORDS = words("SELECT VALUES WITH")
_QUERY_BODIES = words("SELECT VALUES")

_HOLDS_SET = words("UPDATE REPLACE ALTER")


def split(tokens: list[Token]) -> Iterator[list[Token]]:
    """Give each statement's tokens, hints included, comments and separators left out."""
    current: list[Token] = []
    ended_at: int | None = None  # how much of `current` stood before a comment that ends in `;`
    for token in tokens:
        if token.kind is Kind.COMMENT:
            if token.text.startswith(("--", "#")) and token.text.rstrip().endswith(";"):
                ended_at = len(current)
            continue
        if token.is_operator(";"):
            yield from _unless_empty(current)
            current, ended_at = [], None
            continue
        if ended_at is not None and token.kind is not Kind.HINT:
            if _starts_another(current[:ended_at], token):
                yield from _unless_empty(current[:ended_at])
                current = current[ended_at:]
            ended_at = None
        current.append(token)
    yield from _unless_empty(current)


def _unless_empty(tokens: list[Token]) -> Iterator[list[Token]]:
    if any(token.kind is not Kind.HINT for token in tokens):
        yield tokens


def _starts_another(before: list[Token], token: Token) -> bool:
    """Whether `token` starts a statement of its own after what stands before it."""
    word = token.text.upper()
    if token.kind is not Kind.WORD or word not in _STARTS:
        return False
    before = [t for t in before if t.kind is not Kind.HINT]
    if not before:
        return True
    last = before[-1]
    if last.kind is Kind.VARIABLE or last.is_word(*_OPEN_ENDED):
        return False
    if last.kind is Kind.OPERATOR and last.text not in {")", "]", "}"}:
        return False
    depth = 0
    seen: set[str] = set()
    for t in before:
        if t.kind is Kind.OPERATOR:
            depth += DEPTH.get(t.text, 0)
        elif t.kind is Kind.WORD and depth == 0:
            seen.add(t.text.upper())
    if depth > 0:
        return False
    if word in _QUERY_WORDS and seen & _HOLDS_QUERY and not seen & _QUERY_BODIES:
        return False
    return not (word == "SET" and seen & _HOLDS_SET and "SET" not in seen)
