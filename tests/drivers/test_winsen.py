from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outcomes import readings

from edgegw.decode import decode
from edgegw.driver import QUANTITIES, FrameError, Notice, Quality, Reading
from edgegw.framing import Framer
from edgegw_drivers.winsen import Winsen
from edgegw_drivers.winsen.frame import ANY_ANSWER, GASES, answer, parse
from edgegw_drivers.winsen.models import model_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.driver import Outcome, Request

READ = 0x86


def co2(ppm: int, temperature: int = 66) -> bytes:
    return answer(READ, ppm.to_bytes(2, "big") + bytes((temperature,)))


def gas(raw: int, kind: int, decimals: int) -> bytes:
    return answer(READ, raw.to_bytes(2, "big") + bytes((kind, decimals)))


def dust(pm1: int, pm2_5: int, pm10: int) -> bytes:
    return answer(READ, b"".join(value.to_bytes(2, "big") for value in (pm2_5, pm10, pm1)))


class Asked:
    """A conversation and the request that is open."""

    def __init__(self, model: str, **options: Any) -> None:
        self.driver = Winsen(model, **options)
        self.conversation = self.driver.decoder()

    def read(self, frame: bytes, now: float = 0.0) -> Sequence[Outcome]:
        (request,) = self.conversation.cycle()
        return self.conversation.decode(request, frame, now)

    def refusal(self, frame: bytes, now: float = 0.0) -> FrameError:
        with pytest.raises(FrameError) as refused:
            self.read(frame, now)
        return refused.value


def told(outcomes: Sequence[Outcome]) -> list[tuple[str, float, int | None, tuple[str, ...]]]:
    return [(each.quantity.name, each.value, each.flag, each.checks) for each in readings(outcomes)]


def plain(**values: float) -> list[tuple[str, float, int | None, tuple[str, ...]]]:
    return [(name, value, None, ()) for name, value in values.items()]


# Values


@given(st.integers(300, 10_000), st.integers(0, 255))
def test_co2_is_the_number_that_the_device_states(ppm: int, temperature: int) -> None:
    found = Asked("mhz19", warm_up_time="0s").read(co2(ppm, temperature))
    assert told(found) == plain(co2=ppm)
    assert readings(found)[0].meta == ({"temperature_byte": temperature - 40} if temperature else {})


@pytest.mark.parametrize("ppm", [0, 133, 299, 10_001, 65_535])
def test_what_cannot_be_co2_is_refused(ppm: int) -> None:
    refused = Asked("mhz19").refusal(co2(ppm))
    assert (refused.reason, refused.whole) == ("implausible", True)


@pytest.mark.parametrize(
    ("frame", "name", "value"),
    [
        (gas(12, 0x04, 0), "co", 12.0),
        (gas(4, 0x2C, 1), "no2", 0.4),
        (gas(7, 0x2A, 2), "o3", 0.07),
        (gas(209, 0x05, 1), "o2", 20.9),
        (gas(0, 0x2B, 1), "so2", 0.0),
    ],
)
def test_a_board_gives_its_gas_in_its_decimals(frame: bytes, name: str, value: float) -> None:
    (reading,) = readings(Asked("dfrobot", warm_up_time="0s").read(frame))
    assert (reading.quantity, reading.value, reading.flag) == (QUANTITIES[name], value, None)


@pytest.mark.parametrize("kind", GASES)
def test_every_gas_has_the_end_of_its_range(kind: int) -> None:
    board = Asked("dfrobot", warm_up_time="0s")
    highest = int(GASES[kind].highest)
    assert told(board.read(gas(highest, kind, 0)))[0][1] == highest
    assert Asked("dfrobot").refusal(gas(highest * 10 + 1, kind, 1)).reason == "implausible"


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (gas(5, 0x07, 0), "unknown_gas"),
        (gas(5, 0x2C, 3), "implausible"),
        (co2(544, 0), "unknown_gas"),
        (dust(101, 133, 150), "unknown_gas"),
    ],
)
def test_what_no_board_says_is_refused_and_never_zero(frame: bytes, reason: str) -> None:
    refused = Asked("dfrobot").refusal(frame)
    assert (refused.reason, refused.whole) == (reason, True)


def test_dust_is_what_the_device_states() -> None:
    assert told(Asked("zh03", warm_up_time="0s").read(dust(101, 133, 150))) == plain(
        pm1=101, pm2_5=133, pm10=150
    )


@pytest.mark.parametrize(
    "frame", [dust(2, 1, 3), dust(1, 3, 2), dust(1, 2, 1001), co2(544, 0), co2(636), gas(4, 0x2C, 1)]
)
def test_what_cannot_be_dust_is_refused(frame: bytes) -> None:
    assert Asked("zh03").refusal(frame).reason == "implausible"


