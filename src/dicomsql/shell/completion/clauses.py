"""What may be typed in a query: which clause the cursor stands in, and what has come before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from dicomsql.language.lexer import Kind
from dicomsql.shell.completion.model import Place, Want
from dicomsql.shell.completion.nesting import Group, Spot, name_at
from dicomsql.shell.completion.scope import (
    Comparison,
    clause_at,
    comparisons,
    derived_before,
    segment,
    tables_of,
)
from dicomsql.shell.completion.words import (
    AFTER_JOIN_WORD,
    CLAUSES,
    COMPARISONS,
    FOLLOWERS,
    KEYWORDS,
    OPENERS,
    OPERANDS,
    QUERY_WORDS,
    TYPES,
)

__all__ = ["Clauses", "string_at"]

_EQUALS = frozenset({"=", "==", "<>", "!="})
_ORDERS = frozenset({"<", ">", "<=", ">="})
_LIKES = frozenset({"LIKE", "ILIKE", "GLOB"})
# Functions whose texts are files.
_READERS = ("read_", "parquet_scan", "glob", "sniff_csv", "parquet_metadata")


class Clauses:
    """Reads a statement around the cursor: what queries, and writes by clauses, have.

    Parameters:
        spot: the cursor in the statement.
    """

    def __init__(self, spot: Spot) -> None:
        self._spot = spot
        self._root, self._at = spot.chain[0]
        # Where the statement itself begins, behind EXPLAIN.
        self._first = _behind_explain(self._root, self._at)
        self._verb = self._root.word(self._first)
        # What the query around the cursor compares; asked for where it matters, as it takes long.
        self._said: Callable[[], tuple[Comparison, ...]] = tuple

    def _in_query(self, level: int, start: int | None = None) -> Place | None:
        chain = self._spot.chain
        group, at = chain[level]
        if start is None:
            start = self._first if level == 0 else 0
        begin, end = segment(group, at)
        start = max(start, begin)
        derived = derived_before(chain[: level + 1])
        tables = tables_of(group, start, end, derived)
        for outer, outer_at in reversed(chain[:level]):
            around, ends = segment(outer, outer_at)
            # What stands in FROM or WITH does not see the tables beside it.
            if clause_at(outer, outer_at, around)[0] not in {"FROM", "JOIN", "WITH"}:
                tables += tables_of(outer, around, ends, derived)
        clause, clause_start = clause_at(group, at, start)
        scope = Place(
            (),
            self._spot.typed,
            verb=self._table_verb(clause) if level == 0 else "select",
            tables=tuple(tables),
            derived=derived,
        )
        self._said = lambda: tuple(comparisons(group, start, end, deep=False))
        if len(chain) > level + 1:
            return self._in_brackets(scope, group, clause)
        if at == start:
            words = FOLLOWERS.get(group.word(at - 1), QUERY_WORDS)
            return replace(scope, wants=(Want.WORDS,), words=words)
        return self._in_clause(scope, group, at, clause, clause_start)

    def _in_brackets(self, scope: Place, group: Group, clause: str) -> Place | None:
        """In brackets that are no query: a list of values, a function's arguments, ..."""
        outer, outer_at = self._spot.chain[-2]
        inner, inner_at = self._spot.chain[-1]
        before = outer.word(outer_at - 1)
        quote = self._spot.typed.quote
        if before == "IN":
            subject, _ = name_at(outer, outer_at - 2 - (outer.word(outer_at - 2) == "NOT"))
            if inner_at or quote:
                return self._values(scope, subject)
            return replace(self._values(scope, subject, Want.VALUES, Want.WORDS), words=QUERY_WORDS)
        if before in {"OVER", "WINDOW"}:
            if inner_at == 0:
                return replace(scope, wants=(Want.WORDS,), words=("PARTITION BY", "ORDER BY"))
            of, began = clause_at(inner, inner_at)
            return self._in_clause(scope, inner, inner_at, of or "PARTITION", began)
        if before == "USING":
            return replace(scope, wants=(Want.COLUMNS,))
        if before == "AS" and clause == "WITH":
            return replace(scope, wants=(Want.WORDS,), words=QUERY_WORDS)
        if before == "VALUES" or (clause == "VALUES" and outer is group):
            return self._in_values(scope, group, inner, inner_at)
        if clause == "INTO" and outer is group:
            given = frozenset(
                n[-1].lower() for i in range(len(inner.items)) if (n := name_at(inner, i)[0])
            )
            return replace(scope, wants=(Want.CONDITIONS,), given=given)
        name, _ = name_at(outer, outer_at - 1)
        called = name[-1].lower() if name and before not in KEYWORDS else ""
        if quote == "'" and called.startswith(_READERS):
            return replace(scope, wants=(Want.FILES,))
        if called in {"cast", "try_cast"} and inner.word(inner_at - 1) == "AS":
            return replace(scope, wants=(Want.WORDS,), words=TYPES)
        if before == "FILTER" and inner_at == 0:
            return replace(scope, wants=(Want.WORDS,), words=("WHERE",))
        if not called and outer is group and clause in {"FROM", "JOIN"} and inner.opener == "(":
            if inner_at == 0 and not quote:
                return replace(scope, wants=(Want.WORDS, Want.TABLES), words=QUERY_WORDS)
            return self._in_clause(scope, inner, inner_at, "FROM", 0)
        opens = () if called or inner_at or quote or inner.opener != "(" else QUERY_WORDS
        place = self._in_clause(scope, inner, inner_at, clause, -1)
        if place is not None and opens:
            wants = place.wants if Want.WORDS in place.wants else (*place.wants, Want.WORDS)
            return replace(place, wants=wants, words=(*opens, *place.words))
        return place

    def _in_values(self, scope: Place, group: Group, inner: Group, at: int) -> Place | None:
        """In VALUES (...): the values of the columns that the INSERT lists."""
        listed = next((g for i in range(len(group.items)) if (g := group.group(i))), None)
        number = sum(inner.operator(i) == "," for i in range(at))
        if listed is None or listed is inner or inner.operator(at - 1) not in {",", ""}:
            return replace(scope, wants=(Want.FUNCTIONS,))
        names = [n for i in range(len(listed.items)) if (n := name_at(listed, i)[0])]
        said: dict[str, str] = self._equal()
        column = 0
        for i in range(len(inner.items)):
            if inner.operator(i) == ",":
                column += 1
            elif column < len(names) and (text := string_at(inner, i)) is not None:
                said[names[column][-1].lower()] = text
        subject = names[number] if number < len(names) else ()
        return replace(scope, wants=(Want.VALUES,), subject=subject, equal=said)

    def _in_clause(
        self, scope: Place, group: Group, at: int, clause: str, clause_start: int
    ) -> Place | None:
        word, quote = group.word(at - 1), self._spot.typed.quote
        begins = at - 1 - (word == "BY") == clause_start
        if clause in {"FROM", "JOIN", "INTO", "UPDATE"}:
            return self._in_tables(scope, group, at, clause)
        if word == "AS" or (clause in {"LIMIT", "OFFSET", "WINDOW"} and begins):
            # A name of the person's own, or a number.
            return None
        if clause == "WITH":
            if begins or word == "RECURSIVE" or group.operator(at - 1) == ",":
                return None
            return replace(scope, wants=(Want.WORDS,), words=CLAUSES["WITH"])
        if clause == "USING" and begins:
            return None
        if clause == "VALUES":
            return replace(scope, wants=(Want.WORDS,), words=("(",) if begins else ("RETURNING",))
        if word in AFTER_JOIN_WORD and clause not in {"SELECT"}:
            return replace(scope, wants=(Want.WORDS,), words=AFTER_JOIN_WORD[word])
        if word in FOLLOWERS and not quote:
            return replace(scope, wants=(Want.WORDS,), words=FOLLOWERS[word])
        if group.operator(at - 1) == "::":
            return replace(scope, wants=(Want.WORDS,), words=TYPES)
        compared = _compared(group, at)
        if compared is not None:
            return self._value(scope, compared[0], exact=compared[1])
        if quote == "'":
            return None
        if _expects_operand(group, at):
            return self._operand(scope, group, at, clause, begins=begins)
        return self._after_operand(scope, group, at, clause)

    def _in_tables(self, scope: Place, group: Group, at: int, clause: str) -> Place | None:
        word = group.word(at - 1)
        if self._spot.typed.quote == "'":
            return replace(scope, wants=(Want.FILES,))
        if word in {"FROM", "JOIN", "INTO", "UPDATE", "REPLACE"} or (
            group.operator(at - 1) == "," and clause in {"FROM", "JOIN"}
        ):
            return replace(scope, wants=(Want.TABLES,))
        if word in AFTER_JOIN_WORD:
            return replace(scope, wants=(Want.WORDS,), words=AFTER_JOIN_WORD[word])
        if word in FOLLOWERS:
            return replace(scope, wants=(Want.WORDS,), words=FOLLOWERS[word])
        if word == "AS":
            return None
        if clause == "FROM" and self._verb == "DELETE" and group is self._root:
            clause = "DELETE"
        words = CLAUSES[clause]
        if clause == "INTO":
            words = ("(", *words)
        return replace(scope, wants=(Want.WORDS,), words=words)

    def _value(self, scope: Place, subject: tuple[str, ...], *, exact: bool) -> Place | None:
        """What a column is compared with."""
        quoted = self._spot.typed.quote == "'"
        if quoted:
            return self._values(scope, subject) if exact else None
        values = (Want.VALUES,) if exact else ()
        wants = (*values, Want.COLUMNS, Want.ALIASES, Want.FUNCTIONS, Want.WORDS)
        return replace(self._values(scope, subject, *wants), words=("NULL", *OPERANDS[4:]))

    def _values(self, scope: Place, subject: tuple[str, ...], *wants: Want) -> Place:
        """A place for values of a column, by default for nothing else."""
        wants = wants or (Want.VALUES,)
        return replace(scope, wants=wants, subject=subject, equal=self._equal())

    def _operand(
        self, scope: Place, group: Group, at: int, clause: str, *, begins: bool
    ) -> Place | None:
        columns = Want.CONDITIONS if clause in {"WHERE", "ON"} else Want.COLUMNS
        if clause == "SET" and _is_target(group, at):
            return replace(scope, wants=(Want.COLUMNS,))
        words = OPERANDS
        if begins and clause in OPENERS:
            words = (*OPENERS[clause], *words)
        if group.word(at - 1) == "NOT" and not _expects_operand(group, at - 1):
            return replace(scope, wants=(Want.WORDS,), words=("IN (", "LIKE", "BETWEEN", "ILIKE"))
        wants = (columns, Want.ALIASES, Want.FUNCTIONS, Want.WORDS)
        said = self._said() if columns is Want.CONDITIONS else ()
        return replace(scope, wants=wants, words=words, compared=said)

    def _after_operand(self, scope: Place, group: Group, at: int, clause: str) -> Place | None:
        words = CLAUSES.get(clause, ())
        if _is_in_case(group, at):
            words = (*CLAUSES["CASE"], "AND", "OR")
        if clause in {"WHERE", "ON", "HAVING", "QUALIFY", ""}:
            whole = _is_comparison(group, at)
            words = (*words, *COMPARISONS) if whole else (*COMPARISONS, *words)
        if clause == "WHERE" and group is self._root and self._verb not in {"UPDATE", "DELETE"}:
            words = tuple(w for w in words if w != "RETURNING")
        return replace(scope, wants=(Want.WORDS,), words=words) if words else None

    # -- parts -----------------------------------------------------------------------------------

    def _table_verb(self, clause: str) -> str:
        """What the statement does with the table that is being named."""
        verb = self._main_verb()
        if verb == "DELETE" and clause in {"FROM", ""}:
            return "delete"
        if verb in {"UPDATE", "REPLACE"}:
            return verb.lower()
        if verb == "INSERT" and clause in {"INTO", ""}:
            return "insert"
        return "delete" if verb == "DELETE" else "select"

    def _main_verb(self) -> str:
        if self._verb != "WITH":
            return self._verb
        writes = ("INSERT", "UPDATE", "DELETE", "REPLACE")
        words = self._root.words[self._first : self._at]
        return next((word for word in words if word in writes), "SELECT")

    def _before(self) -> str:
        return self._root.word(self._at - 1)

    def _name_behind(self, word: str) -> tuple[str, ...]:
        """The dotted name behind a word of the statement; the rest of a hyphened part, too."""
        root = self._root
        index = next((i for i in range(len(root.items)) if root.word(i) == word), -1) + 1
        if not index or index >= self._at:
            return ()
        parts: list[str] = []
        while (name := name_at(root, index)[0]) or not parts:
            if not name:
                return ()
            joined = parts and root.operator(index - 1) == "-"
            parts[-1:] = [f"{parts[-1]}-{name[-1]}"] if joined else [*parts[-1:], name[-1]]
            if root.operator(index + 1) not in {".", "-"}:
                break
            index += 2
        return tuple(parts)

    def _equal(self) -> dict[str, str]:
        """What the statement sets equal to a text; what stands first counts."""
        found: dict[str, str] = {}
        for said in comparisons(self._root):
            if said.value is not None:
                found.setdefault(said.name[-1].lower(), said.value)
        return found

    def _place(self, *wants: Want, **parts: object) -> Place:
        return replace(Place(wants, self._spot.typed), **parts)  # type: ignore[arg-type]

    def _words(self, *words: str) -> Place | None:
        if self._spot.typed.quote or self._spot.typed.path:
            return None
        return self._place(Want.WORDS, words=words)

    def _tables(self, verb: str, depth: int = 3) -> Place:
        return self._place(Want.TABLES, verb=verb, depth=depth)


