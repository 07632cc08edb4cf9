"""PEP 249: parameters, rows as objects, a local table, and a transaction.

python examples/python_dbapi.py
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from python_store import store

import dicomsql


@dataclass
class Study:
    PatientID: str
    StudyDate: datetime.date | None
    NumberOfStudyRelatedInstances: int


STUDIES = """
    SELECT PatientID, StudyDate, NumberOfStudyRelatedInstances
    FROM google.healthcare.studies JOIN cohort USING (PatientID)
    WHERE StudyDate >= ? ORDER BY PatientID
"""


def main() -> None:
    with store() as place, dicomsql.connect(**place) as connection:
        cursor = connection.cursor(row_factory=dicomsql.class_row(Study))
        cursor.execute("CREATE TABLE cohort (PatientID VARCHAR)")
        cursor.executemany("INSERT INTO cohort VALUES (?)", [["1CT1"], ["4MR1"], ["nobody"]])
        connection.commit()

        for study in cursor.execute(STUDIES, [datetime.date(2004, 1, 1)]):
            print(study.PatientID, study.StudyDate, study.NumberOfStudyRelatedInstances)

        cursor.execute("DELETE FROM cohort")
        connection.rollback()
        print("cohort", connection.execute("SELECT count(*) FROM cohort").fetchone())

        insert = "INSERT INTO google.healthcare.dicom_stores (dicomStoreId) VALUES (:name)"
        cursor.executemany(insert, [{"name": "teaching"}, {"name": "research"}])
        print("stores made", cursor.rowcount)
        try:
            connection.rollback()
        except dicomsql.NotSupportedError as error:
            print("rollback:", error)


if __name__ == "__main__":
    main()
