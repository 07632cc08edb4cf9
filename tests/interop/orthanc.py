"""A real Orthanc with its DICOMweb plugin, for the tests: in a network of its own, and ended.

`running` gives a server on a free port of 127.0.0.1 with an empty storage; `reason_to_skip` says
why there can be none here. Debian's packages: `orthanc orthanc-dicomweb`.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import httpx
import pytest

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_INSIDE = Path(__file__).with_name("orthanc_inside.py")


@dataclass(frozen=True)
class Orthanc:
    """A server that runs.

    Attributes:
        url: base URL of its DICOMweb services.
        root: base URL of Orthanc's own API.
        credentials: user and password, empty where it asks for none.
    """

    root: str
    url: str
    credentials: tuple[str, ...] = field(default=(), repr=False)

    def store(self, files: Iterable[bytes]) -> int:
        """Store instances through Orthanc's own API; gives how many are now there."""
        auth = httpx.BasicAuth(*self.credentials) if self.credentials else None
        with httpx.Client(base_url=self.root, auth=auth, trust_env=False) as client:
            for file in files:
                client.post("/instances", content=file, timeout=60).raise_for_status()
            found = client.get("/statistics").raise_for_status().json()
        return int(found["CountInstances"])


@cache
def reason_to_skip() -> str:
    """Why Orthanc cannot run here; empty where it can."""
    if _program() is None or not PLUGIN.exists():
        return "Orthanc is not installed (apt-get install orthanc orthanc-dicomweb)"
    if _namespace() is None:
        return "no network namespace can be made here, and Orthanc listens on all interfaces"
    return ""


def need() -> None:
    """Skip the test where Orthanc cannot run; in CI fail, unless told that it is missing."""
    reason = reason_to_skip()
    if not reason:
        return
    if os.environ.get("CI") == "true" and os.environ.get("DICOMSQL_WITHOUT_ORTHANC") != "1":
        pytest.fail(f"{reason}; DICOMSQL_WITHOUT_ORTHANC=1 runs the tests without it.")
    pytest.skip(reason)


@contextmanager
def running(folder: Path, users: Mapping[str, str] | None = None) -> Iterator[Orthanc]:
    """An Orthanc with an empty storage under `folder`, ended with the block.

    Args:
        users: user -> password; where there are any, it asks for basic authentication.
    """
    program, namespace = _program(), _namespace()
    assert program and namespace, reason_to_skip()
    configuration, log = folder / "orthanc.json", folder / "orthanc.log"
    configuration.write_text(json.dumps(_configuration(folder, users or {})), encoding="utf-8")
    configuration.chmod(0o600)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        port = listener.getsockname()[1]
        listening = listener.fileno()
        process = subprocess.Popen(
            [*namespace, sys.executable, _INSIDE, str(listening), program, configuration, log],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[listening],
        )
    try:
        assert process.stdin and process.stdout
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"Orthanc did not start:\n{log.read_text(errors='replace')}")
        root = f"http://127.0.0.1:{port}"
        first = next(iter((users or {}).items()), ())
        yield Orthanc(root, f"{root}/dicom-web", first)
    finally:
        process.communicate()
        shutil.rmtree(folder / "storage", ignore_errors=True)


def _configuration(folder: Path, users: Mapping[str, str]) -> dict[str, object]:
    return {
        "Name": "dicomsql",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": 8042,
        "HttpServerEnabled": True,
        "DicomServerEnabled": False,
        # Answers to searches lose the characters that this encoding lacks.
        "DefaultEncoding": "Utf8",
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": bool(users),
        "RegisteredUsers": dict(users),
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }


def _program() -> str | None:
    return shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")


@cache
def _namespace() -> tuple[str, ...] | None:
    """The command that runs another in a network namespace of its own, as root or as a user."""
    for command in (("unshare", "-n", "--"), ("unshare", "-r", "-n", "--")):
        try:
            found = subprocess.run([*command, "true"], capture_output=True, check=False)
        except OSError:
            return None
        if found.returncode == 0:
            return command
    return None
