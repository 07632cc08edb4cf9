"""Runs a command: arguments in, exit code out, each failure told in one line."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress
from importlib import import_module

from dicomsql.cli.arguments import commands_of, make_parser, parse_arguments
from dicomsql.cli.failures import ReaderGoneError, UsageError, tell
from dicomsql.cli.streams import unwritten

FAILED = 1
WRONG_COMMAND_LINE = 2
READER_GONE = 141

_NO_COMMAND = (
    "error: There is no command, and no terminal for the shell; statements of a pipe are for "
    "`dicomsql exec`.\n`dicomsql --help` lists the commands.\n"
)
_NO_TEXT = (
    "error: The command line is not UTF-8 text.\n"
    "Give SQL in another encoding to `dicomsql exec -i FILE`, after a conversion to UTF-8.\n"
)

# What runs each command, imported once it is known which.
_RUNNERS = {
    "exec": ("dicomsql.cli.execute", "execute"),
    "shell": ("dicomsql.shell", "run"),
    "explain": ("dicomsql.cli.explain", "explain"),
    "auth": ("dicomsql.cli.auth", "run"),
    "config": ("dicomsql.cli.configuration", "run"),
    "provider": ("dicomsql.cli.provider", "run"),
    "cache": ("dicomsql.cli.cache", "cache"),
    "emulator": ("dicomsql.cli.emulator", "serve"),
    "completion": ("dicomsql.cli.completion", "write"),
    "version": ("dicomsql.cli.version", "show"),
}


def run(argv: list[str]) -> int:
    """Run a command line and give the exit code."""
    if not argv:
        if not _on_a_terminal():
            # Statements of a pipe that nothing reads must not look as if they had run.
            sys.stderr.write(_NO_COMMAND)
            return WRONG_COMMAND_LINE
        argv = ["shell"]
    if any("\udc80" <= letter <= "\udcff" for word in argv for letter in word):
        sys.stderr.write(_NO_TEXT)
        return WRONG_COMMAND_LINE
    if _is_option_of_a_command(argv[0]):
        if _RUNNERS.keys() & set(argv) or not _on_a_terminal():
            sys.stderr.write(_options_first(argv))
            return WRONG_COMMAND_LINE
        # `dicomsql --local DIR`: options of the shell, without its name.
        argv = ["shell", *argv]
    parser = make_parser(argv)
    try:
        arguments = parse_arguments(parser, argv)
    except SystemExit as ended:
        # argparse ends the process after --help and on errors, which it has told by then.
        code = ended.code if isinstance(ended.code, int) else WRONG_COMMAND_LINE
        return code or _written()
    except OSError as error:
        return _lost(error)
    return run_command(arguments)


def _is_option_of_a_command(word: str) -> bool:
    """Whether a line begins with an option that only commands have; what `shell` has, others do."""
    if not word.startswith("-"):
        return False
    parser = make_parser(["shell"])
    name = word.partition("=")[0]
    return (
        name in commands_of(parser)["shell"]._option_string_actions
        and name not in parser._option_string_actions
    )


def _options_first(argv: list[str]) -> str:
    """What is said of a line that begins with an option of a command; values stay out of it."""
    option = argv[0].partition("=")[0]
    command = next((word for word in argv if word in _RUNNERS), "shell")
    return (
        f"error: Options go after the command: dicomsql {command} {option} ...\n"
        f"`dicomsql {command} --help` lists the options.\n"
    )


def run_command(arguments: argparse.Namespace) -> int:
    """Run the command that was parsed, and tell its failure, if it fails."""
    module, name = _RUNNERS[arguments.command]
    debug = arguments.debug
    try:
        code: int = getattr(import_module(module), name)(arguments)
    except UsageError as error:
        tell(error, debug=debug)
        return WRONG_COMMAND_LINE
    except ReaderGoneError:
        return _lost(BrokenPipeError())
    except OSError as error:
        return _lost(error, debug=debug)
    except Exception as error:  # noqa: BLE001 - the last place where a failure can be told
        tell(error, debug=debug)
        return FAILED
    return _written() or code


def _written() -> int:
    """Write out what is held of standard output; the exit code, if that is not possible."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return _lost(error)
    return 0


def _lost(error: OSError, *, debug: bool = False) -> int:
    """Tell that something could not be written or read; the exit code."""
    gone = isinstance(error, BrokenPipeError)
    if not gone:
        tell(error, debug=debug)
    # Python flushes standard output once more as it ends, and would complain then; what is no file
    # needs none of it.
    with suppress(OSError, ValueError):
        if gone or unwritten(error):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return READER_GONE if gone else FAILED


def _on_a_terminal() -> bool:
    """Whether somebody can type and see what comes of it."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
