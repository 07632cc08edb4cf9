"""The groups of options that several commands share."""

from __future__ import annotations

import argparse

from dicomsql.cli.arguments import values

# Kept apart from `output.FORMATS`, which a test holds it to, so that `--help` imports nothing.
OUTPUT_FORMATS = (
    *("table", "box", "csv", "tsv", "json", "jsonl", "markdown", "vertical"),
    *("html", "chart", "parquet", "arrow"),
)


def statements(group: argparse._ArgumentGroup) -> None:
    """Where statements come from."""
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


def output(group: argparse._ArgumentGroup) -> None:
    """What is written, where and how."""
    output_format(group)
    group.add_argument(
        "-f", "--outfile", metavar="FILE", help="write to FILE, which appears when all is done"
    )
    group.add_argument(
        "-H", "--hideheaders", action="store_true", help="leave the columns' names out"
    )
    group.add_argument(
        "--delimiter",
        default=",",
        type=values.delimiter,
        metavar="C",
        help="what parts values of csv",
    )
    group.add_argument(
        "-q", "--quiet", action="store_true", help="do not say how far a statement is"
    )


def output_format(group: argparse._ArgumentGroup) -> None:
    """In which form rows are written."""
    group.add_argument(
        "-o",
        "--output",
        choices=OUTPUT_FORMATS,
        metavar="FORMAT",
        help=f"{', '.join(OUTPUT_FORMATS)} (table on a terminal, else csv)",
    )
    group.add_argument(
        "--color",
        choices=("auto", "on", "off"),
        metavar="WHEN",
        help="auto, on or off (auto: on a terminal, unless NO_COLOR is set)",
    )


def server(group: argparse._ArgumentGroup) -> None:
    """Which server is asked, and for what."""
    group.add_argument("--endpoint", metavar="URL", help="a server instead of Google's")
    group.add_argument(
        "--connection",
        metavar="NAME",
        help="a server of the configuration file, for the service that it names",
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
    documents(group)


def configuration(group: argparse._ArgumentGroup) -> None:
    """Where the settings come from that no option gives."""
    group.add_argument(
        "--profile",
        metavar="NAME",
        help="a profile of the configuration file, else DICOMSQL_PROFILE, else its default_profile",
    )
    group.add_argument(
        "--config", metavar="FILE", help="the configuration file, with profiles and connections"
    )


def debugging(parser: argparse.ArgumentParser) -> None:
    """How much is told of what goes wrong."""
    parser.add_argument(
        "--debug",
        action="store_true",
        help="show where in the program an error came from; that may quote what servers sent",
    )


def documents(group: argparse._ArgumentGroup) -> None:
    """Which provider documents there are."""
    group.add_argument("--providers", metavar="DIR", help="a further folder of provider documents")


def credentials(group: argparse._ArgumentGroup) -> None:
    """Who asks."""
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


def execution(group: argparse._ArgumentGroup) -> None:
    """How statements run, and what they may use."""
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
        "--max-pages",
        type=values.count,
        metavar="N",
        help="fetch at most N pages of a list or search",
    )
    group.add_argument(
        "--max-calls", type=values.count, metavar="N", help="calls that one statement may make"
    )
    group.add_argument(
        "--max-bytes",
        type=values.size,
        metavar="N",
        help="bytes that one statement may receive: 500000, 10MB, 2GB, ...",
    )
    group.add_argument(
        "--cache",
        metavar="AGE",
        help="keep answers on disk and use them again for 30s, 10m, 2h, ... (off)",
    )
    group.add_argument(
        "--parallel", type=values.count, metavar="N", help="calls made at the same time"
    )
    network(group)
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


def network(group: argparse._ArgumentGroup) -> None:
    """How calls go over the network."""
    group.add_argument(
        "--timeout", type=values.seconds, metavar="S", help="seconds that one call may take (120)"
    )
    group.add_argument("--proxy", metavar="URL", help="proxy for all calls")
    group.add_argument("--ca-bundle", metavar="FILE", help="certificates to trust, as PEM")
