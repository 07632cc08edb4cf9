"""How answers look: JSON, long or short, and failures in either of Google's two forms."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from dicomsql.emulator.status import StatusError, invalid_field

# what $.xgafv=1 calls each status, where it is not the status itself in camel case
_REASONS = {
    "INVALID_ARGUMENT": "badRequest",
    "PERMISSION_DENIED": "forbidden",
    "RESOURCE_EXHAUSTED": "rateLimitExceeded",
    "DATA_LOSS": "backendError",
    "INTERNAL": "backendError",
    "UNAVAILABLE": "backendError",
    "UNIMPLEMENTED": "notImplemented",
}
# parameters of every method (`parameters` of the discovery document) whose values are limited
_VALUES = {
    "alt": ("json", "media", "proto"),
    "$.xgafv": ("1", "2"),
    "prettyPrint": ("true", "false", "1", "0"),
}


@dataclass(frozen=True, slots=True)
class Style:
    """What a request asks of its answer's form.

    Attributes:
        pretty: with line breaks and indentations.
        legacy: failures list their `errors` too, as the first version of the form has it.
    """

    pretty: bool = True
    legacy: bool = False


def style(query: Iterable[tuple[str, str]]) -> Style:
    """The form that the parameters ask for; what is wrong with them is left to `check_system`."""
    given = {name.removeprefix("$"): value for name, value in query}
    return Style(
        pretty=given.get("prettyPrint", "").lower() not in {"false", "0"},
        legacy=given.get(".xgafv") == "1",
    )


def check_system(query: Iterable[tuple[str, str]]) -> None:
    """Refuse values that the parameters of every method do not take.

    Raises:
        StatusError: 400, or 501 for what Google answers and the emulator does not.
    """
    for name, value in query:
        plain = name if name == "$.xgafv" else name.removeprefix("$")
        if plain == "callback" and value:
            # a page could read an answer that is a script, whatever its origin
            raise invalid_field(name, "The emulator gives no JSONP; leave out callback.")
        allowed = _VALUES.get(plain)
        if allowed and value.lower() not in allowed:
            raise invalid_field(
                name, f"Invalid value of the parameter {name}: one of {', '.join(allowed)}."
            )
        if plain == "alt" and value.lower() == "proto":
            raise StatusError("UNIMPLEMENTED", "The emulator answers in JSON only (alt=json).")


def success(content: Any, form: Style) -> Response:
    """200, with JSON."""
    return _json(content, 200, form)


def failure(error: StatusError, form: Style) -> Response:
    """The answer for a request that failed."""
    body = error.body()
    if form.legacy:
        first, *rest = error.status.lower().split("_")
        reason = _REASONS.get(error.status, first + "".join(word.title() for word in rest))
        listed = {"message": error.message, "domain": "global", "reason": reason}
        body["error"]["errors"] = [listed]
    return _json(body, error.http, form)


def _json(content: Any, status: int, form: Style) -> Response:
    separators, indent = (None, 2) if form.pretty else ((",", ":"), None)
    text = json.dumps(content, ensure_ascii=False, indent=indent, separators=separators)
    end = "\n" if form.pretty else ""
    return Response(text + end, status, media_type="application/json; charset=utf-8")
