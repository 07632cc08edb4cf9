"""The runner: operations are done unit by unit, survive kills, are cancelled, and end in time."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dicomsql.emulator.folder import Folder
from dicomsql.emulator.jobs import Context, Job, Runner, UnitError
from dicomsql.emulator.neighbours.base import NeighbourError, Neighbours
from dicomsql.emulator.status import StatusError

NOBODY: Any = object()


class Recorded:
    """Work that notes what it was asked for; `act` may do more, or raise."""

    def __init__(self, names: Iterable[str] = (), act: Callable[[list[str]], None] | None = None):
        self.names = list(names)
        self.act = act
        self.listed = 0
        self.done: list[str] = []
        self.finished: list[Job] = []

    def units(self, context: Context, job: Job) -> Iterator[str]:
        self.listed += 1
        yield from self.names

    def do(self, context: Context, job: Job, units: list[str]) -> list[UnitError | None]:
        self.done += units
        if self.act is not None:
            self.act(units)
        return [UnitError(f"{u} is bad") if u.startswith("bad") else None for u in units]

    def finish(self, context: Context, job: Job) -> None:
        self.finished.append(job)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    opened = Folder(tmp_path / "root")
    with opened.write() as db:
        db.execute(
            "INSERT INTO datasets (id, project, location, name, body) VALUES (1, 'p', 'l', 'd', '')"
        )
    yield opened
    opened.close()


@pytest.fixture
def run(folder: Folder) -> Iterator[Callable[..., Runner]]:
    runners: list[Runner] = []

    def made(work: Any, **options: Any) -> Runner:
        context = Context(folder, Neighbours(NOBODY, NOBODY, NOBODY))
        runners.append(Runner(context, {"work": work}, **options))
        return runners[-1]

    yield made
    for runner in runners:
        runner.close()


def begin(folder: Folder, **columns: Any) -> int:
    values = {
        "dataset_id": 1,
        "version": "v1",
        "method": "M",
        "kind": "work",
        "spec": "{}",
        "name": str(time.monotonic_ns()),
        "response": "{}",
        "created": time.time(),
        **columns,
    }
    marks = ", ".join("?" * len(values))
    with folder.write() as db:
        cursor = db.execute(
            f"INSERT INTO operations ({', '.join(values)}) VALUES ({marks})", tuple(values.values())
        )
    return int(cursor.lastrowid or 0)


def row(folder: Folder, operation: int) -> dict[str, Any]:
    with folder.read() as db:
        cursor = db.execute("SELECT * FROM operations WHERE id = ?", (operation,))
        columns = [column[0] for column in cursor.description]
        found = dict(zip(columns, cursor.fetchone(), strict=True))
        left = db.execute("SELECT name FROM units WHERE operation_id = ?", (operation,)).fetchall()
    return {**found, "left": [name for (name,) in left]}


def until(folder: Folder, operation: int, **expected: Any) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = row(folder, operation)
        if all(found[name] == value for name, value in expected.items()):
            return found
    pytest.fail(f"never {expected}")


def ended(folder: Folder, runner: Runner, operation: int) -> dict[str, Any]:
    runner.wake()
    runner.wait(operation, 60)
    found = row(folder, operation)
    assert found["ended"] is not None
    assert (found["owner"], found["lease"], found["left"]) == (None, None, [])
    return found


def error(found: dict[str, Any]) -> tuple[int, str]:
    told = json.loads(found["error"])
    return told["code"], told["message"]


def test_all_units_are_done_once_and_counted(folder: Folder, run: Any) -> None:
    names = [f"{'bad' if n % 100 == 0 else 'good'}{n}" for n in range(2500)]
    work = Recorded(names)
    lines: list[str] = []
    runner = run(work, log=lines.append)
    operation = begin(folder)
    found = ended(folder, runner, operation)
    assert work.done == names
    assert (found["units"], found["success"], found["failure"]) == (2500, 2475, 25)
    assert (found["reason"], found["error"]) == ("bad2400 is bad", None)
    (job,) = work.finished
    assert (job.operation, job.success, job.failure) == (operation, 2475, 25)
    assert lines[-1].endswith("ended: 2475 done, 25 failed")
    deadline = time.monotonic() + 60
    while any(t.name.startswith("emulator-job") for t in threading.enumerate()):
        assert time.monotonic() < deadline


def test_nothing_to_do_is_an_end(folder: Folder, run: Any) -> None:
    work = Recorded()
    assert ended(folder, run(work), begin(folder))["units"] == 0
    assert len(work.finished) == 1


def test_what_another_process_left_is_gone_on_with(folder: Folder, run: Any) -> None:
    work = Recorded(["a", "b", "c"])
    gone = {"owner": "gone", "lease": time.time() - 1}
    halfway = begin(folder, units=3, success=1, failure=1, reason="why", **gone)
    unlisted = begin(folder, **gone)
    with folder.write() as db:
        db.execute("INSERT INTO units VALUES (?, 2, 'c')", (halfway,))
        db.execute("INSERT INTO units VALUES (?, 0, 'stale')", (unlisted,))
    alive = begin(folder, owner="alive", lease=time.time() + 3600)
    runner = run(work)
    runner.resume()
    for operation in (halfway, unlisted):
        runner.wait(operation, 60)
    found = row(folder, halfway)
    assert (found["success"], found["failure"], found["left"]) == (2, 1, [])
    assert sorted(work.done) == ["a", "b", "c", "c"]
    assert row(folder, unlisted)["success"] == 3
    assert (row(folder, alive)["owner"], row(folder, alive)["units"]) == ("alive", None)


def test_a_runner_that_lost_its_lease_notes_nothing(folder: Folder, run: Any) -> None:
    def lose(_: list[str]) -> None:
        with folder.write() as db:
            db.execute("UPDATE operations SET owner = 'other', lease = ?", (time.time() + 3600,))

    operation = begin(folder)
    work = Recorded(["a", "b"], lose)
    runner = run(work)
    runner.wake()
    until(folder, operation, owner="other")
    runner.close()
    found = row(folder, operation)
    assert (found["success"], found["left"], found["ended"]) == (0, ["a", "b"], None)
    assert work.done == ["a"]


def test_cancel_leaves_what_is_done_and_does_no_more(folder: Folder, run: Any) -> None:
    def cancel(_: list[str]) -> None:
        with folder.write() as db:
            db.execute("UPDATE operations SET cancelled = 1")

    work = Recorded(["a", "b", "c"], cancel)
    found = ended(folder, run(work), begin(folder))
    assert error(found) == (1, "The operation was cancelled.")
    assert (work.done, found["success"], work.finished) == (["a"], 1, [])


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (StatusError("NOT_FOUND", "no store"), (5, "no store")),
        (NeighbourError("UNAVAILABLE", "no server"), (14, "no server")),
        (ZeroDivisionError("a patient"), (13, "The emulator failed: ZeroDivisionError.")),
        (OSError(28, "a path"), (13, "The emulator failed: OSError.")),
    ],
)
def test_what_fails_as_a_whole_ends_with_an_error(
    folder: Folder, run: Any, raised: Exception, told: tuple[int, str]
) -> None:
    def fail(_: list[str]) -> None:
        raise raised

    work = Recorded(["a"], fail)
    operation = begin(folder)
    (folder.scratch(operation) / "kept").touch()
    found = ended(folder, run(work), operation)
    assert error(found) == told
    assert (found["success"], work.finished) == (0, [])
    assert not list((folder.root / "scratch").iterdir())


def test_a_kind_that_is_not_known(folder: Folder, run: Any) -> None:
    found = ended(folder, run(Recorded()), begin(folder, kind="newer"))
    assert error(found) == (12, "This emulator cannot do newer.")


def test_a_closed_runner_leaves_the_rest_to_the_next(folder: Folder, run: Any) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def wait(_: list[str]) -> None:
        reached.set()
        assert go_on.wait(60)

    work = Recorded(["a", "b", "c"], wait)
    first = run(work)
    operation = begin(folder)
    first.wake()
    assert reached.wait(60)
    closing = threading.Thread(target=first.close)
    closing.start()
    until_closed(first)
    go_on.set()
    closing.join()
    found = row(folder, operation)
    assert (found["owner"], found["success"], found["left"]) == (None, 1, ["b", "c"])
    first.wake()  # no more
    second = run(work)
    second.resume()
    second.wait(operation, 60)
    assert row(folder, operation)["success"] == 3
    assert work.done == ["a", "b", "c"]


def until_closed(runner: Runner) -> None:
    deadline = time.monotonic() + 60
    while not runner._closed:
        assert time.monotonic() < deadline


def test_a_dataset_deleted_meanwhile_ends_the_work(folder: Folder, run: Any) -> None:
    def delete(_: list[str]) -> None:
        with folder.write() as db:
            db.execute("DELETE FROM datasets")

    lines: list[str] = []
    work = Recorded(["a", "b"], delete)
    runner = run(work, log=lines.append)
    operation = begin(folder)
    runner.wake()
    runner.wait(operation, 60)
    runner.close()
    assert (work.done, work.finished, lines) == (["a"], [], [])


def test_a_delay_is_spread_over_the_units(folder: Folder, run: Any) -> None:
    work = Recorded("abcd")
    # half of the hour has passed, so half of the units are due
    operation = begin(folder, created=time.time() - 1801)
    runner = run(work, delay=3600.0)
    runner.wake()
    until(folder, operation, success=2)
    assert work.done == ["a", "b"]
    with folder.write() as db:
        db.execute("UPDATE operations SET created = created - 3600")
    runner.wake()
    runner.wait(operation, 60)
    assert work.done == ["a", "b", "c", "d"]


KILLED = """
import sys, pathlib
from dicomsql.emulator.folder import Folder
from dicomsql.emulator.jobs import Context, Runner

class Work:
    def units(self, context, job):
        return map(str, range(100))
    def do(self, context, job, units):
        if job.success >= 3:
            print("there", flush=True)
            sys.stdin.read()
        return [None for _ in units]

runner = Runner(Context(Folder(pathlib.Path(sys.argv[1])), None), {"work": Work()})
runner.wake()
runner.wait(1, 600)
"""


def test_an_operation_survives_a_kill(folder: Folder, run: Any) -> None:
    operation = begin(folder)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "there\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = row(folder, operation)
    assert before["owner"]
    assert 3 <= before["success"] < 100
    with folder.write() as db:
        db.execute("UPDATE operations SET lease = 0")  # the time until it has expired is over
    work = Recorded()
    assert ended(folder, run(work), operation)["success"] == 100
    assert work.done == before["left"]
