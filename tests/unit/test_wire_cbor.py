from __future__ import annotations

import math
import struct
from typing import Any

import cbor2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgegw.wire import cbor
from edgegw.wire.cbor import CborError

# RFC 8949, appendix A: the examples that the wire may carry, as our encoder writes them.
RFC8949_WRITTEN: list[tuple[str, Any]] = [
    ("00", 0),
    ("01", 1),
    ("0a", 10),
    ("17", 23),
    ("1818", 24),
    ("1819", 25),
    ("1864", 100),
    ("1903e8", 1000),
    ("1a000f4240", 1000000),
    ("1b000000e8d4a51000", 1000000000000),
    ("1bffffffffffffffff", 18446744073709551615),
    ("3bffffffffffffffff", -18446744073709551616),
    ("20", -1),
    ("29", -10),
    ("3863", -100),
    ("3903e7", -1000),
    ("fb3ff199999999999a", 1.1),
    ("f93e00", 1.5),
    ("fa7f7fffff", 3.4028234663852886e38),
    ("fb7e37e43c8800759c", 1.0e300),
    ("f90001", 5.960464477539063e-8),
    ("f90400", 0.00006103515625),
    ("fbc010666666666666", -4.1),
    ("f4", False),
    ("f5", True),
    ("f6", None),
    ("40", b""),
    ("4401020304", b"\1\2\3\4"),
    ("60", ""),
    ("6161", "a"),
    ("6449455446", "IETF"),
    ("62225c", '"\\'),
    ("62c3bc", "ü"),
    ("63e6b0b4", "水"),
    ("64f0908591", "\U00010151"),
    ("80", []),
    ("83010203", [1, 2, 3]),
    ("8301820203820405", [1, [2, 3], [4, 5]]),
    ("98190102030405060708090a0b0c0d0e0f101112131415161718181819", list(range(1, 26))),
    ("a0", {}),
    ("a201020304", {1: 2, 3: 4}),
    ("a26161016162820203", {"a": 1, "b": [2, 3]}),
    ("826161a161626163", ["a", {"b": "c"}]),
    ("a56161614161626142616361436164614461656145", dict(zip("abcde", "ABCDE", strict=True))),
]
# The same appendix: floats that are whole are read, and written as integers.
RFC8949_READ: list[tuple[str, float]] = [
    ("f90000", 0.0),
    ("f98000", -0.0),
    ("f93c00", 1.0),
    ("f97bff", 65504.0),
    ("fa47c35000", 100000.0),
    ("f9c400", -4.0),
]
# The same appendix: what the wire does not carry.
RFC8949_REFUSED = [
    "c249010000000000000000",
    "c349010000000000000000",
    "f97c00",
    "f97e00",
    "f9fc00",
    "fa7f800000",
    "fa7fc00000",
    "fb7ff0000000000000",
    "fb7ff8000000000000",
    "f7",
    "f0",
    "f8ff",
    "c074323031332d30332d32315432303a30343a30305a",
    "c11a514b67b0",
    "d74401020304",
    "d818456449455446",
    "5f42010243030405ff",
    "7f657374726561646d696e67ff",
    "9fff",
    "9f018202039f0405ffff",
    "83018202039f0405ff",
    "bf61610161629f0203ffff",
    "826161bf61626163ff",
    "bf6346756ef563416d7421ff",
]

plain: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.binary(max_size=40)
    | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.integers(-(2**64), 2**64 - 1) | st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(("encoded", "value"), RFC8949_WRITTEN)
def test_examples_of_rfc_8949_are_written_and_read(encoded: str, value: object) -> None:
    assert cbor.encode(value).hex() == encoded
    assert cbor.decode(bytes.fromhex(encoded)) == value


@pytest.mark.parametrize(("encoded", "value"), RFC8949_READ)
def test_a_whole_float_is_read_and_written_as_an_integer(encoded: str, value: float) -> None:
    assert cbor.decode(bytes.fromhex(encoded)) == value
    assert cbor.encode(value) == cbor.encode(int(value))


@pytest.mark.parametrize("encoded", RFC8949_REFUSED)
def test_what_the_wire_does_not_carry_is_refused(encoded: str) -> None:
    with pytest.raises(CborError):
        cbor.decode(bytes.fromhex(encoded))


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        ("a2010201ff", "twice"),
        ("a20102180103", "twice"),
        ("a2616101616102", "twice"),
        ("a26161017801610 2".replace(" ", ""), "twice"),
        ("a1f500", "neither"),
        ("a14100", "neither"),
        ("a1800 0".replace(" ", ""), "neither"),
        ("0000", "after the end"),
        ("", "cut off"),
        ("18", "cut off"),
        ("1b00", "cut off"),
        ("5bffffffffffffffff00", "cut off"),
        ("9bffffffffffffffff00", "cut off"),
        ("bbffffffffffffffff0000", "cut off"),
        ("a178ff00", "cut off"),
        ("1c", "reserved"),
        ("61ff", "not decodable"),
        ("a161ff00", "not decodable"),
    ],
)
def test_each_refusal_says_why(encoded: str, reason: str) -> None:
    with pytest.raises(CborError, match=reason):
        cbor.decode(bytes.fromhex(encoded))


