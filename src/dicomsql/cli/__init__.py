"""The command line: `main` runs one command and gives its exit code.

Exit codes: 0 done, 1 the statement failed, 2 the command line was wrong, 130 interrupted, 141 the
reader of the output went away, 143 told to stop (what a shell reports of programs that SIGPIPE and
SIGTERM ended).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import NoReturn

__all__ = ["entry", "main"]

INTERRUPTED = 130
TERMINATED = 143


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (that of the process where none is given) and give its exit code."""
    try:
        # Imports stand inside, since Ctrl-C may come while they run.
        from dicomsql.cli.run import run

        return run(sys.argv[1:] if argv is None else list(argv))
    except KeyboardInterrupt as interrupt:
        # A write that was stopped says what it had done by then.
        said = f": {interrupt}" if str(interrupt) else ""
        sys.stderr.write(f"interrupted{said}\n")
        return INTERRUPTED


def entry() -> NoReturn:
    """Run the process's command line and end the process.

    Everything that has to be closed is closed by then, and written out; taking the imported
    libraries apart as well would take longer than most statements.
    """
    # Arrow's own allocator keeps what was freed, 20 MB of it in the middle of a COPY, and is no
    # faster here; Arrow reads this when it is imported.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    code = INTERRUPTED
    told: list[int] = []
    with suppress(KeyboardInterrupt):
        signal.signal(signal.SIGTERM, partial(_stop, told))
        if sys.argv[1:2] == ["exec"]:
            from dicomsql.cli.imports import prepare

            prepare()
        code = main()
        for stream in (sys.stdout, sys.stderr):
            # A program that is started without one has None.
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
    os._exit(TERMINATED if told and code == INTERRUPTED else code)


def _stop(told: list[int], number: int, _: object) -> None:
    """End as by Ctrl-C, once; what is closed meanwhile is not broken off by a second signal."""
    if not told:
        told.append(number)
        raise KeyboardInterrupt
