"""Resource Manager: the projects that have a dataset, or had a service enabled or disabled.

Projects are not created here: every id that could be one is a project, with the number that
belongs to it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dicomsql.emulator.folder import Folder
from dicomsql.emulator.neighbours import web
from dicomsql.emulator.neighbours.state import State, page, project_number
from dicomsql.emulator.neighbours.web import Ask, Method
from dicomsql.emulator.status import StatusError, invalid

if TYPE_CHECKING:
    from starlette.routing import Route

__all__ = ["routes"]

_ID = re.compile(r"([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]|[0-9]{6,19}")
# What a search can ask for: `id:x`, `projectId=x`, `name:x`, `displayName:x`, `state:ACTIVE`.
_TERM = re.compile(r"(id|projectId|name|displayName|state|lifecycleState)\s*[:=]\s*(\S+)")
_CREATED = "2020-01-01T00:00:00Z"
_DEFAULT_PAGE, _LARGEST_PAGE = 100, 1000


def routes(folder: Folder) -> list[Route]:
    """The reading methods of Resource Manager v3 and v1; the others are not emulated."""
    projects = _Projects(State(folder))
    paged = frozenset({"pageSize", "pageToken"})
    methods = (
        Method("GET", "/v3/projects:search", projects.search, paged | {"query"}),
        Method("GET", "/v3/projects", projects.below, paged | {"parent", "showDeleted"}),
        Method("GET", "/v3/projects/{project}", projects.get),
        Method("GET", "/v1/projects", projects.listed_v1, paged | {"filter"}),
        Method("GET", "/v1/projects/{project}", projects.get_v1),
        web.unimplemented("POST", "/v1/projects"),
        web.unimplemented("POST", "/v3/projects"),
        web.unimplemented("PUT DELETE", "/v1/projects/{project}"),
        web.unimplemented("PATCH DELETE", "/v3/projects/{project}"),
        web.unimplemented("POST", "/v1/projects/{project}:{verb}"),
        web.unimplemented("POST", "/v3/projects/{project}:{verb}"),
        web.unimplemented("GET", "/v3/operations/{operation}"),
    )
    return [web.route(method) for method in methods]


class _Projects:
    """The methods over what is kept."""

    def __init__(self, state: State) -> None:
        self._state = state

    def get(self, ask: Ask) -> dict[str, Any]:
        return _project(self._named(ask.names["project"]))

    def get_v1(self, ask: Ask) -> dict[str, Any]:
        return _project_v1(self._named(ask.names["project"]))

    def search(self, ask: Ask) -> dict[str, Any]:
        return self._listed(ask, ask.parameter("query"), _project)

    def listed_v1(self, ask: Ask) -> dict[str, Any]:
        return self._listed(ask, ask.parameter("filter"), _project_v1)

    def below(self, ask: Ask) -> dict[str, Any]:
        if not re.fullmatch(r"(folders|organizations)/[0-9]+", ask.parameter("parent")):
            raise invalid("The parameter parent has to be folders/NUMBER or organizations/NUMBER.")
        page(ask, [], _DEFAULT_PAGE, _LARGEST_PAGE)
        return {}  # no project here is in a folder or an organization

    def _named(self, project: str) -> str:
        """The id of the project of that id or number."""
        if project.isdigit():
            for known in self._state.projects():
                if project_number(known) == project:
                    return known
        elif _ID.fullmatch(project):
            return project
        raise StatusError(
            "PERMISSION_DENIED", "The caller does not have permission, or there is no such project."
        )

    def _listed(self, ask: Ask, query: str, show: Any) -> dict[str, Any]:
        found = [p for p in self._state.projects() if _matches(p, query)]
        shown, following = page(ask, found, _DEFAULT_PAGE, _LARGEST_PAGE)
        answer = {"projects": [show(project) for project in shown]} if shown else {}
        return answer | ({"nextPageToken": following} if following else {})


def _matches(project: str, query: str) -> bool:
    """Whether a project meets every term of a query."""
    if _TERM.sub("", query).replace("AND", "").strip():
        raise invalid("The query takes terms such as id:my-project and state:ACTIVE.")
    for name, wanted in _TERM.findall(query):
        text = wanted.strip("'\"")
        if name.endswith(("State", "state")):
            if text.upper() != "ACTIVE":
                return False
        elif text.endswith("*"):
            if not project.startswith(text.rstrip("*")):
                return False
        elif project != text:
            return False
    return True


def _project(project: str) -> dict[str, Any]:
    return {
        "name": f"projects/{project_number(project)}",
        "projectId": project,
        "state": "ACTIVE",
        "displayName": project,
        "createTime": _CREATED,
    }


def _project_v1(project: str) -> dict[str, Any]:
    return {
        "projectNumber": project_number(project),
        "projectId": project,
        "lifecycleState": "ACTIVE",
        "name": project,
        "createTime": _CREATED,
    }
