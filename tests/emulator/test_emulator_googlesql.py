"""The answers of GoogleSQL's functions in the emulator, against those of BigQuery's reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dicomsql.emulator.neighbours.base import Column, NeighbourError
from dicomsql.emulator.neighbours.cells import cells
from dicomsql.emulator.neighbours.query import Question, in_duckdb, parse
from dicomsql.emulator.neighbours.running import answer
from dicomsql.emulator.neighbours.tables import Snapshot

# What BigQuery's reference of functions and operators says: the value as the API writes it, and
# the type of the column.
ANSWERS = (Path(__file__).parent / "fixtures" / "googlesql.txt").read_text("utf-8")

FAILING = """
1 / 0
DIV(1, 0)
MOD(1, 0)
9223372036854775807 + 1
CAST('1.5' AS INT64)
CAST('1_000' AS INT64)
CAST('yes' AS BOOL)
CAST('2020-02-30' AS DATE)
CAST('2020/01/02' AS DATE)
CAST(1e30 AS INT64)
SQRT(-1)
LN(0)
POW(0, -1)
EXP(1000)
SUBSTR('apple', 1, -1)
LEFT('apple', -1)
REPEAT('x', 2000000000)
LPAD('x', 2000000000)
GENERATE_ARRAY(1, 100000000)
GENERATE_ARRAY(1, 2, 0)
[1][OFFSET(5)]
[1][OFFSET(-1)]
[1][ORDINAL(0)]
'abc'[OFFSET(1)]
CAST(1.0 AS STRING)
CAST(TIMESTAMP '2020-01-01 00:00:00.12+00' AS STRING)
SUM(x) FROM UNNEST([9223372036854775807, 1]) AS x
ARRAY_AGG(x) FROM UNNEST([1, NULL]) AS x
DATE_DIFF(TIMESTAMP '2020-01-01', 5, DAY)
DATE '2020-01-02' - DATE '2020-01-01'
1 - (-9223372036854775807)
"""

REFUSED = """
FORMAT('%d', 1)                                | FORMAT
TO_JSON_STRING(1)                              | TO_JSON_STRING
INITCAP('a')                                   | INITCAP
REVERSE('a')                                   | REVERSE
FARM_FINGERPRINT('x')                          | FARM_FINGERPRINT
IEEE_DIVIDE(1, 0)                              | IEEE_DIVIDE
read_text('/etc/passwd')                       | READ_TEXT
getenv('HOME')                                 | GETENV
google_at([1], 0, 1, TRUE)                     | GOOGLE_AT
SAFE.SUBSTR('a', 1)                            | SAFE
TRUNC(1.25, 1)                                 | TRUNC
CURRENT_DATE('Asia/Tokyo')                     | CURRENT_DATE
EXTRACT(HOUR FROM CURRENT_TIMESTAMP() AT TIME ZONE 'Asia/Tokyo') | AT TIME ZONE
EXTRACT(TIME FROM CURRENT_TIMESTAMP())         | EXTRACT
DATE '2020-01-01' + INTERVAL 1 DAY             | INTERVAL
TIMESTAMP_TRUNC(CURRENT_TIMESTAMP(), WEEK)     | TIMESTAMP_TRUNC
FORMAT_DATE('%Q', DATE '2020-01-01')           | format
PARSE_DATE('%d %b', '1 Jan')                   | PARSE_DATE
CAST(1 AS STRING FORMAT '9')                   | CAST
CAST(1 AS BIGNUMERIC)                          | CAST
REGEXP_EXTRACT('a', '(a)(b)')                  | REGEXP_EXTRACT
'a' LIKE ANY ('a', 'b')                        | TUPLE
1 << 2                                         | LEFT SHIFT
STRUCT(1, 2)                                   | STRUCT
x FROM UNNEST([1]) AS x WITH OFFSET AS o       | UNNEST
ARRAY_AGG(x LIMIT 1) FROM UNNEST([1]) AS x     | LIMIT
CAST('1' AS NUMERIC) / 3                       | NUMERIC
AVG(CAST('1' AS NUMERIC))                      | NUMERIC
x FROM d.t TABLESAMPLE SYSTEM (10 PERCENT)     | samples
AS STRUCT 1 AS a                               | kind
"""


def lines(table: str) -> list[list[str]]:
    """Its rows; what is after the last bars stands there as it is."""
    return [[part.strip() for part in row.rsplit(" | ")] for row in table.strip().splitlines()]


def ask(place: Path, *expressions: str) -> list[tuple[str | None, str]]:
    """The value and the type of each expression; one that has a FROM is a query of its own."""
    selected = [
        f"(SELECT {text}) AS c{n}" if " FROM UNNEST" in text else f"{text} AS c{n}"
        for n, text in enumerate(expressions)
    ]
    sql = "SELECT " + (", ".join(selected) if len(expressions) > 1 else expressions[0])
    file = place / "answer"
    file.touch()
    columns, _ = answer(parse(Question(sql, "p")), {}, file, dry=False)
    import pyarrow.parquet as pq

    (row,) = cells(columns, pq.read_table(file), "ISO8601_STRING")[:1]
    return [(cell["v"], column.type) for cell, column in zip(row["f"], columns, strict=True)]


def test_what_bigquery_answers(tmp_path: Path) -> None:
    rows = [row if len(row) == 3 else [row[0], "", row[-1]] for row in lines(ANSWERS)]
    alone = (" FROM (", "ORDER BY", "NUMERIC")
    single = [row for row in rows if any(text in row[0] for text in alone)]
    found = {text: ask(tmp_path, text)[0] for text, _, _ in single}
    plain = [text for text, _, _ in rows if text not in found]
    found |= dict(zip(plain, ask(tmp_path, *plain), strict=True))
    wrong = [
        (text, found[text], (value or None, kind))
        for text, value, kind in rows
        if found[text][1] != kind or (found[text][0] or "").strip() != value
    ]
    assert wrong == []


@pytest.mark.parametrize("text", FAILING.strip().splitlines())
def test_what_bigquery_fails_at_fails(text: str, tmp_path: Path) -> None:
    with pytest.raises(NeighbourError) as caught:
        ask(tmp_path, text)
    assert caught.value.status == "INVALID_ARGUMENT"


@pytest.mark.parametrize(("text", "name"), lines(REFUSED))
def test_what_is_not_known_is_refused_by_its_name(text: str, name: str) -> None:
    with pytest.raises(NeighbourError, match=name) as caught:
        in_duckdb(parse(Question(f"SELECT {text}", "p")), {})
    assert caught.value.status == "UNIMPLEMENTED"


def test_numbers_of_columns_are_not_divided_as_decimals(tmp_path: Path) -> None:
    columns = (Column("n", "NUMERIC"), Column("r", "RECORD", "REPEATED", (Column("i", "INTEGER"),)))
    with pytest.raises(NeighbourError, match="NUMERIC"):
        in_duckdb(parse(Question("SELECT n / 2 FROM d.t", "p")), {"table 0": columns})
    held: dict[str, Any] = {"table 0": Snapshot(columns, (), ({"n": "1.5"}, {"n": "2"}))}
    file = tmp_path / "answer"
    file.touch()
    found, rows = answer(parse(Question("SELECT SUM(n) AS n FROM d.t", "p")), held, file, dry=False)
    assert (found, rows) == ((Column("n", "NUMERIC"),), 1)


def test_what_failed_is_said_without_values(tmp_path: Path) -> None:
    with pytest.raises(NeighbourError, match="division by zero"):
        ask(tmp_path, "1 / 0")
    with pytest.raises(NeighbourError) as caught:
        ask(tmp_path, "JSON_VALUE('google: Doe^Jane', '$.a')")
    assert "Doe" not in caught.value.message
