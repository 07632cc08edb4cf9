"""One statement for many sets of parameters: what is checked first, what is done together."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeGuard, TypeVar

from dicomsql.errors import Error, ProgrammingError
from dicomsql.language.statements import Query
from dicomsql.planning.answers import ListPlan
from dicomsql.result import Result
from dicomsql.session.running import OF_ROWS

if TYPE_CHECKING:
    from dicomsql.language.statements import Statement
    from dicomsql.planning.parameters import Parameters
    from dicomsql.planning.plan import Plan
    from dicomsql.planning.read_plan import ReadPlan
    from dicomsql.session.running import Running

__all__ = ["run_many"]

_T = TypeVar("_T")


def run_many(running: Running, statement: Statement, sets: Sequence[Parameters]) -> Result:
    """Run a statement that gives no rows once for each set; see `Session.execute_many`."""
    from dicomsql.planning.plan import CopyPlan, ExplainPlan, WritePlan

    if isinstance(statement, Query):
        raise _gives_rows()
    first = _planned(running, statement, sets, 0)
    if isinstance(first, ListPlan | ExplainPlan):
        raise _gives_rows()
    if not isinstance(first, WritePlan | CopyPlan):
        return Result(None, iter(()), affected=_local(running, statement, sets, first))
    plans = [first, *(_planned(running, statement, sets, n) for n in range(1, len(sets)))]
    writes = [plan for plan in plans if isinstance(plan, WritePlan)]
    if len(writes) == len(plans):
        return running.write_many(statement, writes)
    return Result(None, iter(()), affected=sum(_run(running, statement, p) for p in plans))


def _local(running: Running, statement: Statement, sets: Sequence[Parameters], first: Plan) -> int:
    """Run a statement on local tables for each set; how many rows they wrote.

    What fails takes all of it back, so that each set is checked when it is its turn.
    """
    with running.transaction(objects=False) as engine:
        affected = _numbered(0, lambda: _run(running, statement, first))
        if _repeats(first) and engine.kind(first.sql) in OF_ROWS:
            values = _values(running, statement, sets, first)
            if values is not None:
                return affected + engine.repeat(first.sql, values, affected)
        for at in range(1, len(sets)):
            plan = _planned(running, statement, sets, at)
            affected += _numbered(at, partial(_run, running, statement, plan))
    return affected


def _repeats(plan: Plan) -> TypeGuard[ReadPlan]:
    """Whether a plan is nothing but a text for the engine."""
    from dicomsql.planning.read_plan import ReadPlan

    return isinstance(plan, ReadPlan) and plan == ReadPlan(plan.sql, plan.values)


def _values(
    running: Running, statement: Statement, sets: Sequence[Parameters], first: ReadPlan
) -> list[dict[str, object]] | None:
    """What the first plan's text takes for each of the other sets; None where it is not theirs.

    Where no table of a server is read, what a plan does with a value rests on its type alone.
    """
    from dicomsql.planning.parameters import check_parameters, name_placeholders

    known = {_types(sets[0])}
    names = [name for name, _ in first.values]
    found: list[dict[str, object]] = []
    for at in range(1, len(sets)):
        given = sets[at]
        if (types := _types(given)) not in known:
            plan = _planned(running, statement, sets, at)
            if not _repeats(plan) or plan.sql != first.sql:
                return None
            known.add(types)
        _numbered(at, partial(check_parameters, statement.text, given))
        named = _numbered(at, partial(name_placeholders, statement.text, given, 0))
        found.append({name: named.values[name] for name in names})
    return found


def _types(given: Parameters) -> Hashable:
    if isinstance(given, Mapping):
        return tuple((name, _type(value)) for name, value in sorted(given.items()))
    return tuple(map(_type, given or ()))


def _type(value: object) -> tuple[type, ...]:
    # A list behind IN is spelled member by member.
    return (list, *map(type, value)) if isinstance(value, list) else (type(value),)


def _numbered(at: int, run: Callable[[], _T]) -> _T:
    """What one set gives; its errors say which one it was."""
    try:
        return run()
    except Error as error:
        error.args = (f"Set {at + 1}: {error}", *error.args[1:])
        raise


def _planned(running: Running, statement: Statement, sets: Sequence[Parameters], at: int) -> Plan:
    return _numbered(at, partial(running.plan, statement, sets[at]))


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
