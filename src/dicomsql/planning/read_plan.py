"""What a query's plan is made of: scans, whose rows become tables, and the query over them.

A scan is calls of one method, or a walk over local files. Every value is frozen and can be pickled.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dicomsql.catalog.model import DicomTable, Method

# Stands in the statements after a plan's own for the time at which they run.
REFRESHED = "@refreshed@"

# A parameter of the engine's SQL: its name (without `$`) and value.
Values = tuple[tuple[str, object], ...]


class ColumnKind(StrEnum):
    """Where a scan's column comes from."""

    ROW = "row"  # a member of the row object
    PARAMETER = "parameter"  # the value that the row was fetched with, or that its name holds
    ATTRIBUTE = "attribute"  # an attribute of the DICOM dataset
    FILE = "file"  # what the system knows of a local file
    PICTURE = "picture"  # the bytes of the row's picture


@dataclass(frozen=True, slots=True)
class ScanColumn:
    """A column that a scan gives to the engine.

    Attributes:
        name: its name in the engine, the document's spelling.
        source: the member, parameter or attribute column that it is filled from.
        type: SQL type.
    """

    name: str
    kind: ColumnKind
    source: str
    type: str


@dataclass(frozen=True, slots=True)
class Constant:
    """A parameter's values that are known before any call; several fan out.

    Attributes:
        origin: `statement`, `query` (an outer query's WHERE) or `session`.
        set_of: whether the statement gave a list (IN, OR) rather than one value.
    """

    parameter: str
    values: tuple[str, ...]
    origin: str
    set_of: bool = False


@dataclass(frozen=True, slots=True)
class Bind:
    """Parameters whose values come from rows of earlier scans.

    Attributes:
        parameters: in the order of the query's columns; path or query parameters, and keywords of
            attributes that the server filters by.
        sql: query of the engine that gives the distinct values.
        values: parameters of that query.
        source: what it reads, for people: `studies.StudyInstanceUID`.
        together: values that one call takes as a list; 1 for one call each.
        separator: between the values of such a list.
        fits: regular expression that the whole of every value, which has to be a text, must match:
            where one does not, the scan's walk is taken. Empty where every value is sent.
    """

    parameters: tuple[str, ...]
    sql: str
    values: Values
    source: str
    together: int = 1
    separator: str = ","
    fits: str = ""


@dataclass(frozen=True, slots=True)
class Filter:
    """A predicate that the server checks; the engine checks it again.

    Attributes:
        name: query parameter.
        values: alternatives, one call each; each as it is sent.
        operation: `exact`, `list` (each value is a list of several), `range`, `wildcard` or
            `fuzzy`.
        query: further query parameters that it needs, such as the one that makes it fuzzy.
    """

    name: str
    values: tuple[str, ...]
    operation: str
    query: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Size:
    """How many rows a scan without filters has, as metrics tell it; they may lag.

    Attributes:
        method: takes a subset of the scan's parameters.
        column: of its row.
    """

    method: Method
    column: str


@dataclass(frozen=True, slots=True)
class Split:
    """How a search is divided where offsets do not reach its end.

    Attributes:
        attribute: whose ranges are halved (`StudyDate`), a query parameter of the search.
        low, high: the range that the scan's own filters leave, `YYYYMMDD`; empty where open.
        studies: the search that lists all studies, for those that no range finds; None where the
            scan is that search.
        narrower: the scan's search within one study; None for studies.
        parameter: of `narrower`, that names the study.
    """

    attribute: str
    low: str = ""
    high: str = ""
    studies: Method | None = None
    narrower: Method | None = None
    parameter: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """A query that counts what a scan should have given and did not; any ends the statement.

    Attributes:
        message: what is missing, for people; `{count}` stands for the number.
    """

    sql: str
    values: Values
    message: str


@dataclass(frozen=True, slots=True)
class Doubt:
    """A column that is not taken for empty because the rows that come first are.

    Attributes:
        column: of the scan.
        shown_by: the column of a dataset that has a value where this one has to have one; empty
            where it has to have one anyhow.
    """

    column: str
    shown_by: str


@dataclass(frozen=True, slots=True)
class Within:
    """A method whose path names one study, series or instance.

    Attributes:
        ids: the path's parameters that take its UIDs, the study's first.
    """

    method: Method
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Proof:
    """How it is found out whether a search returns what the document says.

    Attributes:
        searches: of each level below the scan's, within the level above it: they lead from a row
            to an instance.
        metadata: gives that instance's dataset; None where nothing does.
        asked: keywords that the scan's search returns where it is asked for them.
    """

    doubts: tuple[Doubt, ...]
    searches: tuple[Within, ...] = ()
    metadata: Within | None = None
    asked: tuple[str, ...] = ()

    @property
    def calls(self) -> int:
        """How many it takes at most: the row once more, the way to its dataset, and that."""
        known = self.metadata is None or not any(d.shown_by for d in self.doubts)
        return 0 if known else len(self.searches) + 2


class RowShape(StrEnum):
    """What one row of a scan is."""

    ROWS = "rows"  # an element of the list that the answer holds, or the answer itself
    PAGES = "pages"  # the answer as it came, one row a page
    BODY = "body"  # contentType and data of an answer that is no JSON


@dataclass(frozen=True, slots=True)
class Picture:
    """That the rows of a scan are pictures: each call gives one, or says that there is none.

    Attributes:
        query: query parameters that ask for a small one; see `catalog.model.Preview`.
        none: statuses that say that a row has no picture.
        of: the resource whose rows are shown.
        level: of these rows: `study`, `series` or `instance`.
    """

    query: tuple[tuple[str, str], ...]
    none: tuple[int, ...]
    of: str
    level: str


