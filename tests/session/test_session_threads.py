"""One session and many threads: side by side, each with its own result, settings and end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from session_server import STUDIES, Server, execute, opened, rows, rows_of, serving

from dicomsql.errors import CancelledError, DatabaseError, InterfaceError
from dicomsql.session import Session, Stop, results

SEARCH = f"SELECT StudyInstanceUID FROM {STUDIES} WHERE PatientID = ?"
ALL = "SELECT range FROM range(200000)"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture
def session(server: Server) -> Iterator[Session]:
    with opened(server) as made:
        yield made


def own_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("dicomsql")]


def test_searches_wait_for_the_server_side_by_side(server: Server, session: Session) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(rows, session, SEARCH, ["held"]) for _ in range(4)]
        for _ in range(4):
            assert server.held.acquire(timeout=20)
        # Others are not held up by those.
        assert rows(session, SEARCH, ["p"]) == ["1.2.0", "1.2.1", "1.2.2"]
        assert rows(session, "SELECT 42") == [42]
        server.release.set()
        assert all(f.result() == ["1.2.0", "1.2.1", "1.2.2"] for f in found)


def test_many_threads_and_local_tables(session: Session) -> None:
    rows(session, "CREATE TABLE seen (thread INTEGER, uid VARCHAR)")

    def work(number: int) -> int:
        for _ in range(5):
            rows(session, f"INSERT INTO seen SELECT {number}, StudyInstanceUID FROM {STUDIES}")
        own = f"SELECT count(*) FROM seen JOIN {STUDIES} ON uid = StudyInstanceUID WHERE thread = ?"
        (count,) = rows(session, own, [number])
        assert isinstance(count, int)
        return count

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(work, range(6))) == [15] * 6
    assert rows(session, "SELECT count(*) FROM seen") == [90]


@pytest.mark.parametrize(
    "before",
    [
        ALL,
        "SELECT t.range FROM range(200000) AS t, one",  # a TEMP table, on the main engine
        "SELECT range FROM range(200000) AS t WHERE range >= getvariable('least')",
    ],
)
@pytest.mark.parametrize(
    "after",
    [
        ALL,
        "CREATE TABLE t AS SELECT 1 AS a",
        "SELECT * FROM one",
        f"SELECT StudyInstanceUID FROM {STUDIES}",
    ],
)
@pytest.mark.parametrize("in_memory", [True, False])
def test_a_half_read_result_survives(
    session: Session,
    monkeypatch: pytest.MonkeyPatch,
    before: str,
    after: str,
    in_memory: bool,
) -> None:
    if not in_memory:
        monkeypatch.setattr(results, "_KEPT", 100_000)
    rows(session, "CREATE TEMP TABLE one AS SELECT 1 AS a")
    rows(session, "SET VARIABLE least = 0")
    result = execute(session, before)
    batches = result.batches()
    found = next(batches).column(0).to_pylist()
    rows(session, after)
    found += [v for batch in batches for v in batch.column(0).to_pylist()]
    assert found == list(range(200_000))


def test_several_half_read_results_are_read_in_turn(session: Session) -> None:
    rows(session, "CREATE TEMP TABLE one AS SELECT 1 AS a")
    texts = [
        ALL,
        "SELECT range FROM range(200000), one",
        ALL,
        "SELECT range FROM range(200000), one",
    ]
    open_ones = [execute(session, text).batches() for text in texts]
    found: list[list[int]] = [[] for _ in texts]
    while any(batches := [next(b, None) for b in open_ones]):
        for values, batch in zip(found, batches, strict=True):
            values.extend(batch.column(0).to_pylist() if batch is not None else [])
    assert found == [list(range(200_000))] * 4


def test_what_one_thread_sets_changes_no_statement_that_has_begun(
    server: Server, session: Session
) -> None:
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(rows, session, SEARCH, ["held"])
        assert server.held.acquire(timeout=20)
        rows(session, "SET max_calls = 1")
        rows(session, "USE google.healthcare")
        server.release.set()
        assert len(held.result()) == 3


def test_settings_of_the_engine_hold_for_all_statements(session: Session) -> None:
    zone = "SELECT CAST(TIMESTAMPTZ '2026-01-01 00:00:00+00' AS VARCHAR)"
    assert rows(session, zone) == ["2026-01-01 00:00:00+00"]
    unread = execute(session, ALL)  # keeps an engine
    rows(session, "SET TimeZone = 'Asia/Tokyo'")
    assert rows(session, zone) == ["2026-01-01 09:00:00+09"]
    unread.close()
    assert [rows(session, zone) for _ in range(3)] == [["2026-01-01 09:00:00+09"]] * 3
    rows(session, "RESET TimeZone")
    rows(session, "SET TimeZone = 'UTC'")
    assert rows(session, zone) == ["2026-01-01 00:00:00+00"]


BOUND = [
    ("CREATE TEMP TABLE own AS SELECT 7 AS a", "SELECT a FROM own"),
    ("CREATE TEMP TABLE own AS SELECT 7 AS a", "SELECT a FROM query_table('own')"),
    ("CREATE TEMP VIEW own AS SELECT 7 AS a", 'SELECT a FROM "OWN"'),
    ("CREATE TEMP MACRO own() AS 7", "SELECT own()"),
    ("CREATE TEMP SEQUENCE own START 7", "SELECT nextval('own')"),
    ("SET VARIABLE own = 7", "SELECT getvariable('own')"),
]


@pytest.mark.parametrize(("make", "ask"), BOUND)
def test_what_one_connection_has_is_found_by_every_thread(
    session: Session, make: str, ask: str
) -> None:
    rows(session, make)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(rows, session, ask).result() == [7]
    rows(session, "CREATE MACRO asked() AS TABLE SELECT 1 AS a")
    assert rows(session, "SELECT a FROM asked()") == [1]


def test_a_macro_may_rest_on_a_temporary_table(session: Session) -> None:
    rows(session, "CREATE TEMP TABLE own AS SELECT 7 AS a")
    rows(session, "CREATE MACRO of_own() AS TABLE SELECT a FROM own")
    assert rows(session, "SELECT a FROM of_own()") == [7]


# -- stopping --------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [True, False])
def test_one_statement_is_stopped_and_no_other(
    server: Server, session: Session, whole: bool
) -> None:
    stop = Stop()
    with ThreadPoolExecutor(2) as pool:
        stopped = pool.submit(execute, session, SEARCH, ["held"], stop)
        assert server.held.acquire(timeout=20)
        other = pool.submit(rows, session, SEARCH, ["held"])
        assert server.held.acquire(timeout=20)
        session.cancel() if whole else stop.cancel()
        with pytest.raises(CancelledError):
            stopped.result(timeout=20)
        if whole:
            with pytest.raises(CancelledError):
                other.result(timeout=20)
        else:
            assert not other.done()
        server.release.set()
        if not whole:
            assert len(other.result(timeout=20)) == 3
    assert rows(session, SEARCH, ["p"]) == ["1.2.0", "1.2.1", "1.2.2"]


@pytest.mark.parametrize("table", ["", ", one"])
def test_a_computation_is_stopped_and_no_other(session: Session, table: str) -> None:
    """On an engine of the pool, and on the main one."""
    rows(session, "CREATE TEMP TABLE one AS SELECT 1 AS a")
    stop = Stop()
    endless = f"SELECT sum(a.range * b.range) FROM range(3000000) a, range(3000000) b{table}"
    with ThreadPoolExecutor(2) as pool:
        stopped = pool.submit(execute, session, endless, None, stop)
        assert rows(session, "SELECT 1") == [1]
        waiting = pool.submit(rows, session, f"SELECT 2 FROM range(1){table}")
        stop.cancel()
        with pytest.raises(CancelledError):
            stopped.result(timeout=20)
        assert waiting.result(timeout=20) == [2]


def test_a_result_that_is_cancelled_says_so_to_its_reader(session: Session) -> None:
    first, second = execute(session, ALL), execute(session, ALL)
    batches = first.batches()
    next(batches)
    session.cancel(first)
    with pytest.raises(CancelledError):
        next(batches)
    assert len(rows_of(second)) == 200_000
    third = execute(session, ALL)
    session.cancel()
    with pytest.raises(CancelledError):
        rows_of(third)
    assert rows(session, "SELECT 1") == [1]


def test_a_stop_that_comes_first_stops_as_well(session: Session, server: Server) -> None:
    stop = Stop()
    stop.cancel()
    with pytest.raises(CancelledError):
        execute(session, SEARCH, ["p"], stop)
    assert server.asked == []


def test_who_waits_for_the_main_engine_can_be_stopped(session: Session) -> None:
    rows(session, "CREATE TEMP TABLE one AS SELECT 1 AS a")
    stops = [Stop(), Stop()]
    endless = "SELECT sum(a.range * b.range) FROM range(3000000) a, range(3000000) b, one"
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(execute, session, endless, None, stop) for stop in stops]
        for stop, future in zip(reversed(stops), reversed(both), strict=True):
            stop.cancel()
            with pytest.raises(CancelledError):
                future.result(timeout=20)


def test_who_waits_for_a_result_to_be_kept_is_stopped_without_it(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows(session, "CREATE TEMP TABLE one AS SELECT 1 AS a")
    kept = execute(session, "SELECT range FROM range(200000), one")
    stop, interrupts = Stop(), list[object]()
    main = session._parts.engines.main
    real = results.OpenResult.spool

    def spool(self: results.OpenResult, by: Stop) -> None:
        monkeypatch.setattr(main, "interrupt", lambda: interrupts.append(by))
        stop.cancel()
        monkeypatch.undo()
        real(self, by)

    monkeypatch.setattr(results.OpenResult, "spool", spool)
    with pytest.raises(CancelledError):
        execute(session, "INSERT INTO one VALUES (2)", None, stop)
    assert interrupts == []
    assert len(rows_of(kept)) == 200_000
    assert rows(session, "SELECT a FROM one") == [1]


# -- what is left ----------------------------------------------------------------------------------


def test_results_that_nobody_has_any_more_hold_nothing(session: Session) -> None:
    for _ in range(40):
        next(execute(session, ALL).batches())
    rows(session, "SELECT 1")
    assert len([name for name in own_threads() if "engine" in name]) < 8


def test_close_leaves_no_thread_while_others_are_at_work(server: Server) -> None:
    session = opened(server)
    rows(session, "CREATE TEMP TABLE one AS SELECT 1 AS a")
    unread = execute(session, "SELECT range FROM range(200000), one").batches()
    next(unread)
    next(execute(session, ALL).batches())
    with ThreadPoolExecutor(2) as pool:
        held = pool.submit(rows, session, SEARCH, ["held"])
        assert server.held.acquire(timeout=20)
        endless = "SELECT sum(a.range * b.range) FROM range(3000000) a, range(3000000) b"
        busy = pool.submit(rows, session, endless)
        session.close()
        for future in (held, busy):
            with pytest.raises((CancelledError, DatabaseError, InterfaceError)):
                future.result(timeout=20)
    with pytest.raises((CancelledError, InterfaceError)):
        next(unread)
    assert own_threads() == []
