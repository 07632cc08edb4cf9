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
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

# Hashes that a plain set holds; it takes about 70 bytes for each.
_SET_MOST = 200_000
# Hashes of a run in the file, and between the fences by which a place in it is found.
_RUN = 131_072
_BLOCK = 512
# The Bloom filter: at least 16 bits a hash at its fullest, five of them set in one word of 64 bits.
_FIRST_CAPACITY = 1 << 20
_GROWTH = 2
_BITS = 16
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
        at, patterns = self._places(hashes)
        in_doubt = self._doubtful(at, patterns)
        _set_bits(self._words, at, patterns)
        newest = self._newest
        known = {hashes[place] for place in in_doubt}
        if known:
            known = (known & newest) | self._in_file(sorted(known - newest))
        # What the filter did not know may still come twice in one page.
        fresh = set(hashes)
        if not known and len(fresh) == len(hashes):
            newest |= fresh
            return self._filed([])
        again = []
        for place, value in enumerate(hashes):
            if value in known:
                again.append(place)
            else:
                known.add(value)
                newest.add(value)
        return self._filed(again)

    def _filed(self, again: list[int]) -> list[int]:
        while len(self._newest) >= self._size:
            self._write()
        if len(self) > self._capacity:
            self._grow()
        return again

    def _places(self, hashes: Sequence[int] | array[int]) -> tuple[pa.Array, pa.Array]:
        """The word of the filter that each hash belongs to, and its pattern."""
        import pyarrow as pa
        import pyarrow.compute as pc

        found = pa.array(hashes, pa.int64())
        at = pc.bit_wise_and(found, pa.scalar(len(self._words) - 1, pa.int64()))
        chosen = pc.bit_wise_and(
            pc.shift_right(found, pa.scalar(40, pa.int64())), pa.scalar(_PATTERNS - 1, pa.int64())
        )
        return at, _patterns().take(chosen)

    def _doubtful(self, at: pa.Array, patterns: pa.Array) -> list[int]:
        """The places whose hash the filter may have seen."""
        import pyarrow as pa
        import pyarrow.compute as pc

        buffer = pa.py_buffer(self._words)
        words = pa.Array.from_buffers(pa.uint64(), len(self._words), [None, buffer]).take(at)
        seen = pc.equal(pc.bit_wise_and(words, patterns), patterns)
        found: list[int] = pc.indices_nonzero(seen).to_pylist()
        return found

    def holds(self, value: int) -> bool:
        return value in self._newest or bool(self._in_file([value]))

    def close(self) -> None:
        self._file.close()
        self._newest = set()
        self._words = array("Q")

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
        import pyarrow as pa

        kept = list(self._newest)
        # Arrow sorts a run in a tenth of the time, and lets other threads fetch meanwhile.
        run = array("q", pa.array(kept[: self._size], pa.int64()).sort().buffers()[1].to_pybytes())
        self._newest = set(kept[self._size :])
        self._file.seek(0, 2)
        view = memoryview(run).cast("B")
        while view:
            written = self._file.write(view)
            view = view[written:]
        self._fences.append(run[::_BLOCK])

    def _grow(self) -> None:
        self._resize(self._capacity * _GROWTH)
        for number in range(len(self._fences)):
            self._note(self._read(number * self._size * 8, self._size))
        self._note(list(self._newest))

    def _note(self, hashes: Sequence[int] | array[int]) -> None:
        _set_bits(self._words, *self._places(hashes))

    def _resize(self, capacity: int) -> None:
        self._capacity = capacity
        # A power of two, so that some bits of a hash name its word.
        count = 1 << max(0, capacity * _BITS // 64 - 1).bit_length()
        self._words = array("Q", bytes(count * 8))


def _set_bits(words: array[int], at: pa.Array, patterns: pa.Array) -> None:
    """Set each pattern's bits in its word."""
    try:
        import numpy as np
    except ModuleNotFoundError:  # it is no dependency, but is there more often than not
        for place, pattern in zip(at.to_pylist(), patterns.to_pylist(), strict=True):
            words[place] |= pattern
        return
    np.bitwise_or.at(np.frombuffer(words, np.uint64), at.to_numpy(), patterns.to_numpy())


@cache
def _patterns() -> pa.Array:
    """Words with some bits set, of which a hash chooses one."""
    import pyarrow as pa

    chosen = random.Random(0)  # noqa: S311 - they only have to differ
    words = [sum(1 << bit for bit in chosen.sample(range(64), _SET_BITS)) for _ in range(_PATTERNS)]
    return pa.array(words, pa.uint64())
