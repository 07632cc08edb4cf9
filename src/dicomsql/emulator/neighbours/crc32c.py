"""CRC-32C (Castagnoli, RFC 3720 appendix B.4), which Cloud Storage's clients check transfers by.

The standard library has none. Large pieces are cut into lanes that numpy works through side by
side; a lane's checksum is then moved behind that of the one before, which is a linear map of bits.
"""

from __future__ import annotations

import base64
from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Crc32c"]

_POLYNOMIAL = 0x82F63B78
_LANES = 1024
_LARGE = 1 << 16  # bytes from which lanes are worth it
_ONES = 0xFFFFFFFF
# the images of the 32 bits, or of the 256 values of each of the 4 bytes
_Map = tuple[int, ...]


class Crc32c:
    """A checksum that grows."""

    def __init__(self) -> None:
        self._state = _ONES

    def update(self, data: bytes) -> None:
        """Add bytes; pieces of a megabyte are fast."""
        cut = len(data) // _LANES * _LANES if len(data) >= _LARGE else 0
        if cut:
            self._state = _by_lanes(self._state, data[:cut])
        state, table = self._state, _table()
        for byte in data[cut:]:
            state = table[(state ^ byte) & 0xFF] ^ (state >> 8)
        self._state = state

    def encoded(self) -> str:
        """As Cloud Storage writes it: base64 of the four bytes, the highest first."""
        return base64.b64encode((self._state ^ _ONES).to_bytes(4, "big")).decode()


def _by_lanes(state: int, data: bytes) -> int:
    import numpy as np

    table = _numpy_table()
    rows = np.frombuffer(data, np.uint8).reshape(_LANES, -1)
    lanes = np.zeros(_LANES, np.uint32)
    for column in np.ascontiguousarray(rows.T):
        lanes = table[(lanes ^ column) & 0xFF] ^ (lanes >> 8)
    bytes_0, bytes_1, bytes_2, bytes_3 = _shift_tables(rows.shape[1])
    for lane in lanes.tolist():
        moved = bytes_0[state & 0xFF] ^ bytes_1[state >> 8 & 0xFF]
        state = moved ^ bytes_2[state >> 16 & 0xFF] ^ bytes_3[state >> 24] ^ lane
    return state


@cache
def _table() -> _Map:
    found = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)  # noqa: PLW2901
        found.append(value)
    return tuple(found)


@cache
def _numpy_table() -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    import numpy as np

    return np.array(_table(), np.uint32)


@lru_cache(maxsize=64)
def _shift_tables(zeros: int) -> tuple[_Map, _Map, _Map, _Map]:
    """What so many zero bytes make of a state, by each byte of the state."""
    table = _table()
    step = tuple(table[1 << i & 0xFF] ^ (1 << i >> 8) for i in range(32))  # of one zero byte
    whole = tuple(1 << i for i in range(32))
    while zeros:
        if zeros & 1:
            whole = tuple(_image(step, bits) for bits in whole)
        step = tuple(_image(step, bits) for bits in step)
        zeros >>= 1
    first, second, third, fourth = (
        tuple(_image(whole, value << 8 * byte) for value in range(256)) for byte in range(4)
    )
    return first, second, third, fourth


def _image(linear: _Map, bits: int) -> int:
    found = 0
    for image in linear:
        if bits & 1:
            found ^= image
        bits >>= 1
    return found
