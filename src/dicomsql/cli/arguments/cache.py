"""The command `cache`: its options, help and examples."""

from __future__ import annotations

import argparse

from dicomsql.cli.arguments import groups

NAME = "cache"
HELP = "show or clear the answers kept on this machine"
DESCRIPTION = (
    "Answers are kept where --cache, DICOMSQL_CACHE, a profile or SET cache asks for it. They hold "
    "what the servers hold, patients' data included."
)
EXAMPLES = """\
examples:
  dicomsql exec --cache 10m "SELECT ..."
  dicomsql cache info
  dicomsql cache clear
"""


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action",
        choices=("info", "clear"),
        metavar="ACTION",
        help="info says how much there is, clear removes all of it",
    )
    groups.debugging(parser)
