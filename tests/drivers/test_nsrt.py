from __future__ import annotations

import contextlib
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meters import NsrtMeter, on_a_terminal, reading

from edgegw import registry
from edgegw.decode import decode
from edgegw.driver import AskDriver, FrameError, Notice
from edgegw.framing import Framer


def made(*quantities: str) -> AskDriver:
    driver = registry.make("nsrt", {"quantities": quantities} if quantities else {})
    assert isinstance(driver, AskDriver)
    return driver


def shown(data: bytes, **context: str) -> list[dict[str, Any]]:
    return list(decode("nsrt", [data.hex()], options=dict(context)))


@pytest.mark.parametrize(
    ("command", "data"),
    [
        ("read level", "100000800000000004000000"),
        ("read Leq and restart the integration", "110000800000000004000000"),
        ("read temperature", "120000800000000004000000"),
        ("read weighting", "200000800000000001000000"),
        ("read sample rate", "210000800000000002000000"),
        ("read tau", "220000800000000004000000"),
        ("read time constant", "220000800000000004000000"),
        ("read model", "310000800000000020000000"),
        ("read serial number", "320000800000000020000000"),
        ("read firmware revision", "330000800000000020000000"),
        ("read calibration date", "340000800000000008000000"),
        ("read birth date", "350000800000000008000000"),
    ],
)
def test_each_thing_to_read_has_its_request(command: str, data: str) -> None:
    assert made().encode(command, {}).hex() == data


@pytest.mark.parametrize("command", ["write weighting", "set tau", "format"])
def test_nothing_that_writes_is_made(command: str) -> None:
    with pytest.raises(ValueError, match="no command"):
        made().encode(command, {})


@pytest.mark.parametrize(
    ("data", "context", "expected"),
    [
        (struct.pack("<f", 53.5), {}, ("la_sampled", 53.5)),
        (struct.pack("<f", 53.1), {}, ("la_sampled", 53.1)),
        (struct.pack("<f", 53.5), {"weighting": "C"}, ("level", 53.5)),
        (struct.pack("<f", 53.5), {"command": "read Leq"}, ("laeq", 53.5)),
        (struct.pack("<f", 53.5), {"command": "leq", "weighting": "C"}, ("lceq", 53.5)),
        (struct.pack("<f", 53.5), {"command": "leq", "weighting": "dB_Z"}, ("lzeq", 53.5)),
        (struct.pack("<f", 21.5), {"command": "read temperature"}, ("temperature", 21.5)),
        (b"\x01", {"command": "read weighting"}, ("weighting", 1)),
        (struct.pack("<H", 48000), {"command": "read sample rate"}, ("sample_rate", 48000)),
        (struct.pack("<f", 0.125), {"command": "read tau"}, ("tau", 0.125)),
    ],
)
def test_an_answer_is_what_was_asked_for(
    data: bytes, context: dict[str, str], expected: tuple[str, float]
) -> None:
    (line,) = shown(data, **context)
    assert (line["quantity"], line["value"]) == expected


def test_who_it_is_and_when_it_was_calibrated_stand_in_the_meta() -> None:
    (line,) = shown(b"A1B2C3".ljust(32, b"\0"), command="read serial number")
    assert line["meta"] == {"serial": "A1B2C3"}
    # Seconds since 1904: 2,082,844,800 of them lead to 1970.
    (line,) = shown(struct.pack("<Q", 2_082_844_800 + 86_400), command="read calibration date")
    assert line["meta"] == {"calibration": "1970-01-02"}
    (line,) = shown(b"\x00", command="read weighting")
    assert line["meta"] == {"frequency_weighting": "C"}


@pytest.mark.parametrize(
    ("data", "context", "reason"),
    [
        (b"", {}, "truncated"),
        (b"\0\0\0", {}, "truncated"),
        (b"\0\0\0\0\0", {}, "byte_count"),
        (struct.pack("<f", float("nan")), {}, "not_a_number"),
        (struct.pack("<f", float("inf")), {}, "not_a_number"),
        (struct.pack("<f", 1e9), {}, "implausible"),
        (struct.pack("<f", -40.0), {}, "implausible"),
        (struct.pack("<f", 400.0), {"command": "temperature"}, "implausible"),
        (b"\x03", {"command": "weighting"}, "implausible"),
        (bytes(32), {"command": "serial"}, "malformed"),
        (b"\xff" * 8, {"command": "calibration date"}, "implausible"),
    ],
)
def test_what_cannot_be_gives_no_value(data: bytes, context: dict[str, str], reason: str) -> None:
    assert shown(data, **context) == [{"error": reason}]


