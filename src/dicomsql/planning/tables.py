"""A resource as a table: its columns, wherever they come from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from dicomsql.dicom.columns import Kind, Part, column
from dicomsql.dicom.tags import lookup, meant
from dicomsql.errors import PlanningError, nearest
from dicomsql.planning.read_plan import ColumnKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicomsql.catalog.model import Attribute, Method, Resource
    from dicomsql.dicom.columns import AttributeColumn

# From the highest level to the lowest; a lower one's datasets carry the higher ones' attributes.
LEVELS = ("study", "series", "instance")

# What tells the rows of a level apart, together with those of the levels above.
UIDS = {
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
    "instance": "SOPInstanceUID",
}

# The column that shows a row's picture, where the document says how one is got.
PREVIEW = "preview"

# What is written like a tag, but for the number of its digits.
_OTHER_DIGITS = re.compile(r"tag_?[0-9a-f]+", re.IGNORECASE)

_SQL_TYPES = {"string": "VARCHAR", "integer": "BIGINT", "number": "DOUBLE", "boolean": "BOOLEAN"}


class Origin(StrEnum):
    """Which answers hold the value of a column of a DICOM table."""

    ROW = "row"  # those of the table's own method
    METADATA = "metadata"  # the whole datasets alone
    COUNTED = "counted"  # none: it is counted from the rows of a level below
    RENDERED = "rendered"  # none: the server makes a picture of each row


@dataclass(frozen=True, slots=True)
class Counted:
    """An attribute that says something of the rows of a level below (PS3.4 section C.6.1.1.2).

    Attributes:
        of: the level that it is an attribute of.
        rows: the level whose rows are counted.
        member: the attribute whose distinct values are listed; empty for the number of rows.
    """

    of: str
    rows: str
    member: str = ""


COUNTED = {
    "ModalitiesInStudy": Counted("study", "series", "Modality"),
    "SOPClassesInStudy": Counted("study", "instance", "SOPClassUID"),
    "NumberOfStudyRelatedSeries": Counted("study", "series"),
    "NumberOfStudyRelatedInstances": Counted("study", "instance"),
    "NumberOfSeriesRelatedInstances": Counted("series", "instance"),
}

# What only a search makes (PS3.4 section C.6.1.1, PS3.18 section 10.6.3): no dataset holds it.
_ANSWERS_ONLY = frozenset(
    {
        *COUNTED,
        *("NumberOfPatientRelatedStudies", "NumberOfPatientRelatedSeries"),
        *("NumberOfPatientRelatedInstances", "InstanceAvailability", "RetrieveAETitle"),
        *("RetrieveURL", "RetrieveURI", "AvailableTransferSyntaxUID", "QueryRetrieveLevel"),
    }
)
# Groups of messages and of files' own heads, which are no part of a dataset (PS3.10 section 7.1).
_NOT_OF_DATASETS = ("0000", "0002")


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column that a query may name.

    Attributes:
        name: the document's or the standard's spelling.
        kind: where its value comes from.
        type: SQL type.
        attribute: what of the dataset it holds, for DICOM attributes.
        parameter: the request parameter that a predicate on it binds; empty where there is none.
    """

    name: str
    kind: ColumnKind
    type: str
    attribute: AttributeColumn | None = None
    parameter: str = ""


