"""The emulator inside this process: its base URL, and how people see it, who have given none."""

from __future__ import annotations

__all__ = ["BASE_URL", "shown_call", "shown_place"]

# No name server knows it.
BASE_URL = "http://emulator.local"

_NAME = "the embedded emulator"


def shown_place(base_url: str) -> str:
    """A base URL for people."""
    return _NAME if base_url == BASE_URL else base_url


def shown_call(base_url: str, target: str) -> str:
    """A path and query below a base URL for people."""
    return f"{_NAME}'s {target}" if base_url == BASE_URL else base_url + target
