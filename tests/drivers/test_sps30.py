from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outcomes import readings

from edgegw.driver import FrameError, Notice, Quality, Reading
from edgegw.framing import Framer
from edgegw_drivers.sps30 import Sps30
from edgegw_drivers.sps30.commands import COMMANDS
from edgegw_drivers.sps30.conversation import LOOK_AGAIN_S
from edgegw_drivers.sps30.shdlc import LONGEST, Reply, Shdlc, answer, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.driver import Outcome, Request
    from edgegw_drivers.sps30.conversation import Conversation

VALUES = (5.0, 9.5, 12.5, 13.0, 26.0, 37.0, 41.5, 42.5, 42.75, 0.75)
NAMES = ["pm1", "pm2_5", "pm4", "pm10", "pn0_5", "pn1", "pn2_5", "pn4", "pn10"]


def measured(*values: float) -> bytes:
    return answer(0x03, struct.pack(">10f", *(values or VALUES)))


class Device:
    """An SPS30 as its documents describe it, which a conversation asks."""

    def __init__(self, driver: Sps30, *, allow_setup: bool = True) -> None:
        self.conversation: Conversation = driver.decoder()
        self.allow_setup = allow_setup
        self.now = 1000.0
        self.awake = self.runs = True
        self.serial, self.type, self.status = b"ABC123", b"00080000", 0
        self.values = VALUES
        self.flag = 0
        self.asked: list[str] = []
        self.cleaned = 0

    def open(self) -> list[Outcome]:
        return self._ask(self.conversation.opening())

    def cycle(self, seconds: float = 10.0) -> list[Outcome]:
        """The outcomes of a cycle, `seconds` after the one before."""
        self.now += seconds
        return self._ask(self.conversation.cycle())

    def later(self, seconds: float) -> list[Outcome]:
        """The outcomes of the cycle after one that came `seconds` later: by then the conversation knows the time."""
        self.cycle(seconds)
        return self.cycle()

    def _ask(self, requests: Sequence[Request]) -> list[Outcome]:
        self.asked = []
        found: list[Outcome] = []
        for request in requests:
            if request.changes and not self.allow_setup:
                continue
            self.now += request.after_s
            self.asked.append(request.name)
            said = self._answer(request)
            try:
                if said:
                    found += self.conversation.decode(request, said, self.now)
                else:
                    found += [FrameError("no_reply"), *self.conversation.silent(request, self.now)]
            except FrameError as error:
                found.append(error)
        return found

    def _answer(self, request: Request) -> bytes:
        command, data = COMMANDS[request.name]
        if request.name == "wake_up":
            assert request.data[:1] == b"\xff"
            asleep, self.awake = not self.awake, True
            return answer(command, state=self.flag | (0 if asleep else 0x43))
        if not self.awake:
            return b""
        state = self.flag
        said = b""
        if request.name == "start_measurement":
            state |= 0x43 if self.runs else 0
            self.runs = True
        elif request.name in {"stop_measurement", "read_values", "fan_clean"}:
            state |= 0 if self.runs else 0x43
            self.runs &= request.name != "stop_measurement"
            self.cleaned += request.name == "fan_clean" and not state
            if request.name == "read_values" and not state & 0x7F:
                said = struct.pack(">10f", *self.values)
        elif request.name == "sleep":
            state |= 0x43 if self.runs else 0
            self.awake = self.runs
        elif command == 0xD0:
            said = (self.type if data == b"\0" else self.serial) + b"\0"
        else:
            assert request.name == "get_status"
            said = self.status.to_bytes(4, "big") + b"\0"
        return answer(command, said, state)


def reasons(outcomes: Sequence[Outcome]) -> list[str]:
    return [each.reason for each in outcomes if isinstance(each, FrameError)]


def notices(outcomes: Sequence[Outcome]) -> list[tuple[str, str]]:
    return [(each.name, each.text) for each in outcomes if isinstance(each, Notice)]


def marks(outcomes: Sequence[Outcome]) -> set[tuple[int | None, tuple[str, ...]]]:
    return {(each.flag, each.checks) for each in outcomes if isinstance(each, Reading)}


def warm(**options: Any) -> Sps30:
    return Sps30(warm_up_time="0s", **options)


# Frames


