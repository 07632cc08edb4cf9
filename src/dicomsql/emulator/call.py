"""One request, as the handlers see it: names from the path, parameters, and what they act on."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dicomsql.emulator import multipart
from dicomsql.emulator.folder import Folder
from dicomsql.emulator.jobs import Runner
from dicomsql.emulator.neighbours.base import Neighbours
from dicomsql.emulator.status import (
    StatusError,
    invalid,
    invalid_field,
    not_acceptable,
    not_found,
)

# Parameters that every method of a Google API takes. They change nothing here but `fields`.
_COMMON = (
    "$.xgafv access_token alt callback fields key oauth_token prettyPrint quotaUser uploadType"
    " upload_protocol $alt $fields $prettyPrint $userProject userProject"
)
COMMON_PARAMETERS = frozenset(_COMMON.split())
_BODY_LIMIT = 10 * 1024 * 1024
_DEPTH_LIMIT = 100  # what the JSON of protocol buffers takes


@dataclass(frozen=True, slots=True)
class Call:
    """A request.

    Attributes:
        folder: what is served.
        version: `v1` or `v1beta1`.
        template: the path without its values, for people.
        names: the values of the path's variables.
        query: the parameters in the order in which they came.
        headers: by lower-case name.
        origin: scheme and host for URLs in answers.
        neighbours: the services beside the stores.
        runner: does what operations are for.
        chunks: gives the body, once.
    """

    folder: Folder
    version: str
    template: str
    names: Mapping[str, str]
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    origin: str
    neighbours: Neighbours
    runner: Runner
    chunks: Callable[[], Iterator[bytes]]

    def parameter(self, name: str) -> str | None:
        """A query parameter's value, or None.

        Raises:
            StatusError: it was given more than once.
        """
        values = [value for key, value in self.query if key == name]
        if len(values) > 1:
            raise invalid(f"The parameter {name} was given {len(values)} times; give it once.")
        return values[0] if values else None

    def json_body(self) -> Any:
        """The body as JSON; an empty one is an empty object.

        Raises:
            StatusError: 400 for a body that is too long, of another type, or no JSON.
        """
        content = bytearray()
        for chunk in self.chunks():
            content += chunk
            if len(content) > _BODY_LIMIT:
                raise invalid(f"Request payload size exceeds the limit: {_BODY_LIMIT} bytes.")
        if not content.strip():
            return {}
        media_type = self.headers.get("content-type") or "application/json"
        if not re.match(r"\s*application/([\w.-]+\+)?json\s*(;|$)", media_type, re.IGNORECASE):
            raise invalid("The body has to be JSON: send it with Content-Type: application/json.")
        try:
            body = json.loads(content, parse_constant=_refuse_constant)
            _check_json(body)
        except (ValueError, RecursionError):
            raise invalid(
                "Invalid JSON payload received. The body is no valid JSON"
                f" of at most {_DEPTH_LIMIT} levels."
            ) from None
        return body

    @property
    def path(self) -> str:
        """The path, with the names of what it is about."""
        return re.sub(r"\{(\w+)\*?\}", lambda match: self.names[match[1]], self.template)

    @property
    def location_name(self) -> str:
        """`projects/P/locations/L`."""
        return f"projects/{self.names['project']}/locations/{self.names['location']}"

    @property
    def dataset_name(self) -> str:
        """`projects/P/locations/L/datasets/D`."""
        return f"{self.location_name}/datasets/{self.names['dataset']}"

    @property
    def store_name(self) -> str:
        """`projects/P/locations/L/datasets/D/dicomStores/S`."""
        return f"{self.dataset_name}/dicomStores/{self.names['store']}"

    @property
    def web_url(self) -> str:
        """The store's DICOMweb root as a URL."""
        return f"{self.origin}/{self.version}/{self.store_name}/dicomWeb"


def dataset_id(db: sqlite3.Connection, call: Call) -> int:
    """The row of the dataset in the path.

    Raises:
        StatusError: 403 where there is none, since Google does not say which datasets exist.
    """
    row = db.execute(
        "SELECT id FROM datasets WHERE project = ? AND location = ? AND name = ?",
        (call.names["project"], call.names["location"], call.names["dataset"]),
    ).fetchone()
    if row is None:
        raise StatusError(
            "PERMISSION_DENIED",
            f"Permission denied on resource {call.dataset_name} (or it may not exist).",
        )
    return int(row[0])


def store_id(db: sqlite3.Connection, call: Call) -> int:
    """The row of the DICOM store in the path.

    Raises:
        StatusError: 403 for a missing dataset, 404 for a missing store in one that exists.
    """
    row = db.execute(
        "SELECT id FROM stores WHERE dataset_id = ? AND name = ?",
        (dataset_id(db, call), call.names["store"]),
    ).fetchone()
    if row is None:
        raise not_found(f"DICOM store not found: {call.store_name}.")
    return int(row[0])


def check_parameters(call: Call, allowed: frozenset[str]) -> None:
    """Refuse query parameters that a method does not have, as Google's front end does."""
    for name, _ in call.query:
        if name not in allowed and name not in COMMON_PARAMETERS:
            shown = name if name.isascii() and name.isprintable() else "?"
            raise invalid_field(
                "",
                f'Invalid JSON payload received. Unknown name "{shown}": Cannot bind query'
                " parameter. Field could not be found in request message.",
            )


def accept(call: Call, offers: dict[str, str], *, ignore_type: bool = False) -> str:
    """The first offer that the Accept header takes; the offers' order decides for `*/*`.

    Raises:
        StatusError: 406.
    """
    for kind, parameters in multipart.accepted(call.headers.get("accept", "")):
        for offer, answer in offers.items():
            family = offer.partition("/")[0] + "/*"
            if kind in {offer, family, "*/*"} and (ignore_type or "type" not in parameters):
                return answer
    raise not_acceptable(f"The Accept header allows none of {', '.join(offers)}.")


def _check_json(body: Any) -> None:
    """Refuse, with ValueError, what Python reads and no message of the API can hold."""
    left = [(body, 1)]
    while left:
        value, depth = left.pop()
        if depth > _DEPTH_LIMIT:
            raise ValueError
        if isinstance(value, str):
            value.encode()  # half of a surrogate pair is no text
        elif isinstance(value, dict):
            left += [(part, depth + 1) for item in value.items() for part in item]
        elif isinstance(value, list):
            left += [(part, depth + 1) for part in value]


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)
