"""What statements plan to: `fixtures/plans.txt` holds the SQL and, indented, the plan or the error.

`python tests/planning/test_planning_plans.py` prints the file again, for review as a diff.
"""

from __future__ import annotations

import datetime
import pickle
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from planning_hospital import Hospital, compact

from dicomsql.errors import Error

FIXTURE = Path(__file__).parent / "fixtures" / "plans.txt"
INDENT = "    "


def blocks() -> Iterator[tuple[str, list[str]]]:
    """(statement with its parameters, expected lines) of the fixture; headings have no lines."""
    head: list[str] = []
    lines: list[str] = []
    for line in [*FIXTURE.read_text(encoding="utf-8").splitlines(), ""]:
        if line.startswith(INDENT):
            lines.append(line.removeprefix(INDENT))
            continue
        if lines or not line or (head and head[0].startswith("#")):
            if head:
                yield "\n".join(head), lines
            head, lines = [], []
        if line:
            head.append(line)


def planned(hospital: Hospital, text: str) -> list[str]:
    sql, marker, given = text.partition(" ## ")
    # The parameters are written as Python in the fixture.
    parameters = eval(given, {"datetime": datetime}) if marker else None
    try:
        plan: Any = hospital.plan(sql, parameters)
    except Error as error:
        return [
            f"{type(error).__name__}: {line}" if not i else line
            for i, line in enumerate(str(error).splitlines())
        ]
    assert pickle.loads(pickle.dumps(plan)) == plan
    return compact(plan)


CASES = [block for block in blocks() if not block[0].startswith("#")] if FIXTURE.exists() else []


@pytest.mark.parametrize(("text", "expected"), CASES, ids=[text[:60] for text, _ in CASES])
def test_a_statement_plans_as_reviewed(hospital: Hospital, text: str, expected: list[str]) -> None:
    assert planned(hospital, text) == expected


def test_the_fixture_has_all_its_cases() -> None:
    assert len(CASES) > 150
    assert all(expected for _, expected in CASES)


def main() -> None:
    """Print the fixture with the plans as they are now."""
    with tempfile.TemporaryDirectory() as folder:
        hospital = Hospital(Path(folder) / "root")
        for text, _ in list(blocks()):
            print(text)
            if not text.startswith("#"):
                print(*(INDENT + line for line in planned(hospital, text)), sep="\n")
            print()
        hospital.session.close()


if __name__ == "__main__":
    main()
