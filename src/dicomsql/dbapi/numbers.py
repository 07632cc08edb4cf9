"""Numbers that the engine would take as others: found before they are bound.

The engine gives all values of a list one type. Where a number has more digits than that type, it
would round it without a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from dicomsql.errors import DataError

__all__ = ["check_numbers"]

# Of the engine's decimals, and its integers of 128 bits, signed and not.
_DIGITS = 38
_LEAST, _MOST, _MOST_UNSIGNED = -(2**127), 2**127 - 1, 2**128 - 1

_Number = int | float | Decimal


def check_numbers(values: Sequence[object], name: str) -> None:
    """Refuse numbers that would not stay the same if they stood in one list, and those in them.

    Args:
        values: as they are bound.
        name: of the parameter, for people.

    Raises:
        DataError: one of them would not.
    """
    for together in _together(values):
        kinds = {type(v) for v in together}
        if kinds == {float}:
            continue
        if float in kinds:
            if not all(map(_is_float, together)):
                raise DataError(
                    f"Parameter {name} has floating-point numbers beside others that have more "
                    "digits than these: give all of them as Decimal, or all as float."
                )
        elif Decimal in kinds:
            _check_decimals(together, name)
        else:
            least, most = min(together), max(together)
            if least < _LEAST or most > (_MOST_UNSIGNED if least >= 0 else _MOST):
                raise DataError(
                    f"Parameter {name} has an integer of more than 128 bits: give it as text."
                )


def _together(values: Sequence[object]) -> Iterator[list[_Number]]:
    """The numbers that get one type, also those at the same place in lists and mappings."""
    numbers = [v for v in values if isinstance(v, _Number) and not isinstance(v, bool)]
    if numbers:
        yield numbers
    if len(numbers) == len(values):
        return
    inner = [one for v in values if isinstance(v, list) for one in v]
    if inner:
        yield from _together(inner)
    members: dict[str, list[object]] = {}
    for value in values:
        if isinstance(value, dict):
            for key, one in value.items():
                members.setdefault(str(key).lower(), []).append(one)
    for of_one in members.values():
        yield from _together(of_one)


def _is_float(number: _Number) -> bool:
    """Whether a floating-point number says the same."""
    if isinstance(number, float):
        return True
    try:
        nearest = float(number)
    except OverflowError:
        return False
    if isinstance(number, int):
        return nearest == number
    return not number.is_finite() or Decimal(repr(nearest)) == number


def _check_decimals(numbers: Sequence[_Number], name: str) -> None:
    # One digit before the point is always counted.
    whole, places = 1, 0
    for number in numbers:
        if not isinstance(number, Decimal):
            whole = max(whole, len(str(abs(number))))
        elif number.is_finite():
            _, digits, exponent = number.as_tuple()
            assert isinstance(exponent, int)
            whole = max(whole, len(digits) + exponent)
            places = max(places, -exponent)
        elif len(numbers) > 1:
            raise DataError(
                f"Parameter {name} has a decimal number that is none (NaN, Infinity) beside "
                "others: give all of them as float."
            )
    if whole + places > _DIGITS:
        raise DataError(
            f"Parameter {name} has decimal numbers that need more than the {_DIGITS} digits of a "
            "DECIMAL, before and behind the point together: round them, or give them as text."
        )
