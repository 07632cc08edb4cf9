"""Runs a `WritePlan`: consent is asked, calls are made side by side, failures are told.

What was done stays done: where some calls fail, the rest is made all the same, and the statement
fails with every failure and its row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dicomsql.errors import (
    CancelledError,
    Error,
    InternalError,
    OperationalError,
    ProgrammingError,
)
from dicomsql.execution import operations as lro
from dicomsql.execution.calls import Page, json_object, single
from dicomsql.execution.consent import Allowed, require
from dicomsql.execution.paging import pages
from dicomsql.execution.saving import check_free, save
from dicomsql.execution.write_calls import WriteCall, calls_of
from dicomsql.execution.write_results import DONE, check_returning, result_of
from dicomsql.result import Result
from dicomsql.waiting import wait_for

if TYPE_CHECKING:
    from dicomsql.catalog.load import Catalog
    from dicomsql.catalog.model import Method, Operations
    from dicomsql.execution.audit import AuditLog
    from dicomsql.execution.run import Run
    from dicomsql.planning.plan import WritePlan

# Failures that are told one by one.
_MOST_TOLD = 10


@dataclass(frozen=True, slots=True)
class WriteContext:
    """What a write needs beside the run.

    Attributes:
        allowed: the consent that was given.
        audit: takes a line for each call; None where none is kept.
        stop_operation: asks, where the wait for an operation was cancelled, whether the operation
            of that name is to be cancelled too; None where there is nobody to ask.
    """

    catalog: Catalog
    allowed: Allowed
    audit: AuditLog | None
    stop_operation: Callable[[str], bool] | None = None

    def operations(self, plan: WritePlan) -> Operations | None:
        """How operations of the plan's service are followed."""
        return self.catalog.service(plan.method.provider, plan.method.service).operations


def write(run: Run, plan: WritePlan, context: WriteContext) -> Result:
    """Run a write plan.

    Raises:
        ConsentError: what it destroys or costs has not been allowed; nothing was changed.
        PlanningError: a body does not fit its schema; nothing was sent.
        ApiError: its only call failed.
        OperationalError: some of its calls failed; what was done stays done.
        CancelledError, KeyboardInterrupt: it was stopped; the text says what was done by then.
    """
    try:
        calls = calls_of(run, plan, context.catalog)
        run.check_budget(len(calls), f"Writing {plan.resource}")
        check_returning(run, plan)
        if plan.output:
            check_free(plan.output)
        sentence = require(run, plan, [c.values for c in calls], context.allowed)
        if sentence:
            run.say(sentence.replace("This statement would", "Going to", 1))
        written = len(calls)
        if plan.method.paging is not None and written == 1:
            # EXEC of a list or a search: its rows are complete too, unless it asks for one page.
            answers = list(pages(run, plan.method, calls[0].request, None))
            calls = calls * len(answers)
        else:
            answers = _Writer(run, plan, calls, context).make()
        result = result_of(run, plan, calls, answers, context.operations(plan))
        result.affected = written
        return result
    finally:
        run.close()
        run.finish()


def write_many(run: Run, plans: Sequence[WritePlan], context: WriteContext) -> Result:
    """Run the plans of one statement for many sets of parameters as one write.

    Every call is made and checked, and what they lose together is asked for once, before the first
    is sent. They are made side by side, and where some fail the rest is made all the same. Calls
    that go to the same place are made in turn, since the last of them decides; there the first that
    fails is the last that is made.

    Raises:
        ProgrammingError: a set gives rows, or calls another method than the first.
        Error: as `write` does; what was done stays done.
    """
    plan = plans[0]
    try:
        calls: list[WriteCall] = []
        for number, of_set in enumerate(plans, 1):
            if of_set.returning is not None or of_set.verb == "exec":
                raise ProgrammingError(
                    "executemany is for statements that give no rows; execute this one for each "
                    "set of parameters."
                )
            if of_set.method.full_name != plan.method.full_name:
                raise ProgrammingError(
                    f"Set {number} would call {of_set.method.full_name}, set 1 "
                    f"{plan.method.full_name}: execute them one by one."
                )
            try:
                made = calls_of(run, of_set, context.catalog)
            except Error as error:
                error.args = (f"Set {number}: {error}", *error.args[1:])
                raise
            calls += [replace(call, row=number) for call in made]
        run.check_budget(len(calls), f"Writing {plan.resource}")
        sentence = require(run, plan, [c.values for c in calls], context.allowed)
        if sentence:
            run.say(sentence.replace("This statement would", "Going to", 1))
        _Writer(run, plan, calls, context, of="set", in_turn=_same_places(plan, calls)).make()
        return Result(None, iter(()), affected=len(calls), statistics=run.statistics)
    finally:
        run.close()
        run.finish()


def _same_places(plan: WritePlan, calls: list[WriteCall]) -> bool:
    """Whether two calls change the same thing, so that their order matters."""
    if plan.verb == "insert":
        return False
    return len({call.request.url.partition("?")[0] for call in calls}) < len(calls)


