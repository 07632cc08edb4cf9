"""BigQuery's JSON API: datasets, tables, their rows, and queries."""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicomsql.emulator.neighbours import remote
from dicomsql.emulator.neighbours.base import Column, Disposition, NeighbourError, TableName, Tables
from dicomsql.emulator.neighbours.cells import Misfit, cells, checked
from dicomsql.emulator.neighbours.columns import from_json, to_json
from dicomsql.emulator.neighbours.queries import Queries
from dicomsql.emulator.neighbours.query import Question
from dicomsql.emulator.neighbours.tables import Answer, Dataset, Table, Warehouse, read_rows
from dicomsql.emulator.neighbours.web import Ask, Handler, Method, known, unimplemented
from dicomsql.emulator.status import StatusError, invalid

__all__ = ["BigQuery", "open_bigquery"]

_LARGEST_PAGE = 10_000
_BATCH = 100  # rows that are made at once
_LONGEST = 10.0**6  # seconds of a query; as long as queries may take
_LARGEST_ANSWER = 10_000_000  # bytes of a page of rows
_NAME = re.compile(r"[A-Za-z0-9_]{1,1024}")
_TABLE_NAME = re.compile(r"[\w -]{1,1024}")
_JOB_NAME = re.compile(r"[A-Za-z0-9_-]{1,1024}")
_ANY = "GET POST PUT PATCH DELETE"
_FORMAT = frozenset({"formatOptions.useInt64Timestamp", "formatOptions.timestampOutputFormat"})
_PAGE = frozenset({"maxResults", "pageToken"})
_ROWS = _PAGE | _FORMAT | {"startIndex"}
_MOMENTS = ("FLOAT64", "INT64", "ISO8601_STRING")
# What is said of a dataset or table and only shown again.
_SAID = ("description", "friendlyName", "labels")
_DATASET_FIELDS = (
    *("kind", "etag", "id", "selfLink", "datasetReference", "location", "access", "type"),
    *("creationTime", "lastModifiedTime", "maxTimeTravelHours", "storageBillingModel", *_SAID),
)
_DATASET_UNDONE = (
    *("defaultTableExpirationMs", "defaultPartitionExpirationMs", "isCaseInsensitive"),
    *("defaultCollation", "defaultEncryptionConfiguration", "externalDatasetReference"),
    *("defaultRoundingMode", "linkedDatasetSource", "resourceTags", "tags"),
)
_TABLE_FIELDS = (
    *("kind", "etag", "id", "selfLink", "tableReference", "schema", "type", "location"),
    *("creationTime", "lastModifiedTime", "numRows", "numBytes", *_SAID),
)
_TABLE_UNDONE = (
    *("view", "materializedView", "externalDataConfiguration", "timePartitioning", "clustering"),
    *("rangePartitioning", "expirationTime", "encryptionConfiguration", "requirePartitionFilter"),
    *("tableConstraints", "biglakeConfiguration", "snapshotDefinition", "cloneDefinition"),
    *("defaultCollation", "defaultRoundingMode", "resourceTags", "partitionDefinition", "model"),
)
_QUERY_FIELDS = (
    *("query", "useLegacySql", "defaultDataset", "parameterMode", "queryParameters"),
    *("useQueryCache", "maximumBytesBilled", "maximumBillingTier", "allowLargeResults"),
    *("flattenResults", "priority", "createDisposition", "writeDisposition", "destinationTable"),
)
_QUERY_UNDONE = (
    *("tableDefinitions", "userDefinedFunctionResources", "schemaUpdateOptions", "clustering"),
    *("timePartitioning", "rangePartitioning", "destinationEncryptionConfiguration", "continuous"),
    *("connectionProperties", "createSession", "scriptOptions", "preserveNulls"),
    *("destinationEncryptionConfiguration", "systemVariables", "writeIncrementalResults"),
)
_ASKED_FIELDS = (
    *("kind", "maxResults", "timeoutMs", "dryRun", "requestId", "location", "labels"),
    *("formatOptions", "jobCreationMode", "jobTimeoutMs"),
)


