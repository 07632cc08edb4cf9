"""Arrow data into a local table, as it comes: what a parameter cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    import pyarrow as pa

    from dicomsql.session.running import Running

__all__ = ["MODES", "ingest"]

# ADBC's modes and what each does; {table} is a quoted name, {temp} is TEMP or nothing.
MODES: dict[str, tuple[str, ...]] = {
    "create": ("CREATE {temp} TABLE {table} AS FROM {source}",),
    "append": ("INSERT INTO {table} BY NAME FROM {source}",),
    "replace": ("CREATE OR REPLACE {temp} TABLE {table} AS FROM {source}",),
    "create_append": (
        "CREATE {temp} TABLE IF NOT EXISTS {table} AS FROM {source} WITH NO DATA",
        "INSERT INTO {table} BY NAME FROM {source}",
    ),
}


def ingest(
    running: Running, table: str, data: pa.RecordBatchReader, mode: str, *, temporary: bool
) -> int:
    """Write rows into a local table, all or none; how many there were.

    Args:
        mode: one of `MODES`.
    """
    quoted = '"' + table.replace('"', '""') + '"'
    temp = "TEMP" if temporary else ""
    # The engine's name for what is read, which is nobody's table.
    source = f"dicomsql_ingested_{uuid4().hex}"
    written = 0
    running.check_table(table)
    with running.transaction() as engine:
        for sql in MODES[mode]:
            # The first of two statements only looks at the columns of an empty table.
            is_last = sql is MODES[mode][-1]
            engine.register(source, data if is_last else data.schema.empty_table())
            try:
                engine.stream(sql.format(temp=temp, table=quoted, source=source))
            finally:
                engine.unregister(source)
            written = engine.changed
    return max(0, written)
