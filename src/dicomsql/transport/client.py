"""The transport over HTTP: sends a request, paced, authorized and repeated as the policy says."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

import httpx

from dicomsql.closing import Closing
from dicomsql.errors import ApiError, CancelledError, EndpointError, InterfaceError
from dicomsql.transport.auth import Anonymous, Authorizer, origin_of
from dicomsql.transport.base import Request
from dicomsql.transport.codings import codings_for, decoded
from dicomsql.transport.failures import api_error, errors_from_response
from dicomsql.transport.gate import Gate
from dicomsql.transport.pace import Pace
from dicomsql.transport.retry import RetryPolicy, asked_delay
from dicomsql.transport.scope import Scope
from dicomsql.transport.wire import UNREACHED, Interruptible, Sockets, in_words, unlogged, untrusted

# An error's body is read to this size; servers have been seen to answer with whole studies.
_ERROR_LIMIT = 1_000_000
_MOST_REDIRECTS = 5
_READS = frozenset({"GET", "HEAD"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Seconds within which a connection has to come about.
_CONNECT_TIMEOUT = 10.0
# What a call that is `finishing` is cancelled by.
_NEVER = threading.Event()


OnWait = Callable[[int, float], None]


class OnResponse(Protocol):
    """Is told of each attempt when it has ended.

    Parameters:
        status: 0 where there was no answer.
        received: bytes of the body, decoded; of a streamed one when it is closed.
        seconds: from the start of the attempt to its end.
        attempt: 1 for the first.
    """

    def __call__(
        self, request: Request, status: int, received: int, seconds: float, attempt: int
    ) -> None: ...


@dataclass(slots=True)
class _Attempt:
    """One try of a call: its number, when it began, when it must have ended."""

    request: Request
    number: int
    start: float
    timeouts: dict[str, float]
    authorization: Mapping[str, str]


class Client(Closing):
    """A `Transport` over an httpx client; safe for many threads.

    Parameters:
        http: does the sending; must not follow redirects itself.
        authorizer: gives the headers that authorize.
        gate: what errors may show.
        policy: when calls are made again.
        parallel: calls to one server at a time.
        timeout: seconds that one attempt may take in all. Of a body that is streamed, up or down,
            it bounds each wait for the other side, not the whole: that has no natural length.
        cancel: stops waits and further calls, of all scopes.
        on_response: is told of each attempt, beside the scope's own.
        on_wait: is told before a wait for another attempt, as well: the status of the last one (0
            where there was no answer), and seconds.
        interruptible: what `abort` wakes.
        tells_waits: what sends heeds the scope's `waits`, so that one statement's calls can be
            broken off alone.
        clock, wait, chance: time in seconds, a wait that ends early when cancelled, and a number
            in [0, 1); given by tests.
    """

    def __init__(
        self,
        http: httpx.Client,
        *,
        authorizer: Authorizer | None = None,
        gate: Gate | None = None,
        policy: RetryPolicy | None = None,
        parallel: int = 8,
        timeout: float = 120.0,
        cancel: threading.Event | None = None,
        on_response: OnResponse | None = None,
        on_wait: OnWait | None = None,
        interruptible: Interruptible | None = None,
        tells_waits: bool = True,
        on_close: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.cancel = cancel if cancel is not None else threading.Event()
        self.tells_waits = tells_waits
        self._scope = Scope(self.cancel)
        self._http = http
        self._authorizer = authorizer if authorizer is not None else Anonymous()
        self._gate = gate if gate is not None else Gate.closed()
        self._policy = policy if policy is not None else RetryPolicy()
        self._parallel = parallel
        self._timeout = timeout
        self._on_response = on_response
        self._on_wait = on_wait
        self._interruptible = interruptible
        self._on_close = on_close
        self._clock = clock
        self._wait = wait
        self._chance = chance
        self._paces: dict[tuple[str, str, int], Pace] = {}
        self._lock = threading.Lock()

    def send(self, request: Request, *, stream: bool = False) -> HttpResponse:
        """Send a request; see `dicomsql.transport.base.Transport`.

        Raises:
            ApiError: the server answered with an error, after all attempts.
            EndpointError: it did not answer, after all attempts.
            CredentialsError: there is nothing to authorize with.
            CancelledError: `cancel` was set.
            InterfaceError: the client has been closed.
        """
        if self._http.is_closed:
            raise InterfaceError("The connection has been closed.")
        pace = self._pace(request.base_url)
        renewed = False
        number = 0
        while True:
            number += 1
            outcome = self._attempt(request, number, pace, stream=stream)
            if isinstance(outcome, HttpResponse):
                return outcome
            if outcome.status == 401 and not renewed:
                renewed = True
                if self._authorizer.renew(outcome.authorization):
                    continue
            delay = self._delay(request, number, outcome)
            if delay is None:
                raise outcome.error
            if delay:
                scope = self._scope_of(request)
                for on_wait in (self._on_wait, scope.on_wait):
                    if on_wait is not None:
                        on_wait(outcome.status, delay)
                (scope.cancel.wait if self._wait is None else self._wait)(delay)
            self._check(request)

    def identity(self) -> str:
        """What tells who is asking from everybody else, without a secret in the clear.

        Raises:
            CredentialsError: there is nothing to authorize with.
        """
        return self._authorizer.identity()

    @property
    def parallel(self) -> int:
        """Calls to one server at a time."""
        return self._parallel

    def resize(self, parallel: int) -> None:
        """So many calls to one server are made at a time from now on."""
        with self._lock:
            self._parallel = parallel
            for pace in self._paces.values():
                pace.resize(parallel)

    def abort(self) -> None:
        """Cancel, and wake every thread that waits for a server. Safe from a signal handler."""
        self.cancel.set()
        self.wake()

    def wake(self) -> None:
        """Break off every call that is on its way, whoever's it is."""
        if self._interruptible is not None:
            self._interruptible.interrupt()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()
        if self._on_close is not None:
            self._on_close()

    def _pace(self, base_url: str) -> Pace:
        origin = origin_of(base_url)
        with self._lock:
            if origin not in self._paces:
                self._paces[origin] = Pace(self._parallel)
            return self._paces[origin]

    def _scope_of(self, request: Request) -> Scope:
        return request.scope or self._scope

    def _check(self, request: Request) -> None:
        if request.finishing:
            return
        if self._scope_of(request).cancel.is_set() or self.cancel.is_set():
            raise CancelledError("The statement was cancelled.")

    def _attempt(
        self, request: Request, number: int, pace: Pace, *, stream: bool
    ) -> HttpResponse | _Failed:
        """One try: the response, or how it failed."""
        cancel = _NEVER if request.finishing else self._scope_of(request).cancel
        with pace.slot(cancel) as slot:
            connect = min(_CONNECT_TIMEOUT, self._timeout)
            timeouts = {
                "connect": connect,
                "read": self._timeout,
                "write": self._timeout,
                # A place in the pace is a connection; the pool's own wait never comes to this.
                "pool": self._timeout,
            }
            attempt = _Attempt(request, number, self._clock(), timeouts, {})
            try:
                answer = self._exchange(attempt)
            except httpx.HTTPError as error:
                return self._unanswered(attempt, error)
            except (OSError, ValueError, RuntimeError):
                # After an abort, what is made of a socket that was shut; else the body's own.
                self._check(request)
                raise
            status = answer.status_code
            if status == 429:
                slot.refused()
            if not answer.is_success and status not in request.answers:
                return self._refused(attempt, answer)
            response = HttpResponse(self, attempt, answer)
            if not stream:
                try:
                    response.load()
                except EndpointError as error:
                    return _Failed(error, status=0)
            return response

    def _exchange(self, attempt: _Attempt) -> httpx.Response:
        """Send the call; follow redirects of reads that stay with the same server."""
        request = attempt.request
        url = request.url
        for followed in range(_MOST_REDIRECTS + 1):
            call = self._built(attempt, url)
            with unlogged():
                answer = self._http.send(call, stream=True)
            if answer.status_code not in _REDIRECTS or request.method not in _READS:
                break
            target = answer.headers.get("location", "")
            try:
                joined = str(httpx.URL(url).join(target)) if target else ""
            except httpx.InvalidURL:
                break
            if not joined or origin_of(joined) != origin_of(url) or followed == _MOST_REDIRECTS:
                break
            answer.close()
            url = joined
        return answer

    def _built(self, attempt: _Attempt, url: str) -> httpx.Request:
        request = attempt.request
        attempt.authorization = self._authorizer.headers(url)
        headers = [*request.headers, *attempt.authorization.items()]
        if not any(name.lower() == "accept-encoding" for name, _ in headers):
            usual = self._http.headers.get("accept-encoding", "")
            headers.append(("Accept-Encoding", codings_for(request, usual)))
        content = request.body
        extensions = {
            "timeout": attempt.timeouts,
            "trace": partial(self._trace, request),
            "waits": self._scope_of(request).waits,
            "repeatable": self._policy.may_repeat(request) and not callable(content),
        }
        return self._http.build_request(
            request.method,
            url,
            headers=headers,
            content=self._parts(request, content) if callable(content) else content,
            extensions=extensions,
        )

    def _trace(self, request: Request, event: str, info: Mapping[str, Any]) -> None:
        """Is told by httpcore, or the transport in this process, how an attempt goes on.

        `abort` wakes whoever waits on a connection that has been noted here; who comes to wait
        only afterwards finds `cancel` set.
        """
        if isinstance(self._interruptible, Sockets):
            self._interruptible.note(event, info)
        if event.endswith("_headers.started"):
            self._check(request)

    def _parts(self, request: Request, body: Callable[[], Any]) -> Iterator[bytes]:
        for part in body():
            self._check(request)
            yield part

    def _refused(self, attempt: _Attempt, answer: httpx.Response) -> _Failed:
        """How an answer that is no success failed."""
        request = attempt.request
        status = answer.status_code
        body = bytearray()
        # What can be read of an error's explanation is used; its status says enough.
        with suppress(httpx.HTTPError):
            for piece in decoded(answer):
                body += piece
                if len(body) > _ERROR_LIMIT:
                    break
        answer.close()
        self._report(attempt, status, len(body))
        asked = asked_delay(answer.headers.get("retry-after", ""), bytes(body), datetime.now(UTC))
        error: ApiError
        if status in _REDIRECTS:
            error = api_error(
                request,
                status,
                _redirected(request, answer),
                attempts=attempt.number,
                gate=self._gate,
            )
        else:
            error = errors_from_response(
                request,
                status,
                answer.headers,
                bytes(body),
                attempts=attempt.number,
                gate=self._gate,
            )
        if status == 401:
            message = f"{error.failure.message} (sent: {self._authorizer.sent})".lstrip()
            error = type(error)(replace(error.failure, message=message))
        if asked is not None and asked > self._policy.longest_obeyed_delay:
            message = f"{error.failure.message} (the server asks to wait {asked:.0f} s)".lstrip()
            error = type(error)(replace(error.failure, message=message))
        return _Failed(error, status=status, asked=asked, authorization=attempt.authorization)

    def _unanswered(self, attempt: _Attempt, error: httpx.HTTPError) -> _Failed:
        """How a call without an answer failed."""
        self._report(attempt, 0, 0)
        self._check(attempt.request)
        return _Failed(
            self.endpoint_error(attempt, error),
            status=0,
            unreached=isinstance(error, UNREACHED),
            final=untrusted(error) is not None
            or isinstance(error, (httpx.UnsupportedProtocol, httpx.LocalProtocolError)),
        )

    def endpoint_error(self, attempt: _Attempt, error: Exception) -> EndpointError:
        """The error for people: which URL, what happened, after how many attempts."""
        request = attempt.request
        made = f"{attempt.number} attempt{'s' if attempt.number > 1 else ''}"
        where = f"{request.method} {self._gate.show_url(request)}"
        said = in_words(error, seconds=self._timeout, connect_seconds=attempt.timeouts["connect"])
        text = f"{where}: {said}, after {made}"
        if request.method not in _READS and not isinstance(error, UNREACHED):
            text += "; whether it took effect is not known"
        return EndpointError(f"{text}.")

    def _delay(self, request: Request, number: int, failed: _Failed) -> float | None:
        """Seconds to wait before the next attempt; None where there is to be none."""
        policy = self._policy
        if failed.final or number >= policy.attempts or not policy.may_repeat(request):
            return None
        if not failed.status:
            delay = policy.unreached_delay if failed.unreached else policy.delay
            return delay(number, self._chance)
        if failed.status not in policy.statuses:
            return None
        if failed.asked is None:
            return policy.delay(number, self._chance)
        # Its jitter keeps threads that were refused together from returning together.
        return (
            failed.asked + self._chance() * policy.first_delay
            if failed.asked <= policy.longest_obeyed_delay
            else None
        )

    def _report(self, attempt: _Attempt, status: int, received: int) -> None:
        seconds = self._clock() - attempt.start
        scope = self._scope_of(attempt.request)
        for on_response in (self._on_response, scope.on_response):
            if on_response is not None:
                on_response(attempt.request, status, received, seconds, attempt.number)


