"""Writes: every call checked before the first, consent as it was said, failures told by row."""

from __future__ import annotations

import json
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from execution_bench import PLACE, STORE, STORES, Answer, Bench, query_of, refused, stores, studies

from dicomsql.errors import (
    ApiError,
    BudgetError,
    CancelledError,
    ConflictError,
    ConsentError,
    OperationalError,
    OperationFailedError,
    PermissionDeniedError,
    PlanningError,
    ProgrammingError,
)
from dicomsql.progress import Standing

Make = Callable[..., Bench]
INSERT = f"INSERT INTO {STORES} (projectsId, locationsId, datasetsId, dicomStoreId, labels) "
POLICIES = "google.healthcare.dicom_stores_iam_policies"
DELETE_STORE = f"DELETE FROM {STORES} WHERE {STORE}"
STUDY = f"DELETE FROM google.healthcare.studies WHERE {STORE} AND studiesId"
OPERATION = "projects/p/locations/l/datasets/d/operations/1"


def row(name: str, labels: str = "{}") -> str:
    return f"('p', 'l', 'd', '{name}', '{labels}')"


def named(request: Any) -> Any:
    """A server that makes every store but those whose name begins with `bad`."""
    name = query_of(request, "dicomStoreId")
    if name.startswith("bad"):
        return refused(409, "exists")(request)
    return stores(name)["dicomStores"][0]


def test_one_call_for_each_row(make_bench: Make) -> None:
    bench = make_bench(named)
    result = bench.open(f"{INSERT} VALUES {row('a', json.dumps({'k': 'v'}))}, {row('b')}")
    assert result.columns is None
    assert result.affected == 2
    assert result.message == "2 rows of google.healthcare.dicom_stores created."
    assert sorted(bench.wire.sent) == [
        "POST /d/dicomStores?dicomStoreId=a",
        "POST /d/dicomStores?dicomStoreId=b",
    ]
    bodies = [json.loads(r.body or b"") for r in bench.wire.requests]  # type: ignore[arg-type]
    assert {"labels": {"k": "v"}} in bodies


def test_the_first_failure_does_not_stop_the_rest(make_bench: Make) -> None:
    bench = make_bench(named)
    rows = ", ".join(row(n) for n in ("a", "bad1", "b", "bad2", "c"))
    with pytest.raises(OperationalError) as caught:
        bench.open(f"{INSERT} VALUES {rows}")
    said = str(caught.value)
    assert "3 of 5 rows were created and stay so, 2 failed." in said
    assert "row 2 (projectsId = 'p'" in said
    assert "dicomStoreId = 'bad2'" in said
    assert len(bench.wire.requests) == 5


def test_the_only_call_s_failure_is_itself(make_bench: Make) -> None:
    bench = make_bench(refused(500))
    with pytest.raises(ApiError) as caught:
        bench.open(f"{INSERT} VALUES {row('a')}")
    assert not isinstance(caught.value, ConflictError)
    assert caught.value.failure.status == 500


def test_a_defect_in_one_call_is_told_with_its_row(make_bench: Make) -> None:
    bench = make_bench(lambda request: 1 / 0 if "a" in request.url[-1:] else named(request))
    with pytest.raises(OperationalError, match=r"row 1.*a defect of dicomsql: ZeroDivisionError"):
        bench.open(f"{INSERT} VALUES {row('a')}, {row('b')}")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (f"{row('a')}, {row('b', 'no json')}", "labels"),
        (f"{row('a')}, ('p', 'l', NULL, 'b', NULL)", "row 2 has no value for datasetsId"),
        (f"{row('a')}, ('p', 'l', '..', 'b', NULL)", "would be another path"),
    ],
)
def test_every_row_is_checked_before_the_first_call(make_bench: Make, rows: str, said: str) -> None:
    bench = make_bench(named)
    with pytest.raises(ProgrammingError, match=said):
        bench.open(f"{INSERT} VALUES {rows}")
    assert bench.wire.requests == []


def test_returning_is_checked_before_the_first_call(make_bench: Make) -> None:
    bench = make_bench(named)
    with pytest.raises(ProgrammingError):
        bench.open(f"{INSERT} VALUES {row('a')} RETURNING nme")
    assert bench.wire.requests == []
    assert bench.rows(f"{INSERT} VALUES {row('a')} RETURNING name, datasetsId") == [
        ("projects/p/locations/l/datasets/d/dicomStores/a", "d")
    ]


