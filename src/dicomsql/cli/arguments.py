"""The commands, their options and their help texts."""

from __future__ import annotations

import argparse
import re
import sys
from typing import NoReturn

# Kept apart from `output.FORMATS`, which a test holds it to, so that `--help` imports nothing.
OUTPUT_FORMATS = (
    *("table", "csv", "tsv", "json", "jsonl", "markdown", "vertical"),
    *("parquet", "arrow"),
)

_EXEC_EXAMPLES = """\
examples:
  dicomsql exec "SHOW RESOURCES IN google.healthcare"

  dicomsql exec --project p --location us-central1 --dataset d --store s \\
      "SELECT StudyInstanceUID, StudyDate FROM google.healthcare.studies
       WHERE StudyDate >= '20260101'"

  dicomsql exec -i report.sql --var store=ct-archive -o csv -f report.csv

  dicomsql exec --local ./archive "SELECT count(*) FROM google.healthcare.instances
      WHERE projectsId = 'p' AND locationsId = 'us-central1' AND datasetsId = 'd'
      AND dicomStoresId = 's'"

  dicomsql exec --dry-run "DELETE FROM google.healthcare.dicom_stores WHERE ..."

exit codes: 0 done, 1 a statement failed, 2 the command line was wrong, 130 interrupted,
143 told to stop (SIGTERM)
"""

_CACHE_EXAMPLES = """\
examples:
  dicomsql exec --cache 10m "SELECT ..."
  dicomsql cache info
  dicomsql cache clear
"""

_EMULATOR_EXAMPLES = """\
examples:
  dicomsql emulator --root ./archive --port 8042
  dicomsql exec --endpoint http://127.0.0.1:8042 "SELECT ..."

  dicomsql emulator --root ./archive --latency 20ms --quota 600 \\
      --fault rate=0.01,kinds=429,503,reset,stall,truncate,seed=7
"""


class _Version(argparse.Action):
    """Prints the version, which is looked up only then."""

    def __init__(self, option_strings: list[str], dest: str, **_: object) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from dicomsql.version import __version__

        sys.stdout.write(f"dicomsql {__version__}\n")
        parser.exit(0)


class _Parser(argparse.ArgumentParser):
    """Tells what is wrong in two lines; the usage of all options would bury it."""

    def error(self, message: str) -> NoReturn:
        # argparse ends some of its messages with a full stop and others not.
        end = "" if message.endswith((".", "?")) else "."
        self.exit(2, f"error: {message}{end}\n`{self.prog} --help` lists the options.\n")


