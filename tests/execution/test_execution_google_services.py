"""The services beside the stores: what is sent to each, and what their answers become."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from dicomsql.config import Settings
from dicomsql.errors import ConflictError, ConsentError, Error, OperationalError, PlanningError
from dicomsql.session import Session

Answer = tuple[int, Any]


@dataclass
class Asked:
    """A request that came."""

    line: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    """Answers by method and path, and remembers what was asked."""

    url: str = ""
    answers: dict[str, list[Answer] | Answer] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        found = self.answers.get(asked.line, (404, {"error": {"code": 404, "message": "none"}}))
        return found.pop(0) if isinstance(found, list) else found


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def serve(self) -> None:
            parts = urlsplit(self.path)
            line = f"{self.command} {unquote(parts.path)}"
            asked = Asked(line, dict(parse_qsl(parts.query)), dict(self.headers), self.read())
            status, body = made.answer(asked)
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def read(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            found = b""
            while size := int(self.rfile.readline(), 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return found

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        made.url = f"http://127.0.0.1:{http.server_address[1]}"
        yield made
        http.shutdown()
        thread.join()


Run = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def run(server: Server) -> Iterator[Run]:
    settings = Settings(
        endpoint=server.url, project="p", location="l", dataset="healthdata", anonymous=True
    )
    with Session(settings) as session:

        def run_all(text: str) -> list[dict[str, Any]]:
            rows: list[dict[str, Any]] = []
            for statement in session.parse(text):
                result = session.execute(statement)
                rows = [row for batch in result.batches() for row in batch.to_pylist()]
                if result.columns is None:
                    rows = [{"message": result.message}]
            return rows

        yield run_all


def query_answer(**more: Any) -> dict[str, Any]:
    return {"jobReference": {"projectId": "p", "jobId": "j1", "location": "EU"}} | more


def cells(*values: Any) -> dict[str, Any]:
    return {"f": [{"v": value} for value in values]}


QUERY = "SET allow_writes = 1; EXEC google.bigquery.jobs.query @query = 'SELECT 1'"


# -- queries ---------------------------------------------------------------------------------------


def test_a_query_s_rows_have_its_own_columns(server: Server, run: Run) -> None:
    inner_record = [{"name": "b", "type": "BYTES"}]
    record = [
        {"name": "x", "type": "INTEGER"},
        {"name": "d", "type": "DATE"},
        {"name": "in", "type": "RECORD", "mode": "REPEATED", "fields": inner_record},
    ]
    moment = "2025-01-31 12:00:00.123456+00:00"
    columns: list[tuple[str, str, str, Any, Any]] = [
        ("text", "STRING", "NULLABLE", "å", "å"),
        ("whole", "INT64", "NULLABLE", "-9223372036854775808", -(2**63)),
        ("real", "FLOAT64", "NULLABLE", "1.5E300", 1.5e300),
        ("yes", "BOOL", "REQUIRED", "true", True),
        ("money", "NUMERIC", "NULLABLE", "12.5", "12.500000000"),
        ("wide", "BIGNUMERIC", "NULLABLE", "1" * 70, "1" * 70),
        ("day", "DATE", "NULLABLE", "2026-01-31", "2026-01-31"),
        ("clock", "TIME", "NULLABLE", "12:00:00.25", "12:00:00.250000"),
        ("local", "DATETIME", "NULLABLE", "2026-01-31T12:00:00", "2026-01-31 12:00:00"),
        ("seconds", "TIMESTAMP", "NULLABLE", "1.738324800123456E9", moment),
        ("micros", "TIMESTAMP", "NULLABLE", "1738324800123456", moment),
        ("bytes", "BYTES", "NULLABLE", "AAE=", b"\x00\x01"),
        ("json", "JSON", "NULLABLE", '{"a":1}', '{"a":1}'),
        ("names", "STRING", "REPEATED", [{"v": "a"}, {"v": "b"}], ["a", "b"]),
        ("none", "STRING", "NULLABLE", None, None),
    ]  # fmt: skip
    schema = [{"name": n, "type": t, "mode": m} for n, t, m, _, _ in columns]
    schema.append({"name": "rec", "type": "RECORD", "fields": record})  # type: ignore[dict-item]
    inner = cells("7", "2026-01-31", [{"v": cells("AAE=")}])
    server.answers["POST /bigquery/v2/projects/p/queries"] = (
        200,
        query_answer(
            jobComplete=True,
            totalRows="1",
            schema={"fields": schema},
            rows=[cells(*(v for *_, v, _ in columns), inner)],
        ),
    )
    (row,) = run(QUERY)
    shown = {name: value for name, *_, value in columns}
    plain = ("text", "whole", "real", "yes", "bytes", "json", "names", "none", "wide")
    assert {name: row[name] for name in shown} == {
        name: row[name] if name not in plain and str(row[name]) == value else value
        for name, value in shown.items()
    }
    assert json.loads(row["rec"]) == {"x": 7, "d": "2026-01-31", "in": [{"b": "AAE="}]}


def test_a_query_is_waited_for_and_read_to_its_last_page(server: Server, run: Run) -> None:
    schema = {"fields": [{"name": "n", "type": "INTEGER"}]}
    whole = {"jobComplete": True, "totalRows": "3", "schema": schema}
    server.answers["POST /bigquery/v2/projects/p/queries"] = (200, query_answer(jobComplete=False))
    server.answers["GET /bigquery/v2/projects/p/queries/j1"] = [
        (200, query_answer(jobComplete=False)),
        (200, query_answer(**whole, rows=[cells("1"), cells("2")], pageToken="t")),
        (200, query_answer(**whole, rows=[cells("3")])),
    ]
    assert [row["n"] for row in run(QUERY)] == [1, 2, 3]
    assert [a.query for a in server.asked[1:]] == [
        {"location": "EU"},
        {"location": "EU"},
        {"location": "EU", "pageToken": "t"},
    ]


def test_rows_that_do_not_come_are_missed(server: Server, run: Run) -> None:
    schema = {"fields": [{"name": "n", "type": "INTEGER"}]}
    place = "POST /bigquery/v2/projects/p/queries"
    whole = query_answer(jobComplete=True, schema=schema, totalRows="2", rows=[cells("1")])
    server.answers[place] = (200, whole)
    with pytest.raises(OperationalError, match="1 rows came where there are 2"):
        run(QUERY)
    server.answers[place] = (200, {**whole, "totalRows": "1", "rows": [cells("1", "2")]})
    with pytest.raises(OperationalError, match="not as many values"):
        run(QUERY)
    server.answers[place] = (200, {**whole, "totalRows": "1", "rows": [cells("secret")]})
    with pytest.raises(OperationalError, match="a value of n is no INTEGER") as failure:
        run(QUERY)
    assert "secret" not in str(failure.value)
    circle = {**whole, "pageToken": "t"}
    server.answers[place] = (200, circle)
    server.answers["GET /bigquery/v2/projects/p/queries/j1"] = (200, circle)
    with pytest.raises(OperationalError, match="circle"):
        run(QUERY)


def test_what_a_query_wrote_is_a_sentence(server: Server, run: Run) -> None:
    server.answers["POST /bigquery/v2/projects/p/queries"] = (
        200,
        query_answer(jobComplete=True, numDmlAffectedRows="12"),
    )
    assert run(QUERY) == [{"message": "The query wrote 12 rows."}]


def test_returning_asks_the_engine_over_a_query_s_rows(server: Server, run: Run) -> None:
    schema = {"fields": [{"name": "n", "type": "INTEGER"}]}
    server.answers["POST /bigquery/v2/projects/p/queries"] = (
        200,
        query_answer(jobComplete=True, schema=schema, totalRows="2", rows=[cells("1"), cells("5")]),
    )
    assert run(f"{QUERY} RETURNING sum(n)::INT AS total") == [{"total": 6}]


def test_a_query_is_billed_and_so_has_to_be_allowed(server: Server, run: Run) -> None:
    with pytest.raises(ConsentError, match="would run 1 query"):
        run("EXEC google.bigquery.jobs.query @query = 'SELECT 1'")
    assert server.asked == []


# -- objects ---------------------------------------------------------------------------------------


def test_files_become_objects_and_never_take_another_s_place(
    server: Server, run: Run, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.dcm").write_bytes(name.encode() * 3)
    server.answers["POST /upload/storage/v1/b/bucket/o"] = (200, {"name": "x", "bucket": "bucket"})
    run(
        "INSERT INTO google.storage.objects (bucket, name, file, contentType) "
        "SELECT 'bucket', 'in/' || parse_filename(file), file, 'application/dicom' "
        f"FROM glob('{tmp_path}/*.dcm')"
    )
    assert sorted((a.query["name"], a.body) for a in server.asked) == [
        ("in/a.dcm", b"aaa"),
        ("in/b.dcm", b"bbb"),
    ]
    for asked in server.asked:
        assert asked.query["uploadType"] == "media"
        assert asked.query["ifGenerationMatch"] == "0"
        assert asked.headers["Content-Type"] == "application/dicom"


def test_an_object_that_is_there_is_said_to_be_there(
    server: Server, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(b"new")
    refused = {"error": {"code": 412, "message": "At least one condition did not hold."}}
    server.answers["POST /upload/storage/v1/b/bucket/o"] = (412, refused)
    with pytest.raises(ConflictError, match="There is an object of that name") as caught:
        run(
            "INSERT INTO google.storage.objects (bucket, name, file) "
            f"SELECT 'bucket', 'a', '{tmp_path / 'a'}'"
        )
    assert "patient" not in str(caught.value)


def test_an_object_is_overwritten_where_the_statement_says_which(
    server: Server, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(b"new")
    server.answers["POST /upload/storage/v1/b/bucket/o"] = (200, {"name": "a"})
    place = f"@bucket = 'bucket', @name = 'a', @@file = '{tmp_path / 'a'}'"
    run(f"EXEC google.storage.objects.insert @ifGenerationMatch = '17', {place}")
    assert server.asked[-1].query["ifGenerationMatch"] == "17"
    with pytest.raises(ConsentError, match="overwrite 1 object"):
        run(f"EXEC google.storage.objects.overwrite {place}")
    assert len(server.asked) == 1
    run(f"SET allow_writes = 1; EXEC google.storage.objects.overwrite {place}")
    assert "ifGenerationMatch" not in server.asked[-1].query


def test_a_body_is_bytes_or_a_file_that_is_there(server: Server, run: Run, tmp_path: Path) -> None:
    server.answers["POST /upload/storage/v1/b/bucket/o"] = (200, {"name": "a"})
    columns = "INSERT INTO google.storage.objects (bucket, name, data, file) SELECT 'bucket', 'a', "
    run(f"{columns} '\\x00\\x01'::BLOB, NULL")
    assert server.asked[-1].body == b"\x00\x01"
    with pytest.raises(PlanningError, match="there is no file"):
        run(f"{columns} NULL, '{tmp_path / 'none'}'")
    with pytest.raises(PlanningError, match="not both"):
        run(f"{columns} 'AAE=', '{__file__}'")
    assert len(server.asked) == 1


def test_an_object_s_bytes_are_a_row_or_a_new_file(
    server: Server, run: Run, tmp_path: Path
) -> None:
    server.answers["GET /download/storage/v1/b/bucket/o/in/a.dcm"] = (200, b"\x00\xff")
    place = "bucket = 'bucket' AND object = 'in/a.dcm'"
    (row,) = run(f"SELECT data FROM google.storage.objects_media WHERE {place}")
    assert row["data"] == b"\x00\xff"
    target = tmp_path / "a.dcm"
    fetch = (
        "EXEC google.storage.objects.get_media @bucket = 'bucket', @object = 'in/a.dcm', "
        f"@@output = '{target}'"
    )
    assert "2 bytes" in run(fetch)[0]["message"]
    assert target.read_bytes() == b"\x00\xff"
    assert target.stat().st_mode & 0o777 == 0o600
    assert [a.query["alt"] for a in server.asked] == ["media", "media"]
    target.write_bytes(b"mine")
    with pytest.raises(OperationalError, match="is there already"):
        run(fetch)
    assert target.read_bytes() == b"mine"
    target.unlink()
    server.answers.clear()
    with pytest.raises(Error):
        run(fetch)
    assert list(tmp_path.iterdir()) == []


def test_listed_objects_have_their_names_as_parameters(server: Server, run: Run) -> None:
    page = {"items": [{"name": "in/a", "bucket": "b", "size": "18446744073709551615"}]}
    server.answers["GET /storage/v1/b/b/o"] = [
        (200, {**page, "nextPageToken": "t"}),
        (200, {"items": [{"name": "c", "bucket": "b", "size": "1"}]}),
    ]
    rows = run("SELECT object, size FROM google.storage.objects WHERE bucket = 'b'")
    assert [(r["object"], r["size"]) for r in rows] == [("in/a", 2**64 - 1), ("c", 1)]
    assert server.asked[1].query["pageToken"] == "t"


# -- what the session gives ------------------------------------------------------------------------


def test_the_session_s_project_is_every_service_s(server: Server, run: Run) -> None:
    server.answers["GET /storage/v1/b"] = (200, {"items": [{"name": "x"}]})
    server.answers["PUT /v1/projects/p/topics/t"] = (200, {"name": "projects/p/topics/t"})
    service = {"name": "operations/o", "done": True, "response": {"service": {"state": "ENABLED"}}}
    server.answers["POST /v1/projects/p/services/x.googleapis.com:enable"] = (200, service)
    assert run("SELECT bucket FROM google.storage.buckets") == [{"bucket": "x"}]
    assert server.asked[-1].query["project"] == "p"
    assert run("INSERT INTO google.pubsub.topics (topicsId) SELECT 't' RETURNING topicsId") == [
        {"topicsId": "t"}
    ]
    run("EXEC /*+ AWAIT */ google.serviceusage.services.enable @servicesId = 'x.googleapis.com'")


def test_the_session_s_dataset_is_none_of_bigquery_s(server: Server, run: Run) -> None:
    with pytest.raises(PlanningError, match="lacks datasetsId"):
        run("SELECT * FROM google.bigquery.tables")
    assert server.asked == []


def test_pulled_messages_are_rows(server: Server, run: Run) -> None:
    server.answers["POST /v1/projects/p/subscriptions/s:pull"] = (
        200,
        {"receivedMessages": [{"ackId": "1", "message": {"data": "aGk=", "messageId": "7"}}]},
    )
    pull = "EXEC google.pubsub.subscriptions.pull @subscriptionsId = 's', @maxMessages = 5"
    assert [row["ackId"] for row in run(pull)] == ["1"]
    assert json.loads(server.asked[-1].body) == {"maxMessages": 5}
    (row,) = run(f"{pull} RETURNING from_base64(message->>'data')::VARCHAR AS data")
    assert row == {"data": "hi"}


def test_rows_that_a_table_refused_fail_the_statement(server: Server, run: Run) -> None:
    insert = (
        "INSERT INTO google.bigquery.tabledata (datasetsId, tablesId, rows) "
        """SELECT 'd', 't', '[{"json": {"name": "secret"}}, {"json": {"name": "x"}}]'"""
    )
    place = "POST /bigquery/v2/projects/p/datasets/d/tables/t/insertAll"
    server.answers[place] = (200, {"kind": "bigquery#tableDataInsertAllResponse"})
    run(insert)
    error = {"index": 0, "errors": [{"reason": "invalid", "message": "no such field: secret"}]}
    server.answers[place] = (200, {"insertErrors": [error]})
    with pytest.raises(OperationalError, match=r"1 of what it holds failed \(insertErrors\)") as e:
        run(insert)
    assert "secret" not in str(e.value)
