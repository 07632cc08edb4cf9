"""What errors say to those who write names as other systems have them."""

from __future__ import annotations

import pytest
from planning_hospital import Hospital

from dicomsql.config import Settings
from dicomsql.errors import BudgetError, LanguageError
from dicomsql.session import Session

STUDIES = "google.healthcare.studies"


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        (f"SELECT 1 FROM {STUDIES} WHERE StudyDate >= @d", r"parameters are \? and :name"),
        ("SELECT * FROM patients", "no table of patients: PatientID, .* are columns of studies"),
        ("SELECT * FROM google.healthcare.Patient", "no table of patients"),
        (f"SELECT tag_0008103 FROM {STUDIES}", "a tag has eight hexadecimal digits"),
        (f"SELECT tag_000810301 FROM {STUDIES}", "a tag has eight hexadecimal digits"),
    ],
)
def test_an_error_says_how_it_is_written_here(hospital: Hospital, sql: str, said: str) -> None:
    with pytest.raises(LanguageError, match=said):
        hospital.plan(sql)


def test_a_bound_on_calls_says_what_to_set(hospital: Hospital) -> None:
    sql = (
        f"SELECT s.PatientID, SliceThickness FROM {STUDIES} s JOIN google.healthcare.instances i "
        "USING (StudyInstanceUID)"
    )
    with pytest.raises(BudgetError, match=r"SET max_calls = 2\.") as caught:
        hospital.rows(sql, max_calls=1)
    assert "1 calls" not in str(caught.value)


def test_an_estimate_tells_of_the_request_that_settles_a_short_page() -> None:
    sql = "EXPLAIN SELECT PatientID FROM google.healthcare.studies"
    told = "one more where a page that is not full may have been cut by the server"
    for endpoint, expected in (("http://127.0.0.1:9", True), (None, False)):
        settings = Settings(
            endpoint=endpoint, project="p", location="l", dataset="d", dicom_store="s"
        )
        with Session(settings) as session:
            (statement,) = session.parse(sql)
            shown = "".join(str(b.to_pydict()) for b in session.execute(statement).batches())
        assert (told in shown) == expected
