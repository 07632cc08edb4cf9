"""A result that is still read while its session is asked for other statements."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from dicomsql.errors import CancelledError, Error, InterfaceError, OperationalError

if TYPE_CHECKING:
    from dicomsql.session.stopping import Stop

# Bytes of a result that are kept in memory when it has to give way; what is beyond goes to a file.
_KEPT = 16_000_000


class OpenResult:
    """The rows of a statement, which may have to be kept before they are read.

    Safe for many threads. Of several that read, each gets other rows.

    Attributes:
        stop: of the statement.

    Parameters:
        source: gives the record batches, from the engine or from servers.
        end: frees what the statement uses; called once.
        folder: gives the folder for what does not fit into memory.
        check_process: raises InterfaceError in a process that was forked.
    """

    def __init__(
        self,
        source: Iterator[Any],
        stop: Stop,
        end: Callable[[], None],
        folder: Callable[[], Path],
        check_process: Callable[[], None],
    ) -> None:
        self._source = source
        self.stop = stop
        self._end: Callable[[], None] | None = end
        self._folder = folder
        self._check_process = check_process
        self._lock = threading.RLock()
        self._kept: deque[Any] = deque()
        self._error: Exception | None = None
        self._closed = False
        self._at_end = False
        # Who read last, and when; None while a read is on its way.
        self._reader: threading.Thread | None = None
        self._read_at: float | None = 0.0

    def is_read_by_another(self, patience: float) -> bool:
        """Whether another thread than this one is at reading it, one that a program waits for.

        Args:
            patience: seconds within which one who reads reads on.
        """
        reader, at = self._reader, self._read_at
        if self._closed or reader is None or reader.daemon or reader is threading.current_thread():
            return False
        return reader.is_alive() and (at is None or time.monotonic() - at < patience)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        """The next batch, from the source or from what was kept of it.

        Raises:
            CancelledError: the statement was stopped.
            InterfaceError: the process was forked from the one whose result it is.
            Error: what the source, or its keeping, raised.
        """
        self._check_process()
        with self._lock:
            self._reader, self._read_at = threading.current_thread(), None
            try:
                return self._next()
            finally:
                self._read_at = time.monotonic()

    def _next(self) -> Any:
        if self._at_end:
            raise StopIteration
        if self.stop.cancelled:
            raise CancelledError("The statement was cancelled.")
        if self._closed:
            # By another than who reads: its end is not that of the rows.
            raise InterfaceError("The result was closed before its end.")
        while self._kept:
            first = self._kept[0]
            if not isinstance(first, _SpoolFile):
                return self._kept.popleft()
            if (batch := first.next()) is not None:
                return batch
            self._kept.popleft().close()
        if self._error is not None:
            raise self._error
        batch = next(self._source, None)
        if batch is None:
            self._at_end = True
            raise StopIteration
        return batch

    def spool(self, stop: Stop) -> None:
        """Keep the rest of the rows; an error among them is that of who reads them.

        Args:
            stop: of who cannot wait for them any longer, so that the rest stays where it is.

        Raises:
            CancelledError: that one was stopped.
        """
        with self._lock:
            if self._closed:
                return
            try:
                self._keep(stop)
            except OSError as error:
                self._error = OperationalError(
                    "A result that another statement had to wait for cannot be kept on disk: "
                    f"{error.strerror or type(error).__name__}. Read or close results first."
                )
            except Error as error:
                self._error = error
            if stop.cancelled:
                raise CancelledError("The statement was cancelled.")
            self._source = iter(())
            self._free()

    def _keep(self, stop: Stop) -> None:
        kept = 0
        file: _SpoolFile | None = None
        try:
            while not stop.cancelled and (batch := next(self._source, None)) is not None:
                kept += batch.nbytes
                if kept <= _KEPT:
                    self._kept.append(batch)
                    continue
                if file is None:
                    file = _SpoolFile(self._folder(), batch.schema)
                    self._kept.append(file)
                file.write(batch)
        finally:
            if file is not None:
                file.end()

    def close(self) -> None:
        """Stop what still runs for the result; may be called again."""
        try:
            self._check_process()
        except InterfaceError:
            return
        with self._lock:
            self._closed = True
            while self._kept:
                kept = self._kept.popleft()
                if isinstance(kept, _SpoolFile):
                    kept.close()
            self._source = iter(())
            self._free()

    def _free(self) -> None:
        # Under the lock: who waits to spool it may use the engine only after that.
        end, self._end = self._end, None
        if end is not None:
            end()


class _SpoolFile:
    """Batches in a file without a name, which goes with the process at the latest."""

    def __init__(self, folder: Path, schema: Any) -> None:
        import tempfile

        import pyarrow as pa

        # It is open for as long as its rows are to be read.
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._writer: Any = pa.ipc.new_stream(self._file, schema)
        self._reader: Any = None

    def write(self, batch: Any) -> None:
        self._writer.write_batch(batch)

    def end(self) -> None:
        """All has been written."""
        import pyarrow as pa

        self._writer.close()
        self._file.seek(0, os.SEEK_SET)
        self._reader = pa.ipc.open_stream(self._file)

    def next(self) -> Any:
        """The next batch; None at the end."""
        try:
            return self._reader.read_next_batch()
        except StopIteration:
            return None

    def close(self) -> None:
        self._file.close()
