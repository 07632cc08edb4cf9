"""What a query's text says around the cursor: its clauses, its tables, what is compared with what.

All of it is read off the tokens, so that it holds for text that is not finished; what cannot be
told is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dicomsql.language.cursor import QUERY_HEADS
from dicomsql.language.lexer import Kind, Token, string_value, words
from dicomsql.shell.completion.nesting import Group, name_at
from dicomsql.shell.completion.words import KEYWORDS

__all__ = [
    "Comparison",
    "Derived",
    "Table",
    "clause_at",
    "comparisons",
    "derived_before",
    "is_query",
    "segment",
    "tables_of",
]

_CLAUSE_WORDS = words(
    "SELECT FROM JOIN ON USING WHERE GROUP HAVING QUALIFY WINDOW ORDER LIMIT OFFSET INTO SET "
    "VALUES RETURNING WITH UPDATE REPLACE PARTITION"
)
_SET_WORDS = words("UNION EXCEPT INTERSECT")
_MAIN_WORDS = words("SELECT FROM VALUES INSERT UPDATE DELETE REPLACE MERGE PIVOT UNPIVOT TABLE")
_EQUAL = frozenset({"=", "=="})
_VALUES = frozenset({Kind.STRING, Kind.NUMBER, Kind.PARAMETER, Kind.PLACEHOLDER, Kind.QUOTED})


@dataclass(frozen=True, slots=True)
class Derived:
    """A query that is a table: its own columns, and the tables of which it shows all."""

    columns: tuple[str, ...]
    stars: tuple[Table, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table in FROM, INTO or UPDATE.

    Attributes:
        name: its parts; empty for a query in brackets.
        alias: empty for none.
        derived: the query that it is; None for one that has to be looked up.
        is_function: a function gives its rows.
    """

    name: tuple[str, ...]
    alias: str = ""
    derived: Derived | None = None
    is_function: bool = False

    def is_called(self, parts: Sequence[str]) -> bool:
        """Whether a column may have these parts in front of it."""
        lowered = tuple(part.lower() for part in parts)
        if self.alias:
            return lowered == (self.alias.lower(),)
        return bool(lowered) and tuple(p.lower() for p in self.name)[-len(lowered) :] == lowered


@dataclass(frozen=True, slots=True)
class Comparison:
    """A name that is said to be equal to something, or in a list.

    Attributes:
        name: its parts.
        value: the text that it is equal to, the first one of a list; None for anything else.
    """

    name: tuple[str, ...]
    value: str | None


def is_query(group: Group) -> bool:
    """Whether a group in brackets is a query."""
    inner = group
    # ((SELECT ...)) is one as well.
    while (first := inner.group(0)) is not None:
        inner = first
    return inner.word(0) in QUERY_HEADS


def segment(group: Group, index: int) -> tuple[int, int]:
    """The range of a group's items between two UNIONs that an index stands in."""
    start, end = 0, len(group.items)
    for position, word in enumerate(group.words):
        # `SELECT * EXCEPT (...)` is not DuckDB's, so that the word always parts two queries.
        if word in _SET_WORDS and group.operator(position - 1) != ".":
            if position < index:
                start = position + 1
            elif end == len(group.items):
                end = position
    return start, end


def clause_at(group: Group, index: int, start: int = 0) -> tuple[str, int]:
    """The clause that an index stands in, by its first word, and where that stands.

    A join is `JOIN`, and a DELETE's FROM is `FROM`. Nothing and the start where there is none yet.
    """
    for position in range(index - 1, start - 1, -1):
        if group.words[position] in _CLAUSE_WORDS and _begins_clause(group, position, start):
            word = group.words[position]
            return ("UPDATE" if word == "REPLACE" else word), position
    return "", start


