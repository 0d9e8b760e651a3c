"""What becomes of a value that was on the air."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edgegw.driver import QUANTITIES, FrameError, Quality, Reading

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The provenance of what was not encrypted: anybody near the gateway can have sent it.
PLAIN: Final = ("unauthenticated",)
#: A value that the device says it does not have.
MISSING: Final = FrameError("not_available")

# Outside of these a value is no state of the air at ground level, whatever the sensor; bounds belong to it.
# Air from -90 to 60 Cel and 870 to 1085 hPa at sea level is on record; sensors in the sun and on mountains see more.
# CO2 has not been below 300 ppm while there were people.
PLAUSIBLE: Final[Mapping[str, tuple[float, float]]] = {
    "temperature": (-90, 100),
    "dew_point": (-90, 100),
    "humidity": (0, 100),
    "pressure": (300, 1100),
    "co2": (200, 40_000),
    "pm1": (0, 5000),
    "pm2_5": (0, 5000),
    "pm4": (0, 5000),
    "pm10": (0, 10_000),
    "voc_index": (0, 500),
    "nox_index": (0, 500),
    "battery": (0, 100),
    "wind_speed": (0, 115),
    "wind_direction": (0, 360),
}


def reading(
    name: str, value: float, meta: Mapping[str, Any], *, provenance: tuple[str, ...], warming: bool = False
) -> Reading:
    """The reading of a quantity, in its unit.

    `provenance` are the checks that say where it comes from (`unauthenticated`): they tell nothing about the value,
    and leave its flag alone. An implausible value fails (`range`), one while the sensor warms up is suspect.
    """
    low, high = PLAUSIBLE.get(name, (value, value))
    checks, flag = provenance, None
    if warming:
        checks, flag = (*checks, "warm_up"), Quality.SUSPECT
    if not low <= value <= high:
        checks, flag = (*checks, "range"), Quality.FAIL
    return Reading(QUANTITIES[name], value, flag, checks, meta)