class _Writer:
    """The calls of one write on their way.

    Parameters:
        of: what the number of a call is that of, to people.
        in_turn: make one call after the other, up to the first that fails.
    """

    def __init__(
        self,
        run: Run,
        plan: WritePlan,
        calls: list[WriteCall],
        context: WriteContext,
        *,
        of: str = "row",
        in_turn: bool = False,
    ) -> None:
        self._of = of
        self._in_turn = in_turn
        self._run = run
        self._plan = plan
        self._calls = calls
        self._context = context
        self._answers: list[Page | None] = [None] * len(calls)
        self._failures: list[tuple[int, Error]] = []
        # The names of operations that were awaited when the statement was cancelled.
        self._left: list[str] = []

    def make(self) -> list[Page]:
        """Make the calls; their answers in the calls' order."""
        try:
            self._make_all()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(self._stopped()) from None
        if self._run.cancel.is_set() and len(self._answers) != self._done:
            raise CancelledError(self._stopped())
        if self._failures:
            if len(self._calls) == 1:
                raise self._failures[0][1]
            raise OperationalError(self._told())
        return [answer for answer in self._answers if answer is not None]

    @property
    def _done(self) -> int:
        return sum(answer is not None for answer in self._answers)

    def _make_all(self) -> None:
        if not self._calls:
            return
        width = 1 if self._in_turn else min(self._run.limits.parallel, len(self._calls))
        pool = self._run.pool(width, "write")
        pending: dict[Future[Page], int] = {}
        waiting = iter(range(len(self._calls)))
        try:
            while True:
                while len(pending) < width and not self._run.cancel.is_set():
                    if self._in_turn and self._failures:
                        break
                    following = next(waiting, None)
                    if following is None:
                        break
                    pending[pool.submit(self._make_one, self._calls[following])] = following
                if not pending:
                    return
                done, _ = wait_for(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    self._take(pending.pop(future), future)
        except KeyboardInterrupt:
            # Calls that are on their way are broken off, and what became of them is noted.
            if self._run.abort is not None:
                self._run.abort()
            self._run.cancel.set()
            for future, index in pending.items():
                if not future.cancel():
                    wait_for([future])
                    self._take(index, future)
            raise

    def _take(self, index: int, future: Future[Page]) -> None:
        error = future.exception()
        if error is None:
            self._answers[index] = future.result()
        elif isinstance(error, Error):
            self._failures.append((index, error))
        else:
            defect = InternalError(f"a defect of dicomsql: {type(error).__name__}")
            defect.__cause__ = error
            self._failures.append((index, defect))

    def _make_one(self, call: WriteCall) -> Page:
        """Make one call, wait for its operation where that is wanted, and write it down."""
        plan, audit = self._plan, self._context.audit
        try:
            if plan.output:
                page = save(self._run, call.request, plan.output)
            else:
                page = single(self._run, call.request)
            if plan.method.failures:
                _check_failures(page, plan.method)
            if plan.method.operation and plan.wait:
                page = self._wait(page)
        except BaseException as error:
            if audit is not None:
                audit.write(plan, call.values, error)
            raise
        if audit is not None:
            audit.write(plan, call.values, None)
        return page

    def _wait(self, page: Page) -> Page:
        """Follow the operation that a call started to its end."""
        plan, run = self._plan, self._run
        operations = self._context.operations(plan)
        if operations is None or not page.body:
            return page
        started = json_object(page, plan.method.full_name)
        try:
            done = lro.wait(run, operations, plan.base_url, started, plan.method)
        except CancelledError:
            self._left.append(str(started["name"]))
            raise
        return Page(json.dumps(done).encode(), page.media, page.status)

    def _stopped(self) -> str:
        """What a cancelled write has done, and what becomes of its operations."""
        told = []
        for name in self._left:
            if self._stops(name):
                told.append(f"The operation {name} was asked to stop.")
            else:
                told.append(f"The operation {name} goes on; EXEC ... cancel stops it.")
        if len(self._calls) == 1:
            return " ".join(["The statement was cancelled.", *told])
        return "\n  ".join([self._told(), *told])

    def _stops(self, name: str) -> bool:
        """Cancel an operation where the user says so."""
        context, plan = self._context, self._plan
        operations = context.operations(plan)
        ask = context.stop_operation
        if operations is None or ask is None or not ask(name):
            return False
        self._run.cancel.clear()
        try:
            lro.cancel(self._run, operations, plan.base_url, name, plan.method)
        except Error as error:
            self._run.note(f"The operation {name} could not be cancelled: {error}")
            return False
        finally:
            self._run.cancel.set()
        return True

    def _told(self) -> str:
        """What a write has done of which not all was done."""
        plan, failures = self._plan, sorted(self._failures, key=lambda f: f[0])
        told = [
            f"{self._of} {self._calls[i].row}{self._shown(self._calls[i])}: {error}"
            for i, error in failures[:_MOST_TOLD]
        ]
        more = len(failures) - len(told)
        if more:
            told.append(f"... and {more:,} more")
        text = (
            f"{plan.method.full_name}: {self._done:,} of {len(self._calls):,} rows were "
            f"{DONE[plan.verb]} and stay so, {len(failures):,} failed"
        )
        untried = len(self._calls) - self._done - len(failures)
        if untried:
            text += f", {untried:,} were not tried"
        return "\n  ".join([f"{text}.", *told])

    def _shown(self, call: WriteCall) -> str:
        """A call's parameters as far as people may see them."""
        gate = self._run.gate
        shown = [
            f"{k} = {v!r}"
            for k, v in call.values.items()
            if isinstance(v, str) and gate.show_value(k, v) == v
        ]
        return f" ({', '.join(shown)})" if shown else ""


def _check_failures(page: Page, method: Method) -> None:
    """Make sure that a call which succeeded did all of what it was made for.

    Raises:
        OperationalError: its answer lists failures; what else they say may hold values.
    """
    failed = json_object(page, method.full_name).get(method.failures)
    if failed:
        number = len(failed) if isinstance(failed, list) else 1
        raise OperationalError(
            f"{method.full_name}: the call was answered, but {number:,} of what it holds failed "
            f"({method.failures}); what else it holds may have been done."
        )
