"""Durations, sizes, rates and lengths as people write them: a number with a unit.

Every function raises ValueError with a sentence that shows how it is written.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Seconds in each unit of time. A month and a year have no fixed length and are left out.
SECONDS: Final[Mapping[str, Decimal]] = {
    "us": Decimal("0.000001"),
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "min": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86_400),
    "w": Decimal(604_800),
}
#: Bytes in each unit: IEC 80000-13 prefixes are powers of 1024, SI prefixes powers of 1000.
BYTES: Final[Mapping[str, Decimal]] = {
    "B": Decimal(1),
    "KiB": Decimal(2**10),
    "MiB": Decimal(2**20),
    "GiB": Decimal(2**30),
    "TiB": Decimal(2**40),
    "kB": Decimal(10**3),
    "MB": Decimal(10**6),
    "GB": Decimal(10**9),
    "TB": Decimal(10**12),
}
#: Metres in each unit of length.
METRES: Final[Mapping[str, Decimal]] = {
    "mm": Decimal("0.001"),
    "cm": Decimal("0.01"),
    "m": Decimal(1),
    "km": Decimal(1000),
}

# Twelve digits hold 30,000 years in seconds and a terabyte in bytes; longer numbers are slips or attacks.
_NUMBER = r"\d{1,12}(?:\.\d{1,12})?"
_QUANTITY = re.compile(rf"({_NUMBER})\s*([A-Za-z]{{1,3}})", re.ASCII)
# "1h30m" has two parts; nobody needs more than one for each unit.
_PARTS = re.compile(rf"(?:{_NUMBER}\s*[A-Za-z]{{1,3}}\s*){{1,8}}", re.ASCII)


def _sum(text: str, units: Mapping[str, Decimal], wanted: str) -> Decimal:
    stripped = text.strip()
    if re.fullmatch(_NUMBER, stripped, re.ASCII):
        raise ValueError(f"has no unit; write {wanted}")
    if len(stripped) > 100 or _PARTS.fullmatch(stripped) is None:
        raise ValueError(f"is not understood; write {wanted}")
    total = Decimal(0)
    for number, unit in _QUANTITY.findall(stripped):
        if unit not in units:
            raise ValueError(f"has the unknown unit {unit!r}; known are {', '.join(units)}")
        total += Decimal(number) * units[unit]
    return total


def seconds(text: str) -> float:
    """Seconds of a duration such as `10s`, `500ms` or `1h30m`."""
    return float(_sum(text, SECONDS, '"10s", "500ms", "5m", "2h" or "7d"'))


def size(text: str) -> int:
    """Bytes of a size such as `2GiB` or `64KiB`; a fraction of a byte is refused."""
    total = _sum(text, BYTES, '"64KiB", "256MiB" or "2GiB"')
    if total != int(total):
        raise ValueError("is not a whole number of bytes")
    return int(total)


def rate(text: str) -> int:
    """Bytes per second of a rate such as `64KiB/s`."""
    amount, slash, per = text.strip().partition("/")
    if not slash or per.strip() != "s":
        raise ValueError('is not a rate; write "64KiB/s"')
    return size(amount)


def metres(text: str) -> float:
    """Metres of a length such as `0.3m` or `30cm`."""
    return float(_sum(text, METRES, '"0.3m" or "30cm"'))


def show_seconds(value: float) -> str:
    """The shortest duration that `seconds` reads back to the same number, in one unit."""
    for unit in ("w", "d", "h", "m", "s", "ms"):
        count = Decimal(repr(value)) / SECONDS[unit]
        if count >= 1 and count == int(count):
            return f"{int(count)}{unit}"
    return f"{Decimal(repr(value)).normalize():f}s"


def show_size(value: int) -> str:
    """The shortest size that `size` reads back to the same number, in one unit."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if value and value % int(BYTES[unit]) == 0:
            return f"{value // int(BYTES[unit])}{unit}"
    return f"{value}B"
