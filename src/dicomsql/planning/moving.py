"""DICOM stores as COPY means them: the methods that move instances, and which store it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicomsql.catalog.model import MoveMethods
from dicomsql.errors import PlanningError
from dicomsql.planning.choice import lacks_place, usable_defaults
from dicomsql.planning.plan import DicomStore
from dicomsql.planning.tables import LEVELS, UIDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomsql.catalog.load import Catalog
    from dicomsql.catalog.model import Method, Resource
    from dicomsql.planning.answers import Context
    from dicomsql.planning.read_plan import Scan


def instances_of(catalog: Catalog, resource: Resource) -> Resource:
    """The resource of the instances that a DICOM table's datasets are of: that which moves them.

    Raises:
        PlanningError: nothing says how its service moves instances.
    """
    name = dict(resource.dicom.tables).get(LEVELS[-1], "") if resource.dicom is not None else ""
    found = catalog.resource(resource.provider, resource.service, name) if name else resource
    if found.dicom is None or found.dicom.moves is None:
        raise PlanningError(
            f"{resource.full_name} is no table of DICOM instances, or its provider document does "
            f"not say how they are moved. COPY moves those of, for example, "
            f"google.healthcare.instances.",
            resource=resource.full_name,
        )
    return found


def check_instances(catalog: Catalog, resource: Resource) -> None:
    """Check that a resource is that of instances, which alone can be copied into.

    Raises:
        PlanningError: it is another; where its service has it, its name is told.
    """
    found = instances_of(catalog, resource)
    if found.full_name != resource.full_name:
        raise PlanningError(
            f"COPY stores instances, and {resource.full_name} is another table of them. "
            f"Write COPY {found.full_name} FROM ...",
            resource=resource.full_name,
        )


def move_methods(catalog: Catalog, resource: Resource) -> MoveMethods:
    """The methods that move the instances of a resource that has `moves`."""
    dicom = resource.dicom
    assert dicom is not None and dicom.moves is not None
    moves = dicom.moves

    def of(name: str) -> Resource:
        return catalog.resource(resource.provider, resource.service, name)

    def method(name: str) -> Method | None:
        owner, _, called = name.partition(".")
        return of(owner).methods[called] if name else None

    named = {uid: parameter for parameter, uid in dicom.identity}
    ids = {level: named[UIDS[level]] for level in LEVELS}

    def within(table: str, *levels: str) -> Method | None:
        """The method of a resource whose path names these levels' UIDs and no others."""
        wanted = {ids[level] for level in levels}
        for found in of(table).for_verb("select") if table else ():
            if wanted == {*found.path_parameters} & {*ids.values()}:
                return found
        return None

    tables, retrieve = dict(dicom.tables), dict(moves.retrieve)
    searches = {
        "study": within(tables.get("study", "")),
        "series": within(tables.get("series", ""), "study"),
        "instance": within(resource.name, "study", "series"),
    }
    return MoveMethods(
        moves=moves,
        store=method(moves.store),
        store_in_study=method(moves.store_in_study),
        replace=method(moves.replace),
        delete=method(moves.delete),
        study=method(retrieve.get("study", "")),
        series=method(retrieve.get("series", "")),
        instance=method(retrieve.get("instance", "")),
        rendered=method(moves.rendered),
        rendered_frame=method(moves.rendered_frame),
        search=tuple((level, found) for level, found in searches.items() if found is not None),
        metadata=within(dict(dicom.metadata).get("instance", ""), *LEVELS),
        ids=tuple(ids.items()),
        in_study=within(resource.name, "study"),
    )


def place_names(moves: MoveMethods) -> tuple[str, ...]:
    """The path parameters that say which store it is; none where a server is one store."""
    methods = (moves.store, moves.instance)
    ids = {parameter for _, parameter in moves.ids}
    names = [p for m in methods if m is not None for p in m.path_parameters if p not in ids]
    return tuple(dict.fromkeys(names))


def store_at(
    context: Context,
    resource: Resource,
    moves: MoveMethods,
    given: Mapping[str, str],
    *,
    doing: str,
    prefix: str = "",
) -> DicomStore:
    """The store that is meant: what the statement gives, else the session's defaults.

    Args:
        given: path parameters with a value from the statement; those that rows give are empty.
        doing: what COPY does with the store, for the error: `store into`.
        prefix: of the options that give its place.

    Raises:
        PlanningError: a path parameter has no value.
    """
    methods = tuple(m for m in (moves.store, moves.instance) if m is not None)
    defaults = usable_defaults(resource, methods, dict(context.defaults))
    names = place_names(moves)
    lacking = [n for n in names if n not in given and n not in defaults]
    if lacking:
        raise lacks_place(resource, doing, lacking, prefix)
    values = {n: given[n] if n in given else defaults[n] for n in names}
    return DicomStore(
        resource=resource.full_name,
        base_url=context.base_url(methods[0]),
        moves=moves,
        values=tuple((name, value) for name, value in values.items() if value),
    )


def same_store(one: DicomStore, other: DicomStore) -> bool:
    """Whether two stores are one and the same, as far as their addresses tell."""
    mine, its = one.moves.instance, other.moves.instance
    return (
        mine is not None
        and its is not None
        and (one.base_url.rstrip("/"), mine.path, sorted(one.values))
        == (other.base_url.rstrip("/"), its.path, sorted(other.values))
    )


def read_from(scans: tuple[Scan, ...], names: tuple[str, ...]) -> dict[str, str | None]:
    """Of each of a store's path parameters, the value that all scans were made with.

    Args:
        scans: of tables of one service.

    Returns:
        None stands for several values, or for one that only rows tell.
    """
    found: dict[str, str | None] = {}
    for scan in scans:
        constants = {c.parameter: c.values for c in scan.constants}
        for name in names:
            values = constants.get(name, ())
            value = values[0] if len(values) == 1 else None
            found[name] = value if found.setdefault(name, value) == value else None
    return found
