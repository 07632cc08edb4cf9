"""The line at the foot of the shell: where it is connected, its defaults, what the last cost.

Names of places and numbers stand there, and nothing that comes from a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dicomsql.config import PARAMETER_DEFAULTS
from dicomsql.output.cells import cut, safe, width_of

if TYPE_CHECKING:
    from dicomsql.session import Session
    from dicomsql.shell.state import Last, State

__all__ = ["bar", "connected_to", "cost_of", "fitted", "size_of", "time_of"]

_PARTED = " │ "


def bar(state: State, width: int) -> str:
    """The line, in at most `width` columns."""
    session = state.session
    last = state.last
    # Each with its weight: where there is no room, the lightest goes first.
    parts = [
        (9, connected_to(state)),
        (8, _place(session)),
        (7, f"USE {'.'.join(session.prefix)}" if session.prefix else ""),
        (3, _cache(session)),
        (10, f"\\o {state.output.path.name}" if state.output is not None else ""),
    ]
    if last is not None:
        rows = "" if last.rows is None else _number(last.rows, "row", more=last.more)
        kept = f"{last.from_cache:,} kept" if last.from_cache else ""
        parts += [
            (6, rows),
            (4, _number(last.requests, "request")),
            (2, size_of(last.received) if last.received else ""),
            (1, kept),
            (5, time_of(last.seconds)),
        ]
    return fitted([(weight, safe(text)) for weight, text in parts if text], width)


def fitted(parts: Sequence[tuple[int, str]], width: int) -> str:
    """The parts with marks between them, the lightest left out until they fit."""
    left = list(parts)
    while len(left) > 1 and width_of(_PARTED.join(text for _, text in left)) > width:
        left.remove(min(left))
    return cut(_PARTED.join(text for _, text in left), max(width, 1))


def connected_to(state: State) -> str:
    """Which server statements go to, by the name that the person knows."""
    settings = state.session.settings
    if settings.connection is not None:
        found = settings.connection
    elif settings.local is not None:
        found = f"local {settings.local.name}"
    elif settings.endpoint is not None:
        found = urlsplit(settings.endpoint).netloc.rpartition("@")[2]
    else:
        providers = state.session.catalog.providers()
        # Those that ask who calls have servers of their own; others need one to be named.
        found = ", ".join(p.name for p in providers if p.auth != "none") or "no server"
    return f"{state.profile}: {found}" if state.profile else found


def cost_of(last: Last, *, timing: bool) -> str:
    """What the last statement gave and took, as a phrase; may be empty."""
    said = []
    if last.rows is not None:
        said.append(_number(last.rows, "row", more=last.more))
    if timing:
        if last.requests:
            said.append(_number(last.requests, "request"))
        if last.received:
            said.append(size_of(last.received))
        if last.from_cache:
            said.append(f"{last.from_cache:,} from the cache")
        said.append(time_of(last.seconds))
    return ", ".join(said)


def size_of(count: int) -> str:
    """A number of bytes for people."""
    if count < 1000:
        return f"{count} B"
    size = float(count)
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 999.5:
            return f"{size:.1f} {unit}" if size < 99.95 else f"{size:.0f} {unit}"
    return f"{size / 1000:.1f} TB"


def time_of(seconds: float) -> str:
    """A time for people."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _number(count: int, what: str, *, more: bool = False) -> str:
    return f"{'first ' * more}{count:,} {what}{'s' * (count != 1)}"


def _place(session: Session) -> str:
    """The defaults of parameters, from the outermost on; `-` for one that is passed over."""
    defaults = session.defaults
    values = [defaults.get(name, "") for name in PARAMETER_DEFAULTS.values()]
    while values and not values[-1]:
        values.pop()
    return "/".join(value or "-" for value in values)


def _cache(session: Session) -> str:
    age = session.current_settings["cache"]
    return f"cache {time_of(float(str(age)))}" if age is not None else ""
