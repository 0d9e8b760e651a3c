"""What the suite holds a driver to: the driver itself, the folder it lies in, and what is known of its device."""

from __future__ import annotations

import json
import math
import re
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edgegw import registry
from edgegw.driver import QUANTITIES, Driver, FrameError, Notice, Outcome, Quality, Reading, StreamDriver

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

#: Keys of a sensor's table that are the gateway's own.
GATEWAYS: Final = frozenset(
    {"driver", "port", "host", "unit", "interval", "average", "allow_setup", "stale_after", "enabled"}
)
# Refusals that show that a device checks its bytes.
_CHECKSUMS: Final = frozenset({"checksum", "crc"})


class ContractError(Exception):
    """What the suite cannot even begin with: no folder, no sample, facts that are none."""


class Fact(NamedTuple):
    """One known input and what it means.

    `expect` holds values by quantity (with their unit, or None where that is not said), and is None where the input
    is refused: `error` is then the reason. An `expect` that names nothing says that it gives some reading.
    """

    name: str
    layer: str
    data: bytes
    context: Mapping[str, Any] = {}
    expect: Mapping[str, tuple[float, str | None]] | None = None
    error: str = ""
    tolerance: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether it is one whole input that gives readings, which damage may be done to."""
        return self.expect is not None and self.layer != "uart-stream"


@dataclass(frozen=True)
class Subject:
    """A driver under test, with the options of one of its devices.

    `options` are those with which it is run (of the first sensor of its sample unless said), `shell` those with which
    its facts are decoded. `checked` are the layers that have a checksum; `divisible` ones are messages of objects one
    after the other: cut between two of them, one is a shorter message, and whole. An input cut to one of `lengths` is
    one of another format of the same device.
    """

    name: str
    label: str
    kind: type[Driver]
    folder: Path
    options: Mapping[str, Any]
    facts: tuple[Fact, ...]
    shell: Mapping[str, Any] = field(default_factory=dict)
    checked: frozenset[str] = frozenset()
    divisible: bool = False
    lengths: frozenset[int] = frozenset()
    _made: dict[str, Driver] = field(default_factory=dict, compare=False, repr=False)

    def __str__(self) -> str:
        return self.label

    def made(self) -> Driver:
        """The driver as a sensor has it."""
        return self._cached(self.options)

    def shown(self, context: Mapping[str, Any]) -> Driver:
        """The driver as `edgegw drivers decode` has it, with the options among a fact's context."""
        own = {option.name for option in registry.options(self.kind)}
        given = {key: value for key, value in context.items() if key in own}
        return self._cached({**self.kind.decode_options, **self.shell, **given})

    def outcomes(self, layer: str, data: bytes, context: Mapping[str, Any]) -> list[Outcome]:
        """What one input gives by itself; a refusal of the whole of it is its only outcome."""
        driver = self.shown(context)
        try:
            if isinstance(driver, StreamDriver) and layer == "uart" and layer not in driver.shows:
                reason = driver.framing.refusal(data)
                return [FrameError(reason)] if reason else list(driver.decoder().decode(data, 0.0))
            found = driver.decode_layer(layer, data, context)
        except FrameError as error:
            return [error]
        except ValueError as error:
            # How a layer says that what was typed beside the input does not fit it.
            if str(error).partition(":")[0] in context:
                return [FrameError("context")]
            error.add_note(f"{layer} {data.hex()}")
            raise
        except Exception as error:
            error.add_note(
                f"{layer} {data.hex()}"
            )  # the input that makes a driver fail is what its author needs
            raise
        if found is None:
            raise ContractError(f"a fact is of a layer that the driver does not know: {layer}")
        return list(found)

    def _cached(self, options: Mapping[str, Any]) -> Driver:
        key = repr(sorted(options.items()))
        if key not in self._made:
            self._made[key] = registry.make(self.name, options, text=True)
        return self._made[key]


def subject(name: str) -> Subject:
    """An installed driver with the facts of its own folder; ContractError where one of its files is missing."""
    kind = registry.load(name)
    facts = folder(kind) / "facts.json"
    read = read_facts(facts.read_text(encoding="utf-8")) if facts.is_file() else ()
    return Subject(name, name, kind, folder(kind), configured(kind), read, checked=checked(kind, read))


def folder(kind: type[Driver]) -> Path:
    """Where the driver's code, README.md and sample.toml lie."""
    file = sys.modules[kind.__module__].__file__
    if file is None:
        raise ContractError(f"nobody knows where {kind.__module__} lies")
    return Path(file).parent


