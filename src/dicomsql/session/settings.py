"""What USE, SET and RESET change of a session: the prefix, defaults of parameters, and settings."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from dicomsql.config import PARAMETER_DEFAULTS, Settings, bytes_of, seconds_of
from dicomsql.errors import InterfaceError, PlanningError, nearest
from dicomsql.planning.answers import SettingPlan

if TYPE_CHECKING:
    from dicomsql.execution.run import Limits

# Parameters that SET takes as the session's defaults.
_DEFAULTS = tuple(PARAMETER_DEFAULTS.values())

# Settings of our own that SET takes: those with names as values, and numbers with their least.
_CHOICES: dict[str, tuple[str, ...]] = {
    "on_error": ("fail", "skip"),
    "on_page_bound": ("error", "warn"),
}
_ALLOWED = "allow_writes"
_NUMBERS = {"max_calls": 1, "max_bytes": 1, "max_pages": 1, "parallel": 1, _ALLOWED: 0}
# Takes a size with its unit too.
_BYTES = "max_bytes"
_CACHE = "cache"
_AWAIT = "await"
_APPROXIMATE = "approximate_counts"
# Settings that are true or false.
_SWITCHES = (_AWAIT, _APPROXIMATE)
_FLAGS: dict[object, bool] = {
    **dict.fromkeys(("true", "on", "yes", True), True),
    **dict.fromkeys(("false", "off", "no", False), False),
}
_OWN = (*_DEFAULTS, *_CHOICES, *_NUMBERS, *_SWITCHES, _CACHE)


class Current:
    """A session's settings as they are now: those that it began with, and what changed since.

    Safe for many threads; a statement looks at a `snapshot` of them, taken once.

    Attributes:
        use: parts of the USE prefix.
        defaults: values of parameters by name.
    """

    def __init__(self, settings: Settings) -> None:
        self.use: tuple[str, ...] = ()
        self.defaults = settings.parameter_defaults()
        self._settings = settings
        self._set: dict[str, Any] = {}
        self._lock = threading.Lock()

    @property
    def wait(self) -> bool:
        """Whether operations are awaited."""
        return bool(self._set.get(_AWAIT, self._settings.await_operations))

    @property
    def approximate_counts(self) -> bool:
        """Whether a number of rows may be taken from metrics."""
        return bool(self._set.get(_APPROXIMATE, False))

    @property
    def cache(self) -> float | None:
        """The seconds for which an answer stands for a call; None where none does."""
        age: float | None = self._set.get(_CACHE, self._settings.cache)
        return age

    def listed(self) -> dict[str, object]:
        """What SET takes, by name, with its value as it is now; None where there is none."""
        limits = self.limits()
        with self._lock:
            values: dict[str, object] = {name: self.defaults.get(name) for name in _DEFAULTS}
            values |= {
                "max_calls": limits.calls,
                "max_bytes": limits.bytes,
                "max_pages": limits.pages,
                "parallel": limits.parallel,
                _ALLOWED: self._set.get(_ALLOWED),
                "on_page_bound": limits.on_page_bound,
                "on_error": limits.on_error,
                _AWAIT: self.wait,
                _APPROXIMATE: self.approximate_counts,
                _CACHE: self.cache,
            }
        return values

    def snapshot(self) -> Current:
        """The settings as they are now, which nothing changes any more: for one statement."""
        with self._lock:
            made = Current(self._settings)
            made.use = self.use
            made.defaults = dict(self.defaults)
            made._set = dict(self._set)
            return made

    def take_writes(self) -> int | None:
        """What one write may touch, taken away so that no other write may touch as much too."""
        with self._lock:
            allowed: int | None = self._set.pop(_ALLOWED, None)
            return allowed

    def give_back_writes(self, allowed: int | None) -> None:
        """Allow it again: the write that took it made no use of it."""
        if allowed is not None:
            with self._lock:
                self._set.setdefault(_ALLOWED, allowed)

    def limits(self) -> Limits:
        """What one statement may use."""
        from dicomsql.execution.run import Limits

        return Limits(
            calls=self._set.get("max_calls", self._settings.max_calls),
            bytes=self._set.get("max_bytes", self._settings.max_bytes),
            pages=self._set.get("max_pages", self._settings.max_pages),
            parallel=self._set.get("parallel", self._settings.parallel) or 8,
            on_page_bound=self._set.get("on_page_bound", "error"),
            on_error=self._set.get("on_error", "fail"),
        )

    def apply(self, plan: SettingPlan, set_engine: Callable[[SettingPlan], None]) -> None:
        """Do what SET, RESET or USE says.

        Args:
            set_engine: changes a setting that is not ours.

        Raises:
            PlanningError: there is no such setting, or it does not take the value.
        """
        name, value = plan.name.lower(), plan.value
        parameter = next((p for p in _DEFAULTS if p.lower() == name), None)
        if name != "use" and parameter is None and name not in _OWN:
            set_engine(plan)
            return
        with self._lock:
            if name == "use":
                assert isinstance(value, tuple)
                self.use = value
            elif parameter is not None:
                self._default(parameter, value)
            elif value is None:
                self._set.pop(name, None)
            else:
                checked = _checked(name, value)
                if name == _CACHE and checked is not None and not self._settings.files:
                    raise PlanningError(
                        "SET cache keeps answers in files, and local files are switched off here "
                        "(files = 'off', --no-files)."
                    )
                self._set[name] = checked

    def _default(self, parameter: str, value: object | None) -> None:
        """SET or RESET of a parameter's default."""
        if value is None:
            value = self._settings.parameter_defaults().get(parameter)
        elif not isinstance(value, str) or not value:
            raise PlanningError(
                f"SET {parameter} takes a text that is not empty; RESET {parameter} takes it back."
            )
        if value is None:
            self.defaults.pop(parameter, None)
        else:
            self.defaults[parameter] = str(value)


