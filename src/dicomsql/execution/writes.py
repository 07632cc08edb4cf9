"""Runs a `WritePlan`: rows become calls, consent is asked, calls are made, failures are told.

Calls run side by side. What was done stays done: where some calls fail, the rest is made all the
same, and the statement fails with every failure and its row.
"""

from __future__ import annotations

import datetime
import itertools
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_futures
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dicomsql.catalog.body import check_body, check_fields, coerce_field
from dicomsql.errors import (
    ApiError,
    CancelledError,
    DataError,
    Error,
    InternalError,
    OperationalError,
    PlanningError,
)
from dicomsql.execution import operations as lro
from dicomsql.execution.calls import Page, make_request, single
from dicomsql.execution.consent import Allowed, CallValues, require
from dicomsql.execution.reads import ReadRun
from dicomsql.execution.rows import columns_array, decoder_for
from dicomsql.planning.plan import ColumnKind, RowShape, ScanColumn, WritePlan
from dicomsql.planning.writes import RETURNED
from dicomsql.result import Result, ResultColumn

if TYPE_CHECKING:
    from dicomsql.catalog.load import Catalog
    from dicomsql.catalog.model import Method, Operations
    from dicomsql.execution.audit import AuditLog
    from dicomsql.execution.run import Run

# Failures that are told one by one.
_MOST_TOLD = 10
# Bytes read from a file at a time.
_CHUNK = 1 << 20

_OPERATION_COLUMNS = (
    ("name", "VARCHAR"),
    ("done", "BOOLEAN"),
    ("error", "JSON"),
    ("counter", "JSON"),
    ("response", "JSON"),
    ("metadata", "JSON"),
)

_DONE = {
    "insert": "created",
    "update": "updated",
    "replace": "replaced",
    "delete": "deleted",
    "exec": "called",
}


@dataclass(frozen=True, slots=True)
class WriteCall:
    """One call of a write.

    Attributes:
        row: its row in the source, from 1.
    """

    row: int
    values: CallValues
    body: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class WriteContext:
    """What a write needs beside the run.

    Attributes:
        allowed: the consent that was given.
        audit: takes a line for each call; None where none is kept.
    """

    catalog: Catalog
    allowed: Allowed
    audit: AuditLog | None


def write(run: Run, plan: WritePlan, context: WriteContext) -> Result:
    """Run a write plan.

    Raises:
        ConsentError: what it destroys or costs has not been allowed; nothing was sent.
        PlanningError: a body does not fit its schema; nothing was sent.
        ApiError: its only call failed.
        OperationalError: some of its calls failed; what was done stays done.
    """
    calls = calls_of(run, plan, context.catalog)
    run.check_budget(len(calls), f"Writing {plan.resource}")
    sentence = require(run, plan, [c.values for c in calls], context.allowed)
    if sentence:
        run.say(sentence.replace("This statement would", "Going to", 1))
    answers = _make(run, plan, calls, context)
    run.finish()
    result = _result(run, plan, calls, answers, context)
    result.affected = len(calls)
    return result


def _result(
    run: Run,
    plan: WritePlan,
    calls: list[WriteCall],
    answers: list[Page | None],
    context: WriteContext,
) -> Result:
    """What a write gives back: rows where they were asked for, else a sentence."""
    if plan.verb == "exec" and plan.returning is None:
        return _exec_result(run, plan, answers, context)
    if plan.returning is not None:
        return _returning(run, plan, calls, answers, context)
    if plan.method.operation and plan.wait:
        return _rows_result(run, *_operation_table(answers, context, plan))
    return Result(None, iter(()), message=_message(plan, answers), statistics=run.statistics)


def calls_of(run: Run, plan: WritePlan, catalog: Catalog) -> list[WriteCall]:
    """Every call of a write, with its body checked, before the first one is made."""
    fixed = [[(c.parameter, v) for v in c.values] for c in plan.constants if len(c.values) != 1]
    several: CallValues = {
        c.parameter: c.values[0] for c in plan.constants if len(c.values) == 1
    }
    rows = _source_rows(run, plan)
    calls: list[WriteCall] = []
    for combination in itertools.product(*fixed):
        for number, row in enumerate(rows, 1):
            values: CallValues = {**several, **dict(combination)}
            body = _body(plan, row, values, catalog)
            if plan.mask and plan.method.mask:
                values[plan.method.mask] = ",".join(plan.mask)
            missing = [n for n in plan.method.required if not values.get(n)]
            if missing:
                raise PlanningError(
                    f"{plan.method.full_name}: row {number} has no value for "
                    f"{', '.join(missing)}.",
                    resource=plan.resource,
                )
            calls.append(WriteCall(len(calls) + 1, values, body))
    return calls


