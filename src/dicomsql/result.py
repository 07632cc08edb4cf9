"""A statement's result: columns, Arrow batches, statistics and messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dicomsql.errors import alone

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(slots=True)
class ScanStatistics:
    """What one table of a statement cost. Names and numbers, no values.

    Attributes:
        name: of the plan's scan.
        resource: its full name.
        alias: the query's name for it.
        requests: HTTP calls that were made for it, attempts included.
        bytes_received: bytes of their answers, decoded.
        from_cache: answers that were kept from before.
        rows: rows that it gave.
        expected: rows that it will give as far as metrics tell, which lag; None where none did.
        searches, searched: lists and searches that it consists of, and those that were read.
        pictures: it consists of pictures, of which each is a search.
        decided: sentences on what was decided once the statement ran.
    """

    name: str
    resource: str
    alias: str
    requests: int = 0
    bytes_received: int = 0
    from_cache: int = 0
    rows: int = 0
    expected: int | None = None
    searches: int = 0
    searched: int = 0
    pictures: bool = False
    decided: list[str] = field(default_factory=list)

    def decide(self, what: str) -> None:
        """Put down what was decided, once."""
        if what not in self.decided:
            self.decided.append(what)


@dataclass(slots=True)
class Statistics:
    """What a statement cost.

    Attributes:
        requests: HTTP calls that were made, attempts included.
        repeated: those of them that were made again, since the one before did not succeed.
        bytes_received: bytes of their answers, decoded.
        from_cache: answers that were kept from before, which were not asked for.
        pages: pages of lists and searches.
        seconds: time from the start of the execution to its last row.
        notes: sentences for people, such as what was skipped.
        scans: the parts of this that single tables took, in the order in which they were read.
        rows_of: the scan whose rows are those of the result, if there is one.
    """

    requests: int = 0
    repeated: int = 0
    bytes_received: int = 0
    from_cache: int = 0
    pages: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    scans: list[ScanStatistics] = field(default_factory=list)
    rows_of: str = ""

    @property
    def expected(self) -> int | None:
        """Rows that the result will have, as far as metrics tell; None where nothing tells."""
        scan = self.scan(self.rows_of)
        return scan.expected if scan is not None else None

    def scan(self, name: str) -> ScanStatistics | None:
        """What the table of a scan cost so far; None where there is none of that name."""
        return next((s for s in self.scans if s.name == name), None)


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """A result's column: its name and its SQL type as DuckDB spells it (`VARCHAR`, `JSON`, ...).

    A value of a JSON column is text in the Arrow batches.
    """

    name: str
    type: str


class Result:
    """The rows of one statement, read once.

    Parameters:
        schema: of the batches; without one they are texts.

    Attributes:
        columns: None for a statement that gives no rows (then `batches` gives nothing).
        rows: the rows themselves where they came without Arrow (SHOW, EXPLAIN); else None.
        message: a sentence about what was done, for statements without rows; may be empty.
        affected: rows that a write wrote; -1 where the statement was no write.
        statistics: grows while the batches are read.
        summary: what was done in numbers, for programs; None where there is no more to say than
            the rows do.
        failure: what makes the statement fail all the same once its rows are written; None where
            it did not.
        of_note: a column and its value in the rows that a person has to see, where `message` counts
            the others; None where all are to be seen.
    """

    def __init__(
        self,
        columns: tuple[ResultColumn, ...] | None,
        batches: Iterator[pa.RecordBatch],
        *,
        schema: pa.Schema | None = None,
        rows: tuple[tuple[object, ...], ...] | None = None,
        message: str = "",
        affected: int = -1,
        statistics: Statistics | None = None,
        close: Callable[[], None] | None = None,
        cancel: Callable[[], None] | None = None,
        summary: Mapping[str, object] | None = None,
        failure: Exception | None = None,
        of_note: tuple[str, str] | None = None,
    ) -> None:
        self.columns = columns
        self._schema = schema
        self.rows = rows
        self.message = message
        self.affected = affected
        self.statistics = statistics if statistics is not None else Statistics()
        self.summary = summary
        self.failure = failure
        self.of_note = of_note
        self._batches = batches
        self._close = close
        self._cancel = cancel
        self._texts_given = False

    @property
    def schema(self) -> pa.Schema | None:
        """The Arrow schema of the batches, known before there is one; None without columns."""
        if self._schema is None and self.columns is not None:
            self._schema = _text_batch(self.columns, ()).schema
        return self._schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows as Arrow record batches, as they come in; after the last, all is closed."""
        return _Batches(self)

    def next_batch(self) -> pa.RecordBatch | None:
        """The next batch that `batches` gives; None at the end."""
        batch = None
        try:
            if self.rows is not None and self.columns is not None and not self._texts_given:
                self._texts_given = True
                batch = _text_batch(self.columns, self.rows)
            else:
                with alone():
                    batch = next(self._batches, None)
        finally:
            if batch is None:
                self.close()
        return batch

    def close(self) -> None:
        """Stop what still runs for this result; may be called again."""
        close, self._close = self._close, None
        if close is not None:
            close()

    def cancel(self) -> None:
        """Stop the statement, from another thread: who reads its rows gets a CancelledError."""
        if self._cancel is not None:
            self._cancel()


class _Batches:
    """The rows of a result that is still read.

    No generator, which would close the result when it is collected as garbage: that may happen in
    a thread that holds the very locks that closing needs. Who drops a result closes it before.
    """

    def __init__(self, result: Result) -> None:
        self._result = result

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self

    def __next__(self) -> pa.RecordBatch:
        batch = self._result.next_batch()
        if batch is None:
            raise StopIteration
        return batch


def _text_batch(
    columns: tuple[ResultColumn, ...], rows: tuple[tuple[object, ...], ...]
) -> pa.RecordBatch:
    import pyarrow as pa

    arrays = [pa.array([row[i] for row in rows], pa.string()) for i in range(len(columns))]
    return pa.RecordBatch.from_arrays(arrays, names=[c.name for c in columns])
