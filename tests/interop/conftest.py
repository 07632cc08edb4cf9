"""An emulator as a server of its own, for clients that others wrote."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

_SERVER = """
import pathlib, sys
from dicomsql.emulator.server import serve
serve(pathlib.Path(sys.argv[1]), ready=lambda url: print(url, flush=True))
"""


@pytest.fixture(scope="module")
def emulator_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(tmp_path_factory.mktemp("emulator"))],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        # without an address, Google's clients would turn to Google
        assert url.startswith("http://127.0.0.1:")
        yield url
    finally:
        process.terminate()
        process.communicate()
