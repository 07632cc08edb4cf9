"""EXEC of lists and searches: complete, unless the statement asks for one page."""

from __future__ import annotations

import pytest

from dicomsql.session import Session

# More than the 100 stores of one page.
MANY = 130


def rows(session: Session, text: str) -> int:
    result = session.execute(session.parse(text)[0])
    assert result.columns is not None
    return sum(batch.num_rows for batch in result.batches())


@pytest.fixture
def many(own: Session) -> Session:
    statement = own.parse(
        "INSERT INTO google.healthcare.dicom_stores (dicomStoreId) "
        f"SELECT 'x' || i FROM range({MANY}) AS r(i)"
    )[0]
    own.execute(statement)
    return own


def test_a_list_is_read_to_its_end(many: Session) -> None:
    listed = "EXEC google.healthcare.dicom_stores.list"
    assert rows(many, listed) == MANY + 1
    assert rows(many, f"{listed} @pageSize = 7") == MANY + 1
    assert rows(many, f"{listed} @pageSize = 7 RETURNING name, datasetsId") == MANY + 1
    assert rows(many, f"{listed} @pageSize = 7, @pageToken = ''") == 7


def test_a_search_gives_all_or_the_page_that_it_asks_for(filled: Session) -> None:
    search = "EXEC google.healthcare.dicom_stores.search_for_studies @dicomStoresId = 's'"
    assert rows(filled, search) == 5
    assert rows(filled, f"{search}, @limit = 2") == 2
    assert rows(filled, f"{search}, @PatientID = 'nobody'") == 0
