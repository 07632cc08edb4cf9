"""The types as a user's type checker sees them: mypy, strict, over a file of users' code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

GOOD = """
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, assert_type

import dicomsql


@dataclass
class Study:
    PatientID: str
    NumberOfStudyRelatedInstances: int


def upper(cursor: dicomsql.Cursor[Any], /) -> Callable[[tuple[Any, ...]], str]:
    return lambda values: str(values[0]).upper()


with dicomsql.connect(local=True, project="p", timeout=3, autocommit=True) as connection:
    assert_type(connection, dicomsql.Connection)
    cursor = connection.cursor()
    assert_type(cursor.execute("SELECT 1", [1]).fetchone(), tuple[Any, ...] | None)
    assert_type(cursor.fetchmany(2), list[tuple[Any, ...]])
    studies = connection.cursor(row_factory=dicomsql.class_row(Study))
    studies.execute("SELECT ?", {"a": 1})
    assert_type(studies.fetchone(), Study | None)
    for study in studies:
        assert_type(study.PatientID, str)
    assert_type(connection.cursor(row_factory=upper).fetchall(), list[str])
    named = connection.cursor(row_factory=dicomsql.namedtuple_row).fetchall()
    assert_type(named[0].count(1), int)
    rows: int = cursor.adbc_ingest("t", object(), mode="append")
    assert_type(cursor.description is None, bool)
    assert_type(cursor.callproc("a.b.c.d", {"x": 1}), dict[str, object])

by_name = dicomsql.connect(row_factory=dicomsql.dict_row)
assert_type(by_name, dicomsql.Connection[dict[str, Any]])
assert_type(by_name.execute("SELECT 1").fetchall(), list[dict[str, Any]])
assert_type(by_name.cursor(row_factory=dicomsql.tuple_row).fetchall(), list[tuple[Any, ...]])


def count(connection: dicomsql.Connection, cursor: dicomsql.Cursor) -> int:
    try:
        return len(cursor.fetchall())
    except (connection.OperationalError, dicomsql.DataError):
        return 0


async def awaited() -> None:
    async with dicomsql.aio.connect(row_factory=dicomsql.dict_row, project="p") as connection:
        assert_type(connection, dicomsql.aio.AsyncConnection[dict[str, Any]])
        cursor = await connection.execute("SELECT 1")
        assert_type(await cursor.fetchone(), dict[str, Any] | None)
        async for row in connection.cursor(row_factory=dicomsql.tuple_row):
            assert_type(row, tuple[Any, ...])
    other = await dicomsql.aio.connect()
    async with other.execute("SELECT ?", [1]) as opened:
        assert_type(await opened.fetchall(), list[tuple[Any, ...]])
"""
# What each line is not, in the words of mypy.
BAD = {
    'dicomsql.connect(endpont="x")': "endpont",
    'dicomsql.connect(timeout="long")': "connect",
    'dicomsql.aio.connect(endpont="x")': "endpont",
    'dicomsql.connect().execute("SELECT ?", 3)': "execute",
    'dicomsql.connect().cursor().adbc_ingest("t", 1, mode="upsert")': "adbc_ingest",
    "len(dicomsql.connect(row_factory=dicomsql.dict_row).cursor().fetchone())": "len",
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What mypy says of the good code with the bad lines behind it."""
    folder = tmp_path_factory.mktemp("typed")
    bad = "\n".join(BAD)
    (folder / "users_code.py").write_text(f"{GOOD}\n{bad}\n", encoding="utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--no-error-summary"),
            *("--cache-dir", str(folder / "cache"), "users_code.py"),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert not done.stderr
    return [line for line in done.stdout.splitlines() if ": error:" in line]


def test_good_code_is_good(found: list[str]) -> None:
    first = len(GOOD.splitlines()) + 1
    assert [line for line in found if int(line.split(":")[1]) <= first] == []


@pytest.mark.parametrize("line", BAD)
def test_bad_code_is_found(found: list[str], line: str) -> None:
    number = len(GOOD.splitlines()) + 2 + list(BAD).index(line)
    (said,) = [one for one in found if int(one.split(":")[1]) == number]
    assert BAD[line] in said


def test_the_package_says_that_it_is_typed() -> None:
    import dicomsql

    assert Path(dicomsql.__file__).with_name("py.typed").is_file()
