"""What a compiled document holds: the values between the compiler and the catalog."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dicomsql.catalog.model import Provider, Resource, Schema, Service


@dataclass(frozen=True, slots=True)
class ServiceEntry:
    """What a provider document says of one of its services.

    Attributes:
        reference: the service document, from the registry's `src`.
    """

    name: str
    title: str
    version: str
    description: str
    reference: str


@dataclass(frozen=True, slots=True)
class CompiledProvider:
    """A provider document, boiled down."""

    provider: Provider
    entries: tuple[ServiceEntry, ...]
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CompiledService:
    """A service document, boiled down."""

    service: Service
    resources: tuple[Resource, ...]
    schemas: tuple[Schema, ...]
