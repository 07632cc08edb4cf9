"""The command `emulator`: serves a folder as a local Cloud Healthcare API."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dicomsql.errors import NotSupportedError

# What the extra `emulator` installs, by the names under which it is imported.
_EXTRA = frozenset({"starlette", "uvicorn", "pydicom", "numpy", "PIL"})


def serve(arguments: argparse.Namespace) -> int:
    """Serve until interrupted; the URL goes to standard output when the server is ready.

    Raises:
        NotSupportedError: the extra that the emulator needs is not installed.
    """
    try:
        from dicomsql.emulator import server

        server.serve(
            Path(arguments.root).expanduser(),
            host=arguments.host,
            port=arguments.port,
            verbose=arguments.verbose,
            ready=_ready,
            operation_delay=arguments.operation_delay,
        )
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise NotSupportedError(
            f"The emulator needs the package {error.name}. "
            'Install it with: pip install "dicomsql[emulator]"'
        ) from None
    return 0


def _ready(url: str) -> None:
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()
