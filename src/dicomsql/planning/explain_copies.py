"""COPY and local files in EXPLAIN: what is found, where it goes, what becomes of what is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from dicomsql.planning.explain import call_text, hidden_text, size_text
from dicomsql.planning.plan import Conflict, RetrievePlan, StorePlan, TransferPlan

if TYPE_CHECKING:
    from dicomsql.planning.explain import Reveal, Show
    from dicomsql.planning.plan import CopyPlan, CopySettings, DicomStore, ExportPlan, Named
    from dicomsql.planning.read_plan import FileScan, ReadPlan

# Paths that are shown of a list.
_SHOWN = 5

_CONFLICTS = {
    Conflict.FAIL: "is left, and the row fails",
    Conflict.SKIP: "is left",
    Conflict.REPLACE: "is overwritten",
}


def file_lines(files: FileScan) -> Iterator[str]:
    """The lines of local files that are read as a table."""
    yield f"READ  files AS {files.alias}"
    yield f"  files   {_listed(files.paths)}"
    kept = (
        "used while they are read"
        if files.stream
        else "held in memory, as the query reads them more than once"
    )
    yield f"  rows    {', '.join(c.name for c in files.columns)}; {kept}"


def copy_lines(
    plan: CopyPlan, show: Show, reveal: Reveal, of_query: Callable[[ReadPlan], Iterator[str]]
) -> Iterator[str]:
    """The lines of a COPY.

    Args:
        show: gives a parameter's value as far as people may see it.
        reveal: whether RETURNING keeps its literals.
        of_query: the lines of the query that it begins with.
    """
    if plan.query is not None:
        yield from of_query(plan.query)
    if isinstance(plan, StorePlan):
        files = _listed(plan.paths) if plan.query is None else f"those in the column {plan.column}"
        yield f"STORE  {plan.target.resource}"
        yield f"  files   {files}"
        yield from _stored(plan, show)
    elif isinstance(plan, TransferPlan):
        yield from _retrieved(plan.source, plan.named, show)
        yield "  then    they are sent on, without touching the disk"
        yield f"STORE  {plan.target.resource}"
        yield from _stored(plan, show)
    elif isinstance(plan, RetrievePlan):
        yield from _to_folder(plan, show)
    else:
        yield from _exported(plan)
        return
    if plan.returning is not None:
        shown = hidden_text(plan.returning.sql, reveal)
        yield f"  gives   {' '.join(shown.split()).removeprefix('FROM copied SELECT ')}"


def _stored(plan: StorePlan | TransferPlan, show: Show) -> Iterator[str]:
    target, moves = plan.target, plan.target.moves
    study = plan.study if isinstance(plan, StorePlan) else ""
    store = moves.store_in_study if study else moves.store
    assert store is not None
    yield f"  call    {call_text(store, target.base_url)}"
    if target.values or study:
        ids = dict(moves.ids)
        given = [*target.values, *([(ids["study"], study)] if study else [])]
        yield f"  with    {_values(tuple(given), show)}"
    yield f"  batches of up to {size_text(plan.settings.batch)}, {_side_by_side(plan.settings)}"
    if not moves.moves.tells_conflicts:
        yield "  first   what is there is looked up, since the server's answers do not tell"
    yield (
        "  there   with the same bytes: nothing is stored; with others: what is there "
        f"{_CONFLICTS[plan.conflict]}"
    )
    if plan.conflict is Conflict.REPLACE:
        if moves.replace is not None:
            yield f"  over    {call_text(moves.replace, target.base_url)}"
        elif moves.delete is not None:
            yield (
                f"  over    {call_text(moves.delete, target.base_url)}, after its bytes are kept "
                f"in a folder beside the journal"
            )
        yield "  consent needed: destructive (overwrite instances)"
    paths = isinstance(plan, StorePlan) and bool(plan.paths)
    yield _journal(plan.settings, "beside the folder or archive" if paths else "none")


def _retrieved(source: DicomStore, named: Named, show: Show) -> Iterator[str]:
    moves = source.moves
    columns = [c for c in (named.study, named.series, named.instance) if c]
    yield f"RETRIEVE  {source.resource}"
    yield f"  names   {', '.join(columns)} of each row of the query"
    # The finest that rows name, and those above it where all of them is asked for at once.
    finest = moves.instance if named.instance else moves.series if named.series else moves.study
    for method in dict.fromkeys((finest, moves.instance)):
        if method is not None:
            yield f"  call    {call_text(method, source.base_url)}"
    if source.values:
        yield f"  with    {_values(source.values, show)}"
    for name, column in named.places:
        yield f"  with    {name} of each row (column {column})"


def _to_folder(plan: RetrievePlan, show: Show) -> Iterator[str]:
    if plan.format == "dicom":
        yield from _retrieved(plan.source, plan.named, show)
        stored = plan.transfer_syntax == "*"
        syntax = "the bytes as stored" if stored else f"transfer syntax {plan.transfer_syntax}"
        yield f"  asks    {syntax}"
    else:
        moves = plan.source.moves
        yield from _retrieved(plan.source, plan.named, show)
        picture = moves.rendered_frame or moves.rendered
        assert picture is not None
        yield f"  each    {call_text(picture, plan.source.base_url)} as {plan.format}"
    layout = plan.layout or "the study's, series' and instance's UIDs"
    yield f"  into    {plan.folder}, each file named by {layout}; {_side_by_side(plan.settings)}"
    there = "replaced" if plan.overwrite else "left, and the row fails"
    yield f"  there   a file with other content is {there}"
    yield _journal(plan.settings, "beside the folder")


def _exported(plan: ExportPlan) -> Iterator[str]:
    yield f"FILE  {plan.path}"
    chosen = "".join(f", {name} {value}" for name, value in plan.options)
    yield f"  format  {plan.format}{chosen}"
    yield "  written beside its name, which it gets once it is complete"


def _journal(settings: CopySettings, usual: str) -> str:
    return f"  journal {settings.journal or ('none' if settings.journal == '' else usual)}"


def _side_by_side(settings: CopySettings) -> str:
    if settings.parallel:
        return f"{settings.parallel:,} side by side"
    return "as many side by side as the session has"


def _values(values: tuple[tuple[str, str], ...], show: Show) -> str:
    return ", ".join(f"{name} = {show(name, value)}" for name, value in values)


def _listed(paths: tuple[str, ...]) -> str:
    more = f" and {len(paths) - _SHOWN:,} more" if len(paths) > _SHOWN else ""
    return ", ".join(paths[:_SHOWN]) + more
