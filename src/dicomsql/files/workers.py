"""Processes that read files, each driven by a thread of this one.

They are programs of their own that get tasks through a pipe and end with it, whatever becomes of
this process. The `multiprocessing` module would do less well inside of other people's programs: its
processes run the user's main module again, or are forks of one that has threads.

    python -c "... serve()"     tasks and what was done for them, pickled, by standard input, output
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, TYPE_CHECKING

from dicomsql.errors import CancelledError
from dicomsql.files.local import LocalFile
from dicomsql.files.work import Done, Task, work

if TYPE_CHECKING:
    import subprocess

__all__ = ["Workers", "serve"]

_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    " from dicomsql.files.workers import serve; serve()"
)
_MOST = 8
_ENDED = "The statement was cancelled."


class Workers:
    """Reads files in processes; in threads of this one where it cannot start any.

    Attributes:
        count: how many tasks are done at a time.
    """

    def __init__(self, count: int | None = None) -> None:
        self.count = count or min(_processors(), _MOST)
        self._threads = ThreadPoolExecutor(self.count, thread_name_prefix="dicomsql-files")
        self._lock = threading.Lock()
        self._own = threading.local()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._closed = False

    def submit(self, task: Task, files: Sequence[LocalFile]) -> Future[Done]:
        """Have a task done for some files.

        Raises:
            CancelledError: the reading was ended; the future does so too.
        """
        with self._lock:
            if self._closed:
                raise CancelledError(_ENDED)
            return self._threads.submit(self._do, task, files)

    def close(self) -> None:
        """End the processes, in the middle of what they do; may be called again."""
        with self._lock:
            self._closed = True
            processes, self._processes = self._processes, []
            self._threads.shutdown(wait=False)
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    _close(pipe)

    def _do(self, task: Task, files: Sequence[LocalFile]) -> Done:
        if self._closed:
            raise CancelledError(_ENDED)
        if not hasattr(self._own, "process"):
            self._own.process = self._started()
        process: subprocess.Popen[bytes] | None = self._own.process
        if process is not None and process.stdin is not None and process.stdout is not None:
            try:
                pickle.dump((task, files), process.stdin, pickle.HIGHEST_PROTOCOL)
                process.stdin.flush()
                done: Done = pickle.load(process.stdout)  # noqa: S301 - our own process wrote it
            except (OSError, EOFError, ValueError, pickle.UnpicklingError):
                # It has ended, or never began; what it should have done is done here.
                self._own.process = None
            else:
                return done
        if self._closed:
            raise CancelledError(_ENDED)
        return work(task, files)

    def _started(self) -> subprocess.Popen[bytes] | None:
        """A process, or None where this program cannot start one like itself."""
        program = os.path.basename(sys.executable or "").lower()  # noqa: PTH119
        if "python" not in program or getattr(sys, "frozen", False):
            return None
        import json
        import subprocess

        # The paths of files are encoded in the same way here and there, and no module of the
        # current folder takes the place of another.
        flags = ["-P", "-X", f"utf8={sys.flags.utf8_mode}"]
        command = [sys.executable, *flags, "-c", _PROGRAM, json.dumps(sys.path)]
        with self._lock:
            if self._closed:
                return None
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
            except OSError:
                return None
            self._processes.append(process)
        return process


def serve() -> None:
    """Do what standard input asks for, until it ends."""
    import signal

    # Ctrl-C reaches all processes of a terminal; that which started this one ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asked, told = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            task, files = pickle.load(asked)  # noqa: S301 - the process that started this wrote it
        except EOFError:
            return
        pickle.dump(work(task, files), told, pickle.HIGHEST_PROTOCOL)
        told.flush()


def _processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _close(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except OSError:
        # What was still to be written to it is wanted no more.
        return
