"""Results: when they are closed."""

from __future__ import annotations

import pyarrow as pa
import pytest

from dicomsql.result import Result, ResultColumn

BATCH = pa.RecordBatch.from_arrays([pa.array([1])], names=["a"])


def result(batches: object, closed: list[bool]) -> Result:
    columns = (ResultColumn("a", "BIGINT"),)
    return Result(columns, iter(batches), close=lambda: closed.append(True))  # type: ignore[call-overload]


def test_it_is_closed_after_its_last_row() -> None:
    closed: list[bool] = []
    assert list(result([BATCH, BATCH], closed).batches()) == [BATCH, BATCH]
    assert closed == [True]


def test_it_is_closed_by_an_error_among_its_rows() -> None:
    closed: list[bool] = []

    def rows() -> object:
        yield BATCH
        raise OSError("gone")

    reading = result(rows(), closed).batches()
    assert next(reading) == BATCH
    with pytest.raises(OSError, match="gone"):
        next(reading)
    assert closed == [True]


def test_rows_that_are_dropped_close_nothing() -> None:
    # The collector of garbage drops them where closing might wait for itself.
    closed: list[bool] = []
    read = result([BATCH, BATCH], closed)
    reading = read.batches()
    next(reading)
    del reading
    assert closed == []
