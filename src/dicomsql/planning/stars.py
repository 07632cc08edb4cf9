"""What `*` shows of each table, and what is kept out of it.

Parameters stay out, and so does what a query reads for its conditions alone; of an attribute that
DICOM levels share which are joined by their UIDs, the highest level's is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.planning.read_plan import ColumnKind
from dicomsql.planning.values import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dicomsql.planning.read_plan import Scan
    from dicomsql.planning.scopes import Scope, Source
    from dicomsql.planning.text import QueryText

    # Whether a column of a source has the value of another source's of that name.
    IsSame = Callable[[Source, Source, str], bool]


def is_star(expression: exp.Expr) -> bool:
    """Whether an item of a SELECT list stands for several columns."""
    return expression.is_star or isinstance(expression, exp.Columns)


def starred(star: exp.Expr, scope: Scope) -> list[Source]:
    """The sources whose columns a star (or COLUMNS) shows."""
    if not isinstance(star, exp.Column) or not star.table:
        return [s for s in scope.sources if s.shown]
    qualifiers = [p.name for p in star.parts[:-1]]
    source = scope.of_resource(qualifiers) if len(qualifiers) > 1 else None
    source = source or scope.named(star.table)
    return [source] if source is not None else []


def place_star(star: exp.Expr, scope: Scope, text: QueryText) -> None:
    """Note that all usual columns are needed, and shorten a whole name in front of a star."""
    sources = starred(star, scope)
    for source in sources:
        source.star = True
    if isinstance(star, exp.Column) and len(star.parts) > 2 and len(sources) == 1:
        start, end = star.parts[0].meta["start"], star.parts[-2].meta["end"] + 1
        text.replace(start, end, quoted(sources[0].alias))


def hide_columns(scope: Scope, scans: Mapping[int, Scan], text: QueryText, is_same: IsSame) -> None:
    """Keep out of a scope's stars what they do not show, when all its scans are known.

    Args:
        scans: by the id of their source.
    """
    for star in scope.stars:
        if not isinstance(star, exp.Columns):
            _hide(star, scope, scans, text, is_same)


def doubled(source: Source, scan: Scan) -> list[str]:
    """Columns of a scan that only a star wants and that a join's USING takes from others.

    The engine would not know which of them is meant.
    """
    names = {n.lower() for _, n in source.scope.using()} - source.needed.keys()
    rivals = {n for n in names if source not in source.scope.merged(n)}
    return [c.name for c in scan.columns if c.name.lower() in rivals]


def _hide(
    star: exp.Expr, scope: Scope, scans: Mapping[int, Scan], text: QueryText, is_same: IsSame
) -> None:
    inner = star.this if isinstance(star, exp.Column) else star
    if "end" not in inner.meta:
        return
    excluded = {e.name.lower() for e in inner.args.get("except_") or []}
    hidden = [n for name, n in _hidden(star, scope, scans, is_same) if name not in excluded]
    if not hidden:
        return
    end = inner.meta["end"] + 1
    names = ", ".join(dict.fromkeys(hidden))
    if not inner.args.get("except_"):
        text.insert(end, f" EXCLUDE ({names})")
        return
    words = frozenset({"EXCLUDE", "EXCEPT"})
    keyword = text.token_between(end, len(text.text), words)
    assert keyword is not None
    following = next(t for t in text.tokens if t.start > keyword.end)
    if following.text == "(":
        text.insert(following.end + 1, f"{names}, ")
    else:
        text.insert(following.start, f"({names}, ")
        text.insert(following.end + 1, ")")


def _hidden(
    star: exp.Expr, scope: Scope, scans: Mapping[int, Scan], is_same: IsSame
) -> list[tuple[str, str]]:
    """(lower-case name, name for EXCLUDE) of what a star does not show.

    These are parameters and columns that only a condition needs, and attributes whose value a
    higher level shows already.
    """
    qualified = isinstance(star, exp.Column)
    sources = [s for s in starred(star, scope) if id(s) in scans]
    usual = {id(s): _usual(s, scans[id(s)]) for s in sources}
    anywhere = frozenset[str]().union(*usual.values())
    hidden: list[tuple[str, str]] = []
    shown: dict[str, Source] = {}
    for source in sorted(sources, key=lambda s: s.level):
        scan = scans[id(source)]
        again_named = doubled(source, scan)
        for column in scan.columns:
            name = column.name.lower()
            if column.name in again_named:
                continue
            if not qualified and scope.used_in_using(name):
                # USING merges them to one column, which has no table's name.
                if name not in anywhere:
                    hidden.append((name, quoted(column.name)))
                continue
            first = shown.get(name, source) if not qualified else source
            again = first.level < source.level and is_same(first, source, name)
            if name not in usual[id(source)] or again:
                prefix = "" if qualified else quoted(source.alias) + "."
                hidden.append((name, prefix + quoted(column.name)))
            elif source.level >= 0:
                shown.setdefault(name, source)
    return hidden


def _usual(source: Source, scan: Scan) -> frozenset[str]:
    """Lower-case names of what `*` shows of a scan."""
    assert source.table is not None
    if scan.shape != "rows":
        return frozenset(c.name.lower() for c in scan.columns if c.kind is ColumnKind.ROW)
    return frozenset(n.lower() for n in source.table.usual(scan.method))
