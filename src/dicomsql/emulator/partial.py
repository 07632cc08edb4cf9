"""Partial responses: the `fields` parameter of Google's APIs, `a,b(c,d),e/f`, `e.f`, `*`."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from dicomsql.emulator.status import invalid, invalid_field

# field -> what is selected below it; an empty tree selects everything
Tree = dict[str, "Tree"]

_TOKEN = re.compile(r"\s*([,()/.]|[^,()/.\s]+)")
# what holds members of any name
_OPEN = frozenset({"labels", "metadata", "response", "details"})


def select(answer: Any, fields: str, known: Collection[str] = ()) -> Any:
    """What the selector leaves of an answer.

    Args:
        known: the fields that there are; any, if none are given.

    Raises:
        StatusError: 400 for a selector with a broken syntax, or of a field that there is not.
    """
    tokens = ["/" if match[1] == "." else match[1] for match in _TOKEN.finditer(fields)]
    tree, position = _tree(tokens, 0)
    if position != len(tokens) or not tree:
        raise invalid("Invalid field mask in the parameter fields: check commas and parentheses.")
    if known:
        _check(tree, known)
    return _prune(answer, tree)


def _check(tree: Tree, known: Collection[str]) -> None:
    for name, below in tree.items():
        if name != "*" and name not in known:
            raise invalid_field(
                "fields",
                f"Request contains an invalid argument: fields: Field '{_shown(name)}' not found.",
            )
        if name not in _OPEN:
            _check(below, known)


def _shown(name: str) -> str:
    return name if re.fullmatch(r"\w{1,80}", name) else "?"


def _tree(tokens: list[str], position: int) -> tuple[Tree, int]:
    tree: Tree = {}
    while position < len(tokens) and tokens[position] not in ",()/":
        node = tree.setdefault(tokens[position], {})
        position += 1
        while position + 1 < len(tokens) and tokens[position] == "/":
            node = node.setdefault(tokens[position + 1], {})
            position += 2
        if position < len(tokens) and tokens[position] == "(":
            below, position = _tree(tokens, position + 1)
            if not below or position >= len(tokens) or tokens[position] != ")":
                return {}, position
            node.update(below)
            position += 1
        if position < len(tokens) and tokens[position] == ",":
            position += 1
        else:
            break
    return tree, position


def _prune(value: Any, tree: Tree) -> Any:
    if not tree:
        return value
    if isinstance(value, list):
        return [_prune(member, tree) for member in value]
    if not isinstance(value, dict):
        return value
    everything = tree.get("*")
    kept = {}
    for key, member in value.items():
        below = tree.get(key, everything)
        if below is not None:
            kept[key] = _prune(member, below)
    return kept
