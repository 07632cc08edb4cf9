"""The history's file: what is kept out of it, who can read it, and what if it cannot be written."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from dicomsql.shell.history import KeptHistory, may_be_kept
from dicomsql.shell.meta import secret_names

PLAIN = ("projectsId", "dicomStoresId", "on_error", "cache")

KEPT = """
    select 1
    SHOW RESOURCES IN google.healthcare LIKE 'dicom%'
    SELECT PatientName, PatientID FROM a.b.studies WHERE StudyDate >= '20260101'
    SELECT * FROM a.b.series WHERE Modality IN ('CT', 'MR') AND projectsId = 'p' LIMIT 10000
    SELECT date_trunc('month', StudyDate) AS m, count(*) FROM a.b.studies GROUP BY 1
    SELECT * FROM x WHERE n > 5
    SELECT * FROM read_dicom('incoming/**')
    COPY a.b.instances FROM 'incoming/**'
    SELECT PatientID FROM a.b.studies WHERE PatientID = '{{ patient }}'
    EXEC a.b.c.d @projectsId = 'p', @dicomStoresId = 's'
    SET on_error = 'skip'
    SET cache = '10m'
    \\d google.healthcare.studies
    \\image
"""

KEPT_OUT = """
    SELECT * FROM a.b.studies WHERE PatientID = '00123'
    SELECT * FROM a.b.studies AS s WHERE '00123' = s.PatientID AND Modality = 'CT'
    SELECT * FROM a.b.studies WHERE Modality = 'CT' AND lower(PatientName) LIKE 'smith%'
    SELECT * FROM a.b.studies WHERE PatientBirthDate BETWEEN '19500101' AND '19500102'
    SELECT * FROM a.b.studies WHERE StudyInstanceUID IN ('1.2.3', '1.2.4')
    SELECT * FROM a.b.studies WHERE studiesId = '1.2.3'
    SELECT * FROM a.b.studies WHERE PatientID = CASE WHEN true THEN '00123' END
    SELECT * FROM a.b.studies WHERE PatientName = "Smith"
    SELECT * FROM (SELECT PatientID AS p FROM a.b.studies) WHERE p = '00123'
    WITH w AS (SELECT '00123' AS p) SELECT * FROM a.b.studies JOIN w ON PatientID = w.p
    INSERT INTO cohort VALUES ('00123')
    UPDATE cohort SET id = '00123'
    EXEC a.b.c.d @projectsId = 'p', @PatientID = '00123'
    \\image 1.2.3
    \\var patient=00123
    \\plot SELECT PatientID FROM a.b.studies
    SELECT 1; SELECT * FROM a.b.studies WHERE AccessionNumber = 'A1'
    SELECT 'open
"""


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()]


@pytest.mark.parametrize("text", lines(KEPT))
def test_what_identifies_nobody_is_kept(text: str) -> None:
    assert may_be_kept(f"{text};" if text[0] != "\\" else text, PLAIN, secret_names())


@pytest.mark.parametrize("text", lines(KEPT_OUT))
def test_what_may_identify_a_patient_is_kept_out(text: str) -> None:
    assert not may_be_kept(f"{text};" if text[0] != "\\" else text, PLAIN, secret_names())


def history(
    file: Path | None, said: list[str], keeps: Callable[[str], bool] = lambda _: True
) -> KeptHistory:
    return KeptHistory(file, keeps, said.append)


def test_the_file_is_its_owners_alone_and_is_found_again(tmp_path: Path) -> None:
    file, said = tmp_path / "state" / "history", list[str]()
    history(file, said).append_string("SELECT 1,\n  2;")
    history(file, said).append_string("+ odd\n# lines")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(history(file, said).load_history_strings()) == ["+ odd\n# lines", "SELECT 1,\n  2;"]
    assert said == []


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    file = tmp_path / "history"
    file.write_text("")
    file.chmod(0o644)
    history(file, []).append_string("SELECT 1;")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_is_kept_out_is_in_memory(tmp_path: Path) -> None:
    file = tmp_path / "history"
    kept = history(file, [], lambda text: "secret" not in text)
    kept.append_string("a secret")
    kept.append_string("no harm")
    assert kept.get_strings() == ["a secret", "no harm"]
    assert "secret" not in file.read_text()


def test_a_file_that_cannot_be_written_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said: list[str] = []
    kept = history(tmp_path / "file" / "history", said)
    kept.append_string("SELECT 1;")
    kept.append_string("SELECT 2;")
    assert kept.get_strings() == ["SELECT 1;", "SELECT 2;"]
    assert len(said) == 1
    assert "in memory alone" in said[0]


def test_a_file_that_has_grown_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dicomsql.shell.history._KEPT", 3)
    file = tmp_path / "history"
    kept = history(file, [])
    for number in range(9):
        kept.append_string(f"SELECT {number};")
    assert next(iter(history(file, []).load_history_strings())) == "SELECT 8;"
    assert file.read_text().count("+SELECT") == 3


def test_broken_bytes_do_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "history"
    file.write_bytes(b"\n# x\n+SELECT \xff;\nrubbish\n+")
    assert list(history(file, []).load_history_strings())[-1] == "SELECT \ufffd;"