@dataclass(frozen=True, slots=True)
class BigQuery:
    """BigQuery, as the stores use it and as it is answered.

    Attributes:
        interrupt: ends the queries that run.
    """

    tables: Tables
    methods: tuple[Method, ...]
    close: Callable[[], None]
    interrupt: Callable[[], None] = lambda: None


def open_bigquery(place: Path, server: str) -> BigQuery:
    """BigQuery in a folder, or on another server.

    Args:
        server: its root URL; ours if empty.
    """
    if server:
        other = remote.Server(server, "BigQuery", "BIGQUERY_EMULATOR_HOST")
        paths = ("/bigquery/v2/{rest*}", "/upload/bigquery/v2/{rest*}")
        return BigQuery(
            remote.RemoteTables(other), tuple(other.method(path) for path in paths), lambda: None
        )
    warehouse, queries = Warehouse(place), Queries()

    def close() -> None:
        queries.close()
        warehouse.close()

    methods = tuple(_methods(_Api(warehouse, queries)))
    return BigQuery(warehouse, methods, close, queries.close)


def _methods(api: _Api) -> Iterator[Method]:
    project = "/bigquery/v2/projects/{project}"
    dataset, jobs = f"{project}/datasets/{{dataset}}", f"{project}/jobs"
    table = f"{dataset}/tables/{{table}}"
    rows: tuple[tuple[str, str, Handler, Collection[str]], ...] = (
        ("POST", f"{project}/datasets", api.insert_dataset, {"accessPolicyVersion"}),
        ("GET", f"{project}/datasets", api.list_datasets, {"all", "filter", *_PAGE}),
        ("GET", dataset, api.get_dataset, {"accessPolicyVersion", "datasetView"}),
        ("DELETE", dataset, api.delete_dataset, {"deleteContents"}),
        ("POST", f"{dataset}/tables", api.insert_table, set()),
        ("GET", f"{dataset}/tables", api.list_tables, _PAGE),
        ("GET", table, api.get_table, {"selectedFields", "view"}),
        ("DELETE", table, api.delete_table, set()),
        ("GET", f"{table}/data", api.list_rows, {"selectedFields", *_ROWS}),
        ("POST", f"{table}/insertAll", api.insert_rows, set()),
        ("POST", f"{project}/queries", api.query, set()),
        ("GET", f"{project}/queries/{{job}}", api.results, {"location", "timeoutMs", *_ROWS}),
        ("POST", jobs, api.insert_job, set()),
        ("GET", f"{jobs}/{{job}}", api.get_job, {"location"}),
    )
    for verb, path, handler, parameters in rows:
        yield Method(verb, path, handler, frozenset(parameters))
    yield unimplemented(_ANY, "/bigquery/v2/{rest*}")
    yield unimplemented(_ANY, "/upload/bigquery/v2/{rest*}")


