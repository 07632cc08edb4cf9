"""Rows as Arrow: whole, as they come, and into a Parquet file.

python examples/python_arrow.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow.parquet as pq
from python_store import store

import dicomsql

STUDIES = "SELECT PatientID, StudyDate, ModalitiesInStudy FROM google.healthcare.studies"


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        store() as place,
        dicomsql.connect(**place) as connection,
    ):
        table = connection.execute(STUDIES).fetch_arrow_table()
        print(table.num_rows, [str(field.type) for field in table.schema])

        # One batch at a time, however many rows there are.
        file = Path(folder) / "studies.parquet"
        with (
            connection.execute(STUDIES).fetch_record_batch() as reader,
            pq.ParquetWriter(file, reader.schema) as writer,
        ):
            for batch in reader:
                writer.write_batch(batch)
        print(pq.read_metadata(file).num_rows, "rows in", file.name)


if __name__ == "__main__":
    main()
