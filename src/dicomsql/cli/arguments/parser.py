"""The parser of a command line: what is wrong is told in two lines, with what may be meant."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable
from typing import Any, NoReturn


class Version(argparse.Action):
    """Prints the version, which is looked up only then."""

    def __init__(self, option_strings: list[str], dest: str, **_: object) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from dicomsql.version import __version__

        sys.stdout.write(f"dicomsql {__version__}\n")
        parser.exit(0)


class Parser(argparse.ArgumentParser):
    """Tells what is wrong in two lines; the usage of all options would bury it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": Help, "allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        # argparse ends some of its messages with a full stop and others not.
        end = "" if message.endswith((".", "?")) else "."
        self.exit(2, f"error: {message}{end}\n`{self.prog} --help` lists the options.\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        # argparse takes a help that could not be written for one that was.
        (sys.stderr if file is None else file).write(message)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        if isinstance(action, argparse._SubParsersAction):
            # Without the action: its name in messages is that of all commands together.
            raise argparse.ArgumentError(
                None, f"There is no command {value}.{_meant(value, known)}"
            )
        raise argparse.ArgumentError(
            action,
            f"invalid choice: {value!r}.{_meant(str(value), known)} "
            f"The choices are {', '.join(known)}",
        )


class Help(argparse.HelpFormatter):
    """Wraps texts, but for those that have lines of their own, such as examples."""

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):
            # argparse forgets that names of commands are indented, and breaks the longest.
            self._action_max_length += self._indent_increment

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[argparse._MutuallyExclusiveGroup],
        prefix: str | None = None,
    ) -> None:
        actions = list(actions)
        if usage is None:
            # All options in brackets would be the longest part of a help, and the least read.
            words = [
                "COMMAND ..."
                if isinstance(action, argparse._SubParsersAction)
                else self._format_args(action, str(action.metavar or action.dest))
                for action in actions
                if not action.option_strings
            ]
            options = ["[options]"] if any(action.option_strings for action in actions) else []
            usage = " ".join(["%(prog)s", *options, *words])
        super().add_usage(usage, actions, groups, prefix)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        # The value once, behind all names of an option.
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return "".join(indent + line for line in text.splitlines(keepends=True))
        return super()._fill_text(text, width, indent)


def parse_arguments(parser: argparse.ArgumentParser, argv: list[str]) -> argparse.Namespace:
    """The command line's options; one that is wrong is told and ends the process by SystemExit."""
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        # argparse lets the parser of the whole line tell this, which has none of the options.
        command = _chosen(parser, argv)
        command.error(_unknown(unknown, command))
    return arguments


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of the commands that a parser takes, by name."""
    return {
        name: inner
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for name, inner in action.choices.items()
    }


def _chosen(parser: argparse.ArgumentParser, argv: Iterable[str]) -> argparse.ArgumentParser:
    """The parser of the command, and of its own command, that a line names."""
    for word in argv:
        inner = commands_of(parser)
        if not inner:
            break
        parser = inner.get(word, parser)
    return parser


def _unknown(unknown: list[str], parser: argparse.ArgumentParser) -> str:
    """What to say of arguments that nothing takes; their values stay out of it."""
    # A statement that begins with a comment begins with two dashes too.
    options = [text.partition("=")[0] for text in unknown if re.match(r"--?[A-Za-z]", text)]
    if not options:
        takes_sql = any(action.dest == "sql" for action in parser._actions)
        return "There is an argument too many" + (
            "; put the SQL in quotes, as one argument, and a value right after its option"
            if takes_sql
            else "; put a value that has spaces in quotes"
        )
    name = options[0].split()[0]
    known = [option for option in parser._option_string_actions if option.startswith("--")]
    return f"There is no option {name}.{_meant(name, known)}"


def _meant(name: str, known: list[str]) -> str:
    from dicomsql.errors import nearest

    return nearest(name, known)