class _Api:
    """The methods over a warehouse."""

    def __init__(self, warehouse: Warehouse, queries: Queries) -> None:
        self._warehouse = warehouse
        self._queries = queries

    def insert_dataset(self, ask: Ask) -> dict[str, Any]:
        body = ask.body()
        known(body, _DATASET_FIELDS, _DATASET_UNDONE)
        project, reference = ask.names["project"], body.get("datasetReference")
        name = reference.get("datasetId") if isinstance(reference, dict) else None
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise invalid(
                "Invalid datasetReference.datasetId: up to 1,024 letters, digits and underscores."
            )
        kept = {f: body[f] for f in (*_SAID, "location", "access") if body.get(f)}
        return _dataset(ask, project, self._warehouse.add_dataset(project, name, kept))

    def get_dataset(self, ask: Ask) -> dict[str, Any]:
        project = ask.names["project"]
        return _dataset(ask, project, self._warehouse.dataset(project, ask.names["dataset"]))

    def list_datasets(self, ask: Ask) -> dict[str, Any]:
        if ask.parameter("filter"):
            raise StatusError("UNIMPLEMENTED", "The emulator filters no datasets.")
        project, size = ask.names["project"], _size(ask, 50)
        found = self._warehouse.datasets(project, _after(ask), size + 1)
        parts = ("kind", "id", "datasetReference", "labels", "friendlyName", "location")
        shown = [_part(_dataset(ask, project, d), parts) for d in found[:size]]
        answer: dict[str, Any] = {"kind": "bigquery#datasetList", "etag": "0"}
        answer |= {"datasets": shown} if shown else {}
        return answer | _next(found, size)

    def delete_dataset(self, ask: Ask) -> Any:
        contents = ask.flag("deleteContents")
        self._warehouse.remove_dataset(ask.names["project"], ask.names["dataset"], contents)
        return _nothing()

    def insert_table(self, ask: Ask) -> dict[str, Any]:
        body = ask.body()
        known(body, _TABLE_FIELDS, _TABLE_UNDONE)
        reference = body.get("tableReference")
        table = reference.get("tableId") if isinstance(reference, dict) else None
        if not isinstance(table, str) or not _TABLE_NAME.fullmatch(table):
            raise invalid("Invalid tableReference.tableId: letters, digits, underscores, dashes.")
        schema = body.get("schema") or {}
        if not isinstance(schema, dict):
            raise invalid("Invalid schema: an object with fields is needed.")
        columns = from_json(schema.get("fields") or [])
        name = TableName(ask.names["project"], ask.names["dataset"], table)
        kept = {field: body[field] for field in _SAID if body.get(field)}
        return _table(ask, name, self._warehouse.add_table(name, columns, kept))

    def get_table(self, ask: Ask) -> dict[str, Any]:
        name = _name(ask)
        return _table(ask, name, self._warehouse.table(name))

    def list_tables(self, ask: Ask) -> dict[str, Any]:
        project, dataset, size = ask.names["project"], ask.names["dataset"], _size(ask, 50)
        found = self._warehouse.tables(project, dataset, _after(ask), size + 1)
        parts = ("kind", "id", "tableReference", "type", "labels", "friendlyName", "creationTime")
        shown = [
            _part(_table(ask, TableName(project, dataset, t.name), t), parts) for t in found[:size]
        ]
        answer: dict[str, Any] = {"kind": "bigquery#tableList", "etag": "0"}
        answer |= {"tables": shown} if shown else {}
        return answer | _next(found, size)

    def delete_table(self, ask: Ask) -> Any:
        self._warehouse.remove_table(_name(ask))
        return _nothing()

    def list_rows(self, ask: Ask) -> dict[str, Any]:
        """All rows of a table, in the order in which they came, page by page."""
        if ask.parameter("selectedFields"):
            raise StatusError("UNIMPLEMENTED", "The emulator lists all columns of a table.")
        name = _name(ask)
        held = self._warehouse.table(name)
        start, count = _window(ask)
        answer: dict[str, Any] = {"kind": "bigquery#tableDataList", "etag": "0"}
        answer["totalRows"] = str(held.rows)
        if not held.columns or count == 0 or start >= held.rows:
            return answer
        shown_name = ".".join(f"`{part}`" for part in (name.project, name.dataset, name.table))
        sql = f"SELECT * FROM {shown_name} LIMIT {count} OFFSET {start}"  # noqa: S608 - names checked
        asked = Question(sql, name.project)
        with self._warehouse.answer() as path:
            found = self._queries.run(asked, self._warehouse.snapshot, path, gone=ask.gone)
            listed = Answer({}, held.columns, found.rows, path)
            shown = _page(listed, 0, count, _moments(ask))
        answer |= {"rows": shown} if shown else {}
        end = start + len(shown)
        return answer | ({"pageToken": _token([end])} if end < held.rows else {})

    def insert_rows(self, ask: Ask) -> dict[str, Any]:
        body = ask.body()
        fields = ("kind", "rows", "skipInvalidRows", "ignoreUnknownValues", "traceId")
        known(body, fields, ("templateSuffix",))
        rows = body.get("rows")
        if not isinstance(rows, list) or not rows:
            raise invalid("No rows present in the request.")
        name = _name(ask)
        columns = self._warehouse.table(name).columns
        ignore, skip = bool(body.get("ignoreUnknownValues")), bool(body.get("skipInvalidRows"))
        fit: list[tuple[str, dict[str, Any]]] = []
        errors: dict[int, Misfit | None] = {}
        for number, row in enumerate(rows):
            values = row.get("json") if isinstance(row, dict) else None
            try:
                if not isinstance(values, dict):
                    raise Misfit("", "A row is an object with json.")
                checked(columns, values, ignore_unknown=ignore)
            except Misfit as error:
                errors[number] = error
                continue
            names = {column.name.lower() for column in columns}
            kept = {k: v for k, v in values.items() if k.lower() in names}
            fit.append((str(row.get("insertId") or ""), _pruned(columns, kept)))
        if errors and not skip:
            errors = {number: errors.get(number) for number in range(len(rows))}
            fit = []
        if fit:
            self._warehouse.insert(name, fit)
        answer: dict[str, Any] = {"kind": "bigquery#tableDataInsertAllResponse"}
        if errors:
            answer["insertErrors"] = [_insert_error(n, error) for n, error in errors.items()]
        return answer

    def query(self, ask: Ask) -> dict[str, Any]:
        body = ask.body()
        refused = {"connectionProperties", "createSession", "continuous", *_QUERY_UNDONE}
        known(body, (*_ASKED_FIELDS, *_QUERY_FIELDS, "preserveNulls"), refused - {"preserveNulls"})
        size = _number(body.get("maxResults"), "maxResults", _LARGEST_PAGE)
        options = body.get("formatOptions")
        moments = _chosen_moments(options if isinstance(options, dict) else {})
        query = {field: body[field] for field in _QUERY_FIELDS if field in body}
        seconds = _seconds(body.get("jobTimeoutMs"))
        answer = self._run(ask, query, {}, bool(body.get("dryRun")), seconds=seconds)
        return _results(answer, "bigquery#queryResponse", 0, size, moments)

    def results(self, ask: Ask) -> dict[str, Any]:
        answer = self._warehouse.job(ask.names["project"], ask.names["job"])
        start, count = _window(ask)
        kind = "bigquery#getQueryResultsResponse"
        return {"etag": "0", **_results(answer, kind, start, count, _moments(ask))}

    def insert_job(self, ask: Ask) -> dict[str, Any]:
        """A job that is a query; it is done when this answers."""
        body = ask.body()
        known(body, ("kind", "configuration", "jobReference", "jobCreationReason"))
        configuration = body.get("configuration")
        if not isinstance(configuration, dict):
            raise invalid("Required parameter is missing: configuration.")
        kinds = ("load", "copy", "extract")
        known(configuration, ("query", "dryRun", "jobTimeoutMs", "labels", "jobType"), kinds)
        query = configuration.get("query")
        if not isinstance(query, dict):
            raise invalid("Required parameter is missing: configuration.query.")
        reference = body.get("jobReference")
        reference = reference if isinstance(reference, dict) else {}
        dry = bool(configuration.get("dryRun"))
        seconds = _seconds(configuration.get("jobTimeoutMs"))
        labels = configuration.get("labels")
        answer = self._run(ask, query, reference, dry, labels=labels, seconds=seconds)
        return {**answer.body, "configuration": {**answer.body["configuration"], "dryRun": dry}}

    def get_job(self, ask: Ask) -> dict[str, Any]:
        return self._warehouse.job(ask.names["project"], ask.names["job"]).body

    def _run(
        self,
        ask: Ask,
        query: dict[str, Any],
        reference: Mapping[str, Any],
        dry: bool,
        *,
        labels: Any = None,
        seconds: float = _LONGEST,
    ) -> Answer:
        known(query, _QUERY_FIELDS, _QUERY_UNDONE)
        project = ask.names["project"]
        number = reference.get("jobId") or f"job_{uuid.uuid4().hex}"
        if not isinstance(number, str) or not _JOB_NAME.fullmatch(number):
            raise invalid("Invalid jobId: letters, digits, underscores and dashes.")
        with contextlib.suppress(NeighbourError):
            self._warehouse.job(project, number)
            raise StatusError("ALREADY_EXISTS", f"Already Exists: Job {project}:{number}")
        sql = query.get("query")
        if not isinstance(sql, str) or not sql.strip():
            raise invalid("Required parameter is missing: query.")
        _check_dialect(query, sql)
        parameters = query.get("queryParameters") or []
        if not isinstance(parameters, list) or not all(isinstance(p, dict) for p in parameters):
            raise invalid("Invalid queryParameters: a list of objects is needed.")
        started = time.time()
        question = Question(sql, project, _default_dataset(query, project), parameters)
        location = str(reference.get("location") or "US")
        place = {"projectId": project, "jobId": number, "location": location}
        target = query.get("destinationTable")
        with self._warehouse.answer() as path:
            found = self._queries.run(
                question,
                self._warehouse.snapshot,
                path,
                dry=dry,
                seconds=seconds,
                gone=ask.gone,
            )
            body = _job(ask, place, query, labels, started)
            answer = Answer(body, found.columns, found.rows, path)
            if dry:
                del body["jobReference"]["jobId"]
                return answer
            if isinstance(target, dict) and target:
                self._save(target, answer, query, number)
            self._warehouse.keep(project, number, answer)
            return answer

    def _save(
        self,
        target: dict[str, Any],
        answer: Answer,
        query: dict[str, Any],
        number: str,
    ) -> None:
        names = [target.get(field) for field in ("projectId", "datasetId", "tableId")]
        said = query.get("writeDisposition") or "WRITE_EMPTY"
        if not all(isinstance(name, str) and name for name in names):
            raise invalid("Invalid destinationTable: projectId, datasetId and tableId are needed.")
        if said not in list(Disposition):
            raise invalid("Invalid writeDisposition.")
        name = TableName(*(str(part) for part in names))
        if query.get("createDisposition") == "CREATE_NEVER":
            self._warehouse.table(name)
        plain = (
            _plain(answer.columns, row)
            for _, table in read_rows(answer, 0, answer.rows)
            for batch in table.to_batches(_BATCH)
            for row in batch.to_pylist()
        )
        self._warehouse.load(name, answer.columns, plain, Disposition(said), once=number)


