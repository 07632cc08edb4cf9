"""A process that runs queries, one after the other, and has nothing but what it is given.

It is begun by `queries`, which tells it in lines of JSON on its standard input: a question, then
what the tables hold that the question is found to read. The answer goes to a Parquet file. It ends
when its input does, whatever it is doing; and where the system has it so, what it may take of the
memory is limited, for DuckDB's own limit does not hold for all that a query makes.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from dicomsql.emulator.neighbours.base import Column, NeighbourError
from dicomsql.emulator.neighbours.cells import arrow_schema
from dicomsql.emulator.neighbours.columns import from_json, to_json
from dicomsql.emulator.neighbours.macros import MACROS, SAID
from dicomsql.emulator.neighbours.query import Parsed, Question, in_duckdb, parse
from dicomsql.emulator.neighbours.tables import Snapshot

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["answer", "exceeded", "main"]

_MEMORY = "1GB"  # what DuckDB may keep of rows
_ROWS = 2048  # of a batch
_GROUP = 8 << 20  # bytes of rows that are written together
_LARGEST = 1 << 30  # bytes of an answer
_LONGEST_ROW = 100_000_000  # bytes
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


def main() -> None:
    """Answer until the input ends; with a quarter of the memory taken, no more than one query.

    Its arguments are `sys.path` and the bytes of memory that it may take.
    """
    limit = int(sys.argv[2])
    _limit(limit)
    sys.meta_path.insert(0, _WithoutPandas())
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # nothing else is to write there
    threading.Thread(target=_read, args=(sys.stdin.buffer, lines), daemon=True).start()

    def tell(message: dict[str, Any]) -> dict[str, Any]:
        out.write(json.dumps(message) + "\n")
        out.flush()
        found: dict[str, Any] = json.loads(lines.get())
        return found

    asked: dict[str, Any] = json.loads(lines.get())
    while True:
        try:
            found = _handle(asked, tell)
        except NeighbourError as error:
            found = {"error": [error.status, error.message]}
        except MemoryError:
            found = {"error": [*exceeded()]}
        except Exception as error:  # noqa: BLE001 - its text may quote rows
            kind = type(error).__name__
            found = {"error": ["INTERNAL", f"The emulator failed at this query: {kind}."]}
        found["worn"] = _taken() > limit // 4
        asked = tell(found)


class _WithoutPandas(MetaPathFinder):
    """Where pandas is installed, Arrow would load it: nobody needs it, and it takes a second."""

    def find_spec(self, fullname: str, _path: Any, _target: Any = None) -> None:
        if fullname.partition(".")[0] == "pandas":
            raise ModuleNotFoundError(fullname, name=fullname)


def exceeded() -> tuple[str, str]:
    """The status and the text for a query that needs too much memory."""
    return (
        "INVALID_ARGUMENT",
        "Resources exceeded during query execution: the query needs more memory than the emulator"
        " gives it.",
    )


def _read(stream: IO[bytes], lines: queue.SimpleQueue[str]) -> None:
    for line in stream:
        lines.put(line.decode())
    os._exit(0)  # whoever asked is gone


def _limit(memory: int) -> None:
    """Let the system refuse what is beyond the limit, and keep no image of a process that fails."""
    if sys.platform == "win32":
        return
    import resource

    with contextlib.suppress(ValueError, OSError):  # there is a lower limit already
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _taken() -> int:
    """The most memory, in bytes, that the process had at once."""
    if sys.platform == "win32":
        return 0
    import resource

    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return taken * (1 if sys.platform == "darwin" else 1024)


def _handle(
    asked: Mapping[str, Any], tell: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    dataset = asked["dataset"]
    question = Question(
        asked["sql"],
        asked["project"],
        (dataset[0], dataset[1]) if dataset else None,
        asked["parameters"],
    )
    parsed = parse(question)
    names = {
        shown: [name.project, name.dataset, name.table] for shown, name in parsed.tables.items()
    }
    given = tell({"tables": names})
    tables = {
        name: Snapshot(
            from_json(table["columns"]), tuple(map(Path, table["files"])), tuple(table["waiting"])
        )
        for name, table in given["tables"].items()
    }
    try:
        columns, rows = answer(parsed, tables, Path(asked["path"]), dry=asked["dry"])
    except FileNotFoundError:
        return {"changed": True}
    return {"columns": to_json(columns), "rows": rows}


def answer(
    parsed: Parsed, tables: Mapping[str, Snapshot], path: Path, *, dry: bool
) -> tuple[tuple[Column, ...], int]:
    """Write the answer to a file; its columns, and how many rows there are.

    DuckDB gets the tables that the query names, and no access to anything outside of itself.
    """
    import duckdb

    sql = in_duckdb(parsed, {name: table.columns for name, table in tables.items()})
    with duckdb.connect(":memory:") as db:
        db.execute(f"SET memory_limit = '{_MEMORY}'")
        db.execute("SET temp_directory = ''")
        db.execute("SET TimeZone = 'UTC'")
        db.execute("SET enable_external_access = false")
        db.execute("SET lock_configuration = true")
        for macro in MACROS:
            db.execute(f"CREATE MACRO {macro}")
        try:
            for name, table in tables.items():
                _register(db, name, table)
            relation = db.sql(sql)
            if relation is None:
                raise NeighbourError("UNIMPLEMENTED", "The emulator runs single queries only.")
            columns = _columns(relation)
            relation = relation.limit(0) if dry else relation
            return columns, _write(path, columns, relation.to_arrow_reader(_ROWS))
        except duckdb.Error as error:
            raise _refused(error) from None


def _write(path: Path, columns: Sequence[Column], batches: Any) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = size = 0
    held: list[pa.Table] = []
    with path.open("wb") as stream, pq.ParquetWriter(stream, arrow_schema(columns)) as writer:
        for batch in batches:
            table = _conformed(pa.Table.from_batches([batch]), columns)
            _check_members(table, columns)
            count, size = count + table.num_rows, size + table.nbytes
            held.append(table)
            if size >= _GROUP:
                writer.write_table(pa.concat_tables(held))
                held, size = [], 0
                if stream.tell() > _LARGEST:
                    raise NeighbourError(
                        "INVALID_ARGUMENT",
                        f"Response too large to return: it is of more than {_LARGEST >> 30} GB.",
                    )
        if held:
            writer.write_table(pa.concat_tables(held))
    return count


def _check_members(table: pa.Table, columns: Sequence[Column]) -> None:
    """No array of an answer has nulls in it, and no row is longer than one can be."""
    for column, array in zip(columns, table.columns, strict=True):
        if column.mode == "REPEATED" and any(chunk.flatten().null_count for chunk in array.chunks):
            raise NeighbourError(
                "INVALID_ARGUMENT",
                f"Array cannot have a null element; error in field {column.name}.",
            )
    if table.nbytes > _LONGEST_ROW and any(
        table.slice(row, 1).nbytes > _LONGEST_ROW for row in range(table.num_rows)
    ):
        raise NeighbourError("INVALID_ARGUMENT", "A row of the answer is larger than 100 MB.")


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
    said = re.match(rf"Invalid Input Error: {SAID}(.*)", str(error))
    if said:
        return NeighbourError("INVALID_ARGUMENT", f"The query failed: {said[1]}.")
    if isinstance(error, duckdb.OutOfMemoryException):
        return NeighbourError(*exceeded())
    if isinstance(error, duckdb.PermissionException):
        return NeighbourError("PERMISSION_DENIED", "A query reads the tables of datasets only.")
    kind = type(error).__name__.removesuffix("Exception")
    return NeighbourError(
        "INVALID_ARGUMENT",
        f"The query failed on a value of its rows ({kind}); SAFE_CAST and SAFE functions give null"
        " instead.",
    )
