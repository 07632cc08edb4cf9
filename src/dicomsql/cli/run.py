"""Runs a command: arguments in, exit code out, each failure told in one line."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dicomsql.cli.arguments import make_parser, parse_arguments
from dicomsql.cli.failures import ReaderGoneError, UsageError

FAILED = 1
WRONG_COMMAND_LINE = 2
READER_GONE = 141


def run(argv: list[str]) -> int:
    """Run a command line and give the exit code."""
    parser = make_parser()
    try:
        arguments = parse_arguments(parser, argv)
    except SystemExit as ended:
        # argparse ends the process after --help and on errors, which it has told by then.
        return ended.code if isinstance(ended.code, int) else WRONG_COMMAND_LINE
    if arguments.command is None:
        parser.print_help()
        return 0
    try:
        if arguments.command == "emulator":
            from dicomsql.cli.emulator import serve

            return serve(arguments)
        if arguments.command == "cache":
            from dicomsql.cli.cache import cache

            return cache(arguments)
        from dicomsql.cli.execute import execute

        return execute(arguments)
    except UsageError as error:
        _tell(str(error))
        return WRONG_COMMAND_LINE
    except ReaderGoneError:
        # Python flushes standard output once more as it ends, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    except Exception as error:  # noqa: BLE001 - the last place where a failure can be told
        return _failed(error)


def _failed(error: Exception) -> int:
    import traceback

    from dicomsql.emulator.errors import EmulatorError
    from dicomsql.errors import Error

    if isinstance(error, (Error, EmulatorError, OSError)):
        _tell(str(error))
        return FAILED
    if os.environ.get("DICOMSQL_TRACEBACK"):
        traceback.print_exception(error)
    # The text of an unexpected error may hold what a server sent, so that only its place is told.
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    _tell(
        f"a defect of dicomsql: {type(error).__name__}{place}. "
        "Set DICOMSQL_TRACEBACK=1 to see where it came from."
    )
    return FAILED


def _tell(text: str) -> None:
    sys.stderr.write(f"error: {text}\n")
