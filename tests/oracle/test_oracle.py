"""Generated queries give, over a server, what DuckDB gives over the same datasets read directly."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle_queries import Maker, Query
from oracle_worlds import ORTHANC_QUERIES, PROFILE, QUERIES, World, plain_rows, rows_of

# The tests of each part cover what these run; tracing would take as long as the queries.
pytestmark = pytest.mark.no_cover

# A kind of query each, so that one that fails does not hide the others.
KINDS = ("columns", "groups", "newest", "joins", "memberships")


@pytest.mark.parametrize("kind", KINDS)
def test_the_emulator(emulator_world: World, emulator_maker: Maker, kind: str) -> None:
    _check(emulator_world, emulator_maker.queries(kind), QUERIES // len(KINDS))


@pytest.mark.interop
@pytest.mark.parametrize("kind", KINDS)
def test_orthanc(orthanc_world: World, orthanc_maker: Maker, kind: str) -> None:
    _check(orthanc_world, orthanc_maker.queries(kind), ORTHANC_QUERIES // len(KINDS))


def _check(world: World, queries: st.SearchStrategy[Query], number: int) -> None:
    run: Callable[[], None] = settings(PROFILE, max_examples=number)(given(queries)(world.check))
    run()


@pytest.mark.parametrize("table", ["studies", "series", "instances"])
def test_the_usual_columns_have_their_types(emulator_world: World, table: str) -> None:
    """What a star shows is named and typed as in the oracle's tables, wherever those have it."""
    columns, types = {}, dict(emulator_world.columns(f"SELECT * FROM {table}"))
    for name, kind, *_ in plain_rows(emulator_world.oracle, f"DESCRIBE {table}"):
        columns[name] = kind
    both = columns.keys() & types.keys()
    assert len(both) >= 5
    assert {n: types[n] for n in both} == {n: columns[n] for n in both}


def test_all_rows_are_there(emulator_world: World) -> None:
    for table in ("studies", "series", "instances"):
        sql = f"SELECT count(*) FROM {table}"
        assert rows_of(emulator_world.session, sql) == plain_rows(emulator_world.oracle, sql)
