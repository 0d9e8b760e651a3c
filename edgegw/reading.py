"""What a sensor says: quantities with one unit each, and readings of them.

The names and units are the wire's (a new row here is a new row of the quantity table, and changes what
goes upstream). Units are those of the SenML registries (RFC 8428 §12.1, RFC 8798); `1/cm3`, `Sv/h` and
`Bq/m3` are not registered and are used as they stand.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Mean(StrEnum):
    """How several values of a quantity become one."""

    ARITHMETIC = "mean"
    ENERGY = "energy mean"  # levels in dB: 10·lg of the mean of 10^(L/10)
    VECTOR = "vector mean"  # directions in degrees
    SUM = "sum"  # passages since the previous reading
    LAST = "last value"
    HIGHEST = "highest"
    LOWEST = "lowest"


class Quantity(NamedTuple):
    """A measured quantity: its name on the wire, its only unit, and how values of it are averaged."""

    name: str
    unit: str
    mean: Mean


def _table(unit: str, names: str, mean: Mean = Mean.ARITHMETIC) -> dict[str, Quantity]:
    return {name: Quantity(name, unit, mean) for name in names.split()}


QUANTITIES: Final[Mapping[str, Quantity]] = {
    **_table("ug/m3", "pm1 pm2_5 pm4 pm10 pm100 pm1_std pm2_5_std pm10_std hcho"),
    **_table("1/cm3", "pn0_3 pn0_5 pn1 pn2_5 pn4 pn5 pn10"),
    **_table("ppm", "co2 co no no2 o3 so2 nh3 h2s h2 hcl cl2 hf ph3"),
    **_table("%", "o2"),
    **_table("/", "voc_index nox_index"),
    **_table("Cel", "temperature dew_point"),
    **_table("%RH", "humidity"),
    **_table("hPa", "pressure"),
    **_table("m/s", "wind_speed"),
    **_table("deg", "wind_direction", Mean.VECTOR),
    **_table("mm", "precipitation", Mean.SUM),
    **_table("lx", "illuminance"),
    **_table("W/m2", "solar"),
    **_table("dB", "laeq lceq lzeq la_sampled", Mean.ENERGY),
    **_table("dB", "lafmax lcpeak", Mean.HIGHEST),
    **_table("dB", "lafmin", Mean.LOWEST),
    **_table("dB", "la10 la50 la90", Mean.LAST),
    **_table("count", "count_in count_out", Mean.SUM),
    **_table("count", "occupancy targets", Mean.LAST),
    **_table("/", "presence_index", Mean.LAST),
    **_table("m/s", "speed"),
    **_table("Sv/h", "dose_rate"),
    **_table("Bq/m3", "radon"),
    **_table("%EL", "battery", Mean.LAST),
    **_table("V", "battery_voltage", Mean.LAST),
}


class Quality(int):
    """Constants of the quality flag (QARTOD numbers, WIRE §2)."""

    PASS: Final = 1
    NOT_EVALUATED: Final = 2
    SUSPECT: Final = 3
    FAIL: Final = 4


class Reading(NamedTuple):
    """One value of one quantity, as the device stated it.

    `value` is a finite number in `quantity.unit`. `flag` is a `Quality` number (None: not evaluated) and
    `checks` names what did not pass (`warm_up`, `range`, ...). `meta` holds what is not a measurement
    (device id, tracks); it is shown by tools and never sent.
    """

    quantity: Quantity
    value: float
    flag: int | None = None
    checks: tuple[str, ...] = ()
    meta: Mapping[str, Any] | None = None