def choices_of(name: str) -> tuple[str, ...]:
    """The values that a setting of ours may have, where they can be listed."""
    low = name.lower()
    return ("true", "false") if low in _SWITCHES else _CHOICES.get(low, ())


def check_engine_setting(plan: SettingPlan, known: Iterable[str]) -> None:
    """Refuse a setting that the engine has not, or that no statement may change.

    Args:
        known: the names of those that it has.

    Raises:
        PlanningError: it is one.
    """
    from dicomsql.engine.guards import check_setting

    check_setting(plan.name)
    listed = list(known)
    if plan.name.lower() not in {setting.lower() for setting in listed}:
        raise PlanningError(
            f"There is no setting {plan.name}.{nearest(plan.name, [*_OWN, *listed])} "
            f"The settings are {', '.join(_OWN)}, and those of the engine."
        )


def _checked(name: str, value: object) -> object:
    """The value of a setting of ours, if it is one that the setting takes."""
    if name in _SWITCHES:
        flag = _FLAGS.get(value.lower() if isinstance(value, str) else value)
        if flag is None:
            raise PlanningError(f"SET {name} takes true or false.")
        return flag
    if name == _CACHE:
        return _age(value)
    if name in _CHOICES:
        if value not in _CHOICES[name]:
            raise PlanningError(f"SET {name} takes {' or '.join(_CHOICES[name])}.")
    elif name == _BYTES and isinstance(value, str):
        try:
            return bytes_of(value)
        except InterfaceError as error:
            raise PlanningError(f"SET {name}: it {error}") from None
    elif not isinstance(value, int) or isinstance(value, bool) or value < _NUMBERS[name]:
        raise PlanningError(f"SET {name} takes a whole number from {_NUMBERS[name]} on.")
    return value


def _age(value: object) -> float | None:
    """The seconds that SET cache asks for; None for none."""
    if value is False:
        return None
    try:
        return seconds_of(str(value))
    except InterfaceError as error:
        raise PlanningError(f"SET {error}") from None
