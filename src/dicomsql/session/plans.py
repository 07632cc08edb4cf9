"""The plans of queries that were asked before: the same text under the same circumstances.

Planning is a function of the statement, its parameters, the documents, and what the session and the
engine have: `Context` and the engines' version. All of these are a plan's key. What else an answer
rests on (a file's columns, the clock) is asked of the engine while planning; such plans are not
kept.
"""

from __future__ import annotations

import datetime
import re
import threading
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from dicomsql.language.statements import Statement
    from dicomsql.planning.answers import Context
    from dicomsql.planning.parameters import Parameters
    from dicomsql.planning.plan import Plan

__all__ = ["Plans", "is_lasting"]

_MOST = 256
# Letters of a text beyond which its plan is not kept: nobody asks that often.
_LONGEST = 20_000

# Values that are equal only where they mean the same, once their type is known.
_PLAIN = (str, int, float, bytes, datetime.date, datetime.time, datetime.timedelta, Decimal, UUID)

# What the engine was asked whose answer may be another one next time: of the clock, of chance, of
# the session's variables; of columns, where there may be a file's among them.
_FLEETING = re.compile(
    r"\b(?:now|today|age|current_\w+|get_current_\w+|local\w*time\w*|transaction_timestamp|clock\w*"
    r"|statement_timestamp|random|uuid\w*|gen_random\w*|txid\w*|getvariable|getenv|nextval|currval)"
    r"\b|\(\s*DESCRIBE\b(?=.*\bFROM\b)(?=.*['\"$])",
    re.IGNORECASE | re.DOTALL,
)


def is_lasting(sql: str) -> bool:
    """Whether the engine's answer to a question of planning is the same next time."""
    return _FLEETING.search(sql) is None


class Plans:
    """The plans that were made last. Safe for many threads."""

    def __init__(self) -> None:
        self._plans: OrderedDict[Hashable, Plan] = OrderedDict()
        self._lock = threading.Lock()

    def key(
        self, statement: Statement, context: Context, parameters: Parameters, version: int
    ) -> Hashable:
        """The key of a statement's plan; None where none can be kept."""
        if len(statement.source) > _LONGEST:
            return None
        values: Hashable = None
        if isinstance(parameters, Mapping):
            values = _frozen(tuple(v for pair in sorted(parameters.items()) for v in pair))
        elif parameters is not None:
            values = _frozen(tuple(parameters))
        if parameters is not None and values is None:
            return None
        return statement, context, isinstance(parameters, Mapping), values, version

    def find(self, key: Hashable) -> Plan | None:
        """The plan of that key; None where there is none."""
        if key is None:
            return None
        with self._lock:
            found = self._plans.get(key)
            if found is not None:
                self._plans.move_to_end(key)
            return found

    def keep(self, key: Hashable, plan: Plan) -> None:
        """Keep a plan, in the place of the one that was asked for least lately."""
        if key is None:
            return
        with self._lock:
            self._plans[key] = plan
            while len(self._plans) > _MOST:
                self._plans.popitem(last=False)


def _frozen(values: tuple[object, ...]) -> Hashable:
    """Values with their types, since 1, 1.0 and True are equal; None where one is not plain."""
    if not all(value is None or isinstance(value, _PLAIN) for value in values):
        return None
    # Numbers of other digits, and instants of other zones, are equal as well.
    return tuple((type(v), v if isinstance(v, str | bytes | int) else repr(v)) for v in values)