def _check_dialect(query: Mapping[str, Any], sql: str) -> None:
    standard = re.match(r"\s*#\s*standardSQL\b", sql, re.IGNORECASE)
    if query.get("useLegacySql", True) is not False and not standard:
        raise StatusError(
            "UNIMPLEMENTED",
            "The emulator has no legacy SQL, which BigQuery takes a query for unless it is told"
            " otherwise: set useLegacySql to false.",
        )


def _default_dataset(query: Mapping[str, Any], project: str) -> tuple[str, str] | None:
    found = query.get("defaultDataset")
    if not found:
        return None
    if not isinstance(found, dict) or not isinstance(found.get("datasetId"), str):
        raise invalid("Invalid defaultDataset: datasetId is needed.")
    return str(found.get("projectId") or project), found["datasetId"]


def _job(
    ask: Ask,
    place: dict[str, str],
    query: dict[str, Any],
    labels: Any,
    started: float,
) -> dict[str, Any]:
    project, number = place["projectId"], place["jobId"]
    configuration = {"jobType": "QUERY", "query": query}
    if labels:
        configuration["labels"] = labels
    return {
        "kind": "bigquery#job",
        "etag": "0",
        "id": f"{project}:{place['location']}.{number}",
        "selfLink": f"{ask.origin}/bigquery/v2/projects/{project}/jobs/{number}",
        "jobReference": place,
        "configuration": configuration,
        "status": {"state": "DONE"},
        "statistics": {
            "creationTime": _milliseconds(started),
            "startTime": _milliseconds(started),
            "endTime": _milliseconds(time.time()),
            "totalBytesProcessed": "0",
            "query": {
                "statementType": "SELECT",
                "totalBytesProcessed": "0",
                "totalBytesBilled": "0",
                "cacheHit": False,
                "totalSlotMs": "0",
            },
        },
    }


