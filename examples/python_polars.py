"""The same with polars, which takes the rows in the buffers that they came in.

python examples/python_polars.py
"""

from __future__ import annotations

import polars as pl
from python_store import store

import dicomsql

JOINED = """
    SELECT arm, PatientID, StudyDate
    FROM google.healthcare.studies JOIN cohort USING (PatientID) ORDER BY arm
"""


def main() -> None:
    cohort = pl.DataFrame({"PatientID": ["1CT1", "4MR1", "nobody"], "arm": ["a", "b", "b"]})
    with store() as place, dicomsql.connect(**place) as connection:
        cursor = connection.cursor()
        print(cursor.adbc_ingest("cohort", cohort), "rows loaded")
        print(cursor.execute(JOINED).pl())


if __name__ == "__main__":
    main()