@given(data=st.binary(max_size=200), silent=st.lists(st.integers(0, 7)))
def test_any_bytes_in_a_conversation_give_outcomes_or_reasons(data: bytes, silent: list[int]) -> None:
    decoder = made("laeq", "la_sampled", "temperature").decoder()
    for number, request in enumerate((*decoder.opening(), *decoder.cycle(), *decoder.cycle())):
        for byte in data:
            with contextlib.suppress(FrameError):
                decoder.decode(request, bytes((byte,)), 0.0)
        if number in silent:
            decoder.silent(request, 0.0)


@given(late=st.binary(max_size=12), serial=st.text("AB1", min_size=1, max_size=8))
def test_the_serial_number_is_found_behind_late_bytes(late: bytes, serial: str) -> None:
    decoder, meter = made("la_sampled").decoder(), NsrtMeter()
    meter.serial = serial
    for request in decoder.opening():
        for byte in b"".join(meter.take(request.data)):
            decoder.decode(request, bytes((byte,)), 0.0)
    request, *_ = decoder.cycle()
    answer = b"".join(meter.take(request.data))
    framer, refused = Framer(made().framing), list[FrameError]()
    found = framer.feed(late + answer, lambda frame: decoder.decode(request, frame, 0.0), refused.append)
    assert {(error.reason, error.whole) for error in refused} <= {("late", False)}
    ((notice,),) = [outcomes for outcomes in found if outcomes]
    assert isinstance(notice, Notice)
    assert notice.text.endswith(f"serial number {serial}")


async def test_an_instrument_on_usb_is_read_though_its_answers_come_byte_by_byte() -> None:
    meter = NsrtMeter()
    meter.torn, meter.leqs = 5, [50.0, 51.0, 52.0]
    options = {"quantities": ["laeq", "la_sampled", "temperature"]}
    async with on_a_terminal(meter) as port, reading("nsrt", options, port=port) as desk:
        await desk.until(lambda: len(desk.values("temperature")) >= 3)
        assert desk.values("laeq")[:3] == [50.0, 51.0, 52.0]
        assert set(desk.values("la_sampled")) == {54.5}
        assert desk.taken[0].meta == {"serial": "A1B2C3", "time_constant_s": 0.125}
        assert desk.view.notices == {"device": "Convergence Instruments NSRT_mk3, serial number A1B2C3"}
        assert desk.reasons == set()


async def test_a_late_level_is_never_taken_for_leq() -> None:
    meter = NsrtMeter()
    meter.late = ["80000010/4"]
    async with on_a_terminal(meter) as port, reading("nsrt", {}, port=port) as desk:
        await desk.until(lambda: desk.values("laeq"))
        assert set(desk.values("laeq")) == {51.0}
        assert set(desk.values("la_sampled")) == {54.5}
        assert desk.view.errors["no_reply"] >= 1
        assert desk.view.errors["late"] >= 1


async def test_half_an_answer_is_none_and_the_next_ones_are_right_again() -> None:
    meter = NsrtMeter()
    meter.replies = {"80000011/4": [b"\0\0"], "80000032/32": [b"A1B2C3".ljust(32, b"\0"), b"A1B2"]}
    async with on_a_terminal(meter) as port, reading("nsrt", {"quantities": ["laeq"]}, port=port) as desk:
        await desk.until(lambda: len(desk.values("laeq")) >= 2)
        assert set(desk.values("laeq")) == {51.0}
        assert desk.view.errors["no_reply"] >= 1


async def test_an_instrument_that_weights_otherwise_gives_what_it_is_or_nothing() -> None:
    meter = NsrtMeter()
    meter.weighting = 0
    options = {"quantities": ["laeq", "lceq", "la_sampled"]}
    async with on_a_terminal(meter) as port, reading("nsrt", options, port=port) as desk:
        await desk.until(lambda: len(desk.values("lceq")) >= 2)
        assert {each.quantity.name for each in desk.taken} == {"lceq"}
        assert desk.view.errors["settings"] >= 2
        assert "weights with C, which gives no laeq, la_sampled" in desk.view.notices["settings"]
