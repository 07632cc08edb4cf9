"""The command `exec`: its options, help and examples."""

from __future__ import annotations

import argparse

from dicomsql.cli.arguments import groups

NAME = "exec"
HELP = "run SQL statements and write their results"
DESCRIPTION = "Run SQL statements, one after the other, and write each one's result."
EXAMPLES = """\
examples:
  dicomsql exec "SHOW RESOURCES IN google.healthcare"

  dicomsql exec --project p --location us-central1 --dataset d --store s \\
      "SELECT StudyInstanceUID, StudyDate FROM google.healthcare.studies
       WHERE StudyDate >= '20260101'"

  dicomsql exec -i report.sql --var store=ct-archive -o csv -f report.csv

  dicomsql exec --local ./archive "SELECT count(*) FROM google.healthcare.instances
      WHERE projectsId = 'p' AND locationsId = 'us-central1' AND datasetsId = 'd'
      AND dicomStoresId = 's'"

  dicomsql exec --on-error continue --quiet < nightly.sql

  dicomsql exec --dry-run "DELETE FROM google.healthcare.dicom_stores WHERE ..."

exit codes: 0 done, 1 a statement failed, 2 the command line or a file that it names was wrong,
130 interrupted, 141 the reader of the output went away; 129, 131, 143 told to stop (SIGHUP,
SIGQUIT, SIGTERM). A transaction that is open at the end is rolled back, and that is a failure.

Results of several statements follow each other: of json, one array for each; jsonl is easier to
read then.
"""


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sql", nargs="?", metavar="SQL", help="statements, parted by `;` (else -i, else stdin)"
    )
    groups.statements(parser.add_argument_group("input"))
    groups.output(parser.add_argument_group("output"))
    groups.server(parser.add_argument_group("server"))
    groups.credentials(parser.add_argument_group("credentials"))
    execution = parser.add_argument_group("execution")
    execution.add_argument(
        "--on-error",
        choices=("stop", "continue"),
        default="stop",
        metavar="WHAT",
        help="stop at the first statement that fails, or continue with the next and fail in the "
        "end (stop)",
    )
    execution.add_argument(
        "--dry-run", action="store_true", help="show the requests of a statement, change nothing"
    )
    groups.execution(execution)
    groups.configuration(parser.add_argument_group("configuration"))
    groups.debugging(parser)
