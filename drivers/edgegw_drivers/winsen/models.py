"""The kinds of devices of the family, by what people call them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from edgegw_drivers.winsen import frame as frames

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgegw.driver import FixedLength
    from edgegw_drivers.winsen.frame import Content


class Model(NamedTuple):
    """One kind of device: its answers, what it measures, how long it warms up, what makes it wait for requests."""

    framing: FixedLength
    quantities: tuple[str, ...]
    warm_up_s: float
    mode: str = ""


GASES: Final = tuple(gas.quantity.name for gas in frames.GASES.values())
_DUST: Final = ("pm1", "pm2_5", "pm10")
# Warm-up: MH-Z19B data sheet v1.5 (3 minutes of made-up numbers); DFRobot wiki of the gas boards (5 minutes);
# the ZH03 like any dust sensor with a fan.
MODELS: Final[Mapping[str, Model]] = {
    "mhz19": Model(frames.ANSWERS, ("co2",), 180.0),
    "dfrobot": Model(frames.ANY_ANSWER, GASES, 300.0, "mode_query"),
    "zh03": Model(frames.ANSWERS_AND_MODE, _DUST, 30.0, "zh03_mode_query"),
    "any": Model(frames.ANY_ANSWER, ("co2", *GASES, *_DUST), 0.0),
}
# How the devices are called on their housings and in catalogues.
_NAMES: Final = {
    r"(winsen)?mhz(14|16|19)[a-ex]?": "mhz19",
    r"dfrobot(gas|gravity)?|sen04(6[5-9]|7[0-6])": "dfrobot",
    r"(winsen)?zh0([36][ab]?|x)": "zh03",
}


def model_of(name: str) -> str:
    """The key in `MODELS` for a model as people write it; the name itself where it is none."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    if plain in MODELS:
        return plain
    return next((model for words, model in _NAMES.items() if plain and re.fullmatch(words, plain)), name)


def read(model: str, command: int, content: bytes) -> Content:
    """What an answer of a model says; FrameError where it says nothing."""
    if model == "mhz19":
        return frames.co2(content)
    if model == "dfrobot":
        return frames.gas(command, content)
    if model == "zh03":
        return frames.dust(content)
    return frames.any_of(command, content)
