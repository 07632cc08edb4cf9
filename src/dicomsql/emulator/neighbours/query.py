"""A query of BigQuery's SQL on the tables of a folder: sqlglot translates it, DuckDB runs it.

Only queries run: nothing that writes, no scripts, no legacy SQL. DuckDB gets the tables that the
query names and no access to anything outside of itself.

One thing is easier here than at Google: eight digits that are compared with a DATE are a date.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dicomsql.emulator.neighbours.base import Column, NeighbourError, TableName
from dicomsql.emulator.neighbours.cells import arrow_schema
from dicomsql.emulator.neighbours.tables import Snapshot

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlglot import exp

__all__ = ["Question", "run"]

_TRIES = 5  # at a table whose files are replaced while they are read
_MEMORY = "2GB"
_LONGEST = 300.0  # seconds of a query; a server that is to end does not wait for ever
_TYPES = {
    "bigint": "INTEGER",
    "blob": "BYTES",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "decimal": "NUMERIC",
    "double": "FLOAT",
    "float": "FLOAT",
    "hugeint": "INTEGER",
    "integer": "INTEGER",
    "null": "INTEGER",
    "smallint": "INTEGER",
    "time": "TIME",
    "timestamp": "DATETIME",
    "timestamp with time zone": "TIMESTAMP",
    "tinyint": "INTEGER",
    "ubigint": "INTEGER",
    "uinteger": "INTEGER",
    "usmallint": "INTEGER",
    "utinyint": "INTEGER",
    "varchar": "STRING",
}


@dataclass(frozen=True, slots=True)
class Question:
    """A query with what it is about.

    Attributes:
        project: of tables that are named without one.
        dataset: of tables that are named by nothing else: project and dataset, or None.
        parameters: QueryParameters as the API has them.
    """

    sql: str
    project: str
    dataset: tuple[str, str] | None = None
    parameters: Sequence[Mapping[str, Any]] = ()


def run(
    question: Question, snapshot: Callable[[TableName], Snapshot], *, dry: bool = False
) -> tuple[tuple[Column, ...], pa.Table]:
    """The answer to a query, its rows in Arrow.

    Args:
        snapshot: gives what a table holds.
        dry: no rows, only the columns.

    Raises:
        NeighbourError: INVALID_ARGUMENT for a query that is none, NOT_FOUND for a table,
            UNIMPLEMENTED for what is not emulated.
    """
    tree = _parsed(question.sql)
    _bind(tree, question.parameters)
    _name_members(tree)
    names = _tables(tree, question)
    for attempt in range(_TRIES):
        found = {alias: snapshot(name) for alias, name in names.items()}
        translated = _translated(tree.copy(), found)
        try:
            return _answer(translated, found, dry)
        except FileNotFoundError:
            if attempt == _TRIES - 1:
                raise NeighbourError("UNAVAILABLE", "The table changes; ask again.") from None
    raise AssertionError("the loop returns or raises")


def _parsed(sql: str) -> exp.Query:
    import sqlglot
    from sqlglot import exp

    try:
        trees = [tree for tree in sqlglot.parse(sql, read="bigquery") if tree is not None]
    except sqlglot.errors.SqlglotError as error:
        details = getattr(error, "errors", None) or [{}]
        line, column = details[0].get("line"), details[0].get("col")
        at = f" at [{line}:{column}]" if line else ""
        raise NeighbourError("INVALID_ARGUMENT", f"Syntax error{at}.") from None
    except RecursionError:
        raise NeighbourError("INVALID_ARGUMENT", "The query is nested too deeply.") from None
    if not trees:
        raise NeighbourError("INVALID_ARGUMENT", "The query is empty.")
    if len(trees) > 1 or not isinstance(trees[0], exp.Query):
        raise NeighbourError(
            "UNIMPLEMENTED", "The emulator runs single queries: SELECT, WITH, UNION."
        )
    return trees[0]


def _bind(tree: exp.Expr, parameters: Sequence[Mapping[str, Any]]) -> None:
    """Put the parameters in their places, as literals of their types."""
    from sqlglot import exp

    named = {str(p["name"]).lower(): p for p in parameters if p.get("name")}
    positional = [p for p in parameters if not p.get("name")]
    for node in list(tree.find_all(exp.Parameter)):
        parameter = named.get(node.name.lower())
        if parameter is None:
            raise NeighbourError("INVALID_ARGUMENT", f"Query parameter '{node.name}' not found.")
        node.replace(_literal(parameter.get("parameterType"), parameter.get("parameterValue")))
    places = list(tree.find_all(exp.Placeholder, bfs=False))
    if len(places) > len(positional):
        raise NeighbourError("INVALID_ARGUMENT", "There are more ? than query parameters.")
    for place, parameter in zip(places, positional, strict=False):
        place.replace(_literal(parameter.get("parameterType"), parameter.get("parameterValue")))


def _literal(kind: Any, value: Any) -> exp.Expr:
    from sqlglot import exp

    kind, value = dict(kind or {}), dict(value or {})
    name = str(kind.get("type", "")).upper()
    if name == "ARRAY":
        members = [_literal(kind.get("arrayType"), v) for v in value.get("arrayValues", ())]
        return exp.Array(expressions=members)
    if not re.fullmatch(r"STRING|BYTES|INT64|INTEGER|FLOAT(64)?|NUMERIC|BOOL(EAN)?|DATE|TIME"
                        r"|TIMESTAMP|DATETIME|JSON", name):  # fmt: skip
        raise NeighbourError("UNIMPLEMENTED", "The emulator takes parameters that are scalars.")
    text = value.get("value")
    literal = exp.Null() if text is None else exp.Literal.string(str(text))
    return exp.cast(literal, name, dialect="bigquery")


def _tables(tree: exp.Expr, question: Question) -> dict[str, TableName]:
    """Give every table that is kept a name of its own; which one stands for which."""
    from sqlglot import exp
    from sqlglot.optimizer.scope import traverse_scope

    found: dict[TableName, str] = {}
    done: set[int] = set()  # a table is a source of the scopes within its own one, too
    for scope in traverse_scope(tree):
        for source in list(scope.sources.values()):
            if not isinstance(source, exp.Table) or id(source) in done:
                continue
            done.add(id(source))
            if not isinstance(source.this, exp.Identifier):
                raise NeighbourError("UNIMPLEMENTED", "The emulator has no table functions.")
            if source.args.get("version") or source.args.get("sample"):
                raise NeighbourError(
                    "UNIMPLEMENTED", "The emulator has no versions and no samples of tables."
                )
            name = _full_name(source, question)
            shown = found.setdefault(name, f"table {len(found)}")
            alias = source.args.get("alias") or exp.TableAlias(
                this=exp.to_identifier(name.table, quoted=True)
            )
            source.set("alias", alias)
            source.set("this", exp.to_identifier(shown, quoted=True))
            source.set("db", None)
            source.set("catalog", None)
    return {shown: name for name, shown in found.items()}


def _name_members(tree: exp.Expr) -> None:
    """`FROM t, t.items`: the members of an array under its own name.

    To BigQuery `items` is then a member, to DuckDB it is still the array; so the member gets a name
    that no column has.
    """
    from sqlglot import exp

    for unnest in list(tree.find_all(exp.Unnest)):
        array, alias = unnest.expressions[0], unnest.args.get("alias")
        names = alias.columns if alias else []
        name = names[0].name if names else alias.name if alias else array.name
        select = unnest.find_ancestor(exp.Select)
        if not isinstance(array, exp.Column) or name.lower() != array.name.lower():
            continue
        member = exp.to_identifier(f"member of {name}", quoted=True)
        for column in list(select.find_all(exp.Column)) if select else ():
            if column.find_ancestor(exp.Unnest) is unnest:
                continue
            if column.table.lower() == name.lower():
                column.set("table", member.copy())
            elif not column.table and column.name.lower() == name.lower():
                whole = exp.Column(this=member.copy())
                selected = isinstance(column.parent, exp.Select)
                column.replace(exp.alias_(whole, name, quoted=True) if selected else whole)
        place = exp.to_identifier(f"array of {name}", quoted=True)
        unnest.set("alias", exp.TableAlias(this=place, columns=[member]))


def _full_name(source: exp.Table, question: Question) -> TableName:
    if not source.db and question.dataset is None:
        raise NeighbourError(
            "INVALID_ARGUMENT",
            f'Table "{source.name}" must be qualified with a dataset (e.g. dataset.table).',
        )
    if source.name.endswith("*"):
        raise NeighbourError("UNIMPLEMENTED", "The emulator has no wildcard tables.")
    parts = ".".join((source.catalog, source.db, source.name)).upper().split(".")
    if "INFORMATION_SCHEMA" in parts:
        raise NeighbourError("UNIMPLEMENTED", "The emulator has no INFORMATION_SCHEMA.")
    if not source.db and question.dataset is not None:
        return TableName(*question.dataset, source.name)
    return TableName(source.catalog or question.project, source.db, source.name)


def _translated(tree: exp.Expr, tables: Mapping[str, Snapshot]) -> str:
    from sqlglot import exp
    from sqlglot.errors import ErrorLevel, SqlglotError

    _read_dates(tree, tables)
    select = tree
    while isinstance(select, exp.SetOperation | exp.Subquery):
        select = select.this
    if isinstance(select, exp.Select):
        _name_columns(select)
    try:
        return tree.sql(dialect="duckdb", unsupported_level=ErrorLevel.RAISE)
    except (SqlglotError, RecursionError):
        raise NeighbourError("UNIMPLEMENTED", "The emulator cannot translate this query.") from None


def _name_columns(select: exp.Select) -> None:
    """Give what has no name the name that BigQuery gives it: f0_, f1_ ..."""
    from sqlglot import exp

    count = 0
    for node in list(select.expressions):
        if isinstance(node, exp.Alias | exp.Column | exp.Dot | exp.Star):
            continue
        node.replace(exp.alias_(node.copy(), f"f{count}_"))
        count += 1


def _read_dates(tree: exp.Expr, tables: Mapping[str, Snapshot]) -> None:
    """`StudyDate >= '20260101'`: DICOM's form of a date, where a DATE is compared with it."""
    from sqlglot import exp

    dates = {
        column.name.lower()
        for table in tables.values()
        for column in table.columns
        if column.type == "DATE" and column.mode != "REPEATED"
    }
    for node in tree.find_all(
        exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between, exp.In
    ):
        parts = [*node.iter_expressions()]
        if not any(isinstance(p, exp.Column) and p.name.lower() in dates for p in parts):
            continue
        for part in parts:
            if isinstance(part, exp.Literal) and part.is_string:
                match = re.fullmatch(r"(\d{4})(\d\d)(\d\d)", part.name)
                if match:
                    part.replace(exp.Literal.string("-".join(match.groups())))