def _source_rows(run: Run, plan: WritePlan) -> list[tuple[Any, ...]]:
    if plan.source is None:
        return [()]
    active = ReadRun(run, plan.source)
    rows = active.open()
    if rows is None:
        raise InternalError("the source of a write gives no rows")
    if len(rows.columns) != len(plan.fields):
        active.close()
        raise PlanningError(
            f"The query gives {len(rows.columns)} columns, but {len(plan.fields)} are to be "
            f"filled: {', '.join('.'.join(f.path) for f in plan.fields)}.",
            resource=plan.resource,
        )
    kinds = [c.type for c in rows.columns]
    found: list[tuple[Any, ...]] = []
    guarded = plan.source.guards
    for sql, name in guarded:
        unparsed = run.engine.value(sql)
        if isinstance(unparsed, int) and unparsed:
            active.close()
            raise DataError(
                f"{unparsed:,} row{'s' * (unparsed != 1)} of {plan.resource} "
                f"{'have' if unparsed != 1 else 'has'} a {name} that is no value of its type, so "
                f"the condition cannot be judged. Nothing was written; SELECT {name}_raw shows "
                f"the text."
            )
    for batch in active.batches():
        columns = [
            _json_values(batch.column(i).to_pylist()) if kinds[i] == "JSON"
            else batch.column(i).to_pylist()
            for i in range(batch.num_columns)
        ]
        found += zip(*columns, strict=True)
    return found


def _json_values(values: list[Any]) -> list[Any]:
    return [json.loads(v) if isinstance(v, str) else v for v in values]


def _body(
    plan: WritePlan, row: tuple[Any, ...], values: CallValues, catalog: Catalog
) -> dict[str, Any] | None:
    """The body of a row's call; parameters in the row go into `values`."""
    method = plan.method
    members: dict[str, Any] = json.loads(plan.body) if plan.body is not None else {}
    for field, value in zip(plan.fields, row, strict=True):
        if field.where == "parameter":
            if value is not None:
                values[field.path[0]] = _text(value)
            continue
        if value is None:
            continue
        made = coerce_field(catalog, method, ".".join(field.path), value)
        inner = members
        for member in field.path[:-1]:
            inner = inner.setdefault(member, {})
        inner[field.path[-1]] = made
    if method.id_from_name is not None:
        parameter, source = method.id_from_name
        name = members.get(source)
        if not values.get(parameter) and isinstance(name, str) and name:
            # The id says the name; what is no full resource name would be refused as one.
            values[parameter] = name.rsplit("/", 1)[-1]
            if "/" not in name:
                del members[source]
    if not method.body:
        return None
    if plan.verb == "update":
        check_fields(catalog, method, members)
    elif not plan.file and plan.body is None and (members or plan.verb != "exec"):
        check_body(catalog, method, members)
    return members


def _make(
    run: Run, plan: WritePlan, calls: list[WriteCall], context: WriteContext
) -> list[Page | None]:
    """Make the calls; their answers in the calls' order."""
    if not calls:
        return []
    if len(calls) == 1:
        return [_make_one(run, plan, calls[0], context)]
    answers: list[Page | None] = [None] * len(calls)
    failures: list[tuple[int, Error]] = []
    pending: dict[Future[Page], int] = {}
    waiting = iter(enumerate(calls))
    with ThreadPoolExecutor(
        min(run.limits.parallel, len(calls)), thread_name_prefix="dicomsql-write"
    ) as pool:
        while True:
            while len(pending) < 2 * run.limits.parallel and not run.cancel.is_set():
                following = next(waiting, None)
                if following is None:
                    break
                index, call = following
                pending[pool.submit(_make_one, run, plan, call, context)] = index
            if not pending:
                break
            done, _ = wait_futures(pending, return_when=FIRST_COMPLETED)
            for future in done:
                index = pending.pop(future)
                error = future.exception()
                if error is None:
                    answers[index] = future.result()
                elif isinstance(error, Error):
                    failures.append((index, error))
                else:
                    raise error
    if failures or run.cancel.is_set():
        raise _partial(plan, calls, answers, failures, run)
    return answers