class HttpResponse(Closing):
    """A success whose body is there, or still to be read in pieces.

    Attributes:
        status: the HTTP status, from 200 to 299 or one of the request's `answers`.
    """

    def __init__(self, client: Client, attempt: _Attempt, answer: httpx.Response) -> None:
        self.status = answer.status_code
        self._client = client
        self._attempt = attempt
        self._answer = answer
        self._body: bytes | None = None
        self._received = 0
        self._reported = False

    def header(self, name: str) -> str:
        """The header's value, or an empty string."""
        value: str = self._answer.headers.get(name, "")
        return value

    def read(self) -> bytes:
        """The whole body."""
        if self._body is None:
            self._body = b"".join(self._pieces())
        return self._body

    def iter_bytes(self) -> Iterator[bytes]:
        """The body in pieces; of a streamed response only once."""
        if self._body is not None:
            if self._body:
                yield self._body
            return
        yield from self._pieces()

    def load(self) -> None:
        """Read the whole body, within the time that the attempt has.

        Raises:
            EndpointError: it did not come in time, or broke off.
        """
        client, timeouts = self._client, self._attempt.timeouts
        # What was sent piece by piece took as long as it is; the answer has its own time.
        streamed = callable(self._attempt.request.body)
        deadline = (client._clock() if streamed else self._attempt.start) + client._timeout
        # The transport reads them when the body begins: what the whole may take, for ours, and
        # the wait for the next piece, for others.
        timeouts["body"] = timeouts["read"] = max(0.001, deadline - client._clock())
        self._body = b"".join(self._pieces(deadline))

    def _pieces(self, deadline: float | None = None) -> Iterator[bytes]:
        client, attempt = self._client, self._attempt
        try:
            for piece in decoded(self._answer):
                self._received += len(piece)
                client._check(attempt.request)
                if deadline is not None and client._clock() > deadline:
                    raise httpx.ReadTimeout("the time of the attempt is over")
                yield piece
        except (httpx.HTTPError, httpx.StreamError, OSError, ValueError) as error:
            client._check(attempt.request)
            raise client.endpoint_error(attempt, error) from error
        finally:
            self.close()

    def close(self) -> None:
        """Give the connection back; what was not read is lost."""
        self._answer.close()
        if not self._reported:
            self._reported = True
            self._client._report(self._attempt, self.status, self._received)


@dataclass(frozen=True, slots=True)
class _Failed:
    """How an attempt failed.

    Attributes:
        status: of the answer; 0 where there was none.
        unreached: no connection came about.
        final: another attempt would fail in the same way.
        asked: seconds that the server asks to wait.
        authorization: the headers that it was authorized with.
    """

    error: ApiError | EndpointError
    status: int
    unreached: bool = False
    final: bool = False
    asked: float | None = None
    authorization: Mapping[str, str] = field(default_factory=dict)


def _redirected(request: Request, answer: httpx.Response) -> str:
    """Why a redirect ends here."""
    target = answer.headers.get("location", "")
    with suppress(httpx.InvalidURL):
        here = origin_of(str(answer.url))
        joined = str(answer.url.join(target))
        if target and request.method in _READS and origin_of(joined) == here:
            return (
                f"The server redirects this call more than {_MOST_REDIRECTS} times, from one of "
                "its own URLs to another: in a circle, as it seems."
            )
    host = origin_of(target)[1] or "another place"
    return f"The server redirects this call to {host}, where it is not followed."
