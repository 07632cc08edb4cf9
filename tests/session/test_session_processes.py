"""A session and its process: what is left after close, after a fork, and when the program ends."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from session_server import STUDIES, execute, opened, rows, serving

HERE = Path(__file__).parent

PROGRAM = """
import os, sys
sys.path.insert(0, sys.argv[1])
from session_server import execute, opened, rows

session = opened()
rows(session, "CREATE TEMP TABLE one AS SELECT 1 AS a")
unread = [execute(session, f"SELECT range FROM range(300000){t}").batches() for t in ("", ", one")]
for batches in unread:
    next(batches)
folder = session._parts.engines.spilled()
ways = {
    "execute": lambda: rows(session, "SELECT 1"),
    "plan": lambda: session.plan(session.parse("SELECT 1")[0]),
    "read": lambda: next(unread[0]),
    "read main": lambda: next(unread[1]),
    "begin": session.begin,
}
child = os.fork()
if child == 0:
    for name, way in ways.items():
        try:
            way()
            said = "nothing"
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        print(name, said, sep=": ", flush=True)
    session.cancel()
    session.close()
    own = opened()
    print(rows(own, "SELECT 42"), flush=True)
    own.close()
    sys.exit(0)
print("child:", os.waitpid(child, 0)[1])
print(folder.is_dir(), rows(session, "SELECT a FROM one"))
print([sum(batch.num_rows for batch in batches) > 200_000 for batches in unread])
session.close()
print(folder.is_dir())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_gets_an_error_at_once_and_harms_nothing() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(HERE)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = ran.stdout.splitlines()
    for line, way in zip(lines, ("execute", "plan", "read", "read main", "begin"), strict=False):
        assert line.startswith(f"{way}: InterfaceError: The connection belongs to the process")
        assert line.endswith("Open a connection here, after the fork.")
    assert lines[5:] == ["[42]", "child: 0", "True [1]", "[True, True]", "False"]


EXITS = {
    "read": "batches = execute(session, 'FROM range(300000)').batches(); next(batches)",
    "main": "rows(session, 'CREATE TEMP TABLE one AS SELECT 1 AS a'); "
    "batches = execute(session, 'SELECT range FROM range(300000), one').batches(); next(batches)",
    "transaction": "rows(session, 'CREATE TABLE t AS SELECT 1 AS a'); session.begin(); "
    "rows(session, 'INSERT INTO t VALUES (2)')",
}


@pytest.mark.parametrize("what", EXITS)
def test_a_program_that_closes_nothing_ends_at_once(what: str) -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from session_server import execute, opened, rows\n"
        f"session = opened()\n{EXITS[what]}\nprint(session._parts.engines.spilled())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(HERE)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert not Path(ran.stdout.strip()).exists()


def test_close_leaves_neither_thread_nor_socket_nor_folder() -> None:
    with serving() as server:
        threads = set(threading.enumerate())
        session = opened(server)
        rows(session, "CREATE TEMP TABLE one AS SELECT 1 AS a")
        for text in (
            f"SELECT PatientID FROM {STUDIES}",
            "FROM range(300000)",
            "FROM range(300000), one",
        ):
            execute(session, text).batches().__next__()
        folder = session._parts.engines.spilled()
        assert folder.is_dir()
        session.close()
        session.close()
        assert not [
            t for t in set(threading.enumerate()) - threads if t.name.startswith("dicomsql")
        ]
        assert not folder.exists()
        gc.collect()
        port = server.server_port
        mine = [s for s in gc.get_objects() if isinstance(s, socket.socket) and s.fileno() >= 0]
        assert not [s for s in mine if _goes_to(s, port)]


def _goes_to(found: socket.socket, port: int) -> bool:
    try:
        peer = found.getpeername()
    except OSError:
        return False
    return isinstance(peer, tuple) and peer[1] == port
