"""The report: counts, rows beyond memory, RETURNING; the line of progress."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dicomsql.copying.outcomes import Outcome, Status
from dicomsql.copying.progress import Progress
from dicomsql.copying.report import Report, check_returning
from dicomsql.engine.duck import Engine
from dicomsql.errors import OperationalError, ProgrammingError
from dicomsql.planning.plan import Returning
from dicomsql.progress import Standing, size_text, time_text
from dicomsql.result import Result, Statistics
from dicomsql.transport.base import Wait


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine()
    yield made
    made.close()


def rows(result: Result) -> list[dict[str, Any]]:
    return [row for batch in result.batches() for row in batch.to_pylist()]


def outcome(number: int, status: Status = Status.STORED) -> Outcome:
    return Outcome(status, f"in/{number}.dcm", "1.2", "1.3", f"1.4.{number}", "", number)


def test_a_row_says_what_became_of_its_instance() -> None:
    report = Report()
    report.add(Outcome(Status.STORED, "in/a.dcm", "1.2", "1.3", "1.4", "warned", 10))
    report.add(Outcome(Status.PRESENT, None, "1.2", "1.3", "1.5", size=20))
    report.add(Outcome(Status.FAILED, os.fsdecode(b"in/\xfc.dcm"), reason="no DICOM"))
    assert report.counts == {Status.STORED: 1, Status.PRESENT: 1, Status.FAILED: 1}
    assert (report.total, report.failed, report.bytes) == (3, 1, 10)
    names = ("path", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    assert [tuple(row.values()) for row in rows(report.result(None))] == [
        ("in/a.dcm", "1.2", "1.3", "1.4", "stored", "warned", 10),
        (None, "1.2", "1.3", "1.5", "present", None, 20),
        ("in/\\xfc.dcm", None, None, None, "failed", "no DICOM", None),
    ]
    columns = report.result(None).columns
    assert columns is not None
    assert tuple(c.name for c in columns) == (*names, "status", "reason", "bytes")


def test_rows_beyond_the_bound_go_to_a_file_that_nobody_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    report = Report(kept=10)

    def add(first: int) -> None:
        for number in range(first, first + 25):
            report.add(outcome(number))

    threads = [threading.Thread(target=add, args=(25 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(tmp_path.iterdir()) == []
    returning = Returning("SELECT max(bytes) AS m, count(*) AS n FROM copied", ())
    assert rows(report.result(returning, lambda: engine)) == [{"m": 99, "n": 100}]
    assert list(tmp_path.iterdir()) == []
    assert engine.rows("SELECT count(*) FROM duckdb_views() WHERE view_name = 'copied'") == [(0,)]
    again = Report(kept=3)
    for number in range(7):
        again.add(outcome(number))
    assert [row["bytes"] for row in rows(again.result(None))] == list(range(7))


def test_a_full_disk_for_temporary_files_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    report = Report(kept=1)
    with Path("/dev/full").open("wb", buffering=0) as full:
        monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: full)
        with pytest.raises(OperationalError, match="rows of the result cannot be kept in"):
            report.add(outcome(1))
        report.close()


def test_returning_is_looked_at_before_anything_is_moved(engine: Engine) -> None:
    check_returning(None, lambda: engine)
    check_returning(Returning("SELECT path, reason FROM copied", ()), lambda: engine)
    with pytest.raises(ProgrammingError, match="colour"):
        check_returning(Returning("SELECT colour FROM copied", ()), lambda: engine)
    engine.register("copied", pa.table({"a": [1]}))  # the name is free again


class Clock:
    """A time that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_line_of_progress() -> None:
    clock = Clock()
    progress = Progress(clock=clock)
    assert str(progress.standing()) == "0 files"
    progress.expect(4, 4_000_000)
    assert str(progress.standing()) == "[..........] 0/4 files, 0.0/4.0 MB"
    clock.now += 2
    progress.moved(1_500_000)
    progress.done(Outcome(Status.STORED, size=1_000_000))
    assert str(progress.standing()) == ("[###.......] 1/4 files, 1.5/4.0 MB, 750.0 kB/s, 0:03 left")
    progress.done(Outcome(Status.FAILED, size=1_000_000))
    progress.expect(1)
    clock.now += 1
    line = str(progress.standing())
    assert line.startswith("[####......] 2/5 files, 1 failed, 2.0 MB, 500.0 kB/s, ")
    assert line.endswith(" left")


def test_while_more_is_looked_for_the_total_is_the_least_and_no_end_is_told() -> None:
    clock = Clock()
    progress = Progress(clock=clock)
    groups = progress.through(iter("ab"))
    assert next(groups) == "a"
    progress.expect(2, 2_000_000)
    clock.now += 1
    progress.moved(1_000_000)
    progress.done(Outcome(Status.STORED, size=1_000_000))
    assert str(progress.standing()) == "1/2+ files, 1.0 MB, 1.0 MB/s"
    assert list(groups) == ["b"]
    assert str(progress.standing()).endswith(" left")


def test_what_holds_it_up_is_said() -> None:
    clock, statistics, wait = Clock(), Statistics(), Wait()
    progress = Progress(clock=clock, statistics=statistics, wait=wait)
    progress.expect(4)
    clock.now += 9
    assert str(progress.standing()) == "[..........] 0/4 files"
    clock.now += 66
    assert str(progress.standing()) == "[..........] 0/4 files, nothing moved for 1:15"
    statistics.repeated, wait.status, wait.until = 1, 429, clock.now + 30
    assert str(progress.standing()) == (
        "[..........] 0/4 files, waiting 0:30 (the server answered 429), 1 request made again"
    )
    statistics.repeated, wait.status, wait.until = 2, 0, clock.now + 2
    line = str(progress.standing())
    assert line.endswith("waiting 0:02 (the server did not answer), 2 requests made again")
    progress.moved(1)
    clock.now += 2
    assert "waiting" not in str(progress.standing())
    assert "nothing moved" not in str(progress.standing())


def test_the_rate_is_that_of_the_last_seconds() -> None:
    clock = Clock()
    progress = Progress(clock=clock)
    for _ in range(60):
        clock.now += 1
        progress.moved(1_000)
        str(progress.standing())
    for _ in range(15):
        clock.now += 1
        progress.moved(5_000)
        line = str(progress.standing())
    assert line == "0 files, 5.0 kB/s"


def test_progress_is_shown_until_it_ends() -> None:
    shown: list[Standing] = []
    twice = threading.Event()

    def show(standing: Standing) -> None:
        shown.append(standing)
        if len(shown) == 2:
            twice.set()

    with Progress(show, 0.001) as progress:
        report = Report(progress)
        report.add(outcome(7))
        assert twice.wait(10)
    number = len(shown)
    assert str(progress.standing()) == "1 file, 7 bytes"
    assert len(shown) == number
    assert not any(t.name == "dicomsql-progress" for t in threading.enumerate())


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1e6, "1.0 MB"), (2.5e15, "2,500.0 TB")]
)
def test_sizes_for_people(size: float, text: str) -> None:
    assert size_text(size) == text


def test_times_for_people() -> None:
    assert [time_text(t) for t in (0, 65.4, 3723)] == ["0:00", "1:05", "1:02:03"]
