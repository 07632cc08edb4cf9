"""The suite that SQLAlchemy has for the dialects of others; changes stand in docs/sqlalchemy.md."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, Integer, String, Table
from sqlalchemy.testing.suite import *  # noqa: F403
from sqlalchemy.testing.suite import AutocommitIsolationTest as _AutocommitIsolationTest
from sqlalchemy.testing.suite import ComponentReflectionTest as _ComponentReflectionTest
from sqlalchemy.testing.suite import ComponentReflectionTestExtra as _ComponentReflectionTestExtra
from sqlalchemy.testing.suite import CTETest as _CTETest
from sqlalchemy.testing.suite import IsolationLevelTest as _IsolationLevelTest
from sqlalchemy.testing.suite import JoinTest as _JoinTest
from sqlalchemy.testing.suite import LongNameBlowoutTest as _LongNameBlowoutTest
from sqlalchemy.testing.suite import TrueDivTest as _TrueDivTest

_LENGTHS = "the engine keeps no lengths of texts"


class AutocommitIsolationTest(_AutocommitIsolationTest):
    @pytest.mark.skip("it asks a second engine for the first one's tables")
    def test_dialect_autocommit_is_restored(self) -> None: ...


class IsolationLevelTest(_IsolationLevelTest):
    @pytest.mark.skip("it needs two levels besides AUTOCOMMIT")
    def test_dialect_user_setting_is_restored(self) -> None: ...


class ComponentReflectionTest(_ComponentReflectionTest):
    @pytest.mark.skip(_LENGTHS)
    def test_reflect_table_temp_table(self) -> None: ...


class ComponentReflectionTestExtra(_ComponentReflectionTestExtra):
    @pytest.mark.skip(_LENGTHS)
    def test_string_length_reflection(self) -> None: ...


class CTETest(_CTETest):
    @classmethod
    def define_tables(cls, metadata) -> None:  # type: ignore[no-untyped-def]
        """The suite's tables without the key that a table has of itself; see the documentation."""
        for name in ("some_table", "some_other_table"):
            Table(
                name,
                metadata,
                Column("id", Integer, primary_key=True),
                Column("data", String(50)),
                Column("parent_id", Integer),
            )


class JoinTest(_JoinTest):
    # Rows that refer to each other's cannot be deleted in one transaction; the tests only read.
    run_inserts = "once"
    run_deletes = None


class LongNameBlowoutTest(_LongNameBlowoutTest):
    @pytest.mark.skip("the engine keeps no names of constraints")
    def test_long_convention_name(self) -> None: ...


class TrueDivTest(_TrueDivTest):
    _DIVISION = "the engine divides decimals as it does all numbers, in binary"

    @pytest.mark.skip(_DIVISION)
    def test_truediv_numeric(self) -> None: ...

    @pytest.mark.skip(_DIVISION)
    def test_truediv_divisor(self) -> None: ...
