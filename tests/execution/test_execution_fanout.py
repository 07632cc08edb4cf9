"""Fan-outs: rows neither doubled nor lost, missing and forbidden members, types end to end."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from typing import Any

import pytest
from execution_bench import PLACE, STORE, STORES, Bench, query_of, refused, stores, studies

from dicomsql.errors import (
    ApiError,
    DataError,
    InternalError,
    NotFoundError,
    OperationalError,
    PermissionDeniedError,
    ProgrammingError,
)

Make = Callable[..., Bench]
SEARCH = f"SELECT StudyInstanceUID FROM google.healthcare.studies WHERE {PLACE}"
LIST_OF = (
    f"SELECT datasetsId, dicomStoresId FROM {STORES} "
    "WHERE projectsId = 'p' AND locationsId = 'l' AND datasetsId"
)


def by_dataset(**answers: Any) -> Callable[[Any], Any]:
    def answer(request: Any) -> Any:
        found = answers[dict(request.path_values)["datasetsId"]]
        return found(request) if callable(found) else found

    return answer


def test_each_member_s_rows_come_once(make_bench: Make) -> None:
    answers = {f"d{i}": stores(f"s{i}") for i in range(30)}
    bench = make_bench(by_dataset(**answers))
    members = ", ".join(f"'{name}'" for name in answers)
    found = bench.rows(f"{LIST_OF} IN ({members})")
    assert sorted(found) == sorted((f"d{i}", f"s{i}") for i in range(30))
    assert len(bench.wire.requests) == 30


def test_two_stores_may_hold_the_same_study(make_bench: Make) -> None:
    bench = make_bench(lambda _request: studies(0, 2))
    assert len(bench.rows(f"{SEARCH} AND dicomStoresId IN ('a', 'b')")) == 4


def test_filters_that_overlap_give_each_row_once(make_bench: Make) -> None:
    def answer(request: Any) -> Any:
        return studies(0, 3, t00100020=query_of(request, "PatientID"))

    bench = make_bench(answer)
    result = bench.open(f"{SEARCH} AND dicomStoresId = 's' AND PatientID IN ('A', 'B')")
    assert sum(batch.num_rows for batch in result.batches()) == 3
    assert len(bench.wire.requests) == 2
    assert result.statistics.notes == []


def test_a_member_that_is_missing_gives_no_rows(make_bench: Make) -> None:
    bench = make_bench(by_dataset(a=stores("s"), b=refused(404)))
    assert bench.rows(f"{LIST_OF} IN ('a', 'b')") == [("a", "s")]


def test_what_is_named_by_its_own_id_may_be_missing(make_bench: Make) -> None:
    bench = make_bench(refused(404))
    assert bench.rows(f"SELECT name FROM {STORES} WHERE {STORE}") == []
    for sql in (f"{LIST_OF} = 'd'", f"{SEARCH} AND dicomStoresId = 's'"):
        with pytest.raises(NotFoundError):
            bench.rows(sql)


def test_a_member_that_may_not_be_read_is_named(make_bench: Make) -> None:
    bench = make_bench(by_dataset(a=stores("s"), b=refused(403, "denied")))
    with pytest.raises(PermissionDeniedError, match=r"denied \[.*datasetsId = 'b'"):
        bench.rows(f"{LIST_OF} IN ('a', 'b')")
    result = bench.open(f"SET on_error = 'skip'; {LIST_OF} IN ('a', 'b')")
    assert sum(batch.num_rows for batch in result.batches()) == 1
    assert "datasetsId = 'b', which may not be read" in result.statistics.notes[0]
    with pytest.raises(PermissionDeniedError, match=r"denied$"):
        bench.rows(f"{LIST_OF} = 'b'")


def test_a_study_that_may_not_be_read_is_not_named(make_bench: Make) -> None:
    bench = make_bench(refused(403))
    with pytest.raises(PermissionDeniedError) as caught:
        bench.rows(
            f"SELECT Modality FROM google.healthcare.series "
            f"WHERE {STORE} AND studiesId IN ('1.2.3', '1.2.4')"
        )
    assert "1.2." not in str(caught.value)


def test_the_error_of_a_call_arrives_as_itself(make_bench: Make) -> None:
    bench = make_bench(refused(500, "boom"))
    with pytest.raises(ApiError) as caught:
        bench.rows(f"SELECT count(*) FROM {STORES} WHERE {PLACE}")
    assert caught.value.failure.status == 500
    twice = f"SELECT a.name FROM {STORES} a, {STORES} b WHERE a.name = b.name AND {PLACE}"
    with pytest.raises(ApiError):
        bench.rows(twice)


def test_a_defect_in_a_fetching_thread_is_told_as_one(make_bench: Make) -> None:
    bench = make_bench(lambda _request: 1 / 0)
    with pytest.raises(InternalError, match=r"ZeroDivisionError") as caught:
        bench.rows(f"{LIST_OF} = 'd'")
    cause = caught.value.__cause__
    assert cause is not None
    assert str(cause) in {"ZeroDivisionError", "division by zero"}
    assert cause.__traceback__ is not None


def test_the_error_of_a_later_page_is_that_of_the_reader(make_bench: Make) -> None:
    def answer(request: Any) -> Any:
        return refused(500)(request) if query_of(request, "offset") else studies(0, 5000)

    bench = make_bench(answer)
    with pytest.raises(ApiError):
        bench.rows(f"{SEARCH} AND dicomStoresId = 's'")


def test_an_error_of_the_engine_names_the_resource(make_bench: Make) -> None:
    bench = make_bench(lambda _request: stores("Jane"))
    with pytest.raises(DataError) as caught:
        bench.rows(f"SELECT CAST(name AS INT) FROM {STORES} WHERE {PLACE}")
    assert "Jane" not in str(caught.value)
    with pytest.raises(ProgrammingError) as wrong:
        bench.rows(f"SELECT no_such_function(name) FROM {STORES} WHERE {PLACE}")
    assert "scan_" not in str(caught.value) + str(wrong.value)


def test_types_end_to_end(make_bench: Make) -> None:
    body = {
        "name": "projects/p/locations/l/datasets/d/dicomStores/Größe",
        "structuredStorageSizeBytes": "9223372036854775807",
        "studyCount": "3",
        "seriesCount": None,
    }
    bench = make_bench(lambda _request: body)
    (row,) = bench.rows(
        "SELECT structuredStorageSizeBytes, studyCount + 1, seriesCount, instanceCount, "
        "dicomStoresId "
        f"FROM google.healthcare.dicom_store_metrics WHERE {PLACE} AND dicomStoresId = 'Größe'"
    )
    assert row == (9223372036854775807, 4, None, None, "Größe")


def test_json_columns_are_read_with_the_engine_s_functions(make_bench: Make) -> None:
    store = {
        "name": "projects/p/locations/l/datasets/d/dicomStores/s",
        "labels": {"a.b": "x", "n": "1"},
        "notificationConfig": {},
        "streamConfigs": [{"bigqueryDestination": {"force": True}}],
    }
    bench = make_bench(lambda _request: {"dicomStores": [store, {"name": "odd"}]})
    found = bench.rows(
        "SELECT labels->>'a.b', labels->'n', json_extract(labels, '$.n') = '1', "
        "notificationConfig, "
        "json_extract(streamConfigs, '$[0].bigqueryDestination'), dicomStoresId "
        f"FROM {STORES} WHERE {PLACE}"
    )
    assert found == [
        ("x", '"1"', True, "{}", '{"force":true}', "s"),
        (None, None, None, None, None, None),
    ]


@pytest.mark.parametrize(
    ("text", "microsecond"),
    [
        ("2026-01-02T03:04:05Z", 0),
        ("2026-01-02T03:04:05.123456789Z", 123456),
        ("2026-01-02T04:04:05.5+01:00", 500000),
    ],
)
def test_times_have_microseconds(make_bench: Make, text: str, microsecond: int) -> None:
    operation = {"name": "projects/p/locations/l/datasets/d/operations/1", "metadata": {}}
    consent = {"name": "x", "expireTime": text, "revisionCreateTime": "0001-01-01T00:00:00Z"}
    bench = make_bench(lambda _request: {"consents": [consent], "operations": [operation]})
    (row,) = bench.rows(
        "SELECT expireTime, revisionCreateTime FROM google.healthcare.consents "
        f"WHERE {PLACE} AND consentStoresId = 'c'"
    )
    assert row[0] == datetime.datetime(2026, 1, 2, 3, 4, 5, microsecond, datetime.UTC)
    assert row[1].year == 1


def test_a_number_beyond_its_type_is_told_without_it(make_bench: Make) -> None:
    bench = make_bench(lambda _request: {"studyCount": "99999999999999999999"})
    with pytest.raises(OperationalError, match=r"studyCount is no BIGINT") as caught:
        bench.rows(f"SELECT studyCount FROM google.healthcare.dicom_store_metrics WHERE {STORE}")
    assert "9999" not in str(caught.value)


def test_a_very_large_page_is_read(make_bench: Make) -> None:
    page = json.dumps(stores(*(f"s{i}" for i in range(50_000))), indent=1).encode()
    from execution_bench import Answer

    bench = make_bench(lambda _request: Answer(page))
    assert bench.rows(f"SELECT count(DISTINCT dicomStoresId) FROM {STORES} WHERE {PLACE}") == [
        (50_000,)
    ]


def test_a_bind_join_makes_one_call_for_each_value(make_bench: Make) -> None:
    def answer(request: Any) -> Any:
        if request.path.endswith("/datasets"):
            prefix = "projects/p/locations/l/datasets/"
            return {"datasets": [{"name": f"{prefix}d{i}"} for i in range(5)]}
        return stores("s" + dict(request.path_values)["datasetsId"])

    bench = make_bench(answer)
    found = bench.rows(
        f"SELECT s.dicomStoresId FROM google.healthcare.datasets d JOIN {STORES} s "
        "ON s.projectsId = d.projectsId AND s.locationsId = d.locationsId "
        "AND s.datasetsId = d.datasetsId "
        "WHERE d.projectsId = 'p' AND d.locationsId = 'l' ORDER BY 1"
    )
    assert found == [(f"sd{i}",) for i in range(5)]
    assert len(bench.wire.requests) == 6


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_a_member_that_goes_away_between_its_pages_fails_the_statement(
    make_bench: Make, status: int, on_error: str
) -> None:
    def answer(request: Any) -> Any:
        if query_of(request, "pageToken"):
            return refused(status)(request)
        return stores("a", token="t1")

    bench = make_bench(answer)
    with pytest.raises(ApiError) as caught:
        bench.rows(
            f"SET on_error = '{on_error}'; "
            f"SELECT name FROM {STORES} WHERE projectsId = 'p' AND locationsId = 'l' "
            "AND datasetsId IN ('d', 'e')"
        )
    assert caught.value.failure.status == status
