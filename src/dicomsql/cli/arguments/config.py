"""The command `config`: its commands, options, help and examples."""

from __future__ import annotations

import argparse

from dicomsql.cli.arguments import groups

NAME = "config"
HELP = "show, change and check the configuration file and its profiles"
DESCRIPTION = (
    "The configuration file holds profiles (settings under a name), connections (servers under a "
    "name) and what holds for all. What is given on the command line wins, then the environment, "
    "then the profile, then what holds for all."
)
EXAMPLES = """\
examples:
  dicomsql config set work.project my-project
  dicomsql config set work.location us-central1
  dicomsql config set default_profile work
  dicomsql config list
  dicomsql config show --origin
  dicomsql config check
"""


def add(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="COMMAND", title="commands")
    actions.required = True

    def action(name: str, text: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = actions.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}."
        )
        return made

    listed = action("list", "list what the file says, profile by profile")
    get = action("get", "write one value of the file")
    change = action("set", "write a value into the file, which is made if there is none")
    unset = action("unset", "take a value, or a whole profile, out of the file")
    where = action("path", "write where the file is")
    show = action("show", "show the settings that a command would have, secrets left out")
    check = action("check", "check the file, and say what is wrong in it and where")
    for one in (get, unset):
        one.add_argument(
            "key",
            metavar="KEY",
            help="SETTING (of the profile in use), PROFILE.SETTING, PROFILE, default_profile, "
            "files, or connections.NAME.MEMBER",
        )
    change.add_argument(
        "values",
        nargs="+",
        metavar="KEY VALUE",
        help="what is set, as `get` takes it, and the value; further pairs may follow",
    )
    show.add_argument(
        "--origin", action="store_true", help="say beside each value where it comes from"
    )
    for one in (listed, show):
        one.add_argument("--json", action="store_true", help="as a JSON object")
    for one in (listed, get, change, unset, where, check):
        groups.configuration(one.add_argument_group("configuration"))
        groups.debugging(one)
    groups.server(show.add_argument_group("server"))
    groups.credentials(show.add_argument_group("credentials"))
    groups.execution(show.add_argument_group("execution"))
    groups.configuration(show.add_argument_group("configuration"))
    groups.debugging(show)