def _partial(
    plan: WritePlan,
    calls: list[WriteCall],
    answers: list[Page | None],
    failures: list[tuple[int, Error]],
    run: Run,
) -> Error:
    """The error of a write of which a part was done."""
    done = sum(a is not None for a in answers)
    told = [
        f"row {calls[i].row}{_shown(calls[i], plan, run)}: {error}"
        for i, error in sorted(failures, key=lambda f: f[0])[:_MOST_TOLD]
    ]
    more = len(failures) - len(told)
    text = (
        f"{plan.method.full_name}: {done:,} of {len(calls):,} rows were "
        f"{_DONE[plan.verb]} and stay so, {len(failures):,} failed"
    )
    untried = len(calls) - done - len(failures)
    if untried:
        text += f", {untried:,} were not tried"
    if more > 0:
        told.append(f"... and {more:,} more")
    text = "\n  ".join([f"{text}.", *told])
    return CancelledError(text) if run.cancel.is_set() else OperationalError(text)


def _shown(call: WriteCall, plan: WritePlan, run: Run) -> str:
    shown = [
        f"{k} = {v!r}"
        for k, v in call.values.items()
        if isinstance(v, str) and run.gate.show_value(k, v) == v
    ]
    return f" ({', '.join(shown)})" if shown else ""


def _make_one(run: Run, plan: WritePlan, call: WriteCall, context: WriteContext) -> Page:
    """Make one call, wait for its operation where that is wanted, and write it down."""
    method = plan.method
    body: Any = None
    media = ""
    if plan.file:
        path = Path(plan.file)
        if not path.is_file():
            raise PlanningError(f"{method.full_name}: there is no file {plan.file}.")
        media = method.body_media
        body = _FileBody(path)
    elif method.body:
        media = "application/json"
        body = json.dumps(call.body or {}).encode()
        if method.body_media and "json" not in method.body_media:
            body, media = _raw_body(method, call.body or {})
    request = make_request(method, plan.base_url, call.values, body=body, media=media)
    try:
        page = single(run, request)
        if method.operation and plan.wait:
            page = _awaited(run, plan, page, context)
    except Error as error:
        if context.audit is not None:
            context.audit.write(plan, call.values, error)
        raise
    if context.audit is not None:
        context.audit.write(plan, call.values, None)
    return page


class _FileBody:
    """A file as a body that is read anew for each attempt."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk


def _raw_body(method: Method, members: Mapping[str, Any]) -> tuple[bytes, str]:
    """Google's HttpBody as it goes over the wire: the bytes themselves, under their own type."""
    import base64
    import binascii

    media = str(members.get("contentType") or method.body_media)
    try:
        return base64.b64decode(str(members.get("data", "")), validate=True), media
    except binascii.Error:
        raise PlanningError(
            f"{method.full_name}: the body's data has to be base64; "
            f"@@file = 'path' sends a file as it is."
        ) from None


def _awaited(run: Run, plan: WritePlan, page: Page, context: WriteContext) -> Page:
    operations = _operations(plan, context)
    if operations is None or not page.body:
        return page
    started = json.loads(page.body)
    done = lro.wait(run, operations, plan.base_url, started, plan.method.full_name)
    return Page(json.dumps(done).encode(), page.media, page.status)


def _operations(plan: WritePlan, context: WriteContext) -> Operations | None:
    return context.catalog.service(plan.method.provider, plan.method.service).operations


# -- results ---------------------------------------------------------------------------------------


def _message(plan: WritePlan, answers: list[Page | None]) -> str:
    number = len(answers)
    if plan.method.operation:
        names = [_operation_name(a) for a in answers if a is not None]
        shown = ", ".join(n for n in names[:3] if n)
        return f"{number} operation{'s' * (number != 1)} started: {shown}."
    if number == 0:
        return f"No row of {plan.resource} was {_DONE[plan.verb]}."
    return f"{number} row{'s' * (number != 1)} of {plan.resource} {_DONE[plan.verb]}."


def _operation_name(page: Page) -> str:
    try:
        return str(json.loads(page.body).get("name", ""))
    except (ValueError, AttributeError):
        return ""


def _rows_result(run: Run, columns: tuple[ResultColumn, ...], table: pa.Table) -> Result:
    return Result(columns, iter(table.to_batches()), statistics=run.statistics)


