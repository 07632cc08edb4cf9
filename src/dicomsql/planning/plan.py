"""The Plan: one frozen, picklable value that says everything a statement will do.

EXPLAIN and dry runs print it, the execution runs it, tests compare it. Nothing that decides about
a call stands anywhere else. A `ReadPlan` has scans (calls whose rows become a table of the engine)
and the user's own query over them; a `WritePlan` has one method, called once for each row of a
read plan and each combination of constants; a `CopyPlan` moves instances, or the rows of a read
plan into a file; a `ListPlan` answers from the documents alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from dicomsql.planning.answers import ListPlan, SettingPlan
from dicomsql.planning.read_plan import Constant, ReadPlan, Values

if TYPE_CHECKING:
    from dicomsql.catalog.model import Method, MoveMethods


@dataclass(frozen=True, slots=True)
class Field:
    """A source column's place in a call.

    Attributes:
        path: the parameter's name, or the body field and its members (`labels`, `env`).
        where: `parameter` or `body`.
    """

    where: str
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WritePlan:
    """One call of a method for each row of a source and each combination of constants.

    Attributes:
        verb: insert, update, replace, delete or exec.
        source: gives one column for each of `fields`; None where constants say all.
        queried: the source reads the rows that the condition selects, so exactly they are written.
        constants: parameters known before.
        body: the body as given whole (`@@json`), JSON text; members of `fields` go on top.
        file: a file that is the body; empty where it is none.
        output: a file that the answer's bytes go into; empty where they are the result.
        more: the method that gives further pages of an answer with columns of its own.
        mask: field mask; empty where none is sent.
        returning: query of the engine over the table `returned`; None where none was asked for.
        identity: attribute -> parameter that means the same, which RETURNING may name as well.
        wait: an operation is awaited.
        measures: the reads that size what is touched, where the method needs consent.
    """

    verb: str
    resource: str
    method: Method
    base_url: str
    source: ReadPlan | None = None
    queried: bool = False
    fields: tuple[Field, ...] = ()
    constants: tuple[Constant, ...] = ()
    body: str | None = None
    file: str = ""
    output: str = ""
    more: Method | None = None
    mask: tuple[str, ...] = ()
    returning: str | None = None
    returning_values: Values = ()
    identity: tuple[tuple[str, str], ...] = ()
    wait: bool = False
    measures: tuple[MeasurePlan, ...] = ()


@dataclass(frozen=True, slots=True)
class MeasurePlan:
    """The reads that size what a write touches; see `catalog.model.Measure`.

    Attributes:
        method: gives the counts for the write's own parameters, or for each listed row's.
        each: lists what is measured one by one; None for the written thing itself.
        each_parameter: the parameter of `method` that names one listed row.
        probe: gives at most two rows where the measure may lag; None where there is none.
    """

    method: Method
    counts: tuple[tuple[str, str], ...]
    number: str
    each: Method | None = None
    each_parameter: str = ""
    probe: Method | None = None


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """A statement of the engine alone."""

    sql: str
    values: Values = ()


@dataclass(frozen=True, slots=True)
class ExplainPlan:
    """EXPLAIN of another plan.

    Attributes:
        mode: `explain`, `analyze`.
        format: `text` or `json`.
    """

    plan: Plan
    mode: str
    format: str


@dataclass(frozen=True, slots=True)
class DicomStore:
    """A DICOM store: where instances are, or go.

    Attributes:
        resource: that of its instances, `google.healthcare.instances`.
        moves: the methods that move them, by what they do.
        values: (path parameter, value); for a source, those that the query's rows do not say.
    """

    resource: str
    base_url: str
    moves: MoveMethods
    values: tuple[tuple[str, str], ...] = ()


class Conflict(StrEnum):
    """What becomes of an instance that the target has with other bytes."""

    SKIP = "skip"
    FAIL = "fail"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class CopySettings:
    """How a COPY goes about it.

    Attributes:
        parallel: requests at a time; 0 for as many as the session has.
        batch: bytes of a store request at most.
        journal: path of the journal; None for its default, empty for none.
    """

    parallel: int = 0
    batch: int = 32_000_000
    journal: str | None = None


@dataclass(frozen=True, slots=True)
class Returning:
    """Which of a COPY's columns are wanted: a query of the engine over the table `copied`."""

    sql: str
    values: Values = ()


@dataclass(frozen=True, slots=True)
class StorePlan:
    """COPY instances FROM files.

    Attributes:
        paths: files, folders, globs, archives, DICOMDIRs, as written; none where `query` gives
            them.
        study: the study that the server takes instances of; empty for any.
        query: gives the files by their names, as the `path` of `read_dicom` has them; each is the
            name of one file, no pattern. None where `paths` are.
        column: of `query`, that holds them.
        most: instances that may be replaced, as the user was told; None where that is not known.
    """

    target: DicomStore
    paths: tuple[str, ...] = ()
    conflict: Conflict = Conflict.FAIL
    study: str = ""
    settings: CopySettings = CopySettings()
    returning: Returning | None = None
    query: ReadPlan | None = None
    column: str = ""
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """Which columns of a query name what is moved.

    Attributes:
        study, series, instance: the columns with the UIDs; empty where the query has none.
        places: (path parameter, column) of the store: each row's own.
    """

    study: str
    series: str = ""
    instance: str = ""
    places: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RetrievePlan:
    """COPY (query) TO a folder of files.

    Attributes:
        folder: as written.
        format: `dicom`, `png` or `jpeg`.
        transfer_syntax: a UID, or `*` for what is stored.
        layout: the template of a file's path, as written but for its names: those are spelled as
            the query's columns are, or as the keywords of the three UIDs, or `frame`. Empty for
            the format's own.
        overwrite: files that are there with other content are replaced.
    """

    query: ReadPlan
    named: Named
    source: DicomStore
    folder: str
    format: str = "dicom"
    transfer_syntax: str = "*"
    layout: str = ""
    overwrite: bool = False
    settings: CopySettings = CopySettings()
    returning: Returning | None = None


@dataclass(frozen=True, slots=True)
class TransferPlan:
    """COPY instances FROM (query): from one server to another.

    The stores differ as far as planning can tell; where `named.places` says of which store a row
    is, a row of the target itself is found out by its values.
    """

    query: ReadPlan
    named: Named
    source: DicomStore
    target: DicomStore
    conflict: Conflict = Conflict.FAIL
    settings: CopySettings = CopySettings()
    returning: Returning | None = None


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """COPY (query) TO a file of rows.

    Attributes:
        path: as written.
        format: `parquet`, `csv`, `tsv`, `json`, `jsonl` or `arrow`.
        options: (name, value) that the format takes: DuckDB's names in lower case, the value as
            text (`true`, `;`, `zstd`).
    """

    query: ReadPlan
    path: str
    format: str
    options: tuple[tuple[str, str], ...] = ()


CopyPlan = StorePlan | RetrievePlan | TransferPlan | ExportPlan
Plan = ReadPlan | WritePlan | CopyPlan | ListPlan | EnginePlan | SettingPlan | ExplainPlan
