"""The shell on a terminal: typing, cancelling, history, sizes, pastes, and how it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from terminal import Terminal

PLACE = ["--project", "p", "--location", "us-central1", "--dataset", "d", "--store", "s"]


@contextmanager
def shell(home: Path, *options: str, columns: int = 100, rows: int = 30) -> Iterator[Terminal]:
    home.mkdir(exist_ok=True)
    with Terminal(["shell", *options], home=home, columns=columns, rows=rows) as terminal:
        terminal.wait_for_prompt()
        yield terminal


@contextmanager
def slow_server(root: Path) -> Iterator[str]:
    """The URL of an emulator that takes half a minute for each answer."""
    command = [sys.executable, "-m", "dicomsql", "emulator", "--root", str(root)]
    with subprocess.Popen(
        [*command, "--latency", "30s"], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def test_statements_of_several_lines_and_ctrl_d(filled_root: Path, tmp_path: Path) -> None:
    with shell(tmp_path / "home", "--local", str(filled_root), *PLACE) as terminal:
        assert "dicomsql" in terminal.lines()[0]
        assert "\\? for help" in terminal.lines()[1]
        terminal.wait_for("p/us-central1/d/s")
        terminal.type("SELECT count(*) AS studies\r")
        terminal.wait_for("       -> ")
        terminal.type("FROM google.healthcare.studies WHERE ';' = ';';\r")
        terminal.wait_for("(1 row, ")
        terminal.wait_for_prompt()
        # The foot says what it cost.
        terminal.wait_for("│ 1 row │ ")
        terminal.type("SELECT\rnothing FROM nowhere;\r")
        terminal.wait_for("error: ")
        terminal.wait_for_prompt()
        terminal.type("BEGIN;\r")
        terminal.wait_for_prompt("dicomsql*> ")
        terminal.type("CREATE TABLE t AS SELECT error('no');\r")
        terminal.wait_for_prompt("dicomsql!> ")
        terminal.type("ROLLBACK;\r")
        terminal.wait_for_prompt()
        # Ctrl-D deletes where something stands, and leaves where nothing does.
        terminal.type("SELECT 1,\r")
        terminal.wait_for("       -> ", count=3)
        terminal.press("c-d")
        assert terminal.wait() == 0
        assert terminal.is_sane()


def test_ctrl_c_cancels_the_statement_and_keeps_the_session(
    filled_root: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    with slow_server(filled_root) as url, shell(home, "--endpoint", url, *PLACE) as terminal:
        terminal.run("CREATE TABLE kept AS SELECT 7 AS a;")
        terminal.type("SELECT * FROM google.healthcare.studies;\r")
        terminal.wait_for("0 requests, ")
        terminal.press("c-c", "c-c")
        terminal.wait_for("ancelled")
        terminal.wait_for_prompt()
        # While the engine computes, too.
        terminal.type("SELECT count(*) FROM range(100000000000) AS t(b) WHERE b % 7 = 8;\r")
        terminal.wait_for_run()
        terminal.press("c-c")
        terminal.wait_for_prompt()
        terminal.type("SELECT 'half")
        terminal.wait_for("SELECT 'half")
        terminal.press("c-c")
        terminal.wait_for_prompt()
        terminal.run("SELECT a + 1 AS eight FROM kept;")
        terminal.wait_for("(1 row")
        terminal.type("SELECT 2 AS again \\watch 60\r")
        terminal.wait_for("Ctrl-C ends it")
        terminal.wait_for("(1 row", count=2)
        terminal.wait_for_run()
        terminal.press("c-c")
        terminal.wait_for_prompt()
        # A signal ends it while a statement runs; the terminal is as it was.
        terminal.type("SELECT * FROM google.healthcare.studies;\r")
        terminal.wait_for_run()
        terminal.signal(signal.SIGTERM)
        assert terminal.wait() == 128 + signal.SIGTERM
        assert terminal.is_sane()


def test_history_is_searched_and_found_by_the_next_shell(tmp_path: Path) -> None:
    home, local = tmp_path / "home", str(tmp_path / "data")
    with shell(home, "--local", local) as terminal:
        terminal.run("SELECT 1 AS needle;")
        terminal.run("SELECT 2 AS hay;")
        terminal.run("SELECT * FROM range(3) WHERE PatientID = 'secret';")
        terminal.press("up")
        terminal.wait_for("'secret'", count=2)
        terminal.press("c-c")
        terminal.wait_for_prompt()
        terminal.type("\\q\r")
        assert terminal.wait() == 0
    assert "secret" not in (home / "dicomsql" / "history").read_text()
    with shell(home, "--local", local) as terminal:
        terminal.press("c-r")
        terminal.wait_for("I-search")
        terminal.type("needle")
        terminal.wait_for("SELECT 1 AS needle;")
        terminal.press("enter")
        terminal.wait_until_gone("I-search")
        terminal.press("enter")
        terminal.wait_for("(1 row")
        terminal.wait_for_prompt()
        terminal.signal(signal.SIGHUP)
        assert terminal.wait() == 128 + signal.SIGHUP
        assert terminal.is_sane()


def test_a_paste_of_ten_thousand_lines_and_other_sizes(tmp_path: Path) -> None:
    lines = "".join(f"  ({n}), -- it's; {n}\n" for n in range(10_000))
    with shell(tmp_path / "home", "--local", str(tmp_path / "data")) as terminal:
        terminal.paste(f"SELECT count(*) AS pasted FROM (VALUES\n{lines}  (-1))")
        terminal.wait_for("(-1))")
        terminal.type(" AS t;\r")
        terminal.wait_for("10001")
        terminal.wait_for_prompt()
        terminal.resize(20, 10)
        terminal.wait_for_prompt()
        terminal.type("SELECT 123 AS number, 456 AS other;")
        terminal.wait_for("SELECT 123")
        terminal.type("\r")
        terminal.wait_for("123")
        terminal.wait_for_prompt()
        terminal.resize(100, 30)
        terminal.wait_for_prompt()
        terminal.type("SELECT 5 AS wide;\r")
        terminal.wait_for("wide", count=2)


def test_a_question_is_answered_by_who_sees_it(own_root: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with shell(home, "--local", str(own_root), *PLACE, columns=120) as terminal:
        delete = (
            "DELETE FROM google.healthcare.dicom_stores WHERE projectsId = 'p' AND "
            "locationsId = 'us-central1' AND datasetsId = 'd' AND dicomStoresId = 's';"
        )
        terminal.type(f"{delete}\r")
        terminal.wait_for("[y/N]")
        assert "would delete 1 DICOM store" in " ".join(terminal.lines())
        terminal.press("c-c")
        terminal.wait_for("not allowed")
        terminal.wait_for_prompt()
        terminal.type(f"{delete}\r")
        terminal.wait_for("[y/N]", count=2)
        terminal.type("y\r")
        terminal.wait_for("deleted")
        terminal.wait_for_prompt()


@pytest.mark.parametrize("term", ["dumb", "xterm-256color"])
def test_a_dumb_terminal_and_one_without_colors(term: str, tmp_path: Path) -> None:
    with Terminal(
        ["shell", "--local", str(tmp_path / "data")],
        home=tmp_path,
        environment={"TERM": term, "NO_COLOR": "1"},
    ) as terminal:
        terminal.wait_for("dicomsql> ")
        terminal.type("SELECT 6 * 7 AS answer;\r")
        terminal.wait_for("42")
        terminal.wait_for("dicomsql> ", count=2)
        assert not any(f"\x1b[{n}m".encode() in terminal.output for n in range(30, 38))
        terminal.type("\\q\r")
        assert terminal.wait() == 0


def test_statements_of_a_pipe_run_as_those_of_exec(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dicomsql", "shell", "--local", str(tmp_path)],
        input="SELECT 1 AS a; SELECT nothing;",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stdout == "a\n1\n"
    assert "nothing" in done.stderr