def test_only_the_shell_shows_the_temperature_of_a_board() -> None:
    # Half of the converter's range is the thermistor's own 10 kOhm: 25 degrees.
    frame = answer(0x88, (4).to_bytes(2, "big") + bytes((0x2C, 1)) + (512).to_bytes(2, "big"))
    found = Winsen("dfrobot").decode_layer("uart", frame, {})
    assert found is not None
    (reading,) = readings(found)
    assert reading.value == 0.4
    assert reading.meta == {"gas_type": 0x2C, "board_temperature": 25.0}
    assert not Asked("dfrobot").refusal(frame).whole


@pytest.mark.parametrize("adc", [0, 1024, 0xFFFF])
def test_a_thermistor_that_is_not_there_has_no_temperature(adc: int) -> None:
    frame = answer(0x88, b"\0\4\x2c\1" + adc.to_bytes(2, "big"))
    found = Winsen("dfrobot").decode_layer("uart", frame, {})
    assert found is not None
    assert readings(found)[0].meta == {"gas_type": 0x2C}


# Warm-up


@pytest.mark.parametrize(
    ("model", "frame", "seconds"),
    [("mhz19", co2(500), 180), ("dfrobot", gas(4, 0x2C, 1), 300), ("zh03", dust(1, 2, 3), 30)],
)
def test_each_model_has_its_warm_up(model: str, frame: bytes, seconds: int) -> None:
    device = Asked(model)
    for now, flag in ((1000.0, 3), (1000.0 + seconds - 0.1, 3), (1000.0 + seconds, None)):
        assert {(each.flag, each.checks) for each in readings(device.read(frame, now))} == {
            (flag, ("warm_up",) if flag else ())
        }


def test_warming_up_can_be_dropped() -> None:
    device = Asked("mhz19", warm_up="drop", warm_up_time="10s")
    refused = device.refusal(co2(400), 5.0)
    assert (refused.reason, refused.whole) == ("warming_up", True)
    assert told(device.read(co2(412), 15.0)) == plain(co2=412)


def test_zeros_of_a_dust_sensor_are_warming_up_and_those_of_a_gas_are_a_good_day() -> None:
    assert {each[2:] for each in told(Asked("zh03", warm_up_time="0s").read(dust(0, 0, 0)))} == {
        (Quality.SUSPECT, ("warm_up",))
    }
    assert told(Asked("dfrobot", warm_up_time="0s").read(gas(0, 0x2C, 1))) == plain(no2=0.0)


def test_a_device_that_was_away_warms_up_again_and_a_lost_answer_costs_nothing() -> None:
    device = Asked("mhz19")
    device.read(co2(500), 0.0)
    (request,) = device.conversation.cycle()
    for lost, flag in ((2, None), (3, Quality.SUSPECT)):
        for _ in range(lost):
            assert device.conversation.silent(request, 1000.0) == ()
        assert readings(device.read(co2(500), 1000.0))[0].flag == flag


# The conversation


@pytest.mark.parametrize(
    ("model", "mode"), [("dfrobot", "ff0178040000000083"), ("zh03", "ff0178410000000046")]
)
def test_what_talks_by_itself_is_told_to_wait_where_that_is_allowed(model: str, mode: str) -> None:
    device = Asked(model)
    (request,) = device.conversation.opening()
    assert (request.data.hex(), request.changes) == (mode, True)
    assert device.conversation.decode(request, answer(0x78, b"\1"), 0.0) == ()
    assert device.conversation.decode(request, answer(0x78, b"\0"), 0.0) == (
        Notice("settings", "it refused to wait for requests"),
    )
    with pytest.raises(FrameError) as refused:
        device.conversation.decode(request, dust(1, 2, 3), 0.0)
    assert (refused.value.reason, refused.value.whole) == ("command", False)


@pytest.mark.parametrize("model", ["mhz19", "dfrobot", "zh03", "any"])
def test_a_cycle_is_one_read_and_nothing_else(model: str) -> None:
    device = Asked(model)
    sent: list[Request] = []
    for now in range(10):
        sent += device.conversation.cycle()
        device.conversation.silent(sent[-1], float(now))
    assert {(request.data.hex(), request.changes) for request in sent} == {("ff0186000000000079", False)}
    assert model in {"dfrobot", "zh03"} or device.conversation.opening() == ()


def test_a_late_acknowledgement_is_no_value() -> None:
    refused = Asked("dfrobot").refusal(answer(0x78, b"\1"))
    assert (refused.reason, refused.whole) == ("command", False)


def test_a_board_with_another_cell_is_told() -> None:
    device = Asked("dfrobot", warm_up_time="0s")
    device.read(gas(4, 0x2C, 1))
    found = device.read(gas(4, 0x2A, 1))
    assert found[0] == Notice("device", "the board measures o3; before: no2")
    assert [each.quantity.name for each in found if isinstance(each, Reading)] == ["o3"]
    assert told(device.read(gas(4, 0x2A, 1))) == plain(o3=0.4)


