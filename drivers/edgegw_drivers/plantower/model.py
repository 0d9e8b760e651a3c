"""What each model of the Plantower PMS family puts into its words.

Sources: avaldebe/PyPMS (sensors/plantower); esphome components/pmsx003; Plantower data sheets by model.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final, NamedTuple

from edgegw.driver import QUANTITIES, FrameError, Quality, Quantity, Reading
from edgegw_drivers.plantower.frame import LONG, SHORT, USUAL, signed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Words 0 to 5: ug/m3 on the scale "CF=1" and on that for ambient air.
_MASSES: Final = tuple(
    QUANTITIES[name] for name in ["pm1_std", "pm2_5_std", "pm10_std", "pm1", "pm2_5", "pm10"]
)
# Words 6 and on: particles larger than that size in 0.1 l; 100 of them are one in a cubic centimetre.
_COUNTS: Final = tuple(QUANTITIES[name] for name in ["pn0_3", "pn0_5", "pn1", "pn2_5", "pn5", "pn10"])
_FIRST_COUNT: Final = 6
_TEMPERATURE: Final = QUANTITIES["temperature"]
_HUMIDITY: Final = QUANTITIES["humidity"]

# The data sheets call 500 ug/m3 the effective range and 1000 the end of what is measured.
HIGHEST_MASS: Final = 1000


class Layout(NamedTuple):
    """A model: its length field, how many sizes it counts, and where its other words lie (None: it has none).

    `climate` is the word of the temperature, before that of the humidity; `formaldehyde` is in ug/m3; `status`
    holds a version byte and an error byte.
    """

    length: int
    sizes: int = len(_COUNTS)
    climate: int | None = None
    formaldehyde: int | None = None
    status: int | None = 12

    def quantities(self) -> Sequence[str]:
        """Names of what it measures."""
        climate = (_TEMPERATURE, _HUMIDITY) if self.climate is not None else ()
        return [quantity.name for quantity in (*_MASSES, *_COUNTS[: self.sizes], *climate)]


_USUAL: Final = Layout(USUAL)
#: Layouts by the name of the variant.
LAYOUTS: Final[Mapping[str, Layout]] = {
    "pms3003": Layout(SHORT, sizes=0, status=None),
    **dict.fromkeys(("pmsx003", "pms5003", "pms7003", "pmsa003"), _USUAL),
    "pms5003s": Layout(USUAL, formaldehyde=12, status=None),
    "pms5003t": Layout(USUAL, sizes=4, climate=10),
    "pms5003st": Layout(LONG, climate=13, formaldehyde=12, status=16),
}
#: What a length alone says.
BY_LENGTH: Final = {SHORT: LAYOUTS["pms3003"], USUAL: _USUAL, LONG: LAYOUTS["pms5003st"]}


def read(layout: Layout, words: Sequence[int], checks: tuple[str, ...], *, named: bool) -> list[Reading]:
    """The readings in the words of a frame, each with these checks and what does not pass in it.

    FrameError `inconsistent` when the counts contradict the masses, or each other in a frame of a model that nobody
    has `named`: its words may mean something else. Of a model that is known they are doubtful.
    """
    counts = words[_FIRST_COUNT : _FIRST_COUNT + layout.sizes]
    # "Larger than" cannot be more for a larger size; and no particle has no mass (PyPMS refuses that too).
    doubtful = any(larger > smaller for smaller, larger in itertools.pairwise(counts))
    if doubtful and not named:
        raise FrameError("inconsistent", whole=True)
    if counts and not counts[0] and any(words[:_FIRST_COUNT]):
        raise FrameError("inconsistent", whole=True)
    meta: dict[str, int] = {}
    if layout.formaldehyde is not None:
        meta["formaldehyde_ug_m3"] = words[layout.formaldehyde]
    if layout.status is not None:
        meta["version"], meta["error"] = divmod(words[layout.status], 256)
        checks = (*checks, "device_flag") if meta["error"] else checks

    def reading(quantity: Quantity, value: float, *more: str) -> Reading:
        found = (*checks, *more)
        return Reading(quantity, value, Quality.SUSPECT if found else None, found, meta)

    masses = zip(_MASSES, words, strict=False)
    readings = [reading(each, word, *(["range"] if word > HIGHEST_MASS else [])) for each, word in masses]
    doubts = ["inconsistent"] if doubtful else []
    readings += [reading(each, word / 100, *doubts) for each, word in zip(_COUNTS, counts, strict=False)]
    if layout.climate is not None:
        readings.append(reading(_TEMPERATURE, signed(words[layout.climate]) / 10))
        readings.append(reading(_HUMIDITY, words[layout.climate + 1] / 10))
    return readings


def is_empty(layout: Layout, words: Sequence[int]) -> bool:
    """Whether a frame counts and weighs nothing: what a device says before its first value."""
    return not any(words[: _FIRST_COUNT + layout.sizes])
