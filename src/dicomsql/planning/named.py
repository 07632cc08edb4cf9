"""What a COPY's query says of each row: which columns it has, and which of them name instances."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.errors import DatabaseError, PlanningError, nearest
from dicomsql.planning.kinds import reads_once
from dicomsql.planning.plan import Named
from dicomsql.planning.tables import LEVELS, UIDS
from dicomsql.planning.values import quoted

if TYPE_CHECKING:
    from dicomsql.catalog.model import MoveMethods
    from dicomsql.planning.answers import Evaluate
    from dicomsql.planning.read_plan import ReadPlan, ScanColumn

# What a layout may name beside columns of the query: every instance has them.
_OF_INSTANCES = tuple(UIDS[level] for level in LEVELS)
_FRAME = "frame"

_WITH = re.compile(r"with\b", re.IGNORECASE)
_NAME = re.compile(r"\{([^{}]*)\}")


def output_columns(plan: ReadPlan, tree: exp.Expr, evaluate: Evaluate) -> tuple[str, ...]:
    """The names of the columns that a query will give, in their order.

    The engine binds the query over tables without rows, so that nothing is asked of a server.

    Args:
        tree: of the query.

    Raises:
        DatabaseError: the engine refuses the query.
        PlanningError: only a look at a pipe would tell, which would be empty after that.
    """
    if plan.direct:
        return tuple(name for name, _ in plan.direct)
    if reads_once(tree):
        return _selected(tree)
    return tuple(name for name, _ in bound_columns(plan, evaluate))


def bound_columns(plan: ReadPlan, evaluate: Evaluate) -> tuple[tuple[str, str], ...]:
    """The names and SQL types of the columns that a query will give, in their order.

    The engine binds the query over tables without rows, so that nothing is asked of a server.

    Raises:
        DatabaseError: the engine refuses the query.
    """
    tables = [_empty(s.name, s.columns) for s in plan.files]
    tables += [_empty(s.name, s.columns) for s in plan.scans]
    tables += [f"{keep.name} AS ({keep.sql}\n)" for keep in plan.keeps]
    head = f"WITH {', '.join(tables)} " if tables else ""
    query = f"({plan.sql}\n)"
    if _WITH.match(plan.sql):
        # The engine takes a WITH inside of another's only where the query is one side of a union.
        query = f"{query} UNION ALL {query}"
    values = dict(plan.values)
    for keep in plan.keeps:
        values |= dict(keep.values)
    asked = f"SELECT list([column_name, column_type]) FROM (DESCRIBE {head}{query})"  # noqa: S608
    try:
        found = evaluate(asked, tuple(values.items()))
    except DatabaseError as error:
        # The engine's excerpt is not of the user's text.
        raise type(error)(str(error).partition("\nLINE ")[0].rstrip()) from None
    assert isinstance(found, list)
    return tuple((str(name), str(kind)) for name, kind in found)


def _selected(tree: exp.Expr) -> tuple[str, ...]:
    """The columns that a query names itself."""
    names = tuple(tree.named_selects) if isinstance(tree, exp.Query) else ()
    if not names or "*" in names or "" in names:
        raise PlanningError(
            "The query of COPY reads a pipe, which is read once and not looked at before: name its "
            "columns in the SELECT, in the place of *."
        )
    return names


def _empty(name: str, columns: Iterable[ScanColumn]) -> str:
    listed = ", ".join(f"CAST(NULL AS {c.type}) AS {quoted(c.name)}" for c in columns)
    return f"{name} AS (SELECT {listed})"


def one_column(columns: Iterable[str], names: Iterable[str]) -> str:
    """The column that goes by one of these names, the first that there is; empty for none.

    Raises:
        PlanningError: several columns have that name.
    """
    for name in names:
        found = [c for c in columns if c.lower() == name.lower()]
        if len(found) > 1:
            raise PlanningError(
                f"The query of COPY has {len(found)} columns that are called {name}; which of them "
                f"is meant cannot be told. Leave out the others, or give them other names."
            )
        if found:
            return found[0]
    return ""


def named_by(columns: tuple[str, ...], moves: MoveMethods, places: Iterable[str]) -> Named:
    """Which columns name what is moved, and from which store.

    Args:
        places: path parameters that say which store it is.

    Raises:
        PlanningError: the columns do not say which instances are meant.
    """
    ids = dict(moves.ids)
    found = {level: one_column(columns, (UIDS[level], ids[level])) for level in LEVELS}
    given = [level for level in LEVELS if found[level]]
    if not given:
        raise PlanningError(
            f"The query of COPY does not say which instances are meant: it has to give "
            f"{_OF_INSTANCES[0]}, with {_OF_INSTANCES[1]} for single series and "
            f"{_OF_INSTANCES[2]} for single instances, as columns of these names "
            f"(an expression AS {_OF_INSTANCES[0]})."
        )
    above = LEVELS[: LEVELS.index(given[-1])]
    lacking = [UIDS[level] for level in above if not found[level]]
    if lacking:
        raise PlanningError(
            f"The query of COPY gives {UIDS[given[-1]]} without {' and '.join(lacking)}, by which "
            f"it is found. Add {' and '.join(lacking)} to the query's columns, by a JOIN where its "
            f"table does not have that."
        )
    by_column = ((name, one_column(columns, (name,))) for name in places)
    return Named(
        study=found["study"],
        series=found["series"],
        instance=found["instance"],
        places=tuple((name, column) for name, column in by_column if column),
    )


def checked_layout(template: str, columns: tuple[str, ...], *, frames: bool) -> str:
    """A layout whose names are spelled as the columns are.

    Args:
        frames: whether it may name the frame.

    Raises:
        PlanningError: it names what is no column, or leads out of the folder.
    """
    how = "A layout is a path below the folder, such as '{PatientID}/{SOPInstanceUID}.dcm'."
    steps = re.split(r"[/\\]", template)
    if not steps[0] or re.fullmatch(r"[A-Za-z]:", steps[0][:2]):
        raise PlanningError(f"The layout is an absolute path. {how}")
    if ".." in steps:
        raise PlanningError(f"The layout leads out of the folder by `..`. {how}")
    if not steps[-1]:
        raise PlanningError(f"The layout ends with a folder; it has to name a file. {how}")
    others = _NAME.sub("", template)
    if "{" in others or "}" in others:
        raise PlanningError(f"A bracket of the layout is not closed, or stands alone. {how}")
    known = (*_OF_INSTANCES, *([_FRAME] if frames else []))

    def spelled(name: str) -> str:
        found = one_column(columns, (name,)) or one_column(known, (name,))
        if not found:
            listed = list(dict.fromkeys([*columns, *known]))
            raise PlanningError(
                f"The layout names {{{name}}}, which is no column of the query."
                f"{nearest(name, listed)} It may name {', '.join(listed)}."
            )
        return found

    return _NAME.sub(lambda m: f"{{{spelled(m[1])}}}", template)
