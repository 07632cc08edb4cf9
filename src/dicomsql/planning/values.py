"""How names and values are spelled in the engine's SQL and in a call; shared by the planning."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlglot import exp


def quoted(name: str) -> str:
    """A name as the engine takes it, quoted unless it is plainly a lower-case word."""
    return name if name.isidentifier() and name.islower() else '"' + name.replace('"', '""') + '"'


def parameter_text(value: object) -> str:
    """A value as a request parameter has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def is_near(name: str, known: Iterable[str]) -> bool:
    """Whether a name is so close to a known one that it can be nothing but a slip of it."""
    import difflib

    lowered = name.lower()
    return bool(difflib.get_close_matches(lowered, [k.lower() for k in known], n=1, cutoff=0.85))


def is_number(node: exp.Expr) -> bool:
    """Whether an expression is a number as it stands in the text, with a sign or without."""
    from sqlglot import exp

    if isinstance(node, exp.Neg | exp.Paren):
        return is_number(node.this)
    return isinstance(node, exp.Literal) and not node.is_string
