"""`read_dicom(...)` in FROM: local files as a table of DICOM instances.

It is planned as a scan whose method asks no server; nothing is pushed to it, and the engine checks
every condition. What it comes to is a `FileScan`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.catalog.model import Attribute, DicomTable, Method, Resource
from dicomsql.errors import LanguageError, PlanningError
from dicomsql.planning import options
from dicomsql.planning.read_plan import ColumnKind, FileScan
from dicomsql.planning.tables import Table, TableColumn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicomsql.planning.answers import Evaluate
    from dicomsql.planning.read_plan import Scan
    from dicomsql.planning.text import QueryText

FUNCTION = "read_dicom"

_HOW = (
    "read_dicom takes the files as one value that no row changes: a path in quotes, or a list of "
    "them, as in read_dicom('incoming/**/*.dcm')"
)

# What the system knows of a file, with its type.
_OF_FILES = {"path": "VARCHAR", "size": "BIGINT", "digest": "VARCHAR", "error": "VARCHAR"}

# What `*` shows: reading a digest takes the whole file.
_USUAL = (
    *("path", "size", "error"),
    *("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "InstanceNumber"),
    *("Rows", "Columns", "BitsAllocated", "NumberOfFrames", "ContentDate", "ContentTime"),
    "ImageType",
)

_DICOM = DicomTable(
    level="instance",
    source="metadata",
    attributes=tuple(Attribute(name) for name in _USUAL if name not in _OF_FILES),
    open=True,
)

# Rows are told apart by their path: it is read where a query names no column at all.
_READING = Method(
    provider="",
    service="",
    resource=FUNCTION,
    name=FUNCTION,
    verb="select",
    http_method="",
    path="",
    parameters=(),
    row_name="path",
)


class _Files(Resource):
    """The resource that local files are to planning."""

    @property
    def full_name(self) -> str:
        return self.name


_RESOURCE = _Files(
    provider="",
    service="",
    name=FUNCTION,
    title="Local files",
    description="The headers of local DICOM files.",
    methods={FUNCTION: _READING},
    verbs={"select": (FUNCTION,)},
    dicom=_DICOM,
)


class FileTable(Table):
    """What local files offer to SELECT.

    Parameters:
        paths: files, folders, globs, archives, DICOMDIRs, as written.
    """

    local = True

    def __init__(self, paths: tuple[str, ...]) -> None:
        super().__init__(_RESOURCE, (_READING,))
        self.paths = paths

    def column(self, name: str) -> TableColumn | None:
        """The column of that name, in any case; None where there is none."""
        lowered = name.lower()
        if lowered in _OF_FILES:
            return TableColumn(lowered, ColumnKind.FILE, _OF_FILES[lowered])
        return super().column(name)

    def usual(self, method: Method) -> tuple[str, ...]:  # noqa: ARG002 - there is one
        """The columns of `SELECT *`."""
        return _USUAL

    def names(self) -> Iterator[str]:
        """Every name of a column, parts left out."""
        yield from _OF_FILES
        yield from super().names()


def file_table(node: exp.Table, text: QueryText, evaluate: Evaluate) -> FileTable | None:
    """The table that a call of `read_dicom` in FROM is; None where a node is anything else.

    Args:
        evaluate: computes a constant expression.

    Raises:
        LanguageError: the files are not named by a constant.
    """
    call = node.this
    if not isinstance(call, exp.Anonymous) or call.name.lower() != FUNCTION or node.args.get("db"):
        return None
    arguments = call.expressions
    if len(arguments) != 1 or arguments[0].find(exp.Column, exp.Query, exp.PropertyEQ):
        raise text.error(_HOW, call)
    start, end = call_place(node, text)
    if isinstance(arguments[0], exp.Placeholder):
        value = text.values[str(arguments[0].this)]
    else:
        opening = text.text.index("(", start)
        sql = text.render(opening + 1, end - 1)
        value = evaluate(f"SELECT {sql}", text.values_in(sql))
    try:
        return FileTable(options.paths(value))
    except PlanningError:
        raise text.error(_HOW, call) from None


def call_place(node: exp.Table, text: QueryText) -> tuple[int, int]:
    """The offsets of a table function's call, from its name to its closing bracket."""
    start: int = node.this.meta["start"]
    opening = text.token_between(node.this.meta["end"] + 1, len(text.text), frozenset({"("}))
    if opening is None:
        raise LanguageError(_HOW)
    _, end = text.group_around(opening.end + 1)
    return start, end


def file_scan(scan: Scan, table: FileTable) -> FileScan:
    """What a scan of local files comes to."""
    return FileScan(scan.name, scan.alias, table.paths, scan.columns, scan.stream)
