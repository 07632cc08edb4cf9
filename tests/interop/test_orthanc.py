"""A real Orthanc behind the provider dicomweb, with and without a password."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import oracle_corpus
import orthanc
import pytest
from oracle_worlds import rows_of

from dicomsql.config import Settings
from dicomsql.errors import ApiError
from dicomsql.result import Statistics
from dicomsql.session import Session

pytestmark = pytest.mark.interop

INSTANCES = 40
USERS = {"reader": "pass word/ä:?"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[orthanc.Orthanc]:
    """An Orthanc that asks for a password, with a few instances."""
    orthanc.need()
    with orthanc.running(tmp_path_factory.mktemp("guarded"), USERS) as running:
        assert running.store(oracle_corpus.made(INSTANCES)) == INSTANCES
        yield running


@pytest.fixture
def settings(server: orthanc.Orthanc) -> Settings:
    user, password = server.credentials
    return Settings(endpoint=server.url, user=user, password=password)


def run(settings: Settings, sql: str) -> tuple[list[tuple[object, ...]], Statistics]:
    """The rows of a statement, and what it cost."""
    with Session(settings) as session:
        rows_of(session, "USE dicomweb.orthanc")
        (statement,) = session.parse(sql)
        result = session.execute(statement)
        rows = [tuple(row.values()) for batch in result.batches() for row in batch.to_pylist()]
        return rows, result.statistics


def test_it_is_reached_by_its_password_alone(server: orthanc.Orthanc, settings: Settings) -> None:
    sql = "SELECT count(*) FROM instances"
    assert run(settings, sql)[0] == [(INSTANCES,)]
    for wrong in (Settings(endpoint=server.url), replace(settings, password="pass word")):
        with pytest.raises(ApiError, match="401") as caught:
            run(wrong, sql)
        assert "pass" not in str(caught.value).replace("password", "")


def test_levels_are_joined(settings: Settings) -> None:
    sql = """
        SELECT StudyInstanceUID, count(DISTINCT SeriesInstanceUID), count(*)
        FROM studies JOIN series USING (StudyInstanceUID)
             JOIN instances USING (StudyInstanceUID, SeriesInstanceUID)
        GROUP BY ALL ORDER BY ALL
    """
    own = """
        SELECT StudyInstanceUID, NumberOfStudyRelatedSeries, NumberOfStudyRelatedInstances
        FROM studies ORDER BY ALL
    """
    found, _ = run(settings, sql)
    assert sum(row[2] for row in found if isinstance(row[2], int)) == INSTANCES
    assert found == run(settings, own)[0]


def test_a_list_of_uids_is_one_search(settings: Settings) -> None:
    uids = [f"{oracle_corpus.ROOT}.{n}" for n in (1, 2, 3)]
    listed = ", ".join(f"'{uid}'" for uid in uids)
    sql = f"SELECT StudyInstanceUID FROM studies WHERE StudyInstanceUID IN ({listed})"
    found, statistics = run(settings, sql)
    assert sorted(found) == [(uid,) for uid in uids]
    assert statistics.requests == 1


def test_a_value_that_orthanc_misreads_is_not_sent(settings: Settings) -> None:
    """It does not decode what is percent-encoded, so such a search would find nothing."""
    for identifier in (row[1] for row in run(settings, "SELECT 1, PatientID FROM studies")[0]):
        text = str(identifier or "").replace("'", "''")
        sql = f"SELECT PatientID FROM studies WHERE PatientID = '{text}'"
        assert set(run(settings, sql)[0]) == ({(identifier,)} if identifier else set())


def test_unknown_uids_give_no_rows(settings: Settings) -> None:
    for sql in (
        "SELECT * FROM series WHERE StudyInstanceUID = '1.2.3.4'",
        "SELECT * FROM instances WHERE StudyInstanceUID = '1.2.3.4' AND SeriesInstanceUID = '1.2'",
        "SELECT * FROM studies_metadata WHERE studiesId IN ('1.2.3.4', '1.2.3.5')",
        "SELECT * FROM series WHERE StudyInstanceUID = 'no uid'",
    ):
        assert run(settings, sql)[0] == [], sql


def test_a_dataset_is_whole(settings: Settings) -> None:
    uid = f"{oracle_corpus.ROOT}.1"
    sql = f"SELECT SOPInstanceUID, dataset FROM studies_metadata WHERE studiesId = '{uid}'"
    found, _ = run(settings, sql)
    assert found
    assert all("00080018" in str(dataset) for _, dataset in found)


def test_it_listens_where_nobody_else_hears(server: orthanc.Orthanc, tmp_path: Path) -> None:
    """Orthanc's own port is open in its namespace alone."""
    import orthanc_inside

    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", orthanc_inside.PORT)) != 0
