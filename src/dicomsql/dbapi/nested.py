"""Lists, structs, maps and unions of Arrow as Python values, made of what their parts are.

pyarrow's own conversion knows Arrow's types alone: 128 bits are decimals to it, midnight at the end
of a day is that at its beginning, and nanoseconds depend on pandas being there. So the parts are
made by the types that the engine calls them, as columns are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["nested"]

# Makes values of an array and the engine's name for its type.
Convert = Callable[[str, "pa.Array"], list[Any]]

# A piece of the text of a type: a text or a name in quotes, or one character.
_PIECE = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|.", re.DOTALL)
_NAME = re.compile(r"\s*(?:\"(?:[^\"]|\"\")*\"|\w+)\s+")
_HEAD = re.compile(r"(STRUCT|TUPLE|MAP|UNION)\((.*)\)", re.DOTALL)


def nested(kind: str, array: pa.Array, convert: Convert) -> list[Any] | None:
    """The values of an array; None where its type has no parts.

    Args:
        kind: the type as the engine spells it.
        convert: makes the values of the parts.
    """
    if kind.endswith("]"):
        return _lists(kind[: kind.rindex("[")], array, convert)
    found = _HEAD.fullmatch(kind)
    if found is None:
        return None
    parts = list(_parts(found[2]))
    if found[1] in {"STRUCT", "UNION"}:
        parts = [part[len(named[0]) :] if (named := _NAME.match(part)) else part for part in parts]
    if found[1] == "MAP":
        return _maps(parts, array, convert)
    return (_unions if found[1] == "UNION" else _structs)(parts, array, convert)


def _parts(text: str) -> Iterator[str]:
    """What stands between the commas that are in no parentheses."""
    part, depth = "", 0
    for piece in _PIECE.findall(text):
        depth += (piece == "(") - (piece == ")")
        if piece == "," and not depth:
            yield part.strip()
            part = ""
        else:
            part += piece
    yield part.strip()


def _lists(kind: str, array: pa.Array, convert: Convert) -> list[Any]:
    # A list that is NULL has none among them.
    values = iter(convert(kind, array.flatten()))
    lengths = array.value_lengths().to_pylist()
    return [None if n is None else list(islice(values, n)) for n in lengths]


def _maps(parts: list[str], array: pa.Array, convert: Convert) -> list[Any]:
    offsets = array.offsets.to_pylist()
    start, length = offsets[0], offsets[-1] - offsets[0]
    keys = convert(parts[0], array.keys.slice(start, length))
    pairs = list(zip(keys, convert(parts[1], array.items.slice(start, length)), strict=True))
    there = array.is_valid().to_pylist()
    return [
        pairs[first - start : last - start] if is_there else None
        for is_there, first, last in zip(there, offsets[:-1], offsets[1:], strict=True)
    ]


def _structs(parts: list[str], array: pa.Array, convert: Convert) -> list[Any]:
    names = [field.name for field in array.type]
    columns = [convert(kind, part) for kind, part in zip(parts, array.flatten(), strict=True)]
    there = array.is_valid().to_pylist()
    rows = zip(*columns, strict=True)
    return [
        dict(zip(names, row, strict=True)) if is_there else None
        for is_there, row in zip(there, rows, strict=True)
    ]


def _unions(parts: list[str], array: pa.Array, convert: Convert) -> list[Any]:
    import pyarrow as pa

    # What is a piece of another array may say the types of that one's beginning.
    array = array.take(pa.array(range(len(array)))) if array.offset else array
    columns = [convert(kind, array.field(place)) for place, kind in enumerate(parts)]
    return [columns[code][row] for row, code in enumerate(array.type_codes.to_pylist())]
