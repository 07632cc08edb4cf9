"""Local files as a table: one row a file, its attributes and what the system knows of it.

Every column is what the file alone makes it, whichever others are asked for: an attribute's value
is there if it stands before the place where a file is damaged, and `error` is about the whole file.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from enum import StrEnum
from itertools import islice

import pyarrow as pa

from dicomsql.dicom.columns import AttributeColumn, Part
from dicomsql.dicom.decode import Decoder
from dicomsql.dicom.skim import EVERYTHING, Chosen, choose
from dicomsql.errors import CancelledError
from dicomsql.files.local import LocalFile
from dicomsql.files.work import Done, Task, work
from dicomsql.files.workers import Workers
from dicomsql.waiting import result_of

__all__ = ["Fact", "FileTable"]


class Fact(StrEnum):
    """What a column holds that is no attribute."""

    PATH = "path"  # as people wrote it; names the file and no other
    SIZE = "size"
    DIGEST = "digest"  # SHA-256
    ERROR = "error"  # why the file is no whole instance


_TYPES = {Fact.SIZE: pa.int64()}

# Seconds of reading after which processes are started: they take a quarter of that to begin.
_PATIENCE = 0.4
# Files that one process gets at a time; with their digests, only as many as have so many bytes.
_FILES, _BYTES = 64, 64_000_000
# Rows of a batch: few at first, for those who want to see some.
_FEW, _MANY = 64, 2048


class FileTable:
    """The rows of some files, read as they are taken; in processes where that takes a while.

    Args:
        files: in the order of the rows.
        columns: of the table, in their order.
        names: of the columns.
        check: is called between files; what it raises ends the reading.
        patience: seconds of reading after which processes are started.

    Attributes:
        schema: of the batches.
        problems: files that could not be read so far, or are no DICOM files.
    """

    def __init__(
        self,
        files: Iterable[LocalFile],
        columns: Sequence[AttributeColumn | Fact],
        names: Sequence[str],
        check: Callable[[], None] = lambda: None,
        patience: float = _PATIENCE,
    ) -> None:
        self._files = iter(files)
        self._columns = tuple(columns)
        self._check = check
        self._patience = patience
        attributes = [column for column in columns if isinstance(column, AttributeColumn)]
        self._decoder = Decoder(attributes) if attributes else None
        self._task = Task(_chosen(attributes), Fact.ERROR in columns, Fact.DIGEST in columns)
        self._workers: Workers | None = None
        self._closed = False
        self.problems = 0
        types = (
            column.arrow_type if isinstance(column, AttributeColumn) else _type(column)
            for column in columns
        )
        self.schema = pa.schema(list(zip(names, types, strict=True)))

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, in the order of the files.

        Raises: what finding the files raises, and `check`.
        """
        rows, size = _Rows(), _FEW
        try:
            for files, done in self._done():
                rows.add(files, done)
                self.problems += sum(map(bool, done.problems))
                if len(rows.files) >= size:
                    yield self._batch(rows)
                    rows, size = _Rows(), min(2 * size, _MANY)
            if rows.files:
                yield self._batch(rows)
        finally:
            self.close()

    def close(self) -> None:
        """End what still reads; may be called again, and by another thread."""
        self._closed = True
        workers, self._workers = self._workers, None
        if workers is not None:
            workers.close()

    def _done(self) -> Iterator[tuple[list[LocalFile], Done]]:
        """Files and what was read of them."""
        began = time.monotonic()
        pieces = self._pieces()
        for files in pieces:
            self._go_on()
            yield files, work(self._task, files)
            if time.monotonic() - began > self._patience and not self._task.is_nothing:
                break
        self._workers = workers = Workers()
        under_way: deque[tuple[list[LocalFile], Future[Done]]] = deque()
        for files in pieces:
            self._go_on()
            under_way.append((files, workers.submit(self._task, files)))
            if len(under_way) > 3 * workers.count:
                first, future = under_way.popleft()
                yield first, result_of(future)
        while under_way:
            self._go_on()
            first, future = under_way.popleft()
            yield first, result_of(future)

    def _go_on(self) -> None:
        self._check()
        if self._closed:
            # Another thread may have done so before there were workers to close.
            self.close()
            raise CancelledError("The statement was cancelled.")

    def _pieces(self) -> Iterator[list[LocalFile]]:
        """The files, as many together as are read at once."""
        if not self._task.digest:
            while files := list(islice(self._files, _FILES)):
                yield files
            return
        files, size = [], 0
        for file in self._files:
            files.append(file)
            size += file.size
            if len(files) == _FILES or size > _BYTES:
                yield files
                files, size = [], 0
        if files:
            yield files

    def _batch(self, rows: _Rows) -> pa.RecordBatch:
        attributes: Iterator[pa.Array] = iter(())
        if self._decoder is not None:
            body = b"[" + b",".join(rows.datasets) + b"]"
            attributes = iter(self._decoder.decode(body).columns)
        arrays = [
            next(attributes) if isinstance(column, AttributeColumn) else rows.fact(column)
            for column in self._columns
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


class _Rows:
    """What was read of files whose rows are to be one batch."""

    def __init__(self) -> None:
        self.files: list[LocalFile] = []
        self.datasets: list[bytes] = []
        self._problems: list[str] = []
        self._digests: list[str | None] = []

    def add(self, files: Sequence[LocalFile], done: Done) -> None:
        self.files += files
        self.datasets.append(done.datasets)
        self._problems += done.problems
        self._digests += done.digests

    def fact(self, fact: Fact) -> pa.Array:
        values: Iterable[object]
        match fact:
            case Fact.PATH:
                values = (file.address for file in self.files)
            case Fact.SIZE:
                values = (None if file.problem else file.size for file in self.files)
            case Fact.DIGEST:
                values = self._digests
            case Fact.ERROR:
                values = (problem or None for problem in self._problems)
        return pa.array(values, _type(fact))


def _type(fact: Fact) -> pa.DataType:
    return _TYPES.get(fact, pa.string())


def _chosen(attributes: Sequence[AttributeColumn]) -> Chosen | None:
    """The elements that columns are made of."""
    if not attributes:
        return None
    chosen = choose(
        [column.tag for column in attributes if column.tag],
        [column.element[0] for column in attributes if column.creator],
    )
    if any(column.part is Part.UTC for column in attributes):
        chosen = chosen.also(choose([_OFFSET]))
    if any(column.part is Part.DATASET for column in attributes):
        chosen = chosen.also(EVERYTHING)
    return chosen


# TimezoneOffsetFromUTC
_OFFSET = "00080201"
