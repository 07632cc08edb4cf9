"""Statements of a script: what becomes of the others when one fails; explain and version."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dicomsql.cli import main

Capture = pytest.CaptureFixture[str]


def program(*argv: str, **streams: Any) -> subprocess.CompletedProcess[str]:
    streams.setdefault("stdout", subprocess.PIPE)
    return subprocess.run(
        [sys.executable, "-m", "dicomsql", *argv],
        stderr=subprocess.PIPE, text=True, timeout=60, check=False, **streams,
    )  # fmt: skip


SCRIPT = """\
SELECT 1 AS a;
SELECT * FROM nowhere;

SELECT 2 AS b; SELECT x
FROM range(10)
"""


def test_all_run_and_each_failure_is_told_with_its_place(capsys: Capture) -> None:
    assert main(["exec", "--on-error", "continue", SCRIPT]) == 1
    out, err = capsys.readouterr()
    assert out == "a\n1\nb\n2\n"
    told = [line for line in err.splitlines() if line.startswith("error: ")]
    assert [line.partition(":")[2].partition(":")[0] for line in told] == [
        " statement 2, line 2",
        " statement 4, line 4",
    ]
    assert main(["exec", "--on-error", "continue", "SELECT 1 AS a; SELECT 2 AS a"]) == 0


def test_rows_of_a_statement_that_fails_later_are_not_written(capsys: Capture) -> None:
    fails = "SELECT CASE WHEN i = 400000 THEN error('x') ELSE 'y' END AS c FROM range(500000) t(i)"
    assert main(["exec", "-o", "json", "--on-error", "continue", f"{fails}; SELECT 1 AS a"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out) == [{"a": 1}]
    assert "statement 1, line 1" in err


def test_an_error_in_a_transaction_ends_the_run(capsys: Capture) -> None:
    script = "CREATE TABLE t (a INTEGER); BEGIN; INSERT INTO t VALUES (1); {}; SELECT 2 AS b"
    assert main(["exec", "--on-error", "continue", script.format("SELECT * FROM nowhere")]) == 1
    out, err = capsys.readouterr()
    assert "b" not in out.split()
    assert "The open transaction was rolled back; 1 statement after it did not run." in err


def test_a_syntax_error_runs_nothing_in_either_way(capsys: Capture) -> None:
    for how in ("stop", "continue"):
        assert main(["exec", "--on-error", how, "SELECT 1; SELEC 2"]) == 1
        assert capsys.readouterr().out == ""


def test_a_failed_statement_leaves_the_others_in_the_file(capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    assert main(["exec", "--on-error", "continue", "-f", str(file), SCRIPT]) == 1
    assert file.read_text() == "a\n1\nb\n2\n"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (bytes(128) + b"DICM", "Standard input is no text: it holds binary data (byte 1 is 0)."),
        (b"\x89PNG\r\n", "Standard input is not UTF-8 text (byte 1 does not fit)."),
    ],
)
def test_binary_on_standard_input_is_refused(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, data: bytes, said: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert main(["exec"]) == 2
    assert capsys.readouterr().err == f"error: {said}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
def test_a_full_disk_is_told() -> None:
    with Path("/dev/full").open("wb") as full:
        done = program("exec", "SELECT 1", stdout=full)
    assert done.returncode == 1
    assert done.stderr == "error: The output cannot be written: No space left on device.\n"


def test_a_closed_standard_output_is_told() -> None:
    done = program("exec", "SELECT 1", preexec_fn=lambda: os.close(1))
    assert done.returncode == 2
    assert done.stderr == "error: Standard output is closed; name a file with -f FILE.\n"


def test_debug_shows_where_an_error_came_from(capsys: Capture) -> None:
    assert main(["exec", "SELECT * FROM nowhere"]) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert main(["exec", "--debug", "SELECT * FROM nowhere"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last):\n")
    assert "error: " in err.splitlines()[-2] + err.splitlines()[-1]


def test_explain(capsys: Capture) -> None:
    sql = "SELECT name FROM google.healthcare.datasets WHERE locationsId = 'l'"
    assert main(["explain", f"SET projectsId = 'p'; {sql}"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("READ  google.healthcare.datasets\n")
    assert main(["exec", f"SET projectsId = 'p'; EXPLAIN {sql}"]) == 0
    assert capsys.readouterr().out == out
    assert main(["explain", "--format", "json", "--project", "p", sql]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "ReadPlan"
    assert main(["explain", "--analyze", "SELECT 1"]) == 0
    assert "1 row" in capsys.readouterr().out
    assert main(["explain", "SELECT * FROM google.healthcare.datasts"]) == 1
    assert "Did you mean datasets?" in capsys.readouterr().err


def test_version(capsys: Capture) -> None:
    assert main(["version", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"dicomsql", "python", "system", "packages", "providers"}
    assert found["packages"]["duckdb"]
    assert set(found["providers"]) >= {"google", "dicomweb"}
    assert main(["version"]) == 0
    assert f"dicomsql {found['dicomsql']}\n" in capsys.readouterr().out