def _exec_result(
    run: Run, plan: WritePlan, answers: list[Page | None], context: WriteContext
) -> Result:
    """What an EXEC's call answered, as rows."""
    if plan.method.operation:
        return _rows_result(run, *_operation_table(answers, context, plan))
    table = _answer_table(run, plan, [], answers)
    if table.num_columns == 0 or (not plan.method.columns and not table.num_rows):
        return Result(None, iter(()), message=_message(plan, answers), statistics=run.statistics)
    kinds = {c.name: c.type for c in _answer_columns(plan)}
    columns = tuple(ResultColumn(n, kinds.get(n, "VARCHAR")) for n in table.column_names)
    return _rows_result(run, columns, _plain_json(table))


def _plain_json(table: pa.Table) -> pa.Table:
    """JSON columns as text, as a result has them."""
    arrays = [
        pa.chunked_array([c.storage for c in column.chunks], pa.string())
        if isinstance(column.type, pa.BaseExtensionType)
        else column
        for column in table.columns
    ]
    return pa.table(arrays, names=table.column_names)


def _operation_table(
    answers: list[Page | None], context: WriteContext, plan: WritePlan
) -> tuple[tuple[ResultColumn, ...], pa.Table]:
    """Operations as rows: name, done, error, counters, response."""
    operations = _operations(plan, context)
    found: list[dict[str, Any]] = [json.loads(a.body) for a in answers if a is not None and a.body]
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


def _answer_columns(plan: WritePlan) -> list[ScanColumn]:
    """The columns of what a call answers."""
    method = plan.method
    if "dicom+json" in method.accept:
        return [ScanColumn("dataset", ColumnKind.ATTRIBUTE, "dataset", "JSON")]
    return [ScanColumn(c.name, ColumnKind.ROW, c.name, str(c.type)) for c in method.columns]


def _answer_table(
    run: Run, plan: WritePlan, calls: list[WriteCall], answers: list[Page | None]
) -> pa.Table:
    """The calls' answers as a table, with their parameters where `calls` are given."""
    from dicomsql.catalog.model import DicomTable

    method = plan.method
    columns = _answer_columns(plan)
    names = {c.name.lower() for c in columns}
    if calls:
        columns += [
            ScanColumn(p, ColumnKind.PARAMETER, p, "VARCHAR")
            for p in method.path_parameters
            if p.lower() not in names
        ]
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
        if answer is None:
            continue
        given = calls[number].values if calls else {}
        plain = {k: v for k, v in given.items() if isinstance(v, str)}
        if dicom is not None and answer.body.lstrip()[:1] == b"{":
            # STOW-RS answers with one dataset (PS3.18 table 10.5.3-1), not with a list of them.
            answer = replace(answer, body=b"[" + answer.body + b"]")
        batches.append(decoder.decode(answer, plain).batch)
    return pa.Table.from_batches(batches, decoder.schema)


def _returning(
    run: Run,
    plan: WritePlan,
    calls: list[WriteCall],
    answers: list[Page | None],
    context: WriteContext,
) -> Result:
    """RETURNING: the engine's query over what came back."""
    if plan.method.operation and plan.wait:
        table = _made_table(answers, context, plan)
    elif plan.method.operation:
        _, table = _operation_table(answers, context, plan)
    else:
        table = _answer_table(run, plan, calls, answers)
    engine = run.engine
    engine.register(RETURNED, table)
    try:
        rows = engine.stream(plan.returning or "", plan.returning_values)
        assert rows is not None
        found = list(rows.batches())
    finally:
        engine.unregister(RETURNED)
    return Result(rows.columns, iter(found), statistics=run.statistics)


def _made_table(
    answers: list[Page | None], context: WriteContext, plan: WritePlan
) -> pa.Table:
    """What awaited operations made, with the operation's own members beside it."""
    _, table = _operation_table(answers, context, plan)
    found = [json.loads(a.body) for a in answers if a is not None and a.body]
    members: dict[str, list[Any]] = {}
    responses = [o.get("response") or {} for o in found]
    for key in dict.fromkeys(k for r in responses for k in r if not k.startswith("@")):
        members[key] = [r.get(key) for r in responses]
    for key, values in members.items():
        kind = "VARCHAR" if all(v is None or isinstance(v, str) for v in values) else "JSON"
        array = columns_array(values, kind, plan.method.full_name, key)
        if isinstance(array.type, pa.BaseExtensionType):
            array = array.storage
        if key in table.column_names:
            table = table.set_column(table.column_names.index(key), key, array)
        else:
            table = table.append_column(key, array)
    return table


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat()
    if isinstance(value, float | Decimal) and value == int(value):
        return str(int(value))
    return str(value)


__all__ = ["ApiError", "WriteCall", "WriteContext", "calls_of", "write"]
