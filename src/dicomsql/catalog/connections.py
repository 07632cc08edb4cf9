"""Named connections: services of the documents at servers of the user's own.

The connection `pacs` to a server of the service `dicomweb.orthanc` is the service `dicomweb.pacs`,
with the same resources, whose calls go to that server.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from dicomsql.catalog.compiled import ServiceEntry
from dicomsql.catalog.model import Resource, Schema, Service
from dicomsql.catalog.pack import PackedService
from dicomsql.errors import InterfaceError, nearest

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Connection:
    """A server that the user has given a name.

    Attributes:
        provider, service: whose document says what the server can do.
        endpoint: its base URL.
    """

    name: str
    provider: str
    service: str
    endpoint: str

    def entry(self, entry: ServiceEntry) -> ServiceEntry:
        """How the connection is listed among its provider's services."""
        return replace(
            entry, name=self.name, description=f"Your connection to a server of {self.service}."
        )


class ConnectedService:
    """A service at the server of a connection; the face of a `PackedService`."""

    def __init__(self, connection: Connection, packed: PackedService) -> None:
        self._connection = connection
        self._packed = packed
        self._resources: dict[str, Resource] = {}

    @cached_property
    def service(self) -> Service:
        return replace(self._packed.service, name=self._connection.name)

    @property
    def schema_names(self) -> tuple[str, ...]:
        return self._packed.schema_names

    def schema(self, name: str) -> Schema:
        """The schema of exactly that name."""
        return self._packed.schema(name)

    def resource(self, name: str) -> Resource:
        """The resource of exactly that name; its calls go to the connection's server."""
        if name not in self._resources:
            found, own = self._packed.resource(name), self._connection
            methods = {
                key: replace(method, service=own.name, servers=(own.endpoint.rstrip("/"),))
                for key, method in found.methods.items()
            }
            self._resources[name] = replace(found, service=own.name, methods=methods)
        return self._resources[name]


def connections(
    given: Mapping[str, tuple[str, str]], services: Iterable[tuple[str, str]]
) -> dict[str, dict[str, Connection]]:
    """Connections by provider and name, checked.

    Args:
        given: name -> (full name of a service, in any case; base URL).
        services: (provider, service) of all that there are.

    Raises:
        InterfaceError: a name cannot be one or is taken, or a service is not known.
    """
    known = {f"{provider}.{service}".lower(): (provider, service) for provider, service in services}
    made: dict[str, dict[str, Connection]] = {}
    taken = set(known)
    for name, (full, endpoint) in given.items():
        if full.lower() not in known:
            names = [".".join(parts) for parts in known.values()]
            raise InterfaceError(
                f"The connection {name} is to the service {full}, which is not known."
                f"{nearest(full, names)} The services are {', '.join(names)}."
            )
        provider, service = known[full.lower()]
        if not _NAME.fullmatch(name):
            raise InterfaceError(
                f"{name!r} cannot be the name of a connection: it stands in SQL as"
                f" {provider}.NAME, so it is made of letters, digits and _, and does not begin"
                " with a digit."
            )
        if f"{provider}.{name}".lower() in taken:
            raise InterfaceError(
                f"A connection cannot be named {name}: {provider} has another service or connection"
                " of that name."
            )
        taken.add(f"{provider}.{name}".lower())
        made.setdefault(provider, {})[name] = Connection(name, provider, service, endpoint)
    return made
