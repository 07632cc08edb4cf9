"""Every example runs, as a reader would run it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

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
    assert imported == {"success": "2"}
    assert cleaned == exported == {"success": "4"}
    # The question to BigQuery and the one to the store have the same answer.
    answers = [row for row in rows if "total_pixels" in row]
    assert [(r["Modality"], r["instance_count"], r["total_pixels"]) for r in answers] == [
        ("CT", 1, 16384)
    ] * 2
    safe = [row for row in rows if "PatientID" in row]
    assert len(safe) == 4
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
    assert re.search(r'^cleaned +\{"success": "4"\}$', done.stdout, re.MULTILINE)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_the_tutorial_leaves_nothing_when_it_is_stopped(tmp_path: Path, stop: int) -> None:
    # In the place of the statements stands something that would take long.
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/sh\n"
        'case "$*" in *tutorial.sql*) echo under way; exec sleep 600;; esac\n'
        f'exec "{sys.executable}" "$@"\n'
    )
    python.chmod(0o700)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with subprocess.Popen(
        ["sh", str(EXAMPLES / "tutorial.sh")],
        env={**os.environ, "PYTHON": str(python), "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "under way\n"
        assert list(temporary.iterdir())
        running.send_signal(stop)
        assert running.wait(timeout=60) == 128 + stop
        # Nobody has the pipe any longer, and nobody is left in the group.
        assert running.stdout.read() == ""
        with pytest.raises(ProcessLookupError):
            os.killpg(running.pid, 0)
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("name", ["tutorial.sh", "tutorial.py"])
def test_the_tutorials_say_in_a_sentence_what_is_missing(tmp_path: Path, name: str) -> None:
    # Without the environment's packages.
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    python.chmod(0o700)
    program = "sh" if name.endswith(".sh") else str(python)
    done = subprocess.run(
        [program, str(EXAMPLES / name)],
        env={**os.environ, "PYTHON": str(python), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("The tutorial needs packages that ")
    assert "`make tutorial`" in done.stderr
    assert done.stderr.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["python"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sqlalchemy_core.py", ["made: 2", "changed: 1", "research is research"]),
        ("sqlalchemy_pandas.py", ["treated  2004-01-19 [CT]"]),
        (
            "python_dbapi.py",
            ["1CT1 2004-01-19 1", "4MR1 2004-08-26 1", "cohort (3,)", "stores made 2"],
        ),
        ("python_arrow.py", ["3 rows in studies.parquet"]),
        ("python_pandas.py", ["3 rows loaded", "a 1CT1 2004-01-19"]),
        ("python_polars.py", ["3 rows loaded", "│ a ┆ 1CT1 ┆ 2004-01-19 │"]),
        ("python_async.py", ["1CT1 2004-01-19", "4MR1 2004-08-26", "modalities: CT, MR, RTPLAN"]),
        ("python_duckdb.py", ["1 CT 1CT1", "2 MR 4MR1"]),
    ],
)
def test_examples_in_python_run(name: str, said: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert {" ".join(line.split()) for line in said} <= set(lines)


def test_the_notebook_runs_and_shows_its_rows_and_pictures() -> None:
    # As a kernel does: the value of a cell's last line is what it shows.
    program = """
import ast, json, sys

cells = json.load(open(sys.argv[1], encoding="utf-8"))["cells"]
names = {}
for cell in cells:
    if cell["cell_type"] == "code":
        *first, last = ast.parse("".join(cell["source"])).body
        exec(compile(ast.Module(first, []), "cell", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
            if hasattr(value, "_repr_mimebundle_"):
                print(value._repr_mimebundle_()["text/html"])
            elif value is not None:
                print(value)
        else:
            exec(compile(ast.Module([last], []), "cell", "exec"), names)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(EXAMPLES / "notebook.ipynb")],
        env={**os.environ, "PYTHONPATH": str(EXAMPLES)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "1CT1</td>" in done.stdout
    assert done.stdout.count('<img src="data:image/') == 2
    assert "RTPLAN" in done.stdout


def test_harlequin_runs_without_a_screen(tmp_path: Path) -> None:
    beside = Path(sys.executable).parent
    statement = "INSERT INTO google.healthcare.datasets (datasetId) SELECT 'imaging' RETURNING name"
    done = subprocess.run(
        ["sh", str(EXAMPLES / "harlequin.sh"), "--csv", "-c", statement],
        env={
            **os.environ,
            "PATH": f"{beside}{os.pathsep}{os.environ['PATH']}",
            "FOLDER": str(tmp_path / "data"),
            "HOME": str(tmp_path),
            "XDG_STATE_HOME": str(tmp_path),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("name\nprojects/demo/locations/us-central1/datasets/imaging/")


def test_every_example_is_tested_here() -> None:
    assert {p.name for p in EXAMPLES.iterdir() if p.is_file()} == {
        "demo.py",
        "demo.sql",
        "harlequin.sh",
        "notebook.ipynb",
        "python_arrow.py",
        "python_async.py",
        "python_dbapi.py",
        "python_duckdb.py",
        "python_pandas.py",
        "python_polars.py",
        "python_store.py",
        "sqlalchemy_core.py",
        "sqlalchemy_pandas.py",
        "test_upload.py",
        "tutorial.py",
        "tutorial.sh",
        "tutorial.sql",
    }
