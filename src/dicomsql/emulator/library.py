"""The emulator as a library: served from a thread of this process, for as long as a block lasts."""

from __future__ import annotations

import asyncio
import atexit
import itertools
import json
import os
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from dicomsql.emulator.errors import EXTRA, EmulatorError
from dicomsql.emulator.faults import Application, Behaviour, Faults, Message, check_seconds

if TYPE_CHECKING:
    from dicomsql.emulator.server import Server

__all__ = ["Emulator", "Store"]


@dataclass(frozen=True, slots=True)
class Store:
    """A DICOM store of a running emulator.

    Attributes:
        project, location, dataset, dicom_store: the ids that make up its name.
        url: base URL of its DICOMweb services.
    """

    project: str
    location: str
    dataset: str
    dicom_store: str
    url: str

    @property
    def name(self) -> str:
        """`projects/P/locations/L/datasets/D/dicomStores/S`."""
        return (
            f"projects/{self.project}/locations/{self.location}/datasets/{self.dataset}"
            f"/dicomStores/{self.dicom_store}"
        )

    @property
    def place(self) -> dict[str, str]:
        """The ids, as `dicomsql.connect` takes them."""
        return {
            "project": self.project,
            "location": self.location,
            "dataset": self.dataset,
            "dicom_store": self.dicom_store,
        }