def _begins_clause(group: Group, position: int, start: int) -> bool:
    """Whether the word of a clause, at a position, begins one there."""
    word = group.words[position]
    if group.operator(position - 1) == ".":
        return False
    if word == "FROM" and group.word(position - 1) == "DISTINCT":
        return group.word(position - 2) not in {"IS", "NOT"}
    return word != "REPLACE" or position == start


def derived_before(chain: Sequence[tuple[Group, int]]) -> dict[str, Derived]:
    """The names that WITH gives to queries, by their lower-case names, inner ones first."""
    found: dict[str, Derived] = {}
    for group, _ in chain:
        found = {**found, **_with_of(group, found)}
    return found


def tables_of(
    group: Group, start: int, end: int, known: dict[str, Derived] | None = None
) -> list[Table]:
    """The tables of a query in a range of a group's items.

    Args:
        known: names that WITH has given, in lower case.
    """
    named = known or {}
    found: list[Table] = []
    position = start
    expects = False
    in_from = False
    while position < end:
        word = group.words[position]
        if word in _CLAUSE_WORDS and _begins_clause(group, position, start):
            in_from = word in {"FROM", "JOIN"}
            expects = in_from or word in {"INTO", "UPDATE", "REPLACE"}
            position += 1
            continue
        if in_from and group.operators[position] == ",":
            expects = True
        elif expects and word not in {"LATERAL", "ONLY"}:
            table, after = _table(group, position, end, named, calls=in_from)
            found += table
            expects = False
            position = max(after, position + 1)
            continue
        position += 1
    return found


def comparisons(
    group: Group, start: int = 0, end: int | None = None, *, deep: bool = True
) -> Iterator[Comparison]:
    """What is said to be equal in a range of a group's items.

    Args:
        deep: in queries within it, too.
    """
    end = len(group.items) if end is None else end
    for position in range(start, end):
        inner = group.items[position]
        if isinstance(inner, Group):
            if deep or not is_query(inner):
                yield from comparisons(inner, deep=deep)
        elif group.operators[position] in _EQUAL:
            name, _ = name_at(group, position - 1)
            if not name and group.kind(position - 1) is Kind.VARIABLE:
                variable = group.items[position - 1]
                assert isinstance(variable, Token)
                name = (variable.text.lstrip("@"),)
            if name and _is_operand(group, position + 1):
                yield Comparison(name, _text(group, position + 1))
            other = _name_from(group, position + 1)
            if other and _is_operand(group, position - 1):
                yield Comparison(other, _text(group, position - 1))
        elif group.words[position] == "IN":
            listed = group.group(position + 1)
            before = position - 1 - (group.word(position - 1) == "NOT")
            name, _ = name_at(group, before)
            if listed is not None and listed.items and name and before == position - 1:
                yield Comparison(name, _text(listed, 0))


def _is_operand(group: Group, index: int) -> bool:
    if not 0 <= index < len(group.items):
        return False
    if group.group(index) is not None or group.kind(index) in _VALUES:
        return True
    return group.kind(index) is Kind.WORD and group.word(index) not in KEYWORDS


def _text(group: Group, index: int) -> str | None:
    """The text of a string at an index."""
    if group.kind(index) is not Kind.STRING:
        return None
    item = group.items[index]
    assert isinstance(item, Token)
    try:
        return string_value(item.text)
    except (ValueError, IndexError):
        return None


def _name_from(group: Group, index: int) -> tuple[str, ...]:
    """The dotted name that begins at an index."""
    if group.kind(index) not in {Kind.WORD, Kind.QUOTED} or group.word(index) in KEYWORDS:
        return ()
    while group.operator(index + 1) == "." and group.kind(index + 2) in {Kind.WORD, Kind.QUOTED}:
        index += 2
    if group.group(index + 1) is not None:
        return ()
    return name_at(group, index)[0]


