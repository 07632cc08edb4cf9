"""Pages of the admin side's lists: pageSize, and an opaque pageToken that holds the last key.

A token is good for the list that it was given for, with the same filter, for three days.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time

from dicomsql.emulator.call import Call
from dicomsql.emulator.status import StatusError, invalid_field

DEFAULT_SIZE = 100
LARGEST_SIZE = 1000
LIFETIME = 3 * 24 * 3600.0


def page_size(call: Call) -> int:
    """The page's size.

    Raises:
        StatusError: 400 for what is no number from 0 to 1000 (0 stands for the default).
    """
    text = call.parameter("pageSize") or "0"
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) > LARGEST_SIZE:
        raise invalid_field(
            "page_size", f"Invalid page_size: a number from 0 to {LARGEST_SIZE} is needed."
        )
    return int(text) or DEFAULT_SIZE


def last_key(call: Call) -> str:
    """The key after which the page begins; empty for the first page.

    Raises:
        StatusError: 400 for a token that was not given out here, or for another list, or long ago.
    """
    token = call.parameter("pageToken")
    if not token:
        return ""
    try:
        padded = token + "=" * (-len(token) % 4)
        key, issued, mark = json.loads(base64.b64decode(padded, b"-_", validate=True))
        genuine = type(key) is str and type(issued) is int and mark == _mark(call, key, issued)
    except (ValueError, TypeError, RecursionError):
        raise _refused("give the nextPageToken of the page before, unchanged") from None
    if not genuine:
        raise _refused("it was given for another list or another filter")
    if not 0 <= time.time() - issued <= LIFETIME:
        raise _refused("it has expired; begin again with the first page")
    return str(key)


def token_after(call: Call, key: str) -> str:
    """The token of the page that begins after a key of the list that the call is for."""
    issued = int(time.time())
    content = json.dumps([key, issued, _mark(call, key, issued)]).encode()
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _mark(call: Call, key: str, issued: int) -> str:
    """Ties a key to its list: nobody has to be kept from making one, only from mixing them up."""
    path = call.template.partition(f"/{call.version}/")[2]
    content = [path, sorted(call.names.items()), call.parameter("filter") or "", key, issued]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _refused(reason: str) -> StatusError:
    return invalid_field("page_token", f"Invalid page_token: {reason}.")