@given(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=40))
def test_what_is_framed_is_parsed_again_whatever_bytes_it_holds(
    command: int, state: int, data: bytes
) -> None:
    frame = answer(command, data, state)
    assert Shdlc().refusal(frame) is None
    assert len(frame) <= LONGEST
    assert parse(frame) == Reply(command, state, data)
    assert not {0x11, 0x13, 0x7E} & set(frame[1:-1])


def test_an_escaped_escape_before_a_31_is_no_escaped_11() -> None:
    assert parse(answer(0x03, b"\x7d\x31")).data == b"\x7d\x31"


@given(st.binary(max_size=40), st.data())
def test_no_flipped_bit_passes(data: bytes, chosen: st.DataObject) -> None:
    frame = answer(0x03, data)
    bit = chosen.draw(st.integers(0, 8 * len(frame) - 1))
    damaged = bytearray(frame)
    damaged[bit // 8] ^= 1 << bit % 8
    if Shdlc().refusal(bytes(damaged)) is None:
        with pytest.raises(FrameError):
            parse(bytes(damaged))


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ("", "truncated"),
        ("7e", "truncated"),
        ("7e00030000fc", "truncated"),
        ("00030000fc7e", "header"),
        ("7e00030000fc7e7e00030000fc7e", "framing"),
    ],
)
def test_what_is_not_exactly_one_frame_is_named(frame: str, reason: str) -> None:
    assert Shdlc().refusal(bytes.fromhex(frame)) == reason


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ("7e7e", "truncated"),
        ("7e0003000041bb7e", "framing"),
        ("7e00037d0000fc7e", "malformed"),
        ("7e00030000fc7d7e", "malformed"),
        ("7e01030000fb7e", "wrong_address"),
    ],
)
def test_what_stands_between_two_markers_and_is_no_answer_is_refused(frame: str, reason: str) -> None:
    with pytest.raises(FrameError) as refused:
        parse(bytes.fromhex(frame))
    assert refused.value.reason == reason


def heard(stream: bytes, size: int) -> tuple[list[Reply], Framer]:
    framer, found = Framer(Shdlc()), list[Reply]()
    for at in range(0, len(stream), size):
        found += framer.feed(stream[at : at + size], parse, lambda _: None)
        assert len(framer._pending) < LONGEST
    return found, framer


@given(st.lists(st.tuples(st.binary(max_size=30), st.binary(max_size=40)), max_size=5), st.integers(1, 200))
def test_frames_are_found_between_noise_in_any_chunking(parts: list[tuple[bytes, bytes]], size: int) -> None:
    stream = b"".join(noise.replace(b"~", b"") + answer(0x03, data) for noise, data in parts)
    found, _ = heard(stream, size)
    assert [reply.data for reply in found] == [data for _, data in parts]


def test_a_lost_marker_costs_one_frame_and_not_the_next() -> None:
    one, two, three = (answer(0x03, bytes((number,))) for number in range(3))
    for stream in (one[1:] + two + three, one[:-1] + two + three, one + two[:4] + three):
        assert heard(stream, 1000)[0][-1].data == b"\2"
        assert len(heard(stream, 1000)[0]) == 2


