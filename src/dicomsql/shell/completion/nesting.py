"""The text of one statement as tokens in brackets, finished or not, with the cursor among them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from dicomsql.language.cursor import QUERY_HEADS
from dicomsql.language.lexer import DEPTH, DUCKDB, Kind, Lexis, Token, identifier_value, lex
from dicomsql.shell.pieces import Meta, Sql, pieces, tokens_of

__all__ = ["Group", "Item", "MetaLine", "Spot", "Typed", "name_at", "spot_of"]

_WORD_END = re.compile(r"[\w$]*")
_VARIABLE = re.compile(r"@{1,2}\w*\Z")
# Where there is none of these, all is one statement after the other.
_MAY_BE_META = re.compile(r"\\|^[^\S\r\n]*\.", re.MULTILINE)
_LEFT_OUT = frozenset({Kind.COMMENT, Kind.HINT})
_CLAUSES = ("FROM", "WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "UNION", "JOIN", "ON")
_PAIRS = {"(": ")", "[": "]", "{": "}"}


class Group:
    """What stands between two brackets, or a whole statement, whose opener is empty.

    Attributes:
        items: tokens and groups, in their order.
        words: for each item the plain word that it is, in upper case; empty for all else.
        operators: for each item the operator that it is; empty for all else.
    """

    __slots__ = ("items", "opener", "operators", "words")

    def __init__(self, opener: str, items: Iterable[Item] = ()) -> None:
        self.opener = opener
        self.items: list[Item] = []
        self.words: list[str] = []
        self.operators: list[str] = []
        for item in items:
            self.add(item)

    def add(self, item: Item) -> None:
        """Put something behind all else."""
        word = operator = ""
        if isinstance(item, Token):
            if item.kind is Kind.WORD:
                word = item.text.upper()
            elif item.kind is Kind.OPERATOR:
                operator = item.text
        self.items.append(item)
        self.words.append(word)
        self.operators.append(operator)

    def word(self, index: int) -> str:
        """The plain word at an index, in upper case; empty where there is none."""
        return self.words[index] if 0 <= index < len(self.words) else ""

    def operator(self, index: int) -> str:
        """The operator at an index; empty where there is none."""
        return self.operators[index] if 0 <= index < len(self.operators) else ""

    def kind(self, index: int) -> Kind | None:
        """The kind of the token at an index; None for a group, and beyond the end."""
        if not 0 <= index < len(self.items):
            return None
        item = self.items[index]
        return item.kind if isinstance(item, Token) else None

    def group(self, index: int) -> Group | None:
        """The group at an index, if there is one."""
        item = self.items[index] if 0 <= index < len(self.items) else None
        return item if isinstance(item, Group) else None


Item = Token | Group


@dataclass(frozen=True, slots=True)
class Typed:
    """What stands before the cursor and is to be completed.

    Attributes:
        text: without an opening quote.
        start: its place in the text; that of the quote of an identifier, and behind that of a
            string.
        path: the parts of a dotted name before it.
        quote: `'` in a string, what an identifier was opened with (`"` or a backtick), or nothing.
        mark: what it was opened with indeed: a dialect may have strings in `"`.
        closed: the closing quote stands behind the cursor already.
    """

    text: str
    start: int
    path: tuple[str, ...] = ()
    quote: str = ""
    closed: bool = False
    mark: str = ""


@dataclass(frozen=True, slots=True)
class MetaLine:
    """The cursor stands in a meta-command.

    Attributes:
        name: as typed, without the backslash or dot.
        start: its place in the text.
        arguments: what stands behind it up to the cursor; None where its name is being typed.
        arguments_start: their place.
    """

    name: str
    start: int
    arguments: str | None
    arguments_start: int


@dataclass(frozen=True, slots=True)
class Spot:
    """The cursor in a statement.

    Attributes:
        root: the statement's items, without what is typed.
        chain: the groups around the cursor from the root on, each with the number of its items
            before the cursor.
        typed: what is to be completed.
    """

    root: Group
    chain: tuple[tuple[Group, int], ...]
    typed: Typed


def spot_of(text: str, cursor: int, rules: Lexis = DUCKDB) -> Spot | MetaLine | None:
    """Where the cursor stands; None in comments, and where nothing can be completed."""
    head = text[:cursor]
    if _MAY_BE_META.search(head):
        begin = _beginning(head, rules)
        if isinstance(begin, MetaLine):
            return begin
        tokens, opened = tokens_of(head, rules, begin)
    else:
        tokens, opened = tokens_of(head, rules)
        ended = [n for n, token in enumerate(tokens) if token.text == ";"]
        if ended:
            del tokens[: ended[-1] + 1]
    last = tokens[-1] if tokens else None
    if last is not None and last.kind is Kind.COMMENT and last.end == cursor == opened:
        # Behind a comment in /* */ something may stand.
        if last.text.startswith("/*"):
            return _nested(
                tokens, _behind(text, cursor, Typed("", cursor), rules), Typed("", cursor)
            )
        return None
    if opened < cursor:
        typed = _in_quotes(text, opened, cursor, rules)
        if typed is None:
            return None
        if typed.quote != "'":
            path = _taken_path(tokens)
            typed = replace(typed, path=path)
    else:
        typed = _word(head, tokens)
        if typed is None:
            return None
    return _nested(tokens, _behind(text, cursor, typed, rules), typed)


def name_at(group: Group, index: int) -> tuple[tuple[str, ...], int]:
    """The dotted name whose last part stands at an index, and where it begins; no parts for none.

    The index behind it is returned for none.
    """
    parts: list[str] = []
    while (part := _identifier(group, index)) is not None:
        parts.insert(0, part)
        if group.operator(index - 1) != "." or _identifier(group, index - 2) is None:
            return tuple(parts), index
        index -= 2
    return (), index + 1


def _identifier(group: Group, index: int) -> str | None:
    kind = group.kind(index)
    if kind not in {Kind.WORD, Kind.QUOTED}:
        return None
    item = group.items[index]
    assert isinstance(item, Token)
    return identifier_value(item.text) if kind is Kind.QUOTED else item.text


def _beginning(head: str, rules: Lexis) -> int | MetaLine:
    """Where the statement begins that the cursor stands in."""
    found = pieces(head, rules)
    last = found[-1] if found else None
    if isinstance(last, Sql):
        if not last.ended:
            return last.start
        ending = lex(head, rules, last.start, frozenset({";"}))[-1]
        return ending.end
    if not isinstance(last, Meta) or head[last.start : last.start + 1] not in {"\\", "."}:
        return 0
    line = head[last.start + 1 :]
    if "\n" in line or "\r" in line:
        return last.start + 1 + min(i for i in (line.find("\n"), line.find("\r")) if i >= 0)
    name, blank, arguments = line.partition(" ")
    start = last.start + 1
    if not blank:
        return MetaLine(name, start, None, len(head))
    stripped = arguments.lstrip()
    return MetaLine(name, start, stripped, len(head) - len(stripped))


def _in_quotes(text: str, opened: int, cursor: int, rules: Lexis) -> Typed | None:
    """What is typed in a string or identifier that is open at the cursor."""
    mark = text[opened]
    inside = opened + 1
    if mark in "eE":
        mark, inside = "'", opened + 2
    if mark == '"' and rules.double_quoted:
        mark = "'"
    if mark not in {"'", '"', "`"}:
        return None
    said = text[inside:cursor]
    written = text[inside - 1]
    closed = text[cursor : cursor + 1] == written
    start = inside if mark == "'" else opened
    return Typed(said.replace(written * 2, written), start, (), mark, closed, written)


def _word(head: str, tokens: list[Token]) -> Typed | None:
    """What is typed of a name; it is taken off the tokens."""
    cursor = len(head)
    variable = _VARIABLE.search(head)
    if variable is not None:
        while tokens and tokens[-1].start >= variable.start():
            tokens.pop()
        return Typed(variable.group(), variable.start())
    last = tokens[-1] if tokens else None
    text, start = "", cursor
    if last is not None and last.end == cursor:
        if last.kind is Kind.WORD:
            tokens.pop()
            text, start = last.text, last.start
        elif last.kind is not Kind.OPERATOR and last.kind not in _LEFT_OUT:
            return None
    if [t.text for t in tokens[-2:]] == ["{", "{"]:
        return None
    # Names of methods may have hyphens, and stand behind EXEC and DESCRIBE METHOD alone.
    while (
        len(tokens) > 1
        and tokens[0].is_word("EXEC", "DESCRIBE", "DESC")
        and tokens[-1].is_operator("-")
        and tokens[-1].end == start
        and tokens[-2].kind is Kind.WORD
        and tokens[-2].end == tokens[-1].start
    ):
        text = f"{tokens[-2].text}-{text}"
        start = tokens[-2].start
        del tokens[-2:]
    return Typed(text, start, _taken_path(tokens))


def _taken_path(tokens: list[Token]) -> tuple[str, ...]:
    """The parts of a dotted name that the tokens end with, which are taken off."""
    parts: list[str] = []
    while (
        len(tokens) > 1
        and tokens[-1].is_operator(".")
        and tokens[-2].kind in {Kind.WORD, Kind.QUOTED}
    ):
        name = tokens[-2]
        quoted = name.kind is Kind.QUOTED
        parts.insert(0, identifier_value(name.text) if quoted else name.text)
        del tokens[-2:]
    return tuple(parts)


def _behind(text: str, cursor: int, typed: Typed, rules: Lexis) -> list[Token]:
    """The tokens behind the cursor, without the rest of what it stands in."""
    start = cursor
    if typed.quote:
        line = text[cursor:].partition("\n")[0]
        # Of an even number, each belongs to another text.
        is_closed = line.count(typed.mark) % 2 == 1
        start = cursor + line.index(typed.mark) + 1 if is_closed else cursor
    else:
        rest = _WORD_END.match(text, cursor)
        start = rest.end() if rest is not None else cursor
    tokens, _ = tokens_of(text, rules, start)
    for index, token in enumerate(tokens):
        if token.is_operator(";"):
            return tokens[:index]
    return tokens


def _closings(tokens: Sequence[Token]) -> int:
    """How many brackets tokens close that they do not open."""
    depth = least = 0
    for token in tokens:
        if token.kind is Kind.OPERATOR:
            depth += DEPTH.get(token.text, 0)
            least = min(least, depth)
    return -least


def _nested(head: Sequence[Token], tail: Sequence[Token], typed: Typed) -> Spot:
    root = Group("")
    stack = [root]

    def take(token: Token) -> None:
        if token.kind in _LEFT_OUT:
            return
        if token.kind is Kind.OPERATOR:
            if token.text in _PAIRS:
                group = Group(token.text)
                stack[-1].add(group)
                stack.append(group)
                return
            if len(stack) > 1 and token.text == _PAIRS[stack[-1].opener]:
                stack.pop()
                return
        stack[-1].add(token)

    for token in head:
        take(token)
    chain = []
    for depth, group in enumerate(stack):
        # A group that is open is itself the last item of the one around it.
        chain.append((group, len(group.items) - (depth < len(stack) - 1)))
    # Brackets that nobody has closed yet end where the next clause begins.
    missing = len(stack) - 1 - _closings(tail)
    for token in tail:
        if missing > 0 and token.is_word(*_CLAUSES):
            while missing > 0 and stack[-1].word(0) not in QUERY_HEADS:
                stack.pop()
                missing -= 1
        take(token)
    return Spot(root, tuple(chain), typed)
