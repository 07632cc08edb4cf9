"""Misbehaving on purpose: requests that fail, wait or are too many, so that clients can be tested.

Which request fails, how and at what moment is drawn from a seed, in the order in which requests
arrive. The faults are those of real servers and networks: a reset is a reset of the connection, a
stall lasts until the client gives up, and a failure may come after the request was carried out.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from dicomsql.emulator.errors import EmulatorError
from dicomsql.emulator.status import StatusError

__all__ = ["CONNECTION", "Behaviour", "Connection", "Fault", "Faults", "Misbehaving"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]
T = TypeVar("T")
Number = TypeVar("Number", int, float)

# The key of a request's Connection in its scope.
CONNECTION = "dicomsql.connection"

_SERVICE = "healthcare.googleapis.com"
_MINUTE = 60.0
# Bytes of an answer of unknown length among which the place is drawn where it breaks off.
_STREAMED = 1 << 16


class Fault(StrEnum):
    """How a request fails."""

    BUSY = "429"
    DOWN = "503"
    RESET = "reset"
    STALL = "stall"
    TRUNCATE = "truncate"


class _Moment(StrEnum):
    BEFORE = "before it was carried out"
    AFTER = "after it was carried out"


# What is refused for its rate was not carried out; an answer that breaks off belongs to one that
# was. Of the others a client cannot know.
_MOMENTS = {
    Fault.BUSY: (_Moment.BEFORE,),
    Fault.DOWN: tuple(_Moment),
    Fault.RESET: tuple(_Moment),
    Fault.STALL: tuple(_Moment),
    Fault.TRUNCATE: (_Moment.AFTER,),
}


@dataclass(frozen=True, slots=True)
class _Blow:
    fault: Fault
    moment: _Moment
    part: float  # of an answer that gets through


@dataclass(frozen=True, slots=True)
class Faults:
    """Which requests fail.

    Attributes:
        rate: part of the requests that fail, from 0 to 1.
        kinds: the ways in which they do, each as often as another; texts are taken too.
        seed: of what is drawn; the same requests in the same order fail in the same way.

    Raises:
        EmulatorError: the rate is no part, or a kind is unknown.
    """

    rate: float
    kinds: tuple[Fault, ...] = tuple(Fault)
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise EmulatorError(f"The rate of faults is {self.rate}; it goes from 0 to 1.")
        kinds = tuple(_kind(name) for name in dict.fromkeys(self.kinds))
        if not kinds:
            raise EmulatorError(f"Faults are of no kind; the kinds are {', '.join(Fault)}.")
        object.__setattr__(self, "kinds", kinds)

    @classmethod
    def parse(cls, text: str) -> Faults:
        """Faults as the command line has them: `rate=0.01,kinds=429,503,reset,seed=7`.

        What stands alone after `kinds=` is one more kind; only the rate is needed.

        Raises:
            EmulatorError: the text does not say that.
        """
        found: dict[str, list[str]] = {}
        values: list[str] = []
        for item in text.split(","):
            name, equals, value = item.strip().partition("=")
            if equals:
                if name not in {"rate", "kinds", "seed"} or name in found:
                    raise _misspelled(f"{name!r} is unknown, or there twice")
                values = found[name] = [value.strip()]
            elif "kinds" in found and values is found["kinds"]:
                values.append(name)
            else:
                raise _misspelled(f"{name!r} stands alone")
        kinds = tuple(_kind(name) for name in found.get("kinds", tuple(Fault)))
        if "rate" not in found:
            raise _misspelled("there is no rate")
        return cls(
            _number(found["rate"][0], float, "rate"),
            kinds,
            _number(found.get("seed", ["0"])[0], int, "seed"),
        )


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a server treats requests before it looks at them.

    Attributes:
        faults: which of them fail, if any do.
        latency: seconds that each of them waits.
        quota: how many of them are answered in a minute; the others get 429.

    Raises:
        EmulatorError: a number is out of its range.
    """

    faults: Faults | None = None
    latency: float = 0.0
    quota: int | None = None

    def __post_init__(self) -> None:
        check_seconds("latency", self.latency)
        if self.quota is not None and self.quota < 1:
            raise EmulatorError(f"The quota is {self.quota}; it is at least one request a minute.")

    def __bool__(self) -> bool:
        return self.faults is not None or self.latency > 0 or self.quota is not None


def check_seconds(what: str, value: float) -> None:
    """Refuse what is no time to wait.

    Raises:
        EmulatorError: it is negative or not finite.
    """
    if not 0 <= value < float("inf"):
        raise EmulatorError(f"The {what} is {value}; it is a number of seconds from 0.")


class Connection(Protocol):
    """The connection that a request came over, as far as a fault needs it."""

    def reset(self) -> None:
        """Break it off, as a network does (RST); what was not sent yet is lost."""

    def end(self) -> None:
        """End it when what was sent has gone out."""


