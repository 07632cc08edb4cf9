"""The commands of the program: a module for each, with its options, its help and its examples."""

from __future__ import annotations

import argparse
from collections.abc import Collection

from dicomsql.cli.arguments import (
    auth,
    cache,
    completion,
    config,
    emulator,
    execute,
    explain,
    provider,
    shell,
    version,
)
from dicomsql.cli.arguments.groups import OUTPUT_FORMATS
from dicomsql.cli.arguments.parser import Parser, Version, commands_of, parse_arguments

__all__ = ["OUTPUT_FORMATS", "commands_of", "make_parser", "parse_arguments"]

# In the order of the help: what is used all day first.
_COMMANDS = (
    *(shell, execute, explain),
    *(auth, config, provider, cache),
    *(emulator, completion, version),
)

_EPILOG = """\
`dicomsql` alone on a terminal opens the shell. `dicomsql COMMAND --help` says more of a command.

examples:
  dicomsql
  dicomsql exec "SHOW SERVICES IN google"
  dicomsql exec --project p -o csv -f studies.csv "SELECT ..."
"""


def make_parser(words: Collection[str] | None = None) -> argparse.ArgumentParser:
    """The parser of the whole command line; `command` says which command was given.

    Args:
        words: those of the command line that is parsed: commands that none of them names get no
            options, whose making takes longer than their use. None makes all.
    """
    parser = Parser(
        prog="dicomsql",
        description="SQL over Google Cloud Healthcare DICOM stores and DICOMweb servers.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action=Version)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for command in _COMMANDS:
        made = commands.add_parser(
            command.NAME,
            help=command.HELP,
            description=command.DESCRIPTION,
            epilog=command.EXAMPLES,
        )
        if words is None or command.NAME in words:
            command.add(made)
    return parser