@pytest.mark.parametrize("piece", [b"\x7e", b"\x7e\x00", b"\x7e\x00\x03\x00\x00\x00\x00", b"\x00", b"\x7d"])
@pytest.mark.parametrize("size", [1, 997, 1 << 16])
def test_false_starts_cost_bounded_memory_and_linear_work(piece: bytes, size: int) -> None:
    stream = (piece * (1 << 16))[: 1 << 16]
    asked = 0

    class Counting(Shdlc):
        def find(self, buffer: bytes, start: int) -> tuple[int, int]:
            nonlocal asked
            asked += 1
            return super().find(buffer, start)

    framer = Framer(Counting())
    for at in range(0, len(stream), size):
        framer.feed(stream[at : at + size], parse, lambda _: None)
        assert len(framer._pending) < LONGEST
    assert asked <= len(stream) + -(-len(stream) // size)


# Values


def test_ten_floats_are_nine_readings_and_a_typical_size() -> None:
    device = Device(warm())
    device.open()
    found = readings(device.cycle())
    assert [each.quantity.name for each in found] == NAMES
    assert [each.value for each in found] == list(VALUES[:9])
    assert {each.meta["typical_size"] for each in found if each.meta} == {0.75}
    assert {each.meta["serial"] for each in found if each.meta} == {"ABC123"}
    assert marks(found) == {(None, ())}


@pytest.mark.parametrize(
    ("answered", "reason"),
    [
        (answer(0x03), "no_data"),
        (measured(*[0.0] * 10), "warming_up"),
        (answer(0x03, bytes(20)), "unsupported_length"),
        (answer(0x03, state=0x04), "device_state_04"),
        (answer(0x03, state=0xA8), "device_state_28"),
    ],
)
def test_an_answer_without_values_is_a_counted_reason(answered: bytes, reason: str) -> None:
    driver = warm()
    conversation = driver.decoder()
    with pytest.raises(FrameError) as refused:
        conversation.decode(conversation.cycle()[0], answered, 0.0)
    assert refused.value.reason == reason
    assert refused.value.whole
    with pytest.raises(FrameError, match=reason):
        driver.decode_layer("uart", answered, {})


def test_a_value_that_is_none_costs_itself_and_no_other() -> None:
    device = Device(warm())
    device.open()
    device.values = (math.nan, -1.0, 12.5, 1000.5, *VALUES[4:])
    found = device.cycle()
    assert reasons(found) == ["not_a_number", "implausible"]
    assert [each.value for each in found if isinstance(each, Reading)] == [12.5, 1000.5, *VALUES[4:9]]
    assert [each.checks for each in found if isinstance(each, Reading)][:2] == [(), ("range",)]


# The conversation


def test_a_device_that_sleeps_is_woken_and_started_and_its_first_half_minute_is_flagged() -> None:
    device = Device(Sps30())
    device.awake = device.runs = False
    assert device.open() == []
    assert device.asked == [
        "wake_up",
        "get_product_type",
        "get_serial_number",
        "get_status",
        "start_measurement",
    ]
    assert marks(device.cycle(0)) == {(Quality.SUSPECT, ("warm_up",))}
    assert marks(device.cycle(28.7)) == {(Quality.SUSPECT, ("warm_up",))}
    assert marks(device.cycle(0.2)) == {(None, ())}


def test_the_first_value_is_waited_for_and_no_later_one() -> None:
    device = Device(warm())
    device.runs = False
    device.open()
    assert [request.after_s for request in device.conversation.cycle()] == [1.2]
    assert [request.after_s for request in device.conversation.cycle()] == [0.0]


def test_warming_up_can_be_dropped() -> None:
    device = Device(Sps30(warm_up="drop"))
    device.open()
    assert reasons(device.cycle()) == ["warming_up"]
    assert marks(device.cycle(30)) == {(None, ())}


def test_a_device_that_ran_already_is_flagged_from_its_first_answer_on() -> None:
    device = Device(Sps30(), allow_setup=False)
    assert device.open() == []
    assert device.asked == ["get_product_type", "get_serial_number", "get_status"]
    assert marks(device.cycle()) == {(Quality.SUSPECT, ("warm_up",))}
    assert marks(device.cycle(30)) == {(None, ())}
    assert device.asked == ["read_values"]


def test_a_device_that_stopped_is_started_again_where_that_is_allowed() -> None:
    device = Device(Sps30(warm_up_time="8s"))
    device.open()
    device.cycle()
    device.runs = False  # its power was cut
    found = device.cycle()
    assert reasons(found) == ["device_state_43"]
    assert [name for name, _ in notices(found)] == ["settings"]
    assert marks(device.cycle()) == {(Quality.SUSPECT, ("warm_up",))}
    assert device.asked == ["wake_up", "start_measurement", "read_values"]
    assert marks(device.cycle()) == {(None, ())}


def test_a_device_that_may_not_be_started_says_so_and_is_read_on() -> None:
    device = Device(warm(), allow_setup=False)
    device.runs = False
    device.open()
    for _ in range(3):
        found = device.cycle()
        assert reasons(found) == ["device_state_43"]
        assert notices(found) == [
            ("settings", "it does not measure; with allow_setup = true the gateway starts it")
        ]
    device.runs = True
    *values, told = device.cycle()
    assert len(values) == 9
    assert told == Notice("settings", "it measures", cured=True)
    assert notices(device.cycle()) == []


def test_a_device_that_was_silent_is_started_and_looked_at_again() -> None:
    device = Device(warm(), allow_setup=False)
    device.awake = False
    assert reasons(device.open()) == ["no_reply"] * 3
    assert reasons(device.cycle()) == ["no_reply"] * 4
    device.awake = True
    device.serial = b"XYZ"
    device.cycle()
    assert device.asked == ["read_values", "get_product_type", "get_serial_number", "get_status"]
    device.cycle()
    assert device.asked == ["read_values"]


def test_another_commands_answer_is_not_taken() -> None:
    conversation = warm().decoder()
    with pytest.raises(FrameError) as refused:
        conversation.decode(conversation.cycle()[0], answer(0xD2, bytes(5)), 0.0)
    assert refused.value.reason == "command"
    assert not refused.value.whole


def test_a_late_product_type_is_no_serial_number() -> None:
    device = Device(warm())
    device.serial = device.type
    assert reasons(device.open()) == ["command"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 1, 3, 0x10, 0x11, 0x56, 0xD0, 0xD2]),
            st.integers(0, 255),
            st.binary(max_size=40),
        ),
        max_size=12,
    ),
    st.booleans(),
)
def test_whatever_a_device_answers_gives_outcomes_or_a_counted_reason(
    said: list[tuple[int, int, bytes]], duty_cycle: bool
) -> None:
    conversation = Sps30(duty_cycle=duty_cycle, clean="1d").decoder()
    requests = list(conversation.opening())
    for number, (command, state, data) in enumerate(said):
        requests = requests or list(conversation.cycle())
        request = requests.pop(0)
        try:
            found = conversation.decode(request, answer(command, data, state), number * 40_000.0)
        except FrameError as error:
            found = [error]
        for each in found:
            if isinstance(each, Reading):
                assert math.isfinite(each.value)
            else:
                assert (each.text if isinstance(each, Notice) else each.reason).isprintable()


