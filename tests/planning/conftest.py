"""The made hospital in the emulator, and the plain tables of the same rows, as fixtures."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import duckdb
import pytest
from planning_hospital import Corpus, Hospital, make_corpus, store


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return make_corpus()


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def hospital(make_hospital: Callable[[], Hospital], corpus: Corpus) -> Iterator[Hospital]:
    """The corpus in the store `main`, two of its files in `second`. To be read only."""
    made = make_hospital()
    made.rows(
        "INSERT INTO google.healthcare.dicom_stores (dicomStoreId, labels) VALUES "
        """('second', '{"env": "test"}'), ('empty', NULL)"""
    )
    store(made, corpus.files, "main")
    store(made, corpus.files[:2], "second")
    yield made
    made.session.close()


@pytest.fixture(scope="module")
def oracle(corpus: Corpus) -> Iterator[duckdb.DuckDBPyConnection]:
    """The corpus as plain tables."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    corpus.tables(connection)
    yield connection
    connection.close()
