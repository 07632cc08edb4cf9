"""Harlequin's adapter, connection and cursor on the DB-API's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from harlequin import HarlequinAdapter, HarlequinConnection, HarlequinCursor
from harlequin.catalog import Catalog
from harlequin.exception import HarlequinConnectionError, HarlequinQueryError
from harlequin.transaction_mode import HarlequinTransactionMode

import dicomsql
from dicomsql.errors import CancelledError
from dicomsql.integrations.harlequin.catalog import catalog_of
from dicomsql.integrations.harlequin.completions import completions_of
from dicomsql.integrations.harlequin.labels import short
from dicomsql.integrations.harlequin.options import OPTIONS, connect_arguments

if TYPE_CHECKING:
    import pyarrow as pa
    from harlequin.autocomplete import HarlequinCompletion

__all__ = ["Adapter", "Connection", "Cursor"]


class Adapter(HarlequinAdapter):
    """Opens connections. Its options are those of `dicomsql.connect` that fit a command line.

    A write that loses or bills something needs consent as ever: `SET allow_writes = n`.
    """

    ADAPTER_OPTIONS = OPTIONS
    IMPLEMENTS_CANCEL = True
    ADAPTER_DETAILS = "SQL over Google Cloud Healthcare DICOM stores and DICOMweb servers."

    def __init__(self, conn_str: Sequence[str], read_only: bool = False, **options: Any) -> None:  # noqa: ARG002 - this adapter does not declare to read only
        self._arguments = connect_arguments(conn_str, options)

    def connect(self) -> Connection:
        """Open a connection; nothing is sent.

        Raises:
            HarlequinConnectionError: an option does not fit.
        """
        try:
            connection = dicomsql.connect(**self._arguments, autocommit=True)
        except dicomsql.Error as error:
            raise HarlequinConnectionError(str(error), "dicomsql cannot connect.") from error
        return Connection(connection, self._arguments)


class Connection(HarlequinConnection):
    """Executes statements, each on a cursor of its own."""

    def __init__(
        self, connection: dicomsql.Connection, place: dict[str, Any], init_message: str = ""
    ) -> None:
        self.init_message = init_message
        self._connection = connection
        self._place = place
        self._modes = (
            HarlequinTransactionMode("Auto"),
            HarlequinTransactionMode("Manual", self._commit, self._rollback),
        )

    def execute(self, query: str) -> Cursor | None:
        """Execute one statement; None where it gives no rows, or was cancelled.

        Raises:
            HarlequinQueryError: the statement fails.
        """
        with _told("dicomsql cannot run the statement."):
            cursor = self._connection.cursor().execute(query)
            if cursor.description is not None:
                return Cursor(cursor)
            cursor.close()
        return None

    def cancel(self) -> None:
        """Stop the statements that run."""
        self._connection.cancel()

    def get_catalog(self) -> Catalog:
        """The providers, and the tables of the engine; what is in them is asked for as it shows."""
        with _told("dicomsql cannot read its catalog."):
            return catalog_of(self._connection, self._place)

    def get_completions(self) -> list[HarlequinCompletion]:
        """The engine's functions, and the columns of DICOM tables; what is unfolded is there too.

        Harlequin asks once, for all statements.
        """
        with _told("dicomsql cannot list what can be completed."):
            return completions_of(self._connection)
        return []

    @property
    def transaction_mode(self) -> HarlequinTransactionMode:
        """Whether changes of local tables are committed by themselves; calls are done at once."""
        return self._modes[not self._connection.autocommit]

    def toggle_transaction_mode(self) -> HarlequinTransactionMode:
        """Go over to the other mode; what was not committed is."""
        with _told("dicomsql cannot commit."):
            if self._connection.in_transaction:
                self._connection.commit()
            self._connection.autocommit = not self._connection.autocommit
        return self.transaction_mode

    def _commit(self) -> None:
        with _told("dicomsql cannot commit."):
            self._connection.commit()

    def _rollback(self) -> None:
        with _told("dicomsql cannot roll all of it back."):
            self._connection.rollback()

    def close(self) -> None:
        """Free sockets and threads."""
        self._connection.close()


class Cursor(HarlequinCursor):
    """The rows of one statement."""

    def __init__(self, cursor: dicomsql.Cursor) -> None:
        self._cursor = cursor
        self._columns = [(d[0], short(d[1])) for d in cursor.description or ()]
        self._limit: int | None = None

    def columns(self) -> list[tuple[str, str]]:
        """Names and short types."""
        return self._columns

    def set_limit(self, limit: int) -> Cursor:
        """Fetch so many rows at most; pages beyond them are not asked for."""
        self._limit = limit
        return self

    def fetchall(self) -> pa.Table | None:
        """The rows, as Arrow has them; with no rows, a table of none; None where it was cancelled.

        Raises:
            HarlequinQueryError: the statement fails while its rows come in.
        """
        import pyarrow as pa

        with _told("dicomsql cannot fetch the rows."), self._cursor:
            if self._limit is None:
                return self._cursor.fetch_arrow_table()
            reader = self._cursor.fetch_record_batch()
            return pa.Table.from_batches(_first(reader, self._limit), reader.schema)
        return None


def _first(reader: pa.RecordBatchReader, rows: int) -> Iterator[pa.RecordBatch]:
    """Batches with the first so many rows."""
    while rows > 0:
        batch = next(iter(reader), None)
        if batch is None:
            return
        yield batch.slice(0, rows)
        rows -= batch.num_rows


@contextmanager
def _told(title: str) -> Iterator[None]:
    """Tell errors as Harlequin shows them; it says by itself that it has cancelled something."""
    try:
        yield
    except CancelledError:
        return
    except dicomsql.Error as error:
        raise HarlequinQueryError(str(error), title) from error
