"""The command line: `main` runs one command and gives its exit code.

Exit codes: 0 done, 1 the statement failed, 2 the command line was wrong, 130 interrupted, 141 the
reader of the output went away; 129, 131 and 143 told to stop by SIGHUP, SIGQUIT and SIGTERM (what a
shell reports of programs that those signals ended).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

__all__ = ["entry", "main"]

INTERRUPTED = 130

# Python's usual limit of 1,000 is reached by a condition of 300 ORs.
_DEPTH = 10_000

# What tells a program to stop, besides Ctrl-C; not all systems have all of them.
_TELLING = ("SIGTERM", "SIGHUP", "SIGQUIT")
# The signals that came, of which the first counts.
_told: list[int] = []


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (that of the process where none is given) and give its exit code."""
    try:
        # Imports stand inside, since Ctrl-C may come while they run.
        from dicomsql.cli.run import run

        return run(sys.argv[1:] if argv is None else list(argv))
    except KeyboardInterrupt as interrupt:
        # A write that was stopped says what it had done by then.
        said = f": {interrupt}" if str(interrupt) else ""
        sys.stderr.write(f"{'told to stop' if _told else 'interrupted'}{said}\n")
        return 128 + _told[0] if _told else INTERRUPTED


def entry() -> NoReturn:
    """Run the process's command line and end the process.

    Everything that has to be closed is closed by then, and written out; taking the imported
    libraries apart as well would take longer than most statements.
    """
    # Arrow's own allocator keeps what was freed, 20 MB of it in the middle of a COPY, and is no
    # faster here; Arrow reads this when it is imported.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    code = INTERRUPTED
    with suppress(KeyboardInterrupt):
        from dicomsql.cli.streams import complete

        complete()
        for name in _TELLING:
            number = getattr(signal, name, None)
            # One that is ignored stays so, as nohup has it.
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _stop)
        if sys.argv[1:2] == ["exec"]:
            from dicomsql.cli.imports import prepare

            prepare()
        # Statements are read by functions that call themselves; frames of Python take no stack.
        sys.setrecursionlimit(_DEPTH)
        code = main()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
    os._exit(128 + _told[0] if _told and code == INTERRUPTED else code)


def _stop(number: int, _: object) -> None:
    """End as by Ctrl-C, once; what is closed meanwhile is not broken off by a second signal."""
    if not _told:
        _told.append(number)
        raise KeyboardInterrupt
