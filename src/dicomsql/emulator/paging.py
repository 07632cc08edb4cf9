"""Pages of the admin side's lists: pageSize, and an opaque pageToken that holds the last key."""

from __future__ import annotations

import base64
import binascii
import re

from dicomsql.emulator.call import Call
from dicomsql.emulator.status import invalid

DEFAULT_SIZE = 100
LARGEST_SIZE = 1000


def page_size(call: Call) -> int:
    """The page's size.

    Raises:
        StatusError: 400 for what is no number from 0 to 1000 (0 stands for the default).
    """
    text = call.parameter("pageSize") or "0"
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) > LARGEST_SIZE:
        raise invalid(f"Invalid pageSize: a number from 0 to {LARGEST_SIZE} is needed.")
    return int(text) or DEFAULT_SIZE


def last_key(call: Call) -> str:
    """The key after which the page begins; empty for the first page.

    Raises:
        StatusError: 400 for a token that was not given out here.
    """
    token = call.parameter("pageToken")
    if not token:
        return ""
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    except (binascii.Error, UnicodeError, ValueError):
        text = ""
    if not text.startswith("k:"):
        raise invalid("Invalid pageToken: give the nextPageToken of the page before, unchanged.")
    return text.removeprefix("k:")


def token_after(key: str) -> str:
    """The token of the page that begins after a key."""
    return base64.urlsafe_b64encode(f"k:{key}".encode()).decode().rstrip("=")