def _results(answer: Answer, kind: str, start: int, count: int, moments: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "kind": kind,
        "schema": {"fields": to_json(answer.columns)},
        "jobReference": answer.body["jobReference"],
        "totalRows": str(answer.rows),
        "totalBytesProcessed": "0",
        "jobComplete": True,
        "cacheHit": False,
    }
    if count <= 0 or start >= answer.rows:
        return found
    rows = _page(answer, start, count, moments)
    end = start + len(rows)
    found["rows"] = rows
    return found | ({"pageToken": _token([end])} if end < answer.rows else {})


def _page(answer: Answer, start: int, count: int, moments: str) -> list[dict[str, Any]]:
    """As many rows as an answer takes, at least one."""
    rows: list[dict[str, Any]] = []
    size = 0
    for columns, table in read_rows(answer, start, count):
        for first in range(0, table.num_rows, _BATCH):
            for row in cells(columns, table.slice(first, _BATCH), moments):
                size += len(json.dumps(row, ensure_ascii=False))
                if size > _LARGEST_ANSWER and rows:
                    return rows
                rows.append(row)
    return rows


def _dataset(ask: Ask, project: str, dataset: Dataset) -> dict[str, Any]:
    made = _milliseconds(dataset.created)
    return {
        "kind": "bigquery#dataset",
        "etag": _etag(dataset.created),
        "id": f"{project}:{dataset.name}",
        "selfLink": f"{ask.origin}/bigquery/v2/projects/{project}/datasets/{dataset.name}",
        "datasetReference": {"datasetId": dataset.name, "projectId": project},
        "location": "US",
        "type": "DEFAULT",
        "creationTime": made,
        "lastModifiedTime": made,
        **dataset.body,
    }


