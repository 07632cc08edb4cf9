"""The made hospital in the emulator, and the plain tables of the same rows, as fixtures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest
from planning_hospital import Corpus, Hospital, make_corpus, store


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    return make_corpus()


@pytest.fixture(scope="session")
def make_hospital(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Hospital]:
    """Makes a hospital on a folder of its own with its dataset and an empty store `main`."""

    def make() -> Hospital:
        made = Hospital(tmp_path_factory.mktemp("hospital") / "root")
        made.rows("INSERT INTO google.healthcare.datasets (datasetId) VALUES ('ds')")
        made.rows(
            "INSERT INTO google.healthcare.dicom_stores (dicomStoreId, labels) VALUES "
            """('main', '{"env": "prod"}')"""
        )
        return made

    return make


@pytest.fixture(scope="session")
def hospital_root(make_hospital: Callable[[], Hospital], corpus: Corpus) -> Path:
    """A folder with the corpus in the store `main`, two of its files in `second`."""
    made = make_hospital()
    made.rows(
        "INSERT INTO google.healthcare.dicom_stores (dicomStoreId, labels) VALUES "
        """('second', '{"env": "test"}'), ('empty', NULL)"""
    )
    store(made, corpus.files, "main")
    store(made, corpus.files[:2], "second")
    made.session.close()
    return made.root


@pytest.fixture(scope="module")
def hospital(hospital_root: Path) -> Iterator[Hospital]:
    """A session of the module's own on that folder. To be read only."""
    opened = Hospital(hospital_root)
    yield opened
    opened.session.close()


@pytest.fixture(scope="module")
def oracle(corpus: Corpus) -> Iterator[duckdb.DuckDBPyConnection]:
    """The corpus as plain tables."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    corpus.tables(connection)
    yield connection
    connection.close()
