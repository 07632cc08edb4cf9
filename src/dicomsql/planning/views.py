"""A view's text in the place of its name, and what the engine's database keeps of a view.

A view over resources is planned as if its query stood where its name is read, so that conditions
around it reach the servers. The database has a stand-in of that name with the view's columns, which
is an error to read, and keeps the query in the stand-in's comment.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.errors import PlanningError
from dicomsql.language.statements import Fragment, dotted
from dicomsql.planning.answers import MARK, View
from dicomsql.planning.scopes import cte_of
from dicomsql.planning.text import QueryText, Splice

if TYPE_CHECKING:
    from dicomsql.planning.answers import Context

# How a definition is written.
_FORM = 1

# What reading a stand-in says.
UNREAD = (
    "The view {name} reads servers: dicomsql reads it where its name stands in FROM of a query "
    "that it plans."
)

# What a table stands in whose rows are read.
_READS = (exp.From, exp.Join, exp.Subquery, exp.Paren, exp.Pivot, exp.Summarize)

# Words that a name or a query stands behind, which is no query in brackets.
_BEFORE_NAMES = frozenset({"TABLE", "SUMMARIZE"})

# Views in views that are followed.
_DEEPEST = 32


def comment_of(view: View) -> str:
    """What the database keeps of a view."""
    return json.dumps(
        {
            MARK: _FORM,
            "sql": view.sql,
            "columns": view.columns,
            "shows": view.shows,
            "parameters": view.parameters,
            "tables": view.tables,
            "defaults": view.defaults,
            "materialized": view.materialized,
            "refreshed": view.refreshed,
        }
    )


def view_of(name: str, comment: str | None) -> View | None:
    """The view that a comment of the database defines; None where it is any other comment."""
    if not comment or MARK not in comment:
        return None
    try:
        found = json.loads(comment)
        if found.get(MARK) != _FORM:
            return None
        return View(
            name,
            found["sql"],
            columns=tuple((str(n), str(t)) for n, t in found["columns"]),
            shows=tuple(found["shows"]),
            parameters=tuple(found["parameters"]),
            tables=tuple(found["tables"]),
            defaults=tuple((str(n), str(v)) for n, v in found["defaults"]),
            materialized=bool(found["materialized"]),
            refreshed=str(found["refreshed"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def references(tree: exp.Expr, names: Iterable[str]) -> Iterator[tuple[exp.Table, str]]:
    """The tables of a statement that rows are read from and whose names are among these.

    Args:
        names: in lower case.

    Yields:
        The table and its name in lower case.
    """
    known = frozenset(names)
    for node in tree.find_all(exp.Table):
        parts = [p for p in node.parts if isinstance(p, exp.Identifier)]
        name = dotted(p.name for p in parts).lower()
        if name not in known or len(parts) != len(node.parts) or "start" not in parts[0].meta:
            continue
        if _is_read(node) and (len(parts) > 1 or cte_of(node, parts[0].name.lower()) is None):
            yield node, name


def _is_read(node: exp.Table) -> bool:
    """Whether a table's rows are read, in FROM or by COPY ... TO."""
    parent = node.parent
    if isinstance(parent, exp.Copy):
        return parent.this is node and not parent.args.get("kind")
    if isinstance(parent, exp.Merge | exp.Delete):
        return node.arg_key == "using"
    return isinstance(parent, _READS)


def expand(text: QueryText, context: Context, within: tuple[str, ...] = ()) -> QueryText:
    """Put the text of each view into the place of its name.

    Args:
        within: lower-case names of the views that the text stands in.

    Raises:
        LanguageError: a view reads itself, or something that is not there any more.
    """
    if not context.views:
        return text
    views = {name: view for name, view in context.views if not view.materialized}
    splices = []
    for node, name in references(text.tree, views):
        inner = _inner(text, node, views[name], context, (*within, name))
        parts = [p for p in node.parts if "start" in p.meta]
        start, end = parts[0].meta["start"], parts[-1].meta["end"] + 1
        alias = node.alias_or_name
        before, after = _around(views[name], alias)
        if not isinstance(node.parent, exp.Copy) and not node.args.get("alias"):
            after += f" AS {_always_quoted(alias)}"
        heads = [t for t in text.tokens if t.end < start]
        if heads and heads[-1].text.upper() in _BEFORE_NAMES:
            # These take a name, or a query.
            before = f"FROM {before}"
            start = heads[-1].start if heads[-1].text.upper() == "TABLE" else start
        splices.append(Splice(start, end, before, inner, after, alias))
    if splices:
        text.splice(sorted(splices, key=lambda s: s.start))
    return text


def _around(view: View, alias: str) -> tuple[str, str]:
    """What stands around a view's text: its columns by their names, where a star shows them."""
    if not view.shows:
        return "(", "\n)"
    inner = _always_quoted(alias)
    listed = ", ".join(
        f"{inner}.{_always_quoted(shown)}" + f" AS {_always_quoted(name)}" * (shown != name)
        for shown, (name, _) in zip(view.shows, view.columns, strict=True)
    )
    return f"(SELECT {listed} FROM (", f"\n) AS {inner})"  # noqa: S608


def _always_quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _inner(
    text: QueryText, node: exp.Table, view: View, context: Context, within: tuple[str, ...]
) -> QueryText:
    if within[-1] in within[:-1] or len(within) > _DEEPEST:
        raise text.error(f"The view {view.name} reads itself", node)
    for name in view.tables:
        if name not in context.local_tables:
            raise text.error(
                f"The view {view.name} reads {name}, which is not there any more. Make {name} "
                f"again, or the view anew (CREATE OR REPLACE VIEW)",
                node,
            )
        if cte_of(node, name) is not None:
            raise text.error(
                f"The view {view.name} reads the table {name}, which WITH names something else "
                f"here; give that another name",
                node,
            )
    inner = QueryText(Fragment(view.sql, 0), source=view.sql, view=view)
    return expand(inner, context, within)


def check_written(name: str, views: Iterable[tuple[str, View]], form: str = "") -> None:
    """Refuse a write of a materialized view as if it were a table.

    Args:
        name: of what is written, with its schema if that is said.
        views: by their lower-case names.
        form: the statement's first words; `drop` says what drops it.

    Raises:
        PlanningError: it is one.
    """
    view = dict(views).get(name.lower())
    if view is None or not view.materialized:
        return
    if form.lower().startswith("drop"):
        raise PlanningError(
            f"{name} is a materialized view: DROP MATERIALIZED VIEW {name} drops it."
        )
    raise PlanningError(
        f"{name} is a materialized view, whose rows are those of its query: REFRESH MATERIALIZED "
        f"VIEW {name} brings them up to date, and CREATE OR REPLACE MATERIALIZED VIEW gives it "
        "another query."
    )


def qualified(
    text: QueryText, named: Mapping[int, tuple[exp.Table, str]], fragment: Fragment
) -> str:
    """The text of a query with its resources named in full.

    Args:
        named: (table, full name) of the resources, by the id of the table.
    """
    edits = []
    for node, name in named.values():
        parts = [p for p in node.parts if "start" in p.meta]
        start = text.original(parts[0].meta["start"])
        end = text.original(parts[-1].meta["end"]) + 1
        edits.append((start - fragment.start, end - fragment.start, name))
    written = fragment.text
    for start, end, name in sorted(edits, reverse=True):
        written = written[:start] + name + written[end:]
    return written
