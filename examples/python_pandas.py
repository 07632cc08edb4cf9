"""A cohort from a DataFrame of pandas, joined to a store, and the answer as a DataFrame.

python examples/python_pandas.py
"""

from __future__ import annotations

import pandas as pd
from python_store import store

import dicomsql

JOINED = """
    SELECT arm, PatientID, StudyDate
    FROM google.healthcare.studies JOIN cohort USING (PatientID) ORDER BY arm
"""


def main() -> None:
    cohort = pd.DataFrame({"PatientID": ["1CT1", "4MR1", "nobody"], "arm": ["a", "b", "b"]})
    with store() as place, dicomsql.connect(**place) as connection:
        cursor = connection.cursor()
        print(cursor.adbc_ingest("cohort", cohort), "rows loaded")
        print(cursor.execute(JOINED).fetchdf().to_string(index=False))


if __name__ == "__main__":
    main()
