"""The defined terms that PS3.3 gives for values of attributes, from a table beside this module."""

from __future__ import annotations

from functools import cache
from pathlib import Path

__all__ = ["terms"]


def terms(keyword: str) -> tuple[tuple[str, str], ...]:
    """(term, what it means) of an attribute; none where PS3.3 leaves its values open."""
    return _table().get(keyword.lower(), ())


@cache
def _table() -> dict[str, tuple[tuple[str, str], ...]]:
    text = Path(__file__).with_name("terms.tsv").read_text(encoding="ascii")
    found: dict[str, tuple[tuple[str, str], ...]] = {}
    for line in text.splitlines():
        keyword, term, meaning = line.split("\t")
        found[keyword.lower()] = (*found.get(keyword.lower(), ()), (term, meaning))
    return found
