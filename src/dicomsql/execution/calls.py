"""One call of a method: its request from parameters and body, and its answer as it came."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dicomsql.errors import InterfaceError, OperationalError
from dicomsql.transport.base import Body, Request

if TYPE_CHECKING:
    from dicomsql.catalog.model import Method
    from dicomsql.execution.run import Run

# The status of an answer that has no body because there is nothing to say.
NO_CONTENT = 204

# The status of an answer that is not all that was asked for (RFC 9110 section 15.3.7).
PARTIAL_CONTENT = 206

# The Warning that there are more results than were given.
_MORE_RESULTS = "299"

# A call's parameters by their names; several values are one query parameter each.
CallValues = dict[str, str | tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Page:
    """An answer as it came.

    Attributes:
        body: empty for 204.
        media: its media type, without parameters.
        warning: its Warning header, empty where it has none.
        content_type: its media type, with parameters.
    """

    body: bytes
    media: str
    status: int
    warning: str = ""
    content_type: str = ""


def make_request(
    method: Method,
    base_url: str,
    values: Mapping[str, str | tuple[str, ...]],
    *,
    query: tuple[tuple[str, str], ...] = (),
    body: Body = None,
    media: str = "",
) -> Request:
    """The request of a call.

    Args:
        values: parameter -> value; one that the method does not declare is sent as a query
            parameter, and several values as one query parameter each.
        query: further query parameters.

    Raises:
        InterfaceError: nothing says where the server is.
    """
    if not base_url:
        raise InterfaceError(
            f"Where the server of {method.provider}.{method.service} is has not been said: give its"
            f" base URL with --endpoint or endpoint=, or name a connection to it, PACS say, and"
            f" write {method.provider}.PACS.{method.resource}."
        )
    path_values = []
    pairs: list[tuple[str, str]] = []
    headers = [("Accept", method.accept)]
    for name, value in values.items():
        declared = method.parameter(name)
        several = value if isinstance(value, tuple) else (value,)
        if declared is not None and declared.location == "path":
            path_values.append((declared.name, several[0]))
        elif declared is not None and declared.location == "header":
            headers.append((declared.name, several[0]))
        else:
            spelled = declared.name if declared is not None else name
            pairs += [(spelled, one) for one in several]
    if media:
        headers.append(("Content-Type", media))
    return Request(
        method=method.http_method,
        base_url=base_url,
        path=method.path,
        path_values=tuple(path_values),
        query=(*_fixed(method, values), *pairs, *query),
        headers=tuple(headers),
        body=body,
        repeatable=method.repeatable,
        resource=method.full_name,
        refusals=method.refusals,
    )


def _fixed(method: Method, values: Mapping[str, str | tuple[str, ...]]) -> list[tuple[str, str]]:
    """What every call of a method has in its query, but for what is given otherwise."""
    given = {name.lower() for name in values} if method.query else set()
    return [(name, value) for name, value in method.query if name.lower() not in given]


def single(run: Run, request: Request) -> Page:
    """Make one call and read its answer."""
    with run.send(request) as response:
        kind = response.header("content-type").strip()
        media = kind.partition(";")[0].strip().lower()
        warning = response.header("warning")
        if response.status == PARTIAL_CONTENT:
            # Some servers say so of a search that has more results (PS3.18 section 8.3.4.4).
            warning = f"{_MORE_RESULTS} {warning}".strip()
        page = Page(response.read(), media, response.status, warning, kind)
    run.count_page()
    return page


def check_not_empty(page: Page, what: str) -> None:
    """Make sure that an answer which was due as JSON is there, if only to say that there is none.

    Args:
        what: the full name of the method that answered.

    Raises:
        OperationalError: a success without a body, other than 204, which says `nothing`.
    """
    if page.status != NO_CONTENT and (not page.body or page.body.isspace()):
        raise OperationalError(
            f"{what}: the server answered {page.status} without a body where JSON was due, so it "
            f"cannot be told what there is. Is the endpoint that of the service?"
        )


def json_object(page: Page, what: str) -> dict[str, Any]:
    """The JSON object that an answer is; empty where it has no body.

    Args:
        what: the full name of the method that answered.

    Raises:
        OperationalError: it is something else.
    """
    if not page.body:
        return {}
    try:
        found = json.loads(page.body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise OperationalError(
            f"{what}: the answer is no JSON object ({page.media or 'unknown media type'}, "
            f"{len(page.body):,} bytes). Is the endpoint that of the service?"
        )
    return found
