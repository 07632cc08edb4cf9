"""Whether a list held still while it was read, told by the rows in which its pages meet.

A page begins with the last row of the page before it. As long as the server's order stays the same,
whatever is inserted or deleted, all rows between two such rows are on one page; so a walk that
found each of them again has seen every row that was there all the time. Where one is gone, rows may
have moved to a page that had been read already, and the list is walked again. Rows that come twice
in one walk were moved by an insertion, or by an order that is not the same each time: then as many
may have been missed, and the list is walked again until as many are found, or two walks agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dicomsql.errors import IncompleteError
from dicomsql.execution.seen import Seen

if TYPE_CHECKING:
    import pyarrow as pa

# Times that a list that shifts is walked again.
_TIMES_AGAIN = 3
# Pages of a single row that may repeat rows one after another.
_REPEATED = 5


@dataclass(eq=False, slots=True)
class Course:
    """The walks over one search.

    Attributes:
        times: walks after the first.
        torn: a page of the walk that is under way lacks the row that the one before it ended with.
        shifted: rows that came twice in it.
        recovered: rows in it that no search had found before.
    """

    times: int = 0
    torn: bool = False
    shifted: int = 0
    recovered: int = 0
    _missed: int = 0
    _was_torn: bool = False
    _due: int = 0
    _longest: int = 0
    _repeated: int = 0
    _rows: int = 0
    _rows_before: int = 0
    _last: tuple[object, ...] | None = None
    _first: Sequence[int] | None = None
    _seen: Seen | None = field(default=None)

    def meet(self, keys: Sequence[pa.Array], overlap: int) -> int:
        """Look at a page's first rows, the next of the walk.

        Args:
            keys: the UIDs of each row, its own last.
            overlap: rows that the page before it should have ended with.

        Returns: how many of its rows to leave out, as they are the same.
        """
        self._due, skipped = 0, 0
        if overlap and self._last is not None:
            at = self._place_of_last(keys, overlap - 1)
            if at == overlap - 1:
                skipped = overlap
            elif at is None:
                self.torn = True
            else:
                # These come twice although nothing was missed.
                self._due = min(at + 1, overlap)
        if len(keys[-1]):
            self._last = _key(keys, len(keys[-1]) - 1)
        return skipped

    def count(self, hashes: Sequence[int], again: int | None) -> int:
        """Count the rows of a page, without those that were left out, that came twice in this walk.

        Args:
            hashes: of their keys.
            again: how many came before, where nothing but this walk can have given them.

        Returns: how many came twice.
        """
        self.follow(hashes)
        if again is None:
            again = self._count(hashes)
        self.shifted += max(0, again - self._due)
        return again

    def follow(self, hashes: Sequence[int]) -> None:
        """Take in the keys of a page, so that walks can be compared."""
        self._rows = hash((self._rows, *hashes))

    def is_vain(self, rows: int, again: int) -> bool:
        """Whether a page as long as any before it has nothing but rows of theirs.

        Of pages of one row, an insertion repeats some; only many in a row are in vain.
        """
        vain = rows > 0 and again == rows >= self._longest - 1
        if rows:
            self._repeated = self._repeated + 1 if vain else 0
        vain = vain and (self._longest > 1 or self._repeated > _REPEATED)
        self._longest = max(self._longest, rows)
        return vain

    @property
    def is_over(self) -> bool:
        """Whether the walk, one after the first, has found all that had been missed."""
        closed = not (self.torn or self._was_torn)
        return self.times > 0 and closed and self.recovered >= self._missed

    def ends(self, what: str) -> bool:
        """End a walk.

        Args:
            what: the full name of the method.

        Returns: whether all has been seen; else the list is to be walked once more.

        Raises:
            IncompleteError: it does not hold still.
        """
        if self.times == 0 or self._was_torn:
            self._missed = self.shifted
        elif self.recovered:
            self._missed = max(0, self._missed - self.recovered)
        else:
            self._missed = self.shifted if self._rows != self._rows_before else 0
        torn = self.torn
        self.close()
        if not torn and not self._missed:
            return True
        if self.times == _TIMES_AGAIN:
            raise IncompleteError(
                f"{what}: the list of rows did not hold still while it was read "
                f"{self.times + 1} times, so it is not known whether all were found: the store is "
                f"being changed, or the server gives its rows in another order each time. Run the "
                f"statement again when nothing is written to the store."
            )
        self.times += 1
        self._was_torn, self.torn = torn, False
        self.shifted = self.recovered = self._longest = self._repeated = 0
        self._rows, self._rows_before = 0, self._rows
        self._last = None
        return False

    def close(self) -> None:
        """Free what is held of a walk."""
        if self._seen is not None:
            self._seen.close()
        self._seen = self._first = None

    def _place_of_last(self, keys: Sequence[pa.Array], due: int) -> int | None:
        """Where on a page the last row of the page before it stands."""
        import pyarrow.compute as pc

        last = self._last
        assert last is not None
        if due < len(keys[-1]) and _key(keys, due) == last:
            return due
        for at in pc.indices_nonzero(pc.equal(keys[-1], last[-1])).to_pylist():
            if _key(keys, at) == last:
                return int(at)
        return None

    def _count(self, hashes: Sequence[int]) -> int:
        if self._first is None:
            # One page alone holds each row once.
            self._first = hashes
            return 0
        if self._seen is None:
            self._seen = Seen()
            self._seen.add(self._first)
        return len(self._seen.add(hashes))


def _key(keys: Sequence[pa.Array], at: int) -> tuple[object, ...]:
    return tuple(column[at].as_py() for column in keys)
