"""CBOR as the wire wants it: a deterministic encoder and a strict structural check before decoding.

RFC 8949. The decoder of cbor2 accepts duplicate keys, indefinite lengths and trailing bytes; `decode` here
does not, because `check` reads the structure first.
"""

from __future__ import annotations

import struct
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

import cbor2

if TYPE_CHECKING:
    from collections.abc import Iterator

# Deepest message of the wire: tag, array, protected bytes aside, record array, record, check names. Eight
# leaves room and keeps the recursion of any decoder harmless.
MAX_DEPTH: Final = 8
# The largest item is the status of a gateway: a few hundred sensors of some forty items each. Checking this
# many takes some milliseconds, so bytes that only look like CBOR cost a reader no more than a signature does.
MAX_ITEMS: Final = 16_384
# Integers below this are exact in a float64, so a whole number below it is written as an integer.
MAX_EXACT: Final = 2**53

_UINT8, _UINT16, _UINT32, _UINT64 = 24, 25, 26, 27
_BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = 2, 3, 4, 5, 6, 7
_FLOATS: Final = {25: ">e", 26: ">f", 27: ">d"}


class CborError(ValueError):
    """Bytes that are not the strict CBOR of the wire."""


def head(major: int, argument: int) -> bytes:
    """The initial bytes of an item: major type 0 to 7 and its argument in the shortest form."""
    kind = major << 5
    if argument < _UINT8:
        return bytes((kind | argument,))
    if argument < 1 << 8:
        return bytes((kind | _UINT8, argument))
    if argument < 1 << 16:
        return struct.pack(">BH", kind | _UINT16, argument)
    if argument < 1 << 32:
        return struct.pack(">BI", kind | _UINT32, argument)
    return struct.pack(">BQ", kind | _UINT64, argument)


def number(value: float) -> bytes:
    """A finite number: an integer when whole and below 2^53, else the shortest float that keeps the float64.

    Raises CborError for NaN and infinities, which the wire does not carry, and for what no float64 can hold.
    """
    if value % 1 == 0 and -MAX_EXACT < value < MAX_EXACT:
        integer = int(value)
        return head(0, integer) if integer >= 0 else head(1, -1 - integer)
    try:
        double = _DOUBLE.pack(0xFB, value)
    except (OverflowError, struct.error):  # an integer: struct has two ways to say that it is too large
        raise CborError("a number beyond a float64") from None
    # A half or single ends in 29 zero bits when widened: nearly every decimal fraction is decided here.
    if double[8]:
        if value - value != 0:
            raise CborError(f"{value} is not a finite number")
        return double
    return _shortest(float(value), double)


_DOUBLE = struct.Struct(">Bd")


def _shortest(value: float, double: bytes) -> bytes:
    if value - value != 0:
        raise CborError(f"{value} is not a finite number")
    try:
        single = struct.pack(">f", value)
    except OverflowError:
        return double
    if struct.unpack(">f", single)[0] != value:
        return double
    try:
        half = struct.pack(">e", value)
    except OverflowError:
        return b"\xfa" + single
    return b"\xf9" + half if struct.unpack(">e", half)[0] == value else b"\xfa" + single


def encode(value: Any) -> bytes:
    """Deterministic CBOR (RFC 8949 §4.2.1) of None, bool, numbers, bytes, text, lists and dicts.

    Map keys are sorted bytewise by their encoding. Raises CborError for any other type and for what has no
    place on the wire: floats that are not finite, integers beyond 64 bits, text that is not Unicode.
    """
    if value is None:
        return b"\xf6"
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        if not -(1 << 64) <= value < 1 << 64:
            raise CborError("an integer beyond 64 bits would be a bignum")
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, bytes):
        return head(_BYTES, len(value)) + value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, (list, tuple)):
        return head(_ARRAY, len(value)) + b"".join(map(encode, value))
    if isinstance(value, dict):
        pairs = sorted((encode(key), encode(item)) for key, item in value.items())
        return head(_MAP, len(pairs)) + b"".join(key + item for key, item in pairs)
    raise CborError(f"{type(value).__name__} has no place on the wire")


def _text(value: str) -> bytes:
    try:
        encoded = value.encode()
    except UnicodeEncodeError:
        raise CborError("text with half a surrogate pair") from None
    return head(_TEXT, len(encoded)) + encoded


def argument(data: bytes, at: int) -> tuple[int, int, int]:
    """`(major, argument, next)` of the item head at `at`; CborError when cut off or not of definite length."""
    try:
        initial = data[at]
        low = initial & 0x1F
        if low < _UINT8:
            return initial >> 5, low, at + 1
        size = 1 << (low - _UINT8)
        if low > _UINT64:
            raise CborError("indefinite or reserved length")
        stop = at + 1 + size
        if stop > len(data):
            raise CborError("cut off")
        return initial >> 5, int.from_bytes(data[at + 1 : stop]), stop
    except IndexError:
        raise CborError("cut off") from None


def check(data: bytes, at: int = 0, *, depth: int = MAX_DEPTH, items: int = MAX_ITEMS) -> int:
    """Where the item at `at` ends, after checking its whole structure.

    Only what the wire uses passes: definite lengths, no duplicate keys, keys that are integers or text, the
    simple values false, true and null, finite floats, nesting up to `depth`, and no tag. Raises CborError
    otherwise, also after `items` items, so that time and memory are bounded.
    """
    return _check(data, at, depth, repeat(None, items))


def _check(data: bytes, at: int, depth: int, budget: Iterator[None]) -> int:
    if depth == 0:
        raise CborError("nested too deep")
    if next(budget, True):
        raise CborError("too many items")
    major, value, stop = argument(data, at)
    if major < _BYTES:
        return stop
    if major <= _TEXT:
        if stop + value > len(data):
            raise CborError("cut off")
        return stop + value
    if major == _ARRAY:
        for _ in range(value):
            stop = _check(data, stop, depth - 1, budget)
        return stop
    if major == _MAP:
        return _check_map(data, value, stop, depth, budget)
    if major == _TAG:
        raise CborError("a tag has no place here")
    low = data[at] & 0x1F
    if low in _FLOATS:
        (real,) = struct.unpack_from(_FLOATS[low], data, at + 1)
        if real - real != 0:
            raise CborError("a float that is not finite")
    elif low not in (20, 21, 22):
        raise CborError("a simple value that the wire does not use")
    return stop


def _check_map(data: bytes, pairs: int, at: int, depth: int, budget: Iterator[None]) -> int:
    seen: set[object] = set()
    for _ in range(pairs):
        major, value, stop = argument(data, at)
        key: object
        if major < _BYTES:
            key = (major, value)
        elif major == _TEXT:
            if stop + value > len(data):
                raise CborError("cut off")
            key = data[stop : stop + value]
            stop += value
        else:
            raise CborError("a key that is neither an integer nor text")
        if key in seen:
            raise CborError("a key stands twice")
        seen.add(key)
        at = _check(data, stop, depth - 1, budget)
    return at


def decode(data: bytes) -> Any:
    """The value of exactly one strict item; CborError when `check` refuses it or bytes follow."""
    if check(data) != len(data):
        raise CborError("bytes after the end")
    return decode_checked(data)


def decode_checked(data: bytes) -> Any:
    """The value of bytes that `check` has already accepted as one item; CborError for text that is not UTF-8."""
    try:
        return cbor2.loads(data)
    except (cbor2.CBORDecodeError, UnicodeDecodeError) as error:
        raise CborError(f"not decodable: {type(error).__name__}") from error
