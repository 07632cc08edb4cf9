"""The neighbours of one emulator: its own, or the servers that the environment names instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dicomsql.emulator.neighbours.base import Neighbours
from dicomsql.emulator.neighbours.bigquery import open_bigquery
from dicomsql.emulator.neighbours.pubsub import open_pubsub
from dicomsql.emulator.neighbours.storage import open_storage
from dicomsql.emulator.neighbours.web import Method, route, server

if TYPE_CHECKING:
    from starlette.routing import Route

__all__ = ["VARIABLES", "neighbours", "routes"]

# The variables of the environment by which Google's own clients find an emulator.
VARIABLES = ("STORAGE_EMULATOR_HOST", "PUBSUB_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST")
_PLACE = "neighbours"


@dataclass(frozen=True, slots=True)
class _Connected(Neighbours):
    """Neighbours with what they answer and hold."""

    methods: tuple[Method, ...] = ()
    closing: tuple[Callable[[], None], ...] = ()
    interrupting: Callable[[], None] = lambda: None

    def interrupt(self) -> None:
        self.interrupting()

    def close(self) -> None:
        for close in self.closing:
            close()


def neighbours(root: Path, environment: Mapping[str, str]) -> Neighbours:
    """Open the neighbours of the emulator on a folder; nothing is made before it is used.

    Args:
        root: the emulator's folder.
        environment: names the servers that stand in the place of ours (`VARIABLES`); a variable
            that is empty or not there leaves ours.

    Raises:
        EmulatorError: a variable names no server.
    """
    place = root / _PLACE
    servers = [server(environment.get(name, ""), name) for name in VARIABLES]
    kept = open_storage(place, servers[0])
    told = open_pubsub(place, servers[1])
    asked = open_bigquery(place, servers[2])
    return _Connected(
        objects=kept.objects,
        topics=told.topics,
        tables=asked.tables,
        methods=(*kept.methods, *told.methods, *asked.methods),
        closing=(kept.close, told.close, asked.close),
        interrupting=asked.interrupt,
    )


def routes(neighbours: Neighbours) -> list[Route]:
    """What they answer at the emulator's address."""
    methods = neighbours.methods if isinstance(neighbours, _Connected) else ()
    return [route(method) for method in methods]
