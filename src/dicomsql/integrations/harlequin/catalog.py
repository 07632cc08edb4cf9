"""Harlequin's catalog, read as it is unfolded.

    provider > service > resource > column            asks the provider documents alone
    provider > service > project > [location >] dataset > store > resource > column
                                                      lists projects' contents at the server
    local > table > column                            asks the engine

A service has projects where it has resources of the names of their parts. Nothing below a store
is listed: what stands there is patients' data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from harlequin.catalog import Catalog, CatalogItem, InteractiveCatalogItem
from harlequin.exception import HarlequinQueryError

import dicomsql
from dicomsql.integrations.harlequin.labels import short

if TYPE_CHECKING:
    from harlequin.driver import HarlequinDriver

__all__ = ["catalog_of"]

# The parameters that name a store: what each is called, and the argument of `connect` that is its
# default. The resource that lists them has the parameter's name in other letters.
_CHAIN = (
    ("projectsId", "project", "project"),
    ("locationsId", "location", "location"),
    ("datasetsId", "dataset", "dataset"),
    ("dicomStoresId", "store", "dicom_store"),
)
_PARAMETERS = tuple(parameter for parameter, _, _ in _CHAIN)

_LABELS = {"project": "pr", "location": "loc", "dataset": "ds", "store": "st"}

_PLAIN = re.compile(r"[A-Za-z_]\w*")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


def catalog_of(connection: dicomsql.Connection, place: Mapping[str, Any]) -> Catalog:
    """The top of the catalog.

    Args:
        place: the arguments that the connection was opened with.
    """
    reader = _Reader(connection, place)
    items: list[CatalogItem] = [
        reader.item(name, name, "p", "provider", partial(reader.services, name))
        for name in reader.names("SHOW PROVIDERS", "name")
    ]
    items.append(reader.item("local", "main", "db", "local tables", reader.local_tables))
    return Catalog(items)


@dataclass
class Item(InteractiveCatalogItem[Any]):
    """An item whose children are read when they are first shown."""

    read: Callable[[], Sequence[CatalogItem]] = field(default=lambda: (), repr=False)

    def fetch_children(self) -> Sequence[CatalogItem]:
        """Raises HarlequinQueryError where they cannot be read; Harlequin asks again.

        They are in the order in which Harlequin shows them at first, which it forgets afterwards.
        """
        try:
            return sorted(self.read(), key=lambda item: item.label)
        except dicomsql.Error as error:
            raise HarlequinQueryError(
                str(error), f"dicomsql cannot list what is in {self.label}."
            ) from error


def _preview(item: CatalogItem, driver: HarlequinDriver) -> None:
    """Write a statement that gives the first rows of a table."""
    driver.insert_text_in_new_buffer(f"SELECT *\nFROM {item.query_name}\nLIMIT 20")


@dataclass
class TableItem(Item):
    """An item that can stand in FROM."""

    INTERACTIONS: ClassVar[Any] = [("Query the first rows", _preview)]


@dataclass(frozen=True)
class _Reader:
    """Reads the parts of the catalog, each when it is asked for."""

    connection: dicomsql.Connection
    place: Mapping[str, Any]

    def item(
        self,
        label: str,
        query_name: str,
        type_label: str,
        type_name: str,
        read: Callable[[], Sequence[CatalogItem]],
        *,
        identifier: str = "",
        of: type[Item] = Item,
    ) -> Item:
        return of(
            qualified_identifier=identifier or query_name,
            query_name=query_name,
            label=label,
            type_label=type_label,
            type_name=type_name,
            read=read,
        )

    def rows(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self.connection.cursor(row_factory=dicomsql.tuple_row) as cursor:
            return cursor.execute(statement, parameters).fetchall()

    def names(self, statement: str, column: str, parameters: Sequence[object] = ()) -> list[str]:
        """One column of what a statement gives."""
        with self.connection.cursor(row_factory=dicomsql.dict_row) as cursor:
            return [row[column] for row in cursor.execute(statement, parameters)]

    # -- what the documents say ------------------------------------------------------------------

    def services(self, provider: str) -> list[CatalogItem]:
        items: list[CatalogItem] = []
        for name in self.names(f"SHOW SERVICES IN {_dotted(provider)}", "name"):
            full = f"{provider}.{name}"
            items.append(
                self.item(name, _dotted(full), "svc", "service", partial(self.in_service, full))
            )
        return items

    def in_service(self, service: str) -> list[CatalogItem]:
        """Its projects, where it has any, then its resources."""
        resources = self.names(f"SHOW RESOURCES IN {_dotted(service)}", "name")
        tables = [self.resource(f"{service}.{name}", name) for name in resources]
        if not {_resource_of(p) for p in _PARAMETERS[2:]} <= set(resources):
            return [*tables]
        return [*self.places(service, {}), *tables]

    def resource(self, full: str, label: str, condition: str = "") -> TableItem:
        """A resource; with a condition, that of one store."""
        name = _dotted(full) + (f"\nWHERE {condition}" if condition else "")
        made = self.item(
            label, name, "t", "resource", partial(self.columns, full, name), of=TableItem
        )
        assert isinstance(made, TableItem)
        return made

    def columns(self, full: str, identifier: str) -> list[CatalogItem]:
        methods = self.rows(f"SHOW METHODS IN {_dotted(full)}")
        if all(verb != "SELECT" for _, _, verb in methods):
            return []  # it gives no rows
        told = self.rows(f"DESCRIBE {_dotted(full)}")
        return _columns(((name, kind) for name, kind, *_ in told), identifier)

    # -- what the server lists -------------------------------------------------------------------

    def places(self, service: str, known: Mapping[str, str]) -> list[CatalogItem]:
        """What is one level below a place; a level that the connection's options name is theirs."""
        parameter, what, argument = _CHAIN[len(known)]
        if len(known) < 2 and (given := self.place.get(argument)):
            found = [str(given)]
            if what == "location":
                # It is the same for all: a level of its own would tell nothing.
                return self.places(service, {**known, parameter: found[0]})
        elif what == "project":
            return []
        else:
            found = self.listed(service, parameter, known)
        return [self.one(service, what, {**known, parameter: name}) for name in found]

    def one(self, service: str, what: str, place: Mapping[str, str]) -> Item:
        condition = _condition(place)
        name = list(place.values())[-1]

        def inside() -> Sequence[CatalogItem]:
            if len(place) < len(_CHAIN):
                return self.places(service, place)
            return self.in_store(service, condition)

        return self.item(
            name, condition, _LABELS[what], what, inside, identifier=f"{service}: {condition}"
        )

    def listed(self, service: str, parameter: str, known: Mapping[str, str]) -> list[str]:
        """The names of a place's parts, as the server lists them."""
        conditions = " AND ".join(f"{name} = ?" for name in known)
        statement = (
            f"SELECT name FROM {_dotted(service)}.{_resource_of(parameter)} "  # noqa: S608 - from documents
            f"WHERE {conditions} ORDER BY name"
        )
        # A name is that of its place, and its own at the end.
        names = self.names(statement, "name", tuple(known.values()))
        return [name.rpartition("/")[2] for name in names]

    def in_store(self, service: str, condition: str) -> list[CatalogItem]:
        """The resources that a store has, and that need no more to be asked than the store."""
        items: list[CatalogItem] = []
        for name in self.names(f"SHOW RESOURCES IN {_dotted(service)}", "name"):
            methods = self.rows(f"SHOW METHODS IN {_dotted(f'{service}.{name}')}")
            needed = [set(p.split(", ")) for _, p, verb in methods if verb == "SELECT"]
            own = _resource_of(_PARAMETERS[-1]) == name
            if not own and any(n == set(_PARAMETERS) for n in needed):
                items.append(self.resource(f"{service}.{name}", name, condition))
        return items

    # -- what the engine has ---------------------------------------------------------------------

    def local_tables(self) -> list[CatalogItem]:
        statement = (
            "SELECT schema_name, table_name, 't' FROM duckdb_tables() WHERE NOT internal UNION ALL "
            "SELECT schema_name, view_name, 'v' FROM duckdb_views() WHERE NOT internal ORDER BY ALL"
        )
        items: list[CatalogItem] = []
        for schema, name, label in self.rows(statement):
            items.append(
                self.item(
                    name,
                    f"{_quoted(schema)}.{_quoted(name)}",
                    label,
                    "view" if label == "v" else "table",
                    partial(self.local_columns, schema, name),
                    of=TableItem,
                )
            )
        return items

    def local_columns(self, schema: str, name: str) -> list[CatalogItem]:
        told = self.rows(
            "SELECT column_name, data_type FROM duckdb_columns() "
            "WHERE schema_name = ? AND table_name = ? AND NOT internal ORDER BY column_index",
            (schema, name),
        )
        return _columns(told, f"{_quoted(schema)}.{_quoted(name)}")


def _columns(told: Iterable[Sequence[Any]], table: str) -> list[CatalogItem]:
    return [
        CatalogItem(
            qualified_identifier=f"{table}.{_quoted(name)}",
            query_name=_quoted(name),
            label=name,
            type_label=short(kind),
            type_name=kind,
        )
        for name, kind in told
    ]


def _resource_of(parameter: str) -> str:
    """The resource that lists a parameter's values: `dicom_stores` of `dicomStoresId`."""
    return _HUMP.sub("_", parameter.removesuffix("Id")).lower()


def _condition(place: Mapping[str, str]) -> str:
    return " AND ".join(
        f"{name} = '{value.replace(chr(39), chr(39) * 2)}'" for name, value in place.items()
    )


def _dotted(name: str) -> str:
    return ".".join(map(_quoted, name.split(".")))


def _quoted(name: str) -> str:
    """A name as SQL takes it."""
    return name if _PLAIN.fullmatch(name) else '"' + name.replace('"', '""') + '"'
