"""When a call is repeated, and after how long."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from dicomsql.transport.base import Request
from dicomsql.transport.retry import RetryPolicy, asked_delay

NOW = datetime(2026, 11, 22, 8, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("method", "repeatable", "may"),
    [
        ("GET", False, True),
        ("PUT", False, True),
        ("DELETE", False, True),
        ("PATCH", False, True),
        ("POST", False, False),
        ("POST", True, True),
    ],
)
def test_post_is_repeated_only_where_that_is_safe(method: str, repeatable: bool, may: bool) -> None:
    request = Request(method, "https://h", "/x", repeatable=repeatable)
    assert RetryPolicy().may_repeat(request) is may


def test_waits_double_under_full_jitter_up_to_a_cap() -> None:
    policy = RetryPolicy()
    assert [policy.bound(n) for n in range(1, 10)] == [0.5, 1, 2, 4, 8, 16, 32, 32, 32]
    assert policy.delay(3, lambda: 0.0) == 0.0
    assert policy.delay(3, lambda: 0.5) == 1.0


def test_a_dead_endpoint_is_reported_within_seconds() -> None:
    policy = RetryPolicy()
    waits = [policy.unreached_delay(n, lambda: 1.0) for n in range(1, policy.attempts)]
    assert sum(waits) == 3.5


def google(details: object) -> bytes:
    return json.dumps({"error": {"code": 429, "details": details}}).encode()


@pytest.mark.parametrize(
    ("header", "body", "asked"),
    [
        ("7", b"", 7.0),
        ("Sun, 22 Nov 2026 08:00:30 GMT", b"", 30.0),
        ("Sun, 22 Nov 2026 08:00:30 -0000", b"", 30.0),
        ("Sun, 22 Nov 2026 07:00:00 GMT", b"", 0.0),
        ("soon", b"", None),
        ("", b"", None),
        ("", google([{"@type": "x"}, {"retryDelay": "1.5s"}]), 1.5),
        ("", b"[" + google([{"retryDelay": "2s"}]) + b"]", 2.0),
        ("", google([{"retryDelay": "xs"}]), None),
        ("", google([{"retryDelay": 3}]), None),
        ("", google({"retryDelay": "3s"}), None),
        ("", b"retryDelay", None),
        ("", b'[] "retryDelay"', None),
        ("", b'"retryDelay"', None),
    ],
)
def test_what_a_server_asks_for(header: str, body: bytes, asked: float | None) -> None:
    assert asked_delay(header, body, NOW) == asked
