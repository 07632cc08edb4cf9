"""`--log-http`: one line for each call, with nothing in it that the gate keeps back."""

from __future__ import annotations

import threading
from typing import TextIO

from dicomsql.transport.base import Request
from dicomsql.transport.gate import Gate


class HttpLog:
    """Writes `GET https://host/v1/{...}?name=… 200 12 ms` to a stream, safe for many threads.

    An instance is an `on_response` of the client. No header and no body is ever written.
    """

    def __init__(self, stream: TextIO, gate: Gate) -> None:
        self._stream = stream
        self._gate = gate
        self._lock = threading.Lock()

    def __call__(
        self,
        request: Request,
        status: int,
        received: int,  # noqa: ARG002 - its size says nothing here
        seconds: float,
        attempt: int,
    ) -> None:
        """Write the line of one attempt; a status of 0 is an attempt without an answer."""
        said = str(status) if status else "no answer"
        line = f"{request.method} {self._gate.show_url(request)} {said} {seconds * 1000:.0f} ms"
        if attempt > 1:
            line += f", attempt {attempt}"
        with self._lock:
            self._stream.write(line + "\n")
            self._stream.flush()
