"""What a driver makes of bytes that somebody typed or captured: the pure part of `edgegw drivers decode`.

The driver is the very one that the daemon runs. Only time is invented: a frame comes one usual period after the one
before it.
"""

from __future__ import annotations

import json
import math
import re
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from edgegw import registry
from edgegw.driver import Driver, FrameError, Notice, Outcome, Reading, StreamDriver
from edgegw.framing import Framer
from edgegw.problems import GatewayError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

#: Layers that every driver of a serial device has: exactly one frame, or a raw stream with noise.
FRAME: Final = "uart"
STREAM: Final = "uart-stream"
#: Numbers as text, all inputs one list.
NUMERIC: Final = "numeric"
#: Words of 16 bits.
REGISTERS: Final = "modbus-registers"
# How pasted bytes are separated: "AA C0", "aa:c0", "0xAA, 0xC0", lines of a dump.
_SEPARATORS: Final = re.compile(r"[\s:,;-]+")
# What documents call the kind of a device, of which a driver has one; and the unit that its numbers are in.
_KINDS: Final = ("model", "variant", "profile")
_UNITS: Final = ("unit", "units")
# What a decoder may have to know besides (keys of the published vectors' contexts): a driver that does not need it
# is not asked to.
_CONTEXT: Final = frozenset(
    (
        *_KINDS,
        *_UNITS,
        "device",
        "mac",
        "address",
        "key",
        "last_counter",
        "random",
        "function",
        "start",
        "order",
    )
)
# A register as a word of its own, and a byte; a list of numbers as JSON has it.
_WORD: Final = re.compile("0[xX][0-9A-Fa-f]{1,4}|[0-9A-Fa-f]{4}")
_BYTE: Final = re.compile("(0[xX])?[0-9A-Fa-f]{2}")
_LIST: Final = re.compile(r"\s*\[\s*\d+(\s*,\s*\d+)*\s*\]\s*")
# What is wrong with an input is quoted so far: one line on a terminal.
_QUOTED: Final = 40


def decode(
    name: str, inputs: Sequence[str], *, layer: str = "", options: Mapping[str, object] | None = None
) -> Iterator[dict[str, Any]]:
    """A line for each reading and each refusal of these inputs, in order, through one decoder.

    A reading is `quantity`, `value`, `unit`, `meta`, and where the driver set them `q` and `qc`; a refusal is
    `error` with its reason. `layer` is the driver's own unless named. Options that the driver does not have are the
    context of the layer (a key, a register). Raises GatewayError: EG-DRIVER-UNKNOWN, EG-USAGE for options, layer or
    hexadecimal digits that cannot be, EG-DRIVER-FAILED when the driver itself fails.
    """
    given = dict(options or {})
    try:
        kind = registry.load(name)
    except registry.DriverError as error:
        raise GatewayError("EG-DRIVER-UNKNOWN", str(error)) from None
    layer = layer or kind.layer
    serial = issubclass(kind, StreamDriver) and layer in {FRAME, STREAM} - kind.shows
    own = {option.name for option in registry.options(kind)}
    given = {_own_name(key, own, given): value for key, value in given.items()}
    # One frame of a serial device needs no context: there, what is neither option nor context is a mistake.
    context = {
        key: given.pop(key) for key in list(given) if key not in own and (not serial or key in _CONTEXT)
    }
    try:
        driver = registry.make(name, {**kind.decode_options, **given}, text=True)
    except registry.OptionsError as error:
        raise _usage("; ".join(str(error).splitlines())) from None
    chunks = [as_bytes(text, layer) for text in inputs]
    if isinstance(driver, StreamDriver) and serial:
        return _lines(_frames(driver, chunks) if layer == FRAME else _stream(driver, chunks))
    return _lines(_layered(name, driver, layer, chunks, context))


def _own_name(key: str, own: Collection[str], given: Collection[str]) -> str:
    """What a driver with these options calls an option that another document calls `key`."""
    for names in (_KINDS, _UNITS):
        ours = [name for name in names if name in own]
        if key in names and key not in own and len(ours) == 1 and ours[0] not in given:
            return ours[0]
    return key


def joined(texts: Sequence[str], layer: str) -> Sequence[str]:
    """The inputs that arguments of a command are: one, where they are parts of one.

    Those are the numbers of a list, the words of registers, and bytes with blanks between them, as they are pasted
    (no frame has one byte).
    """
    part = _WORD if layer == REGISTERS else _BYTE
    several = len(texts) > 1 and (
        layer == NUMERIC
        or (not is_text(layer) and any(all(map(each.fullmatch, texts)) for each in (part, _BYTE)))
    )
    return [" ".join(texts)] if several else texts


