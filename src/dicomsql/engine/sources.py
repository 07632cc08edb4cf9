"""Arrow readers as tables of one connection, each read once.

To make a table and to take it away again costs more than a small query, so what DuckDB has is a box
that gives it a reader, and the next reader of the same columns may be put into the same box.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicomsql.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import duckdb
    import pyarrow as pa

__all__ = ["Sources"]


class Sources:
    """The readers that a connection has as tables. Its methods run where the connection does.

    Parameters:
        connection: gives the connection.
        lasting: a box stays when its reader is taken away. `sweep` takes it away before any other
            statement could see it.
    """

    def __init__(
        self, connection: Callable[[], duckdb.DuckDBPyConnection], *, lasting: bool
    ) -> None:
        self._connection = connection
        self._lasting = lasting
        self._boxes: dict[str, _Box] = {}
        self._used: set[str] = set()

    def put(self, name: str, reader: pa.RecordBatchReader) -> bool:
        """Put a reader into the box of that name, if there is one of its columns.

        Nothing is asked of DuckDB. Returns whether there is such a box.
        """
        box = self._boxes.get(name)
        if box is None or not box.schema.equals(reader.schema, check_metadata=True):
            return False
        box.put(reader)
        self._used.add(name)
        return True

    def make(self, name: str, data: pa.Table | pa.RecordBatchReader) -> None:
        """Make data a table of that name."""
        import pyarrow as pa

        self._boxes.pop(name, None)
        if isinstance(data, pa.Table):
            self._connection().register(name, data)
            return
        box = _Box(name, data)
        self._connection().register(name, box)
        self._boxes[name] = box
        self._used.add(name)

    def take(self, name: str) -> bool:
        """Take the reader out of a box that stays; whether it does."""
        box = self._boxes.get(name)
        if box is None:
            return False
        box.empty()
        self._used.discard(name)
        if not self._lasting:
            del self._boxes[name]
        return self._lasting

    def sweep(self) -> None:
        """Take away what no statement uses: the next one is not to find it."""
        if len(self._boxes) == len(self._used):
            return
        for name in self._unused():
            self._connection().unregister(name)
            del self._boxes[name]

    def failure(self) -> InternalError | None:
        """What is wrong with how a reader was read; None where nothing is."""
        again = next((n for n, box in self._boxes.items() if box.asked_again), None)
        if again is None:
            return None
        return InternalError(
            f"The engine reads {again} twice, though its rows come once: the statement is stopped, "
            "since some would be missing."
        )

    def _unused(self) -> Iterator[str]:
        yield from [name for name in self._boxes if name not in self._used]


class _Box:
    """Gives DuckDB a reader, once; it has the Arrow PyCapsule interface.

    Attributes:
        schema: of every reader that may be put here.
        asked_again: the reader was asked for after it had been given.
    """

    def __init__(self, name: str, reader: pa.RecordBatchReader) -> None:
        self.schema = reader.schema
        self.asked_again = False
        self._name = name
        self._reader: pa.RecordBatchReader | None = reader

    def put(self, reader: pa.RecordBatchReader) -> None:
        self._reader = reader
        self.asked_again = False

    def empty(self) -> None:
        self._reader = None
        self.asked_again = False

    def __arrow_c_schema__(self) -> object:
        return self.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        reader, self._reader = self._reader, None
        if reader is None:
            self.asked_again = True
            raise LookupError(f"{self._name} was read already")
        return reader.__arrow_c_stream__(requested_schema)
