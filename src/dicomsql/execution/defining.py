"""Runs a `ReadPlan` that defines something: its statements are done all together, or none is."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dicomsql.execution.reads import ReadRun
from dicomsql.planning.read_plan import REFRESHED
from dicomsql.result import Result

if TYPE_CHECKING:
    from dicomsql.engine.duck import Engine
    from dicomsql.execution.run import Run
    from dicomsql.planning.read_plan import ReadPlan


def define(run: Run, plan: ReadPlan) -> Result:
    """Run a plan with statements after its own.

    Raises:
        Error: something failed; nothing is changed then. A transaction that was begun before is
            aborted.
    """
    active = ReadRun(run, plan)
    try:
        with _transaction(run.engine):
            active.open()
            changed = run.engine.changed
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            for sql in plan.after:
                run.engine.rows(sql.replace(REFRESHED, now))
    finally:
        active.close()
        run.close()
        run.finish()
    for note in plan.notes:
        run.note(note)
    return Result(None, iter(()), affected=changed, statistics=run.statistics)


@contextmanager
def _transaction(engine: Engine) -> Iterator[None]:
    """A transaction of its own, where there is none."""
    if engine.in_transaction:
        yield
        return
    engine.begin()
    try:
        yield
    except BaseException:
        engine.rollback()
        raise
    engine.commit()