def test_a_write_keeps_to_its_budget(make_bench: Make) -> None:
    bench = make_bench(named)
    with pytest.raises(BudgetError, match=r"would take 2 calls"):
        bench.open(f"SET max_calls = 1; {INSERT} VALUES {row('a')}, {row('b')}")
    assert bench.wire.requests == []


def test_the_id_is_the_name_s_last_segment(make_bench: Make) -> None:
    bench = make_bench(named)
    columns = "(projectsId, locationsId, datasetsId, name)"
    bench.open(f"INSERT INTO {STORES} {columns} SELECT 'p', 'l', 'd', 'a/b/s1'")
    bench.open(f"INSERT INTO {STORES} {columns} SELECT 'p', 'l', 'd', 's2'")
    assert [query_of(r, "dicomStoreId") for r in bench.wire.requests] == ["s1", "s2"]
    bodies = [json.loads(r.body or b"") for r in bench.wire.requests]  # type: ignore[arg-type]
    assert bodies == [{"name": "a/b/s1"}, {}]


def test_an_update_sends_its_mask(make_bench: Make) -> None:
    bench = make_bench(lambda _request: {})
    result = bench.open(f'UPDATE {STORES} SET labels = \'{{"a": "b"}}\' WHERE {STORE}')
    assert result.message == "1 row of google.healthcare.dicom_stores updated."
    assert bench.wire.sent == ["PATCH /d/dicomStores/s?updateMask=labels"]


# -- consent ---------------------------------------------------------------------------------------


def holding(instances: int, *, seen: int | None = None) -> Callable[[Any], Any]:
    """A store whose metrics say how much it holds, and a search that says what it really holds."""

    def answer(request: Any) -> Any:
        if "etrics" in request.path:
            return {"studyCount": "1", "instanceCount": str(instances)}
        if request.method == "GET":
            found = studies(0, min(2, instances if seen is None else seen))
            return found or Answer()
        return {}

    return answer


def deletes(bench: Bench) -> int:
    return sum(r.method == "DELETE" for r in bench.wire.requests)


@pytest.mark.parametrize("instances", [0, 1])
def test_one_instance_or_none_needs_no_consent(make_bench: Make, instances: int) -> None:
    bench = make_bench(holding(instances))
    bench.open(DELETE_STORE)
    assert deletes(bench) == 1


def test_metrics_that_lag_are_looked_behind(make_bench: Make) -> None:
    bench = make_bench(holding(0, seen=2))
    with pytest.raises(ConsentError) as caught:
        bench.open(DELETE_STORE)
    assert caught.value.number == 2
    assert deletes(bench) == 0


def test_exactly_the_number_is_allowed_and_used_up(make_bench: Make) -> None:
    bench = make_bench(holding(17))
    with pytest.raises(ConsentError, match=r"17 instances.*SET allow_writes = 17"):
        bench.open(DELETE_STORE)
    with pytest.raises(ConsentError, match=r"18 is allowed, not 17"):
        bench.open(f"SET allow_writes = 18; {DELETE_STORE}")
    assert deletes(bench) == 0
    bench.open(f"SET allow_writes = 17; {DELETE_STORE}")
    assert deletes(bench) == 1
    with pytest.raises(ConsentError):
        bench.open(DELETE_STORE)


def test_what_needs_no_consent_uses_none_up(make_bench: Make) -> None:
    bench = make_bench(holding(17))
    bench.open(f"SET allow_writes = 17; UPDATE {STORES} SET labels = '{{}}' WHERE {STORE}")
    bench.open(DELETE_STORE)
    assert deletes(bench) == 1


def test_yes_and_a_person_allow(make_bench: Make) -> None:
    bench = make_bench(holding(17), yes=True)
    bench.open(DELETE_STORE)
    assert deletes(bench) == 1
    asked: list[str] = []
    for answer in (False, True):

        def ask(said: str, allowed: bool = answer) -> bool:
            asked.append(said)
            return allowed

        bench = make_bench(holding(17), consent=ask)
        if answer:
            bench.open(DELETE_STORE)
        else:
            with pytest.raises(ConsentError, match=r"was not allowed"):
                bench.open(DELETE_STORE)
        assert deletes(bench) == int(answer)
    assert (
        "delete 1 DICOM store (projects/p/locations/l/datasets/d/dicomStores/s), which holds"
        in asked[0]
    )


