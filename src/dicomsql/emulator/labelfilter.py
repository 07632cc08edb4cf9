"""The `filter` of dicomStores.list: `labels.key=value`, `labels.key:*`, AND, OR, NOT, ()."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from dicomsql.emulator.status import invalid

Predicate = Callable[[Mapping[str, str]], bool]

_DEPTH_LIMIT = 50  # so that neither reading nor applying a filter exhausts Python's stack

_TOKEN = re.compile(r'\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<mark>[()=:])|(?P<word>[^\s()=:"]+))')


def parse(text: str) -> Predicate:
    """A test on a store's labels. `=` looks for the text within the label's value, as Google's.

    Raises:
        StatusError: 400, with what is wrong.
    """
    parser = _Parser(text)
    predicate = parser.alternatives()
    if parser.left:
        raise invalid(f'Invalid filter: "{parser.left[0][1]}" was not expected.')
    return predicate


class _Parser:
    def __init__(self, text: str) -> None:
        self.left: list[tuple[str, str]] = []
        self._depth = 0
        position, text = 0, text.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise invalid("Invalid filter: a quotation mark is not closed.")
            kind = match.lastgroup or ""
            token = match[kind]
            if kind == "quoted":
                token = re.sub(r"\\(.)", r"\1", token[1:-1])
            self.left.append((kind, token))
            position = match.end()

    def alternatives(self) -> Predicate:
        parts = [self._conjunction()]
        while self._take("word", "OR"):
            parts.append(self._conjunction())
        return lambda labels: any(part(labels) for part in parts)

    def _conjunction(self) -> Predicate:
        parts = [self._factor()]
        while self._take("word", "AND"):
            parts.append(self._factor())
        return lambda labels: all(part(labels) for part in parts)

    def _factor(self) -> Predicate:
        if self._depth == _DEPTH_LIMIT:
            raise invalid(f"Invalid filter: it is nested more than {_DEPTH_LIMIT} levels deep.")
        self._depth += 1
        predicate = self._at_this_depth()
        self._depth -= 1
        return predicate

    def _at_this_depth(self) -> Predicate:
        if self._take("word", "NOT"):
            inner = self._factor()
            return lambda labels: not inner(labels)
        if self._take("mark", "("):
            inner = self.alternatives()
            if not self._take("mark", ")"):
                raise invalid("Invalid filter: a parenthesis is not closed.")
            return inner
        return self._comparison()

    def _comparison(self) -> Predicate:
        kind, field = self._next("a comparison such as labels.key=value")
        if kind != "word" or not re.fullmatch(r"labels\.[\w-]+", field):
            raise invalid(
                f'Invalid filter: "{field}" is no label; only labels.KEY can be filtered.'
            )
        key = field.removeprefix("labels.")
        _, operator = self._next("= or :")
        if operator not in {"=", ":"}:
            raise invalid(f'Invalid filter: "{operator}" is no operator for labels; use = or :*.')
        kind, value = self._next("a value")
        if kind == "mark":
            raise invalid(f'Invalid filter: "{value}" is no value; put it in quotation marks.')
        if operator == ":" and kind == "word" and value == "*":
            return lambda labels: key in labels
        return lambda labels: key in labels and value in labels[key]

    def _take(self, kind: str, token: str) -> bool:
        if self.left and self.left[0] == (kind, token):
            del self.left[0]
            return True
        return False

    def _next(self, wanted: str) -> tuple[str, str]:
        if not self.left:
            raise invalid(f"Invalid filter: it ends where {wanted} should stand.")
        return self.left.pop(0)
