"""Cancellation, early ends and threads: quick, complete, and nothing left behind."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from execution_bench import PLACE, STORE, STORES, Answer, Bench, query_of, refused, stores, studies

from dicomsql.errors import ApiError, CancelledError, InterfaceError

Make = Callable[..., Bench]
LIST = f"SELECT dicomStoresId FROM {STORES} WHERE {PLACE}"
SEARCH = f"SELECT StudyInstanceUID FROM google.healthcare.studies WHERE {STORE}"


def own_threads() -> set[str]:
    return {t.name.rpartition("_")[0] for t in threading.enumerate() if "dicomsql-" in t.name}


def hanging(reached: threading.Event) -> Callable[[Any], Any]:
    """A server that does not answer before the call is broken off."""

    def answer(request: Any) -> Any:
        reached.set()
        if request.scope.cancel.wait(60):
            return CancelledError("The statement was cancelled.")
        raise AssertionError("nobody has aborted the call")

    return answer


STATEMENTS = {
    "list": LIST,
    "one": f"SELECT name FROM {STORES} WHERE {STORE}",
    "twice": f"SELECT a.name FROM {STORES} a JOIN {STORES} b USING (name) WHERE {PLACE}",
    "aggregate": f"SELECT count(*) FROM {STORES} WHERE {PLACE}",
    "fan-out": LIST.replace("datasetsId = 'd'", "datasetsId IN ('a', 'b', 'c')"),
    "insert": f"INSERT INTO {STORES} (projectsId, locationsId, datasetsId, dicomStoreId) "
    "VALUES ('p', 'l', 'd', 'a'), ('p', 'l', 'd', 'b')",
    "delete": f"DELETE FROM {STORES} WHERE {STORE}",
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_another_thread_cancels_a_call(make_bench: Make, name: str) -> None:
    reached = threading.Event()
    bench = make_bench(hanging(reached))

    def cancel() -> None:
        reached.wait(10)
        bench.session.cancel()

    threading.Thread(target=cancel).start()
    with pytest.raises(CancelledError):
        bench.rows(STATEMENTS[name])
    assert own_threads() <= {"dicomsql-engine"}
    bench.wire.answer = lambda _request: stores("a")
    assert bench.rows(LIST) == [("a",)]


@pytest.fixture(params=["breaks off", "goes on"])
def system(request: pytest.FixtureRequest) -> Iterator[None]:
    """What the system does with a wait when a signal comes; polars, imported, has it go on."""
    before = signal.getsignal(signal.SIGINT)
    if request.param == "goes on":
        signal.siginterrupt(signal.SIGINT, False)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize("name", STATEMENTS)
def test_ctrl_c_ends_a_call(make_bench: Make, name: str) -> None:
    reached = threading.Event()
    bench = make_bench(hanging(reached))

    def interrupt() -> None:
        reached.wait(10)
        # The main thread has to be waiting by then: a signal just before would be seen late.
        threading.Event().wait(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        bench.rows(STATEMENTS[name])
    assert own_threads() <= {"dicomsql-engine"}
    bench.wire.answer = lambda _request: stores("a")
    assert bench.rows(LIST) == [("a",)]


@pytest.mark.parametrize("way", ["cancel", "interrupt"])
def test_a_long_computation_of_the_engine_ends(make_bench: Make, way: str) -> None:
    bench = make_bench()
    # The engine is there before the computation begins, so that the signal finds it at work.
    assert bench.rows("SELECT 1") == [(1,)]
    stop = {
        "cancel": bench.session.cancel,
        "interrupt": lambda: os.kill(os.getpid(), signal.SIGINT),
    }[way]
    threading.Timer(0.3, stop).start()
    with pytest.raises((CancelledError, KeyboardInterrupt)):
        bench.rows("SELECT sum(a.range * b.range) FROM range(300000) a, range(300000) b")
    assert bench.rows("SELECT 1") == [(1,)]


def endless(request: Any) -> Any:
    return studies(int(query_of(request, "offset") or 0), 5000)


def test_a_result_that_is_closed_half_read_leaves_no_thread(make_bench: Make) -> None:
    bench = make_bench(endless)
    result = bench.open(SEARCH)
    batches = result.batches()
    assert next(batches).num_rows
    result.close()
    assert own_threads() <= {"dicomsql-engine"}
    with pytest.raises((CancelledError, InterfaceError)):
        next(batches)  # no end, which would pass for that of the rows
    sent = len(bench.wire.requests)
    assert len(bench.rows(f"{SEARCH} LIMIT 3")) == 3
    assert len(bench.wire.requests) == sent + 1


def test_an_error_leaves_no_thread(make_bench: Make) -> None:
    bench = make_bench(refused(500))
    with pytest.raises(ApiError):
        bench.rows(LIST.replace("datasetsId = 'd'", "datasetsId IN ('a', 'b', 'c')"))
    assert own_threads() <= {"dicomsql-engine"}


def test_a_slow_reader_holds_the_fetching(make_bench: Make) -> None:
    bench = make_bench(endless)
    result = bench.open(SEARCH)
    batches = result.batches()
    next(batches)
    held = -1
    # The engine reads some way ahead; then its buffer, and after it the feed, are full.
    for _ in range(100):
        before, held = held, len(bench.wire.requests)
        if before == held:
            break
        threading.Event().wait(0.2)
    assert held < 60
    result.close()


def test_a_result_that_is_half_read_keeps_its_rows(make_bench: Make) -> None:
    def answer(request: Any) -> Any:
        offset = int(query_of(request, "offset") or 0)
        return studies(offset, min(5000, 20_017 - offset)) if offset < 20_017 else Answer()

    bench = make_bench(answer)
    first = bench.open(SEARCH).batches()
    found = next(first).num_rows
    assert bench.rows("SELECT 42") == [(42,)]
    assert found + sum(batch.num_rows for batch in first) == 20_017


def test_an_error_in_what_was_kept_is_the_reader_s(make_bench: Make) -> None:
    def answer(request: Any) -> Any:
        far = int(query_of(request, "offset") or 0) > 40_000
        return refused(500)(request) if far else endless(request)

    bench = make_bench(answer)
    first = bench.open(SEARCH).batches()
    next(first)
    assert bench.rows("SELECT 42") == [(42,)]
    with pytest.raises(ApiError):
        list(first)


def test_limit_over_what_the_engine_checks_ends_the_paging(make_bench: Make) -> None:
    bench = make_bench(endless)
    assert len(bench.rows(f"{SEARCH} AND StudyInstanceUID LIKE '%7' LIMIT 2")) == 2
    assert len(bench.wire.requests) < 60


def test_a_closed_session_has_no_threads_and_takes_nothing(make_bench: Make) -> None:
    bench = make_bench(endless)
    batches = bench.open(SEARCH).batches()
    next(batches)
    bench.session.close()
    bench.session.close()
    assert own_threads() == set()
    with pytest.raises((CancelledError, InterfaceError)):
        next(batches)
    assert bench.session.closed
    with pytest.raises(InterfaceError, match="closed"):
        bench.rows("SELECT 1")
