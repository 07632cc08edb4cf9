"""COPY (query) TO a file of rows: parquet, csv, tsv, json, jsonl or arrow.

The engine writes what it has a format for, so that a query of servers' tables makes the same file
as one of its own. Rows go to a file beside the name, which gets the name once all of them are on
the disk: a query that fails leaves what was there before.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dicomsql import output
from dicomsql.errors import OperationalError
from dicomsql.execution.reads import read
from dicomsql.result import Result

if TYPE_CHECKING:
    from dicomsql.execution.run import Run
    from dicomsql.planning.plan import ExportPlan
    from dicomsql.planning.read_plan import ReadPlan

# How the engine calls a format, with the options that make it what it is.
_ENGINES: dict[str, tuple[tuple[str, str], ...]] = {
    "parquet": (("format", "parquet"), ("compression", "zstd")),
    "csv": (("format", "csv"),),
    "tsv": (("format", "csv"), ("delimiter", "\t")),
    "json": (("format", "json"), ("array", "true")),
    "jsonl": (("format", "json"), ("array", "false")),
}

# Options whose values are words or numbers; all others are texts.


def export(run: Run, plan: ExportPlan) -> Result:
    """Run the query and write its rows; the result has their number and no rows.

    Raises:
        OperationalError: the file cannot be written; what was there before still is.
        Error: what the query raises.
    """
    path = Path(plan.path).expanduser()
    try:
        with _beside(path) as written:
            count = _write(run, plan, written)
    except OSError as error:
        raise OperationalError(f"Cannot write {plan.path}: {error.strerror or error}.") from None
    finally:
        run.close()
        run.finish()
    return Result(
        None,
        iter(()),
        message=f"{count:,} row{'s' * (count != 1)} written to {plan.path}.",
        affected=count,
        statistics=run.statistics,
    )


def _write(run: Run, plan: ExportPlan, path: Path) -> int:
    """Write the rows to a file that may be there; their number."""
    known = _ENGINES.get(plan.format)
    if known is None:
        with path.open("wb") as file:
            return output.write(read(run, plan.query), plan.format, file) or 0
    result = read(run, _copied(plan.query, path, {**dict(known), **dict(plan.options)}))
    for _ in result.batches():
        pass
    return max(0, run.engine.changed)


def _copied(query: ReadPlan, path: Path, options: dict[str, str]) -> ReadPlan:
    """The plan of the engine's COPY of a query."""
    # By itself the engine would write to another file first, which all may read.
    told = {**options, "use_tmp_file": "false"}
    # A value in quotes is also taken for a switch or a number; one without them may be neither.
    listed = ", ".join(f"{name} {_quoted(value)}" for name, value in told.items())
    sql = f"COPY (\n{query.sql}\n) TO {_quoted(str(path))} ({listed})"
    return replace(query, sql=sql, direct=(), windows=None)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A file that only its owner can read, which gets the name when the block ends well."""
    target = path.resolve()
    if target.exists() and not target.is_file():
        # A pipe or a device cannot be replaced.
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        yield target
        return
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(handle)
    written = Path(name)
    try:
        yield written
        with written.open("rb") as file:
            os.fsync(file.fileno())
        written.replace(target)
    except BaseException:
        with suppress(OSError):
            written.unlink()
        raise
