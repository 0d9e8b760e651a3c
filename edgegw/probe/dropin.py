"""A ready drop-in for a device that was found: its table in TOML, written only where it replaces nothing."""

from __future__ import annotations

import json
import os
import textwrap
from typing import TYPE_CHECKING, Any, Final

from edgegw import registry
from edgegw.config.models import DEFAULT_INTERVAL
from edgegw.problems import GatewayError, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edgegw.probe.guess import Guess

# Comments are read on the terminal of a laptop on somebody's knee.
WIDTH: Final = 80
_SETUP: Final = (
    "The device has to be started or set before it says a value. With true the gateway may do that; "
    "without, it only listens and asks."
)
_PLACE: Final = """
## Where it hangs; signed with its readings.
# site = "Pole 17"
## Latitude, longitude, height in metres.
# position = [50.466, 30.515, 4.0]
"""


def text(
    name: str, where: Mapping[str, Any], guess: Guess, others: Sequence[Guess] = (), *, setup: bool = False
) -> str:
    """The drop-in of sensor `name` for a device at `where`: what was found, and every other key of its driver.

    `others` are guesses that fit the same device; with `setup` the gateway may change the device.
    """
    keys: dict[str, Any] = {"driver": guess.driver, **where}
    if guess.unit is not None:
        keys["unit"] = guess.unit
    keys |= {key: value for key, value in guess.options.items() if key not in keys}
    keys["interval"] = f"{DEFAULT_INTERVAL:g}s"
    lines = [*_comment(f"{guess.shown} ({guess.sureness}): {guess.about}.")]
    if guess.sample:
        lines += _comment(f"It said {said(guess)}.")
    for note in guess.notices:
        lines += _comment(f"Note: {note}")
    lines += [f"[sensor.{name}]", *(f"{key} = {value(each)}" for key, each in keys.items())]
    if guess.secret:
        lines += _comment(
            f"The {guess.secret} of the device: 32 hexadecimal digits in this file, mode 0600, beside this one.",
            "##",
        )
        lines.append(f"{guess.secret} = {value(f'file:{name}.{guess.secret}')}")
    if guess.wants_setup or setup:
        lines += [*_comment(_SETUP, "##"), f"{'' if setup else '# '}allow_setup = true"]
    for other in others:
        differs = {key: each for key, each in other.options.items() if guess.options.get(key) != each}
        if other.driver == guess.driver and differs:
            lines += _comment(f"Fits too, and then says {said(other) or 'nothing yet'}:", "##")
            lines += [f"# {key} = {value(each)}" for key, each in differs.items()]
    lines += _unused(guess, {*keys, guess.secret, *(key for other in others for key in other.options)})
    return "\n".join(lines) + "\n" + _PLACE


def said(guess: Guess) -> str:
    """The values of a guess in one line."""
    return ", ".join(f"{name} {each.value:g} {each.quantity.unit}" for name, each in guess.sample.items())


def value(each: Any) -> str:
    """A value in TOML: texts, numbers, truth values and lists are written as in JSON."""
    return json.dumps(each, ensure_ascii=False)


def write(file: Path, content: str, check: Callable[[], object]) -> None:
    """Write a new drop-in, durably; it is taken back when `check` raises, which then is what is raised.

    GatewayError: EG-REFUSED when the file is there already, EG-PERMISSION, EG-FILE.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except FileExistsError:
        raise GatewayError(
            "EG-REFUSED",
            f"{file} is there already",
            why="It may hold a sensor that somebody configured.",
            todo=("give the sensor another id", f"or remove it first: rm {file}"),
            safe="nothing was changed",
        ) from None
    except PermissionError as error:
        raise GatewayError("EG-PERMISSION", f"{file} cannot be written: {error.strerror}") from error
    except OSError as error:
        raise GatewayError("EG-FILE", f"{file} cannot be written: {error.strerror or error}") from error
    try:
        check()
    except BaseException:
        file.unlink()
        raise


def _unused(guess: Guess, used: set[str]) -> list[str]:
    """The options of the driver that are left at their defaults, as comments."""
    lines: list[str] = []
    for option in registry.options(registry.load(guess.driver)):
        if option.name in used:
            continue
        lines += _comment(f"{option.doc}.", "##")
        known = isinstance(option.default, (bool, int, float, str, list, tuple)) or option.default == {}
        lines.append(f"# {option.name} = {value(option.default) if known else '…'}")
    return ["", "## Options of the driver that were left at their defaults:", *lines] if lines else []


def _comment(sentence: str, mark: str = "#") -> list[str]:
    """A sentence as comment lines. What a device says of itself stays inside of them."""
    return textwrap.wrap(
        " ".join(printable(sentence).split()),
        WIDTH,
        initial_indent=f"{mark} ",
        subsequent_indent=f"{mark} ",
        break_long_words=False,
        break_on_hyphens=False,
    )