class Emulator:
    """A local Cloud Healthcare API on 127.0.0.1, from `start` (or `with`) to `close`.

    It runs in a thread of this process. What it leaves behind is the folder, if one was given.
    Where the program ends without `close`, it is closed then.

    Args:
        root: the folder that holds the data; without one, a temporary folder that goes with it.
        host: the address to listen on.
        port: 0 for any free one.
        hosts: names under which it may be asked besides `localhost`, `host` and local addresses.
        origins: of pages that may use it from a browser, such as `http://localhost:3000`.
        operation_delay: seconds that long-running operations take.
        fault: which requests fail, as `Faults` or as the text of `--fault`.
        latency: seconds that each request waits.
        quota: requests a minute; the others get 429.
        log: gets a line for each request, without values.

    Raises:
        EmulatorError: an argument is wrong.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        hosts: Collection[str] = (),
        origins: Collection[str] = (),
        operation_delay: float = 0.0,
        fault: Faults | str | None = None,
        latency: float = 0.0,
        quota: int | None = None,
        log: Callable[[str], None] | None = None,
    ) -> None:
        check_seconds("operation delay", operation_delay)
        faults = Faults.parse(fault) if isinstance(fault, str) else fault
        self._root = None if root is None else Path(root).expanduser()
        self._temporary: Path | None = None
        self._options: dict[str, Any] = {
            "host": host,
            "port": port,
            "hosts": hosts,
            "origins": origins,
            "operation_delay": operation_delay,
            "behaviour": Behaviour(faults, latency, quota),
            "log": log,
        }
        self._server: Server | None = None
        self._thread: threading.Thread | None = None
        self._process = 0
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def start(self) -> Self:
        """Serve; returns when requests are answered.

        Raises:
            EmulatorError: it runs already, the folder or the address cannot be used, or the extra
                `emulator` is not installed.
        """
        with self._lock:
            if self._server is not None:
                raise EmulatorError("The emulator runs already.")
            self._server = self._open()
            started: Future[None] = Future()
            self._thread = threading.Thread(
                # A daemon, so that a program can end that does not close it.
                target=_run,
                args=(self._server, started),
                name="dicomsql-emulator",
                daemon=True,
            )
            self._thread.start()
            self._process = os.getpid()
            atexit.register(self.close)
        try:
            started.result()
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """End it; no thread, connection or temporary file is left. Closing twice is no error."""
        with self._lock:
            if self._server is None or self._thread is None:
                return
            if self._process != os.getpid():
                return  # a fork: it has no thread of ours, and the folder is its parent's
            atexit.unregister(self.close)
            self._server.stop()
            self._thread.join()
            self._server = self._thread = None
            self._remove_temporary()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Scheme, host and port: the endpoint for clients.

        Raises:
            EmulatorError: it does not run.
        """
        return self._running().url

    @property
    def root(self) -> Path:
        """The folder that holds the data.

        Raises:
            EmulatorError: it is a temporary one and does not exist while the emulator is closed.
        """
        root = self._root or self._temporary
        if root is None:
            raise EmulatorError("The emulator does not run, and its folder is a temporary one.")
        return root

    @property
    def faults(self) -> Counter[str]:
        """How many requests failed on purpose, by `429`, `503`, `reset` ... and `quota`."""
        misbehaving = self._running().misbehaving
        return Counter() if misbehaving is None else Counter(misbehaving.struck)

    def make_store(
        self,
        dicom_store: str | None = None,
        *,
        project: str = "test-project",
        location: str = "us-central1",
        dataset: str = "test-dataset",
        body: Mapping[str, Any] | None = None,
    ) -> Store:
        """Make a DICOM store, and its dataset where that is missing. No fault strikes this.

        Args:
            dicom_store: its id; without one, `store-1`, `store-2` ...
            body: the DicomStore of the request: labels, notificationConfigs ...

        Raises:
            EmulatorError: the emulator refuses, or the store is there already.
        """
        name = dicom_store or f"store-{next(self._numbers)}"
        datasets = f"/v1/projects/{project}/locations/{location}/datasets"
        self._ask("POST", datasets, f"datasetId={quote(dataset, safe='')}", {}, accepted=409)
        path = f"{datasets}/{dataset}/dicomStores"
        self._ask("POST", path, f"dicomStoreId={quote(name, safe='')}", dict(body or {}))
        url = f"{self.url}{path}/{name}/dicomWeb"
        return Store(project, location, dataset, name, url)

    def remove_store(self, store: Store) -> None:
        """Delete a DICOM store with all that is in it; one that is gone already is no error."""
        self._ask("DELETE", f"/v1/{store.name}", "", None, accepted=404)

    def _open(self) -> Server:
        if self._root is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="dicomsql-emulator-"))
        try:
            from dicomsql.emulator.server import Server

            return Server(self.root, **self._options)
        except ModuleNotFoundError as error:
            self._remove_temporary()
            if (error.name or "").partition(".")[0] not in EXTRA:
                raise
            raise EmulatorError(
                f"The emulator needs the package {error.name}. "
                'Install it with: pip install "dicomsql[emulator]"'
            ) from None
        except BaseException:
            self._remove_temporary()
            raise

    def _remove_temporary(self) -> None:
        if self._temporary is not None:
            shutil.rmtree(self._temporary)
            self._temporary = None

    def _running(self) -> Server:
        if self._server is None:
            raise EmulatorError("The emulator does not run; start it, or use it in a with block.")
        return self._server

    def _ask(self, method: str, path: str, query: str, body: Any, accepted: int = 200) -> None:
        """Send a request to the application itself, past what misbehaves.

        Args:
            accepted: a status that is as good as 200.
        """
        server = self._running()
        assert server.loop is not None
        content = b"" if body is None else json.dumps(body).encode()
        scope = _scope(method, path, query, server.url, content)
        asked = asyncio.run_coroutine_threadsafe(_exchange(server.app, scope, content), server.loop)
        status, answer = asked.result()
        if status not in {200, accepted}:
            raise EmulatorError(f"The emulator refuses: {_message(answer)}")


def _run(server: Server, started: Future[None]) -> None:
    try:
        server.run(lambda: started.set_result(None))
    except BaseException as error:
        if started.done():
            raise
        started.set_exception(error)


def _scope(method: str, path: str, query: str, url: str, content: bytes) -> Message:
    host = url.partition("://")[2]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": quote(path).encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [
            (b"host", host.encode()),
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(content)),
        ],
        "client": None,
        "server": None,
    }


async def _exchange(app: Application, scope: Message, content: bytes) -> tuple[int, bytes]:
    """Status and body of an application's answer."""
    status, answer = 0, bytearray()

    async def receive() -> Message:
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)
        answer.extend(message.get("body", b""))

    await app(scope, receive, send)
    return status, bytes(answer)


def _message(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return "it gives no reason"