def test_setting_a_policy_needs_consent(make_bench: Make) -> None:
    bench = make_bench(lambda _request: {})
    sql = (
        f"EXEC {POLICIES}.set_iam_policy @{STORE.replace(' AND ', ', @')} @@json = "
        "'{\"policy\": {}}'"
    )
    with pytest.raises(ConsentError):
        bench.open(sql)
    assert bench.wire.requests == []
    bench.open(f"SET allow_writes = 1; {sql}")
    assert [r.method for r in bench.wire.requests] == ["POST"]


def test_several_instances_need_consent_and_one_does_not(make_bench: Make) -> None:
    bench = make_bench(lambda _request: {})
    one = (
        f"DELETE FROM google.healthcare.instances WHERE {STORE} "
        "AND studiesId = '1' AND seriesId = '2' AND instancesId"
    )
    bench.open(f"{one} = '3'")
    assert deletes(bench) == 1
    with pytest.raises(ConsentError) as caught:
        bench.open(f"{one} IN ('3', '4')")
    assert caught.value.number == 2
    assert deletes(bench) == 1


def test_explain_of_a_write_reads_and_a_dry_run_does_nothing(make_bench: Make) -> None:
    bench = make_bench(holding(17))
    assert bench.rows(DELETE_STORE, dry_run=True)
    assert bench.rows(f"EXPLAIN {DELETE_STORE}", dry_run=True)
    assert bench.rows(f"EXPLAIN ANALYZE {DELETE_STORE}", dry_run=True)
    assert bench.wire.requests == []
    shown = "\n".join(line for (line,) in bench.rows(f"EXPLAIN {DELETE_STORE}"))
    assert "17 instances" in shown
    assert {r.method for r in bench.wire.requests} == {"GET"}


def test_metrics_that_are_no_numbers_stop_the_write(make_bench: Make) -> None:
    bench = make_bench(lambda _request: {"instanceCount": "many"})
    with pytest.raises(OperationalError, match=r"size cannot be learned"):
        bench.open(DELETE_STORE)
    bench = make_bench(lambda _request: Answer(b"<html>"))
    with pytest.raises(OperationalError, match=r"no JSON object"):
        bench.open(DELETE_STORE)
    assert deletes(bench) == 0


# -- operations ------------------------------------------------------------------------------------

MAKE = "INSERT /*+ AWAIT */ INTO google.healthcare.datasets(projectsId, locationsId, datasetId) "
VALUES = "VALUES ('p', 'l', 'd')"


def operating(*steps: dict[str, Any]) -> Callable[[Any], Any]:
    """An operation that takes these steps, one at each look."""
    left = list(steps)
    return lambda request: (
        {} if request.url.endswith(":cancel") else {"name": OPERATION, **left.pop(0)}
    )


def test_an_operation_that_is_not_awaited_is_named(make_bench: Make) -> None:
    bench = make_bench(operating({"done": False}))
    result = bench.open(MAKE.replace("/*+ AWAIT */", "") + VALUES)
    assert result.message == f"1 operation started: {OPERATION}."


def test_an_operation_is_awaited_and_its_progress_told(make_bench: Make) -> None:
    said: list[Standing] = []
    counted = {"metadata": {"counter": {"success": "3", "failure": "2"}}}
    made = {"done": True, "response": {"@type": "x", "name": "made"}, **counted}
    bench = make_bench(operating({}, counted, made), progress=said.append)
    result = bench.open(MAKE + VALUES)
    (batch,) = result.batches()
    assert batch.column("done").to_pylist() == [True]
    assert any("3 success, 2 failure" in str(standing) for standing in said)
    assert "2 items failed" in result.statistics.notes[0]
    bench = make_bench(operating({}, made))
    assert bench.rows(f"SET await = true; {MAKE} {VALUES} RETURNING name, done") == [("made", True)]


