"""The columns that an attribute gives a table: their names, and their types by VR."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from dicomsql.dicom.tags import lookup

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["AttributeColumn", "Kind", "Part", "column", "kind_of"]


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


@dataclass(frozen=True, slots=True)
class AttributeColumn:
    """A column that is read from DICOM datasets.

    Attributes:
        name: in its usual spelling, whatever case it was asked for in.
        part: what of the attribute it holds.
        tag: eight upper-case hexadecimal digits; empty for the parts of the whole dataset.
        vr: as the dictionary has it; empty for the parts of the whole dataset.
        many: whether it is a list.
    """

    name: str
    part: Part
    tag: str
    vr: str
    many: bool

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


def column(name: str) -> AttributeColumn | None:
    """The column of that name, or None where it names no attribute.

    A name, in any case, is what `tags.lookup` takes, or that with a suffix: `_raw` (the text as the
    server sent it), `_utc` (of a DT: the instant), `_Ideographic`, `_Phonetic` (of a PN: the other
    component groups); or `dataset` (the whole dataset's JSON) or `dropped` (the tags of the
    sequences that the server left out of it).
    """
    lowered = name.lower()
    if lowered in (Part.DATASET, Part.DROPPED):
        return AttributeColumn(lowered, Part(lowered), "", "", many=False)
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
        return AttributeColumn(spelling, part, tag.tag, tag.vr, many=tag.many and not single)
    ending, part, needed = suffix
    if needed not in (None, tag.vr):
        return None
    many = tag.many and part is not Part.RAW
    return AttributeColumn(f"{spelling}_{ending}", part, tag.tag, tag.vr, many=many)


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
