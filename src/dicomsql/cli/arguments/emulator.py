"""The command `emulator`: its options, help and examples."""

from __future__ import annotations

import argparse
import re

from dicomsql.cli.arguments import groups, values

NAME = "emulator"
HELP = "serve a local Cloud Healthcare API on a folder"
DESCRIPTION = (
    "Serve datasets, DICOM stores and DICOMweb from a folder on this machine, until interrupted. "
    "The URL is printed when the server is ready."
)
EXAMPLES = """\
examples:
  dicomsql emulator --root ./archive --port 8042
  dicomsql exec --endpoint http://127.0.0.1:8042 "SELECT ..."

  dicomsql emulator --root ./archive --latency 20ms --quota 600 \\
      --fault rate=0.01,kinds=429,503,reset,stall,truncate,seed=7
"""


def add(parser: argparse.ArgumentParser) -> None:
    # what begins so is a value, if a wrong one: `--latency -1s` is told what is right
    parser._negative_number_matcher = re.compile(r"-\.?[0-9]")
    parser.add_argument("--root", required=True, metavar="DIR", help="folder that holds the data")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument(
        "--port",
        type=values.port,
        default=0,
        help="port to listen on (by default any that is free)",
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
        type=values.seconds,
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
        type=values.latency,
        default=0.0,
        metavar="TIME",
        help="time that each request waits: 20ms, 1.5s (none)",
    )
    group.add_argument(
        "--quota", type=values.count, metavar="N", help="requests a minute; the others get 429"
    )
    parser.add_argument(
        "--verbose", action="store_true", help="a line for each request on standard error"
    )
    groups.debugging(parser)