# Faults and identity


def test_an_error_flag_degrades_the_values_and_has_the_status_read() -> None:
    device = Device(warm())
    device.open()
    device.flag, device.status = 0x80, 1 << 21
    found = device.cycle()
    assert marks(found) == {(Quality.SUSPECT, ("device_flag",))}
    assert {each.meta["device_error_flag"] for each in found if isinstance(each, Reading) and each.meta} == {
        True
    }
    found = device.cycle()
    assert "get_status" in device.asked
    assert notices(found) == [("fault", "the fan turns too fast or too slowly")]
    device.flag = 0
    assert marks(device.cycle()) == {(Quality.SUSPECT, ("device_flag",))}, "the register still says it"


@pytest.mark.parametrize(
    ("bit", "text"), [(4, "the fan stands still"), (5, "the laser's current is out of range")]
)
def test_without_fan_or_laser_the_values_fail(bit: int, text: str) -> None:
    device = Device(warm())
    device.status = 1 << bit
    assert notices(device.open()) == [("fault", text)]
    assert marks(device.cycle()) == {(Quality.FAIL, ("sensor_fault",))}
    device.status = 0
    assert notices(device.later(LOOK_AGAIN_S)) == [("fault", "none any more")]
    assert marks(device.cycle()) == {(None, ())}


def test_identity_and_status_are_looked_at_each_ten_minutes() -> None:
    device = Device(warm())
    device.open()
    looks = [seconds for seconds in range(0, 1800, 10) if device.cycle() and "get_status" in device.asked]
    assert looks == [600, 1210]


def test_another_device_is_told_and_so_is_one_that_is_no_sps30() -> None:
    device = Device(warm())
    assert notices(device.open()) == []
    device.serial = b"XYZ789"
    assert notices(device.later(LOOK_AGAIN_S)) == [("device", "serial number XYZ789; before: ABC123")]
    assert notices(device.later(LOOK_AGAIN_S)) == []
    assert notices(Device(warm(serial="XYZ789")).open()) == [
        ("device", "serial number ABC123; expected: XYZ789")
    ]
    device = Device(warm(serial="ABC123"))
    device.type = b"00080010"
    assert notices(device.open()) == [("device", "product type '00080010' is no SPS30, which is 00080000")]


