from __future__ import annotations

import json
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_facts import published, sample

from edgegw.wire import cbor, senml
from edgegw.wire.cbor import CborError
from edgegw.wire.senml import Record, RecordError, RecordWriter

BASE = "urn:dev:ops:32473-kyiv-podil-0042"
NAME = f"{BASE}:air-1:pm2_5"
T = 1_790_000_000.25
GOOD: dict[Any, Any] = {0: NAME, 1: "ug/m3", 2: 52.3, 6: T}
# RFC 8428 §5.1.3, the fourth record resolved; and one from §5.1.1.
RFC8428 = [
    {"n": "urn:dev:ow:10e2073a0108006:current", "u": "A", "t": 1.276020073001e9, "v": 1.4},
    {"n": "urn:dev:ow:10e2073a01080063", "u": "Cel", "t": 1.498780179e9, "v": 23.1},
]
# The CBOR example of RFC 8428 §6, which has base fields.
RFC8428_CBOR = """
    87a721781b75726e3a6465763a6f773a3130653230373361303130383030363a22fb41d303a15b0010622361412005006776
    6f6c7461676501615602fb405e066666666666a3006763757272656e74062402fb3ff3333333333333a3006763757272656e
    74062302fb3ff4cccccccccccda3006763757272656e74062202fb3ff6666666666666a3006763757272656e74062102f93e
    00a3006763757272656e74062002fb3ff999999999999aa3006763757272656e74060002fb3ffb333333333333"""


def example_records() -> list[dict[str, Any]]:
    records = list(RFC8428)
    for name in published.names("senml/*.resolved.json"):
        records += published.load(name)
    return records


@pytest.mark.parametrize("example", example_records(), ids=lambda example: example["n"])
def test_the_resolved_examples_of_rfc_8428_are_written_and_read(example: dict[str, Any]) -> None:
    base, sensor, quantity = example["n"].rsplit(":", 2)
    t = int(example["t"]) if example["t"].is_integer() else example["t"]
    encoded = RecordWriter(base).reading(sensor, quantity, example["u"], example["v"], t)
    assert cbor2.loads(encoded) == {0: example["n"], 1: example["u"], 2: example["v"], 6: example["t"]}
    raws, records = senml.read_pack(b"\x81" + encoded)
    assert raws == [encoded]
    assert records == [Record(example["n"], example["u"], example["v"], example["t"])]


@published.needed
def test_all_examples_with_absolute_times_are_there() -> None:
    assert len(example_records()) == len(RFC8428) + 1 + 2 + 7 + 13 + 4


def test_the_cbor_example_of_rfc_8428_has_base_fields_and_is_refused() -> None:
    pack = bytes.fromhex(RFC8428_CBOR)
    assert cbor.decode(pack) == cbor2.loads(pack)
    # Its first record has a base time and none of its own.
    with pytest.raises(RecordError, match="time"):
        senml.read_pack(pack)


@published.needed
def test_the_cbor_example_means_the_json_example() -> None:
    dump = (published.STANDARDS / "senml/ex3.gen.cbor.hex").read_text()
    pack = bytes.fromhex("".join(line[4:].partition("|")[0] for line in dump.splitlines()))
    assert pack == bytes.fromhex(RFC8428_CBOR)
    labels = {"bver": -1, "bn": -2, "bt": -3, "bu": -4, "bv": -5, "bs": -6, "n": 0, "u": 1, "v": 2, "t": 6}
    written = json.loads((published.STANDARDS / "senml/ex3.gen.json").read_text())
    found = cbor.decode(pack)
    assert found[-1].pop(6) == 0  # the CBOR example says its default
    for ours, theirs in zip(found, written, strict=True):
        numbers = {labels[key]: value for key, value in theirs.items()}
        assert ours == numbers


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (52.3, "fb404a266666666666"),
        (52.5, "f95290"),
        (52.0, "1834"),
        (52, "1834"),
        (-3.0, "22"),
        (-0.0, "00"),
    ],
)
def test_a_value_is_written_as_the_shortest_number_that_keeps_it(value: float, encoded: str) -> None:
    record = RecordWriter(BASE).reading("air-1", "pm2_5", "ug/m3", value, 1_790_000_000)
    assert (
        record.hex()
        == f"{cbor.encode({0: NAME, 1: 'ug/m3'}).hex().replace('a2', 'a4', 1)}02{encoded}061a6ab13b80"
    )


@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(senml.MIN_TIME, senml.MAX_TIME, exclude_max=True),
    st.none() | st.integers(1, 4),
    st.lists(st.text(max_size=30), max_size=3),
)
def test_a_reading_is_deterministic_cbor_and_comes_back(
    value: float, t: float, flag: int | None, checks: list[str]
) -> None:
    record = RecordWriter(BASE).reading("air-1", "pm2_5", "ug/m3", value, t, flag, checks)
    fields: dict[Any, Any] = {0: NAME, 1: "ug/m3", 2: value, 6: t}
    fields |= ({"q": flag} if flag else {}) | ({"qc": checks} if checks else {})
    assert record == cbor.encode(fields)
    ((raw,), (found,)) = senml.read_pack(b"\x81" + record)
    assert raw == record
    assert found == Record(NAME, "ug/m3", value, t, flag, tuple(checks))


