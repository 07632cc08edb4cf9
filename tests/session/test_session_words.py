"""What is said where a statement is nearly right, and what stars show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dicomsql.config import Settings
from dicomsql.errors import DataError, Error
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
            "EXEC google.healthcare.dicom_stores.store_instances @dicomStoresId = 's' @@flie = 'x'",
            "@@flie holds no JSON at character 1. Did you mean @@file?",
        ),
        (
            "EXEC google.healthcare.studies_study.retrieve_study @studiesId = '1' @@outptu = 'x'",
            "takes no body. Did you mean @@output?",
        ),
        ("SELECT path FROM read_dicm('x')", "Did you mean read_dicom?"),
        (
            "SELECT data FROM google.healthcare.instances_rendered WHERE StudyInstanceUID = '1'",
            "its parameters are",
        ),
        (
            "SELECT * FROM google.healthcare.instances_metadata",
            "studiesId = '...' AND seriesId = '...' AND instancesId = '...'",
        ),
        ("SELECT `a` FROM google.healthcare.studies x y z", "--dialect bigquery"),
        ("SELECT DATE '2022-01-01' AS d WHERE d >= '20220101'", "DATE '2026-01-31'"),
        ("SELECT TIME '10:15:00' AS t WHERE t >= '1015'", "TIME '13:45:00'"),
        ("SELECT TIMESTAMP '2022-01-01' AS t WHERE t > '20220101'", "TIMESTAMP '2026-01-31 "),
    ],
)
def test_it_is_said_what_to_write(filled: Session, text: str, said: str) -> None:
    with pytest.raises(Error) as caught:
        answer(filled, text)
    assert said in str(caught.value)


IN_INSTANCES = "SELECT count(*) FROM google.healthcare.instances WHERE "


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("KVP = 'high'", "KVP is a number (DOUBLE)"),
        ("'high' < KVP", "line 1, column 56"),
        ("InstanceNumber IN ('1', 'one')", "InstanceNumber is a number (BIGINT)"),
        ("Rows BETWEEN 1 AND ''", "Rows is a number (BIGINT)"),
        ("CASE KVP WHEN 'high' THEN true END", "KVP_raw"),
        ("PixelSpacing = 'wide'", "PixelSpacing is a number (DOUBLE)"),
        ("KVP = 'NaN' AND KVP = 'highest'", "column 78"),
    ],
)
def test_a_number_is_compared_with_numbers(filled: Session, condition: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        filled.plan(filled.parse(IN_INSTANCES + condition)[0])
    assert said in str(caught.value)
    assert "high" not in str(caught.value)


@pytest.mark.parametrize(
    "condition", ["KVP = '120'", "KVP > ' 1e2 '", "KVP < 'infinity'", "Rows IN ('128', NULL)"]
)
def test_a_number_may_stand_in_quotes(filled: Session, condition: str) -> None:
    ((number,),) = answer(filled, IN_INSTANCES + condition)[1]
    assert number


def test_a_parameter_that_is_no_number_is_not_repeated(filled: Session) -> None:
    statement = filled.parse(IN_INSTANCES + "KVP = ?")[0]
    with pytest.raises(DataError, match=r"KVP is a number .* KVP_raw") as caught:
        filled.plan(statement, ["Zebra^Quagga"])
    assert "Zebra" not in str(caught.value)


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


def behind(error: BaseException) -> list[BaseException]:
    """All that collectors of errors would send along with one."""
    found = [error]
    for one in found:
        found += [e for e in (one.__context__, one.__cause__) if e is not None and e not in found]
    return found


@pytest.mark.parametrize(
    "text",
    [
        "SELECT error(PatientName) FROM google.healthcare.studies",
        "SELECT CAST(PatientName AS INTEGER) FROM google.healthcare.studies",
        "SELECT strptime(PatientName || StudyDate_raw, '%Y') FROM google.healthcare.studies",
        "CREATE TABLE t AS SELECT CAST(PatientName AS DATE) FROM google.healthcare.studies",
        "SELECT * FROM google.healthcare.studies WHERE PatientID = 'Zebra^Quagga' AND",
        "SELECT * FROM google.healthcare.studies_metadata WHERE studiesId = 'Zebra^Quagga'",
        "DELETE FROM google.healthcare.studies WHERE CAST(PatientName AS INTEGER) = 1",
        "COPY (SELECT error(PatientName) AS StudyInstanceUID FROM google.healthcare.studies) "
        "TO '{folder}' (FORMAT dicom)",
        "COPY google.healthcare.instances FROM '{folder}/Zebra^Quagga'",
        "EXEC google.healthcare.studies.search @PatientName = 'Zebra^Quagga', @limit = 'many'",
    ],
)
def test_nothing_of_a_patient_stands_behind_an_error(
    filled: Session, tmp_path: Path, text: str
) -> None:
    with pytest.raises(Error) as caught:
        answer(filled, text.format(folder=tmp_path / "new"))
    assert all(isinstance(one, Error) for one in behind(caught.value))


def test_an_error_of_a_later_batch_has_nothing_behind_it_either(filled: Session) -> None:
    filled.execute(filled.parse("CREATE TABLE n AS SELECT i FROM range(100_000) AS r(i)")[0])
    text = "SELECT CASE WHEN i < 90_000 THEN i ELSE error('Zebra^Quagga') END FROM n"
    result = filled.execute(filled.parse(text)[0])
    with pytest.raises(Error) as caught:
        list(result.batches())
    assert behind(caught.value) == [caught.value]


def test_nothing_of_a_request_stands_behind_an_error_of_the_network() -> None:
    text = "SELECT * FROM dicomweb.standard.studies WHERE PatientID = 'Zebra'"
    with (
        Session(Settings(endpoint="http://127.0.0.1:1")) as session,
        pytest.raises(Error) as caught,
    ):
        answer(session, text)
    assert all(isinstance(one, Error) for one in behind(caught.value))
    assert "Zebra" not in "".join(map(str, behind(caught.value)))
