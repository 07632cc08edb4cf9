"""Every example runs, as a reader would run it."""

from __future__ import annotations

import json
import os
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


def test_the_tests_against_a_store_pass() -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error"),
            *("-p", "dicomsql.emulator.pytest_plugin", str(EXAMPLES / "test_upload.py")),
        ],
        # As it is without an installation, which has the fixtures by an entry point.
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "-o addopts="},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "4 passed" in done.stdout, done.stdout


def test_the_tutorial_runs_in_sql_from_a_shell() -> None:
    done = subprocess.run(
        ["sh", str(EXAMPLES / "tutorial.sh"), "jsonl"],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["state"] for row in rows if "state" in row] == ["ENABLED"]
    # What is stored tells the topic, and what is imported is counted.
    assert len([row for row in rows if "instance" in row]) == 2
    counters = [json.loads(row["counter"]) for row in rows if row.get("counter")]
    imported, cleaned, exported = counters
    assert (imported, exported) == ({"success": "2"}, {"success": "4"})
    assert int(cleaned["success"]) == 2
    # The question to BigQuery and the one to the store have the same answer.
    answers = [row for row in rows if "total_pixels" in row]
    assert [(r["Modality"], r["instance_count"], r["total_pixels"]) for r in answers] == [
        ("CT", 1, 16384)
    ] * 2
    safe = [row for row in rows if "PatientID" in row]
    assert len(safe) == 2
    assert "CompressedSamples" not in str(safe)
    assert "error" not in done.stderr


def test_the_tutorial_runs_with_google_s_clients() -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "tutorial.py")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = [line.partition(" ")[0] for line in done.stdout.splitlines()]
    assert list(dict.fromkeys(said)) == [
        *("enabled", "store", "stored", "notified", "imported", "found", "retrieved"),
        *("rendered", "cleaned", "exported", "answered"),
    ]
    assert said.count("notified") == 2


def test_every_example_is_tested_here() -> None:
    assert {p.name for p in EXAMPLES.iterdir() if p.is_file()} == {
        "demo.py",
        "demo.sql",
        "test_upload.py",
        "tutorial.py",
        "tutorial.sh",
        "tutorial.sql",
    }
