"""The column `preview`: for which rows pictures are fetched, and what has none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from execution_bench import Answer, Bench, Wire, refused
from pyarrow import parquet

from dicomsql.errors import (
    ApiError,
    BudgetError,
    IncompleteError,
    NotFoundError,
    PermissionDeniedError,
)
from dicomsql.session import Session

Make = Callable[..., Bench]

PLACE = {"project": "p", "location": "l", "dataset": "d", "dicom_store": "s"}
# Instances of three studies, of which some have no picture.
UIDS = [(f"1.{s}", f"1.{s}.1", f"1.{s}.1.{n}") for s in (1, 2, 3) for n in (1, 2, 3, 4)]
WITHOUT = {"1.2.1.2", "1.3.1.4"}


def picture(uid: str, media: str = "image/jpeg") -> Answer:
    head, tail = (b"\xff\xd8\xff", b"\xff\xd9")
    if media == "image/png":
        head, tail = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
    return Answer(head + uid.encode() + tail, media=media)


def picture_of(uid: str) -> bytes | None:
    return None if uid in WITHOUT else b"\xff\xd8\xff" + uid.encode() + b"\xff\xd9"


def dataset(study: str, series: str, uid: str) -> dict[str, Any]:
    def value(vr: str, found: object) -> dict[str, Any]:
        return {"vr": vr, "Value": [found]}

    number = int(uid.rsplit(".", 1)[1])
    return {
        "0020000D": value("UI", study),
        "0020000E": value("UI", series),
        "00080018": value("UI", uid),
        "00080020": value("DA", f"202601{10 * int(study[-1]):02}"),
        "00200013": value("IS", number),
        "00180050": value("DS", number / 2),
    }


def is_rendered(request: Any) -> bool:
    return str(request.path).endswith("/rendered")


def uid_of(request: Any) -> str:
    return dict(request.path_values)["instancesId"]


def render(request: Any) -> Any:
    uid = uid_of(request)
    return refused(406)(request) if uid in WITHOUT else picture(uid)


def server(rendered: Callable[[Any], Any] = render) -> Callable[[Any], Any]:
    """A store with the instances; `rendered` answers for pictures."""

    def answer(request: Any) -> Any:
        if is_rendered(request):
            return rendered(request)
        query, path = dict(request.query), dict(request.path_values)
        study = path.get("studiesId") or query.get("StudyInstanceUID", "")
        found = [dataset(*uids) for uids in UIDS if study in {"", uids[0]}]
        low, _, high = query.get("StudyDate", "-").partition("-")
        found = [d for d in found if d["00080020"]["Value"][0] >= low]
        found = [d for d in found if not high or d["00080020"]["Value"][0] <= high]
        if request.path.endswith("/studies"):
            found = [d for d in found if d["00200013"]["Value"] == [1]]
        first = int(query.get("offset", 0))
        return found[first : first + int(query.get("limit", 1000))]

    return answer


def asked(wire: Wire) -> list[str]:
    """The instances whose pictures were asked for, in any order."""
    found = sorted(uid_of(r) for r in wire.requests if is_rendered(r))
    wire.requests.clear()
    return found


@pytest.fixture
def bench(make_bench: Make) -> Bench:
    made = make_bench(server(), **PLACE)
    made.rows("USE google.healthcare")
    return made


FIRST = "SELECT SOPInstanceUID, preview FROM instances"


def test_pictures_are_fetched_for_the_rows_that_are_given(bench: Bench) -> None:
    result = bench.open(f"{FIRST} WHERE SliceThickness > 0.5 ORDER BY SOPInstanceUID LIMIT 5")
    assert result.columns is not None
    assert [(c.name, c.type) for c in result.columns] == [
        ("SOPInstanceUID", "VARCHAR"),
        ("preview", "BLOB"),
    ]
    assert result.schema is not None
    assert [str(field.type) for field in result.schema] == ["string", "binary"]
    rows = [tuple(r.values()) for b in result.batches() for r in b.to_pylist()]
    given = ["1.1.1.2", "1.1.1.3", "1.1.1.4", "1.2.1.2", "1.2.1.3"]
    assert rows == [(uid, picture_of(uid)) for uid in given]
    assert result.statistics.notes == [
        "google.healthcare.instances: 1 instance has no picture (the server answered 406); "
        "preview is NULL there."
    ]
    (cost,) = [s for s in result.statistics.scans if s.resource.endswith("_rendered")]
    assert (cost.rows, cost.searched) == (4, 5)
    sent = [r for r in bench.wire.requests if is_rendered(r)]
    assert asked(bench.wire) == given
    assert {dict(r.query)["viewport"] for r in sent} == {"256,256"}
    assert {dict(r.headers)["Accept"] for r in sent} == {"image/jpeg"}


@pytest.mark.parametrize(
    ("sql", "fetched"),
    [
        # What passes through, or is left out in the end, is fetched for the rows of the result.
        (f"{FIRST} WHERE InstanceNumber = 3 AND StudyInstanceUID = '1.2'", ["1.2.1.3"]),
        ("SELECT preview, preview AS again FROM instances ORDER BY SOPInstanceUID LIMIT 1", None),
        (f"SELECT * FROM ({FIRST}) AS t ORDER BY SOPInstanceUID LIMIT 1", None),
        (f"SELECT p FROM ({FIRST}) AS t(u, p) ORDER BY u LIMIT 1", None),
        (f"WITH w AS ({FIRST}) SELECT preview FROM w ORDER BY SOPInstanceUID LIMIT 1", None),
        (f"SELECT * EXCLUDE (preview) FROM ({FIRST})", []),
        ("SELECT * EXCLUDE (preview) FROM instances", []),
        ("SELECT * FROM instances", []),
        (f"SELECT count(*) FROM ({FIRST})", []),
        (
            "SELECT DISTINCT ON (StudyInstanceUID) preview FROM instances "
            "ORDER BY StudyInstanceUID, InstanceNumber",
            ["1.1.1.1", "1.2.1.1", "1.3.1.1"],
        ),
        (
            "SELECT s.StudyDate, i.preview FROM studies AS s "
            "JOIN instances AS i ON i.StudyInstanceUID = s.StudyInstanceUID "
            "WHERE s.StudyDate = '20260120' AND i.InstanceNumber > 2",
            ["1.2.1.3", "1.2.1.4"],
        ),
        (
            "SELECT preview FROM instances ORDER BY StudyDate DESC, InstanceNumber LIMIT 2",
            ["1.3.1.1", "1.3.1.2"],
        ),
        ("SELECT preview FROM instances LIMIT 0", []),
        # What is used otherwise is fetched for the rows that the other conditions leave.
        (
            "SELECT octet_length(preview) FROM instances WHERE InstanceNumber = 3 "
            "AND SliceThickness > 0",
            ["1.1.1.3", "1.2.1.3", "1.3.1.3"],
        ),
        ("SELECT preview IS NULL FROM instances LIMIT 2", ["1.1.1.1", "1.1.1.2"]),
        (
            "SELECT SOPInstanceUID FROM instances "
            "WHERE preview IS NULL AND StudyInstanceUID = '1.2'",
            ["1.2.1.1", "1.2.1.2", "1.2.1.3", "1.2.1.4"],
        ),
    ],
)
def test_no_other_pictures_are_fetched(bench: Bench, sql: str, fetched: list[str] | None) -> None:
    bench.rows(sql)
    assert asked(bench.wire) == (["1.1.1.1"] if fetched is None else fetched)


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT count(*) FROM ({FIRST}) AS x",
        "SELECT x.m FROM (SELECT InstanceNumber AS m, preview AS p FROM instances) AS x",
        f"WITH w AS ({FIRST}), v AS (SELECT SOPInstanceUID FROM w) SELECT * FROM v",
    ],
)
def test_a_plan_tells_of_no_pictures_where_none_are_shown(bench: Bench, sql: str) -> None:
    plan = "\n".join(str(row[0]) for row in bench.rows(f"EXPLAIN {sql}"))
    assert "picture" not in plan
    bench.rows(sql)
    assert asked(bench.wire) == []


def test_a_plan_tells_that_a_refused_size_is_asked_for_again(bench: Bench) -> None:
    plan = "\n".join(str(row[0]) for row in bench.rows(f"EXPLAIN {FIRST}"))
    again = "one for each picture, and as many again where it refuses the size"
    assert f"calls   none for certain, {again}" in plan


def test_what_is_shown_twice_is_fetched_once(bench: Bench) -> None:
    rows = bench.rows(
        "SELECT a.preview, b.preview FROM instances AS a JOIN instances AS b USING (SOPInstanceUID)"
    )
    uids = sorted(uid for _, _, uid in UIDS)
    assert sorted(rows, key=repr) == sorted([(picture_of(u),) * 2 for u in uids], key=repr)
    assert asked(bench.wire) == uids


# Each does something with pictures, or looks as if it did; `instances` stands for a plain table
# with the same rows as well.
QUERIES = (
    "SELECT preview FROM instances",
    "SELECT preview AS SOPInstanceUID FROM instances ORDER BY SOPInstanceUID",
    "SELECT SOPInstanceUID AS preview, preview AS p FROM instances ORDER BY preview",
    "SELECT InstanceNumber, preview FROM instances ORDER BY 2, 1",
    "SELECT InstanceNumber, preview FROM instances ORDER BY ALL",
    "SELECT InstanceNumber, preview AS p FROM instances ORDER BY p DESC",
    "SELECT preview FROM instances ORDER BY preview NULLS FIRST, SOPInstanceUID LIMIT 3",
    "SELECT DISTINCT preview FROM instances",
    "SELECT DISTINCT ON (preview) preview FROM instances",
    "SELECT DISTINCT ON (1) preview FROM instances",
    "SELECT preview, count(*) FROM instances GROUP BY ALL",
    "SELECT preview, count(*) FROM instances GROUP BY 1",
    "SELECT InstanceNumber, max(preview) FROM instances GROUP BY InstanceNumber",
    "SELECT arg_max(preview, SOPInstanceUID) FROM instances",
    "SELECT preview FROM instances UNION SELECT preview FROM instances",
    "SELECT preview FROM instances UNION ALL BY NAME SELECT InstanceNumber FROM instances",
    "SELECT preview FROM instances INTERSECT SELECT preview FROM instances",
    "SELECT preview AS p FROM instances WHERE p IS NULL",
    "SELECT preview FROM instances WHERE octet_length(preview) > 0",
    "SELECT preview IS NULL, [preview], {'a': preview} FROM instances",
    "SELECT hex(preview), preview::VARCHAR FROM instances",
    "SELECT (preview) FROM instances",
    "SELECT i.preview FROM instances AS i",
    "SELECT CASE WHEN InstanceNumber > 2 THEN preview END AS p FROM instances",
    "SELECT a.SOPInstanceUID FROM instances AS a JOIN instances AS b ON a.preview = b.preview",
    "SELECT a.preview, b.preview FROM instances AS a JOIN instances AS b USING (SOPInstanceUID)",
    "SELECT * FROM (SELECT preview AS x FROM instances) JOIN "
    "(SELECT preview AS x, SOPInstanceUID FROM instances) USING (x)",
    "SELECT * FROM (SELECT preview FROM instances) NATURAL JOIN "
    "(SELECT preview, SOPInstanceUID FROM instances)",
    "SELECT SOPInstanceUID FROM instances WHERE preview IN "
    "(SELECT preview FROM instances WHERE InstanceNumber = 1)",
    "SELECT SOPInstanceUID, (SELECT max(preview) FROM instances WHERE InstanceNumber = 1) "
    "FROM instances",
    "SELECT SOPInstanceUID FROM instances AS o WHERE EXISTS "
    "(SELECT preview FROM instances AS i WHERE i.SOPInstanceUID = o.SOPInstanceUID)",
    "SELECT row_number() OVER (PARTITION BY preview IS NULL ORDER BY SOPInstanceUID), preview "
    "FROM instances",
    "SELECT lag(preview) OVER (ORDER BY SOPInstanceUID) FROM instances",
    "SELECT preview, SOPInstanceUID FROM instances "
    "QUALIFY row_number() OVER (PARTITION BY StudyInstanceUID ORDER BY InstanceNumber) = 1",
    "SELECT preview FROM instances QUALIFY row_number() OVER (ORDER BY preview) = 1",
    "SELECT t FROM (SELECT SOPInstanceUID, preview FROM instances) AS t",
    "SELECT SOPInstanceUID FROM (SELECT SOPInstanceUID, preview FROM instances) AS t ORDER BY t",
    "SELECT hash(t) > 0 FROM (SELECT preview FROM instances) AS t",
    "SELECT a FROM (SELECT preview, SOPInstanceUID FROM instances) AS d(a, b) ORDER BY b LIMIT 2",
    "SELECT b FROM (SELECT preview, SOPInstanceUID FROM instances) AS d(a, b) ORDER BY a, b",
    "SELECT COLUMNS('prev.*') FROM (SELECT preview FROM instances)",
    "SELECT COLUMNS(*)::VARCHAR FROM (SELECT SOPInstanceUID, preview FROM instances)",
    "SELECT * REPLACE (octet_length(preview) AS preview) FROM "
    "(SELECT SOPInstanceUID, preview FROM instances)",
    "SELECT * RENAME (preview AS p) FROM (SELECT SOPInstanceUID, preview FROM instances)",
    "SELECT unnest(t) FROM (SELECT SOPInstanceUID, preview FROM instances) AS t",
    "FROM (SELECT SOPInstanceUID, preview FROM instances) ORDER BY SOPInstanceUID DESC LIMIT 4",
    "FROM (SELECT SOPInstanceUID, preview FROM instances) ORDER BY ALL",
    "UNPIVOT (SELECT SOPInstanceUID, preview FROM instances) ON preview",
    "SELECT * FROM (SELECT SOPInstanceUID, preview FROM instances) UNPIVOT (v FOR n IN (preview))",
    "WITH w AS (SELECT preview AS p, SOPInstanceUID AS u FROM instances) "
    "SELECT a.p, b.p FROM w AS a JOIN w AS b USING (u)",
    "WITH w AS MATERIALIZED (SELECT preview AS p FROM instances) SELECT count(p) FROM w",
    "WITH w AS (SELECT preview FROM instances), v AS (SELECT * FROM w) SELECT * FROM v",
    "WITH w AS (SELECT preview FROM instances), v AS (SELECT DISTINCT * FROM w) SELECT * FROM v",
    "SELECT o.SOPInstanceUID, l.p FROM instances AS o, LATERAL (SELECT o.preview AS p) AS l",
    "SELECT * FROM (SELECT preview FROM instances) AS a SEMI JOIN "
    "(SELECT preview FROM instances WHERE InstanceNumber = 2) AS b ON a.preview = b.preview",
    "SELECT o.InstanceNumber, (SELECT o.preview) FROM instances AS o",
    "SELECT s.x, i.preview FROM (VALUES (1), (7)) AS s(x) "
    "LEFT JOIN instances AS i ON i.InstanceNumber = s.x",
    "(SELECT preview FROM instances)",
    "SELECT octet_length(any_value(preview)) > 0 FROM instances HAVING count(*) > 1",
    "SELECT * FROM (SELECT list(preview ORDER BY SOPInstanceUID) FROM instances)",
)


@pytest.mark.parametrize("sql", QUERIES)
def test_pictures_mean_what_they_would_as_plain_values(bench: Bench, sql: str) -> None:
    bench.rows(
        "CREATE TABLE plain AS SELECT StudyInstanceUID, SOPInstanceUID, InstanceNumber, preview "
        "FROM instances"
    )
    assert asked(bench.wire) == sorted(uid for _, _, uid in UIDS)
    found = bench.rows(sql)
    expected = bench.rows(
        sql.replace("FROM instances", "FROM plain").replace("JOIN instances", "JOIN plain")
    )
    if " ORDER BY " not in sql.rpartition(")")[2]:
        found, expected = sorted(found, key=repr), sorted(expected, key=repr)
    assert found == expected


def test_rows_of_several_stores_have_their_own_pictures(make_bench: Make) -> None:
    def rendered(request: Any) -> Any:
        return picture(dict(request.path_values)["dicomStoresId"] + uid_of(request))

    bench = make_bench(server(rendered), **PLACE)
    bench.rows("USE google.healthcare")
    stores = "FROM instances WHERE dicomStoresId IN ('a', 'b') AND SOPInstanceUID = '1.1.1.1'"
    for sql in (
        f"SELECT dicomStoresId, preview {stores} ORDER BY dicomStoresId",
        f"SELECT dicomStoresId, preview {stores} ORDER BY preview",
    ):
        found = bench.rows(sql)
        assert [(store, data[3:4].decode()) for store, data in found] == [("a", "a"), ("b", "b")]


def test_a_view_and_a_file_have_pictures(bench: Bench, tmp_path: Any) -> None:
    bench.rows("CREATE VIEW v AS SELECT SOPInstanceUID, preview FROM instances")
    assert asked(bench.wire) == []
    assert bench.rows("SELECT * FROM v WHERE SOPInstanceUID = '1.1.1.3'") == [
        ("1.1.1.3", picture_of("1.1.1.3"))
    ]
    assert asked(bench.wire) == ["1.1.1.3"]
    bench.rows("CREATE VIEW w AS SELECT *, preview FROM instances")
    assert len(bench.rows("SELECT InstanceNumber FROM w")) == len(UIDS)
    assert asked(bench.wire) == []
    assert bench.rows("SELECT preview FROM w WHERE SOPInstanceUID = '1.1.1.3'") == [
        (picture_of("1.1.1.3"),)
    ]
    assert asked(bench.wire) == ["1.1.1.3"]
    file = tmp_path / "x.parquet"
    bench.rows(f"COPY ({FIRST} WHERE InstanceNumber = 1 AND StudyInstanceUID = '1.1') TO '{file}'")
    assert parquet.read_table(file).to_pylist() == [
        {"SOPInstanceUID": "1.1.1.1", "preview": picture_of("1.1.1.1")}
    ]


# -- what a server answers -------------------------------------------------------------------------


def anywhere(make_bench: Make, rendered: Callable[[Any], Any], **options: Any) -> Bench:
    bench = make_bench(server(rendered), endpoint="https://pacs.example/dicom-web", **options)
    bench.rows("USE dicomweb.standard")
    return bench


@pytest.mark.parametrize("status", [400, 406, 415, 422, 501])
def test_a_server_that_refuses_the_size_gives_whole_pictures(make_bench: Make, status: int) -> None:
    def rendered(request: Any) -> Any:
        if uid_of(request) in WITHOUT or dict(request.query).get("viewport"):
            return refused(status)(request)
        return picture(uid_of(request), "image/png")

    bench = anywhere(make_bench, rendered)
    result = bench.open(f"{FIRST} WHERE StudyInstanceUID = '1.2'")
    rows = [row for b in result.batches() for row in b.to_pylist()]
    assert [r["SOPInstanceUID"] for r in rows if r["preview"] is None] == ["1.2.1.2"]
    (note,) = [n for n in result.statistics.notes if "picture" in n]
    assert f"1 instance has no picture (the server answered {status})" in note


def test_a_server_that_takes_the_size_is_not_asked_twice(make_bench: Make) -> None:
    bench = anywhere(make_bench, render, parallel=1)
    found = bench.rows(f"{FIRST} ORDER BY SOPInstanceUID")
    assert found == [(uid, picture_of(uid)) for _, _, uid in UIDS]
    assert asked(bench.wire) == [uid for _, _, uid in UIDS]


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (refused(500), ApiError, "500"),
        (refused(404), NotFoundError, "either it was deleted meanwhile"),
        (refused(403), PermissionDeniedError, "403"),
        (lambda _: Answer({"a": 1}), IncompleteError, "application/json where image/png"),
        (lambda _: Answer(b"\xff\xd8\xff\xe0cut", media="image/jpeg"), IncompleteError, "whole"),
        (lambda _: Answer(b"<html>", media="image/jpeg"), IncompleteError, "whole"),
        (lambda _: Answer(), IncompleteError, "204"),
    ],
)
@pytest.mark.parametrize("shown", ["preview", "octet_length(preview)"])
def test_whatever_else_a_server_says_ends_the_statement(
    make_bench: Make, answer: Any, error: type[Exception], said: str, shown: str
) -> None:
    bench = make_bench(server(answer), **PLACE)
    with pytest.raises(error, match=said) as caught:
        bench.rows(f"SELECT {shown} FROM google.healthcare.instances")
    assert "cut" not in str(caught.value)
    assert "html" not in str(caught.value)


def test_what_may_not_be_read_is_skipped_where_that_is_allowed(make_bench: Make) -> None:
    bench = make_bench(server(refused(403)), **PLACE)
    result = bench.open("SET on_error = skip; SELECT preview FROM google.healthcare.instances")
    assert [r for b in result.batches() for r in b.column(0).to_pylist()] == [None] * len(UIDS)
    assert any("skipped 12 pictures" in note for note in result.statistics.notes)


@pytest.mark.parametrize("shown", ["preview", "octet_length(preview)"])
def test_no_more_calls_are_made_than_are_allowed(bench: Bench, shown: str) -> None:
    with pytest.raises(BudgetError):
        bench.rows(f"SET max_calls = 4; SELECT {shown} FROM instances")
    assert len(bench.wire.requests) <= 4


def test_reading_that_ends_early_asks_for_few_more(make_bench: Make) -> None:
    bench = make_bench(server(), **PLACE, parallel=1)
    result = bench.open("SELECT preview FROM google.healthcare.instances")
    assert next(result.batches()).num_rows == 2
    result.close()
    assert len(asked(bench.wire)) <= 6


def test_pictures_come_side_by_side_within_the_bound(make_bench: Make) -> None:
    together = threading.Barrier(3)
    lock, now, most = threading.Lock(), [0], [0]

    def rendered(request: Any) -> Any:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        together.wait(10)
        with lock:
            now[0] -= 1
        return picture(uid_of(request))

    bench = make_bench(server(rendered), **PLACE, parallel=3)
    found = bench.rows("SELECT SOPInstanceUID, preview FROM google.healthcare.instances")
    assert [uid.encode() for uid, _ in found] == [data[3:-2] for _, data in found]
    assert most == [3]


def test_it_can_be_cancelled_while_pictures_come(make_bench: Make) -> None:
    asked_for = threading.Event()
    session: list[Session] = []

    def rendered(request: Any) -> Any:
        asked_for.set()
        session[0].cancel()
        return picture(uid_of(request))

    bench = make_bench(server(rendered), **PLACE)
    session.append(bench.session)
    with pytest.raises(Exception, match="cancelled"):
        bench.rows("SELECT preview FROM google.healthcare.instances")
    assert asked_for.is_set()
