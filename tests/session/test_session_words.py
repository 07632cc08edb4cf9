"""What is said where a statement is nearly right, and what stars show."""

from __future__ import annotations

from typing import Any

import pytest

from dicomsql.errors import Error
from dicomsql.session import Session

ONE = (
    "SELECT StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID FROM google.healthcare.instances "
    "LIMIT 1"
)


def answer(session: Session, text: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    result = session.execute(session.parse(text)[0])
    rows: list[tuple[Any, ...]] = []
    for batch in result.batches():
        rows += zip(*(c.to_pylist() for c in batch.columns), strict=True)
    return [c.name for c in result.columns or ()], rows


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SELECT * FROM studies", "write google.healthcare.studies, or USE google.healthcare"),
        ("SHOW BOGUS", "SHOW BOGUS is not known"),
        ("SHOW PROVIDER", "SHOW PROVIDER is not known. Did you mean providers?"),
        (
            "EXEC google.healthcare.dicom_stores.store_instances @dicomStoresId = 's'",
            "@@file = 'path' sends a file",
        ),
        (
            "EXEC google.healthcare.dicom_stores.export @dicomStoresId = 's' @@jsn = 'x'",
            "@@jsn holds no JSON",
        ),
        (
            "SELECT data FROM google.healthcare.instances_rendered WHERE StudyInstanceUID = '1'",
            "its parameters are",
        ),
        (
            "SELECT * FROM google.healthcare.instances_metadata",
            "studiesId = '...' AND seriesId = '...' AND instancesId = '...'",
        ),
        ("SELECT `a` FROM google.healthcare.studies x y z", "--dialect bigquery"),
    ],
)
def test_it_is_said_what_to_write(filled: Session, text: str, said: str) -> None:
    with pytest.raises(Error) as caught:
        answer(filled, text)
    assert said in str(caught.value)


def test_sqlglot_quotes_no_statement(
    filled: Session, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    answer(filled, "PREPARE p AS SELECT 'Zebra^Quagga'")
    with pytest.raises(Error, match="Syntax error") as caught:
        answer(filled, "SELECT 1 FROM google.healthcare.studies WHERE PatientID 'Zebra^Quagga'")
    assert "Zebra" not in str(caught.value)
    assert "Zebra" not in caplog.text
    assert "Zebra" not in "".join(capfd.readouterr())


def test_stars_show_no_parameters(own: Session) -> None:
    study, series, instance = answer(own, ONE)[1][0]
    names, _ = answer(
        own,
        f"SELECT * EXCLUDE (data) FROM google.healthcare.instances_rendered WHERE "
        f"studiesId = '{study}' AND seriesId = '{series}' AND instancesId = '{instance}'",
    )
    assert names == ["contentType", "extensions"]
    names, rows = answer(
        own,
        "UPDATE google.healthcare.dicom_stores SET labels.a = 'b' WHERE dicomStoresId = 's' "
        "RETURNING *, dicomStoresId AS id",
    )
    assert "projectsId" not in names
    assert names[-1] == "id"
    assert rows[0][-1] == "s"
