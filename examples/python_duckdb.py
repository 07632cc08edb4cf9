"""Rows in a DuckDB of one's own: a cursor is a table there, by its name.

python examples/python_duckdb.py
"""

from __future__ import annotations

import duckdb
from python_store import store

import dicomsql

SERIES = "SELECT PatientID, Modality, NumberOfSeriesRelatedInstances FROM google.healthcare.series"


def main() -> None:
    with store() as place, dicomsql.connect(**place) as connection, duckdb.connect() as mine:
        mine.execute("CREATE TABLE scanners AS SELECT * FROM (VALUES ('CT', 1), ('MR', 2)) s(m, n)")
        series = connection.execute(SERIES)  # noqa: F841 - DuckDB finds it by its name
        rows = mine.execute(
            "SELECT n, Modality, PatientID FROM series JOIN scanners ON m = Modality ORDER BY n"
        ).fetchall()
        for row in rows:
            print(*row)


if __name__ == "__main__":
    main()
