"""Every example runs, as a reader would run it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_the_demo_runs_to_its_end() -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "demo.py")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^  stored +[1-9]", done.stdout, re.MULTILINE)
    assert "2004-01-19" in done.stdout
    assert '"env":"production"' in done.stdout
    assert "error" not in done.stderr


def test_every_example_is_tested_here() -> None:
    assert {p.name for p in EXAMPLES.iterdir() if p.is_file()} == {"demo.py", "demo.sql"}
