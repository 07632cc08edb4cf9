"""The command line: `main` runs one command and gives its exit code.

Exit codes: 0 done, 1 the statement failed, 2 the command line was wrong, 130 interrupted, 141 the
reader of the output went away (what a shell reports of a program that SIGPIPE ended).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (that of the process where none is given) and give its exit code."""
    try:
        # Imports stand inside, since Ctrl-C may come while they run.
        from dicomsql.cli.run import run

        return run(sys.argv[1:] if argv is None else list(argv))
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
