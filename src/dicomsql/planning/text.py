"""The user's text with its tokens and tree, and the edits that turn it into the engine's text.

The engine runs what the user wrote: sqlglot's tree is only read, never printed. Each edit replaces
or inserts a few characters at a known place, and any piece of the text can be rendered with the
edits that fall into it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from dicomsql.errors import LanguageError, NotSupportedError, ProgrammingError
from dicomsql.planning.parameters import Parameters, name_placeholders, placeholder_names
from dicomsql.planning.tokens import CLOSERS, OPENERS, word_of

if TYPE_CHECKING:
    from sqlglot import exp
    from sqlglot.tokenizer_core import Token

    from dicomsql.language.statements import Fragment
    from dicomsql.planning.answers import View

_LITERALS = frozenset({"STRING", "NUMBER", "HEREDOC_STRING", "RAW_STRING", "BYTE_STRING"})
_COMPARE = frozenset({"=", "==", "<>", "!=", "<", ">", "<=", ">=", "IS", "ISNULL", "NOTNULL"})
# Words that end an operand of a comparison where they stand outside of parentheses. A clause's
# head (`GROUP BY`) may be one token; its first word counts.
_AFTER_OPERAND = _COMPARE | {
    *("AND", "OR", "THEN", "ELSE", "WHEN", "END", "AS", "ASC", "DESC", "NULLS", "USING", "SAMPLE"),
    *("FROM", "WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "OFFSET", "QUALIFY", "WINDOW"),
    *("RETURNING",),
    *("UNION", "EXCEPT", "INTERSECT", "JOIN", "INNER", "LEFT", "RIGHT", "FULL", "CROSS", "ON"),
    *("NATURAL", "ASOF", "POSITIONAL", "SEMI", "ANTI", "TABLESAMPLE", "FETCH", "LATERAL"),
}
_BEFORE_OPERAND = _COMPARE | {
    *("WHERE", "AND", "OR", "ON", "NOT", "HAVING", "QUALIFY", "SELECT", "DISTINCT", "BY"),
    *("CASE", "WHEN", "THEN", "ELSE"),
}
# Words around an item of a SELECT list.
_BEFORE_ITEM = frozenset({",", "DISTINCT", "ALL"})
_AFTER_ITEM = frozenset(
    {
        *(",", ";", "FROM", "WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "OFFSET", "QUALIFY"),
        *("WINDOW", "UNION", "EXCEPT", "INTERSECT", "USING", "SAMPLE"),
    }
)


@dataclass(frozen=True, slots=True)
class Inset:
    """The text of a view where its name stood.

    Attributes:
        outer: the offset of what stands around it in the place of the name.
        start, end: offsets of the view's own text.
        text: the view's, parsed by itself.
        alias: what its rows are called.
    """

    outer: int
    start: int
    end: int
    text: QueryText
    alias: str


@dataclass(frozen=True, slots=True)
class Splice:
    """A view's text that is to be put in the place of what stands between two offsets."""

    start: int
    end: int
    before: str
    text: QueryText
    after: str
    alias: str


