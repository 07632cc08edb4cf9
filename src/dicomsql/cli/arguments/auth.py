"""The command `auth`: its commands, options, help and examples."""

from __future__ import annotations

import argparse

from dicomsql.cli.arguments import groups

NAME = "auth"
HELP = "log in, and show who the servers are asked as"
DESCRIPTION = (
    "Google is asked with the credentials that its own tools keep; DICOMweb servers with those "
    "that the configuration file names. dicomsql keeps no secret of its own, and shows none."
)
EXAMPLES = """\
examples:
  dicomsql auth login
  dicomsql auth status
  dicomsql auth status --no-call --json
  dicomsql auth print-identity
"""


def add(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="COMMAND", title="commands")
    actions.required = True
    login = actions.add_parser(
        "login",
        help="log in to Google, or say how it is done for a server of your own",
        description="Log in to Google by gcloud, which keeps the credentials for all programs of "
        "this user (application default credentials). Where gcloud is not installed, and for "
        "servers of your own, it is said what to do.",
    )
    status = actions.add_parser(
        "status",
        help="show what credentials there are, where from, whose, and whether they work",
        description="Show what credentials a command would use: where they come from, the account, "
        "scopes, expiry and quota project; then ask Google's token service whether the token "
        "stands (one call, which costs nothing and reads no data). Of connections it is shown "
        "whether their user and secret are there. The exit code is 1 where something is missing.",
    )
    status.add_argument(
        "--no-call", dest="call", action="store_false", help="look only, and call nobody"
    )
    status.add_argument("--json", action="store_true", help="as a JSON object")
    identity = actions.add_parser(
        "print-identity",
        help="write the account that Google is asked as, and nothing else",
        description="Write the account that Google is asked as, and nothing else.",
    )
    for one in (login, status, identity):
        groups.server(one.add_argument_group("server"))
        groups.credentials(one.add_argument_group("credentials"))
        group = one.add_argument_group("network")
        groups.network(group)
        groups.configuration(one.add_argument_group("configuration"))
        groups.debugging(one)
