"""What is told of a query while somebody waits for its rows."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from dicomsql.execution.watch import Watch
from dicomsql.progress import Standing
from dicomsql.result import ScanStatistics, Statistics


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def watch_of(statistics: Statistics, clock: Clock) -> tuple[Watch, list[Standing]]:
    said: list[Standing] = []
    run: Any = SimpleNamespace(statistics=statistics)
    return Watch(run, said.append, clock), said


def test_rows_are_told_and_of_how_many() -> None:
    clock, statistics = Clock(), Statistics()
    watch, _ = watch_of(statistics, clock)
    assert str(watch.standing()) == "0 rows, 0 requests, 0:00"
    scan = ScanStatistics("a", "google.healthcare.studies", "a", searches=1)
    statistics.scans.append(scan)
    clock.now += 2
    scan.rows, statistics.requests, statistics.bytes_received = 250, 3, 50_000
    assert str(watch.standing()) == "250 rows, 3 requests, 50.0 kB, 25.0 kB/s, 0:02"
    scan.expected = 1_000
    watch.standing()
    scan.rows = 500
    clock.now += 2
    assert str(watch.standing()).startswith("[#####.....] 500/1,000 rows, 3 requests, 50.0 kB, ")
    assert str(watch.standing()).endswith("left")
    scan.rows = 1_001  # more than metrics told
    assert str(watch.standing()).startswith("1,001 rows, ")
    watch.close()


def test_of_many_searches_those_that_are_read_tell_how_far_it_is() -> None:
    clock, statistics = Clock(), Statistics()
    watch, _ = watch_of(statistics, clock)
    scan = ScanStatistics("a", "google.healthcare.studies", "a", searches=10, searched=5)
    statistics.scans.append(scan)
    assert watch.standing().part == 0.5
    assert watch.standing().total is None
    watch.close()


def test_pictures_are_counted_for_themselves_once_they_come() -> None:
    clock, statistics = Clock(), Statistics()
    watch, _ = watch_of(statistics, clock)
    rows = ScanStatistics("a", "google.healthcare.instances", "a", rows=50, searches=1, searched=1)
    shown = ScanStatistics("b", "google.healthcare.instances_rendered", "a", pictures=True)
    statistics.scans += [rows, shown]
    assert str(watch.standing()).endswith("50 rows, 0 requests, 0:00")
    shown.searches, shown.searched = 16, 1
    # How many the result will show is not known.
    assert str(watch.standing()) == "1 picture, 0 requests, 0:00"
    shown.expected = 50
    assert str(watch.standing()).startswith("[..........] 1/50 pictures, ")
    shown.searched = 25
    assert watch.standing().part == 0.5
    watch.close()


def test_nothing_is_told_while_nobody_waits() -> None:
    watch, said = watch_of(Statistics(), Clock())
    watch.tick()
    assert said == []
    with watch.waiting():
        watch.tick()
    watch.tick()
    assert len(said) == 1
    watch.close()
    watch.close()


def test_rows_that_are_iterated_are_waited_for_one_by_one() -> None:
    watch, said = watch_of(Statistics(), Clock())

    def items() -> Any:
        for item in range(3):
            watch.tick()
            yield item

    for item in watch.over(items()):
        watch.tick()
        assert len(said) == item + 1
    assert not any(t.name == "dicomsql-progress" for t in threading.enumerate())
