"""The columns that an attribute gives a table: their names, and their types by VR."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from dicomsql.dicom.tags import lookup

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["AttributeColumn", "Kind", "Part", "column", "kind_of", "private_name"]


class Part(StrEnum):
    """What of an attribute, or of the whole dataset, a column holds."""

    VALUE = "value"
    RAW = "raw"
    UTC = "utc"
    IDEOGRAPHIC = "ideographic"
    PHONETIC = "phonetic"
    DATASET = "dataset"
    DROPPED = "dropped"
    PRIVATE = "private"


class Kind(StrEnum):
    """How the values of a VR are understood."""

    TEXT = "text"
    NAME = "name"
    DATE = "date"
    TIME = "time"
    DATETIME = "datetime"
    INTEGER = "integer"
    UNSIGNED = "unsigned"
    DECIMAL = "decimal"
    FLOAT = "float"
    SEQUENCE = "sequence"
    BULK = "bulk"


# PS3.5 section 6.2. A VR that is not listed (`US or OW`, `OB or OW`) may be bulk data, so it is.
_KINDS = {
    **dict.fromkeys(("AE", "AS", "AT", "CS", "LO", "LT", "SH", "ST", "UC", "UI", "UR"), Kind.TEXT),
    "UT": Kind.TEXT,
    "PN": Kind.NAME,
    "DA": Kind.DATE,
    "TM": Kind.TIME,
    "DT": Kind.DATETIME,
    **dict.fromkeys(("IS", "SL", "SS", "SV", "UL", "US", "US or SS"), Kind.INTEGER),
    "UV": Kind.UNSIGNED,
    "DS": Kind.DECIMAL,
    **dict.fromkeys(("FD", "FL"), Kind.FLOAT),
    "SQ": Kind.SEQUENCE,
}

_SQL_TYPES = {
    Kind.TEXT: "VARCHAR",
    Kind.NAME: "VARCHAR",
    Kind.DATE: "DATE",
    Kind.TIME: "TIME",
    Kind.DATETIME: "TIMESTAMP",
    Kind.INTEGER: "BIGINT",
    Kind.UNSIGNED: "UBIGINT",
    Kind.DECIMAL: "DOUBLE",
    Kind.FLOAT: "DOUBLE",
    Kind.SEQUENCE: "JSON",
    Kind.BULK: "VARCHAR",
}

# An instant is of another type than a time as it was written, so that the engine compares it with
# the server's own times rightly whatever the session's time zone is.
_PART_TYPES = {
    Part.RAW: "VARCHAR",
    Part.UTC: "TIMESTAMPTZ",
    Part.IDEOGRAPHIC: "VARCHAR",
    Part.PHONETIC: "VARCHAR",
    Part.DATASET: "JSON",
    Part.DROPPED: "JSON",
    Part.PRIVATE: "VARCHAR",
}

# The parts that a suffix names, and the VR that an attribute needs for it (None: any).
_SUFFIXES: dict[str, tuple[str, Part, str | None]] = {
    "raw": ("raw", Part.RAW, None),
    "utc": ("utc", Part.UTC, "DT"),
    "ideographic": ("Ideographic", Part.IDEOGRAPHIC, "PN"),
    "phonetic": ("Phonetic", Part.PHONETIC, "PN"),
}


_PRIVATE = "private:"


@dataclass(frozen=True, slots=True)
class AttributeColumn:
    """A column that is read from DICOM datasets.

    Attributes:
        name: in its usual spelling, whatever case it was asked for in.
        part: what of the attribute it holds.
        tag: eight upper-case hexadecimal digits; of a path, its first step. Empty where the whole
            dataset is looked at: for its parts, and for elements of a creator's block.
        vr: as the dictionary has it, of a path that of its last step; empty for the parts of the
            whole dataset.
        many: whether it is a list.
        level: `study`, `series` or `instance`, whose own it is (see `Tag.level`).
        path: the tags of a path's further steps into the sequence `tag`; empty for none.
        creator: of the private block that it is found in; empty for a tag that is fixed.
        element: group and element of an element in such a block: `0019`, `01`.
    """

    name: str
    part: Part
    tag: str
    vr: str
    many: bool
    level: str = "instance"
    path: tuple[str, ...] = ()
    creator: str = ""
    element: tuple[str, str] = ("", "")

    @property
    def kind(self) -> Kind:
        """How the values of its VR are understood."""
        return kind_of(self.vr)

    @property
    def sql_type(self) -> str:
        """The type as DuckDB spells it, such as `DATE` or `DOUBLE[]`."""
        element = _PART_TYPES.get(self.part) or _SQL_TYPES[self.kind]
        return f"{element}[]" if self.many else element

    @property
    def arrow_type(self) -> pa.DataType:
        """The Arrow type that DuckDB reads as `sql_type`."""
        element = _arrow_types()[self.sql_type.removesuffix("[]")]
        if not self.many:
            return element
        import pyarrow as pa

        return pa.list_(element)

    @property
    def leaf(self) -> AttributeColumn:
        """The column that the last step of its path would be by itself."""
        found = column(self.name.rpartition(".")[2])
        assert found is not None
        return found


# A statement's planning asks for the same few names many times.
@lru_cache(maxsize=4096)
def column(name: str) -> AttributeColumn | None:
    """The column of that name, or None where it names no attribute.

    A name, in any case, is what `tags.lookup` takes, or that with a suffix: `_raw` (the text as the
    server sent it), `_utc` (of a DT: the instant), `_Ideographic`, `_Phonetic` (of a PN: the other
    component groups); or `dataset` (the whole dataset's JSON) or `dropped` (the tags of the
    sequences that the server left out of it).

    Names with dots between them are a path, `A.B.C`, of which all but the last are sequences: what
    C is in each of the items, in their order, in one list. Items that lack it add nothing. Of a
    sequence it is the items of all of them, as JSON.

    What `private_name` makes is the element of a private block, as text.
    """
    lowered = name.lower()
    if lowered in (Part.DATASET, Part.DROPPED):
        # Every table has them, so they are of the highest level.
        return AttributeColumn(lowered, Part(lowered), "", "", many=False, level="study")
    if lowered.startswith(_PRIVATE):
        return _private_column(name)
    if "." in name:
        return _path_column(name)
    base, _, ending = name.rpartition("_")
    suffix = _SUFFIXES.get(ending.lower()) if base else None
    tag = lookup(base if suffix else name)
    if tag is None:
        return None
    written = (base if suffix else name).lower()
    if written.startswith("tag_"):
        spelling = f"tag_{tag.tag}"
    elif written == tag.keyword.lower():
        spelling = tag.keyword
    else:
        spelling = tag.tag
    single = kind_of(tag.vr) in (Kind.BULK, Kind.SEQUENCE)
    if suffix is None:
        part = Part.PRIVATE if tag.private and tag.vr == "UN" else Part.VALUE
        many = tag.many and not single
    else:
        ending, part, needed = suffix
        if needed not in (None, tag.vr):
            return None
        many = tag.many and part is not Part.RAW
        spelling = f"{spelling}_{ending}"
    return AttributeColumn(spelling, part, tag.tag, tag.vr, many, tag.level)


def private_name(creator: str, group: str, element: str) -> str:
    """The name of the column that holds an element of a private creator's block.

    Args:
        creator: as the dataset writes it (PS3.5 section 7.8.1); spaces at its end do not count.
        group: four hexadecimal digits, an odd number.
        element: two hexadecimal digits, those that follow the block's.
    """
    return f"{_PRIVATE}{creator}:{group}:{element}"


def _private_column(name: str) -> AttributeColumn | None:
    # A creator may hold any characters, colons too.
    creator, _, place = name[len(_PRIVATE) :].rpartition(":")
    creator, _, group = creator.rpartition(":")
    group, element = group.upper(), place.upper()
    creator = creator.rstrip(" ")
    if not creator or not _hexadecimal(group, 4) or not _hexadecimal(element, 2):
        return None
    if int(group, 16) % 2 == 0:
        return None
    spelling = private_name(creator, group, element)
    return AttributeColumn(
        spelling, Part.PRIVATE, "", "UN", many=False, creator=creator, element=(group, element)
    )


def _hexadecimal(text: str, digits: int) -> bool:
    return len(text) == digits and all(digit in "0123456789ABCDEF" for digit in text)


def _path_column(name: str) -> AttributeColumn | None:
    *parents, last = map(column, name.split("."))
    first, *steps = parents
    if first is None or last is None or not last.tag:
        return None
    tags = []
    for step in parents:
        if step is None or step.part is not Part.VALUE or step.kind is not Kind.SEQUENCE:
            return None
        tags.append(step.tag)
    spelling = ".".join(step.name for step in (first, *steps, last) if step is not None)
    many = last.kind is not Kind.SEQUENCE or last.part is Part.RAW
    path = (*tags[1:], last.tag)
    return replace(last, name=spelling, tag=first.tag, many=many, level=first.level, path=path)


def kind_of(vr: str) -> Kind:
    """How the values of a VR are understood."""
    return _KINDS.get(vr, Kind.BULK)


def _arrow_types() -> dict[str, pa.DataType]:
    import pyarrow as pa

    return {
        "VARCHAR": pa.string(),
        "DATE": pa.date32(),
        "TIME": pa.time64("us"),
        "TIMESTAMP": pa.timestamp("us"),
        "TIMESTAMPTZ": pa.timestamp("us", tz="UTC"),
        "BIGINT": pa.int64(),
        "UBIGINT": pa.uint64(),
        "DOUBLE": pa.float64(),
        "JSON": pa.json_(pa.string()),
    }
