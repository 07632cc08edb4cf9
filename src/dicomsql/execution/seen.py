"""Which rows came before: 64-bit hashes of their UIDs, in bounded memory however many there are.

Up to some thousands stand in a set. Beyond, a Bloom filter of single words answers nearly all
questions, and what it cannot rule out is looked up among all hashes, which stand in sorted arrays
and, by the million, as sorted runs in a private temporary file. The answer is exact on the hashes:
of ten million rows the odds are one in 300,000 that any two share theirs.
"""

from __future__ import annotations

import random
import tempfile
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

# Hashes that a plain set holds; the import of Arrow's kernels costs more than these.
_SET_MOST = 20_000
# Hashes of a run in the file, and between the fences by which a place in it is found.
_RUN = 1 << 18
_BLOCK = 512
# Hashes that go into a larger filter at a time, for what that takes to stay small.
_SOME = 1 << 16
# Sorted arrays of about one size that are kept before they become one.
_FAN = 16
# The Bloom filter: at least 12 bits a hash at its fullest, five of them set in one word of 64 bits.
# The first is of 2 MB.
_BITS = 12
_FIRST_CAPACITY = (1 << 24) // _BITS
_GROWTH = 2
_SET_BITS = 5
_PATTERNS = 1 << 12


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
            self._many.add(list(few))
            self._few = set()
            return self._many.add(hashes)
        fresh = set(hashes)
        if len(fresh) == len(hashes) and few.isdisjoint(fresh):
            few |= fresh
            return []
        return _again(hashes, few)

    def __contains__(self, value: int) -> bool:
        return value in self._few or (self._many is not None and self._many.holds(value))

    def close(self) -> None:
        """Free what is held; may be called again."""
        self._few = set()
        if self._many is not None:
            self._many.close()


def _again(hashes: Sequence[int], known: set[int]) -> list[int]:
    """The places of those that are known or come a second time; all are known then."""
    again = []
    for place, value in enumerate(hashes):
        if value in known:
            again.append(place)
        else:
            known.add(value)
    return again


@dataclass(frozen=True, slots=True)
class _Run:
    """Sorted hashes in the file.

    Attributes:
        start: bytes before them.
        fences: each of them that begins a block.
    """

    start: int
    count: int
    fences: array[int]


