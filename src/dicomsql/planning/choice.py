"""Which method of a resource answers, given what has a value.

The method is the one of the verb whose required parameters all have values and which binds the
most of them; the document's order breaks a tie. Session defaults fill what is required and
nothing else, and never a resource's own id.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from dicomsql.errors import PlanningError

if TYPE_CHECKING:
    from dicomsql.catalog.model import Method, Resource

_DOING = {
    "select": "read",
    "insert": "inserted into",
    "update": "updated",
    "replace": "replaced",
    "delete": "deleted from",
    "exec": "called",
}


def choose(
    methods: tuple[Method, ...], given: Collection[str], fallback: Collection[str]
) -> Method | None:
    """The method that fits best, or None.

    Args:
        given: parameters with a value from the statement.
        fallback: parameters with a value from elsewhere.
    """
    best: tuple[int, Method] | None = None
    for method in methods:
        if any(name not in given and name not in fallback for name in method.required):
            continue
        bound = sum(p.name in given for p in method.parameters)
        if best is None or bound > best[0]:
            best = (bound, method)
    return best[1] if best is not None else None


def usable_defaults(
    resource: Resource, methods: tuple[Method, ...], defaults: Mapping[str, str]
) -> dict[str, str]:
    """The session's defaults that may fill parameters of these methods, by the parameters' names.

    None fills a resource's own id, nor any path parameter of a method that takes them all from
    the statement.
    """
    fills = {p.name: p.session for m in methods for p in m.parameters if p.session is not None}
    filled = {k: v for k, v in defaults.items() if k not in fills}
    filled |= {name: defaults[of] for name, of in fills.items() if of in defaults}
    explicit = {
        name
        for m in methods
        if m.consent is not None and m.consent.explicit
        for name in m.path_parameters
    }
    return {k: v for k, v in filled.items() if k != resource.own_id and k not in explicit}


def none_fits(
    resource: Resource,
    methods: tuple[Method, ...],
    verb: str,
    given: Collection[str],
    fallback: Collection[str],
) -> PlanningError:
    """The error that says what each method lacks."""
    full = resource.full_name
    doing = _DOING[verb]
    if not methods:
        can = [v.upper() for v, names in resource.verbs.items() if names]
        others = f" It knows {', '.join(can)}." if can else ""
        calls = [m.name for m in resource.methods.values() if m.verb == "exec"]
        if calls:
            others += f" By EXEC it can be called: {', '.join(calls)}."
        return PlanningError(
            f"{full} cannot be {doing}: it has no such method.{others}", resource=full
        )
    missing = {
        m.name: tuple(r for r in m.required if r not in given and r not in fallback)
        for m in methods
    }
    lacks = "; ".join(f"{name} lacks {', '.join(names)}" for name, names in missing.items())
    have = [*given, *(f"{name} (from the session)" for name in fallback if name not in given)]
    text = f"{full} cannot be {doing}: {lacks}."
    if have:
        text += f" Given: {', '.join(have)}."
    lacking = next(iter(missing.values()), ())
    if any(m.consent is not None and m.consent.explicit for m in methods):
        text += " The statement itself has to name every id here; no session default applies."
    elif lacking:
        mark, join = ("@", ", ") if verb == "exec" else ("", " AND ")
        wanted = join.join(f"{mark}{name} = '...'" for name in lacking)
        text += f" Add to the statement: {wanted if verb == 'exec' else 'WHERE ' + wanted}"
        text += _or_defaults(n for n in lacking if n != resource.own_id)
        text += "."
    return PlanningError(text, resource=full, missing=missing, given=tuple(given))


def lacks_place(
    resource: Resource, doing: str, lacking: Collection[str], prefix: str = ""
) -> PlanningError:
    """The error of a COPY that does not say which store is meant.

    Args:
        doing: what the COPY would do with the store.
        lacking: parameters without a value.
        prefix: of the options that give them.
    """
    wanted = ", ".join(f"{prefix}{name} '...'" for name in lacking)
    return PlanningError(
        f"COPY cannot {doing} {resource.full_name}: it lacks {', '.join(lacking)}. "
        f"Add the options ({wanted}){_or_defaults(lacking)}.",
        resource=resource.full_name,
        missing={"copy": tuple(lacking)},
    )


def _or_defaults(lacking: Iterable[str]) -> str:
    """The end of a sentence about what the session can give instead."""
    options = [_OPTIONS[name] for name in lacking if name in _OPTIONS]
    return f"; or give the session defaults ({', '.join(options)})" if options else ""


_OPTIONS = {
    "projectsId": "--project or project=",
    "locationsId": "--location or location=",
    "datasetsId": "--dataset or dataset=",
    "dicomStoresId": "--store or dicom_store=",
}
