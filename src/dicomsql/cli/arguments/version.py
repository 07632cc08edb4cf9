"""The command `version`: its options, help and examples."""

from __future__ import annotations

import argparse

from dicomsql.cli.arguments import groups

NAME = "version"
HELP = "show the versions of dicomsql, Python, its packages and the provider documents"
DESCRIPTION = "Show what a report of a fault needs: versions, and nothing of this machine else."
EXAMPLES = """\
examples:
  dicomsql version
  dicomsql version --json
"""


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as a JSON object")
    groups.debugging(parser)
