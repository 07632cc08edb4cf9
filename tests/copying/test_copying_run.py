"""What stands around the moving of instances: consent, journal, audit, failures, interruptions."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from execution_bench import Answer, Bench, refused

from dicomsql.catalog.model import MoveMethods, Moves
from dicomsql.copying.journal import Entry, Journal
from dicomsql.copying.outcomes import Outcome, Status
from dicomsql.copying.progress import Progress
from dicomsql.copying.report import Report
from dicomsql.copying.run import journal_path
from dicomsql.errors import (
    ApiError,
    CancelledError,
    ConsentError,
    DataError,
    EndpointError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
)
from dicomsql.execution.run import Run
from dicomsql.planning.plan import (
    Conflict,
    CopyPlan,
    CopySettings,
    DicomStore,
    ExplainPlan,
    Named,
    RetrievePlan,
    Returning,
    StorePlan,
    TransferPlan,
)
from dicomsql.planning.read_plan import ReadPlan
from dicomsql.progress import Standing
from dicomsql.result import Result
from dicomsql.session import running
from dicomsql.session.running import Running
from dicomsql.transport.base import Request

Make = Callable[..., Bench]
Work = Callable[[Run, Report, Journal | None], None]

TARGET = DicomStore(
    "google.healthcare.instances",
    "https://healthcare.googleapis.com",
    MoveMethods(Moves()),
    (("projectsId", "p"), ("dicomStoresId", "archive")),
)
STORED = Outcome(Status.STORED, "in/a.dcm", "1.2.3", "1.3", "1.4", size=1_000_000)
FAILED = Outcome(Status.FAILED, "in/b.dcm", reason="no DICOM", size=7)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.dcm", "b.dcm"):
        (folder / name).write_bytes(b"x")
    return folder


class Copies:
    """Runs plans whose instances a function of the test moves."""

    def __init__(self, make: Make, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._make = make
        self._patch = monkeypatch
        self.plan = StorePlan(TARGET, (str(folder),))
        self.answer: Any = None
        self.bench: Bench
        self.journals: list[Path | None] = []
        self.seen: Callable[[StorePlan], object] = lambda _: None

    def open(self, work: Work, plan: CopyPlan | ExplainPlan, sql: str, **options: Any) -> Result:
        """The result of the statements of a text, each with the same plan."""

        def store(
            run: Run, plan: StorePlan, report: Report, journal: Journal | None, progress: Progress
        ) -> None:
            self.seen(plan)
            self.journals.append(journal.path if journal is not None else None)
            progress.expect(2)
            work(run, report, journal)

        self._patch.setattr("dicomsql.copying.storing.store", store)
        planned = Running.plan
        self._patch.setattr(
            Running,
            "plan",
            lambda running, statement, parameters: (
                plan if "SELECT" in statement.text else planned(running, statement, parameters)
            ),
        )
        self.bench = self._make(self.answer, **options)
        return self.bench.open(sql)

    def __call__(self, work: Work, sql: str = "SELECT", **options: Any) -> Result:
        changed = {k: options.pop(k) for k in list(options) if hasattr(self.plan, k)}
        return self.open(work, replace(self.plan, **changed), sql, **options)


@pytest.fixture
def copies(make_bench: Make, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Copies:
    return Copies(make_bench, monkeypatch, folder)


def rows(result: Result) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for batch in result.batches() for row in batch.to_pylist()]


def request(method: str) -> Request:
    values = (("dicomStoresId", "archive"), ("studiesId", "1.2.3"))
    resource = "google.healthcare.dicom_stores.store_instances"
    return Request(
        method, TARGET.base_url, "/{dicomStoresId}/{studiesId}", values, resource=resource
    )


def both(run: Run, report: Report, journal: Journal | None) -> None:
    report.add(STORED)
    report.add(FAILED)


def one(run: Run, report: Report, journal: Journal | None) -> None:
    if journal is not None:
        journal.write([Entry("in/a.dcm", Status.STORED)])
    report.add(STORED)


def test_the_rows_and_what_was_done(copies: Copies, folder: Path) -> None:
    result = copies(one)
    assert rows(result) == [("in/a.dcm", "1.2.3", "1.3", "1.4", "stored", None, 1_000_000)]
    assert result.failure is None
    assert result.affected == 1
    assert result.message.startswith("1 instance: 1 stored; 1.0 MB in 0:0")
    assert result.summary is not None
    assert result.summary.items() >= {"instances": 1, "stored": 1, "failed": 0}.items()
    journal = folder.with_name("in.copy.sqlite")
    assert copies.journals == [journal]
    assert stat.S_IMODE(journal.stat().st_mode) == 0o600
    source = str(folder)
    target = (
        "google.healthcare.instances at https://healthcare.googleapis.com "
        "(dicomStoresId archive, projectsId p)"
    )
    with Journal.open(journal, "in", source, target) as opened:
        assert [e.key for e in opened.entries()] == ["in/a.dcm"]


def test_rows_that_failed_fail_the_statement(copies: Copies) -> None:
    result = copies(both)
    assert isinstance(result.failure, OperationalError)
    assert str(result.failure).startswith("1 of 2 instances failed; the reason stands in")
    assert len(rows(result)) == 2
    assert copies(both, "SET on_error = skip; SELECT").failure is None


def test_returning_chooses_and_is_checked_first(copies: Copies) -> None:
    wanted = Returning("SELECT status, count(*) FROM copied GROUP BY 1 ORDER BY 1")
    assert rows(copies(both, returning=wanted)) == [("failed", 1), ("stored", 1)]
    with pytest.raises(ProgrammingError, match="colour"):
        copies(both, returning=Returning("SELECT colour FROM copied"))
    assert len(copies.journals) == 1


def test_a_result_is_read_while_the_next_statement_runs(copies: Copies) -> None:
    wanted = Returning("SELECT status FROM copied")
    result = copies(both, returning=wanted)
    other = copies.bench.open("SELECT")
    assert rows(result) == rows(other) == [("stored",), ("failed",)]


def test_files_can_be_named_by_a_query(copies: Copies, folder: Path) -> None:
    given: list[tuple[str, ...]] = []
    copies.seen = lambda plan: given.append(plan.paths)
    names = "(VALUES ('b.dcm'), ('a.dcm'), ('b.dcm')) t(n)"
    listed = f"SELECT 1 AS a, '{folder}/' || n AS Path FROM {names}"
    copies(one, paths=(), query=ReadPlan(listed), column="path")
    assert given == [(f"{folder}/b.dcm", f"{folder}/a.dcm")]
    nothing = copies(one, paths=(), query=ReadPlan(f"{listed} WHERE false"), column="path")
    assert (nothing.message, rows(nothing)) == ("There was no instance to copy.", [])
    with pytest.raises(DataError, match="column path of the query is NULL or empty"):
        copies(one, paths=(), query=ReadPlan("SELECT NULL AS path"), column="path")
    assert len(given) == 1
    # Other files each time, one journal: it is the query's, not that of the folders.
    settings = CopySettings(journal=str(folder / "own.sqlite"))
    for wanted in (listed, f"SELECT '{folder.parent}/x.dcm' AS path"):
        copies(one, paths=(), query=ReadPlan(wanted), column="path", settings=settings)
    assert copies.journals[-2:] == [folder / "own.sqlite"] * 2


def test_where_the_journals_of_the_other_kinds_are(tmp_path: Path) -> None:
    query, named = ReadPlan("SELECT 1"), Named("StudyInstanceUID")
    out = RetrievePlan(query, named, TARGET, str(tmp_path / "a" / "out[1]"))
    assert journal_path(out) == tmp_path / "a" / "out[1].copy.sqlite"
    between = TransferPlan(query, named, TARGET, TARGET)
    assert journal_path(between) is None
    # Of what a query names, be it a folder, there is none.
    assert journal_path(StorePlan(TARGET, (str(tmp_path),), column="path")) is None
    own = CopySettings(journal="~/own.sqlite")
    assert journal_path(replace(between, settings=own)) == Path("~/own.sqlite").expanduser()
    assert journal_path(replace(out, settings=CopySettings(journal=""))) is None


def test_an_instance_is_retrieved_with_a_journal_of_its_form(
    make_bench: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def retrieve(
        run: Run, plan: RetrievePlan, report: Report, journal: Journal | None, progress: Progress
    ) -> None:
        assert journal is not None
        journal.write([Entry("x.dcm", Status.RETRIEVED)])
        report.add(Outcome(Status.RETRIEVED, "x.dcm", "1.2.3", "1.3", "1.4", size=5))

    monkeypatch.setattr("dicomsql.copying.retrieving.retrieve", retrieve)
    source = replace(TARGET, base_url="https://me:secret@pacs.example")
    folder = tmp_path / "new" / "out"
    plan = RetrievePlan(ReadPlan("SELECT 1"), Named("StudyInstanceUID"), source, str(folder))
    monkeypatch.setattr(Running, "plan", lambda *_: plan)
    bench = make_bench()
    assert rows(bench.open("SELECT"))[0][4] == "retrieved"
    plan = replace(plan, transfer_syntax="1.2.840.10008.1.2.1")
    with pytest.raises(InterfaceError, match=r"out as dicom, transfer syntax \*, not to") as raised:
        bench.open("SELECT")
    assert "secret" not in str(raised.value)
    journal = folder.with_name("out.copy.sqlite")
    assert stat.S_IMODE(journal.stat().st_mode) == 0o600
    assert b"secret" not in journal.read_bytes()


def test_a_journal_can_be_named_or_left_out(copies: Copies, tmp_path: Path) -> None:
    named = tmp_path / "own.sqlite"
    copies(one, settings=CopySettings(journal=str(named)))
    copies(one, settings=CopySettings(journal=""))
    assert copies.journals == [named, None]
    with pytest.raises(InterfaceError, match=r"Name another file with journal '\.\.\.'"):
        copies(one, settings=CopySettings(journal=str(tmp_path)))
    other = DicomStore(TARGET.resource, TARGET.base_url, TARGET.moves, (("projectsId", "q"),))
    with pytest.raises(InterfaceError, match="is that of a copy to google"):
        copies(one, settings=CopySettings(journal=str(named)), target=other)
    assert len(copies.journals) == 2


def test_parallel_holds_for_the_statement(copies: Copies) -> None:
    seen: list[tuple[int, int]] = []

    def work(run: Run, report: Report, journal: Journal | None) -> None:
        run.send(request("GET"))
        seen.append((run.limits.parallel, copies.bench.wire.parallel))

    copies.answer = lambda asked: seen.append((0, copies.bench.wire.parallel)) or Answer(b"[]")
    message = copies(work, settings=CopySettings(parallel=31)).message
    assert message == "There was no instance to copy."
    assert copies.bench.wire.parallel == 8
    assert copies(work, "SET parallel = 5; SELECT").message == message
    assert seen == [(0, 31), (31, 31), (0, 8), (5, 8)]


@pytest.mark.parametrize("face", ["progress", "lines"])
def test_how_far_it_is_is_said_while_it_runs(
    copies: Copies, monkeypatch: pytest.MonkeyPatch, face: str
) -> None:
    # A terminal is told often, what is no terminal seldom.
    assert (running.SHOWN_EVERY, running.TOLD_EVERY) == (0.2, 10)
    name = {"progress": "SHOWN_EVERY", "lines": "TOLD_EVERY"}[face]
    monkeypatch.setattr(running, name, 0.001)
    shown: list[str] = []
    seen = threading.Event()

    def show(standing: Standing | str) -> None:
        shown.append(str(standing))
        if shown[-1].startswith("[#####.....] 1/2 files, 1.0 MB"):
            seen.set()

    def work(run: Run, report: Report, journal: Journal | None) -> None:
        report.add(STORED)
        assert seen.wait(10)

    copies(work, **{face: show})
    assert shown[-1].startswith("[#####.....] 1/2 files, 1.0 MB")


# -- what ends it early ----------------------------------------------------------------------------


def test_what_was_done_is_told_where_it_cannot_go_on(copies: Copies) -> None:
    def work(run: Run, report: Report, journal: Journal | None) -> None:
        one(run, report, journal)
        raise EndpointError("The server is gone.")

    result = copies(work, returning=Returning("SELECT status FROM copied"))
    assert rows(result) == [("stored",)]
    said = str(result.failure)
    assert said.startswith("The server is gone. The COPY was stopped: 1 stored by then, as far")
    assert "in.copy.sqlite; the same statement goes on from there." in said
    skipping = copies(work, "SET on_error = skip; SELECT")
    assert skipping.failure is not None
    without = str(copies(work, settings=CopySettings(journal="")).failure)
    assert without.endswith("What is done stays done; the same statement does what is left.")


def test_what_fails_before_anything_is_done_is_raised(copies: Copies) -> None:
    def work(run: Run, report: Report, journal: Journal | None) -> None:
        raise EndpointError("The server is gone.")

    with pytest.raises(EndpointError, match=r"^The server is gone\.$"):
        copies(work)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, CancelledError])
def test_an_interruption_says_how_it_goes_on(copies: Copies, kind: type[BaseException]) -> None:
    late: list[Status] = []

    def work(run: Run, report: Report, journal: Journal | None) -> None:
        assert journal is not None

        def slow() -> None:
            run.cancel.wait(10)
            journal.write([Entry("in/late.dcm", Status.STORED)])
            report.add(STORED)
            late.append(Status.STORED)

        run.pool(1, "test").submit(slow)
        raise kind("whatever")

    with pytest.raises(kind, match="The COPY was stopped: 1 stored by then") as raised:
        copies(work)
    assert "the same statement goes on from there" in str(raised.value)
    # What was on its way came to its end before the journal was closed.
    assert late == [Status.STORED]


def test_a_cancel_from_another_thread_is_no_success(copies: Copies) -> None:
    def work(run: Run, report: Report, journal: Journal | None) -> None:
        copies.bench.session.cancel()

    with pytest.raises(CancelledError, match="nothing was done by then"):
        copies(work)


# -- consent ---------------------------------------------------------------------------------------


def test_replacing_has_to_be_allowed(copies: Copies) -> None:
    overwriting: dict[str, Any] = {"conflict": Conflict.REPLACE}
    with pytest.raises(ConsentError) as raised:
        copies(one, **overwriting)
    assert str(raised.value) == (
        "This statement would replace instances of google.healthcare.instances (p/archive) that "
        "are there with other bytes, at most 2; the server's bytes are kept beside in.copy.sqlite "
        "first. Nothing was changed. Allow it with SET allow_writes = 2, or with --yes or "
        "yes=True."
    )
    assert raised.value.number == 2
    with pytest.raises(ConsentError):
        copies(one, "SET allow_writes = 1; SELECT", **overwriting)
    with pytest.raises(ConsentError, match="It was not allowed; nothing was changed"):
        copies(one, consent=lambda _: False, **overwriting)
    assert copies.journals == []
    said: list[Standing] = []
    copies(one, yes=True, progress=said.append, **overwriting)
    assert str(said[0]).startswith("Going to replace instances")
    # Files that come in after the question are not among those that were allowed.
    most: list[int | None] = []
    copies.seen = lambda plan: most.append(plan.most)
    folder = Path(copies.plan.paths[0])

    def later(_: str) -> bool:
        (folder / "c.dcm").write_bytes(b"x")
        return True

    copies(one, consent=later, **overwriting)
    (folder / "c.dcm").unlink()
    copies(one, "SET allow_writes = 2; SELECT", **overwriting)
    assert most == [2, 2]
    assert len(copies.journals) == 3
    with pytest.raises(ConsentError):
        copies.bench.open("SELECT")  # what was allowed held for one statement


# -- the audit log ---------------------------------------------------------------------------------


def test_the_audit_log_has_requests_and_statement_and_no_patient(
    copies: Copies, tmp_path: Path
) -> None:
    log = tmp_path / "audit.jsonl"
    answers = iter([Answer(b"[]"), Answer(b"{}", status=409), refused(503)])

    def work(run: Run, report: Report, journal: Journal | None) -> None:
        run.send(request("GET"))
        run.send(request("POST"))
        report.add(STORED)
        with pytest.raises(ApiError):
            run.send(request("POST"))
        report.add(FAILED)

    def answer(asked: Request) -> object:
        found = next(answers)
        return found(asked) if callable(found) else found

    copies.answer = answer
    copies(work, audit_log=log)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert "1.2.3" not in log.read_text()
    assert [line["result"] for line in lines] == ["done", "failed", "done"]
    assert [line.get("status") for line in lines] == [409, 503, None]
    assert lines[0]["http"] == "POST /{dicomStoresId}/{studiesId}"
    assert lines[0]["places"] == {"dicomStoresId": "archive"}
    assert lines[2]["copy"] == "in"
    assert lines[2]["counts"] == {"stored": 1, "failed": 1}
    assert lines[2]["target"]["places"] == {"projectsId": "p", "dicomStoresId": "archive"}


def test_without_its_log_nothing_is_moved(copies: Copies, tmp_path: Path) -> None:
    with pytest.raises(OperationalError, match="audit log"):
        copies(one, audit_log=tmp_path / "no" / "log")
    assert copies.journals == []


def test_explain_analyze_runs_it(copies: Copies) -> None:
    with pytest.raises(OperationalError, match="1 of 2 instances failed"):
        copies.open(both, ExplainPlan(copies.plan, "analyze", "json"), "SELECT")
    assert len(copies.journals) == 1