def test_a_board_that_is_not_the_expected_one_gives_nothing() -> None:
    device = Asked("dfrobot", gas="no2", warm_up_time="0s")
    assert device.driver.emits() == ("no2",)
    error, notice = device.read(gas(4, 0x2A, 1))
    assert isinstance(error, FrameError)
    assert (error.reason, notice) == ("wrong_gas", Notice("device", "the board measures o3, not no2"))
    assert told(device.read(gas(4, 0x2C, 1))) == plain(no2=0.4)


def test_a_sensor_of_no_model_is_flagged_for_it() -> None:
    assert told(Asked("any").read(co2(500))) == [("co2", 500, Quality.SUSPECT, ("unidentified",))]


# Damage


@pytest.mark.parametrize("frame", [co2(636), gas(4, 0x2C, 1), dust(101, 133, 150), answer(0x78, b"\1")])
def test_no_flipped_bit_passes(frame: bytes) -> None:
    for bit in range(8 * len(frame)):
        damaged = bytearray(frame)
        damaged[bit // 8] ^= 1 << bit % 8
        if ANY_ANSWER.refusal(bytes(damaged)) is None:
            with pytest.raises(FrameError, match="checksum"):
                parse(bytes(damaged))


@given(st.binary(max_size=60), st.integers(1, 20), st.sampled_from(["mhz19", "dfrobot", "zh03", "any"]))
def test_any_bytes_are_readings_or_counted_and_memory_is_bounded(noise: bytes, size: int, model: str) -> None:
    device, framer = Asked(model), Framer(Winsen(model).framing)
    stream = noise.replace(b"\xff", b"") + co2(500) + noise
    for at in range(0, len(stream), size):
        for found in framer.feed(stream[at : at + size], device.read, lambda _: None):
            assert readings([each for each in found if not isinstance(each, Notice)])
        assert len(framer._pending) < 9
    assert framer.accepted + framer.refused >= 1


# The shell


@pytest.mark.parametrize(
    ("frame", "name"),
    [
        (co2(544, 0), "co2"),
        (co2(636), "co2"),
        (co2(544, 0x45), "co2"),
        (gas(3, 0x03, 0), "h2s"),
        (gas(5, 0x45, 1), "ph3"),
        (dust(101, 133, 150), "pm1"),
    ],
)
def test_without_a_model_the_shell_takes_a_frame_for_what_it_most_likely_is(frame: bytes, name: str) -> None:
    assert next(decode("winsen", [frame.hex()]))["quantity"] == name


def test_without_a_model_the_shell_refuses_what_nothing_says() -> None:
    assert list(decode("winsen", [answer(READ, bytes(6)).hex()])) == [{"error": "implausible"}]


@pytest.mark.parametrize("key", ["profile", "variant", "model"])
def test_the_shell_takes_a_model_under_the_names_that_people_use(key: str) -> None:
    found = list(decode("winsen", [dust(101, 133, 150).hex()], options={key: "winsen-zh0x"}))
    assert [line["quantity"] for line in found] == ["pm1", "pm2_5", "pm10"]


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("MH-Z19C", "mhz19"),
        ("mhz19", "mhz19"),
        ("Winsen MH-Z14A", "mhz19"),
        ("SEN0471", "dfrobot"),
        ("DFRobot", "dfrobot"),
        ("ZH03B", "zh03"),
        ("ZH06", "zh03"),
        ("any", "any"),
    ],
)
def test_a_model_may_be_called_as_its_housing_says(name: str, model: str) -> None:
    assert model_of(name) == model
    Winsen(name)


# What is sent, and options


@pytest.mark.parametrize(
    ("model", "command", "frame"),
    [
        ("mhz19", "set range 10000 ppm", "ff01990000002710" + "2f"),
        ("dfrobot", "mode_active", "ff0178030000000084"),
        ("zh03", "mode_active", "ff0178400000000047"),
        ("zh03", "mode_query", "ff0178410000000046"),
    ],
)
def test_commands_are_those_of_the_model(model: str, command: str, frame: str) -> None:
    assert Winsen(model).encode(command, {}).hex() == frame


@pytest.mark.parametrize("command", ["zero", "span", "calibrate", "set range 7 ppm", ""])
def test_calibration_cannot_even_be_made(command: str) -> None:
    with pytest.raises(ValueError, match="no command"):
        Winsen("mhz19").encode(command, {})


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"model": "mhz20"}, "^model: 'mhz20' is none of mhz19, dfrobot, zh03, any"),
        ({"model": ""}, "^model: "),
        ({"model": "mhz19", "gas": "no2"}, "^gas: of model dfrobot"),
        ({"model": "dfrobot", "gas": "radon"}, "^gas: "),
        ({"model": "mhz19", "warm_up_time": "soon"}, "^warm_up_time: "),
        ({"model": "mhz19", "warm_up_time": "49h"}, "^warm_up_time: 49h is more than two days"),
    ],
)
def test_options_that_cannot_be_are_named(options: dict[str, str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Winsen(**options)  # type: ignore[arg-type]