def as_bytes(text: str, layer: str) -> bytes:
    """The bytes of an input: the text itself on a layer of text, else hexadecimal; GatewayError if it is not.

    Registers may also be a list of decimal numbers as JSON has it.
    """
    if is_text(layer):
        return text.encode("utf-8", "surrogateescape")
    if layer == REGISTERS and _LIST.fullmatch(text):
        return b"".join(map(_register, re.findall(r"\d+", text)))
    found = bytearray()
    for word in _SEPARATORS.split(text):
        digits = word[2:] if word[:2] in {"0x", "0X"} else word
        if layer == REGISTERS and digits != word and _WORD.fullmatch(word):
            digits = digits.zfill(4)  # 0x1F is a register too
        try:
            found += bytes.fromhex(digits)
        except ValueError:
            shown = word if len(word) <= _QUOTED else f"{word[:_QUOTED]}..."
            odd = len(digits) % 2 and re.fullmatch("[0-9a-fA-F]+", digits)
            why = "has an odd number of digits, a byte has two" if odd else "is not hexadecimal"
            raise _usage(f"{shown!r} {why}") from None
    return bytes(found)


def _register(digits: str) -> bytes:
    if len(digits.lstrip("0")) > 5 or int(digits) > 0xFFFF:
        raise _usage(f"{digits[:_QUOTED]} is no register, which has 16 bits: 0 to 65535")
    return int(digits).to_bytes(2, "big")


def is_text(layer: str) -> bool:
    """Whether inputs of a layer are text."""
    return layer in {"ascii-line", NUMERIC} or layer.endswith("-json")


def _frames(driver: StreamDriver, chunks: Iterable[bytes]) -> Iterator[Outcome]:
    """Each chunk is exactly one frame."""
    decoder = driver.decoder()
    for number, chunk in enumerate(chunks):
        reason = driver.framing.refusal(chunk)
        if reason:
            yield FrameError(reason)
        else:
            told = partial(decoder.decode, chunk, number * driver.period_s)
            yield from _told(partial(_said, driver, chunk, told))


def _said(driver: Driver, data: bytes, decode: Callable[[], Sequence[Outcome]]) -> Sequence[Outcome]:
    """What an input gives; where that is no line at all, what else it says."""
    found = decode()
    if isinstance(driver, StreamDriver) and all(isinstance(each, Notice) for each in found):
        return tuple(driver.remark(data))
    return found


def _stream(driver: StreamDriver, chunks: Sequence[bytes]) -> Iterator[Outcome]:
    """The chunks are one stream, cut anywhere."""
    decoder, framer = driver.decoder(), Framer(driver.framing)
    found: list[Outcome] = []
    now, silent = 0.0, True

    def take(frame: bytes) -> None:
        nonlocal now
        at, now = now, now + driver.period_s
        found.extend(_tried(partial(decoder.decode, frame, at)))

    for chunk in chunks:
        framer.feed(chunk, take, found.append)
        silent = silent and not found
        yield from found
        found.clear()
    if silent:
        # Nothing at all would leave the person guessing: say why the whole of it is no frame.
        yield FrameError(driver.framing.refusal(b"".join(chunks)) or "no_data")


def _layered(
    name: str, driver: Driver, layer: str, chunks: Iterable[bytes], context: Mapping[str, object]
) -> Iterator[Outcome]:
    """Each chunk is one input of a layer that the driver knows."""

    def readings(data: bytes) -> Sequence[Outcome]:
        try:
            found = driver.decode_layer(layer, data, context)
        except FrameError:
            raise
        except ValueError as error:  # how a layer says that its context is wrong
            raise _usage(str(error)) from error
        if found is None:
            known = (FRAME, STREAM) if isinstance(driver, StreamDriver) else (driver.layer,)
            raise _usage(f"driver {name!r} does not decode {layer!r}; it decodes {' and '.join(known)}")
        return found

    for chunk in chunks:
        yield from _told(partial(_said, driver, chunk, partial(readings, chunk)))


def _told(readings: Callable[[], Iterable[Outcome]]) -> Sequence[Outcome]:
    """What one input gives: readings, or the one reason why there are none."""
    try:
        return _tried(readings) or (FrameError("no_data"),)
    except FrameError as error:
        return (error,)


def _tried(readings: Callable[[], Iterable[Outcome]]) -> Sequence[Outcome]:
    """What a driver gives; whatever it raises besides FrameError is its own defect, and said to be."""
    try:
        return tuple(readings())
    except (FrameError, GatewayError):
        raise
    except Exception as error:
        raise GatewayError(
            "EG-DRIVER-FAILED", f"the driver failed: {type(error).__name__}: {error}"
        ) from error


def _lines(found: Iterable[Outcome]) -> Iterator[dict[str, Any]]:
    """Readings and refusals as plain values."""
    for each in found:
        if isinstance(each, Notice):
            continue  # it is about the device, not about what was measured
        if isinstance(each, FrameError):
            yield {"error": each.reason}
        elif not math.isfinite(each.value):
            yield {"error": "not_a_number"}
        else:
            yield _reading(each)


def _reading(reading: Reading) -> dict[str, Any]:
    line: dict[str, Any] = {
        "quantity": reading.quantity.name,
        "value": reading.value,
        "unit": reading.quantity.unit,
        # What JSON does not know (the bytes of an id, a number without end) is shown as text.
        "meta": json.loads(json.dumps(dict(reading.meta or {}), default=str), parse_constant=str),
    }
    if reading.flag is not None:
        line["q"] = int(reading.flag)
    if reading.checks:
        line["qc"] = list(reading.checks)
    return line


def _usage(what: str) -> GatewayError:
    return GatewayError("EG-USAGE", what, todo=("edgegw drivers decode --help", "edgegw drivers info DRIVER"))
