"""A cohort from a DataFrame, joined to a store: pandas and SQLAlchemy on one engine.

python examples/sqlalchemy_pandas.py
"""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import sqlalchemy as sa


def fill(engine: sa.Engine) -> None:
    """Make a store with two studies, from files that the package pydicom carries."""
    spec = find_spec("pydicom")
    assert spec is not None
    assert spec.origin is not None
    files = Path(spec.origin).parent / "data" / "test_files"
    with engine.begin() as connection:
        for statement in (
            "INSERT INTO google.healthcare.datasets (datasetId) SELECT 'imaging'",
            "INSERT INTO google.healthcare.dicom_stores (dicomStoreId) SELECT 'radiology'",
        ):
            connection.execute(sa.text(statement))
        store = (
            "EXEC google.healthcare.dicom_stores.store_instances @dicomStoresId = :s @@file = :f"
        )
        for name in ("CT_small.dcm", "MR_small.dcm"):
            connection.execute(sa.text(store), {"s": "radiology", "f": str(files / name)})


def main(root: str) -> None:
    engine = sa.create_engine(f"dicomsql://demo/us-central1/imaging/radiology?local={root}")
    fill(engine)

    cohort = pd.DataFrame({"PatientID": ["1CT1", "nobody"], "arm": ["treated", "control"]})
    cohort.to_sql("cohort", engine, index=False)

    studies = sa.Table("studies", sa.MetaData(schema="google.healthcare"), autoload_with=engine)
    wanted = sa.Table("cohort", sa.MetaData(), autoload_with=engine)
    query = sa.select(wanted.c.arm, studies.c.StudyDate, studies.c.ModalitiesInStudy).join(
        wanted, wanted.c.PatientID == studies.c.PatientID
    )
    frame = pd.read_sql(query, engine)
    print(frame.to_string(index=False))
    engine.dispose()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(folder)
