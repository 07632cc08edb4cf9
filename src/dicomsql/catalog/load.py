"""The catalog: answers what a name means, from documents that are read as late as possible.

A document is parsed and checked once; its compiled form is kept in the user's cache folder under
the digest of its content, so that the next start reads a few lines of JSON instead. Where that
folder cannot be written, or a file in it is damaged, the document itself is read again.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

from dicomsql.catalog import pack
from dicomsql.catalog.compiled import CompiledProvider, ServiceEntry
from dicomsql.catalog.connections import ConnectedService, Connection
from dicomsql.catalog.connections import connections as connections_of
from dicomsql.catalog.model import Method, Provider, Resource, Schema, Service
from dicomsql.catalog.places import (
    ProviderFile,
    bundled_root,
    compiled_folder,
    provider_files,
    service_file,
)
from dicomsql.catalog.reading import parse, read_bytes
from dicomsql.errors import PlanningError, nearest


class Catalog:
    """What is known of providers, services, resources and methods. Names match in any case."""

    def __init__(
        self,
        files: Iterable[ProviderFile],
        cache: Path | None,
        connections: Mapping[str, tuple[str, str]],
    ) -> None:
        self._cache = cache
        self._files: dict[str, ProviderFile] = {}
        self._providers: dict[str, CompiledProvider] = {}
        self._services: dict[tuple[str, str], pack.PackedService] = {}
        for file in files:
            compiled = self._read_provider(file)
            self._files[compiled.provider.name] = file
            self._providers[compiled.provider.name] = compiled
        services = [(name, s) for name, p in self._providers.items() for s in p.provider.services]
        self._connections = connections_of(connections, services)
        self._connected: dict[Connection, ConnectedService] = {}

    @classmethod
    def open(
        cls,
        extra: Path | None = None,
        *,
        connections: Mapping[str, tuple[str, str]] = MappingProxyType({}),
        cache: Path | None = None,
    ) -> Catalog:
        """The catalog of the documents that come with dicomsql.

        Args:
            extra: a further registry; its provider stands for a bundled one of the same name.
            connections: name -> (full name of a service, base URL of a server): each is a further
                service of the same provider, `dicomweb.pacs`, at that server.
            cache: the folder of compiled documents; by default in the user's cache folder.

        Raises:
            DocumentError: a provider document is missing or broken.
            InterfaceError: a connection has a name that cannot be one, or a service that is not
                known.
        """
        files = [*provider_files(bundled_root()), *(provider_files(extra) if extra else ())]
        return cls(files, cache or compiled_folder(), connections)

    def providers(self) -> tuple[Provider, ...]:
        """All providers, by name."""
        return tuple(self._providers[name].provider for name in sorted(self._providers))

    def provider(self, name: str) -> Provider:
        """The provider of that name.

        Raises:
            PlanningError: there is none.
        """
        return self._compiled(name).provider

    def entries(self, provider: str) -> tuple[ServiceEntry, ...]:
        """The services of a provider, as its own document lists them, then the connections.

        Raises:
            PlanningError: there is no such provider.
        """
        compiled = self._compiled(provider)
        by_name = {entry.name: entry for entry in compiled.entries}
        connected = self._connections.get(compiled.provider.name, {}).values()
        return (*compiled.entries, *(c.entry(by_name[c.service]) for c in connected))

    def service(self, provider: str, service: str) -> Service:
        """A service.

        Raises:
            PlanningError: the provider or the service is unknown.
            DocumentError: the service's document is broken.
        """
        return self._packed(provider, service).service

    def resource(self, provider: str, service: str, name: str) -> Resource:
        """A resource with its methods.

        Raises:
            PlanningError: the provider, the service or the resource is unknown.
            DocumentError: the service's document is broken.
        """
        packed = self._packed(provider, service)
        found = _named(name, packed.service.resource_names)
        if found is None:
            known = packed.service.resource_names
            raise PlanningError(
                f"{packed.service.provider}.{packed.service.name} has no resource {name}."
                f"{nearest(name, known)}"
            )
        return packed.resource(found)

    def resolve(self, parts: tuple[str, ...], prefix: tuple[str, ...] = ()) -> Resource:
        """The resource that a dotted name means.

        Args:
            parts: the name's one to three parts.
            prefix: what USE named.

        Raises:
            PlanningError: the name is no resource's.
        """
        full = _completed(parts, prefix, 3)
        if len(full) != 3:
            raise PlanningError(
                f"{'.'.join(parts)} is neither a local table nor a resource's full name; write "
                f"provider.service.resource, or USE provider.service before."
            )
        return self.resource(*full)

    def resolve_method(self, parts: tuple[str, ...], prefix: tuple[str, ...] = ()) -> Method:
        """The method that a dotted name means: that of a resource with one part more.

        Raises:
            PlanningError: the name is no method's.
        """
        full = _completed(parts, prefix, 4)
        if len(full) != 4:
            raise PlanningError(
                f"{'.'.join(parts)} is no full name of a method; write"
                " provider.service.resource.method, or USE provider.service before."
            )
        return self.method(self.resource(*full[:3]), full[3])

    def method(self, resource: Resource, name: str) -> Method:
        """A resource's method, whatever the case of its name.

        Raises:
            PlanningError: the resource has no such method.
        """
        found = _named(name, resource.methods)
        if found is None:
            known = tuple(resource.methods)
            raise PlanningError(
                f"{resource.full_name} has no method {name}.{nearest(name, known)}"
                f" Its methods are {', '.join(known)}.",
                resource=resource.full_name,
            )
        return resource.methods[found]

    def schema(self, provider: str, service: str, name: str) -> Schema:
        """The schema of that name, in which `$ref` names further ones.

        Raises:
            PlanningError: there is none.
        """
        packed = self._packed(provider, service)
        if name not in packed.schema_names:
            raise PlanningError(
                f"{provider}.{service} has no schema {name}.{nearest(name, packed.schema_names)}"
            )
        return packed.schema(name)

    def schema_names(self, provider: str, service: str) -> tuple[str, ...]:
        """The names of a service's schemas.

        Raises:
            PlanningError: the provider or the service is unknown.
        """
        return self._packed(provider, service).schema_names

    def _compiled(self, name: str) -> CompiledProvider:
        found = _named(name, self._providers)
        if found is None:
            known = tuple(sorted(self._providers))
            raise PlanningError(
                f"There is no provider {name}.{nearest(name, known)}"
                f" The providers are {', '.join(known)}."
            )
        return self._providers[found]

    def _packed(self, provider: str, service: str) -> pack.PackedService | ConnectedService:
        compiled = self._compiled(provider)
        own = self._connections.get(compiled.provider.name, {})
        name = _named(service, own)
        if name is None:
            return self._documented(compiled, service)
        found = own[name]
        if found not in self._connected:
            packed = self._documented(compiled, found.service)
            self._connected[found] = ConnectedService(found, packed)
        return self._connected[found]

    def _documented(self, compiled: CompiledProvider, service: str) -> pack.PackedService:
        name = compiled.provider.name
        found = _named(service, compiled.provider.services)
        if found is None:
            known = (*compiled.provider.services, *self._connections.get(name, ()))
            meant = nearest(service, known)
            text = f"{name} has no service {service}.{meant} Its services are {', '.join(known)}."
            if not meant:
                text += " The configuration file gives a server of yours a name there."
            raise PlanningError(text)
        if (name, found) not in self._services:
            self._services[name, found] = self._read_service(compiled, found)
        return self._services[name, found]

    def _read_provider(self, file: ProviderFile) -> CompiledProvider:
        data = read_bytes(file.path)
        kept = self._path("provider", data)
        lines = self._kept_lines(kept)
        if lines is None:
            from dicomsql.catalog.check import check_provider
            from dicomsql.catalog.compile import compile_provider

            document = parse(data, str(file.path))
            check_provider(document, str(file.path))
            packed = pack.pack_provider(compile_provider(document))
            self._keep(kept, packed)
            lines = pack.from_lines(packed)
        return pack.unpack_provider(lines)

    def _read_service(self, compiled: CompiledProvider, name: str) -> pack.PackedService:
        file = self._files[compiled.provider.name]
        entry = next(e for e in compiled.entries if e.name == name)
        path = service_file(file, entry.reference)
        data = read_bytes(path)
        # What a service inherits from its provider is part of its compiled form.
        kept = self._path("service", data, pack.to_lines(compiled))
        lines = self._kept_lines(kept)
        if lines is None:
            from dicomsql.catalog.check import check_service
            from dicomsql.catalog.compile import compile_service

            document = parse(data, str(path))
            check_service(document, str(path))
            provider = compiled.provider.name
            service = compile_service(document, provider, entry, compiled.config, str(path))
            packed = pack.pack_service(service)
            self._keep(kept, packed)
            lines = pack.from_lines(packed)
        return pack.PackedService(lines)

    def _path(self, kind: str, *content: bytes) -> Path | None:
        if self._cache is None:
            return None
        return self._cache / f"{kind}-{pack.digest(pack.makers(), *content)}.jsonl"

    def _kept_lines(self, path: Path | None) -> list[bytes] | None:
        """The lines of a compiled file; None where there is none that can be used."""
        if path is None:
            return None
        try:
            return pack.from_lines(path.read_bytes())
        except (OSError, pack.Damaged):
            return None

    def _keep(self, path: Path | None, data: bytes) -> None:
        """Write a compiled file, all of it or nothing; not being able to is no fault."""
        if path is None:
            return
        import tempfile

        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True, mode=stat.S_IRWXU)
            # A file made by mkstemp can be read by its owner alone.
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                Path(temporary).replace(path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise


def _named(name: str, known: Iterable[str]) -> str | None:
    """The known name that is this one, whatever its case."""
    lowered = name.lower()
    return next((k for k in known if k.lower() == lowered), None)


def _completed(parts: tuple[str, ...], prefix: tuple[str, ...], length: int) -> tuple[str, ...]:
    """The name with as much of the prefix as it lacks."""
    missing = length - len(parts)
    return (*prefix[:missing], *parts) if 0 < missing <= len(prefix) else parts
