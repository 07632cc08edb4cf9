"""Names that are stored with ideographic and phonetic groups are found by their alphabetic one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from planning_hospital import Hospital, part10, store

STUDIES = "google.healthcare.studies"
NAMES = (
    "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "Yamada^Tarou",
    "Yamashita^Ken=山下^健",
    "Sato^Ken",
)


@pytest.fixture(scope="module")
def ward(make_hospital: Callable[[], Hospital]) -> Iterator[Hospital]:
    made = make_hospital()
    rows = (
        {
            "StudyInstanceUID": f"1.7.{i}",
            "SeriesInstanceUID": f"1.7.{i}.1",
            "SOPInstanceUID": f"1.7.{i}.1.1",
            "PatientName": name,
            "ReferringPhysicianName": name,
        }
        for i, name in enumerate(NAMES)
    )
    store(made, [part10(row) for row in rows], "main")
    yield made
    made.session.close()


@pytest.mark.parametrize(
    ("condition", "expected", "sent"),
    [
        ("PatientName = 'Yamada^Tarou'", {0, 1}, "Yamada"),
        ("PatientName IN ('Yamada^Tarou')", {0, 1}, "Yamada"),
        ("PatientName LIKE 'Yamada^Tarou'", {0, 1}, "Yamada"),
        ("PatientName LIKE 'Yama%'", {0, 1, 2}, "Yama"),
        ("PatientName IN ('Yamada^Tarou', 'Sato^Ken')", {0, 1, 3}, ""),
        ("PatientName = 'Yamada^Tarou' OR PatientName = 'Sato^Ken'", {0, 1, 3}, ""),
        ("ReferringPhysicianName = 'Yamada^Tarou'", {0, 1}, ""),
        ("PatientName IN (SELECT 'Yamashita^Ken')", {2}, ""),
    ],
)
def test_a_name_is_found_with_its_other_groups(
    ward: Hospital, condition: str, expected: set[int], sent: str
) -> None:
    sql = f"SELECT StudyInstanceUID FROM {STUDIES} WHERE {condition}"
    assert {int(uid.rpartition(".")[2]) for (uid,) in ward.rows(sql)} == expected
    (scan,) = ward.plan(sql).scans
    made = [(f.operation, f.values) for f in scan.filters if f.name.endswith("Name")]
    assert made == ([("fuzzy", (sent,))] if sent else [])
    shown = "\n".join(str(row) for row in ward.rows(f"EXPLAIN {sql}"))
    assert ("(fuzzy)" in shown) == bool(sent)
