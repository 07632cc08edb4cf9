"""Which rows came before: 64-bit hashes of their UIDs, in bounded memory however many there are.

Up to some hundred thousand stand in a set. Beyond, a Bloom filter of single words answers nearly
all questions, and what it cannot rule out is looked up among all hashes, which stand in a private
temporary file as sorted runs. The answer is exact on the hashes: of ten million rows the odds are
one in 300,000 that any two share theirs.
"""

from __future__ import annotations

import random
import tempfile
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from typing import IO

# Hashes that a plain set holds; it takes about 70 bytes for each.
_SET_MOST = 200_000
# Hashes of a run in the file, and between the fences by which a place in it is found.
_RUN = 131_072
_BLOCK = 512
# The Bloom filter: 12 bits a hash at its fullest, five of them set in one word of 64 bits.
_FIRST_CAPACITY = 1 << 20
_GROWTH = 4
_BITS = 12
_SET_BITS = 5
_PATTERNS = 1 << 12
# Candidates of one page from which on a run is read whole rather than block by block.
_MANY = 64

_WORD = (1 << 64) - 1


class Seen:
    """A growing set of hashes.

    Parameters:
        most: hashes that are kept in a plain set.
        run: hashes of a run in the file.
        capacity: hashes of the first Bloom filter.
    """

    def __init__(
        self, most: int = _SET_MOST, run: int = _RUN, capacity: int = _FIRST_CAPACITY
    ) -> None:
        self._most = most
        self._run = run
        self._capacity = capacity
        self._few: set[int] = set()
        self._many: _Many | None = None

    def __len__(self) -> int:
        return len(self._few) + (len(self._many) if self._many is not None else 0)

    def add(self, hashes: Sequence[int]) -> list[int]:
        """Take hashes in.

        Args:
            hashes: as `hash` gives them.

        Returns: the places of those that were there before, or earlier in `hashes`.
        """
        if self._many is not None:
            return self._many.add(hashes)
        few = self._few
        before = len(few)
        if before + len(hashes) > self._most:
            self._many = _Many(self._run, self._capacity)
            self._many.add(sorted(few))
            self._few = set()
            return self._many.add(hashes)
        fresh = set(hashes)
        if len(fresh) == len(hashes) and few.isdisjoint(fresh):
            few |= fresh
            return []
        again = []
        for place, value in enumerate(hashes):
            if value in few:
                again.append(place)
            else:
                few.add(value)
        return again

    def __contains__(self, value: int) -> bool:
        return value in self._few or (self._many is not None and self._many.holds(value))

    def close(self) -> None:
        """Free what is held; may be called again."""
        self._few = set()
        if self._many is not None:
            self._many.close()


class _Many:
    """Hashes as a Bloom filter, sorted runs in a file, and the newest in a set."""

    def __init__(self, run: int, capacity: int) -> None:
        self._size = run
        self._newest: set[int] = set()
        self._fences: list[array[int]] = []
        # Only its owner can read it, and it has no name that would outlive the process.
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="dicomsql-", buffering=0)  # noqa: SIM115
        self._resize(capacity)

    def __len__(self) -> int:
        return len(self._fences) * self._size + len(self._newest)

    def add(self, hashes: Sequence[int]) -> list[int]:
        words, size, patterns = self._words, len(self._words), _patterns()
        newest = self._newest
        in_doubt: list[int] = []
        for place, value in enumerate(hashes):
            at = value % size
            pattern = patterns[value >> 40 & _PATTERNS - 1]
            word = words[at]
            if word & pattern == pattern:
                in_doubt.append(place)
            else:
                words[at] = word | pattern
                newest.add(value)
        again = self._resolved(hashes, in_doubt) if in_doubt else []
        while len(self._newest) >= self._size:
            self._write()
        if len(self) > self._capacity:
            self._grow()
        return again

    def holds(self, value: int) -> bool:
        pattern = _patterns()[value >> 40 & _PATTERNS - 1]
        if self._words[value % len(self._words)] & pattern != pattern:
            return False
        return value in self._newest or bool(self._in_file([value]))

    def close(self) -> None:
        self._file.close()
        self._newest = set()
        self._words = array("Q")

    def _resolved(self, hashes: Sequence[int], in_doubt: list[int]) -> list[int]:
        """Which of the places in doubt hold known hashes; the others are taken in."""
        newest = self._newest
        filed = self._in_file(sorted({hashes[p] for p in in_doubt} - newest))
        again = []
        for place in in_doubt:
            value = hashes[place]
            if value in newest or value in filed:
                again.append(place)
            else:
                newest.add(value)
        return again

    def _in_file(self, wanted: list[int]) -> set[int]:
        """Those of some sorted hashes that a run holds."""
        found: set[int] = set()
        for number, fences in enumerate(self._fences):
            start = number * self._size * 8
            if len(wanted) > _MANY:
                run = self._read(start, self._size)
                for value in wanted:
                    at = bisect_left(run, value)
                    if at < len(run) and run[at] == value:
                        found.add(value)
                continue
            for value in wanted:
                block = bisect_left(fences, value + 1) - 1
                if block < 0:
                    continue
                first = block * _BLOCK
                run = self._read(start + first * 8, min(_BLOCK, self._size - first))
                at = bisect_left(run, value)
                if at < len(run) and run[at] == value:
                    found.add(value)
        return found

    def _read(self, start: int, count: int) -> array[int]:
        found = array("q")
        self._file.seek(start)
        data = bytearray()
        while len(data) < count * 8:
            piece = self._file.read(count * 8 - len(data))
            if not piece:
                raise OSError("The temporary file of the rows' hashes was cut.")
            data += piece
        found.frombytes(data)
        return found

    def _write(self) -> None:
        """File some of the newest hashes as a run."""
        ordered = sorted(self._newest)
        run = array("q", ordered[: self._size])
        self._newest = set(ordered[self._size :])
        self._file.seek(0, 2)
        view = memoryview(run).cast("B")
        while view:
            written = self._file.write(view)
            view = view[written:]
        self._fences.append(run[::_BLOCK])

    def _grow(self) -> None:
        self._resize(self._capacity * _GROWTH)
        words, size, patterns = self._words, len(self._words), _patterns()
        for number in range(len(self._fences)):
            for value in self._read(number * self._size * 8, self._size):
                words[value % size] |= patterns[value >> 40 & _PATTERNS - 1]
        for value in self._newest:
            words[value % size] |= patterns[value >> 40 & _PATTERNS - 1]

    def _resize(self, capacity: int) -> None:
        self._capacity = capacity
        self._words = array("Q", bytes(max(1, capacity * _BITS // 64) * 8))


@cache
def _patterns() -> tuple[int, ...]:
    """Words with some bits set, of which a hash chooses one."""
    chosen = random.Random(0)  # noqa: S311 - they only have to differ
    return tuple(
        sum(1 << bit for bit in chosen.sample(range(64), _SET_BITS)) for _ in range(_PATTERNS)
    )