class _Many:
    """Hashes as a Bloom filter, sorted runs in a file, and the newest in sorted arrays.

    An array is as large as a page at first. Where there are too many of one size, they become one
    of the next, so that a value is looked up in few, and each is sorted a few times at most.
    """

    def __init__(self, run: int, capacity: int) -> None:
        self._most = run
        self._newest: list[list[memoryview]] = [[]]
        self._waiting = 0
        self._runs: list[_Run] = []
        self._filed = 0
        # Only its owner can read it, and it has no name that would outlive the process.
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="dicomsql-", buffering=0)  # noqa: SIM115
        self._resize(capacity)

    def __len__(self) -> int:
        return self._filed + self._waiting

    def add(self, hashes: Sequence[int]) -> list[int]:
        import pyarrow as pa
        import pyarrow.compute as pc

        if not hashes:
            return []
        found = pa.array(hashes, pa.int64())
        at, patterns = self._places(found)
        in_doubt = self._doubtful(at, patterns)
        _set_bits(self._words, at, patterns)
        known = self._known({hashes[place] for place in in_doubt})
        # What the filter did not know may still come twice in one page.
        ordered = _sorted(found)
        found = _array(ordered)
        again: list[int] = []
        if known or pc.any(pc.equal(found[1:], found[:-1])).as_py():
            before = frozenset(known)
            again = _again(hashes, known)
            ordered = _sorted(pa.array(known - before, pa.int64()))
        self._take(ordered)
        return again

    def holds(self, value: int) -> bool:
        """Whether that hash was added."""
        return bool(self._known({value}))

    def close(self) -> None:
        self._file.close()
        self._newest = [[]]
        self._runs = []
        self._words = array("Q")

    def _known(self, values: set[int]) -> set[int]:
        """Those of some hashes that were added."""
        if not values:
            return set()
        asked = sorted(values)
        known = {
            value for level in self._newest for some in level for value in _in_sorted(some, asked)
        }
        known.update(
            value
            for value in asked
            if value not in known and any(self._in_run(run, value) for run in self._runs)
        )
        return known

    def _take(self, ordered: memoryview) -> None:
        """Keep some sorted hashes that are new."""
        if ordered:
            self._newest[0].append(ordered)
            self._waiting += len(ordered)
        for level, kept in enumerate(self._newest):
            if len(kept) < _FAN:
                break
            if level + 1 == len(self._newest):
                self._newest.append([])
            self._newest[level + 1].append(_merged(kept))
            kept.clear()
        if self._waiting >= self._most:
            self._write(_merged([some for level in self._newest for some in level]))
            self._newest = [[]]
            self._waiting = 0
        if len(self) > self._capacity:
            self._grow()

    def _places(self, hashes: pa.Array) -> tuple[pa.Array, pa.Array]:
        """The word of the filter that each hash belongs to, and its pattern."""
        import pyarrow as pa
        import pyarrow.compute as pc

        at = pc.bit_wise_and(hashes, pa.scalar(len(self._words) - 1, pa.int64()))
        chosen = pc.bit_wise_and(
            pc.shift_right(hashes, pa.scalar(40, pa.int64())), pa.scalar(_PATTERNS - 1, pa.int64())
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

    def _in_run(self, run: _Run, value: int) -> bool:
        block = bisect_right(run.fences, value) - 1
        if block < 0:
            return False
        first = block * _BLOCK
        count = min(_BLOCK, run.count - first)
        held = self._read(run.start + first * 8, count)
        at = bisect_left(held, value)
        return at < count and held[at] == value

    def _read(self, start: int, count: int) -> memoryview:
        self._file.seek(start)
        data = self._file.read(count * 8)
        while len(data) < count * 8:
            piece = self._file.read(count * 8 - len(data))
            if not piece:
                raise OSError("The temporary file of the rows' hashes was cut.")
            data += piece
        return memoryview(data).cast("q")

    def _write(self, hashes: memoryview) -> None:
        """File sorted hashes as a run."""
        start = self._file.seek(0, 2)
        left = hashes.cast("B")
        while left:
            left = left[self._file.write(left) :]
        self._runs.append(_Run(start, len(hashes), array("q", hashes[::_BLOCK])))
        self._filed += len(hashes)

    def _grow(self) -> None:
        self._resize(self._capacity * _GROWTH)
        for run in self._runs:
            for first in range(0, run.count, _SOME):
                count = min(_SOME, run.count - first)
                self._note(self._read(run.start + first * 8, count))
        for level in self._newest:
            for ordered in level:
                for first in range(0, len(ordered), _SOME):
                    self._note(ordered[first : first + _SOME])

    def _note(self, hashes: memoryview) -> None:
        _set_bits(self._words, *self._places(_array(hashes)))

    def _resize(self, capacity: int) -> None:
        self._capacity = capacity
        # The old filter is gone before the new one is there.
        self._words = array("Q", [0])
        # A power of two, so that some bits of a hash name its word.
        self._words *= 1 << max(0, capacity * _BITS // 64 - 1).bit_length()


def _in_sorted(hashes: memoryview, asked: list[int]) -> list[int]:
    """Those of some hashes that are among the sorted ones."""
    numpy = _numpy()
    if numpy is None:
        places = [bisect_left(hashes, value) for value in asked]
    else:
        places = numpy.searchsorted(numpy.frombuffer(hashes, numpy.int64), asked).tolist()
    last = len(hashes)
    return [
        value for value, at in zip(asked, places, strict=True) if at < last and hashes[at] == value
    ]


def _merged(several: list[memoryview]) -> memoryview:
    """Sorted hashes in one."""
    import pyarrow as pa

    return _sorted(pa.concat_arrays(map(_array, several)))


def _sorted(hashes: pa.Array) -> memoryview:
    """Hashes of which none is NULL in order; other threads run meanwhile."""
    numpy = _numpy()
    if numpy is None or not len(hashes):
        return _view(hashes.sort())
    return memoryview(numpy.sort(numpy.frombuffer(_view(hashes), numpy.int64)))


def _view(hashes: pa.Array) -> memoryview:
    """The hashes of an array that begins where its memory does."""
    buffer = hashes.buffers()[1]
    return memoryview(buffer or b"").cast("q")[: len(hashes)]


def _array(hashes: memoryview) -> pa.Array:
    import pyarrow as pa

    return pa.Array.from_buffers(pa.int64(), len(hashes), [None, pa.py_buffer(hashes)])


def _set_bits(words: array[int], at: pa.Array, patterns: pa.Array) -> None:
    """Set each pattern's bits in its word."""
    numpy = _numpy()
    if numpy is None:
        for place, pattern in zip(at.to_pylist(), patterns.to_pylist(), strict=True):
            words[place] |= pattern
        return
    # Not by `to_numpy`, which Arrow lacks where it was imported without NumPy.
    places, bits = (numpy.frombuffer(_view(some), numpy.uint64) for some in (at, patterns))
    numpy.bitwise_or.at(numpy.frombuffer(words, numpy.uint64), places, bits)


def _numpy() -> ModuleType | None:
    """NumPy, which is no dependency; it is there more often than not, and faster at some things."""
    try:
        import numpy
    except ModuleNotFoundError:
        return None
    return numpy


@cache
def _patterns() -> pa.Array:
    """Words with some bits set, of which a hash chooses one."""
    import pyarrow as pa

    chosen = random.Random(0)  # noqa: S311 - they only have to differ
    words = [sum(1 << bit for bit in chosen.sample(range(64), _SET_BITS)) for _ in range(_PATTERNS)]
    return pa.array(words, pa.uint64())