def _table(ask: Ask, name: TableName, table: Table) -> dict[str, Any]:
    path = f"projects/{name.project}/datasets/{name.dataset}/tables/{name.table}"
    return {
        "kind": "bigquery#table",
        "etag": _etag(table.modified),
        "id": f"{name.project}:{name.dataset}.{name.table}",
        "selfLink": f"{ask.origin}/bigquery/v2/{path}",
        "tableReference": {
            "projectId": name.project,
            "datasetId": name.dataset,
            "tableId": name.table,
        },
        "schema": {"fields": to_json(table.columns)},
        "numBytes": str(table.size),
        "numRows": str(table.rows),
        "creationTime": _milliseconds(table.created),
        "lastModifiedTime": _milliseconds(table.modified),
        "type": "TABLE",
        "location": "US",
        **table.body,
    }


def _insert_error(number: int, error: Misfit | None) -> dict[str, Any]:
    if error is None:
        said = {"reason": "stopped", "location": "", "debugInfo": "", "message": ""}
    else:
        where = error.column
        said = {"reason": "invalid", "location": where, "debugInfo": "", "message": str(error)}
    return {"index": number, "errors": [said]}


def _pruned(columns: tuple[Column, ...], values: Mapping[str, Any]) -> dict[str, Any]:
    """A row without the fields of records that have no column."""
    below = {column.name.lower(): column for column in columns}
    found = {}
    for name, value in values.items():
        column = below[name.lower()]
        if column.type != "RECORD" or value is None:
            found[column.name] = value
        elif isinstance(value, list):
            found[column.name] = [_of_record(column, member) for member in value]
        else:
            found[column.name] = _of_record(column, value)
    return found


