"""Runs a command: arguments in, exit code out, each failure told in one line."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module

from dicomsql.cli.arguments import make_parser, parse_arguments
from dicomsql.cli.failures import ReaderGoneError, UsageError, tell

FAILED = 1
WRONG_COMMAND_LINE = 2
READER_GONE = 141

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
    if not argv and _on_a_terminal():
        argv = ["shell"]
    parser = make_parser(argv)
    try:
        arguments = parse_arguments(parser, argv)
    except SystemExit as ended:
        # argparse ends the process after --help and on errors, which it has told by then.
        return ended.code if isinstance(ended.code, int) else WRONG_COMMAND_LINE
    if arguments.command is None:
        # Statements of a pipe that nothing reads must not look as if they had run.
        parser.print_help(sys.stderr)
        return WRONG_COMMAND_LINE
    return run_command(arguments)


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
        # Python flushes standard output once more as it ends, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    except Exception as error:  # noqa: BLE001 - the last place where a failure can be told
        tell(error, debug=debug)
        return FAILED
    return code


def _on_a_terminal() -> bool:
    """Whether somebody can type and see what comes of it."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