def test_an_operation_that_ends_with_an_error_fails_the_statement(make_bench: Make) -> None:
    failed = {"done": True, "error": {"code": 3, "message": "study 1.2.3.4.5.6.7 is broken"}}
    bench = make_bench(operating({}, failed))
    with pytest.raises(OperationFailedError, match=r"error 3: study … is broken"):
        bench.open(MAKE + VALUES)


@pytest.mark.parametrize(("stop", "sent"), [(True, True), (False, False), (None, False)])
@pytest.mark.parametrize("way", ["cancel", "ctrl-c"])
def test_an_operation_is_cancelled_where_the_user_says_so(
    make_bench: Make, way: str, stop: bool | None, sent: bool
) -> None:
    benches: list[Bench] = []

    def answer(request: Any) -> Any:
        if request.method == "GET" and way == "cancel":
            benches[0].session.cancel()
        elif request.method == "GET":
            os.kill(os.getpid(), signal.SIGINT)
        return {"name": OPERATION}

    asked: list[str] = []
    ask = None if stop is None else lambda name: asked.append(name) or stop
    benches.append(bench := make_bench(answer, stop_operation=ask))
    with pytest.raises((CancelledError, KeyboardInterrupt)) as caught:
        bench.open(MAKE + VALUES)
    assert any(r.url.endswith(":cancel") for r in bench.wire.requests) is sent
    assert asked == ([] if stop is None else [OPERATION])
    assert ("asked to stop" if sent else "goes on") in str(caught.value)


def test_a_cancelled_write_says_what_was_done(make_bench: Make) -> None:
    benches: list[Bench] = []

    def answer(request: Any) -> Any:
        if query_of(request, "dicomStoreId") == "a":
            return {}
        benches[0].session.cancel()
        return CancelledError("The statement was cancelled.")

    benches.append(bench := make_bench(answer, parallel=1))
    with pytest.raises(
        CancelledError, match=r"1 of 4 rows were created and stay so, 1 failed, 2 we"
    ):
        bench.open(f"{INSERT} VALUES {', '.join(row(n) for n in 'abcd')}")
    assert len(bench.wire.requests) == 2


# -- audit -----------------------------------------------------------------------------------------


