"""SQLAlchemy Core over a store of the embedded emulator: reflection, queries, writes.

python examples/sqlalchemy_core.py
"""

from __future__ import annotations

import tempfile

import sqlalchemy as sa


def main(root: str) -> None:
    engine = sa.create_engine(f"dicomsql://demo/us-central1/imaging?local={root}")
    metadata = sa.MetaData(schema="google.healthcare")
    datasets = sa.Table("datasets", metadata, autoload_with=engine)
    stores = sa.Table("dicom_stores", metadata, autoload_with=engine)

    needed = [c.name for c in stores.c if "delete" in c.info["required"]]
    print("needed to delete a store:", ", ".join(needed))

    with engine.begin() as connection:
        connection.execute(sa.insert(datasets).values(datasetId="imaging"))
        made = sa.insert(stores).returning(stores.c.name)
        rows = [
            {"dicomStoreId": "radiology", "labels": {"env": "prod"}},
            {"dicomStoreId": "research", "labels": {"env": "test"}},
        ]
        print("made:", len(connection.execute(made, rows).all()))
        changed = (
            sa.update(stores)
            .where(stores.c.dicomStoresId == "research")
            .values(labels={"env": "research"})
        )
        print("changed:", connection.execute(changed).rowcount)

    environment = stores.c.labels["env"].as_string()
    query = sa.select(stores.c.dicomStoresId, environment.label("env")).order_by("env")
    with engine.connect() as connection:
        for row in connection.execute(query):
            print(row.dicomStoresId, "is", row.env)
    engine.dispose()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(folder)