def _behind_explain(root: Group, at: int) -> int:
    if root.word(0) != "EXPLAIN" or at == 0:
        return 0
    first = 1
    while first < at and (root.word(first) == "ANALYZE" or root.group(first) is not None):
        first += 1
    return first


def string_at(group: Group, index: int) -> str | None:
    """The text of the string at an index; None where there is none."""
    if group.kind(index) is not Kind.STRING:
        return None
    item = group.items[index]
    assert not isinstance(item, Group)
    return item.text[1:-1].replace("''", "'") if item.text[0] == "'" else None


def _compared(group: Group, at: int) -> tuple[tuple[str, ...], bool] | None:
    """The column that is compared with what stands here, and whether a whole value is wanted."""
    operator, word = group.operator(at - 1), group.word(at - 1)
    if operator in _EQUALS or operator in _ORDERS:
        return name_at(group, at - 2)[0], operator in _EQUALS
    if word in _LIKES:
        return name_at(group, at - 2 - (group.word(at - 2) == "NOT"))[0], False
    return None


def _is_comparison(group: Group, at: int) -> bool:
    """Whether the operand before the cursor is already compared with something."""
    _, begin = name_at(group, at - 1)
    if group.group(at - 1) is not None and group.word(at - 2) not in KEYWORDS:
        _, begin = name_at(group, at - 2)
    begin = min(begin, at - 1)
    if group.group(at - 1) is not None and group.word(at - 2) == "IN":
        return True
    if group.word(at - 1) in {"NULL", "TRUE", "FALSE"}:
        return True
    said = group.operator(begin - 1)
    return said in _EQUALS | _ORDERS or group.word(begin - 1) in {*_LIKES, "BETWEEN", "EXISTS"}


def _is_target(group: Group, at: int) -> bool:
    """Whether a column to set is named here, and not its value."""
    return group.word(at - 1) == "SET" or group.operator(at - 1) == ","


def _is_in_case(group: Group, at: int) -> bool:
    words = group.words[:at]
    return words.count("CASE") > words.count("END")


def _expects_operand(group: Group, at: int) -> bool:
    """Whether an operand is to come, and not what follows one."""
    if at == 0:
        return True
    operator = group.operator(at - 1)
    if operator == "*":
        # `SELECT *` and `t.*` are whole; `a * ` is not.
        before = group.operator(at - 2)
        star = before in {",", "."} or group.word(at - 2) in {"SELECT", "DISTINCT", "RETURNING"}
        return not star and at > 1
    if operator:
        return True
    word = group.word(at - 1)
    return word in KEYWORDS and word not in {"ALL", "ASC", "DESC", "ANY", "SOME"}
