"""What DESCRIBE says of single columns: those that it names, or whose names match a pattern."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dicomsql.catalog.about import SOURCES, Listing, Row, parameter_row, preview_row, words_of
from dicomsql.dicom.columns import Part, column, private_name
from dicomsql.dicom.tags import lookup
from dicomsql.errors import LanguageError
from dicomsql.language.lexer import Kind, identifier_value, lex, string_value
from dicomsql.planning.private import FUNCTION, HOW
from dicomsql.planning.read_plan import ColumnKind
from dicomsql.planning.tables import Origin, Table, TableColumn

if TYPE_CHECKING:
    from dicomsql.catalog.model import Parameter, Resource
    from dicomsql.dicom.columns import AttributeColumn
    from dicomsql.language.statements import Describe, Fragment

# A tag may stand without quotes here, where nothing else could begin with a digit.
_TAG = re.compile(r"[0-9A-Fa-f]{8}")

# What a column holds that is not simply an attribute's value, with the attribute's words in it.
_HOLDS = {
    Part.RAW: "{}, as the server sent it",
    Part.UTC: "{}, as an instant",
    Part.IDEOGRAPHIC: "{}, ideographic",
    Part.PHONETIC: "{}, phonetic",
    Part.DATASET: "The dataset, as the server sent it",
    Part.DROPPED: "The tags of what the server left out of the dataset",
}


def described(
    statement: Describe, resource: Resource, columns: tuple[str, ...], like: re.Pattern[str] | None
) -> Listing:
    """The rows of DESCRIBE for the columns that a statement asks for.

    Args:
        columns: of the listing, as DESCRIBE of the whole resource has them.
        like: what the names match, where the statement does not name the columns.

    Raises:
        LanguageError: what the statement names is no column of the resource.
    """
    table = Table(resource, resource.for_verb("select"))
    if like is not None:
        found = _matching(table, like)
    else:
        found = [_named(statement.source, table, fragment) for fragment in statement.columns]
    rows = _Rows(table)
    wanted = [i for i, name in enumerate(_Rows.columns) if name in columns]
    return Listing(columns, tuple(tuple(rows.row(c)[i] for i in wanted) for c in found))


def _matching(table: Table, like: re.Pattern[str]) -> list[TableColumn]:
    """The columns whose names match: the parameters', and those of every keyword."""
    names = [n for n in (*table.names(), Part.DATASET, Part.DROPPED) if like.fullmatch(n)]
    found = {c.name: c for n in names if (c := table.column(n)) is not None}
    return list(found.values())


def _named(source: str, table: Table, fragment: Fragment) -> TableColumn:
    name = _name_of(source, fragment)
    found = table.column(name)
    if found is None:
        error = table.unknown(name)
        raise LanguageError(str(error), text=source, position=fragment.start)
    return found


def _name_of(source: str, fragment: Fragment) -> str:
    """The name of the column that is written as a dotted name, a tag or a call of `private`."""
    tokens = [t for t in lex(fragment.text) if t.kind not in {Kind.COMMENT, Kind.HINT}]
    if tokens[0].text.lower() == FUNCTION and len(tokens) > 1 and tokens[1].is_operator("("):
        texts = [string_value(t.text) for t in tokens if t.kind is Kind.STRING]
        name = private_name(*texts) if len(texts) == 3 and len(tokens) == 8 else ""
        if column(name) is None:
            raise LanguageError(HOW, text=source, position=fragment.start)
        return name
    if _TAG.fullmatch(fragment.text):
        return fragment.text
    if tokens[0].kind is Kind.STRING:
        raise LanguageError(
            "Write a column bare or in double quotes; a pattern stands behind LIKE",
            text=source,
            position=fragment.start,
        )
    return "".join(identifier_value(t.text) if t.kind is Kind.QUOTED else t.text for t in tokens)


@dataclass(slots=True)
class _Rows:
    """What DESCRIBE says of the columns of one table."""

    columns = ("name", "type", "description", "vr", "tag", "level", "source", "filter")

    table: Table
    _parameters: dict[str, Parameter] = field(init=False)
    _described: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        methods = self.table.methods
        self._parameters = {p.name: p for m in methods for p in m.parameters}
        self._described = {c.name: c.description for m in methods for c in m.columns}

    def row(self, found: TableColumn) -> Row:
        """The row of a column, with all that is said of it."""
        parameter = self._parameters.get(found.name)
        if self.table.dicom is not None and parameter is not None:
            return parameter_row(parameter)
        if self.table.dicom is not None and found.kind is ColumnKind.PICTURE:
            return preview_row(self.table.dicom)
        if found.attribute is None or found.name == found.parameter:
            about = parameter.description if parameter is not None else ""
            about = self._described.get(found.name, about)
            return found.name, found.type, about, None, None, None, None, None
        attribute = found.attribute
        keyword = self.table.keyword(attribute).lower()
        is_value = attribute.part is Part.VALUE and not attribute.path
        listed = self.table.attributes.get(keyword) if is_value else None
        is_private = attribute.part is Part.PRIVATE
        return (
            found.name,
            found.type,
            _words(attribute),
            attribute.vr or None,
            _tag(attribute) or None,
            None if is_private or not attribute.tag else attribute.level,
            self._source(found.name, attribute),
            ", ".join(listed.match) if listed is not None else "",
        )

    def _source(self, name: str, attribute: AttributeColumn) -> str:
        """Where the values of a column come from."""
        assert self.table.dicom is not None
        if self.table.dicom.source == "metadata":
            return SOURCES["metadata"]
        origin = self.table.origin(name)
        if origin is not Origin.ROW:
            return SOURCES[str(origin)]
        if not attribute.tag:
            return SOURCES["default"]
        listed = self.table.attributes.get(self.table.keyword(attribute).lower())
        return SOURCES[listed.returned if listed is not None else "include"]


def _words(attribute: AttributeColumn) -> str:
    """What a column holds, in words."""
    group, element = attribute.element
    if attribute.creator:
        return f"Element {element} of the block of group {group} of {attribute.creator}"
    steps = [lookup(tag) for tag in (attribute.tag, *attribute.path) if tag]
    words = " > ".join(words_of(s.keyword) or "Private element" for s in steps if s is not None)
    return _HOLDS.get(attribute.part, "{}").format(words)


def _tag(attribute: AttributeColumn) -> str:
    """The tags on the way to a column's attribute; `xx` stands for the block of a creator."""
    if attribute.creator:
        return "xx".join(attribute.element)
    return ".".join((attribute.tag, *attribute.path))
