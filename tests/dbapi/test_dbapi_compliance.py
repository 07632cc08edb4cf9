"""The public suite for PEP 249 (the package dbapi-compliance) against local tables."""

from __future__ import annotations

import unittest
from typing import Any

import dbapi20
import pytest

import dicomsql


class TestCompliance(dbapi20.DatabaseAPI20Test):
    """What is overridden says why; the suite asks its users to override two tests outright."""

    driver = dicomsql
    # Local tables are in memory and go with their connection, so that nothing is left to drop.
    connect_kw_args: dict[str, Any] = {}  # noqa: RUF012 - the suite's own name and kind
    # No procedure takes and gives back positional values: methods have named parameters
    # (test_callproc_calls_a_method). Without a name the suite's test calls none.
    lower_func = ""

    def tearDown(self) -> None:
        """Nothing: see `connect_kw_args`."""

    # The suite has none of its own; a text of several statements gives several sets of rows.
    def test_nextset(self) -> None:
        with dicomsql.connect() as connection:
            cursor = connection.cursor()
            self.executeDDL1(cursor)
            for sql in self._populate():
                cursor.execute(sql)
            table = f"{self.table_prefix}booze"
            cursor.execute(f"SELECT count(*) FROM {table}; SELECT name FROM {table}")
            assert cursor.fetchone() == (len(self.samples),)
            assert cursor.nextset()
            assert sorted(name for (name,) in cursor.fetchall()) == sorted(self.samples)
            assert cursor.nextset() is None

    # The suite has none of its own: values come whole, whatever was said of their size.
    def test_setoutputsize(self) -> None:
        with dicomsql.connect() as connection:
            cursor = connection.cursor()
            cursor.setoutputsize(2)
            cursor.setoutputsize(2, 0)
            assert cursor.execute("SELECT 'longer'").fetchone() == ("longer",)

    # Closing twice is no error: PEP 249 does not ask for one, and `with` may come after `close`.
    def test_non_idempotent_close(self) -> None:
        connection = dicomsql.connect()
        connection.close()
        connection.close()


def test_what_the_suite_runs_is_all_of_it() -> None:
    names = unittest.defaultTestLoader.getTestCaseNames(TestCompliance)
    assert names == unittest.defaultTestLoader.getTestCaseNames(dbapi20.DatabaseAPI20Test)
    assert len(names) >= 35
    overridden = {name for name in vars(TestCompliance) if name.startswith("test_")}
    assert overridden == {"test_nextset", "test_setoutputsize", "test_non_idempotent_close"}


@pytest.mark.parametrize("name", ["lower_func", "lowerfunc"])
def test_the_suite_still_has_the_names_that_are_set(name: str) -> None:
    assert hasattr(dbapi20.DatabaseAPI20Test, name)