def test_each_call_is_written_down(make_bench: Make, tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    bench = make_bench(named, audit_log=log)
    labels = json.dumps({"k": "Jane Doe"})
    with pytest.raises(OperationalError):
        bench.open(f"{INSERT} VALUES {row('a', labels)}, {row('bad', labels)}")
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert sorted(e["result"] for e in entries) == ["done", "failed"]
    assert {e.get("status") for e in entries} == {None, 409}
    assert entries[0]["method"] == f"{STORES}.create"
    assert "Jane" not in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_no_uid_is_written_down(make_bench: Make, tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    bench = make_bench(lambda r: {} if r.method == "DELETE" else b"", audit_log=log, yes=True)
    bench.open(f"{STUDY} = '1.2.3'")
    assert "1.2.3" not in log.read_text()
    assert "s" in json.loads(log.read_text())["places"]["dicomStoresId"]


def test_without_its_log_nothing_is_written(make_bench: Make, tmp_path: Path) -> None:
    bench = make_bench(named, audit_log=tmp_path / "no" / "folder")
    with pytest.raises(OperationalError, match=r"audit log .* cannot be written"):
        bench.open(f"{INSERT} VALUES {row('a')}")
    assert bench.wire.requests == []


# -- EXEC ------------------------------------------------------------------------------------------


def test_exec_gives_what_was_answered(make_bench: Make) -> None:
    bench = make_bench(lambda _request: {"permissions": ["a"]})
    sql = (
        f"EXEC {POLICIES}.test_iam_permissions @{STORE.replace(' AND ', ', @')} @@json = "
        '\'{"permissions": ["a"]}\''
    )
    assert bench.rows(sql) == [('["a"]',)]


def test_exec_sends_a_file_as_it_is(make_bench: Make, tmp_path: Path) -> None:
    file = tmp_path / "one.dcm"
    file.write_bytes(b"DICM")
    bench = make_bench(lambda _request: {"00081190": {"vr": "UR", "Value": ["u"]}})
    sql = f"EXEC {STORES}.store_instances @{STORE.replace(' AND ', ', @')} @@file = "
    bench.rows(f"{sql} '{file}'")
    body = bench.wire.requests[0].body
    assert callable(body)
    assert b"".join(body()) == b"".join(body()) == b"DICM"
    with pytest.raises(PlanningError, match=r"there is no file"):
        bench.rows(f"{sql} '{file}x'")


# -- writes from queries ---------------------------------------------------------------------------


def test_exactly_the_rows_that_the_condition_selects_are_written(make_bench: Make) -> None:
    def answer(request: Any) -> Any:
        if request.method == "GET":
            return {
                "dicomStores": [
                    {**store, "labels": {"env": "test" if "1" in store["name"] else "prod"}}
                    for store in stores("s1", "s2", "s11")["dicomStores"]
                ]
            }
        return {}

    bench = make_bench(answer)
    condition = f"{PLACE} AND labels->>'env' = 'test'"
    result = bench.open(f"UPDATE {STORES} SET labels = '{{}}' WHERE {condition}")
    assert result.affected == 2
    patched = [s for s in bench.wire.sent if s.startswith("PATCH")]
    assert sorted(s.split("?")[0] for s in patched) == [
        "PATCH /d/dicomStores/s1",
        "PATCH /d/dicomStores/s11",
    ]
    nothing = bench.open(f"UPDATE {STORES} SET labels = '{{}}' WHERE {PLACE} AND name = 'x'")
    assert nothing.message == "No row of google.healthcare.dicom_stores was updated."


def test_another_patient_s_study_is_not_deleted(make_bench: Make) -> None:
    bench = make_bench(lambda r: studies(3, 1, t00100020="x") if r.method == "GET" else {})
    result = bench.open(f"{STUDY} = '1.2.3' AND PatientID = 'y'")
    assert result.affected == deletes(bench) == 0


def test_what_a_query_gives_must_fit_the_columns(make_bench: Make) -> None:
    bench = make_bench(named)
    with pytest.raises(PlanningError, match="gives 2 columns, but 5 are to be filled"):
        bench.open(f"{INSERT} SELECT * FROM (VALUES ('p', 'l'))")
    assert bench.wire.requests == []


def test_a_dataset_is_measured_by_all_its_stores(make_bench: Make) -> None:
    def answer(request: Any) -> Any:
        store = dict(request.path_values).get("dicomStoresId")
        if store == "gone":
            return refused(404)(request)
        if "etrics" in request.path:
            return {"instanceCount": "21"}
        return stores("a", "b", "gone") if "dicomStores" in request.path else {}

    bench = make_bench(answer)
    where = "projectsId = 'p' AND locationsId = 'l' AND datasetsId = 'd'"
    with pytest.raises(ConsentError) as caught:
        bench.open(f"DELETE FROM google.healthcare.datasets WHERE {where}")
    assert caught.value.number == 42
    assert deletes(bench) == 0


@pytest.mark.parametrize(("listed", "number"), [(stores(), 0), (None, None)])
def test_a_dataset_without_known_stores_needs_consent_too(
    make_bench: Make, listed: Any, number: int | None
) -> None:
    def answer(request: Any) -> Any:
        if request.method != "GET":
            return {}
        return refused(404)(request) if listed is None else listed

    bench = make_bench(answer)
    sql = f"DELETE FROM google.healthcare.datasets WHERE {PLACE}"
    for before in ("", "SET allow_writes = 0; "):
        with pytest.raises(ConsentError, match=r"Allow it with --yes or yes=True\.") as caught:
            bench.open(before + sql)
        assert caught.value.number == number
        assert "allow_writes" not in str(caught.value)
    assert deletes(bench) == 0
    bench = make_bench(answer, yes=True)
    bench.open(sql)
    assert deletes(bench) == 1


def without_metrics(found: int | None, status: int = 404) -> Callable[[Any], Any]:
    """A server that keeps no metrics; a search finds so many instances, or no such thing."""

    def answer(request: Any) -> Any:
        if request.method != "GET":
            return {}
        if "etrics" in request.path:
            return refused(status)(request)
        return refused(404)(request) if found is None else studies(0, found) or Answer()

    return answer


@pytest.mark.parametrize("status", [404, 405, 501])
@pytest.mark.parametrize("found", [0, 2])
def test_a_size_that_is_not_known_is_no_small_one(
    make_bench: Make, found: int, status: int
) -> None:
    asked: list[str] = []
    answer = without_metrics(found, status)
    bench = make_bench(answer)
    for before in ("", "SET allow_writes = 2; "):
        with pytest.raises(ConsentError, match=r"size could not be learned") as caught:
            bench.open(before + DELETE_STORE)
        assert caught.value.number is None
        assert "SET allow_writes" not in str(caught.value)
    shown = "\n".join(line for (line,) in bench.rows(f"EXPLAIN {DELETE_STORE}"))
    assert "size could not be learned" in shown
    assert "Allow it with --yes or yes=True." in shown
    assert deletes(bench) == 0

    def ask(said: str) -> bool:
        asked.append(said)
        return True

    bench = make_bench(answer, consent=ask)
    bench.open(DELETE_STORE)
    assert deletes(bench) == 1
    assert "could not be learned" in asked[0]


@pytest.mark.parametrize("found", [None, 1])
def test_where_metrics_are_missing_the_thing_itself_tells(
    make_bench: Make, found: int | None
) -> None:
    bench = make_bench(without_metrics(found))
    shown = "\n".join(line for (line,) in bench.rows(f"EXPLAIN {DELETE_STORE}"))
    assert "This needs no consent." in shown
    bench.open(DELETE_STORE)
    assert deletes(bench) == 1


def test_metrics_that_may_not_be_read_stop_the_write(make_bench: Make) -> None:
    bench = make_bench(without_metrics(1, 403))
    with pytest.raises(PermissionDeniedError):
        bench.open(DELETE_STORE)
    assert deletes(bench) == 0


def test_the_question_names_the_place_and_no_study(make_bench: Make) -> None:
    bench = make_bench(holding(5))
    with pytest.raises(ConsentError) as caught:
        bench.open(f"{STUDY} = '1.2.3.4.5.6.7'")
    assert "1 study of projects/p/locations/l/datasets/d/dicomStores/s, " in str(caught.value)
    assert "1.2.3.4.5.6.7" not in str(caught.value)
    with pytest.raises(ConsentError, match=r"delete 2 studies in 2 places"):
        bench.open(f"{STUDY} = '1.2.3'".replace("= 's'", "IN ('s', 't')"))
    assert deletes(bench) == 0


# -- names and places ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "values", "said"),
    [
        ("name", "'projects/p/locations/l/datasets/other/dicomStores/s'", "datasetsId"),
        (
            "dicomStoreId, name",
            "'t', 'projects/p/locations/l/datasets/d/dicomStores/s'",
            "dicomStoreId",
        ),
    ],
)
def test_a_name_that_contradicts_the_place_is_an_error(
    make_bench: Make, columns: str, values: str, said: str
) -> None:
    bench = make_bench(named)
    insert = f"INSERT INTO {STORES} (projectsId, locationsId, datasetsId, {columns}) "
    with pytest.raises(PlanningError, match=rf"row 1 the name contradicts {said}, "):
        bench.open(f"{insert} SELECT 'p', 'l', 'd', {values}")
    assert bench.wire.requests == []


def test_a_full_name_that_agrees_gives_the_id(make_bench: Make) -> None:
    bench = make_bench(named)
    bench.open(
        f"INSERT INTO {STORES} (projectsId, locationsId, datasetsId, name) "
        "SELECT 'p', 'l', 'd', 'projects/p/locations/l/datasets/d/dicomStores/s'"
    )
    assert [query_of(r, "dicomStoreId") for r in bench.wire.requests] == ["s"]


def test_the_audit_log_takes_others_rights_away(make_bench: Make, tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    log.touch()
    log.chmod(0o644)
    make_bench(named, audit_log=log).open(f"{INSERT} VALUES {row('a')}")
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert len(log.read_text().splitlines()) == 1


def test_an_audit_log_of_somebody_else_is_refused(
    make_bench: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "audit.jsonl"
    log.touch()
    owner = os.geteuid()
    monkeypatch.setattr("os.geteuid", lambda: owner + 1)
    bench = make_bench(named, audit_log=log)
    with pytest.raises(OperationalError, match=r"belongs to another user"):
        bench.open(f"{INSERT} VALUES {row('a')}")
    assert bench.wire.requests == []
