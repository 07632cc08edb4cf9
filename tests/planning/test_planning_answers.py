"""Answers over the store have to be those over plain tables of the same rows."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from planning_hospital import Hospital

FIXTURE = Path(__file__).parent / "fixtures" / "answers.sql"
QUERIES = [
    line
    for line in FIXTURE.read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("--")
]
_TABLE = re.compile(r"\b(FROM|JOIN|PIVOT)( \(?)(studies|series|instances)\b")

Same = Callable[[str], None]


@pytest.fixture(scope="module")
def same(hospital: Hospital, oracle: duckdb.DuckDBPyConnection) -> Iterator[Same]:
    """Checks that a query gives the same rows in both worlds, in whatever order."""
    hospital.rows("USE google.healthcare")

    def check(sql: str) -> None:
        expected = sorted(repr(plain(row)) for row in oracle.sql(sql).fetchall())
        whole = _TABLE.sub(r"\1\2google.healthcare.\3", sql)
        for text in dict.fromkeys((sql, whole)):
            assert sorted(repr(plain(row)) for row in hospital.rows(text)) == expected, text

    yield check
    hospital.session._parts.current.use = ()


def plain(value: Any) -> Any:
    """A value without what Arrow and DuckDB's own results spell differently."""
    if isinstance(value, dict):
        return plain(list(value.items()))
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value


@pytest.mark.parametrize("sql", QUERIES)
def test_the_answer_is_that_of_plain_tables(same: Same, sql: str) -> None:
    same(sql)


# -- made queries --------------------------------------------------------------------------------

COLUMNS = {
    "studies": ("StudyInstanceUID", "PatientID", "PatientSex", "AccessionNumber", "StudyDate"),
    "series": ("StudyInstanceUID", "SeriesInstanceUID", "Modality", "PatientID", "SeriesNumber"),
    "instances": ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "Modality", "Rows"),
}
VALUES = {
    "StudyInstanceUID": ("'1.2.1'", "'1.2.3'", "'1.2.11'", "'9.9'", "NULL"),
    "SeriesInstanceUID": ("'1.2.3.1'", "'1.2.3.2'", "'1.2.6.1'", "''"),
    "SOPInstanceUID": ("'1.2.3.1.1'", "'1.2.6.1.2'"),
    "PatientID": ("'123'", "'00123'", "'P*5'", "'p-3'", "'O''Neil'"),
    "PatientSex": ("'F'", "'M'", "NULL"),
    "AccessionNumber": ("'A003'", "'A011'", "''"),
    "Modality": ("'CT'", "'MR'", "'XX'"),
    "StudyDate": ("'2026-01-07'", "'2026-02-03'", "DATE '2026-03-11'"),
    "SeriesNumber": ("1", "2", "3"),
    "Rows": ("1", "512"),
}
JOINS = ("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "SEMI JOIN", "ANTI JOIN")


class Maker:
    """Makes queries over the three levels from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def query(self) -> str:
        one = self._random.choice
        if self._random.random() < 0.15:
            kind = one(("UNION", "UNION ALL", "EXCEPT", "INTERSECT"))
            return f"{self._uids()} {kind} {self._uids()}"
        if self._random.random() < 0.2:
            return (
                f"WITH c AS ({self._uids()}) SELECT count(*), min(u) FROM c WHERE {self._inner()}"
            )
        left, right = one(list(COLUMNS)), one(list(COLUMNS))
        kind = one(JOINS)
        shared = [c for c in COLUMNS[left] if c in COLUMNS[right] and c.endswith("UID")]
        key = one(shared)
        extra = f" AND {self._predicate(one(('a', 'b')), left, right)}" if one((0, 1)) else ""
        source = f"{left} a {kind} {right} b ON a.{key} = b.{key}{extra}"
        narrow = kind in {"SEMI JOIN", "ANTI JOIN"}
        sides = ("a",) if narrow else ("a", "b")
        where = " AND ".join(
            self._predicate(one(sides), left, right) for _ in range(self._random.randrange(3))
        )
        tables = {"a": left, "b": right}
        shown = [f"{s}.{one(COLUMNS[tables[s]])}" for s in sides]
        if one((0, 0, 1)):
            shown = [shown[0], "count(*)"]
            return f"SELECT {', '.join(shown)} FROM {source} WHERE {where or 'true'} GROUP BY ALL"
        return f"SELECT {', '.join(shown)} FROM {source} WHERE {where or 'true'}"

    def _uids(self) -> str:
        table = self._random.choice(list(COLUMNS))
        where = self._predicate("t", table, table)
        return f"SELECT t.StudyInstanceUID AS u FROM {table} t WHERE {where}"

    def _inner(self) -> str:
        negation = self._random.choice(("", "NOT "))
        return f"u {negation}IN ({self._uids()})"

    def _predicate(self, alias: str, left: str, right: str) -> str:
        one = self._random.choice
        column = one(COLUMNS[right if alias == "b" else left])
        name = f"{alias}.{column}"
        values = VALUES[column]
        first, second = one(values), one(values)
        return one(
            (
                f"{name} = {first}",
                f"{first} = {name}",
                f"{name} <> {first}",
                f"{name} IN ({first}, {second})",
                f"{name} NOT IN ({first}, {second})",
                f"({name} = {first} OR {name} = {second})",
                f"NOT ({name} = {first})",
                f"{name} >= {first}",
                f"{name} BETWEEN {first} AND {second}",
                f"{name} IS NULL",
                f"coalesce({name} = {first}, true)",
                f"{alias}.StudyInstanceUID IN (SELECT StudyInstanceUID FROM series WHERE "
                f"Modality = {one(VALUES['Modality'])})",
                f"EXISTS (SELECT 1 FROM series x WHERE x.StudyInstanceUID = "
                f"{alias}.StudyInstanceUID AND x.Modality = {one(VALUES['Modality'])})",
            )
        )


@pytest.mark.parametrize("seed", range(30))
def test_made_queries_give_the_answer_of_plain_tables(same: Same, seed: int) -> None:
    maker = Maker(seed)
    for _ in range(3):
        same(maker.query())
