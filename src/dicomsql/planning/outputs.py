"""EXEC ... @@output: calls whose answer goes into a folder or a file.

A call that retrieves instances is the COPY that puts them into a folder; of other calls whose
answer is bytes, these go into one file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicomsql.errors import PlanningError
from dicomsql.planning.moving import move_methods, place_names, store_at
from dicomsql.planning.plan import CopySettings, Named, RetrievePlan
from dicomsql.planning.read_plan import ReadPlan
from dicomsql.planning.tables import LEVELS, UIDS

if TYPE_CHECKING:
    from dicomsql.catalog.load import Catalog
    from dicomsql.catalog.model import Method, MoveMethods, Resource
    from dicomsql.planning.answers import Context
    from dicomsql.planning.plan import Returning
    from dicomsql.planning.read_plan import Constant


def retrieved(
    catalog: Catalog,
    context: Context,
    method: Method,
    *,
    constants: tuple[Constant, ...],
    folder: str,
    returning: Returning | None,
) -> RetrievePlan:
    """The plan of a call whose answer goes into a folder.

    Args:
        constants: the call's parameters, all that it requires.

    Raises:
        PlanningError: the method does not retrieve instances, or takes something besides their
            place and UIDs.
    """
    found = _moved_by(catalog, method)
    if found is None:
        raise PlanningError(
            f"{method.full_name}: @@output goes with the methods that retrieve the files of a "
            f"study, a series or an instance, or the bytes of an object. What other methods answer "
            f"is the statement's result, which --outfile writes to a file; COPY (SELECT ...) TO "
            f"'folder' (FORMAT png) writes pictures."
        )
    resource, moves = found
    ids = dict(moves.ids)
    at = {c.parameter: c.values[0] for c in constants}
    named = [level for level in LEVELS if ids[level] in at]
    places = {name: at.pop(name) for name in place_names(moves) if name in at}
    uids = {level: at.pop(ids[level]) for level in named}
    if at:
        raise PlanningError(
            f"{method.full_name}: with @@output it takes no {', '.join(at)}. "
            f"COPY (SELECT ...) TO 'folder' (transfer_syntax '...') has options of its own."
        )
    columns = {level: UIDS[level] for level in named}
    listed = ", ".join(f'${level} AS "{column}"' for level, column in columns.items())
    return RetrievePlan(
        query=ReadPlan(f"SELECT {listed}", tuple(uids.items())),
        named=Named(
            study=columns["study"],
            series=columns.get("series", ""),
            instance=columns.get("instance", ""),
        ),
        source=store_at(context, resource, moves, places, doing="retrieve from"),
        folder=folder,
        # A call leaves nothing behind but what it was asked for.
        settings=CopySettings(journal=""),
        returning=returning,
    )


def gives_bytes(catalog: Catalog, method: Method) -> bool:
    """Whether a call's answer is bytes that are no instances."""
    return "json" not in method.accept and _moved_by(catalog, method) is None


def _moved_by(catalog: Catalog, method: Method) -> tuple[Resource, MoveMethods] | None:
    """The instances' resource whose files a method retrieves, with what moves them."""
    service = catalog.service(method.provider, method.service)
    for name in service.resource_names:
        resource = catalog.resource(method.provider, method.service, name)
        if resource.dicom is None or resource.dicom.moves is None:
            continue
        moves = move_methods(catalog, resource)
        retrieving = (moves.study, moves.series, moves.instance)
        if any(m is not None and m.full_name == method.full_name for m in retrieving):
            return resource, moves
    return None
