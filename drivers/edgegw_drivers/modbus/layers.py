"""What the shell can decode besides polls: one whole RTU message, or bare registers. Pure."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from edgegw.driver import QUANTITIES, Block, FrameError, Reading
from edgegw_drivers.modbus.adu import answer, whole
from edgegw_drivers.modbus.decoder import Decoder
from edgegw_drivers.modbus.profile import Profile, Value
from edgegw_drivers.modbus.table import nearest
from edgegw_drivers.modbus.words import ORDERS, WIDTHS, bits_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Options of both layers; `type`, `order`, `scale`, `offset` and `invalid` say what bare registers mean.
OPTIONS: Final = (
    "unit",
    "address",
    "function",
    "register",
    "count",
    "type",
    "order",
    "scale",
    "offset",
    "invalid",
)
# Names of types that other documents use.
ALIASES: Final = {
    "uint16": "u16",
    "int16": "s16",
    "i16": "s16",
    "uint32": "u32",
    "int32": "s32",
    "i32": "s32",
    "float": "f32",
    "float32": "f32",
    "uint64": "u64",
}
# Registers that no profile names have no quantity: the shell shows them as bare numbers, and nothing but the
# shell ever sees them.
BARE: Final = QUANTITIES["targets"]._replace(name="value", unit="/")


def rtu(profile: Profile | None, message: bytes, options: Mapping[str, Any]) -> Sequence[Reading]:
    """Readings of one whole answer; FrameError when it gives none, ValueError for wrong options."""
    _known(options)
    discover = profile.discover if profile else None
    unit = whole(options, "address" if "address" in options else "unit", range(256), 1)
    function, words = answer(message, None if discover is not None and unit == discover.address else unit)
    wanted = whole(options, "function", range(1, 5), function)
    if function != wanted:
        raise FrameError("wrong_function")
    if profile is None:
        return _bare(words, options)
    return _profiled(profile, function, words, options)


def registers(profile: Profile | None, data: bytes, options: Mapping[str, Any]) -> Sequence[Reading]:
    """Readings of registers, two bytes each, high byte first; errors as in `rtu`."""
    _known(options)
    if len(data) % 2 or not data:
        raise FrameError("truncated")
    words = [int.from_bytes(data[begin : begin + 2], "big") for begin in range(0, len(data), 2)]
    if profile is None:
        return _bare(words, options)
    return _profiled(profile, whole(options, "function", range(1, 5), 3), words, options)


def _profiled(
    profile: Profile, function: int, words: Sequence[int], options: Mapping[str, Any]
) -> Sequence[Reading]:
    """Which of the profile's questions this answers is told by the register, or else by the count."""

    def fits(block: Block) -> bool:
        # Bits come in whole bytes, whatever was asked for.
        count = block.count if function in {3, 4} else -(-block.count // 8) * 8
        register = whole(options, "register", range(0x10000), block.address)
        return (block.function, block.address, count) == (function, register, len(words))

    for index, block in enumerate(profile.blocks):
        if fits(block):
            answers: list[Sequence[int] | FrameError] = [FrameError("no_data")] * len(profile.blocks)
            answers[index] = words[: block.count]
            found = Decoder(profile).decode(answers, 0.0)
            readings = [reading for reading in found if isinstance(reading, Reading)]
            refusals = [error for error in found if isinstance(error, FrameError)]
            if not readings and refusals:
                raise refusals[0]
            return readings
    if profile.discover is not None and fits(profile.discover.block):
        meta = dict(zip(profile.discover.meta, words, strict=True))
        return [Reading(BARE._replace(name=name), float(word), meta=meta) for name, word in meta.items()]
    raise FrameError("byte_count")


def _bare(words: Sequence[int], options: Mapping[str, Any]) -> Sequence[Reading]:
    value = _value(options)
    values: list[float | None] = []
    errors: list[FrameError] = []
    for begin in range(0, len(words), value.width):
        part = words[begin : begin + value.width]
        if len(part) < value.width:
            raise FrameError("truncated")
        try:
            values.append(value.of(part))
        except FrameError as error:
            values.append(None)
            errors.append(error)
    readings = [Reading(BARE, number, meta={"values": values}) for number in values if number is not None]
    if not readings and errors:
        raise errors[0]
    return readings


def _value(options: Mapping[str, Any]) -> Value:
    named = str(options.get("type", "u16")).lower()
    kind = ALIASES.get(named, named)
    order = str(options.get("order", "ABCD")).upper()
    if kind not in WIDTHS:
        raise ValueError(f"type is {named!r}{nearest(named, list(WIDTHS))}")
    if order not in ORDERS:
        raise ValueError(f"order is {order!r}{nearest(order, ORDERS)}")
    invalid: frozenset[int] = frozenset()
    if "invalid" in options:
        invalid = frozenset({bits_for(whole(options, "invalid", range(-(1 << 63), 1 << 64)), kind)})
    return Value(kind, order, _exact(options, "scale", 1), _exact(options, "offset", 0), invalid=invalid)


def _exact(options: Mapping[str, Any], key: str, default: int) -> Decimal:
    try:
        number = Decimal(str(options.get(key, default)))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or abs(number.adjusted()) > 100:
        raise ValueError(f"{key} is {options[key]!r}, not a number")
    return number


def _known(options: Mapping[str, Any]) -> None:
    for key in options:
        if key not in OPTIONS:
            raise ValueError(f"a Modbus device has no option {key!r}{nearest(key, OPTIONS)}")