@pytest.mark.parametrize("t", [0, 2**28 - 1, 1e9 - 1e10, senml.MAX_TIME, float("nan"), float("inf")])
def test_no_record_has_a_time_that_senml_reads_as_relative_or_a_calendar_cannot_write(t: float) -> None:
    writer = RecordWriter(BASE)
    with pytest.raises(RecordError, match="time"):
        writer.reading("air-1", "pm2_5", "ug/m3", 1, t)
    with pytest.raises(RecordError, match="time"):
        writer.event("start", "1.0", t, {})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_value_that_is_not_finite_is_not_written(value: float) -> None:
    with pytest.raises(CborError):
        RecordWriter(BASE).reading("air-1", "pm2_5", "ug/m3", value, T)


def test_an_event_has_its_text_keys() -> None:
    record = RecordWriter(BASE).event("lost", 12, T, {"from": 3, "to": 15, "why": "full"})
    ((raw,), (found,)) = senml.read_pack(b"\x81" + record)
    assert raw == cbor.encode({0: f"{BASE}:_gateway:lost", 2: 12, 6: T, "from": 3, "to": 15, "why": "full"})
    assert found == Record(
        f"{BASE}:_gateway:lost", None, 12, T, None, (), {"from": 3, "to": 15, "why": "full"}
    )
    written = RecordWriter(BASE).event("disturbance", 3.5, T, {}, "dB")
    assert senml.read_pack(b"\x81" + written)[1][0].unit == "dB"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({0: None}, "name"),
        ({0: ""}, "name"),
        ({0: 5}, "name"),
        ({0: ":a"}, "name"),
        ({0: "a b"}, "name"),
        ({0: "a\n"}, "name"),
        ({0: "té"}, "name"),
        ({0: "a" * (senml.MAX_NAME + 1)}, "name"),
        ({1: 5}, "unit"),
        ({1: b"dB"}, "unit"),
        ({2: "1"}, "value"),
        ({2: True}, "value"),
        ({2: None}, "value"),
        ({2: b"1"}, "value"),
        ({2: 2**53}, "value"),
        ({2: -(2**53)}, "value"),
        ({3: "also"}, "value"),
        ({4: True}, "value"),
        ({8: b""}, "value"),
        ({6: None}, "time"),
        ({6: "1790000000"}, "time"),
        ({6: True}, "time"),
        ({6: 0}, "time"),
        ({6: -1790000000}, "time"),
        ({6: 2**28 - 1}, "time"),
        ({6: senml.MAX_TIME}, "time"),
        ({6: 1e300}, "time"),
        ({-1: 10}, "field"),
        ({-2: "urn:"}, "field"),
        ({-3: 1.0}, "field"),
        ({-5: 1.0}, "field"),
        ({5: 1.0}, "field"),
        ({7: 1.0}, "field"),
        ({9: 1.0}, "field"),
        ({"bn": ""}, "field"),
        ({"bver": 10}, "field"),
        ({"new_": 1}, "field"),
        ({"q": 0}, "quality"),
        ({"q": 5}, "quality"),
        ({"q": True}, "quality"),
        ({"q": 1.0}, "quality"),
        ({"q": None}, "quality"),
        ({"qc": "spike"}, "quality"),
        ({"qc": [1]}, "quality"),
        ({"qc": None}, "quality"),
    ],
)
def test_a_record_that_is_not_resolved_senml_is_refused_with_the_field_at_fault(
    change: dict[Any, Any], reason: str
) -> None:
    good = cbor.encode(GOOD)
    bad = cbor2.dumps({**GOOD, **change})
    assert senml.read_pack(b"\x82" + good + good)
    with pytest.raises(RecordError, match=f"^{reason}$"):
        senml.read_pack(b"\x82" + good + bad)
    assert senml.refusal(RecordError(reason)) == f"record_{reason}"


@pytest.mark.parametrize("missing", [0, 2, 6])
def test_name_value_and_time_are_required(missing: int) -> None:
    with pytest.raises(RecordError):
        senml.read_pack(b"\x81" + cbor.encode({key: value for key, value in GOOD.items() if key != missing}))


@pytest.mark.parametrize(
    ("field", "value"), [(3, "text"), (4, False), (8, b"data"), (2, -1), (2, 1e300), (2, 2**53 - 1)]
)
def test_each_kind_of_value_is_read(field: int, value: object) -> None:
    fields = {0: NAME, 6: T, field: value}
    assert senml.read_pack(b"\x81" + cbor.encode(fields))[1] == [Record(NAME, None, value, T)]  # type: ignore[arg-type] # the table mixes types


@pytest.mark.parametrize(
    "payload", ["", "80ff", "8100", "81", "a0", "9fff", "82a0", "9bffffffffffffffff", "81a0"]
)
def test_a_payload_that_is_not_one_array_of_records_is_refused(payload: str) -> None:
    with pytest.raises(RecordError):
        senml.read_pack(bytes.fromhex(payload))