def _answer(
    sql: str, tables: Mapping[str, Snapshot], dry: bool
) -> tuple[tuple[Column, ...], pa.Table]:
    import duckdb

    with duckdb.connect(":memory:") as db:
        db.execute(f"SET memory_limit = '{_MEMORY}'")
        db.execute("SET TimeZone = 'UTC'")
        db.execute("SET enable_external_access = false")
        db.execute("SET lock_configuration = true")
        watch = threading.Timer(_LONGEST, db.interrupt)
        watch.daemon = True
        watch.start()
        try:
            for name, table in tables.items():
                _register(db, name, table)
            relation = db.sql(sql)
            if relation is None:
                raise NeighbourError("UNIMPLEMENTED", "The emulator runs single queries only.")
            columns = _columns(relation)
            if dry:
                relation = relation.limit(0)
            rows = relation.to_arrow_table()
            return columns, _conformed(rows, columns)
        except duckdb.Error as error:
            raise _refused(error) from None
        finally:
            watch.cancel()


def _register(db: Any, name: str, table: Snapshot) -> None:
    """Make a table's rows a view, in which JSON is JSON."""
    import pyarrow.dataset as ds

    schema = arrow_schema(table.columns)
    sources = [ds.dataset(table.new_rows())]
    if table.files:
        sources.append(ds.dataset([str(path) for path in table.files], schema=schema))
    for path in table.files:
        path.stat()
    db.register(f"{name} rows", ds.dataset(sources))
    quoted = [f'"{column.name}"' for column in table.columns]
    shown = [
        f"{text}::JSON{'[]' if column.mode == 'REPEATED' else ''} AS {text}"
        if column.type == "JSON"
        else text
        for text, column in zip(quoted, table.columns, strict=True)
    ]
    columns = ", ".join(shown)
    db.execute(f'CREATE VIEW "{name}" AS SELECT {columns} FROM "{name} rows"')  # noqa: S608


