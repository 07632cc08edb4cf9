"""What ends a command besides the errors of its statements, and how any failure is told."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dicomsql.cli.streams import unwritten


class UsageError(Exception):
    """The command line, or a file that it names, is wrong."""


class ReaderGoneError(Exception):
    """What reads our output has closed it; there is nobody left to tell."""


def tell(error: Exception, *, debug: bool = False, what: str = "") -> None:
    """Say on standard error what went wrong.

    Args:
        debug: where in the program it came from, too.
        what: what failed, such as `statement 3 at line 7`.
    """
    sys.stderr.write(f"{trace_of(error, debug=debug)}error: {what and f'{what}: '}{said(error)}\n")


def said(error: Exception) -> str:
    """What is said of an error: its own text, or where a defect of dicomsql is."""
    from dicomsql.emulator.errors import EmulatorError
    from dicomsql.errors import Error

    if isinstance(error, OSError) and (said := unwritten(error)):
        return said
    if isinstance(error, (Error, EmulatorError, OSError, UsageError)):
        return str(error)
    import traceback

    # The text of an unexpected error may hold what a server sent, so that only its place is told.
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return (
        f"a defect of dicomsql: {type(error).__name__}{place}. "
        "Set DICOMSQL_TRACEBACK=1, or give --debug, to see where it came from."
    )


def trace_of(error: Exception, *, debug: bool = False) -> str:
    """The way to an error through the program, where it is asked for; else nothing."""
    from dicomsql.emulator.errors import EmulatorError
    from dicomsql.errors import Error

    expected = isinstance(error, (Error, EmulatorError, OSError, UsageError))
    if not debug and (expected or not os.environ.get("DICOMSQL_TRACEBACK")):
        return ""
    import traceback

    return "".join(traceback.format_exception(error))
