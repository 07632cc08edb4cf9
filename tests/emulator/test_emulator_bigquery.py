"""BigQuery in the emulator: datasets, tables, rows, queries."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dicomsql.emulator.neighbours import tables
from dicomsql.emulator.neighbours.base import Column, Disposition, NeighbourError, TableName
from dicomsql.emulator.neighbours.queries import Queries
from dicomsql.emulator.neighbours.query import Question, parse
from dicomsql.emulator.neighbours.running import answer
from dicomsql.emulator.neighbours.tables import Answer, Warehouse

PROJECT = "/bigquery/v2/projects/p"
DATASET = PROJECT + "/datasets/d"
NAME = TableName("p", "d", "t")


@pytest.fixture
def client(tmp_path: Path, open_emulator: Callable[..., Any]) -> Iterator[Any]:
    yield from opened(tmp_path / "root", open_emulator)


@pytest.fixture(scope="module")
def reader(
    tmp_path_factory: pytest.TempPathFactory, open_emulator: Callable[..., Any]
) -> Iterator[Any]:
    """The same, for tests that change nothing: a process that runs queries takes a second."""
    yield from opened(tmp_path_factory.mktemp("bigquery") / "root", open_emulator)


def opened(root: Path, open_emulator: Callable[..., Any]) -> Iterator[Any]:
    """An emulator with a dataset and a table of every type, of two rows."""
    fields = [
        {"name": "s", "type": "STRING", "mode": "REQUIRED"},
        {"name": "i", "type": "INT64"},
        {"name": "f", "type": "FLOAT"},
        {"name": "b", "type": "BOOL"},
        {"name": "y", "type": "BYTES"},
        {"name": "n", "type": "NUMERIC"},
        {"name": "d", "type": "DATE"},
        {"name": "t", "type": "TIME"},
        {"name": "dt", "type": "DATETIME"},
        {"name": "ts", "type": "TIMESTAMP"},
        {"name": "j", "type": "JSON"},
        {
            "name": "r",
            "type": "RECORD",
            "mode": "REPEATED",
            "fields": [{"name": "x", "type": "INTEGER"}, {"name": "y", "type": "STRING"}],
        },
    ]
    row = {
        "s": "text",
        "i": "7",
        "f": 0.5,
        "b": True,
        "y": "AAE=",
        "n": "1.10",
        "d": "2026-01-02",
        "t": "03:04:05.5",
        "dt": "2026-01-02T03:04:05",
        "ts": "2026-01-02 03:04:05 UTC",
        "j": '{"k": [1]}',
        "r": [{"x": 1, "y": "a"}, {"x": 2}],
    }
    with open_emulator(root, environment={}) as client:
        made = client.post(f"{PROJECT}/datasets", json={"datasetReference": {"datasetId": "d"}})
        assert made.status_code == 200
        body = {"tableReference": {"tableId": "t"}, "schema": {"fields": fields}}
        assert client.post(f"{DATASET}/tables", json=body).status_code == 200
        rows = {"rows": [{"json": row, "insertId": "1"}, {"json": {"s": "empty"}}]}
        inserted = client.post(f"{DATASET}/tables/t/insertAll", json=rows).json()
        assert inserted == {"kind": "bigquery#tableDataInsertAllResponse"}
        yield client


def query(client: Any, sql: str, **options: Any) -> Any:
    body = {"query": sql, "useLegacySql": False, **options}
    return client.post(f"{PROJECT}/queries", json=body)


def values(client: Any, sql: str, **options: Any) -> list[list[Any]]:
    answer = query(client, sql, **options)
    assert answer.status_code == 200, answer.text
    return [[cell["v"] for cell in row["f"]] for row in answer.json().get("rows", [])]


def test_every_type_comes_back_as_google_writes_it(reader: Any) -> None:
    expected = [
        "text",
        "7",
        "0.5",
        "true",
        "AAE=",
        "1.1",
        "2026-01-02",
        "03:04:05.500000",
        "2026-01-02T03:04:05",
        "1767323045.000000",
        '{"k": [1]}',
        [{"v": {"f": [{"v": "1"}, {"v": "a"}]}}, {"v": {"f": [{"v": "2"}, {"v": None}]}}],
    ]
    empty = ["empty", *[None] * 10, []]
    assert values(reader, "SELECT * FROM d.t ORDER BY s DESC") == [expected, empty]
    listed = reader.get(f"{DATASET}/tables/t/data?formatOptions.useInt64Timestamp=true").json()
    assert listed["rows"][0]["f"][9]["v"] == "1767323045000000"
    assert listed["totalRows"] == "2"
    fields = query(reader, "SELECT * FROM d.t").json()["schema"]["fields"]
    kept = reader.get(f"{DATASET}/tables/t").json()
    assert [field["type"] for field in fields] == [f["type"] for f in kept["schema"]["fields"]]
    assert (kept["numRows"], kept["type"]) == ("2", "TABLE")


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT COUNT(*), SUM(i), MAX(s) FROM `p.d.t`", [["2", "7", "text"]]),
        ("SELECT r.x FROM d.t, t.r WHERE s = 'text' ORDER BY r.x", [["1"], ["2"]]),
        ("SELECT r FROM d.t, t.r ORDER BY r.x LIMIT 1", [[{"f": [{"v": "1"}, {"v": "a"}]}]]),
        ("SELECT e.x, e.y FROM d.t, t.r AS e ORDER BY 1", [["1", "a"], ["2", None]]),
        ("SELECT r.y FROM d.t, UNNEST(r) AS r ORDER BY 1 DESC LIMIT 1", [["a"]]),
        ("SELECT e.x FROM d.t a, UNNEST(a.r) AS e ORDER BY 1", [["1"], ["2"]]),
        ("SELECT r[SAFE_OFFSET(1)].x FROM d.t WHERE d >= '20260101'", [["2"]]),
        ("SELECT i FROM d.t WHERE d BETWEEN '20260101' AND '2026-01-31'", [["7"]]),
        ("SELECT JSON_VALUE(j, '$.k[0]') FROM d.t WHERE i = 7", [["1"]]),
        ("SELECT SAFE_CAST(s AS INT64) FROM d.t LIMIT 1", [[None]]),
        ("SELECT 1 / 2, IF(TRUE, 'a', 'b'), [1, 2]", [["0.5", "a", [{"v": "1"}, {"v": "2"}]]]),
        ("SELECT STRUCT(1 AS a, 'x' AS b)", [[{"f": [{"v": "1"}, {"v": "x"}]}]]),
        ("WITH w AS (SELECT i FROM d.t) SELECT COUNTIF(i > 1) FROM w", [["1"]]),
        ("SELECT 1 UNION ALL SELECT 2 ORDER BY 1", [["1"], ["2"]]),
        ("SELECT t1.s FROM d.t t1 JOIN d.t t2 ON t1.s = t2.s ORDER BY 1", [["empty"], ["text"]]),
        ("SELECT s FROM d.t WHERE s IN (SELECT s FROM d.t WHERE i = 7)", [["text"]]),
        ("SELECT FORMAT_DATE('%Y', d), EXTRACT(YEAR FROM d) FROM d.t WHERE i = 7", [["2026"] * 2]),
    ],
)
def test_queries(reader: Any, sql: str, expected: list[list[Any]]) -> None:
    assert values(reader, sql) == expected


def test_names_of_columns_without_one(reader: Any) -> None:
    fields = query(reader, "SELECT COUNT(*), s, 1 AS one, 2 FROM d.t GROUP BY s").json()["schema"]
    assert [field["name"] for field in fields["fields"]] == ["f0_", "s", "one", "f1_"]


def test_parameters(reader: Any) -> None:
    def parameter(name: str, kind: str, value: str) -> dict[str, Any]:
        named = {"name": name} if name else {}
        return {**named, "parameterType": {"type": kind}, "parameterValue": {"value": value}}

    given = [parameter("a", "STRING", "it's"), parameter("b", "INT64", "3")]
    assert values(reader, "SELECT @a, @b + 1", queryParameters=given) == [["it's", "4"]]
    given = [parameter("", "DATE", "2026-01-01"), parameter("", "FLOAT64", "0.5")]
    assert values(reader, "SELECT ?, ?", queryParameters=given) == [["2026-01-01", "0.5"]]
    array = {
        "name": "a",
        "parameterType": {"type": "ARRAY", "arrayType": {"type": "STRING"}},
        "parameterValue": {"arrayValues": [{"value": "text"}, {"value": "x"}]},
    }
    sql = "SELECT i FROM d.t WHERE s IN UNNEST(@a)"
    assert values(reader, sql, queryParameters=[array]) == [["7"]]
    assert query(reader, "SELECT @missing").status_code == 400


@pytest.mark.parametrize(
    ("sql", "status"),
    [
        ("SELEC 1", 400),
        ("", 400),
        ("SELECT nothing FROM d.t", 400),
        ("SELECT * FROM t", 400),
        ("SELECT CAST(s AS INT64) FROM d.t", 400),
        ("SELECT 1 AS a, 2 AS A", 400),
        ("SELECT [[1]]", 400),
        ("SELECT * FROM d.missing", 404),
        ("SELECT * FROM missing.t", 404),
        ("SELECT * FROM `d.t_*`", 501),
        ("SELECT * FROM d.INFORMATION_SCHEMA.TABLES", 501),
        ("DELETE FROM d.t WHERE TRUE", 501),
        ("SELECT 1; SELECT 2", 501),
        ("SELECT * FROM read_csv('/etc/passwd')", 501),
        ("SELECT * FROM '/etc/passwd'", 400),
        ("SELECT read_text('/etc/passwd')", 501),
        ("SELECT " + "(" * 3000 + "1" + ")" * 3000, 400),
    ],
)
def test_refused_queries(reader: Any, sql: str, status: int) -> None:
    answer = query(reader, sql)
    assert answer.status_code == status
    message = answer.json()["error"]["message"]
    assert message and "'text'" not in message, "no value of a row"


NUMBERS = "UNNEST(GENERATE_ARRAY(1, 1000000))"
ENDLESS = f"SELECT SUM(a * b) FROM {NUMBERS} AS a, {NUMBERS} AS b"
GREEDY = f"SELECT ARRAY_AGG(REPEAT('x', 1000000 + n)) FROM {NUMBERS} AS n"


def no_tables(_: Any) -> Any:
    pytest.fail("the query names no table")


def test_a_query_that_does_not_end_is_ended(reader: Any) -> None:
    answer = query(reader, ENDLESS, jobTimeoutMs="50")
    assert answer.status_code == 400 and "seconds" in answer.json()["error"]["message"]
    assert values(reader, "SELECT 1") == [["1"]]


def test_a_query_ends_at_its_limits_and_with_who_asked(tmp_path: Path) -> None:
    file = tmp_path / "answer"
    file.touch()
    queries = Queries(memory=300 << 20)
    if sys.platform == "linux":  # elsewhere nothing limits what a process takes
        with pytest.raises(NeighbourError, match="memory"):
            queries.run(Question(GREEDY, "p"), no_tables, file)

    def ask(gone: Callable[[], bool]) -> str:
        with pytest.raises(NeighbourError) as caught:
            queries.run(Question(ENDLESS, "p"), no_tables, file, gone=gone)
        return caught.value.status

    assert ask(lambda: True) == "CANCELLED"
    asked = threading.Event()
    # asked whether the client is gone, so it runs
    threading.Thread(target=lambda: (asked.wait(), queries.close())).start()
    assert ask(lambda: asked.set() is not None) == "UNAVAILABLE"
    assert ask(lambda: False) == "UNAVAILABLE", "nothing begins any more"


def test_requests_are_logged_without_values(
    tmp_path: Path, open_emulator: Callable[..., Any]
) -> None:
    lines: list[str] = []
    with open_emulator(tmp_path / "root", environment={}, log=lines.append) as client:
        client.get("/storage/v1/b?project=secret")
        client.get("/storage/v1/b/secret/o/secret?alt=media")
        client.get("/bigquery/v2/projects/secret/datasets")
    assert [line.rsplit(" ", 2)[0] for line in lines] == [
        "GET /storage/v1/b?project 200",
        "GET /storage/v1/b/{bucket}/o/{object}?alt 404",
        "GET /bigquery/v2/projects/{project}/datasets 200",
    ]


def test_legacy_sql_is_what_a_query_is_taken_for(reader: Any) -> None:
    answer = reader.post(f"{PROJECT}/queries", json={"query": "SELECT 1"})
    assert answer.status_code == 501 and "useLegacySql" in answer.json()["error"]["message"]
    said = {"query": "#standardSQL\nSELECT 1"}
    assert reader.post(f"{PROJECT}/queries", json=said).status_code == 200


def test_jobs_and_pages(client: Any) -> None:
    sql = "SELECT n FROM UNNEST(GENERATE_ARRAY(1, 25000)) AS n ORDER BY n"
    job = {
        "jobReference": {"jobId": "mine", "location": "EU"},
        "configuration": {"query": {"query": sql, "useLegacySql": False}},
    }
    made = client.post(f"{PROJECT}/jobs", json=job).json()
    assert (made["id"], made["status"]) == ("p:EU.mine", {"state": "DONE"})
    assert client.get(f"{PROJECT}/jobs/mine?location=EU").json()["id"] == made["id"]
    assert client.post(f"{PROJECT}/jobs", json=job).status_code == 409
    token, found, sizes = "", [], []
    while token is not None:
        page = client.get(f"{PROJECT}/queries/mine", params={"pageToken": token}).json()
        assert (page["totalRows"], page["jobComplete"]) == ("25000", True)
        sizes.append(len(page["rows"]))
        found += [int(row["f"][0]["v"]) for row in page["rows"]]
        token = page.get("pageToken")
    assert found == list(range(1, 25001)) and sizes == [10000, 10000, 5000]
    part = client.get(f"{PROJECT}/queries/mine?startIndex=24998&maxResults=1").json()
    assert part["rows"] == [{"f": [{"v": "24999"}]}]
    none = client.get(f"{PROJECT}/queries/mine?maxResults=0").json()
    assert "rows" not in none and none["schema"]["fields"][0]["name"] == "n"
    assert client.get(f"{PROJECT}/queries/missing").status_code == 404
    assert client.get(f"{PROJECT}/queries/mine?pageToken=x").status_code == 400


def test_a_query_into_a_table(client: Any) -> None:
    target = {"projectId": "p", "datasetId": "d", "tableId": "copy"}
    asked = {"query": "SELECT * FROM d.t", "useLegacySql": False, "destinationTable": target}
    job = {"configuration": {"query": asked}}
    assert client.post(f"{PROJECT}/jobs", json=job).status_code == 200
    assert client.post(f"{PROJECT}/jobs", json=job).status_code == 409
    assert values(client, "SELECT * FROM d.copy") == values(client, "SELECT * FROM d.t")
    dry = client.post(f"{PROJECT}/jobs", json={"configuration": {"query": asked, "dryRun": True}})
    assert dry.json()["configuration"]["dryRun"] is True
    assert query(client, "SELECT s FROM d.t", dryRun=True).json()["totalRows"] == "0"


def test_rows_that_do_not_fit(client: Any) -> None:
    path = f"{DATASET}/tables/t/insertAll"
    rows = [{"json": {"s": "a"}}, {"json": {"s": "b", "i": "x"}}, {"json": {"no": 1}}]
    errors = client.post(path, json={"rows": rows}).json()["insertErrors"]
    found = [(e["index"], e["errors"][0]["reason"], e["errors"][0]["location"]) for e in errors]
    assert found == [(0, "stopped", ""), (1, "invalid", "i"), (2, "invalid", "s")]
    assert client.get(f"{DATASET}/tables/t").json()["numRows"] == "2"
    skipped = client.post(path, json={"rows": rows, "skipInvalidRows": True}).json()
    assert [error["index"] for error in skipped["insertErrors"]] == [1, 2]
    once = {"rows": [{"json": {"s": "c", "no": {"x": 1}}, "insertId": "1"}]}
    client.post(path, json={**once, "ignoreUnknownValues": True})
    once["rows"][0]["insertId"] = "2"
    assert client.post(path, json={**once, "ignoreUnknownValues": True}).status_code == 200
    assert values(client, "SELECT s FROM d.t ORDER BY 1") == [["a"], ["c"], ["empty"], ["text"]]


@pytest.mark.parametrize(
    ("verb", "path", "body", "status"),
    [
        ("POST", f"{PROJECT}/datasets", {"datasetReference": {"datasetId": "d"}}, 409),
        ("POST", f"{PROJECT}/datasets", {"datasetReference": {"datasetId": "a-b"}}, 400),
        ("POST", f"{PROJECT}/datasets", {"nonsense": 1}, 400),
        ("GET", f"{PROJECT}/datasets/missing", None, 404),
        ("DELETE", DATASET, None, 400),
        ("POST", f"{DATASET}/tables", {"tableReference": {"tableId": "t"}}, 409),
        ("POST", f"{DATASET}/tables", {"tableReference": {"tableId": "v"}, "view": {"q": 1}}, 501),
        ("GET", f"{DATASET}/tables/missing", None, 404),
        ("POST", f"{DATASET}/tables/missing/insertAll", {"rows": [{"json": {}}]}, 404),
        ("POST", f"{DATASET}/tables/t/insertAll", {}, 400),
        ("POST", f"{PROJECT}/jobs", {"configuration": {"load": {"x": 1}}}, 501),
        ("POST", f"{PROJECT}/jobs", {}, 400),
        ("GET", f"{PROJECT}/jobs", None, 501),
        ("GET", f"{DATASET}/routines", None, 501),
        ("GET", f"{DATASET}/tables?other=1", None, 400),
    ],
)
def test_refusals(client: Any, verb: str, path: str, body: Any, status: int) -> None:
    answer = client.request(verb, path, json=body)
    assert answer.status_code == status
    assert answer.json()["error"]["errors"][0]["reason"]


def test_lists_and_deletes(client: Any) -> None:
    for name in ("a", "b"):
        client.post(f"{DATASET}/tables", json={"tableReference": {"tableId": name}})
    page = client.get(f"{DATASET}/tables?maxResults=2").json()
    assert [t["tableReference"]["tableId"] for t in page["tables"]] == ["a", "b"]
    rest = client.get(f"{DATASET}/tables?pageToken={page['nextPageToken']}").json()
    assert [t["tableReference"]["tableId"] for t in rest["tables"]] == ["t"]
    listed = client.get(f"{PROJECT}/datasets").json()["datasets"]
    assert [d["id"] for d in listed] == ["p:d"]
    assert client.delete(f"{DATASET}/tables/a").status_code == 204
    assert client.delete(f"{DATASET}?deleteContents=true").status_code == 204
    assert client.get(f"{PROJECT}/datasets").json() == {"kind": "bigquery#datasetList", "etag": "0"}


# The tables themselves


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    held = Warehouse(tmp_path)
    held.add_dataset("p", "d", {})
    yield held
    held.close()


def content(warehouse: Warehouse, sql: str = "SELECT * FROM d.t") -> list[dict[str, Any]]:
    parsed = parse(Question(sql, "p"))
    tables = {shown: warehouse.snapshot(name) for shown, name in parsed.tables.items()}
    with warehouse.answer() as path:
        answer(parsed, tables, path, dry=False)
        found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return found


def load(warehouse: Warehouse, rows: Any, how: Disposition, *more: Column, once: str = "") -> None:
    warehouse.load(NAME, (Column("a", "INTEGER"), *more), rows, how, once=once)


def test_a_table_grows_by_columns(warehouse: Warehouse) -> None:
    record = Column("r", "RECORD", "REPEATED", (Column("x", "INTEGER"),))
    wider = Column("r", "RECORD", "REPEATED", (Column("y", "STRING"),))
    many = ({"a": n, "r": [{"x": n}]} for n in range(1000))
    load(warehouse, many, Disposition.APPEND, record)
    load(warehouse, [{"a": 1000, "r": [{"y": "z"}], "b": "B"}], Disposition.APPEND, wider,
         Column("b", "STRING"))  # fmt: skip
    assert content(warehouse, "SELECT * FROM d.t WHERE a >= 999 ORDER BY a") == [
        {"a": 999, "r": [{"x": 999, "y": None}], "b": None},
        {"a": 1000, "r": [{"x": None, "y": "z"}], "b": "B"},
    ]
    with pytest.raises(NeighbourError, match="column b is"):
        warehouse.load(NAME, [Column("b", "DATE")], [], Disposition.APPEND)


def test_dispositions_and_loads_that_are_done_once(warehouse: Warehouse, tmp_path: Path) -> None:
    load(warehouse, [], Disposition.EMPTY)
    load(warehouse, [{"a": 1}], Disposition.EMPTY)
    with pytest.raises(NeighbourError) as caught:
        load(warehouse, [{"a": 2}], Disposition.EMPTY)
    assert caught.value.status == "ALREADY_EXISTS"
    load(warehouse, ({"a": n} for n in range(600)), Disposition.TRUNCATE, once="job1")
    load(warehouse, ({"a": n} for n in range(600)), Disposition.TRUNCATE, once="job1")
    load(warehouse, [{"a": 1}], Disposition.APPEND, once="job2")
    load(warehouse, [{"a": 1}], Disposition.APPEND, once="job2")
    assert content(warehouse, "SELECT COUNT(*) AS n FROM d.t") == [{"n": 601}]
    load(warehouse, [], Disposition.TRUNCATE)
    assert content(warehouse) == []
    assert not list((tmp_path / "tables").iterdir()), "nothing is left of what was overwritten"


def test_a_load_is_all_or_nothing(warehouse: Warehouse, tmp_path: Path) -> None:
    bad = [*({"a": n} for n in range(700)), {"a": "x"}]
    for rows in (bad, bad[-2:]):
        with pytest.raises(NeighbourError, match="a: The value is no INTEGER"):
            load(warehouse, rows, Disposition.APPEND)
    with pytest.raises(NeighbourError) as caught:
        warehouse.load(TableName("p", "no", "t"), [], [], Disposition.APPEND)
    assert caught.value.status == "NOT_FOUND"
    assert not [*tmp_path.glob("tables/*")]


def test_rows_that_wait_become_a_file(warehouse: Warehouse, tmp_path: Path) -> None:
    other = Warehouse(tmp_path)
    for start in range(0, 2100, 100):
        part = [{"a": n} for n in range(start, start + 100)]
        load(other if start % 200 else warehouse, part, Disposition.APPEND)
    assert len([*tmp_path.glob("tables/*")]) == 1
    assert content(other, "SELECT COUNT(DISTINCT a) AS n FROM d.t") == [{"n": 2100}]
    assert other.table(NAME).rows == 2100
    other.close()


def test_answers_are_kept_for_a_day(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(number: str) -> None:
        with warehouse.answer() as path:
            warehouse.keep("p", number, Answer({}, (), 0, path))

    now = tables.time.time()
    ask("old")
    monkeypatch.setattr(tables.time, "time", lambda: now + 25 * 3600)
    ask("new")
    assert len([*tmp_path.glob("tables/*")]) == 1
    with pytest.raises(NeighbourError):
        warehouse.job("p", "old")
    assert json.dumps(warehouse.job("p", "new").body) == "{}"


def test_files_that_a_kill_left_behind_are_removed(warehouse: Warehouse, tmp_path: Path) -> None:
    load(warehouse, ({"a": n} for n in range(1000)), Disposition.APPEND)
    old, new = tmp_path / "tables" / "old.parquet", tmp_path / "tables" / "new.parquet"
    for path in (old, new):
        path.touch()
    os.utime(old, (0, 0))
    with warehouse.answer() as path:
        warehouse.keep("p", "job", Answer({}, (), 0, path))
    assert (old.exists(), new.exists(), path.exists()) == (False, True, True)
    assert content(warehouse, "SELECT COUNT(*) AS n FROM d.t") == [{"n": 1000}]
    with warehouse.answer() as path:
        pass
    assert not path.exists(), "it was not kept"