def _with_of(group: Group, outer: dict[str, Derived]) -> dict[str, Derived]:
    """What the WITH at the head of a group names."""
    position = next((i for i in range(min(len(group.items), 3)) if group.word(i) == "WITH"), -1)
    if position < 0:
        return {}
    found: dict[str, Derived] = {}
    position += 1 + (group.word(position + 1) == "RECURSIVE")
    while position < len(group.items):
        name, _ = name_at(group, position)
        if len(name) != 1 or group.word(position) in _MAIN_WORDS:
            break
        position += 1
        columns: tuple[str, ...] = ()
        listed = group.group(position)
        if listed is not None and group.word(position + 1) == "AS":
            columns = tuple(n[-1] for i in range(len(listed.items)) if (n := name_at(listed, i)[0]))
            position += 1
        while group.word(position) in {"AS", "NOT", "MATERIALIZED"}:
            position += 1
        query = group.group(position)
        if query is None:
            break
        made = _derived(query, {**outer, **found})
        found[name[0].lower()] = Derived(columns, ()) if columns else made
        position += 1
        if group.operator(position) != ",":
            break
        position += 1
    return found


def _table(
    group: Group, position: int, end: int, named: dict[str, Derived], *, calls: bool
) -> tuple[list[Table], int]:
    """The table at a position, none or several for one in brackets, and what comes behind it."""
    inner = group.group(position)
    if inner is not None:
        if not is_query(inner):
            # A join in brackets.
            inside = Group("(", (Token(Kind.WORD, "FROM", 0), *inner.items))
            return tables_of(inside, 0, len(inside.items), named), position + 1
        alias, after = _alias(group, position + 1, end)
        return [Table((), alias, _derived(inner, named))], after
    if group.kind(position) is Kind.STRING:
        alias, after = _alias(group, position + 1, end)
        return [Table((), alias, None, is_function=True)], after
    if group.kind(position) not in {Kind.WORD, Kind.QUOTED} or group.word(position) in KEYWORDS:
        return [], position
    while group.operator(position + 1) == "." and group.kind(position + 2) in {
        Kind.WORD,
        Kind.QUOTED,
    }:
        position += 2
    name, _ = name_at(group, position)
    position += 1
    # The brackets of INSERT INTO t (columns) call nothing.
    called = calls and position < end and group.group(position) is not None
    if called:
        position += 1
    alias, after = _alias(group, position, end)
    derived = named.get(name[0].lower()) if len(name) == 1 else None
    return [Table(name, alias, derived, is_function=called and derived is None)], after


def _alias(group: Group, position: int, end: int) -> tuple[str, int]:
    if group.word(position) == "AS" and position + 1 < end:
        position += 1
    elif position >= end or group.word(position) in KEYWORDS:
        return "", position
    name, _ = name_at(group, position)
    return (name[-1], position + 1) if name else ("", position)


def _derived(query: Group, named: dict[str, Derived]) -> Derived:
    """What a query in brackets shows."""
    while (first := query.group(0)) is not None:
        query = first
    known = {**named, **_with_of(query, named)}
    start, end = segment(query, 0)
    at = next((i for i in range(start, end) if query.word(i) == "SELECT"), -1)
    tables = tables_of(query, start, end, known)
    if at < 0:
        # FROM alone shows all.
        return Derived((), tuple(tables))
    columns: list[str] = []
    stars: list[Table] = []
    first_item = at + 1 + (query.word(at + 1) == "DISTINCT")
    piece = first_item
    for position in range(first_item, end + 1):
        word = query.word(position)
        ends = position == end or (word in _CLAUSE_WORDS and query.operator(position - 1) != ".")
        if not ends and query.operator(position) != ",":
            continue
        if position > piece:
            last = position - 1
            if query.operator(last) == "*" or query.operator(piece) == "*":
                of = name_at(query, last - 2)[0] if query.operator(last - 1) == "." else ()
                stars += [t for t in tables if not of or t.is_called(of)]
            elif query.word(last) != "END" and (name := name_at(query, last)[0]):
                columns.append(name[-1])
        if ends:
            break
        piece = position + 1
    return Derived(tuple(columns), tuple(stars))
