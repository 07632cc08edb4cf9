"""Row factories, and what a row's values are in Python."""

from __future__ import annotations

import datetime
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

import dicomsql


@pytest.fixture(scope="module")
def connection() -> Iterator[dicomsql.Connection]:
    with dicomsql.connect() as connection:
        yield connection


@dataclass
class Point:
    x: int
    y: int = 5


def test_rows_as_dictionaries_tuples_and_objects(connection: dicomsql.Connection) -> None:
    sql = "SELECT 1 AS x, 2 AS y"
    cursor = connection.cursor(row_factory=dicomsql.dict_row)
    assert cursor.execute(sql).fetchone() == {"x": 1, "y": 2}
    named: Any = connection.cursor(row_factory=dicomsql.namedtuple_row).execute(sql).fetchone()
    assert (named.x, named.y, named) == (1, 2, (1, 2))
    points = connection.cursor(row_factory=dicomsql.class_row(Point))
    assert points.execute(sql).fetchall() == [Point(1, 2)]
    assert points.execute("SELECT 3 AS x UNION ALL SELECT 4 ORDER BY 1").fetchmany(5) == [
        Point(3),
        Point(4),
    ]
    assert list(points.execute(sql)) == [Point(1, 2)]


def test_a_factory_of_ones_own_and_another_for_the_next_rows() -> None:
    def joined(cursor: dicomsql.Cursor[Any], /) -> Callable[[tuple[Any, ...]], str]:
        return lambda values: "-".join(map(str, values))

    with dicomsql.connect(row_factory=joined) as connection:
        cursor = connection.execute("SELECT i, i * 2 FROM range(3) AS r(i)")
        assert cursor.fetchone() == "0-0"
        again: Any = cursor
        again.row_factory = dicomsql.tuple_row
        assert again.fetchall() == [(1, 2), (2, 4)]
        # Each result has rows of its own shape.
        kept = connection.cursor(row_factory=dicomsql.dict_row)
        assert kept.execute("SELECT 1 AS a").fetchone() == {"a": 1}
        assert kept.execute("SELECT 1 AS b").fetchone() == {"b": 1}


@pytest.mark.parametrize("factory", [dicomsql.dict_row, dicomsql.class_row(Point)])
def test_two_columns_of_one_name_lose_nothing(
    connection: dicomsql.Connection, factory: Any
) -> None:
    cursor: Any = connection.cursor(row_factory=factory).execute("SELECT 1 AS x, 2 AS x")
    with pytest.raises(dicomsql.ProgrammingError, match="Two columns are called x"):
        cursor.fetchall()
    cursor.row_factory = dicomsql.namedtuple_row
    assert cursor.fetchone()._fields == ("x", "_1")


@pytest.mark.parametrize(
    ("sql", "said"), [("SELECT 1 AS x, 2 AS z", "'z'"), ("SELECT 1 AS y", "'x'")]
)
def test_columns_that_do_not_make_the_class(
    connection: dicomsql.Connection, sql: str, said: str
) -> None:
    cursor = connection.cursor(row_factory=dicomsql.class_row(Point)).execute(sql)
    with pytest.raises(dicomsql.ProgrammingError, match=f"do not make a Point: .*{said}"):
        cursor.fetchone()


PLUS_2 = datetime.timezone(datetime.timedelta(hours=2))

