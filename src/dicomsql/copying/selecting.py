"""Which instances a study's rows mean, and which requests fetch them in the fewest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from dicomsql.copying.fetching import Unit, Wanted
from dicomsql.copying.source import Instance, Listed
from dicomsql.copying.wanted import why_not

if TYPE_CHECKING:
    from dicomsql.catalog.model import MoveMethods
    from dicomsql.copying.source import Source
    from dicomsql.copying.wanted import Group, Row, Values
    from dicomsql.planning.plan import Named

__all__ = ["Selected", "Selection", "select", "units"]

T = TypeVar("T")

# From so many single instances of a series on it is worth a search to know whether they are all.
_WORTH_LISTING = 4
# A study of at most so many instances is one request; a larger one is one for each series, so that
# the connections are busy.
_SMALL_STUDY = 128
# The part of a series that has to be wanted for all of it to be asked for: so much more comes at
# most as what is wanted than in vain.
_MOSTLY = 0.8

_NOTHING = "the server lists no instance of it"


@dataclass(frozen=True, slots=True)
class Selected:
    """An instance that is wanted.

    Attributes:
        values: of the columns that the layout names, of each row that means it.
        frames: as `Listed.frames`.
    """

    instance: Instance
    values: tuple[Values, ...]
    frames: int | None = None


@dataclass(slots=True)
class Selection:
    """What the rows of a study mean.

    Attributes:
        series: UID -> what is wanted of it.
        totals: UID -> the number of instances that the server has of it, where that is known.
        whole: all that the server has of the study is wanted.
        failed: rows that mean nothing, and why.
    """

    series: dict[str, list[Selected]] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)
    whole: bool = False
    failed: list[tuple[Row, str]] = field(default_factory=list)

    @property
    def count(self) -> int:
        """The number of files that it may become."""
        chosen = (one for series in self.series.values() for one in series)
        return sum(len(one.values) for one in chosen) + len(self.failed)


def select(source: Source, named: Named, group: Group) -> Selection:
    """Find out what the rows of a study mean.

    Raises:
        NotSupportedError, IncompleteError, ApiError, ...: the server cannot tell what it holds.
    """
    found = Selection(whole=not named.series)
    by_series: dict[str, dict[str, list[Values]]] = {}
    meaning: dict[str, Row] = {}
    for row in group.rows:
        if reason := why_not(named, row):
            found.failed.append((row, reason))
            continue
        by_series.setdefault(row.series, {}).setdefault(row.instance, []).append(row.values)
        meaning.setdefault(row.series, row)
    for series, instances in by_series.items():
        if named.instance:
            _some(source, group, series, instances, found)
            continue
        listed = source.instances(group.place, group.study, series)
        if not listed:
            found.failed.append((meaning[series], _NOTHING))
        values = tuple(instances[""])
        for one in listed:
            found.series.setdefault(one.series, []).append(_selected(group, one, values))
            found.totals[one.series] = found.totals.get(one.series, 0) + 1
    return found


def units(
    moves: MoveMethods, group: Group, selection: Selection, prepare: Callable[[Selected], T | None]
) -> Iterator[tuple[Unit[T], bool]]:
    """The selection as what single requests can fetch, each with whether one request is to.

    Args:
        prepare: makes of an instance what its taker needs; None where it need not be fetched.
    """
    free: dict[str, dict[tuple[str, str], Wanted[T]]] = {}
    for series, chosen in selection.series.items():
        left = free.setdefault(series, {})
        for one in chosen:
            about = prepare(one)
            if about is not None:
                left[series, one.instance.instance] = Wanted(one.instance, about)
    total = sum(selection.totals.values())
    together = {key: wanted for left in free.values() for key, wanted in left.items()}
    small = total <= _SMALL_STUDY or moves.series is None
    if (
        selection.whole
        and small
        and len(free) > 1
        and moves.study is not None
        and _is_mostly(len(together), total)
    ):
        yield Unit(group.place, group.study, "", together, _keys(selection)), True
        return
    for series, left in free.items():
        if left:
            whole = moves.series is not None and _is_mostly(len(left), selection.totals.get(series))
            keys = frozenset((series, one.instance.instance) for one in selection.series[series])
            yield Unit(group.place, group.study, series, left, keys), whole


def _some(
    source: Source,
    group: Group,
    series: str,
    instances: dict[str, list[Values]],
    found: Selection,
) -> None:
    """Select single instances of a series."""
    listed: dict[str, Listed] = {}
    if len(instances) >= _WORTH_LISTING and source.lists_series:
        listed = {one.instance: one for one in source.instances(group.place, group.study, series)}
        found.totals[series] = len(listed)
    # In the order in which a stream of the series will bring them, as far as that is known.
    ordered = [uid for uid in listed if uid in instances]
    ordered += [uid for uid in instances if uid not in listed]
    found.series[series] = [
        _selected(group, listed.get(uid, Listed(series, uid)), tuple(instances[uid]))
        for uid in ordered
    ]


def _selected(group: Group, one: Listed, values: tuple[Values, ...]) -> Selected:
    instance = Instance(group.place, group.study, one.series, one.instance)
    return Selected(instance, values, one.frames)


def _is_mostly(wanted: int, total: int | None) -> bool:
    """Whether so many of so many are better asked for all together."""
    return total is not None and wanted > 1 and wanted >= _MOSTLY * total


def _keys(selection: Selection) -> frozenset[tuple[str, str]]:
    return frozenset(
        (series, one.instance.instance)
        for series, chosen in selection.series.items()
        for one in chosen
    )
