"""The program where a standard stream is closed, full or gone, and where it is told to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="the system has no full device")
_NO_SPACE = "error: The output cannot be written: No space left on device.\n"


def shell(line: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a line of sh in which "$@" is the program with some words."""
    program = [sys.executable, "-m", "dicomsql", *words]
    return subprocess.run(
        ["sh", "-c", line, "sh", *program], capture_output=True, text=True, timeout=60, check=False
    )


def test_messages_that_nobody_can_read_change_nothing(home: Path) -> None:
    done = shell('"$@" 2>&-', "exec", "-o", "table", "SELECT 1 a")
    assert (done.returncode, done.stdout) == (0, "a\n-\n1\n")
    database = str(home / "t.db")
    line = '"$@" 2>/dev/full' if FULL.exists() else '"$@" 2>&-'
    write = shell(line, "exec", "--database", database, "CREATE TABLE t AS SELECT 1 AS a")
    assert write.returncode == 0


def test_standard_output_that_is_closed() -> None:
    done = shell('"$@" >&-', "version")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: The output cannot be written: standard output is closed.\n"
    done = shell('"$@" >&-', "exec", "SELECT 1")
    assert (done.returncode, "name a file with -f" in done.stderr) == (2, True)
    done = shell('"$@" <&-')
    assert (done.returncode, done.stderr.count("\n")) == (2, 2)


@needs_full
@pytest.mark.parametrize("words", [["--help"], ["version"], ["exec", "SELECT 1"]])
def test_standard_output_that_is_full(words: list[str]) -> None:
    done = shell('"$@" >/dev/full', *words)
    assert (done.returncode, done.stderr) == (1, _NO_SPACE)


@needs_full
def test_a_file_that_is_full() -> None:
    done = shell('"$@"', "exec", "-f", "/dev/full", "SELECT 1")
    assert (done.returncode, done.stderr) == (1, _NO_SPACE)


def test_a_reader_that_is_gone_is_141_of_every_command() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "dicomsql", "version"],
            stdout=write, stderr=subprocess.PIPE, timeout=60, check=False,
        )  # fmt: skip
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_command_line_that_is_no_text() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dicomsql", "exec", b"SELECT '\xff'"],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"error: The command line is not UTF-8 text.")


@pytest.mark.parametrize("name", ["SIGHUP", "SIGQUIT"])
def test_other_signals_that_tell_to_stop_leave_nothing(name: str, tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, tempfile\n"
        "import dicomsql.cli, dicomsql.cli.run\n"
        # nohup, and shells for what runs in the background, have some ignored
        f"signal.signal(signal.{name}, signal.SIG_DFL)\n"
        "def run(_):\n"
        "    with tempfile.TemporaryDirectory(dir=sys.argv.pop()):\n"
        f"        os.kill(os.getpid(), signal.{name})\n"
        "        signal.pause()\n"
        "dicomsql.cli.run.run = run\n"
        f"sys.argv = ['dicomsql', 'cache', {str(tmp_path)!r}]\n"
        "dicomsql.cli.entry()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    number = int(getattr(signal, name))
    assert (done.returncode, done.stderr) == (128 + number, "told to stop\n")
    assert not list(tmp_path.iterdir())


def test_conditions_of_a_thousand_parts_run_and_others_are_told() -> None:
    condition = " OR ".join(f"1 = {number}" for number in range(2, 1000))
    done = shell('"$@"', "exec", f"SELECT 1 AS a WHERE {condition}")
    assert (done.returncode, done.stdout) == (0, "a\n")
    done = shell('"$@"', "exec", f"SELECT {'(' * 5000}1{')' * 5000}")
    assert done.returncode == 1
    assert done.stderr.startswith("error: The statement is nested too deeply")
