"""SQLAlchemy's own suite for dialects, in a process of its own since its plugin changes pytest."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "sqlalchemy_suite"
DOCS = Path(__file__).parent.parent.parent / "docs" / "sqlalchemy.md"

# Tests of the suite that have to pass at least, so that nothing is switched off unseen.
PASSED = 1_400


@pytest.mark.interop
def test_nothing_fails_and_the_docs_say_what_is_switched_off(tmp_path: Path) -> None:
    closed = tmp_path / "closed.txt"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_ADDOPTS": "",
        "DICOMSQL_SUITE_CLOSED": str(closed),
    }
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-c", "setup.cfg", "--rootdir", ".", "--noconftest"),
            *("-q", "--tb=short", "-p", "no:cacheprovider", "-p", "sqlalchemy_plugin"),
            *("-o", "python_files=sqlalchemy_suite.py", "sqlalchemy_suite.py"),
        ],
        cwd=HERE,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8_000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= PASSED
    written = set(re.findall(r"`(\w+)`", DOCS.read_text(encoding="utf-8").split("## What does")[1]))
    assert set(closed.read_text(encoding="utf-8").split()) <= written
