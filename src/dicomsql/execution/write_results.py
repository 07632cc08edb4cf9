"""What a write gives back: a sentence, the answers as rows, operations as rows, RETURNING."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dicomsql.catalog.model import DicomTable
from dicomsql.errors import ProgrammingError
from dicomsql.execution import operations as lro
from dicomsql.execution.calls import Page, json_object
from dicomsql.execution.rows import columns_array, decoder_for
from dicomsql.planning.plan import WritePlan
from dicomsql.planning.read_plan import ColumnKind, RowShape, ScanColumn
from dicomsql.planning.writes import RETURNED
from dicomsql.result import Result, ResultColumn

if TYPE_CHECKING:
    from dicomsql.catalog.model import Operations
    from dicomsql.execution.run import Run
    from dicomsql.execution.write_calls import WriteCall

# What a call of each verb did, for people.
DONE = {
    "insert": "created",
    "update": "updated",
    "replace": "replaced",
    "delete": "deleted",
    "exec": "called",
}

_OPERATION_COLUMNS = (
    ("name", "VARCHAR"),
    ("done", "BOOLEAN"),
    ("error", "JSON"),
    ("counter", "JSON"),
    ("response", "JSON"),
    ("metadata", "JSON"),
)

# Names of operations that a sentence shows.
_MOST_NAMED = 3


def result_of(
    run: Run,
    plan: WritePlan,
    calls: list[WriteCall],
    answers: list[Page],
    operations: Operations | None,
) -> Result:
    """The result of a write all of whose calls were made: rows where they were asked for."""
    if plan.more is not None:
        return _rowset(run, plan, calls, answers)
    if plan.output:
        said = answers[0].body.decode()
        return Result(None, iter(()), message=said, statistics=run.statistics)
    if plan.returning is not None:
        return _returning(run, plan, calls, answers, operations)
    if plan.method.operation and (plan.wait or plan.verb == "exec"):
        return _rows(run, *_operations_table(plan, answers, operations))
    if plan.verb == "exec":
        table = _answers_table(plan, calls, answers)
        gives_rows = plan.method.columns or plan.method.paging is not None
        if table.num_columns and (gives_rows or table.num_rows):
            kinds = {c.name: c.type for c in _answer_columns(plan)}
            columns = tuple(ResultColumn(n, kinds.get(n, "VARCHAR")) for n in table.column_names)
            return _rows(run, columns, _plain_json(table))
    return Result(None, iter(()), message=_message(plan, answers), statistics=run.statistics)


def check_returning(run: Run, plan: WritePlan) -> None:
    """Make sure, before anything is sent, that RETURNING asks for what will come back.

    What an awaited operation will have made is not known before, nor what a query's columns are.

    Raises:
        ProgrammingError: it names a column that there will not be, or is no query.
    """
    awaited = plan.method.operation and plan.wait
    if plan.returning is None or awaited or plan.more is not None:
        return
    if plan.method.operation:
        _, table = _operations_table(plan, [], None)
    else:
        table = _answers_table(plan, [], [], _parameter_columns(plan))
    run.engine.register(RETURNED, table)
    try:
        run.engine.rows(plan.returning, plan.returning_values)
    except ProgrammingError as error:
        columns = ", ".join(table.column_names)
        raise ProgrammingError(
            f"{error}\nRETURNING has what comes back: {columns}. Rows that are gone afterwards are "
            f"read before, by a SELECT."
            if plan.verb == "delete"
            else f"{error}\nRETURNING has what comes back: {columns}."
        ) from None
    finally:
        run.engine.unregister(RETURNED)


def _rows(run: Run, columns: tuple[ResultColumn, ...], table: pa.Table) -> Result:
    return Result(columns, iter(table.to_batches()), schema=table.schema, statistics=run.statistics)


def _message(plan: WritePlan, answers: list[Page]) -> str:
    number = len(answers)
    if number == 0:
        return f"No row of {plan.resource} was {DONE[plan.verb]}."
    if plan.method.operation:
        found = [json_object(a, plan.method.full_name).get("name") for a in answers]
        names = [str(name) for name in found if name]
        shown = ", ".join(names[:_MOST_NAMED]) + ", ..." * (len(names) > _MOST_NAMED)
        return f"{number} operation{'s' * (number != 1)} started: {shown}."
    return f"{number} row{'s' * (number != 1)} of {plan.resource} {DONE[plan.verb]}."


def _returning(
    run: Run,
    plan: WritePlan,
    calls: list[WriteCall],
    answers: list[Page],
    operations: Operations | None,
) -> Result:
    """RETURNING: the engine's query over what came back."""
    if plan.method.operation and plan.wait:
        table = _made_table(plan, answers, operations)
    elif plan.method.operation:
        _, table = _operations_table(plan, answers, operations)
    else:
        table = _answers_table(plan, calls, answers, _parameter_columns(plan))
    return _over(run, plan, table)