def _columns(relation: Any) -> tuple[Column, ...]:
    names = list(relation.columns)
    if len({name.lower() for name in names}) < len(names):
        raise NeighbourError(
            "INVALID_ARGUMENT", "Duplicate column names in the result are not supported."
        )
    return tuple(_column(name, kind) for name, kind in zip(names, relation.types, strict=True))


def _column(name: str, kind: Any, mode: str = "NULLABLE") -> Column:
    if kind.id in {"list", "array"}:
        member = kind.children[0][1]
        if mode == "REPEATED" or member.id in {"list", "array"}:
            raise NeighbourError("INVALID_ARGUMENT", "An array of arrays cannot be returned.")
        return _column(name, member, "REPEATED")
    if kind.id == "struct":
        fields = tuple(_column(part, below) for part, below in kind.children)
        return Column(name, "RECORD", mode, fields)
    found = "JSON" if str(kind) == "JSON" else _TYPES.get(kind.id)
    if found is None:
        raise NeighbourError("UNIMPLEMENTED", f"The emulator returns no column of type {kind}.")
    return Column(name, found, mode)


def _conformed(rows: pa.Table, columns: Sequence[Column]) -> pa.Table:
    """The rows in the types of their columns."""
    import pyarrow as pa

    schema = arrow_schema(columns)
    found = []
    for array, field in zip(rows.columns, schema, strict=True):
        plain = [getattr(chunk, "storage", chunk) for chunk in array.chunks]
        joined = pa.chunked_array(plain, plain[0].type) if plain else array
        try:
            found.append(joined.cast(field.type) if plain else pa.chunked_array([], field.type))
        except pa.ArrowInvalid:
            raise NeighbourError(
                "INVALID_ARGUMENT", "A number of the result is too large."
            ) from None
    return pa.table(found, schema=schema)


def _refused(error: Exception) -> NeighbourError:
    """What DuckDB says, without what it quotes of the rows."""
    import duckdb

    about_names = (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException)
    if isinstance(error, about_names):
        first = str(error).split("\n", maxsplit=1)[0]
        if "max_expression_depth" in first:
            return NeighbourError("INVALID_ARGUMENT", "The query is nested too deeply.")
        text = re.sub(r"^\w+ Error: ", "", re.sub(r'"table \d+( rows)?"', "the table", first))
        return NeighbourError("INVALID_ARGUMENT", text)
    if isinstance(error, duckdb.OutOfMemoryException):
        return NeighbourError("UNAVAILABLE", f"The query needs more than {_MEMORY} of memory.")
    if isinstance(error, duckdb.InterruptException):
        return NeighbourError("UNAVAILABLE", f"The query took more than {_LONGEST:.0f} seconds.")
    if isinstance(error, duckdb.PermissionException):
        return NeighbourError("PERMISSION_DENIED", "A query reads the tables of datasets only.")
    kind = type(error).__name__.removesuffix("Exception")
    return NeighbourError(
        "INVALID_ARGUMENT",
        f"The query failed on a value of its rows ({kind}); SAFE_CAST and SAFE functions give null"
        " instead.",
    )
