"""Frames of nine bytes: FF, a command, six bytes of content, a sum; requests have the sensor's number 01 in between.

Layouts: MH-Z19B data sheet v1.5 (WifWaf/MH-Z19); DFRobot/DFRobot_MultiGasSensor (gas boards);
avaldebe/PyPMS (ZH03 and its modes). No frame says which kind of device sent it: all of them answer FF 86.
"""

from __future__ import annotations

import contextlib
import math
import re
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edgegw.driver import QUANTITIES, FixedLength, FrameError, Quantity, spelt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

START: Final = 0xFF
READ: Final = 0x86
READ_ALL: Final = 0x88
MODE: Final = 0x78

ANSWERS: Final = FixedLength(start=b"\xff\x86", length=9)
#: Gas boards and the ZH03 also acknowledge a change of mode; boards have a second kind of answer.
ANSWERS_AND_MODE: Final = FixedLength(start=(b"\xff\x86", b"\xff\x78"), length=9)
ANY_ANSWER: Final = FixedLength(start=(b"\xff\x86", b"\xff\x88", b"\xff\x78"), length=9)

# Command and content of each request. Calibration (zero, span) is not among them: nobody here sends it. The
# range and the baseline (ABC) are made for whoever sets a device up by hand, and are never sent either.
_COMMANDS: Final[Mapping[str, bytes]] = {
    "read": bytes((READ,)),
    "read_all": bytes((READ_ALL,)),
    "mode_active": bytes((MODE, 0x03)),
    "mode_query": bytes((MODE, 0x04)),
    "zh03_mode_active": bytes((MODE, 0x40)),
    "zh03_mode_query": bytes((MODE, 0x41)),
    "abc_on": b"\x79\xa0",
    "abc_off": b"\x79\x00",
}
_RANGE: Final = re.compile(r"set[\s_-]+range[\s_-]+(2000|5000|10000)([\s_-]+ppm)?", re.IGNORECASE)

# What the street can hold, and where an MH-Z19 ends: less is a supply that is too low, or another device.
CO2_PPM: Final = (300, 10_000)
# The end of the ZH03's range.
DUST_UG_M3: Final = 1000
# Decimals that the boards' own library knows.
MOST_DECIMALS: Final = 2

PH3: Final = 0x45


class Gas(NamedTuple):
    """What a gas board measures, and the end of its largest cell's range."""

    quantity: Quantity
    highest: float


#: Gases by the type byte. Ranges: DFRobot/DFRobot_MultiGasSensor, table of products.
GASES: Final[Mapping[int, Gas]] = {
    number: Gas(QUANTITIES[name], highest)
    for number, name, highest in (
        (0x02, "nh3", 100),
        (0x03, "h2s", 100),
        (0x04, "co", 1000),
        (0x05, "o2", 25),
        (0x06, "h2", 1000),
        (0x2A, "o3", 10),
        (0x2B, "so2", 20),
        (0x2C, "no2", 20),
        (0x2E, "hcl", 10),
        (0x31, "cl2", 20),
        (0x33, "hf", 10),
        (PH3, "ph3", 1000),
    )
}


class Value(NamedTuple):
    """One value of a frame."""

    quantity: Quantity
    value: float


class Content(NamedTuple):
    """What a frame says: its values, and what is no measurement."""

    values: tuple[Value, ...]
    meta: Mapping[str, Any]


def encode(command: str) -> bytes:
    """The nine bytes of a command; ValueError for one that is not made here."""
    chosen = _RANGE.fullmatch(command)
    if chosen:
        content = b"\x99\0\0\0" + int(chosen[1]).to_bytes(2, "big")
    else:
        content = _COMMANDS[spelt(command, (*_COMMANDS, "set range 2000 ppm"))]
    return _framed(b"\x01" + content.ljust(6, b"\0"))


def answer(command: int, content: bytes) -> bytes:
    """The frame in which a device answers a command, with up to six bytes of content."""
    return _framed(bytes((command,)) + content.ljust(6, b"\0"))


def parse(frame: bytes) -> tuple[int, bytes]:
    """Command and content of an answer of nine bytes; FrameError when the sum is wrong."""
    if _sum(frame[1:8]) != frame[8]:
        raise FrameError("checksum")
    return frame[1], frame[2:8]


def co2(content: bytes) -> Content:
    """CO2 of an MH-Z19; `implausible` where it is none, such as the dust of a ZH03."""
    value = int.from_bytes(content[:2], "big")
    if not CO2_PPM[0] <= value <= CO2_PPM[1]:
        raise FrameError("implausible", whole=True)
    # Inside the device, undocumented and inaccurate: no measurement. Older devices leave it zero.
    meta = {"temperature_byte": content[2] - 40} if content[2] else {}
    return Content((Value(QUANTITIES["co2"], value),), meta)


def gas(command: int, content: bytes) -> Content:
    """The gas that a board says; `unknown_gas`, or `implausible` beyond the range of any cell."""
    known = GASES.get(content[2])
    if known is None:
        raise FrameError("unknown_gas", whole=True)
    digits = content[3]
    if digits > MOST_DECIMALS:
        raise FrameError("implausible", whole=True)
    value = int.from_bytes(content[:2], "big") / 10**digits
    if value > known.highest:
        raise FrameError("implausible", whole=True)
    meta: dict[str, Any] = {"gas_type": content[2]}
    if command == READ_ALL:
        temperature = _board_temperature(int.from_bytes(content[4:6], "big"))
        if temperature is not None:
            meta["board_temperature"] = temperature
    return Content((Value(known.quantity, value),), meta)


def dust(content: bytes) -> Content:
    """The dust that a ZH03 says; `implausible` where finer dust weighs more than all of it, as CO2 would."""
    pm2_5, pm10, pm1 = (int.from_bytes(content[at : at + 2], "big") for at in (0, 2, 4))
    if not pm1 <= pm2_5 <= pm10 <= DUST_UG_M3:
        raise FrameError("implausible", whole=True)
    values = (("pm1", pm1), ("pm2_5", pm2_5), ("pm10", pm10))
    return Content(tuple(Value(QUANTITIES[name], value) for name, value in values), {})


def any_of(command: int, content: bytes) -> Content:
    """What a frame of an unknown device most likely says; `implausible` when it can be none of them.

    A gas stands first, since few bytes are one; but the type of PH3 is also an MH-Z19 at 29 degrees, which is
    the likelier. Dust without any fine dust is a damaged gas. Good enough for looking, not for a sensor.
    """
    if command == READ_ALL:
        return gas(command, content)
    reads: list[Callable[[bytes], Content]] = [co2, partial(gas, command)]
    if any(content[4:]):
        reads.append(dust)
    if content[2] != PH3:
        reads.insert(0, partial(gas, command))
    for read in reads:
        with contextlib.suppress(FrameError):
            return read(content)
    raise FrameError("implausible", whole=True)


def _board_temperature(adc: int) -> float | None:
    """Degrees of the thermistor on the board, a tenth as its use is; None outside of what it can measure.

    Divider and constants: DFRobot/DFRobot_MultiGasSensor.
    """
    if not 0 < adc < 1024:
        return None
    resistance = 10_000 * adc / (1024 - adc)
    return round(1 / (1 / 298.15 + math.log(resistance / 10_000) / 3380.13) - 273.15, 1)


def _framed(content: bytes) -> bytes:
    return bytes((START,)) + content + bytes((_sum(content),))


def _sum(content: bytes) -> int:
    return -sum(content) & 0xFF