# Sleep and cleaning


def test_with_a_duty_cycle_it_sleeps_between_two_warm_readings() -> None:
    device = Device(Sps30(duty_cycle=True))
    device.awake = device.runs = False
    assert device.open() == []
    for _ in range(3):
        found = device.cycle(600)
        assert marks(found) == {(None, ())}
        assert not device.awake
        assert reasons(found) == []
        assert [name for name in device.asked if not name.startswith("get_")] == [
            "wake_up",
            "start_measurement",
            "read_values",
            "stop_measurement",
            "sleep",
        ]


def test_the_fan_is_cleaned_in_time_and_nothing_is_read_meanwhile() -> None:
    device = Device(warm(clean="7d"))
    device.open()
    device.later(7 * 86_400 - 20)
    assert device.cleaned == 0
    assert len(readings(device.cycle())) == 9
    assert len(readings(device.cycle())) == 9
    assert device.cleaned == 1
    assert reasons(device.cycle()) == ["cleaning"]
    assert len(readings(device.cycle())) == 9
    device.later(6 * 86_400)
    assert device.cleaned == 1
    device.later(86_400)
    assert device.cleaned == 2


def test_a_cleaning_that_is_refused_is_tried_again_an_hour_later() -> None:
    device = Device(warm(clean="1d"))
    device.open()
    device.cycle(86_400)
    device.runs = False
    assert reasons(device.cycle()) == ["device_state_43", "device_state_43"]
    device.later(60)
    assert device.cleaned == 0
    device.later(3600)
    assert device.cleaned == 1


def test_with_a_duty_cycle_it_is_cleaned_before_it_sleeps() -> None:
    device = Device(Sps30(duty_cycle=True, clean="7d"))
    device.open()
    device.cycle(7 * 86_400)
    before = device.now
    device.cycle(600)
    assert device.cleaned == 1
    assert not device.awake
    assert device.now - before >= 600 + 30 + 10
    assert marks(device.cycle(600)) == {(None, ())}


@pytest.mark.parametrize("driver", [Sps30(), Sps30(duty_cycle=True, clean="7d")])
def test_without_leave_nothing_but_questions_goes_out(driver: Sps30) -> None:
    device = Device(driver, allow_setup=False)
    asked = set()
    device.open()
    for _ in range(3):
        device.cycle(8 * 86_400)
        asked.update(device.asked)
    assert asked == {"read_values", "get_product_type", "get_serial_number", "get_status"}


# What is sent


def test_every_command_is_framed_as_the_data_sheet_says() -> None:
    made = {name: Sps30().encode(name, {}).hex() for name in COMMANDS}
    assert made["wake_up"] == "7e007d3100ee7e"
    assert made["get_product_type"] == "7e00d001002e7e"
    assert made["get_serial_number"] == "7e00d001032b7e"
    assert made["reset"] == "7e00d3002c7e"
    assert Sps30().encode("set_auto_clean_interval", {"seconds": 604_800}).hex() == (
        "7e0080050000093a80b77e"  # 604800 is 00093A80
    )


@pytest.mark.parametrize("seconds", [None, -1, 1 << 32, "7d"])
def test_a_cleaning_interval_that_cannot_be_is_refused(seconds: object) -> None:
    with pytest.raises(ValueError, match="seconds: 0 to 4294967295"):
        Sps30().encode("set_auto_clean_interval", {"seconds": seconds})


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"clean": "23h"}, "^clean: at most once a day"),
        ({"clean": "weekly"}, "^clean: "),
        ({"warm_up_time": "soon"}, "^warm_up_time: "),
        ({"warm_up_time": "11m"}, "^warm_up_time: 11m is more than 600 seconds"),
    ],
)
def test_options_that_cannot_be_are_named(options: dict[str, str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Sps30(**options)  # type: ignore[arg-type]


def test_the_shell_finds_answers_in_a_stream() -> None:
    stream = b"noise" + measured() + b"\x7e\x00" + answer(0xD2, bytes(5)) + measured()[:9]
    found = warm().decode_layer("uart-stream", stream, {})
    assert found is not None
    assert [each.quantity.name for each in found if isinstance(each, Reading)] == [*NAMES, "reply"]
