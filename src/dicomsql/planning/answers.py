"""What a statement needs that sends nothing: the plans of SHOW and SET, and planning's context.

They stand apart from `plan`, whose values take longer to define than such a statement to run.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dicomsql.catalog.about import Listing
    from dicomsql.catalog.model import Method

# Computes an expression without columns that only the engine understands: its SQL, and the values
# of the placeholders in it by name.
Evaluate = Callable[[str, tuple[tuple[str, object], ...]], Any]


@dataclass(frozen=True)
class Context:
    """What planning knows of the session, and nothing more.

    Attributes:
        use: parts of the USE prefix.
        defaults: (parameter, value) of the session.
        endpoint: base URL that stands in for the documents' own; empty for theirs.
        endpoints: (`provider.service`, base URL) of services with a server of their own, which are
            the named connections; `endpoint` is not theirs.
        dialect: sqlglot's name of the dialect of queries; empty for DuckDB's own.
        wait: operations are awaited.
        local_tables: lower-case names of the engine's own tables and views.
        approximate_counts: a number of rows may be taken from metrics, which lag.
        today: from which ranges of dates are counted back.
    """

    use: tuple[str, ...] = ()
    defaults: tuple[tuple[str, str], ...] = ()
    endpoint: str = ""
    endpoints: tuple[tuple[str, str], ...] = ()
    dialect: str = ""
    wait: bool = False
    local_tables: frozenset[str] = field(default_factory=frozenset)
    approximate_counts: bool = False
    today: datetime.date = field(default_factory=lambda: datetime.datetime.now(datetime.UTC).date())

    def base_url(self, method: Method) -> str:
        """The base URL of a method's calls; empty where neither session nor document names one."""
        own = dict(self.endpoints).get(f"{method.provider}.{method.service}", "")
        return own or self.endpoint or (method.servers[0] if method.servers else "")


@dataclass(frozen=True)
class ListPlan:
    """Rows that the documents alone give: SHOW, DESCRIBE.

    Attributes:
        condition: WHERE of SHOW, run by the engine; empty where there is none.
    """

    listing: Listing
    condition: str = ""


@dataclass(frozen=True)
class SettingPlan:
    """USE, SET and RESET: a change of the session.

    Attributes:
        name: the setting; `use` for USE.
        value: None resets it.
    """

    name: str
    value: object | None
