"""The pace: bounded, halved by a refusal, won back with time. No test sleeps: the clock is fake."""

from __future__ import annotations

import threading

import pytest

from dicomsql.errors import CancelledError
from dicomsql.transport.pace import Pace, Throttle


def test_calls_at_a_time_are_bounded() -> None:
    throttle = Throttle(2)
    for _ in range(2):
        assert throttle.delay(0.0) == 0.0
        throttle.start(0.0)
    assert throttle.delay(0.0) is None
    throttle.end()
    assert throttle.delay(0.0) == 0.0


def burst(throttle: Throttle, calls: int, seconds: float) -> None:
    for i in range(calls):
        throttle.start(seconds * i / calls)
        throttle.end()


def test_a_refusal_halves_the_pace() -> None:
    throttle = Throttle(8)
    burst(throttle, 100, 5.0)
    throttle.refuse(5.0, 5.0)
    assert throttle.rate == pytest.approx(10.0)
    assert throttle.limit == 4.0
    assert throttle.delay(5.0) == pytest.approx(0.1)
    assert throttle.delay(5.1) == 0.0
    throttle.start(5.1)
    assert throttle.delay(5.1) == pytest.approx(0.1, rel=0.05)


def test_calls_that_were_under_way_count_as_one_refusal() -> None:
    throttle = Throttle(8)
    burst(throttle, 100, 5.0)
    throttle.refuse(4.0, 5.0)
    throttle.refuse(4.5, 5.0)
    throttle.refuse(4.9, 5.1)
    assert throttle.limit == 4.0
    throttle.refuse(5.2, 5.3)
    assert throttle.limit == 2.0


def test_the_pace_never_ends_and_is_won_back_slowly() -> None:
    throttle = Throttle(4)
    burst(throttle, 40, 4.0)
    for i in range(20):
        throttle.refuse(5.0 + i, 5.0 + i)
    assert throttle.limit == 1.0
    assert throttle.rate == pytest.approx(1.0)
    seen = []
    now = 25.0
    while throttle.rate is not None and now < 200:
        throttle.delay(now)
        seen.append(throttle.limit)
        now += 1.0
    assert throttle.rate is None
    assert throttle.limit == 4.0
    assert seen == sorted(seen)
    assert now - 25.0 > 10


def test_old_starts_are_forgotten() -> None:
    throttle = Throttle(4)
    burst(throttle, 100, 1.0)
    throttle.start(100.0)
    throttle.refuse(100.0, 100.0)
    assert throttle.rate == pytest.approx(2.0)


def test_threads_never_exceed_the_pace() -> None:
    pace = Pace(3)
    running: list[int] = []
    most: list[int] = []
    lock = threading.Lock()

    def work() -> None:
        for _ in range(20):
            with pace.slot(threading.Event()):
                with lock:
                    running.append(1)
                    most.append(len(running))
                with lock:
                    running.pop()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) <= 3
    assert len(most) == 120


def test_who_waits_for_a_place_can_be_cancelled() -> None:
    pace = Pace(1, clock=lambda: 0.0)
    cancel = threading.Event()
    with pace.slot(cancel) as slot:
        slot.refused()
        cancel.set()
        with pytest.raises(CancelledError), pace.slot(cancel):
            raise AssertionError("there was no place")
    assert pace.throttle.running == 0
    assert pace.throttle.rate == pytest.approx(1.0)


def test_another_number_of_calls_keeps_what_was_cut() -> None:
    throttle = Throttle(4)
    throttle.resize(16)
    assert (throttle.parallel, throttle.limit) == (16, 16.0)
    burst(throttle, 100, 5.0)
    throttle.refuse(5.0, 5.0)
    throttle.resize(4)
    assert (throttle.parallel, throttle.limit) == (4, 2.0)
    for _ in range(2):
        throttle.start(6.0)
    assert throttle.delay(6.0) is None


def test_a_thread_that_waits_goes_on_once_more_calls_are_allowed() -> None:
    pace = Pace(1)
    through = threading.Event()

    def work() -> None:
        with pace.slot(threading.Event()):
            through.set()

    with pace.slot(threading.Event()):
        thread = threading.Thread(target=work)
        thread.start()
        assert not through.is_set()
        pace.resize(2)
        assert through.wait(10)
    thread.join()