# What each type of the engine is in Python, and which type objects it equals.
VALUES: list[tuple[str, object, object]] = [
    ("1::HUGEINT", 1, dicomsql.NUMBER),
    ("99999999999999999999999999999999999999::HUGEINT", 10**38 - 1, dicomsql.NUMBER),
    ("99999999999999999999999999999999999999::UHUGEINT", 10**38 - 1, dicomsql.NUMBER),
    ("[1::HUGEINT]", [1], dicomsql.NESTED),
    ("{'a': [1::UHUGEINT]}", {"a": [1]}, dicomsql.NESTED),
    ("(-5)::BIGNUM", -5, dicomsql.NUMBER),
    ("100000000000000000000000000000000000000000::BIGNUM", 10**41, dicomsql.NUMBER),
    ("1.50::DECIMAL(18, 2)", Decimal("1.50"), dicomsql.NUMBER),
    ("[1.5::DECIMAL(18, 1)]", [Decimal("1.5")], dicomsql.NESTED),
    ("true", True, dicomsql.NUMBER),
    ("'101'::BIT", "101", dicomsql.STRING),
    ("'0101010101'::BIT", "0101010101", dicomsql.STRING),
    ("['101'::BIT]", ["101"], dicomsql.NESTED),
    (
        "TIMETZ '10:11:12.5-02:30'",
        datetime.time(10, 11, 12, 500_000, datetime.timezone(datetime.timedelta(hours=-2.5))),
        dicomsql.TIME,
    ),
    ("'x'::BLOB", b"x", dicomsql.BINARY),
    ("'a'::ENUM('a', 'b)[]')", "a", dicomsql.STRING),
    ("'{\"a\":1}'::JSON", '{"a":1}', dicomsql.STRING),
    ("NULL", None, dicomsql.STRING),
    ("DATE '2024-02-29'", datetime.date(2024, 2, 29), dicomsql.DATE),
    ("DATE '0001-01-01'", datetime.date(1, 1, 1), dicomsql.DATETIME),
    ("TIME '10:11:12.000013'", datetime.time(10, 11, 12, 13), dicomsql.TIME),
    ("TIME_NS '10:11:12.000013'", datetime.time(10, 11, 12, 13), dicomsql.TIME),
    (
        "TIMESTAMP '1924-02-29 10:11:12.000013'",
        datetime.datetime(1924, 2, 29, 10, 11, 12, 13),
        dicomsql.TIMESTAMP,
    ),
    ("TIMESTAMP_S '2024-02-29 10:11:12'", datetime.datetime(2024, 2, 29, 10, 11, 12), None),
    ("TIMESTAMP_MS '2024-02-29 10:11:12'", datetime.datetime(2024, 2, 29, 10, 11, 12), None),
    ("TIMESTAMP_NS '2024-02-29 10:11:12'", datetime.datetime(2024, 2, 29, 10, 11, 12), None),
    (
        "TIMESTAMPTZ '2024-02-29 10:11:12+02'",
        datetime.datetime(2024, 2, 29, 8, 11, 12, tzinfo=datetime.UTC),
        dicomsql.TIMESTAMP,
    ),
    ("INTERVAL 3 DAY", (0, 3, 0), dicomsql.DATETIME),
    ("[1, NULL]", [1, None], dicomsql.NESTED),
    ("array_value(1, 2)", [1, 2], dicomsql.NESTED),
    ("MAP {'a': 1}", [("a", 1)], dicomsql.NESTED),
    ("(1, 2)", {"element1": 1, "element2": 2}, dicomsql.NESTED),
    # Parts of others are what they are alone.
    ("[100000000000000000000000000000000000000000::BIGNUM]", [10**41], dicomsql.NESTED),
    (
        "{'h': 1::HUGEINT, 'a \"b,(': [10::DECIMAL(5, 0), NULL]}",
        {"h": 1, 'a "b,(': [Decimal(10), None]},
        dicomsql.NESTED,
    ),
    ("(1::HUGEINT, 2::DECIMAL(3,0))", {"element1": 1, "element2": Decimal(2)}, dicomsql.NESTED),
    ("MAP {1::UHUGEINT: [TIME '10:11:12']}", [(1, [datetime.time(10, 11, 12)])], dicomsql.NESTED),
    ("[['10:11:12+02'::TIMETZ]]", [[datetime.time(10, 11, 12, tzinfo=PLUS_2)]], dicomsql.NESTED),
    (
        "{'a': TIMESTAMPTZ '2024-02-29 10:11:12+02', 'e': 'x'::ENUM('x', 'y(,')}",
        {"a": datetime.datetime(2024, 2, 29, 8, 11, 12, tzinfo=datetime.UTC), "e": "x"},
        dicomsql.NESTED,
    ),
    (
        "[TIMESTAMP_NS '2024-02-29 10:11:12.000013']",
        [datetime.datetime(2024, 2, 29, 10, 11, 12, 13)],
        dicomsql.NESTED,
    ),
    ("array_value(1::HUGEINT, NULL)", [1, None], dicomsql.NESTED),
    ("union_value(a := 7::HUGEINT)", 7, dicomsql.NESTED),
]
FAMILIES = (
    *(dicomsql.STRING, dicomsql.BINARY, dicomsql.NUMBER, dicomsql.DATETIME, dicomsql.NESTED),
    dicomsql.ROWID,
)


