"""Runs a `FileScan`: local files whose headers are read become batches of a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from dicomsql.dicom.columns import column
from dicomsql.errors import InternalError
from dicomsql.files.find import find
from dicomsql.files.table import Fact, FileTable
from dicomsql.planning.read_plan import ColumnKind

if TYPE_CHECKING:
    from dicomsql.dicom.columns import AttributeColumn
    from dicomsql.execution.run import Run
    from dicomsql.planning.read_plan import FileScan, ScanColumn


class FileRunner:
    """The batches of a file scan, read as they are pulled.

    Attributes:
        error: what ended the scan, kept because the engine only passes its text on.

    Raises:
        InterfaceError: one of the paths matches no file.
    """

    def __init__(self, run: Run, scan: FileScan) -> None:
        self._run = run
        self._tells = any(
            c.kind is ColumnKind.FILE and c.source == Fact.ERROR for c in scan.columns
        )
        # The engine's tables need a column, whichever: the rows are what counts then.
        self._table = FileTable(
            find(scan.paths),
            [_column(c) for c in scan.columns] or [Fact.PATH],
            [c.name for c in scan.columns] or [Fact.PATH],
            run.check,
        )
        self.error: BaseException | None = None

    def reader(self) -> pa.RecordBatchReader:
        """The batches as an Arrow reader, which the engine pulls."""
        return pa.RecordBatchReader.from_batches(self._table.schema, self.batches())

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, in the order of the files."""
        try:
            yield from self._table.batches()
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = error
            raise
        finally:
            self._note()

    def table(self) -> pa.Table:
        """All rows."""
        return pa.Table.from_batches(self.batches(), self._table.schema)

    def close(self) -> None:
        """Stop reading; may be called again."""
        self._table.close()

    def _note(self) -> None:
        problems = self._table.problems
        if problems and not self._tells:
            self._run.note(
                f"{problems:,} of the files that read_dicom matched are no DICOM files, or could"
                " not be read: their columns are NULL, and its column `error` says why."
            )


def _column(scanned: ScanColumn) -> AttributeColumn | Fact:
    if scanned.kind is ColumnKind.FILE:
        return Fact(scanned.source)
    found = column(scanned.source)
    if found is None:
        raise InternalError(f"{scanned.source} is no column of local files.")
    return found