class Table:
    """What a resource offers to SELECT (or to the condition of a write).

    Attributes:
        local: its rows are files of this machine: they are few beside a server's, and none of its
            values is that of another table's column by its name alone.
    """

    local = False

    def __init__(self, resource: Resource, methods: tuple[Method, ...]) -> None:
        self.resource = resource
        self.methods = methods
        self.dicom = resource.dicom

    @property
    def level(self) -> int:
        """0 for studies, 1 for series, 2 for instances; -1 where rows are no DICOM datasets."""
        return LEVELS.index(self.dicom.level) if self.dicom is not None else -1

    @cached_property
    def _parameters(self) -> dict[str, TableColumn]:
        found: dict[str, TableColumn] = {}
        # A UID is an identifier, by whichever of its two names it goes.
        means = {p: column(kw) for p, kw in self.dicom.identity} if self.dicom is not None else {}
        for method in self.methods:
            for p in method.parameters:
                kind = "VARCHAR" if p.location == "path" else _SQL_TYPES.get(p.type, "VARCHAR")
                entry = TableColumn(
                    p.name, ColumnKind.PARAMETER, kind, means.get(p.name), parameter=p.name
                )
                found.setdefault(p.name.lower(), entry)
        # Parameters of narrower methods, and ids that rows carry in their names, are columns of
        # every row, whichever method fetched it.
        for name in self._names_in_rows():
            entry = TableColumn(
                name, ColumnKind.PARAMETER, "VARCHAR", means.get(name), parameter=name
            )
            found.setdefault(name.lower(), entry)
        return found

    def _names_in_rows(self) -> list[str]:
        names = [param for param, _ in self.dicom.identity] if self.dicom is not None else []
        for method in self.methods:
            names += re.findall(r"\{\+?(\w+)\}", method.row_name_template)
        return names

    @cached_property
    def _members(self) -> dict[str, TableColumn]:
        found: dict[str, TableColumn] = {}
        if self.dicom is not None:
            return found
        for method in self.methods:
            for c in method.columns:
                parameter = self._parameters.get(c.name.lower())
                entry = TableColumn(
                    c.name,
                    ColumnKind.ROW,
                    str(c.type),
                    parameter=parameter.name if parameter is not None else "",
                )
                found.setdefault(c.name.lower(), entry)
        for method in self.methods:
            for c in method.page_columns:
                found.setdefault(c.name.lower(), TableColumn(c.name, ColumnKind.ROW, str(c.type)))
        return found

    @cached_property
    def attributes(self) -> dict[str, Attribute]:
        """The document's attributes by lower-case keyword."""
        listed = self.dicom.attributes if self.dicom is not None else ()
        return {a.keyword.lower(): a for a in listed}

    def column(self, name: str) -> TableColumn | None:
        """The column of that name in any case, or None."""
        lowered = name.lower()
        found = self._members.get(lowered) or self._parameters.get(lowered)
        if found is not None or self.dicom is None:
            return found
        if lowered == PREVIEW and self.dicom.preview is not None:
            return TableColumn(PREVIEW, ColumnKind.PICTURE, "BLOB")
        attribute = column(name)
        if attribute is None:
            return None
        if not self._offers(attribute):
            return None
        identity = {kw.lower(): param for param, kw in self.dicom.identity}
        parameter = identity.get(attribute.name.lower(), "")
        return TableColumn(
            attribute.name, ColumnKind.ATTRIBUTE, attribute.sql_type, attribute, parameter
        )

    def _offers(self, attribute: AttributeColumn) -> bool:
        assert self.dicom is not None
        if attribute.part in {Part.DATASET, Part.DROPPED} or self.dicom.source != "search":
            return True
        if attribute.part is Part.PRIVATE or _is_private(attribute):
            return True  # of which level it is, nobody but its creator knows
        keyword = self.keyword(attribute)
        listed = keyword.lower() in self.attributes
        if not listed and not self._has_level(attribute):
            return False
        if self._returned(keyword) is Origin.COUNTED:
            return keyword in COUNTED and attribute.part is Part.VALUE
        if not listed and attribute.tag.startswith(_NOT_OF_DATASETS):
            return False
        return listed or keyword not in _ANSWERS_ONLY or self.dicom.include_any

    def _has_level(self, attribute: AttributeColumn) -> bool:
        return LEVELS.index(attribute.level) <= self.level

    def origin(self, name: str) -> Origin:
        """Which answers hold the value of one of this table's columns."""
        dicom, found = self.dicom, self.column(name)
        if dicom is None or dicom.source != "search" or found is None:
            return Origin.ROW
        if found.kind is ColumnKind.PICTURE:
            return Origin.RENDERED
        attribute = found.attribute
        if found.kind is not ColumnKind.ATTRIBUTE or attribute is None:
            return Origin.ROW
        if attribute.part is Part.DATASET or attribute.part is Part.DROPPED:
            # A study's or a series' dataset is what the search gives of it.
            whole = dicom.include_all or dicom.level != "instance"
            return Origin.ROW if whole else Origin.METADATA
        if attribute.part is Part.PRIVATE or _is_private(attribute):
            return Origin.METADATA  # a search cannot be asked for a creator's block
        keywords = [self.keyword(attribute)]
        if attribute.part is Part.UTC:
            keywords.append("TimezoneOffsetFromUTC")
        origins = {self._returned(keyword) for keyword in keywords}
        return next((o for o in (Origin.COUNTED, Origin.METADATA) if o in origins), Origin.ROW)

    def _returned(self, keyword: str) -> Origin:
        assert self.dicom is not None
        listed = self.attributes.get(keyword.lower())
        if listed is None and not self.dicom.include_any:
            return Origin.COUNTED if keyword in COUNTED else Origin.METADATA
        returned = listed.returned if listed is not None else "include"
        return Origin(returned) if returned in {"metadata", "counted"} else Origin.ROW

    def keyword(self, attribute: AttributeColumn) -> str:
        """The keyword of the attribute that a column is a part of, of a path that of its first.

        It is the tag where there is no keyword.
        """
        tag = lookup(attribute.tag) if attribute.tag else None
        return (tag.keyword or tag.tag) if tag is not None else ""

    def caution(self, name: str) -> str:
        """What the user has to know of a column; empty for nothing."""
        found = self.column(name)
        attribute = found.attribute if found is not None else None
        if attribute is None or not _is_private(attribute):
            return ""
        group, element = attribute.tag[:4], attribute.tag[6:]
        return (
            f"{attribute.name}: what stands at a private tag depends on the creator that reserved "
            f"its block, which may be another one in each dataset. "
            f"private('CREATOR', '{group}', '{element}') finds a creator's own."
        )

    def usual(self, method: Method) -> tuple[str, ...]:
        """The columns of `SELECT *` when this method fetches the rows."""
        if self.dicom is not None:
            return tuple(a.keyword for a in self.dicom.attributes if a.usual)
        return tuple(c.name for c in method.columns)

    def names(self) -> Iterator[str]:
        """Every name of a column in the document's or the standard's spelling, parts left out."""
        yield from (c.name for c in (*self._members.values(), *self._parameters.values()))
        if self.dicom is not None:
            from dicomsql.dicom.tags import keywords

            yield from keywords()
            if self.dicom.preview is not None:
                yield PREVIEW

    def unknown(self, name: str) -> PlanningError:
        """The error for a column that this table does not have."""
        return PlanningError(self._unknown(name), resource=self.resource.full_name)

    def _unknown(self, name: str) -> str:
        full = self.resource.full_name
        parameters = [c.name for c in self._parameters.values()]
        attribute = column(name)
        if self.dicom is None:
            if attribute is not None:
                # An attribute's keyword where only the request's parameters can be given.
                return f"{full} has no column {name}; its parameters are {', '.join(parameters)}."
            known = [c.name for c in self._members.values()]
            return f"{full} has no column {name}.{nearest(name, [*known, *parameters])}"
        if attribute is not None:
            return self._lacks(attribute)
        if name.lower() == PREVIEW:
            return self._lacks_pictures()
        if (tag := meant(name)) is not None:
            return f'{full} has no column {name}. Did you mean {tag.keyword}, or "{tag.tag}"?'
        if _OTHER_DIGITS.fullmatch(name):
            return (
                f"{full} has no column {name}: a tag has eight hexadecimal digits, four of the "
                f"group and four of the element, as in tag_00081030."
            )
        if "." in name:
            return f"{full} has no column {name}: {_misled(name)}"
        from dicomsql.dicom.tags import keywords

        return f"{full} has no column {name}.{nearest(name, [*keywords(), *parameters])}"

    def _lacks_pictures(self) -> str:
        """Why there is no column with pictures, and which table may have it."""
        assert self.dicom is not None
        full = self.resource.full_name
        search = dict(self.dicom.tables).get("instance", "")
        if not search or search == self.resource.name:
            return f"{full} has no column {PREVIEW}: nothing says how this server renders pictures."
        place = full.rpartition(".")[0]
        return f"{full} has no column {PREVIEW}: pictures are of instances; ask {place}.{search}."

    def _lacks(self, attribute: AttributeColumn) -> str:
        """Why a search has no column for an attribute, and which table does."""
        assert self.dicom is not None
        full, keyword = self.resource.full_name, self.keyword(attribute)
        level = attribute.level
        if self._has_level(attribute):
            return f"{full} has no column {attribute.name}: its search does not return {keyword}."
        of = level if level == "series" else f"{level}s"
        text = f"{full} has no column {attribute.name}: {keyword} is an attribute of the {of}"
        place = full.rpartition(".")[0]
        lower = dict(self.dicom.tables).get(level) or self.dicom.elsewhere
        return f"{text}; ask {place}.{lower}." if lower else f"{text}."


def _is_private(attribute: AttributeColumn) -> bool:
    tag = lookup(attribute.tag) if attribute.tag else None
    return tag is not None and tag.private


def _misled(path: str) -> str:
    """What is wrong with a path into sequences."""
    *parents, last = path.split(".")
    from dicomsql.dicom.tags import keywords

    for step in (*parents, last):
        found = column(step)
        if found is None:
            return f"{step} is no attribute.{nearest(step, list(keywords()))}"
        if step is not last and found.kind is not Kind.SEQUENCE:
            return f"{found.name} is no sequence."
    return f"{last} cannot stand in a path."