def _of_record(column: Column, value: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name.lower() for field in column.fields}
    return _pruned(column.fields, {k: v for k, v in value.items() if k.lower() in names})


def _plain(columns: tuple[Column, ...], row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a query's answer as BigQuery's JSON has it."""
    found: dict[str, Any] = {}
    for column in columns:
        value = row[column.name]
        members = value if column.mode == "REPEATED" else [value]
        read = [_plain_value(column, member) for member in members or ()]
        found[column.name] = read if column.mode == "REPEATED" else read[0]
    return found


def _plain_value(column: Column, value: Any) -> Any:
    if value is None:
        return None
    if column.type == "RECORD":
        return _plain(column.fields, value)
    if column.type == "BYTES":
        return base64.b64encode(value).decode()
    if column.type in {"DATE", "TIME", "DATETIME", "TIMESTAMP"}:
        return value.isoformat()
    return str(value) if column.type == "NUMERIC" else value


def _name(ask: Ask) -> TableName:
    name = TableName(ask.names["project"], ask.names["dataset"], ask.names["table"])
    if not _TABLE_NAME.fullmatch(name.table):
        raise NeighbourError("NOT_FOUND", "Not found: no table can have this name.")
    return name


def _window(ask: Ask) -> tuple[int, int]:
    """The first row and how many of a page."""
    count = ask.number("maxResults", _LARGEST_PAGE, _LARGEST_PAGE)
    token = ask.parameter("pageToken")
    if not token:
        return ask.number("startIndex", 0, 10**18), count
    start = _read_token(token)
    if not isinstance(start, int) or start < 0:
        raise _bad_token()
    return start, count


def _moments(ask: Ask) -> str:
    return _chosen_moments(
        {
            "useInt64Timestamp": ask.flag("formatOptions.useInt64Timestamp"),
            "timestampOutputFormat": ask.parameter("formatOptions.timestampOutputFormat"),
        }
    )


def _chosen_moments(options: Mapping[str, Any]) -> str:
    wanted = options.get("timestampOutputFormat") or "TIMESTAMP_OUTPUT_FORMAT_UNSPECIFIED"
    if options.get("useInt64Timestamp") in (True, "true"):
        return "INT64"
    if wanted == "TIMESTAMP_OUTPUT_FORMAT_UNSPECIFIED":
        return "FLOAT64"
    if wanted not in _MOMENTS:
        raise invalid("Invalid formatOptions.timestampOutputFormat.")
    return str(wanted)


def _size(ask: Ask, default: int) -> int:
    return ask.number("maxResults", default, 1000) or default


def _after(ask: Ask) -> str:
    token = ask.parameter("pageToken")
    found = _read_token(token) if token else ""
    if not isinstance(found, str):
        raise _bad_token()
    return found


def _next(found: list[Any], size: int) -> dict[str, Any]:
    return {"nextPageToken": _token([found[size - 1].name])} if len(found) > size else {}


def _number(value: Any, name: str, default: int) -> int:
    if value is None:
        return default
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,18}", str(value)):
        raise invalid(f"Invalid value for {name}: a number from 0 is needed.")
    return min(int(value), default)


def _seconds(milliseconds: Any) -> float:
    """What a query may take, where it is said."""
    found = _number(milliseconds, "jobTimeoutMs", 10**9) / 1000
    return found or _LONGEST


def _token(state: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(state).encode()).decode()


def _read_token(token: str) -> Any:
    with contextlib.suppress(binascii.Error, ValueError):
        found = json.loads(base64.urlsafe_b64decode(token))
        if isinstance(found, list) and len(found) == 1:
            return found[0]
    raise _bad_token()


def _bad_token() -> StatusError:
    return invalid("Invalid pageToken: give the one of the page before, unchanged.")


def _part(body: Mapping[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    return {field: body[field] for field in fields if field in body}


def _etag(moment: float) -> str:
    return base64.urlsafe_b64encode(str(moment).encode()).decode()


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


def _nothing() -> Any:
    from starlette.responses import Response

    return Response(b"", 204)