@pytest.mark.parametrize(("sql", "value", "kind"), VALUES, ids=[v[0] for v in VALUES])
def test_values_and_type_codes(
    connection: dicomsql.Connection, sql: str, value: object, kind: object
) -> None:
    cursor = connection.execute(f"SELECT {sql} AS x FROM range(1)")
    assert cursor.description is not None
    code = cursor.description[0][1]
    assert code == (kind or dicomsql.TIMESTAMP)
    assert sum(code == family for family in FAMILIES) == 1
    (row,) = cursor.fetchall()
    assert row == (value,)
    assert type(row[0]) is type(value) or sql.startswith("INTERVAL")


def test_every_type_of_the_engine_is_of_one_family(connection: dicomsql.Connection) -> None:
    names = connection.execute("SELECT DISTINCT logical_type FROM duckdb_types()").fetchall()
    strays = [
        name
        for (name,) in names
        if sum((name if name != "NULL" else '"NULL"') == family for family in FAMILIES) != 1
    ]
    assert strays == []


@pytest.mark.parametrize(
    "sql",
    [
        *("DATE 'infinity'", "DATE '20000-01-01'", "DATE '0001-01-01 (BC)'"),
        *("TIMESTAMP '20000-01-01 00:00:00'", "TIMESTAMP_NS '2020-01-01 00:00:00.000000001'"),
        "TIME_NS '10:00:00.000000001'",
        *("TIME '24:00:00'", "[TIME '24:00:00']", "{'a': [TIME '24:00:00']}"),
        *("MAP {1: TIME '24:00:00'}", "union_value(a := TIME '24:00:00')"),
        *("[TIMESTAMP_NS '2020-01-01 00:00:00.000000001']", "(1, DATE 'infinity')"),
    ],
)
def test_values_that_python_has_none_for(connection: dicomsql.Connection, sql: str) -> None:
    cursor = connection.execute(f"SELECT {sql} AS x")
    for _ in range(2):
        with pytest.raises(dicomsql.DataError, match=r"Column x \(.*Take the rows as Arrow"):
            cursor.fetchall()
    assert cursor.fetch_arrow_table().num_rows == 1


def test_parts_of_slices_and_of_nothing(connection: dicomsql.Connection) -> None:
    sql = """
        SELECT CASE WHEN i % 3 > 0 THEN [i::HUGEINT, NULL] END AS l,
            CASE WHEN i % 3 > 0 THEN {'a': i::HUGEINT} END AS s,
            CASE WHEN i % 3 > 0 THEN MAP {i: i::HUGEINT} END AS m,
            CASE WHEN i % 2 = 0 THEN union_value(n := i::HUGEINT)
                ELSE 'x'::UNION(n HUGEINT, v VARCHAR) END AS u,
            CASE WHEN i % 3 > 0 THEN array_value(i::HUGEINT, 1) END AS f
        FROM range(7) t(i)
    """
    cursor = connection.execute(sql)
    assert cursor.fetchmany(3)[0] == (None, None, None, 0, None)
    batches = list(cursor.fetch_record_batch())
    from dicomsql.dbapi.values import columns_of
    from dicomsql.result import ResultColumn

    assert cursor.description is not None
    columns = [ResultColumn(d[0], d[1]) for d in cursor.description]
    rows = [row for b in batches for row in zip(*columns_of(columns, b), strict=True)]
    assert rows[0] == (None, None, None, "x", None)
    assert rows[1] == ([4, None], {"a": 4}, [(4, 4)], 4, [4, 1])
    assert rows[3] == (None, None, None, 6, None)


def test_rows_can_be_pickled_and_what_gives_them_cannot(connection: dicomsql.Connection) -> None:
    cursor = connection.cursor(row_factory=dicomsql.namedtuple_row)
    row: Any = cursor.execute('SELECT 1 AS a, 2 AS "b c"').fetchone()
    again = pickle.loads(pickle.dumps(row))
    assert (again, again.a, again._1, type(again)) == (row, 1, 2, type(row))
    for each in (connection, cursor):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(each)
