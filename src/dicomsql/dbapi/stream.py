"""The rows of one statement, given out once: as tuples, or as Arrow batches as they are.

A batch is asked for when its first row is, no sooner: the first rows come before the last page, and
memory holds a few batches. Rows that were not all given out are never taken for all of them: who
asks once they are gone is told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from operator import length_hint
from typing import TYPE_CHECKING, Any, TypeVar

from dicomsql.dbapi.rows import TupleRow
from dicomsql.dbapi.values import columns_of
from dicomsql.errors import Error, InterfaceError
from dicomsql.session.turns import Turn

if TYPE_CHECKING:
    import pyarrow as pa

    from dicomsql.result import Result

__all__ = ["Stream", "one_at_a_time"]

_T = TypeVar("_T")

_BROKEN_OFF = "The rows were broken off before their end. Execute the statement again."


@contextmanager
def one_at_a_time(busy: Turn) -> Iterator[None]:
    """Refuse what another thread does with a cursor at the same time.

    Raises:
        InterfaceError: another thread is at it.
    """
    if busy.is_mine:
        raise InterfaceError("The cursor is used already by what is done to its rows.")
    with busy.taken(lambda: True) as mine:
        if not mine:
            raise InterfaceError(
                "Another thread uses this cursor right now. Threads may share a connection: let "
                "each make a cursor of its own."
            )
        yield


class Stream:
    """What is left of a statement's rows.

    Parameters:
        result: of a statement that gives rows.
        busy: is held while rows are asked for.

    Attributes:
        columns: of the rows.
        was_handed_over: another package has read some of the rows as an Arrow stream.

    Raises, from every method that gives rows: what the statement raises while it runs, each time;
    InterfaceError where the rows are gone.
    """

    def __init__(self, result: Result, busy: Turn) -> None:
        assert result.columns is not None
        self._result = result
        self.columns = result.columns
        self.was_handed_over = False
        self._busy = busy
        self._batches = result.batches()
        # The batch that `_rows` is of, and those that were only looked at.
        self._batch: pa.RecordBatch | None = None
        self._ahead: deque[pa.RecordBatch] = deque()
        self._rows: Iterator[TupleRow] = iter(())
        self._given = 0
        self._at_end = False
        self._failure: Error | None = None

    @property
    def position(self) -> int:
        """How many rows were given out."""
        return self._given - length_hint(self._rows)

    @property
    def at_hand(self) -> int:
        """How many rows can be given out one by one without waiting."""
        return length_hint(self._rows)

    def one(self, make: Callable[[TupleRow], Any] | None) -> Any:
        """The next row as `make` makes it, or None where there is none.

        Where `make`, or a value that Python does not have, fails, no row is taken.
        """
        try:
            if self._busy.is_taken:
                with one_at_a_time(self._busy):
                    pass
            while True:
                row = next(self._rows, None)
                if row is not None:
                    return row if make is None else self._made(row, make)
                with one_at_a_time(self._busy):
                    if not self._load():
                        return None
        except BaseException as error:
            self._break_off(error)
            raise

    def take(self, most: int | None, make: Callable[[TupleRow], Any] | None) -> list[Any]:
        """The next rows, at most so many (None for all), each as `make` makes it.

        Where `make`, or a value that Python does not have, fails, no row is taken.
        """
        taken: list[Any] = []
        with one_at_a_time(self._busy):
            start, rest, loaded = self.position, self._left(), list[Any]()
            try:
                while most is None or len(taken) < most:
                    rows = self._rows if most is None else islice(self._rows, most - len(taken))
                    before = len(taken)
                    taken.extend(rows if make is None else map(make, rows))
                    if len(taken) == before:
                        if not self._load():
                            break
                        loaded.append(self._batch)
            except Exception:
                self._rows, self._given = iter(()), start
                self._ahead.extendleft(reversed([*([] if rest is None else [rest]), *loaded]))
                raise
            except BaseException as error:
                self._break_off(error)
                raise
        return taken

    def skip(self, rows: int) -> int:
        """Pass over rows, of which nothing is made; how many there were."""
        skipped = 0
        with one_at_a_time(self._busy):
            try:
                skipped = sum(1 for _ in islice(self._rows, rows))
                while skipped < rows and (batch := self._pull()) is not None:
                    here = min(rows - skipped, batch.num_rows)
                    if here < batch.num_rows:
                        self._ahead.appendleft(batch.slice(here))
                    self._given += here
                    skipped += here
            except BaseException as error:
                self._break_off(error)
                raise
        return skipped

    def whole(self, make: Callable[[pa.Table], _T]) -> _T:
        """What `make` makes of all the rows that are left; where it fails, no row is taken."""
        import pyarrow as pa

        schema, start = self.schema(), self.position
        taken: list[pa.RecordBatch] = []
        try:
            taken.extend(self.batches())
            return make(pa.Table.from_batches(taken, schema))
        except Exception:
            self._ahead.extendleft(reversed(taken))
            self._given = start
            raise
        except BaseException as error:
            self._break_off(error)
            raise

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rest as Arrow batches, in the buffers that the result gave."""
        while True:
            try:
                with one_at_a_time(self._busy):
                    batch = self._rest()
                    if batch is None:
                        batch = self._pull()
                        self._given += batch.num_rows if batch is not None else 0
            except BaseException as error:
                self._break_off(error)
                raise
            if batch is None:
                return
            yield batch

    def schema(self) -> pa.Schema:
        """The schema of those batches."""
        schema = self._result.schema
        assert schema is not None
        return schema

    def peek(self, rows: int) -> list[pa.RecordBatch]:
        """The next rows, at least so many if there are, which are still to be given out."""
        with one_at_a_time(self._busy):
            return self._look(rows)

    def end(self, why: str) -> None:
        """Stop what still runs; who asks for further rows is told why there are none."""
        if not self._at_end or length_hint(self._rows) or self._ahead:
            self._failure = self._failure or InterfaceError(why)
        self._rows, self._batch = iter(()), None
        self._ahead.clear()
        self._result.close()

    # -- inside ----------------------------------------------------------------------------------

    def _load(self) -> bool:
        """Make the next batch the one whose rows are given out."""
        batch = self._pull()
        if batch is None:
            return False
        # A batch whose values Python does not have can still be had as Arrow.
        self._ahead.appendleft(batch)
        rows = list(zip(*columns_of(self.columns, batch), strict=True))
        self._batch = self._ahead.popleft()
        self._rows = iter(rows)
        self._given += len(rows)
        return True

    def _made(self, row: TupleRow, make: Callable[[TupleRow], Any]) -> Any:
        """What is made of the row that was just taken."""
        try:
            return make(row)
        except Exception:
            left = length_hint(self._rows) + 1
            assert self._batch is not None
            self._ahead.appendleft(self._batch.slice(self._batch.num_rows - left))
            self._rows = iter(())
            self._given -= left
            raise

    def _rest(self) -> pa.RecordBatch | None:
        """What is left of the batch whose rows are given out; it counts as given out."""
        rest = self._left()
        self._rows = iter(())
        return rest

    def _left(self) -> pa.RecordBatch | None:
        left = length_hint(self._rows)
        if not left or self._batch is None:
            return None
        return self._batch.slice(self._batch.num_rows - left)

    def _look(self, rows: int) -> list[pa.RecordBatch]:
        """Batches with at least so many rows, if there are, which stay where they are."""
        left = self._left()
        seen = [*([] if left is None else [left]), *self._ahead]
        while sum(batch.num_rows for batch in seen) < rows:
            batch = self._receive()
            if batch is None:
                break
            self._ahead.append(batch)
            seen.append(batch)
        return seen

    def _pull(self) -> pa.RecordBatch | None:
        """The next batch of which no row was given out; None at the end."""
        return self._ahead.popleft() if self._ahead else self._receive()

    def _receive(self) -> pa.RecordBatch | None:
        """The next batch that comes in; None at the end."""
        if self._failure is not None:
            raise self._failure
        if self._at_end:
            return None
        try:
            batch = next(self._batches, None)
        except Error as error:
            # What came before is not all there is, however often one asks.
            self._failure = error
            raise
        except BaseException:
            self._failure = InterfaceError(_BROKEN_OFF)
            raise
        self._at_end = batch is None
        return batch

    def _break_off(self, error: BaseException) -> None:
        """After Ctrl-C nobody knows which rows were given out: nobody gets what is left for all."""
        if isinstance(error, Exception):
            return
        self._failure = self._failure or InterfaceError(_BROKEN_OFF)
        self._rows, self._batch = iter(()), None
        self._ahead.clear()
