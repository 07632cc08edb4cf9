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

# The first member of a comment of the database that defines a view.
MARK = "dicomsql_view"

# Computes an expression without columns that only the engine understands: its SQL, and the values
# of the placeholders in it by name.
Evaluate = Callable[[str, tuple[tuple[str, object], ...]], Any]


@dataclass(frozen=True, slots=True)
class View:
    """A name for a query, which is planned where the name is read; or for its kept rows.

    Attributes:
        name: as written.
        sql: the query, resources named in full.
        columns: (name, SQL type) of its rows when it was made.
        shows: the query's own names of the columns, where its text alone does not give them these
            (a star, names in brackets behind the view's); empty where it does.
        parameters: of the resources that it reads: those that it gives no value to, so that they
            are taken from outside.
        tables: lower-case names of the engine's own tables and views that it reads.
        defaults: (parameter, value) of the session that made a materialized view, which its rows
            are read with ever after.
        materialized: its rows are kept in a table of that name.
        refreshed: when they were read, ISO 8601; empty for no materialized view.
    """

    name: str
    sql: str
    columns: tuple[tuple[str, str], ...] = ()
    shows: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    defaults: tuple[tuple[str, str], ...] = ()
    materialized: bool = False
    refreshed: str = ""


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
        views: (lower-case name, view) of those among them that are expanded by planning, and of
            materialized ones.
        files: local files may be read and written.
        open_parameters: parameters without a value are left open: a view is described, not read.
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
    views: tuple[tuple[str, View], ...] = ()
    files: bool = True
    open_parameters: bool = False
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
