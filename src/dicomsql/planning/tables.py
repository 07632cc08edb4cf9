"""A resource as a table: its columns, wherever they come from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from dicomsql.dicom.columns import Part, column
from dicomsql.dicom.tags import lookup
from dicomsql.errors import PlanningError, nearest
from dicomsql.planning.plan import ColumnKind

if TYPE_CHECKING:
    from dicomsql.catalog.model import Attribute, Method, Resource
    from dicomsql.dicom.columns import AttributeColumn

# From the highest level to the lowest; a lower one's datasets carry the higher ones' attributes.
LEVELS = ("study", "series", "instance")

_SQL_TYPES = {"string": "VARCHAR", "integer": "BIGINT", "number": "DOUBLE", "boolean": "BOOLEAN"}


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
    """What a resource offers to SELECT (or to the condition of a write)."""

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
            parts = method.row_name_template.split("/")
            names += [part[1:-1] for part in parts if part.startswith("{")]
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
        if self.dicom.open or attribute.part in {Part.DATASET, Part.DROPPED}:
            return True
        return self.keyword(attribute).lower() in self.attributes

    def keyword(self, attribute: AttributeColumn) -> str:
        """The keyword of the attribute that a column is a part of; its tag where it has none."""
        tag = lookup(attribute.tag) if attribute.tag else None
        return (tag.keyword or tag.tag) if tag is not None else ""

    def usual(self, method: Method) -> tuple[str, ...]:
        """The columns of `SELECT *` when this method fetches the rows."""
        if self.dicom is not None:
            return tuple(a.keyword for a in self.dicom.attributes if a.usual)
        return tuple(c.name for c in method.columns)

    def unknown(self, name: str) -> PlanningError:
        """The error for a column that this table does not have."""
        full = self.resource.full_name
        if self.dicom is not None:
            attribute = column(name)
            if attribute is not None and self.dicom.elsewhere:
                return PlanningError(
                    f"{full} has no column {name}: its search does not return this attribute. "
                    f"The table {self.dicom.elsewhere} has it.",
                    resource=full,
                )
            known = [a.keyword for a in self.dicom.attributes]
            if self.dicom.open:
                from dicomsql.dicom.tags import keywords

                known += list(keywords())
        else:
            known = [c.name for c in self._members.values()]
        parameters = [c.name for c in self._parameters.values()]
        text = f"{full} has no column {name}.{nearest(name, [*known, *parameters])}"
        if self.dicom is None and column(name) is not None:
            # An attribute's keyword where only the request's parameters can be given.
            text = f"{full} has no column {name}; its parameters are {', '.join(parameters)}."
        return PlanningError(text, resource=full)
