"""Values that count up, so that a reading names the very frame or answer it came from."""

from __future__ import annotations

from typing import Final

# PM2.5 counts 0.0 to 499.9 while PM10 stays at or above 500.0: like real air (PM10 is never the smaller
# one), never the all-zero frame of a sensor that warms up, never the 999.9 of one at its limit.
_AIR_LOW: Final = 5_000
_AIR_HIGH: Final = 4_999
#: Frames of an air sensor until its values come again: nine months at one frame per second.
AIR_PERIOD: Final = _AIR_LOW * _AIR_HIGH
# The Renke transmitter says 30.0 to 130.0 dB(A); 130.0 may mean overload.
_LEVEL_LOWEST: Final = 300
#: Answers of a noise transmitter until its values come again.
LEVEL_PERIOD: Final = 1_000
# People whom a radar sees beside the walking one: none, one or two.
_BESIDE: Final = 3
# Any eight radar frames in a row are unique for as long as the sequence lasts: eleven minutes at 10 Hz.
BESIDE_WINDOW: Final = 8


def air(number: int) -> tuple[int, int]:
    """PM2.5 and PM10 in tenths of ug/m3 that together say `number` (modulo AIR_PERIOD)."""
    high, low = divmod(number % AIR_PERIOD, _AIR_LOW)
    return low, _AIR_LOW + high


def level(number: int) -> int:
    """The level in tenths of dB that says `number` (modulo LEVEL_PERIOD): 30.0 to 129.9 dB."""
    return _LEVEL_LOWEST + number % LEVEL_PERIOD


def beside(number: int) -> int:
    """How many people (0 to 2) stand beside the walking one in radar frame `number`."""
    return _SEQUENCE[number % len(_SEQUENCE)]


def _de_bruijn(symbols: int, length: int) -> tuple[int, ...]:
    """A de Bruijn sequence: each word of `length` symbols stands in it exactly once, seen as a ring.

    It is the Lyndon words whose lengths divide `length`, in order (Fredricksen, Kessler, Maiorana 1978;
    the words in order by Duval 1988).
    """
    sequence: list[int] = []
    word = [-1]
    while word:
        word[-1] += 1
        if length % len(word) == 0:
            sequence.extend(word)
        period = len(word)
        while len(word) < length:
            word.append(word[-period])
        while word and word[-1] == symbols - 1:
            word.pop()
    return tuple(sequence)


_SEQUENCE: Final = _de_bruijn(_BESIDE, BESIDE_WINDOW)