@dataclass(frozen=True, slots=True)
class Scan:
    """Calls of one method whose rows become a table.

    Attributes:
        name: the engine's name of the table.
        alias: the query's name of it.
        base_url: scheme and host.
        constants, binds: the path and query parameters.
        filters: predicates that are pushed to the server.
        alternatives: sets of filters, each a search of its own beside `filters`; the rows are their
            union, each once. Empty for just one search.
        query: further query parameters, such as `includefield` and `fields`.
        columns: what the engine gets.
        limit: rows after which the scan may end; None for all.
        walk: the method that is called once instead, where that is estimated to cost less than a
            call for each of the binds' combinations; it needs none of them.
        walk_above: combinations from which on the walk is taken where its size is not known.
        size: what tells the number of rows of the walk, or of the scan where there is no other.
        split: how the search is divided beyond the server's largest offset; None where it cannot.
        reasons: why the scan is as it is, for people.
        check: what must hold once its rows are a table; None for nothing.
        proof: how what is missing from the first rows is told from what is not there; None where
            nothing needs it.
        stream: read once, as the engine pulls; False where it is kept for several readers.
        dicom: what the document says of its datasets, None for plain JSON.
        picture: set where its rows are pictures.
    """

    name: str
    alias: str
    resource: str
    method: Method
    base_url: str
    constants: tuple[Constant, ...] = ()
    binds: tuple[Bind, ...] = ()
    filters: tuple[Filter, ...] = ()
    alternatives: tuple[tuple[Filter, ...], ...] = ()
    query: tuple[tuple[str, str], ...] = ()
    columns: tuple[ScanColumn, ...] = ()
    shape: RowShape = RowShape.ROWS
    limit: int | None = None
    walk: Method | None = None
    walk_above: int = 0
    size: Size | None = None
    split: Split | None = None
    reasons: tuple[str, ...] = ()
    check: Check | None = None
    proof: Proof | None = None
    stream: bool = True
    dicom: DicomTable | None = None
    picture: Picture | None = None


@dataclass(frozen=True, slots=True)
class Windows:
    """A search by growing ranges of dates, newest first, until enough rows are found.

    Every row of a range sorts before every row of the ranges after it. After each, the query is
    asked whether it has enough; the last step is the search without the range, for what has no
    date.

    Attributes:
        scan: name of the scan that is searched so.
        attribute: query parameter that takes the ranges.
        ranges: in order, as they are sent.
        enough: rows of the query after which nothing further is needed.
    """

    scan: str
    attribute: str
    ranges: tuple[str, ...]
    enough: int


@dataclass(frozen=True, slots=True)
class Keep:
    """A subquery that may give other rows each time it is run: it is run once and kept.

    Both the binds and the query read what was kept; else the calls would be made for other rows
    than those that the query asks for.

    Attributes:
        name: the engine's name of the table that keeps its rows.
    """

    name: str
    sql: str
    values: Values = ()


@dataclass(frozen=True, slots=True)
class FileScan:
    """`read_dicom(...)`: local files whose headers become a table.

    Attributes:
        name: the engine's name of the table.
        alias: the query's name of it.
        paths: files, folders, globs, archives, DICOMDIRs, as written.
        columns: what the engine gets: attributes, and of the files `path`, `size`, `digest`,
            `error` (`ColumnKind.FILE`).
        stream: read once, as the engine pulls; False where it is kept for several readers.
    """

    name: str
    alias: str
    paths: tuple[str, ...]
    columns: tuple[ScanColumn, ...] = ()
    stream: bool = True


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """Scans, and the query over them.

    Attributes:
        sql: the user's text with tables, parameters and our functions replaced.
        values: the parameters of that text.
        scans: in an order in which each one's binds are ready.
        residual: the conditions that the engine checks, for people.
        direct: (name in the result, column of the only scan) where the query is nothing but
            columns of one table and nothing is left to check: the scan's rows are the result, and
            the engine is not started. Empty otherwise.
        guards: for writes: queries that count rows whose condition rests on a value that is not
            of its type, with the column's name; any such row stops the statement.
        windows: how the only scan is searched where the newest few rows are all that is wanted.
        keeps: each may be run once the scans are there that stand before the first which reads it.
        notes: sentences about the result that planning knows already.
        files: local files that are read as tables.
        after: statements of the engine that are done together with `sql`, all or none of them.
        pictures: scans of pictures that are fetched for the rows of the result, once these are
            known: in the place of each the query's rows have a struct of the call's parameters,
            with the fields that `handle_fields` names.
    """

    sql: str
    values: Values = ()
    scans: tuple[Scan, ...] = ()
    residual: str = ""
    direct: tuple[tuple[str, str], ...] = ()
    guards: tuple[tuple[str, str], ...] = ()
    windows: Windows | None = None
    keeps: tuple[Keep, ...] = ()
    notes: tuple[str, ...] = ()
    files: tuple[FileScan, ...] = ()
    after: tuple[str, ...] = ()
    pictures: tuple[Scan, ...] = ()


def handle_fields(scan: Scan) -> dict[str, str]:
    """Parameter -> field of the struct that stands for a picture; the scan's name tells whose."""
    names = [c.source for c in scan.columns if c.kind is ColumnKind.PARAMETER]
    return {name: f"{scan.name} {name}" for name in names}
