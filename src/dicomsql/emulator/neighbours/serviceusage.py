"""Service Usage: a project's services, enabled and disabled.

Nothing is refused here because its service is not enabled; the answers are there so that scripts
which enable services run as they are.
"""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any

from dicomsql.emulator.folder import Folder
from dicomsql.emulator.neighbours import web
from dicomsql.emulator.neighbours.state import State, page, project_number
from dicomsql.emulator.neighbours.web import Ask, Method
from dicomsql.emulator.status import StatusError, invalid, not_found

if TYPE_CHECKING:
    from starlette.routing import Route

__all__ = ["routes"]

# The services that answer at the emulator's address.
TITLES = {
    "bigquery.googleapis.com": "BigQuery API",
    "cloudresourcemanager.googleapis.com": "Cloud Resource Manager API",
    "healthcare.googleapis.com": "Cloud Healthcare API",
    "pubsub.googleapis.com": "Cloud Pub/Sub API",
    "serviceusage.googleapis.com": "Service Usage API",
    "storage.googleapis.com": "Cloud Storage API",
}
_TYPE = "type.googleapis.com/google.api.serviceusage.v1."
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9-]+)*\.(googleapis|cloud\.goog)\.com")
_STATES = {"state:ENABLED": True, "state:DISABLED": False}
# Service Usage's own bounds.
_DEFAULT_PAGE, _LARGEST_PAGE, _MOST_AT_ONCE = 50, 200, 20


def routes(folder: Folder) -> list[Route]:
    """The methods of Service Usage v1 for projects."""
    usage = _Usage(State(folder))
    parent = "/v1/projects/{project}/services"
    methods = (
        Method("GET", parent, usage.listed, frozenset({"filter", "pageSize", "pageToken"})),
        Method("POST", parent + ":batchEnable", usage.batch_enable),
        Method("GET", parent + ":batchGet", usage.batch_get, frozenset({"names"})),
        Method("GET", parent + "/{service}", usage.get),
        Method("POST", parent + "/{service}:enable", usage.enable),
        Method("POST", parent + "/{service}:disable", usage.disable),
        Method("GET", "/v1/operations/{operation}", usage.operation),
        web.unimplemented("GET", "/v1/operations"),
        web.unimplemented("DELETE", "/v1/operations/{operation}"),
        web.unimplemented("POST", "/v1/operations/{operation}:cancel"),
    )
    return [web.route(method) for method in methods]


class _Usage:
    """The methods over what is kept."""

    def __init__(self, state: State) -> None:
        self._state = state

    def listed(self, ask: Ask) -> dict[str, Any]:
        project = ask.names["project"]
        wanted = _wanted(ask.parameter("filter"))
        known = {**dict.fromkeys(TITLES, False), **self._state.services(project)}
        names = [n for n in sorted(known) if wanted is None or known[n] == wanted]
        shown, following = page(ask, names, _DEFAULT_PAGE, _LARGEST_PAGE)
        answer: dict[str, Any] = {"services": [_service(project, n, known[n]) for n in shown]}
        if not shown:
            del answer["services"]
        return answer | ({"nextPageToken": following} if following else {})

    def get(self, ask: Ask) -> dict[str, Any]:
        project, name = ask.names["project"], _checked(ask.names["service"])
        return _service(project, name, self._state.services(project).get(name, False))

    def batch_get(self, ask: Ask) -> dict[str, Any]:
        project = ask.names["project"]
        known = self._state.services(project)
        prefixes = tuple(f"projects/{p}/services/" for p in (project, project_number(project)))
        found = []
        for full in [value for key, value in ask.query if key == "names"]:
            if not full.startswith(prefixes):
                raise invalid(f"Each of names has to begin with {prefixes[0]}.")
            name = _checked(full.rsplit("/", 1)[-1])
            found.append(_service(project, name, known.get(name, False)))
        return {"services": found}

    def enable(self, ask: Ask) -> dict[str, Any]:
        web.known(ask.body(), ())
        return self._switched(ask, [ask.names["service"]], enabled=True)

    def disable(self, ask: Ask) -> dict[str, Any]:
        web.known(ask.body(), ("disableDependentServices", "checkIfServiceHasUsage"))
        return self._switched(ask, [ask.names["service"]], enabled=False)

    def batch_enable(self, ask: Ask) -> dict[str, Any]:
        body = ask.body()
        web.known(body, ("serviceIds",))
        names = body.get("serviceIds")
        if not isinstance(names, list) or not 1 <= len(names) <= _MOST_AT_ONCE:
            raise invalid(f"serviceIds has to be a list of 1 to {_MOST_AT_ONCE} services.")
        return self._switched(ask, [str(name) for name in names], enabled=True, several=True)

    def operation(self, ask: Ask) -> dict[str, Any]:
        name = f"operations/{ask.names['operation']}"
        found = self._state.operation(name)
        if found is None:
            raise not_found(f"Operation not found: {name}.")
        return found

    def _switched(
        self, ask: Ask, names: list[str], *, enabled: bool, several: bool = False
    ) -> dict[str, Any]:
        """Enable or disable services; the answer is an operation that is done already."""
        project = ask.names["project"]
        self._state.switch(project, [_checked(name) for name in names], enabled)
        services = [_service(project, name, enabled) for name in names]
        if several:
            kind = "BatchEnableServicesResponse"
            response: dict[str, Any] = {"services": services}
        else:
            kind = "EnableServiceResponse" if enabled else "DisableServiceResponse"
            response = {"service": services[0]}
        number = project_number(project)
        operation = {
            "name": f"operations/acat.p2-{number}-{uuid.uuid4()}",
            "metadata": {
                "@type": f"{_TYPE}OperationMetadata",
                "resourceNames": [service["name"] for service in services],
            },
            "done": True,
            "response": {"@type": _TYPE + kind, **response},
        }
        self._state.keep(operation)
        return operation


def _service(project: str, name: str, enabled: bool) -> dict[str, Any]:
    parent = f"projects/{project_number(project)}"
    return {
        "name": f"{parent}/services/{name}",
        "config": {"name": name, "title": TITLES.get(name, name)},
        "state": "ENABLED" if enabled else "DISABLED",
        "parent": parent,
    }


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise StatusError(
            "PERMISSION_DENIED",
            f"Not found or permission denied for service(s): {name[:100]}. A service is named as"
            " in healthcare.googleapis.com.",
        )
    return name


def _wanted(text: str) -> bool | None:
    """The state that a filter asks for; None for any."""
    if not text:
        return None
    if text.replace(" ", "") not in _STATES:
        raise invalid(f"The filter takes {' or '.join(_STATES)}.")
    return _STATES[text.replace(" ", "")]
