"""The command `emulator`: serves a folder as a local Cloud Healthcare API."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dicomsql.cli.failures import UsageError
from dicomsql.errors import NotSupportedError


def serve(arguments: argparse.Namespace) -> int:
    """Serve until interrupted; the URL goes to standard output when the server is ready.

    Raises:
        NotSupportedError: the extra that the emulator needs is not installed.
        UsageError: its folder is none, or it is asked to misbehave in a way that there is not.
    """
    root = Path(arguments.root).expanduser()
    if root.exists() and not root.is_dir():
        raise UsageError(f"--root takes a folder, and {root} is none.")
    from dicomsql.emulator.errors import EXTRA, EmulatorError
    from dicomsql.emulator.faults import Behaviour, Faults

    try:
        faults = None if arguments.fault is None else Faults.parse(arguments.fault)
        behaviour = Behaviour(faults, arguments.latency, arguments.quota)
    except EmulatorError as error:
        raise UsageError(str(error)) from None
    try:
        from dicomsql.emulator import server

        server.serve(
            root,
            host=arguments.host,
            port=arguments.port,
            hosts=arguments.allow_host,
            origins=arguments.allow_origin,
            verbose=arguments.verbose,
            ready=_ready,
            operation_delay=arguments.operation_delay,
            behaviour=behaviour,
        )
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRA:
            raise
        raise NotSupportedError(
            f"The emulator needs the package {error.name}. "
            'Install it with: pip install "dicomsql[emulator]"'
        ) from None
    return 0


def _ready(url: str) -> None:
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()