def _rowset(run: Run, plan: WritePlan, calls: list[WriteCall], answers: list[Page]) -> Result:
    """An answer with columns of its own: its rows, or how many it wrote."""
    from dicomsql.execution.rowsets import Rows

    assert plan.more is not None
    rows = Rows(run, plan.method, plan.more, plan.base_url)
    rows.read(answers[0], calls[0].values)
    if rows.columns is None and plan.returning is None:
        written = "The query has run."
        if rows.affected is not None:
            written = f"The query wrote {rows.affected:,} row{'s' * (rows.affected != 1)}."
        return Result(None, iter(()), message=written, statistics=run.statistics)
    if plan.returning is not None:
        return _over(run, plan, rows.table())
    assert rows.columns is not None
    return _rows(run, rows.columns, rows.table())


def _over(run: Run, plan: WritePlan, table: pa.Table) -> Result:
    """RETURNING over a table of what came back."""
    engine = run.engine
    engine.register(RETURNED, table)
    try:
        rows = engine.stream(plan.returning or "", plan.returning_values)
        assert rows is not None
        found = list(rows.batches())
    finally:
        engine.unregister(RETURNED)
    return Result(rows.columns, iter(found), schema=rows.schema, statistics=run.statistics)


# -- answers ---------------------------------------------------------------------------------------


def _answers_table(
    plan: WritePlan,
    calls: list[WriteCall],
    answers: list[Page],
    more: tuple[ScanColumn, ...] = (),
) -> pa.Table:
    """The calls' answers as a table, with further columns that `calls` fill."""
    method = plan.method
    columns = [*_answer_columns(plan), *more]
    if not columns:
        return pa.table({})
    dicom = None
    shape = RowShape.ROWS
    if "dicom+json" in method.accept:
        dicom = DicomTable("instance", "search", ())
    elif "json" not in method.accept:
        shape = RowShape.BODY
    decoder = decoder_for(method, columns, shape, dicom)
    batches = []
    for number, answer in enumerate(answers):
        given = calls[number].values if calls else {}
        plain = {k: v for k, v in given.items() if isinstance(v, str)}
        page = answer
        if dicom is not None and answer.body.lstrip()[:1] == b"{":
            # STOW-RS answers with one dataset (PS3.18 table 10.5.3-1), not with a list of them.
            page = replace(answer, body=b"[" + answer.body + b"]")
        batches.append(decoder.decode(page, plain).batch)
    return pa.Table.from_batches(batches, decoder.schema)


def _answer_columns(plan: WritePlan) -> list[ScanColumn]:
    """The columns of what a call answers."""
    method = plan.method
    if "dicom+json" in method.accept:
        return [ScanColumn("dataset", ColumnKind.ATTRIBUTE, "dataset", "JSON")]
    return [ScanColumn(c.name, ColumnKind.ROW, c.name, str(c.type)) for c in method.columns]


def _parameter_columns(plan: WritePlan) -> tuple[ScanColumn, ...]:
    """The parameters that a row was written with, as columns beside its answer."""
    taken = {c.name.lower() for c in _answer_columns(plan)}
    named = [(name, name) for name in plan.method.path_parameters]
    return tuple(
        ScanColumn(name, ColumnKind.PARAMETER, parameter, "VARCHAR")
        for name, parameter in (*named, *plan.identity)
        if name.lower() not in taken
    )


def _plain_json(table: pa.Table) -> pa.Table:
    """JSON columns as text, as a result has them."""
    arrays = [
        pa.chunked_array([c.storage for c in column.chunks], pa.string())
        if isinstance(column.type, pa.BaseExtensionType)
        else column
        for column in table.columns
    ]
    return pa.table(arrays, names=table.column_names)


# -- operations ------------------------------------------------------------------------------------


def _operations_table(
    plan: WritePlan, answers: list[Page], operations: Operations | None
) -> tuple[tuple[ResultColumn, ...], pa.Table]:
    """Operations as rows: name, done, error, counters, response, metadata."""
    found = [json_object(answer, plan.method.full_name) for answer in answers]
    for operation in found:
        if operations is not None:
            operation["counter"] = lro.counters(operation, operations) or None
    arrays = []
    columns = []
    for name, kind in _OPERATION_COLUMNS:
        values = [bool(o.get(name)) if kind == "BOOLEAN" else o.get(name) for o in found]
        arrays.append(columns_array(values, kind, plan.method.full_name, name))
        columns.append(ResultColumn(name, kind))
    table = pa.table(arrays, names=[name for name, _ in _OPERATION_COLUMNS])
    return tuple(columns), _plain_json(table)


def _made_table(plan: WritePlan, answers: list[Page], operations: Operations | None) -> pa.Table:
    """What awaited operations made, with the operation's own members beside it."""
    _, table = _operations_table(plan, answers, operations)
    found = [json_object(answer, plan.method.full_name).get("response") for answer in answers]
    responses: list[dict[str, Any]] = [r if isinstance(r, dict) else {} for r in found]
    members = dict.fromkeys(k for r in responses for k in r if not k.startswith("@"))
    for member in members:
        values = [r.get(member) for r in responses]
        kind = "VARCHAR" if all(v is None or isinstance(v, str) for v in values) else "JSON"
        array = columns_array(values, kind, plan.method.full_name, member)
        if isinstance(array.type, pa.BaseExtensionType):
            array = array.storage
        if member in table.column_names:
            table = table.set_column(table.column_names.index(member), member, array)
        else:
            table = table.append_column(member, array)
    return table