class QueryText:
    """A query's text, tokens and tree, with edits.

    Attributes:
        text: the text as it is parsed: the user's, its placeholders named `$p1`, `$p2`, ...
        values: the placeholders' values by name.
        view: of which this is the text; None for a statement's.
        tree: sqlglot's syntax tree; its nodes carry offsets into `text`.

    Raises:
        LanguageError: the text is no query.
        ProgrammingError: placeholders and parameters do not fit each other.
    """

    def __init__(
        self,
        fragment: Fragment,
        *,
        source: str = "",
        parameters: Parameters = None,
        before: int = 0,
        dialect: str = "",
        prefix: str = "",
        view: View | None = None,
    ) -> None:
        self.view = view
        self._insets: list[Inset] = []
        self._source = source or fragment.text
        self._start = fragment.start if source else 0
        # What each rewriting before the parse moved: (offset in its result, growth).
        self._shifts: list[list[tuple[int, int]]] = []
        original = _transpiled(fragment.text, dialect) if dialect else fragment.text
        self.regenerated = original != fragment.text
        named = name_placeholders(original, parameters, before)
        self.values = named.values
        self._shifts.append(named.shifts)
        # A fragment that is no whole query is parsed behind words that make it one.
        self.offset = len(prefix)
        body = self._private_columns(named.text)
        self.text = prefix + body
        self.tokens = self._tokenize(self.text)
        self.tree = self._parse()
        self._edits: list[tuple[int, int, str]] = []
        self._hidden: list[tuple[int, int]] = []

    # -- edits -----------------------------------------------------------------------------------

    def replace(self, start: int, end: int, text: str) -> None:
        """Put `text` in the place of the characters from `start` up to, not including, `end`."""
        self._edits.append((start, end, text))

    def insert(self, place: int, text: str) -> None:
        self.replace(place, place, text)

    def splice(self, splices: Sequence[Splice]) -> None:
        """Put views' texts in the place of their names, before anything is edited.

        Args:
            splices: in the order of their places.
        """
        pieces: list[str] = []
        shifts: list[tuple[int, int]] = []
        at = shift = 0
        for each in splices:
            inner = each.text.text
            start = each.start + shift + len(each.before)
            self._insets.append(
                Inset(each.start + shift, start, start + len(inner), each.text, each.alias)
            )
            new = f"{each.before}{inner}{each.after}"
            pieces += [self.text[at : each.start], new]
            at = each.end
            grown = len(new) - (each.end - each.start)
            shifts.append((each.start + shift + len(new) - 1 - self.offset, grown))
            shift += grown
        self._shifts.append(shifts)
        self.text = "".join([*pieces, self.text[at:]])
        self.tokens = self._tokenize(self.text)
        self.tree = self._parse()

    def render(self, start: int | None = None, end: int | None = None) -> str:
        """The text between two offsets with the edits that lie in it."""
        start = self.offset if start is None else start
        end = len(self.text) if end is None else end
        parts = []
        at = start
        for first, last, new in sorted(self._edits, key=lambda e: (e[0], -e[1])):
            # An edit of a whole range was rendered with the smaller ones inside it.
            if first < max(start, at) or last > end:
                continue
            parts.append(self.text[at:first])
            parts.append(new)
            at = last
        parts.append(self.text[at:end])
        return "".join(parts)

    def values_in(self, sql: str) -> tuple[tuple[str, object], ...]:
        """The placeholders' values that a rendered text uses, since the engine takes no others."""
        if not self.values:
            return ()
        used = placeholder_names(sql)
        return tuple((k, v) for k, v in self.values.items() if k in used)

    # -- places ----------------------------------------------------------------------------------

    def span(self, node: exp.Expr) -> tuple[int, int]:
        """Offsets of the first and behind the last name or literal inside a node."""
        places = [(n.meta["start"], n.meta["end"]) for n in node.walk() if "start" in n.meta]
        if not places:
            raise LookupError("no place is known of this expression")
        return min(p[0] for p in places), max(p[1] for p in places) + 1

    def operand_after(self, place: int) -> tuple[int, int]:
        """The operand that begins at the first token at or behind `place`, to its end."""
        depth = cases = 0
        start = end = -1
        for token in self.tokens:
            if token.start < place:
                continue
            word = word_of(token)
            ends = word in CLOSERS or word in {",", ";"} or word in _AFTER_OPERAND
            if start >= 0 and depth == 0 and cases == 0 and ends:
                break
            if start < 0:
                start = token.start
            depth += (word in OPENERS) - (word in CLOSERS)
            if depth < 0:
                break
            cases += (word == "CASE") - (word == "END" and cases > 0)
            end = token.end + 1
        return start, end

    def item_around(self, start: int, end: int) -> tuple[int, int]:
        """The item of a SELECT list that holds the names and literals between two offsets."""
        depth = 0
        head = first = -1
        for token in reversed([t for t in self.tokens if t.end < start]):
            word = word_of(token)
            depth = max(0, depth + (word in CLOSERS) - (word in OPENERS))
            if word == "SELECT" and depth == 0:
                head = token.end
                break
        last = end
        for token in self.tokens:
            if token.start <= head:
                continue
            word = word_of(token)
            depth += (word in OPENERS) - (word in CLOSERS)
            outside = depth < 0 or (depth == 0 and word in _AFTER_ITEM)
            if outside and token.start >= end:
                break
            if depth == 0 and token.end < start and word in _BEFORE_ITEM:
                first = -1
                continue
            first = token.start if first < 0 else first
            last = token.end + 1
        return first, last

    def operand_before(self, place: int) -> tuple[int, int]:
        """The operand that ends right before `place`, from its beginning."""
        depth = 0
        start = end = -1
        for token in reversed(self.tokens):
            if token.end >= place:
                continue
            word = word_of(token)
            ends = word in OPENERS or word in {",", ";"} or word in _BEFORE_OPERAND
            if end >= 0 and depth == 0 and ends:
                break
            if end < 0:
                end = token.end + 1
            depth += (word in CLOSERS) - (word in OPENERS)
            if depth < 0:
                break
            start = token.start
        return start, end

    def token_between(self, start: int, end: int, texts: frozenset[str]) -> Token | None:
        """The first token with one of these texts between two offsets."""
        for token in self.tokens:
            if start <= token.start < end and word_of(token) in texts:
                return token
        return None

    def group_around(self, place: int) -> tuple[int, int]:
        """Offsets of the innermost parentheses that enclose `place`, themselves included."""
        open_places: list[int] = []
        start = -1
        for token in self.tokens:
            if token.start >= place and start < 0:
                if not open_places:
                    raise LookupError("no parentheses enclose this place")
                start = open_places[-1]
            if word_of(token) == "(":
                open_places.append(token.start)
            elif word_of(token) == ")":
                opened = open_places.pop() if open_places else -1
                if start >= 0 and opened == start:
                    return start, token.end + 1
        raise LookupError("no parentheses enclose this place")

    def view_at(self, node: exp.Expr) -> View | None:
        """The view in whose text a node stands, the innermost; None for the statement's own."""
        try:
            place, _ = self.span(node)
        except LookupError:
            return self.view
        text = self
        while (inset := text._inset_at(place)) is not None:
            place, text = place - inset.start, inset.text
        return text.view

    def _inset_at(self, place: int) -> Inset | None:
        """The view's text that an offset lies in; None for the statement's own."""
        return next((i for i in self._insets if i.start <= place < i.end), None)

    def inset_of(self, node: exp.Expr) -> Inset | None:
        """The view that a derived table was made of; None for one that the user wrote."""
        try:
            start, _ = self.span(node)
        except LookupError:
            return None
        text: QueryText = self
        while True:
            for inset in text._insets:
                view = inset.text.view
                # Of one whose columns are listed around its text, the list is what stands first.
                end = inset.start if view is not None and view.shows else inset.end
                if inset.outer <= start < end and inset.alias == node.alias:
                    return inset
            within = text._inset_at(start)
            if within is None:
                return None
            start, text = start - within.start, within.text

    def hide(self, node: exp.Expr) -> None:
        """Keep a piece of the text out of errors: it may be a value that lacks its quotes."""
        start, end = self.span(node)
        self._hide(start, end)

    def _hide(self, start: int, end: int) -> None:
        if (inset := self._inset_at(start)) is not None:
            inset.text._hide(start - inset.start, end - inset.start)
        elif not self.regenerated:  # errors show nothing of such a text
            self._hidden.append((self.original(start), self.original(end)))

    def error(self, message: str, node: exp.Expr | None = None) -> LanguageError:
        """A language error with the node's place in the user's own text."""
        position = None
        if node is not None:
            try:
                return self._error_at(message, self.span(node)[0])
            except LookupError:
                position = None if self.regenerated else self._start
        return self._shown_error(message, position)

    def _error_at(self, message: str, place: int) -> LanguageError:
        if (inset := self._inset_at(place)) is not None:
            return inset.text._error_at(message, place - inset.start)
        return self._shown_error(message, None if self.regenerated else self.original(place))

    def _shown_error(self, message: str, position: int | None) -> LanguageError:
        if self.view is not None:
            message = f"In the view {self.view.name}: {message}"
        shown = self._source
        for start, end in self._hidden:
            hidden = "".join(c if c == "\n" else "·" for c in shown[start:end])
            shown = shown[:start] + hidden + shown[end:]
        return LanguageError(message, text=shown, position=position)

    # -- parsing ---------------------------------------------------------------------------------

    def original(self, place: int) -> int:
        """An offset into `text` as an offset into the whole source."""
        place -= self.offset
        for shifts in reversed(self._shifts):
            place -= sum(grown for at, grown in shifts if place > at)
        return self._start + max(0, place)

    def _private_columns(self, text: str) -> str:
        """Put the name of its column in the place of each `private('CREATOR', '0019', '01')`."""
        if "private" not in text.lower():
            return text
        from dicomsql.planning.private import HOW, private_calls

        pieces: list[str] = []
        at = shift = 0
        shifts: list[tuple[int, int]] = []
        self._shifts.append(shifts)
        written: dict[str, str] = {}
        for call in private_calls(text, self._tokenize(text), self.values):
            if not call.column:
                place = self.original(call.start + shift + self.offset)
                position = None if self.regenerated else place
                raise LanguageError(HOW, text=self._source, position=position)
            if written.setdefault(call.column.lower(), call.column) != call.column:
                raise NotSupportedError(
                    "Two private creators whose names differ in case alone cannot stand in one "
                    "query: the engine does not tell their columns apart."
                )
            new = f"{call.qualifier}." if call.qualifier else ""
            new += '"' + call.column.replace('"', '""') + '"'
            pieces += [text[at : call.start], new]
            at = call.end
            grown = len(new) - (call.end - call.start)
            shifts.append((call.start + shift, grown))
            shift += grown
        pieces.append(text[at:])
        return "".join(pieces)

    def _tokenize(self, text: str) -> list[Token]:
        from sqlglot.errors import TokenError

        try:
            return list(_tokens(text))
        except TokenError:
            raise LanguageError(
                "The text cannot be read: a quote or a comment is not closed",
                text=self._source,
                position=self._start,
            ) from None

    def _parse(self) -> exp.Expr:
        from sqlglot.errors import ParseError

        try:
            trees = _trees(self.text)
        except ParseError as error:
            raise self._syntax_error(error) from None
        tree = trees[0] if trees else None
        if tree is None:
            raise LanguageError("Nothing to run", text=self._source, position=self._start)
        return tree

    def _is_literal(self, found: str) -> bool:
        """Whether a piece of the text is a literal, whose value errors do not repeat."""
        return any(t.text == found and t.token_type.name in _LITERALS for t in self.tokens)

    def _syntax_error(self, error: Exception) -> LanguageError:
        first = (getattr(error, "errors", None) or [{}])[0]
        line, column = first.get("line"), first.get("col")
        description = str(first.get("description") or error).rstrip(".")
        found = str(first.get("highlight") or "")
        message = "Syntax error"
        if found.strip() and found[0] not in "'\"" and not self._is_literal(found):
            message += f" at {found!r}"
        if description.startswith("Required keyword"):
            message += ": an operand is missing"
        elif description and "Unexpected token" not in description and "<" not in description:
            message += f": {description}"
        if "`" in self.text:
            message += " (names in backticks need --dialect bigquery)"
        position = None
        if line and column and not self.regenerated:
            starts = [0]
            for row in self.text.splitlines(keepends=True):
                starts.append(starts[-1] + len(row))
            place = starts[min(line, len(starts)) - 1] + column - max(1, len(found))
            position = self.original(place)
        return LanguageError(message, text=self._source, position=position)


