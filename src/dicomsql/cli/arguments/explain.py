"""The command `explain`: its options, help and examples."""

from __future__ import annotations

import argparse

from dicomsql.cli.arguments import groups

NAME = "explain"
HELP = "show what a statement would do: its requests, and what is left to the engine"
DESCRIPTION = (
    "Show the plan of each statement, as EXPLAIN does: its requests, what they may cost, and what "
    "is left to the engine. Nothing is changed, and no patient's data are fetched, unless "
    "--analyze runs the statements."
)
EXAMPLES = """\
examples:
  dicomsql explain "SELECT StudyInstanceUID FROM google.healthcare.studies WHERE ..."
  dicomsql explain --format json -i report.sql
  dicomsql explain --analyze --local ./archive "SELECT count(*) FROM ..."
"""


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sql", nargs="?", metavar="SQL", help="statements, parted by `;` (else -i, else stdin)"
    )
    plan = parser.add_argument_group("plan")
    plan.add_argument(
        "--analyze", action="store_true", help="run the statements, and show what that took"
    )
    plan.add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        metavar="FORMAT",
        help="text or json (text)",
    )
    groups.statements(parser.add_argument_group("input"))
    output = parser.add_argument_group("output")
    output.add_argument(
        "-f", "--outfile", metavar="FILE", help="write to FILE, which appears when all is done"
    )
    output.add_argument(
        "-q", "--quiet", action="store_true", help="do not say how far a statement is"
    )
    groups.server(parser.add_argument_group("server"))
    groups.credentials(parser.add_argument_group("credentials"))
    groups.execution(parser.add_argument_group("execution"))
    groups.configuration(parser.add_argument_group("configuration"))
    groups.debugging(parser)
    # What `exec` has beside these.
    parser.set_defaults(
        output=None, hideheaders=False, delimiter=",", color=None, on_error="stop", dry_run=False
    )