def test_bytes_after_the_last_record_are_refused() -> None:
    assert senml.read_pack(b"\x80") == ([], [])
    with pytest.raises(RecordError, match=r"^record$"):
        senml.read_pack(b"\x81" + cbor.encode(GOOD) + b"\x00")


def slowly(payload: bytes) -> tuple[list[bytes], list[Record]] | str:
    """The general way for every record: what the quick one must agree with, also in the reason of a refusal."""
    try:
        major, count, at = cbor.argument(payload, 0)
        if major != 4:
            return "record"
        raws, records = [], []
        for _ in range(count):
            end = cbor.check(payload, at)
            raws.append(payload[at:end])
            records.append(senml.record_of(cbor.decode(payload[at:end])))
            at = end
    except CborError:
        return "record"
    except RecordError as error:
        return str(error)
    return (raws, records) if at == len(payload) else "record"


def quickly(payload: bytes) -> tuple[list[bytes], list[Record]] | str:
    try:
        return senml.read_pack(payload)
    except RecordError as error:
        return str(error)


def same(one: object, two: object) -> bool:
    # repr, because 1, 1.0 and True are equal and not the same.
    return repr(one) == repr(two)


numbers = (
    st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**64), 2**64 - 1)
    | st.sampled_from([0, 23, 24, -24, -25, 1.5, 52.3, float("nan"), float("inf")])
)
times = st.floats(2**28 - 2, 1e12) | st.integers(2**28 - 2, 2**40) | numbers
marks = st.sampled_from([1, 2, 3, 4, 4, 0, 5, None, "x"])
units = st.sampled_from(["dB", "ug/m3", "", "x" * 23, "x" * 24, "é"])
sensors = st.sampled_from(
    [NAME, f"{BASE}:sound-1:laeq", "a", "x" * 23, "x" * 24, "x" * 255, "x" * 256, " ", "é" * 20]
)


@st.composite
def maps(draw: st.DrawFn) -> bytes:
    pairs: list[tuple[Any, Any]] = [
        (0, draw(sensors)),
        (1, draw(units)),
        (2, draw(numbers)),
        (6, draw(times)),
    ]
    if draw(st.booleans()):
        pairs.append(("q", draw(marks)))
    if draw(st.booleans()):
        pairs.append(
            ("qc", draw(st.lists(st.sampled_from(["spike", "flat_line", "", "x" * 24]), max_size=3)))
        )
    if draw(st.integers(0, 9)) == 0:
        pairs = draw(st.permutations(pairs))
    if draw(st.integers(0, 9)) == 0:
        pairs.append(draw(st.sampled_from([("bn", ""), (7, 1), ("x", 1), (0, "a"), ("q", 1)])))
    canonical = draw(st.booleans())
    return cbor.head(5, len(pairs)) + b"".join(
        cbor2.dumps(key) + cbor2.dumps(value, canonical=canonical) for key, value in pairs
    )


@given(st.lists(maps(), max_size=6))
@settings(max_examples=300)
def test_the_quick_way_reads_what_the_general_way_reads(records: list[bytes]) -> None:
    payload = cbor.head(4, len(records)) + b"".join(records)
    assert same(quickly(payload), slowly(payload))


@given(st.lists(maps(), min_size=1, max_size=4), st.data())
@settings(max_examples=300)
def test_the_quick_way_agrees_with_the_general_way_on_damaged_packs(
    records: list[bytes], data: st.DataObject
) -> None:
    payload = bytearray(cbor.head(4, len(records)) + b"".join(records))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(payload) - 1))
        payload[at] = data.draw(st.integers(0, 255))
    stop = data.draw(st.just(len(payload)) | st.integers(0, len(payload)))
    assert same(quickly(bytes(payload[:stop])), slowly(bytes(payload[:stop])))


def test_the_quick_way_agrees_with_the_general_way_on_every_flipped_bit_of_a_pack() -> None:
    writer = RecordWriter(BASE)
    payload = b"\x84" + b"".join(
        (
            writer.reading("air-1", "pm2_5", "ug/m3", 52.3, T),
            writer.reading("air-1", "pm2_5", "ug/m3", 52, 1_790_000_001, 1),
            writer.reading("air-1", "pm2_5", "ug/m3", -0.5, T, 3, ("spike", "flat_line")),
            writer.reading("air-1", "pm2_5", "ug/m3", 1e9, T, 3, ("spike", "flat_line")),
        )
    )
    for at in range(len(payload)):
        for bit in range(8):
            changed = sample.flipped(payload, 8 * at + bit)
            assert same(quickly(changed), slowly(changed)), (at, bit)
    for stop in range(len(payload)):
        assert same(quickly(payload[:stop]), slowly(payload[:stop]))


@given(st.binary(max_size=120))
def test_arbitrary_bytes_are_records_or_a_record_error_and_nothing_else(payload: bytes) -> None:
    assert same(quickly(payload), slowly(payload))