class _Muted(logging.Filter):
    """Keeps sqlglot's warnings back in the threads that ask for it: they quote statements."""

    def __init__(self) -> None:
        super().__init__()
        self.here = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002
        return not getattr(self.here, "depth", 0)


_MUTED = _Muted()


@contextmanager
def _quiet() -> Iterator[None]:
    """While it lasts, this thread's warnings of sqlglot go nowhere."""
    logger = logging.getLogger("sqlglot")
    if _MUTED not in logger.filters:
        logger.addFilter(_MUTED)
    _MUTED.here.depth = getattr(_MUTED.here, "depth", 0) + 1
    try:
        yield
    finally:
        _MUTED.here.depth -= 1


def _transpiled(text: str, dialect: str) -> str:
    """The text in DuckDB's dialect; the only place where SQL is made again from a tree."""
    import sqlglot
    from sqlglot.errors import ParseError, TokenError

    try:
        with _quiet():
            return sqlglot.transpile(text, read=dialect, write="duckdb")[0]
    except ValueError as error:
        raise ProgrammingError(f"The dialect {dialect!r} is not known: {error}") from None
    except (ParseError, TokenError) as error:
        details = (getattr(error, "errors", None) or [{}])[0]
        said = details.get("description") or "the text cannot be read"
        raise LanguageError(f"Not {dialect}: {said}", text=text, position=0) from None


# Tokens and trees are only read; a statement is often asked again with other values.
@lru_cache(maxsize=32)
def _tokens(text: str) -> tuple[Token, ...]:
    import sqlglot

    return tuple(sqlglot.tokenize(text, dialect="duckdb"))


@lru_cache(maxsize=32)
def _trees(text: str) -> tuple[exp.Expr | None, ...]:
    import sqlglot

    with _quiet():
        return tuple(sqlglot.parse(text, dialect="duckdb"))
