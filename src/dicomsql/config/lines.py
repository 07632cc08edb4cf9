"""Where things stand in the text of a TOML file, and changes that leave all else as it was.

tomllib tells what a text says and not where. It is asked here for one statement of the text after
the other, so that nothing of TOML's grammar is written down twice.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Keys", "line_of", "with_value", "without"]

Keys = tuple[str, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class _Piece:
    """A statement of TOML: `[a.b]` or `c = 1`.

    Attributes:
        keys: what it defines, all of them with those of its table before.
        first, last: its lines, from 0.
    """

    keys: tuple[Keys, ...]
    first: int
    last: int
    is_table: bool


def line_of(text: str, keys: Keys) -> int:
    """The line, from 1, of what stands under the keys, or of the nearest that holds it.

    Args:
        text: of a TOML file without faults.
    """
    pieces = list(_pieces(text))
    for length in range(len(keys), 0, -1):
        for piece in pieces:
            if keys[:length] in piece.keys:
                return piece.first + 1
    return 1


def with_value(text: str, keys: Keys, value: str | int | float | bool) -> str | None:
    """The text with a value under the keys; None where it cannot be put there line by line."""
    lines = _lines(text)
    pieces = list(_pieces(text))
    there = next((p for p in pieces if not p.is_table and p.keys[-1] == keys), None)
    if there is not None:
        old = "\n".join(lines[there.first : there.last + 1])
        lines[there.first : there.last + 1] = [f"{_left(old)}{_written(value)}{_comment(old)}"]
    else:
        new = f"{_key(keys[-1])} = {_written(value)}"
        at = _end_of_table(pieces, keys[:-1])
        if at is not None:
            lines.insert(at, new)
        elif len(keys) == 1:
            lines[:0] = [new, ""] if lines else [new]
        else:
            head = ".".join(_key(key) for key in keys[:-1])
            lines += [*([""] if lines and lines[-1].strip() else []), f"[{head}]", new]
    return _if_it_says(lines, _changed(tomllib.loads(text), keys, value))


def without(text: str, keys: Keys) -> str | None:
    """The text without what stands under the keys; None where it cannot be taken out by lines."""
    lines = _lines(text)
    out = {
        number
        for piece in _pieces(text)
        if all(key[: len(keys)] == keys or keys[: len(key)] == key for key in piece.keys)
        and piece.keys[-1][: len(keys)] == keys
        for number in range(piece.first, piece.last + 1)
    }
    kept: list[str] = []
    for number, line in enumerate(lines):
        # The empty line behind what went is not wanted beside the one before it.
        if number in out or (not line and number - 1 in out and not (kept and kept[-1])):
            continue
        kept.append(line)
    return _if_it_says(kept, _changed(tomllib.loads(text), keys, None))


def _lines(text: str) -> list[str]:
    """Without their ends, which of TOML's are of two kinds; an empty last one is none."""
    lines = text.replace("\r\n", "\n").split("\n")
    return lines if lines[-1] else lines[:-1]


def _pieces(text: str) -> Iterator[_Piece]:
    lines = _lines(text)
    table: Keys = ()
    at = 0
    while at < len(lines):
        line = lines[at].strip()
        last = at
        if line.startswith("["):
            table = tuple(_paths(tomllib.loads(line)))[-1]
            yield _Piece((table,), at, at, True)
        elif line and not line.startswith("#"):
            found, last = _assignment(lines, at)
            yield _Piece(tuple((*table, *path) for path in _paths(found)), at, last, False)
        at = last + 1


def _assignment(lines: list[str], first: int) -> tuple[Mapping[str, Any], int]:
    """What `key = value` says that begins in a line, and the line that it ends in."""
    for last in range(first, len(lines)):
        try:
            return tomllib.loads("\n".join(lines[first : last + 1])), last
        except tomllib.TOMLDecodeError:
            continue  # a value of several lines
    raise AssertionError("the text was no TOML")


def _paths(node: Mapping[str, Any], above: Keys = ()) -> Iterator[Keys]:
    """All keys of a tree, a parent's before its members'."""
    for key, value in node.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from _paths(value, (*above, key))


def _end_of_table(pieces: list[_Piece], table: Keys) -> int | None:
    """The line after the last of a table's own; None where there is none of it."""
    end = None
    inside = not table
    for piece in pieces:
        if piece.is_table:
            inside = piece.keys == (table,)
        if inside:
            end = piece.last + 1
    return end


def _left(assignment: str) -> str:
    """A key as it is written, with its `=` and the spaces behind that."""
    for found in re.finditer("=", assignment):
        try:
            tomllib.loads(f"{assignment[: found.start()]}= 0")
        except tomllib.TOMLDecodeError:
            continue  # it stands in a key's quotes
        end = found.end()
        while assignment[end : end + 1] in {" ", "\t"}:
            end += 1
        return assignment[:end]
    raise AssertionError("the text was no assignment")


def _comment(assignment: str) -> str:
    """The comment behind an assignment, with what is before it."""
    last = assignment.rpartition("\n")[2]
    says = tomllib.loads(assignment)
    for found in re.finditer(r"\s*#", last):
        cut = assignment[: len(assignment) - len(last) + found.start()]
        try:
            if tomllib.loads(cut) == says:
                return last[found.start() :]
        except tomllib.TOMLDecodeError:
            continue  # it stands in a text
    return ""


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _written(name)


def _written(value: str | int | float | bool) -> str:
    """A value as TOML writes it."""
    import json

    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _changed(content: Any, keys: Keys, value: Any) -> Any:
    """What the file is to say; a value of None takes it out."""
    first, rest = keys[0], keys[1:]
    made = dict(content)
    if rest:
        made[first] = _changed(made.get(first, {}), rest, value)
    elif value is None:
        del made[first]
    else:
        made[first] = value
    return made


def _if_it_says(lines: list[str], due: Any) -> str | None:
    text = "\n".join(lines) + "\n"
    try:
        return text if _filled(tomllib.loads(text)) == _filled(due) else None
    except tomllib.TOMLDecodeError:
        return None


def _filled(node: Any) -> Any:
    """A tree without its empty tables: whether they are there makes no difference."""
    if not isinstance(node, dict):
        return node
    filled = {key: _filled(value) for key, value in node.items()}
    return {key: value for key, value in filled.items() if value != {}}