def sample(where: Path) -> dict[str, dict[str, Any]]:
    """The sensors of the sample by id; ContractError when there is none."""
    try:
        found = tomllib.loads((where / "sample.toml").read_text(encoding="utf-8"))["sensor"]
    except (OSError, ValueError, KeyError) as error:
        raise ContractError(f"sample.toml holds no [sensor.x]: {error!r}") from error
    return dict(found)


def configured(kind: type[Driver]) -> dict[str, Any]:
    """The options of the sample's first sensor, without secrets: a file that nobody has is no key."""
    table = next(iter(sample(folder(kind)).values()))
    secret = {option.name for option in registry.options(kind) if option.secret}
    return {key: value for key, value in table.items() if key not in GATEWAYS | secret}


def checked(kind: type[Driver], facts: Iterable[Fact]) -> frozenset[str]:
    """Layers that have a checksum: those in which a fact is refused for it, and every Modbus frame."""
    layers = {fact.layer for fact in facts if fact.error in _CHECKSUMS}
    return frozenset(layers | ({"modbus-rtu"} if kind.kind == "poll" else set()))


def read_facts(text: str) -> tuple[Fact, ...]:
    """The facts of a `facts.json`: a list of `name`, `layer`, an input, `context`, and `expect` or `error`.

    The input is `hex`, `text`, a `json` document, or `registers`. `expect` holds `{"value", "unit"}` by quantity.
    """
    return tuple(_fact(row) for row in json.loads(text) if "expect" in row or "error" in row)


def _fact(row: Mapping[str, Any]) -> Fact:
    expect = None
    if "expect" in row:
        expect = {name: (each["value"], each.get("unit")) for name, each in row["expect"].items()}
    return Fact(
        row["name"],
        row["layer"],
        octets(row),
        row.get("context", {}),
        expect,
        row.get("error", ""),
        row.get("tolerance", 0.0),
    )


def octets(row: Mapping[str, Any]) -> bytes:
    """The bytes of a fact's input, however it is written."""
    if "hex" in row:
        return bytes.fromhex(row["hex"])
    if "json" in row:
        return json.dumps(row["json"]).encode()
    if "text" in row:
        return str(row["text"]).encode()
    if row["layer"] == "numeric":
        return json.dumps(row["registers"]).encode()
    return b"".join(word.to_bytes(2, "big") for word in row["registers"])


def is_refused(outcomes: Sequence[Outcome]) -> bool:
    """Whether an input gave a reason, and no value that could be believed (one with the flag 4 is not)."""
    return any(isinstance(each, FrameError) for each in outcomes) and not any(
        isinstance(each, Reading) and each.flag != Quality.FAIL for each in outcomes
    )


def comparable(outcomes: Iterable[Outcome]) -> list[Outcome | str]:
    """Outcomes with the reason in the place of a refusal, which equals itself alone."""
    return [each.reason if isinstance(each, FrameError) else each for each in outcomes]


def unsound(driver: Driver, outcomes: Iterable[object], *, strict: bool = True) -> Iterator[str]:
    """What no outcome may be; unless `strict`, for layers of the shell, which may show what has no row among the quantities."""
    allowed = {*driver.emits(), *driver.quantities}
    for each in outcomes:
        if isinstance(each, FrameError):
            if not re.fullmatch(r"[a-z]\w*", each.reason):
                yield f"a reason is one word that can be counted, not {each.reason!r}"
        elif isinstance(each, Notice):
            if not re.fullmatch(r"[a-z]\w*", each.name) or not each.text.strip():
                yield f"a notice is one word and a sentence, not {each!r}"
        elif not isinstance(each, Reading):
            yield f"{each!r} is no reading, no refusal and no notice"
        else:
            yield from _unsound(each, allowed, strict=strict)


def _unsound(reading: Reading, allowed: set[str], *, strict: bool) -> Iterator[str]:
    name = reading.quantity.name
    value: object = reading.value  # what a driver really says, whatever it promises
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        yield f"{name} is {value!r}, no finite number"
    if strict and QUANTITIES.get(name) != reading.quantity:
        yield f"{name} in {reading.quantity.unit} is no row of the table of quantities"
    elif strict and name not in allowed:
        yield f"{name} is not among the driver's quantities"
    if reading.flag not in (None, 1, 2, 3, 4):
        yield f"{name} has the flag {reading.flag!r}; there are 1 to 4"
    if not all(re.fullmatch(r"[a-z]\w*", check) for check in reading.checks):
        yield f"{name} has the checks {reading.checks!r}, which are one word each"
