"""One statement for many sets of parameters: what is checked first, what is done together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dicomsql.errors import Error, ProgrammingError
from dicomsql.language.statements import Query
from dicomsql.planning.answers import ListPlan
from dicomsql.result import Result

if TYPE_CHECKING:
    from dicomsql.language.statements import Statement
    from dicomsql.planning.parameters import Parameters
    from dicomsql.planning.plan import Plan
    from dicomsql.session.running import Running

__all__ = ["run_many"]


def run_many(running: Running, statement: Statement, sets: Sequence[Parameters]) -> Result:
    """Run a statement that gives no rows once for each set; see `Session.execute_many`."""
    from dicomsql.planning.plan import CopyPlan, ExplainPlan, WritePlan

    if isinstance(statement, Query):
        raise _gives_rows()
    first = _planned(running, statement, sets, 0)
    if isinstance(first, ListPlan | ExplainPlan):
        raise _gives_rows()
    if not isinstance(first, WritePlan | CopyPlan):
        # What fails takes all of it back, so that each is checked when it is its turn.
        with running.transaction():
            affected = _run(running, statement, first)
            for number in range(1, len(sets)):
                plan = _planned(running, statement, sets, number)
                affected += _run(running, statement, plan)
        return Result(None, iter(()), affected=affected)
    plans = [first, *(_planned(running, statement, sets, n) for n in range(1, len(sets)))]
    writes = [plan for plan in plans if isinstance(plan, WritePlan)]
    if len(writes) == len(plans):
        return running.write_many(statement, writes)
    return Result(None, iter(()), affected=sum(_run(running, statement, p) for p in plans))


def _planned(
    running: Running, statement: Statement, sets: Sequence[Parameters], index: int
) -> Plan:
    try:
        return running.plan(statement, sets[index])
    except Error as error:
        error.args = (f"Set {index + 1}: {error}", *error.args[1:])
        raise


def _run(running: Running, statement: Statement, plan: Plan) -> int:
    """Run one of the plans; how many rows it wrote."""
    result = running.run(statement, plan)
    if result.columns is not None:
        result.close()
        raise _gives_rows()
    if result.failure is not None:
        raise result.failure
    return max(0, result.affected)


def _gives_rows() -> ProgrammingError:
    return ProgrammingError(
        "executemany is for statements that give no rows; execute this one for each set of "
        "parameters."
    )
