"""Where the text of a derived table or a CTE stands: the offsets of its parentheses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.planning.tokens import word_of

if TYPE_CHECKING:
    from dicomsql.planning.text import QueryText


def body_place(cte: exp.Expr, text: QueryText) -> tuple[int, int]:
    """The offsets of a CTE's own parentheses: those that follow its AS."""
    _, named = text.span(cte.args["alias"].this)
    after = iter([t for t in text.tokens if t.start >= named])
    next(t for t in after if word_of(t) == "AS")
    opening = next(t for t in after if word_of(t) == "(")
    return text.group_around(opening.end + 1)


def derived_place(node: exp.Expr, text: QueryText) -> tuple[int, int]:
    """The offsets of a derived table's own parentheses: those that its alias follows.

    Raises:
        LookupError: it has none, or they cannot be told.
    """
    alias = node.args.get("alias")
    if alias is None or alias.this is None:
        return _unnamed(node, text)
    named, _ = text.span(alias.this)
    before = [t for t in text.tokens if t.start < named]
    if word_of(before[-1]) == "AS":
        before.pop()
    if word_of(before[-1]) != ")":
        raise LookupError("a derived table without parentheses")
    start, end = text.group_around(before[-1].start)
    first = next(t for t in before if t.start > start)
    if isinstance(node, exp.Values) and word_of(first) not in {"VALUES", "("}:
        raise LookupError("VALUES without parentheses")
    return start, end


def _unnamed(node: exp.Expr, text: QueryText) -> tuple[int, int]:
    """The offsets of the parentheses of a derived table that no alias follows."""
    if not isinstance(node, exp.Subquery):
        raise LookupError("a derived table without an alias")
    within = text.span(node)
    # Those inside that begin and end with the same names have parentheses of their own.
    inner = [
        n
        for n in node.this.find_all(exp.Subquery)
        if isinstance(n.parent, exp.From | exp.Join) and text.span(n) == within
    ]
    found = []
    place = within[0]
    while place >= 0:
        start, end = text.group_around(place)
        before = [t for t in text.tokens if t.start < start]
        in_from = bool(before) and word_of(before[-1]) in {"FROM", "JOIN", ","}
        if in_from and start <= within[0] and within[1] <= end:
            found.append((start, end))
            if len(found) > len(inner):
                return found[-1]
        place = start
    raise LookupError("a derived table without parentheses")
