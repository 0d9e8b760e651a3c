"""The layer `numeric` of the shell: numbers that no device ever sent as bytes."""

from __future__ import annotations

import math
import re
from typing import Final

from edgegw.framing import FrameError

# "60 80", "60,80", "[60, 80]": as people and JSON write lists.
_SEPARATORS: Final = re.compile(r"[\s,;\[\]]+")
_WHOLE: Final = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})")
# Registers of 16 bits, as they are written elsewhere: four digits each, and no decimal number looks so.
_WORDS: Final = re.compile(r"(?=.*[a-f]|0)([0-9a-f]{4})+", re.IGNORECASE)
# A register alone; one that could also be a decimal number is a register where another one of the list is.
_WORD: Final = re.compile(r"[0-9a-f]{4}", re.IGNORECASE)
# One number that says itself that it is hexadecimal.
_PREFIXED: Final = re.compile(r"0x[0-9a-f]{1,16}", re.IGNORECASE)
# More than any calculation of the shell wants.
MOST_NUMBERS: Final = 10_000


def numbers(data: bytes) -> list[int | float]:
    """The numbers in the text of a numeric layer: whole ones as int, those with a point or exponent as float.

    Four hexadecimal digits that begin with 0 or hold a letter are a 16-bit word, and may follow each other without a
    blank; four decimal digits are one where all others of the list are words. What begins with 0x is one number, however
    many digits it has. FrameError: `no_data`, `not_a_number`, or `unsupported_length` for more than MOST_NUMBERS.
    """
    found: list[int | float] = []
    words = [word for word in _SEPARATORS.split(data.decode("utf-8", "replace")) if word]
    if all(map(_WORD.fullmatch, words)) and any(map(_WORDS.fullmatch, words)):
        words = [f"0x{word}" for word in words]
    for word in words:
        if _WHOLE.fullmatch(word):
            found.append(int(word))
        elif _PREFIXED.fullmatch(word):
            found.append(int(word, 16))
        elif _WORDS.fullmatch(word):
            found += (int(word[at : at + 4], 16) for at in range(0, len(word), 4))
        else:
            found.append(_real(word))
        if len(found) > MOST_NUMBERS:
            raise FrameError("unsupported_length")
    if not found:
        raise FrameError("no_data")
    return found


def _real(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FrameError("not_a_number")
    return value
