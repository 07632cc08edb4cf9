"""Planning a statement beside a result that is still being read."""

from __future__ import annotations

import pytest

from dicomsql.errors import InterfaceError
from dicomsql.session import Session

# More rows than the engine gives at once.
ROWS = 300_000


@pytest.mark.parametrize(
    "text",
    [
        "SELECT StudyInstanceUID FROM google.healthcare.studies WHERE StudyDate > DATE '2020-01-01'"
        " - INTERVAL 1 DAY",
        "SELECT path FROM read_dicom('x' || 'y')",
        "COPY (SELECT StudyInstanceUID FROM google.healthcare.studies) TO 'out' (FORMAT dicom)",
        "SELECT 1",
    ],
)
def test_a_result_is_whole_after_a_plan_was_made(filled: Session, text: str) -> None:
    (many,) = filled.parse(f"SELECT range AS n FROM range({ROWS})")
    (other,) = filled.parse(text)
    reading = filled.execute(many).batches()
    first = next(reading)
    assert first.num_rows < ROWS
    assert filled.plan(other)
    numbers = [n for batch in (first, *reading) for n in batch.column(0).to_pylist()]
    assert numbers == [*range(ROWS)]


def test_a_session_that_is_closed_plans_nothing(filled: Session) -> None:
    (statement,) = filled.parse("SELECT 1")
    filled.close()
    with pytest.raises(InterfaceError, match="closed"):
        filled.plan(statement)