def test_nesting_is_accepted_to_the_limit_and_not_beyond() -> None:
    assert cbor.decode(b"\x81" * (cbor.MAX_DEPTH - 1) + b"\x00")
    with pytest.raises(CborError, match="deep"):
        cbor.decode(b"\x81" * cbor.MAX_DEPTH + b"\x00")
    with pytest.raises(CborError, match="deep"):
        cbor.decode(b"\x81" * 200_000)


def test_items_are_accepted_to_the_limit_and_not_beyond() -> None:
    assert len(cbor.decode(cbor.encode([0] * (cbor.MAX_ITEMS - 1)))) == cbor.MAX_ITEMS - 1
    with pytest.raises(CborError, match="too many"):
        cbor.decode(cbor.encode([0] * cbor.MAX_ITEMS))
    with pytest.raises(CborError, match="too many"):
        cbor.decode(cbor.encode(dict.fromkeys(range(cbor.MAX_ITEMS))))


@given(plain)
def test_what_is_written_is_read_back_and_read_the_same_by_another_library(value: object) -> None:
    encoded = cbor.encode(value)
    assert cbor.check(encoded) == len(encoded)
    assert cbor.decode(encoded) == value == cbor2.loads(encoded)
    assert cbor.encode(cbor.decode(encoded)) == encoded


@given(st.dictionaries(st.integers(-(2**64), 2**64 - 1) | st.text(max_size=30), st.none(), max_size=8))
def test_keys_stand_in_the_bytewise_order_of_their_encoding(value: dict[object, None]) -> None:
    encoded = cbor.encode(value)
    keys = [cbor.encode(key) for key in cbor.decode(encoded)]
    assert keys == sorted(keys)


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(2.0**53)
@example(2.0**53 - 1)
@example(-(2.0**53))
@example(2.0**45 + 1)
@example(2.0**-149)
@example(2.0**-150)
@example(65504.5)
@example(3.4028235677973366e38)
def test_a_number_is_an_integer_when_whole_else_the_shortest_float(value: float) -> None:
    encoded = cbor.number(value)
    assert cbor.decode(encoded) == value
    if value.is_integer() and abs(value) < 2**53:
        assert encoded == cbor2.dumps(int(value))
    else:
        assert encoded == cbor2.dumps(value, canonical=True)


@given(st.integers())
@example(10**400)
def test_an_integer_value_beyond_2_53_becomes_the_nearest_float64(value: int) -> None:
    try:
        assert cbor.decode(cbor.number(value)) == (value if abs(value) < 2**53 else float(value))
    except CborError:
        assert abs(value) > 1.7e308


@given(st.integers(0x7FF0 << 48, (0x8000 << 48) - 1))
def test_no_nan_and_no_infinity_is_ever_written_or_read(bits: int) -> None:
    packed = bits.to_bytes(8)
    (value,) = struct.unpack(">d", packed)
    for write in (cbor.number, cbor.encode):
        for signed in (value, -value):
            with pytest.raises(CborError):
                write(signed)
    with pytest.raises(CborError):
        cbor.decode(b"\xfb" + packed)
    assert not math.isfinite(value)


@pytest.mark.parametrize("value", [object(), {1, 2}, 2**64, -(2**64) - 1, "\ud800", {"a": "\udfff"}, 1j])
def test_what_has_no_place_on_the_wire_is_not_written(value: object) -> None:
    with pytest.raises(CborError):
        cbor.encode(value)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_value_or_a_cbor_error_and_nothing_else(data: bytes) -> None:
    try:
        value = cbor.decode(data)
    except CborError:
        return
    assert cbor2.loads(data) == value
    assert cbor.decode(cbor.encode(value)) == value


@given(plain, st.data())
def test_damaged_cbor_is_a_value_or_a_cbor_error_and_nothing_else(value: object, data: st.DataObject) -> None:
    encoded = bytearray(cbor.encode(value))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] = data.draw(st.integers(0, 255))
    stop = data.draw(st.integers(0, len(encoded)))
    for damaged in (bytes(encoded), bytes(encoded[:stop]), bytes(encoded[at:])):
        try:
            cbor.decode(damaged)
        except CborError:
            continue


@given(plain, st.binary(max_size=3), st.binary(max_size=3))
def test_the_end_of_an_item_is_found_among_other_bytes(value: object, before: bytes, after: bytes) -> None:
    encoded = cbor.encode(value)
    assert cbor.check(before + encoded + after, len(before)) == len(before) + len(encoded)
