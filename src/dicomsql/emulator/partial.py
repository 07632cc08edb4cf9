"""Partial responses: the `fields` parameter of Google's APIs, `a,b(c,d),e/f`, `*`."""

from __future__ import annotations

import re
from typing import Any

from dicomsql.emulator.status import invalid

# field -> what is selected below it; an empty tree selects everything
Tree = dict[str, "Tree"]

_TOKEN = re.compile(r"\s*([,()/]|[^,()/\s]+)")


def select(answer: Any, fields: str) -> Any:
    """What the selector leaves of an answer.

    Raises:
        StatusError: 400 for a selector with a broken syntax.
    """
    tokens = [match[1] for match in _TOKEN.finditer(fields)]
    tree, position = _tree(tokens, 0)
    if position != len(tokens) or not tree:
        raise invalid("Invalid field mask in the parameter fields: check commas and parentheses.")
    return _prune(answer, tree)


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
