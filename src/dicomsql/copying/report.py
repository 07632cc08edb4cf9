"""What became of each instance, collected while they are moved: counts, rows, the result."""

from __future__ import annotations

import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from dicomsql.copying.outcomes import LASTING, Outcome, Status
from dicomsql.errors import OperationalError
from dicomsql.result import Result, ResultColumn

if TYPE_CHECKING:
    import pyarrow as pa

    from dicomsql.copying.progress import Progress
    from dicomsql.engine.duck import Engine
    from dicomsql.planning.plan import Returning

COLUMNS = (
    ResultColumn("path", "VARCHAR"),
    ResultColumn("StudyInstanceUID", "VARCHAR"),
    ResultColumn("SeriesInstanceUID", "VARCHAR"),
    ResultColumn("SOPInstanceUID", "VARCHAR"),
    ResultColumn("status", "VARCHAR"),
    ResultColumn("reason", "VARCHAR"),
    ResultColumn("bytes", "BIGINT"),
)

# Rows that are kept in memory; more go to a file.
_KEPT = 4096

# What a status says of bytes that were moved.
MOVED = frozenset({Status.STORED, Status.REPLACED, Status.RETRIEVED})


class Report:
    """Takes outcomes from any thread.

    Parameters:
        progress: told of each outcome.
        kept: outcomes that are held in memory; more go to a temporary file without a name.
    """

    def __init__(self, progress: Progress | None = None, kept: int = _KEPT) -> None:
        self._progress = progress
        self._kept = kept
        self._lock = threading.Lock()
        self._rows: list[Outcome] = []
        self._counts: Counter[Status] = Counter()
        self._bytes = 0
        self._known = self._lasting = 0
        self._spool: _Spool | None = None

    def add(self, outcome: Outcome, *, known: bool = False) -> None:
        """Take down what became of an instance.

        Args:
            known: that it is there is what the journal says; nobody was asked.

        Raises:
            OperationalError: the rows no longer fit on the disk for temporary files.
        """
        with self._lock:
            self._counts[outcome.status] += 1
            self._lasting += outcome.status is Status.FAILED and outcome.reason in LASTING
            self._known += known and outcome.status is Status.PRESENT
            if outcome.status in MOVED:
                self._bytes += outcome.size or 0
            self._rows.append(outcome)
            if len(self._rows) >= self._kept:
                if self._spool is None:
                    self._spool = _Spool()
                self._spool.write(_batch(self._rows))
                self._rows = []
        if self._progress is not None:
            self._progress.done(outcome)

    @property
    def counts(self) -> Mapping[Status, int]:
        """The number of outcomes of each status that there was."""
        with self._lock:
            return {status: self._counts[status] for status in Status if self._counts[status]}

    @property
    def total(self) -> int:
        """The number of outcomes."""
        with self._lock:
            return self._counts.total()

    @property
    def failed(self) -> int:
        """The number of those that failed."""
        with self._lock:
            return self._counts[Status.FAILED]

    @property
    def lasting(self) -> int:
        """The number of those that failed and would fail again."""
        with self._lock:
            return self._lasting

    @property
    def known(self) -> int:
        """The number of those present of which only the journal says that they are."""
        with self._lock:
            return self._known

    @property
    def bytes(self) -> int:
        """Bytes of the instances that were moved."""
        with self._lock:
            return self._bytes

    def result(
        self, returning: Returning | None, engine_of: Callable[[], Engine] | None = None
    ) -> Result:
        """The rows, or what RETURNING makes of them.

        Args:
            engine_of: gives the engine, needed for RETURNING.

        Raises:
            ProgrammingError: RETURNING is no query over the rows.
        """
        table = self._table()
        if returning is None:
            batches = iter(table.to_batches(_KEPT))
            return Result(COLUMNS, batches, schema=table.schema, close=self.close)
        from dicomsql.planning.copies import COPIED

        assert engine_of is not None
        engine = engine_of()
        engine.register(COPIED, table)
        try:
            rows = engine.stream(returning.sql, returning.values)
        except BaseException:
            engine.unregister(COPIED)
            self.close()
            raise
        assert rows is not None

        def close() -> None:
            rows.close()
            engine.unregister(COPIED)
            self.close()

        return Result(rows.columns, rows.batches(), schema=rows.schema, close=close)

    def close(self) -> None:
        """Give up the rows that no result has; may be called again."""
        with self._lock:
            if self._spool is not None:
                self._spool.close()

    def _table(self) -> pa.Table:
        """All rows; those in the file are read as they are needed."""
        import pyarrow as pa

        with self._lock:
            last = _batch(self._rows)
            spooled = self._spool.batches() if self._spool is not None else []
        return pa.Table.from_batches([*spooled, last], last.schema)


def check_returning(returning: Returning | None, engine_of: Callable[[], Engine]) -> None:
    """Make sure, before anything is moved, that RETURNING is a query over the rows.

    Raises:
        ProgrammingError: it names a column that there will not be.
    """
    if returning is None:
        return
    from dicomsql.planning.copies import COPIED

    engine = engine_of()
    engine.register(COPIED, _batch([]).schema.empty_table())
    try:
        engine.rows(returning.sql, returning.values)
    finally:
        engine.unregister(COPIED)


class _Spool:
    """Batches of rows in a temporary file that has no name, so that nothing is left of it."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="dicomsql-")  # noqa: SIM115 - see `close`
        self._writer: pa.RecordBatchFileWriter | None = None

    def write(self, batch: pa.RecordBatch) -> None:
        import pyarrow as pa

        try:
            if self._writer is None:
                self._writer = pa.ipc.new_file(self._file, batch.schema)
            self._writer.write_batch(batch)
            self._file.flush()
        except OSError as error:
            raise OperationalError(
                f"The rows of the result cannot be kept in {tempfile.gettempdir()}: "
                f"{error.strerror or 'it cannot be written'}."
            ) from None

    def batches(self) -> list[pa.RecordBatch]:
        """What was written, mapped into memory; nothing can be written after it."""
        import mmap

        import pyarrow as pa

        if self._writer is not None:
            self._writer.close()
            self._writer = None
            self._file.flush()
        mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        reader = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(mapped)))
        return [reader.get_batch(i) for i in range(reader.num_record_batches)]

    def close(self) -> None:
        """Give the file up; what is mapped stays readable."""
        with suppress(OSError):
            self._file.close()


def _batch(rows: list[Outcome]) -> pa.RecordBatch:
    import pyarrow as pa

    columns: list[tuple[str, pa.DataType, list[object]]] = [
        ("path", pa.string(), [_shown(row.path) for row in rows]),
        ("StudyInstanceUID", pa.string(), [_shown(row.study or None) for row in rows]),
        ("SeriesInstanceUID", pa.string(), [_shown(row.series or None) for row in rows]),
        ("SOPInstanceUID", pa.string(), [_shown(row.instance or None) for row in rows]),
        ("status", pa.string(), [str(row.status) for row in rows]),
        ("reason", pa.string(), [_shown(row.reason or None) for row in rows]),
        ("bytes", pa.int64(), [row.size for row in rows]),
    ]
    schema = pa.schema([(name, kind) for name, kind, _ in columns])
    return pa.RecordBatch.from_arrays(
        [pa.array(values, kind) for _, kind, values in columns], schema=schema
    )


def _shown(text: str | None) -> str | None:
    """A text that Arrow takes: bytes of a file's name that are no Unicode become escapes."""
    if text is None or text.isascii():
        return text
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")
