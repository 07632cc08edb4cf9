"""Which hashes came before: the same answer whichever form holds them."""

from __future__ import annotations

import random
import sys

import pytest

from dicomsql.execution.seen import Seen


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"most": 10, "run": 64, "capacity": 100},
        {"most": 500, "run": 1000},
        {"most": 10, "run": 3000, "capacity": 4000},
    ],
)
@pytest.mark.parametrize("numpy", ["with NumPy", "without NumPy"])
def test_what_came_before_is_known(
    form: dict[str, int], numpy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if numpy == "without NumPy":
        monkeypatch.setitem(sys.modules, "numpy", None)
    chosen = random.Random(1)
    values = [chosen.getrandbits(64) - (1 << 63) for _ in range(3_000)]
    seen, before = Seen(**form), set[int]()
    for start in range(0, 6_000, 70):
        page = [values[chosen.randrange(min(start + 70, 3_000))] for _ in range(70)]
        expected = []
        for place, value in enumerate(page):
            if value in before:
                expected.append(place)
            before.add(value)
        assert seen.add(page) == expected
    assert len(seen) == len(before)
    assert all(value in seen for value in before)
    assert not any(chosen.getrandbits(63) in seen for _ in range(1_000))
    assert seen.add([]) == []
    seen.close()
