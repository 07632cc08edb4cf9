"""When a call is made again, and how long is waited before: decisions without clock or network."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from dicomsql.transport.base import Request

# Methods whose repetition changes nothing (RFC 9110, section 9.2.2), and PATCH, which Google's
# services treat so: the same mask and the same values give the same resource.
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently a call is made again.

    Attributes:
        attempts: calls at most, the first included.
        first_delay: upper bound of the first wait, in seconds; each further bound doubles it.
        longest_delay: no bound is larger.
        longest_unreached_delay: the same where no connection came about. A server that nobody
            runs should be reported within seconds: five attempts then wait 3.5 s at most.
        longest_obeyed_delay: a server that asks to wait longer than this is not waited for; the
            call fails at once and says so, which is better than a program that seems to hang.
        statuses: the answers after which a call may succeed when it is made again.
    """

    attempts: int = 5
    first_delay: float = 0.5
    longest_delay: float = 32.0
    longest_unreached_delay: float = 1.0
    longest_obeyed_delay: float = 120.0
    statuses: frozenset[int] = field(default=frozenset({408, 425, 429, 500, 502, 503, 504}))

    def may_repeat(self, request: Request) -> bool:
        """Whether the call may be made again after a failure whose effect is unknown."""
        return request.repeatable or request.method.upper() in _REPEATABLE

    def bound(self, attempt: int) -> float:
        """The longest wait after the attempt of that number (1 is the first), in seconds."""
        return float(min(self.longest_delay, self.first_delay * 2 ** (attempt - 1)))

    def delay(self, attempt: int, random: Callable[[], float]) -> float:
        """The wait after an attempt that was answered: full jitter below `bound`.

        `random` gives a number in [0, 1).
        """
        return random() * self.bound(attempt)

    def unreached_delay(self, attempt: int, random: Callable[[], float]) -> float:
        """The wait after an attempt that found no server."""
        return random() * min(self.longest_unreached_delay, self.bound(attempt))


def asked_delay(retry_after: str, body: bytes, now: datetime) -> float | None:
    """The seconds that a server asks to wait, or None where it asks for nothing.

    It says so in the header Retry-After, as seconds or as a date (RFC 9110, section 10.2.3), or,
    as Google's services do, in a `google.rpc.RetryInfo` among the error's details.
    """
    text = retry_after.strip()
    if text:
        if text.isascii() and text.isdigit():
            return float(text)
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, (moment - now).total_seconds())
    return _retry_info(body) if b"retryDelay" in body else None


def _retry_info(body: bytes) -> float | None:
    try:
        content = json.loads(body)
    except ValueError:
        return None
    if isinstance(content, list):
        content = content[0] if content else None
    error = content.get("error") if isinstance(content, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str) and delay.endswith("s"):
            try:
                return max(0.0, float(delay[:-1]))
            except ValueError:
                return None
    return None