class Misbehaving:
    """An ASGI application that treats requests to another one as a `Behaviour` says.

    Where the server gives no `Connection` in the scope, under `CONNECTION` of its extensions, a
    request whose connection should break raises ConnectionResetError instead.

    Args:
        log: gets one line for each request that fails, without its path.
        clock: seconds, by which the quota's minutes are measured.

    Attributes:
        struck: how many requests failed in which way; those beyond the quota count as `quota`.
    """

    def __init__(
        self,
        app: Application,
        behaviour: Behaviour,
        *,
        log: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._behaviour = behaviour
        self._log = log
        self._faults = behaviour.faults or Faults(0.0)
        self._random = random.Random(self._faults.seed)  # noqa: S311 - no secret depends on it
        self._clock = clock
        self._renewed = float("-inf")
        self._left = 0
        self._ending = asyncio.Event()
        self.struck: Counter[str] = Counter()

    def release(self) -> None:
        """End all that waits, since the server ends; to be called on the loop's thread."""
        self._ending.set()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._behaviour.latency:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), self._behaviour.latency)
        if self._is_over_quota():
            self._note(scope, "quota", _Moment.BEFORE)
            await _refuse(send, _exhausted(self._behaviour.quota))
            return
        blow = self._draw()
        if blow is None:
            await self._app(scope, receive, send)
        else:
            self._note(scope, blow.fault, blow.moment)
            await self._strike(blow, scope, receive, send)

    def _draw(self) -> _Blow | None:
        """What becomes of the next request; as many numbers are drawn for each."""
        number, kind, moment, part = (self._random.random() for _ in range(4))
        if number >= self._faults.rate:
            return None
        fault = _choose(self._faults.kinds, kind)
        return _Blow(fault, _choose(_MOMENTS[fault], moment), part)

    async def _strike(self, blow: _Blow, scope: Message, receive: Receive, send: Send) -> None:
        if blow.fault is Fault.TRUNCATE:
            truncated = _Truncated(send, blow.part)
            await self._app(scope, receive, truncated)
            if not truncated.began:
                _connection(scope).end()
                await _gone(receive)
            # The server ends the connection of an answer that is begun and not ended.
            return
        if blow.moment is _Moment.AFTER:
            await self._app(scope, receive, _drop)
        if blow.fault is Fault.BUSY:
            await _refuse(send, _exhausted(None))
        elif blow.fault is Fault.DOWN:
            text = "The service is currently unavailable."
            await _refuse(send, StatusError("UNAVAILABLE", text))
        else:
            if blow.fault is Fault.STALL:
                await self._until_gone(receive)
            _connection(scope).reset()
            await _gone(receive)

    def _is_over_quota(self) -> bool:
        """Whether this request is one too many; where it is not, it counts."""
        if self._behaviour.quota is None:
            return False
        now = self._clock()
        if now >= self._renewed + _MINUTE:
            self._renewed, self._left = now, self._behaviour.quota
        if not self._left:
            return True
        self._left -= 1
        return False

    async def _until_gone(self, receive: Receive) -> None:
        """Wait until the client gives up, or the server ends; what is still sent is not kept."""
        waits = [asyncio.ensure_future(_gone(receive)), asyncio.ensure_future(self._ending.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def _note(self, scope: Message, kind: str, moment: _Moment) -> None:
        self.struck[str(kind)] += 1
        if self._log is not None:
            self._log(f"{scope['method']} fails on purpose: {kind}, {moment}")


class _Truncated:
    """Sends a part of an answer only: of its body, or nothing where it has none."""

    def __init__(self, send: Send, part: float) -> None:
        self._send = send
        self._part = part
        self._head: Message | None = None
        self._room = 0
        self._over = False
        self.began = False

    async def __call__(self, message: Message) -> None:
        if self._over:
            return
        if message["type"] == "http.response.start":
            lengths = [
                int(v)
                for name, v in message.get("headers", ())
                if name.lower() == b"content-length"
            ]
            self._head = message
            self._room = int(self._part * (lengths[0] if lengths else _STREAMED))
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        self._over = not more or len(body) > self._room
        if self._over:
            body = body[: min(self._room, max(len(body) - 1, 0))]
        self._room -= len(body)
        if self._head is not None and (body or more):
            await self._send(self._head)
            self._head, self.began = None, True
        if body:
            await self._send({"type": "http.response.body", "body": body, "more_body": True})


async def _refuse(send: Send, error: StatusError) -> None:
    content = json.dumps(error.body(), indent=2).encode() + b"\n"
    headers = [
        (b"content-type", b"application/json; charset=utf-8"),
        (b"content-length", b"%d" % len(content)),
    ]
    await send({"type": "http.response.start", "status": error.http, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _drop(_: Message) -> None:
    """Lose an answer."""


def _connection(scope: Message) -> Connection:
    connection: Connection | None = scope.get("extensions", {}).get(CONNECTION)
    if connection is None:
        raise ConnectionResetError("The connection breaks off on purpose.")
    return connection


def _exhausted(quota: int | None) -> StatusError:
    """429 in the form of Google's services; no document speaks of a Retry-After."""
    limit = {} if quota is None else {"quota_limit_value": str(quota)}
    return StatusError(
        "RESOURCE_EXHAUSTED",
        "Quota exceeded for quota metric 'Requests' and limit 'Requests per minute' of service "
        f"'{_SERVICE}'.",
        http=429,
        details=[
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "RATE_LIMIT_EXCEEDED",
                "domain": "googleapis.com",
                "metadata": {"service": _SERVICE, "quota_unit": "1/min/{project}", **limit},
            }
        ],
    )


def _choose(choices: tuple[T, ...], number: float) -> T:
    """One of them, by a number from 0 to below 1."""
    return choices[int(number * len(choices))]


def _kind(name: str) -> Fault:
    try:
        return Fault(name)
    except ValueError:
        raise _misspelled(f"{name!r} is no kind; the kinds are {', '.join(Fault)}") from None


def _number(text: str, kind: type[Number], name: str) -> Number:
    try:
        return kind(text)
    except ValueError:
        raise _misspelled(f"{text!r} is no {name}") from None


def _misspelled(why: str) -> EmulatorError:
    return EmulatorError(
        f"The faults are not understood: {why}. "
        "Write them as rate=0.01,kinds=429,503,reset,stall,truncate,seed=7."
    )
