"""The command `shell`: its options, help and examples."""

from __future__ import annotations

import argparse

from dicomsql.cli.arguments import groups

NAME = "shell"
HELP = "type SQL and see results, with completion and history"
DESCRIPTION = (
    "Open a shell on a session: statements end with `;`, \\? lists the commands of its own. "
    "`dicomsql` alone on a terminal is the same. Where standard input is no terminal, its "
    "statements run as those of `dicomsql exec`."
)
EXAMPLES = """\
examples:
  dicomsql
  dicomsql shell --profile work
  dicomsql shell --local ./archive --project p --location us-central1 --dataset d --store s
  dicomsql shell -i setup.sql --vi

exit codes: 0 left, 1 a statement of standard input failed, 2 the command line was wrong;
129, 143 told to stop (SIGHUP, SIGTERM)
"""


def add(parser: argparse.ArgumentParser) -> None:
    shell = parser.add_argument_group("shell")
    shell.add_argument(
        "--no-history",
        dest="history",
        action="store_false",
        help="keep no history of statements in a file",
    )
    shell.add_argument(
        "--history-phi",
        action="store_true",
        help="keep statements in it too that compare a patient's attributes with values",
    )
    shell.add_argument("--vi", action="store_true", help="edit with the keys of vi")
    shell.add_argument(
        "--pager",
        choices=("auto", "on", "off"),
        metavar="WHEN",
        help="auto, on or off: show long results in a pager (auto: where they do not fit)",
    )
    groups.statements(parser.add_argument_group("input"))
    groups.output(parser.add_argument_group("output"))
    groups.server(parser.add_argument_group("server"))
    groups.credentials(parser.add_argument_group("credentials"))
    groups.execution(parser.add_argument_group("execution"))
    groups.configuration(parser.add_argument_group("configuration"))
    groups.debugging(parser)
    # What `exec` has beside these, which runs what comes from a pipe.
    parser.set_defaults(sql=None, dry_run=False, on_error="stop")
