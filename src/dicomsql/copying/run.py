"""Runs a COPY: consent, journal, audit and progress around the part that moves the instances."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dicomsql.copying.beside import beside, beside_folder, folders
from dicomsql.copying.journal import Journal
from dicomsql.copying.outcomes import Status
from dicomsql.copying.progress import Progress
from dicomsql.copying.report import MOVED, Report, check_returning
from dicomsql.copying.there import place_of
from dicomsql.embedded import shown_place
from dicomsql.errors import (
    CancelledError,
    ConsentError,
    DataError,
    Error,
    InterfaceError,
    OperationalError,
)
from dicomsql.planning.plan import Conflict, ExportPlan, RetrievePlan, StorePlan, TransferPlan
from dicomsql.progress import size_text, time_text
from dicomsql.result import Result
from dicomsql.transport.gate import without_user

if TYPE_CHECKING:
    from dicomsql.execution.audit import AuditLog
    from dicomsql.execution.consent import Allowed
    from dicomsql.execution.run import Run
    from dicomsql.planning.plan import CopyPlan, DicomStore
    from dicomsql.planning.read_plan import ReadPlan
    from dicomsql.progress import Standing
    from dicomsql.transport.base import Request, Response, Transport

MovePlan = StorePlan | RetrievePlan | TransferPlan

# HTTP methods that change nothing.
_READS = frozenset({"GET", "HEAD"})

# Each plan's kind of journal, and the module and function that move its instances.
_MOVERS: dict[type, tuple[str, str, str]] = {
    StorePlan: ("in", "storing", "store"),
    RetrievePlan: ("out", "retrieving", "retrieve"),
    TransferPlan: ("between", "between", "transfer"),
}


class Mover(Protocol):
    """Moves the instances of a plan; tells the report of each, once the journal has it.

    Raises:
        Error: it cannot go on; what is done is in the report by then.
    """

    def __call__(
        self,
        run: Run,
        plan: MovePlan,
        report: Report,
        journal: Journal | None,
        progress: Progress,
        /,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class CopyContext:
    """What a COPY needs beside the run.

    Attributes:
        allowed: the consent that was given.
        audit: takes a line for each request that writes and for the statement; None where none is
            kept.
        show: takes how far it is; None where nobody looks.
        every: seconds between two such lines.
    """

    allowed: Allowed
    audit: AuditLog | None = None
    show: Callable[[Standing], None] | None = None
    every: float = 0.2


def copy(run: Run, plan: CopyPlan, context: CopyContext) -> Result:
    """Run a COPY: its rows, with the error that makes it fail in spite of them.

    Raises:
        ConsentError: `on_conflict 'replace'` has not been allowed; nothing was changed.
        InterfaceError: the journal, or a path, cannot be used.
        ProgrammingError: RETURNING names what there will not be.
        CancelledError, KeyboardInterrupt: it was stopped; the text says what was done by then.
        Error: it failed before anything was done.
    """
    if isinstance(plan, ExportPlan):
        from dicomsql.copying.exporting import export

        return export(run, plan)
    try:
        return _move(run, plan, context)
    finally:
        run.close()
        run.finish()


def journal_path(plan: MovePlan) -> Path | None:
    """Where a plan's journal is; None where none is kept.

    Raises:
        InterfaceError: none is named, and there is no place for the usual one.
    """
    named = plan.settings.journal
    if named is not None:
        return Path(named).expanduser() if named else None
    if isinstance(plan, StorePlan):
        # A query says itself what is left to do.
        return None if plan.column else beside(plan.paths)
    if isinstance(plan, RetrievePlan):
        return beside_folder(Path(plan.folder).expanduser())
    return None


# -- moving ----------------------------------------------------------------------------------------


def _move(run: Run, plan: MovePlan, context: CopyContext) -> Result:
    kind, module, name = _MOVERS[type(plan)]
    mover: Mover = getattr(import_module(f"dicomsql.copying.{module}"), name)
    check_returning(plan.returning, run.engine_of)
    if isinstance(plan, StorePlan) and plan.query is not None:
        plan = replace(plan, paths=_paths(run, plan.query, plan.column), query=None)
        if not plan.paths:
            return _result(run, plan, Report(), None, None)
    path = journal_path(plan)
    most = _require(run, plan, path, context.allowed)
    if isinstance(plan, StorePlan):
        plan = replace(plan, most=most)
    if plan.settings.parallel:
        run.limits = replace(run.limits, parallel=plan.settings.parallel)
    if context.audit is not None:
        run.transport = Audited(run.transport, context.audit)
    if isinstance(plan, RetrievePlan):
        _check_folder(Path(plan.folder).expanduser())
    progress = Progress(context.show, context.every, run.statistics, run.wait)
    report = Report(progress)
    with ExitStack() as stack:
        if isinstance(plan, RetrievePlan):
            stack.enter_context(_unless_empty(Path(plan.folder).expanduser(), report))
        journal = None
        if path is not None:
            if isinstance(plan, RetrievePlan) and plan.settings.journal is None:
                # It stands where the folder will, which may be the first thing there.
                with suppress(OSError):
                    path.parent.mkdir(parents=True, exist_ok=True)
            journal = stack.enter_context(Journal.open(path, kind, _from(plan), _to(plan)))
        stack.enter_context(progress)
        unread = stack.enter_context(ExitStack())
        unread.callback(report.close)
        # What still writes to the journal ends before it is closed.
        stack.callback(run.close)
        try:
            with _noted(plan, report, context.audit):
                mover(run, plan, report, journal, progress)
                run.check()
            failure: Error | None = _failure(run, report)
        except KeyboardInterrupt:
            _stop(run)
            raise KeyboardInterrupt(_stopped(plan, report, journal)) from None
        except CancelledError:
            _stop(run)
            raise CancelledError(_stopped(plan, report, journal)) from None
        except Error as error:
            _stop(run)
            if not report.total:
                raise
            # Everything has ended that was told to, and nobody but this told it: the rows are read.
            run.cancel.clear()
            failure = OperationalError(f"{error} {_stopped(plan, report, journal)}")
            failure.__cause__ = error
        unread.pop_all()
    return _result(run, plan, report, failure, path)


def _check_folder(folder: Path) -> None:
    """Make sure that no file is where a folder is to be, or one above it.

    Raises:
        InterfaceError: one is.
    """
    for place in (folder, *folder.parents):
        with suppress(OSError):
            if place.exists() and not place.is_dir():
                raise InterfaceError(
                    f"{place} is a file, and COPY writes instances into a folder. Name another, "
                    f"which is made where there is none."
                )


@contextmanager
def _unless_empty(folder: Path, report: Report) -> Iterator[None]:
    """Take away again what was made of a folder for files of which none came."""
    missing = [above for above in (folder, *folder.parents) if not above.exists()]
    try:
        yield
    finally:
        if missing and not report.counts.get(Status.RETRIEVED):
            # What holds anything stays, as the system takes away empty folders only.
            with suppress(OSError):
                for inner, _, _ in os.walk(folder, topdown=False):
                    Path(inner).rmdir()
                for above in missing[1:]:
                    above.rmdir()


def _result(
    run: Run, plan: MovePlan, report: Report, failure: Error | None, journal: Path | None
) -> Result:
    """The rows, and what was done."""
    run.finish()
    result = report.result(plan.returning, run.engine_of)
    result.statistics = run.statistics
    result.affected = sum(n for status, n in report.counts.items() if status in MOVED)
    result.message = _sentence(report, run.statistics.seconds, journal)
    result.summary = _summary(report, run.statistics.seconds)
    result.failure = failure
    if plan.returning is None:
        result.of_note = ("status", str(Status.FAILED))
    return result


def _paths(run: Run, query: ReadPlan, column: str) -> tuple[str, ...]:
    """The files that a query names, each once.

    Raises:
        DataError: a row has no name.
        Error: what the query raises.
    """
    from dicomsql.execution.reads import ReadRun

    found: dict[str, None] = {}
    active = ReadRun(run, query)
    rows = active.open()
    assert rows is not None
    place = next(i for i, c in enumerate(rows.columns) if c.name.lower() == column.lower())
    for batch in active.batches():
        for value in batch.column(place).to_pylist():
            if not value:
                raise DataError(
                    f"The column {column} of the query is NULL or empty in a row, so that it is "
                    f"not clear which file is meant. Nothing was stored."
                )
            found[str(value)] = None
    return tuple(found)


def _stop(run: Run) -> None:
    """Break off what is on its way and wait for its end, so that the report says all of it."""
    run.cancel.set()
    if run.abort is not None:
        run.abort()
    run.close()


def _failure(run: Run, report: Report) -> OperationalError | None:
    """What rows that failed make of a statement which went to its end."""
    failed = report.failed
    if not failed or run.limits.on_error == "skip":
        return None
    said = [f"{failed:,} of {_things(report.total)} failed; the reason stands in each one's row."]
    if failed < report.total:
        said.append("The others are done.")
    if report.lasting:
        those = "They" if report.lasting == failed else f"{report.lasting:,} of them"
        said.append(
            f"{those} would fail again, since the place is taken by other bytes: on_conflict "
            "(COPY FROM) or overwrite (COPY TO) says what becomes of such."
        )
    if report.lasting < failed:
        rest = "those" if not report.lasting else "the rest of those"
        said.append(f"The same statement tries {rest} again that failed.")
    return OperationalError(" ".join(said))


def _from(plan: MovePlan) -> str:
    """Where instances come from, for the journal: what is done holds for no other place."""
    if isinstance(plan, StorePlan):
        # What a query names is other files each time, as those are done that it looks for.
        return "\n".join(map(str, folders(plan.paths))) if not plan.column else "a query's files"
    return _store_text(plan.source)


def _to(plan: MovePlan) -> str:
    """Where instances go, in which form, for the journal."""
    if isinstance(plan, RetrievePlan):
        folder = Path(plan.folder).expanduser().resolve()
        return f"{folder} as {plan.format}, transfer syntax {plan.transfer_syntax}"
    study = f", study {plan.study}" if isinstance(plan, StorePlan) and plan.study else ""
    return _store_text(plan.target) + study


def _store_text(store: DicomStore) -> str:
    places = ", ".join(f"{name} {value}" for name, value in sorted(store.values))
    at = shown_place(without_user(store.base_url))
    return f"{store.resource} at {at}" + (f" ({places})" if places else "")


# -- what people are told --------------------------------------------------------------------------


def _things(number: int) -> str:
    return f"{number:,} instance{'s' * (number != 1)}"


def _done(report: Report, journal: Path | None = None) -> str:
    said = []
    for status, number in report.counts.items():
        text = f"{number:,} {status}"
        if status is Status.PRESENT and report.known and journal is not None:
            of_them = "" if report.known == number else f"{report.known:,} of them "
            text += f" ({of_them}as the journal {journal} says; the store was not asked)"
        said.append(text)
    return ", ".join(said)


def _sentence(report: Report, seconds: float, journal: Path | None) -> str:
    """What was done, in one line."""
    if not report.total:
        return "There was no instance to copy."
    text = f"{_things(report.total)}: {_done(report, journal)}"
    if report.bytes:
        text += f"; {size_text(report.bytes)} in {time_text(seconds)}"
        if seconds > 0:
            text += f" ({size_text(report.bytes / seconds)}/s)"
    return f"{text}."


def _summary(report: Report, seconds: float) -> dict[str, object]:
    """What was done, for programs: a number for every status, whether there was one or not."""
    counts = report.counts
    return {
        "instances": report.total,
        **{str(status): counts.get(status, 0) for status in Status},
        "bytes": report.bytes,
        "seconds": round(seconds, 3),
    }


def _stopped(plan: MovePlan, report: Report, journal: Journal | None) -> str:
    """What a COPY that was broken off has done, and how it goes on."""
    done = f"{_done(report)} by then" if report.total else "nothing was done by then"
    if not isinstance(plan, RetrievePlan):
        # A server may take what it has got although nobody waits for its answer any more.
        done += ", as far as the store has answered; what was under way may be stored too"
    if report.failed == report.total:
        return f"The COPY was stopped: {done}."
    if journal is None:
        kept = "What is done stays done; the same statement does what is left."
    else:
        kept = (
            f"What is done stays done and stands in {journal.path}; the same statement goes on "
            f"from there."
        )
    return f"The COPY was stopped: {done}. {kept}"


# -- consent ---------------------------------------------------------------------------------------


def _require(run: Run, plan: MovePlan, journal: Path | None, allowed: Allowed) -> int | None:
    """Make sure that overwriting is allowed where the plan overwrites what a store holds.

    How many instances differ shows when they are sent, so that what has to be allowed is the most
    that it can be: the number of files.

    Returns: that number; None where nothing is overwritten, or the number is not known.

    Raises:
        ConsentError: it is not.
    """
    if isinstance(plan, RetrievePlan) or plan.conflict is not Conflict.REPLACE:
        return None
    most = None
    if isinstance(plan, StorePlan):
        from dicomsql.copying.storing import candidates

        most = sum(1 for _ in candidates(plan, journal))
    sentence = _loses(plan, journal, most)
    if most and allowed.number == most:
        allowed.used = True
    elif not allowed.shown:
        if allowed.ask is None:
            exactly = f"SET allow_writes = {most}, or with " if most else ""
            raise ConsentError(
                f"{sentence} Nothing was changed. Allow it with {exactly}--yes or yes=True.",
                number=most,
            )
        if not allowed.ask(sentence):
            raise ConsentError(f"{sentence} It was not allowed; nothing was changed.", number=most)
    run.say(sentence.replace("This statement would", "Going to", 1))
    return most


def _loses(plan: StorePlan | TransferPlan, journal: Path | None, most: int | None) -> str:
    """What `replace` would do, as a sentence."""
    place = place_of(plan.target)
    text = (
        f"This statement would replace instances of {plan.target.resource}"
        f"{f' ({place})' if place else ''} that are there with other bytes"
    )
    if most is not None:
        text += f", at most {most:,}"
    if plan.target.moves.replace is None and journal is not None:
        text += f"; the server's bytes are kept beside {journal.name} first"
    return f"{text}."


# -- the audit log ---------------------------------------------------------------------------------


class Audited:
    """A transport that puts every request which writes down in the audit log."""

    def __init__(self, transport: Transport, audit: AuditLog) -> None:
        self._transport = transport
        self._audit = audit

    def send(self, request: Request, *, stream: bool = False) -> Response:
        """Send a request, and put down how it ended."""
        if request.method in _READS:
            return self._transport.send(request, stream=stream)
        try:
            response = self._transport.send(request, stream=stream)
        except BaseException as error:
            self._audit.request(request, error=error)
            raise
        try:
            self._audit.request(request, status=response.status)
        except BaseException:
            response.close()
            raise
        return response

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()


@contextmanager
def _noted(plan: MovePlan, report: Report, audit: AuditLog | None) -> Iterator[None]:
    """Put the statement down in the audit log once it has ended, in whatever way."""
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        error = raised
        raise
    finally:
        if audit is not None:
            stores = {
                name: (store.resource, dict(store.values))
                for name in ("source", "target")
                if (store := getattr(plan, name, None)) is not None
            }
            counts = {str(status): number for status, number in report.counts.items()}
            audit.copied(_MOVERS[type(plan)][0], stores, counts, error)