def parse_arguments(parser: argparse.ArgumentParser, argv: list[str]) -> argparse.Namespace:
    """The command line's options; one that is wrong is told and ends the process by SystemExit."""
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        # argparse lets the parser of the whole line tell this, which has none of the options.
        command = commands_of(parser).get(arguments.command, parser)
        command.error(_unknown(unknown, command))
    return arguments


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of the commands, by name."""
    return next(
        dict(action.choices)
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
    )


def _unknown(unknown: list[str], parser: argparse.ArgumentParser) -> str:
    """What to say of arguments that nothing takes; their values stay out of it."""
    # A statement that begins with a comment begins with two dashes too.
    options = [text.partition("=")[0] for text in unknown if re.match(r"--?[A-Za-z]", text)]
    if not options:
        return (
            "There is an argument too many; "
            "put the SQL in quotes, as one argument, and a value right after its option"
        )
    from dicomsql.errors import nearest

    name = options[0].split()[0]
    known = [option for option in parser._option_string_actions if option.startswith("--")]
    return f"There is no option {name}.{nearest(name, known)}"


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; `command` says which command was given."""
    parser = _Parser(
        prog="dicomsql",
        description="SQL over Google Cloud Healthcare DICOM stores and DICOMweb servers.",
        epilog="`dicomsql COMMAND --help` says more about a command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _add_exec(
        commands.add_parser(
            "exec",
            help="run SQL statements and write their results",
            description="Run SQL statements, one after the other, and write each one's result.",
            epilog=_EXEC_EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
    )
    _add_cache(
        commands.add_parser(
            "cache",
            help="show or clear the answers kept on this machine",
            description="Answers are kept where --cache, DICOMSQL_CACHE or SET cache asks for it. "
            "They hold what the servers hold, patients' data included.",
            epilog=_CACHE_EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
    )
    _add_emulator(
        commands.add_parser(
            "emulator",
            help="serve a local Cloud Healthcare API on a folder",
            description="Serve datasets, DICOM stores and DICOMweb from a folder on this machine, "
            "until interrupted. The URL is printed when the server is ready.",
            epilog=_EMULATOR_EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
    )
    return parser


def _add_exec(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sql", nargs="?", metavar="SQL", help="statements, parted by `;` (else -i, else stdin)"
    )
    _add_input(parser.add_argument_group("input"))
    _add_output(parser.add_argument_group("output"))
    _add_server(parser.add_argument_group("server"))
    _add_credentials(parser.add_argument_group("credentials"))
    _add_execution(parser.add_argument_group("execution"))


def _add_input(group: argparse._ArgumentGroup) -> None:
    group.add_argument("-i", "--infile", metavar="FILE", help="read the SQL from FILE; - is stdin")
    group.add_argument(
        "--var",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="value of the placeholder {{ NAME }}; may be repeated",
    )
    group.add_argument(
        "--vars",
        action="append",
        default=[],
        metavar="FILE",
        help="values of placeholders from a YAML or JSON file; --var wins",
    )
    group.add_argument(
        "--dialect", metavar="NAME", help="dialect that the queries are written in, e.g. bigquery"
    )


def _add_output(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-o",
        "--output",
        choices=OUTPUT_FORMATS,
        metavar="FORMAT",
        help=f"{', '.join(OUTPUT_FORMATS)} (table on a terminal, else csv)",
    )
    group.add_argument(
        "-f", "--outfile", metavar="FILE", help="write to FILE, which appears when all is done"
    )
    group.add_argument(
        "-H", "--hideheaders", action="store_true", help="leave the columns' names out"
    )
    group.add_argument(
        "--delimiter", default=",", type=_delimiter, metavar="C", help="what parts values of csv"
    )
    group.add_argument(
        "-q", "--quiet", action="store_true", help="do not say how far a statement is"
    )


def _add_server(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--endpoint", metavar="URL", help="a server instead of Google's")
    group.add_argument(
        "--connection",
        metavar="NAME",
        help="a server of the configuration file, for the service that it names",
    )
    group.add_argument(
        "--config", metavar="FILE", help="the configuration file, which names servers"
    )
    group.add_argument(
        "--local",
        nargs="?",
        const=True,
        metavar="DIR",
        help="the embedded emulator on DIR (by default in the user's data folder)",
    )
    group.add_argument("--project", metavar="ID", help="default of projectsId")
    group.add_argument("--location", metavar="ID", help="default of locationsId")
    group.add_argument("--dataset", metavar="ID", help="default of datasetsId")
    group.add_argument("--store", dest="dicom_store", metavar="ID", help="default of dicomStoresId")
    group.add_argument("--providers", metavar="DIR", help="a further folder of provider documents")


def _add_credentials(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--credentials", metavar="FILE", help="a credentials file")
    group.add_argument("--impersonate", metavar="ACCOUNT", help="service account to act as")
    group.add_argument(
        "--user",
        metavar="NAME",
        help="basic authentication at --endpoint; the password comes from DICOMSQL_PASSWORD, "
        "or is asked for",
    )
    group.add_argument(
        "--token-file", metavar="FILE", help="bearer token for --endpoint, else DICOMSQL_TOKEN"
    )
    group.add_argument(
        "--insecure-auth",
        action="store_true",
        default=None,
        help="let credentials go to another machine over plain http",
    )
    group.add_argument("--anonymous", action="store_true", default=None, help="send no credentials")
    group.add_argument("--quota-project", metavar="ID", help="project that the calls are billed to")


def _add_execution(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--await",
        dest="await_operations",
        action="store_true",
        default=None,
        help="wait until long-running operations end",
    )
    group.add_argument(
        "--yes",
        action="store_true",
        default=None,
        help="allow what a statement says that it would destroy or bill",
    )
    group.add_argument(
        "--dry-run", action="store_true", help="show the requests of a statement, change nothing"
    )
    group.add_argument(
        "--database", metavar="FILE", help="keep local tables and views in FILE (else in memory)"
    )
    group.add_argument(
        "--no-files",
        dest="files",
        action="store_const",
        const="off",
        help="let no statement read or write local files",
    )
    group.add_argument("--audit-log", metavar="FILE", help="append a line for each write to FILE")
    group.add_argument(
        "--max-pages", type=_count, metavar="N", help="fetch at most N pages of a list or search"
    )
    group.add_argument(
        "--max-calls", type=_count, metavar="N", help="calls that one statement may make"
    )
    group.add_argument(
        "--max-bytes",
        type=_bytes,
        metavar="N",
        help="bytes that one statement may receive: 500000, 10MB, 2GB, ...",
    )
    group.add_argument(
        "--cache",
        metavar="AGE",
        help="keep answers on disk and use them again for 30s, 10m, 2h, ... (off)",
    )
    group.add_argument("--parallel", type=_count, metavar="N", help="calls made at the same time")
    group.add_argument(
        "--timeout", type=_seconds, metavar="S", help="seconds that one call may take (120)"
    )
    group.add_argument("--proxy", metavar="URL", help="proxy for all calls")
    group.add_argument("--ca-bundle", metavar="FILE", help="certificates to trust, as PEM")
    group.add_argument(
        "--log-http",
        action="store_true",
        default=None,
        help="a line for each call on standard error, without values",
    )
    group.add_argument(
        "--show-phi",
        action="store_true",
        default=None,
        help="let values of attributes into logs, EXPLAIN and errors",
    )


def _add_cache(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action", choices=("info", "clear"), help="say how much there is, or remove all of it"
    )


def _add_emulator(parser: argparse.ArgumentParser) -> None:
    # what begins so is a value, if a wrong one: `--latency -1s` is told what is right
    parser._negative_number_matcher = re.compile(r"-\.?[0-9]")
    parser.add_argument("--root", required=True, metavar="DIR", help="folder that holds the data")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument(
        "--port", type=_port, default=0, help="port to listen on (by default any that is free)"
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name under which it may be asked besides localhost and local addresses; "
        "may be repeated",
    )
    parser.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="URL",
        help="let pages of http://HOST:PORT use it from a browser (CORS); may be repeated",
    )
    parser.add_argument(
        "--operation-delay",
        type=_seconds,
        default=0.0,
        metavar="S",
        help="seconds that long-running operations take (none)",
    )
    group = parser.add_argument_group("misbehaving on purpose")
    group.add_argument(
        "--fault",
        metavar="FAULTS",
        help="fail some requests: rate=0.01,kinds=429,503,reset,stall,truncate,seed=7",
    )
    group.add_argument(
        "--latency",
        type=_latency,
        default=0.0,
        metavar="TIME",
        help="time that each request waits: 20ms, 1.5s (none)",
    )
    group.add_argument(
        "--quota", type=_count, metavar="N", help="requests a minute; the others get 429"
    )
    parser.add_argument(
        "--verbose", action="store_true", help="a line for each request on standard error"
    )


_NAMED_DELIMITERS = {"tab": "\t", "\\t": "\t"}


def _delimiter(text: str) -> str:
    delimiter = _NAMED_DELIMITERS.get(text, text)
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n':
        raise argparse.ArgumentTypeError(
            f"{text!r} is no delimiter; it is one ASCII character other than a quote, or `tab`"
        )
    return delimiter


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of 1 or more")
    return int(text)


def _bytes(text: str) -> int:
    from dicomsql.config import bytes_of
    from dicomsql.errors import InterfaceError

    try:
        return bytes_of(text)
    except InterfaceError as error:
        raise argparse.ArgumentTypeError(f"it {error}") from None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds greater than 0")
    return seconds


def _latency(text: str) -> float:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write it as 20ms or 1.5s")
    return float(match[1]) / (1000 if match[2] == "ms" else 1)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; it is a number from 0 to 65535")
    return int(text)
