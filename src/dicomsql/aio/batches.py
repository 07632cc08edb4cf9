"""Arrow batches of a cursor, awaited one by one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["AsyncBatches"]


class AsyncBatches:
    """The rows that are left of a statement as Arrow batches, which come as they are read.

    Attributes:
        schema: of the batches.
    """

    def __init__(
        self,
        reader: pa.RecordBatchReader,
        run: Callable[[Callable[[], pa.RecordBatch | None]], Awaitable[pa.RecordBatch | None]],
    ) -> None:
        self.schema: pa.Schema = reader.schema
        self._reader = reader
        self._run = run

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> pa.RecordBatch:
        """The next batch.

        Raises:
            Error: what the statement raises while its rows come in.
            InterfaceError: the cursor has gone on, or was closed.
        """
        batch = await self._run(self._next)
        if batch is None:
            raise StopAsyncIteration
        return batch

    def _next(self) -> pa.RecordBatch | None:
        # A StopIteration would be lost between the threads.
        return next(iter(self._reader), None)
