"""Values that are none of their VR: in which rows a column is NULL where the dataset has more.

That a column has a NULL is told by Arrow at no cost; only then is it looked at whether the datasets
have values there, and the most common answer, that they lack the attribute, is the cheapest.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from msgspec import Raw

from dicomsql.dicom import elements, nested, values
from dicomsql.dicom.columns import AttributeColumn, Kind, Part
from dicomsql.dicom.elements import SEPARATOR, Elements, split_values

__all__ = ["unread_rows"]

# The kinds whose values are parsed; any text is a value of the others.
_PARSED = frozenset(
    {
        *(Kind.DATE, Kind.TIME, Kind.DATETIME),
        *(Kind.INTEGER, Kind.UNSIGNED, Kind.DECIMAL, Kind.FLOAT),
    }
)
# No element with a value is shorter.
_SHORTEST = len(b'{"Value":[0]}')


def unread_rows(column: AttributeColumn, page: Elements, array: pa.Array) -> list[int]:
    """The rows of a page in which a value is NULL in the column because it is none of its VR.

    Args:
        page: the elements of the column's tag, one a row.
        array: what was made of them.
    """
    if column.part is not Part.VALUE or column.kind not in _PARSED or not _nulls(array):
        return []
    found = page.data.split(SEPARATOR)
    rows = [at for at, element in enumerate(found) if len(element) >= _SHORTEST]
    if not array.type.num_fields and len(rows) == page.count - array.null_count:
        return []
    known: dict[bytes, bool] = {}
    for at in rows:
        if found[at] not in known:
            value = array[at]
            known[found[at]] = _holds_nulls(value) and (
                _written(column, Raw(found[at])) > _read(value)
            )
    return [at for at in rows if known[found[at]]]


def _nulls(array: pa.Array) -> int:
    """How many NULLs an array has, those in its lists included."""
    inner = array.values.null_count if isinstance(array, pa.ListArray) else 0
    return int(array.null_count + inner)


def _holds_nulls(value: Any) -> bool:
    if not isinstance(value, pa.ListScalar):
        return not value.is_valid
    return not value.is_valid or value.values.null_count > 0


def _read(value: Any) -> int:
    """How many values a row of the array has."""
    if not isinstance(value, pa.ListScalar):
        return int(value.is_valid)
    return len(value.values) - value.values.null_count if value.is_valid else 0


def _written(column: AttributeColumn, element: Raw) -> int:
    """How many values an element has, of whatever form."""
    leaves = nested.leaves(element, column.path) if column.path else [element]
    texts = [elements.raw_text(leaf) or "" for leaf in leaves]
    return sum(
        bool(part.strip(values.PADDING)) for text in texts for part in split_values(text, column.vr)
    )
