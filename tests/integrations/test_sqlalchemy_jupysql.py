"""jupysql's magics on the dialect, where jupysql is installed: it is no part of the dev extra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.dialects import registry

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("default")]

# As it is without an installation, which has it as an entry point.
registry.register("dicomsql", "dicomsql.integrations.sqlalchemy", "Dialect")


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    # It would tell its makers of each use.
    monkeypatch.setenv("PLOOMBER_STATS_ENABLED", "false")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    pytest.importorskip("sql.magic", reason="jupysql is not installed")
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "sql")
    yield shell
    shell.run_line_magic("sql", "--close dicom")
    InteractiveShell.clear_instance()


def test_the_magic_asks_a_store(shell: Any, filled_root: Path) -> None:
    shell.run_line_magic("sql", f"dicomsql://p/us-central1/d/s?local={filled_root} --alias dicom")
    found = shell.run_line_magic(
        "sql", "SELECT PatientID FROM google.healthcare.studies ORDER BY PatientID LIMIT 2"
    )
    assert [tuple(row) for row in found] == [("1CT1",), ("4MR1",)]
    shell.run_cell_magic("sql", "", "CREATE TABLE kept AS SELECT 5 AS a")
    assert [tuple(row) for row in shell.run_line_magic("sql", "SELECT a FROM kept")] == [(5,)]
    assert len(shell.run_line_magic("sql", "SHOW PROVIDERS")) == 2
