"""What a technician reads on a terminal of 80 columns about one sensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fakes_clock import FakeClock

from edgegw.cli import printing, sensors, status
from edgegw.cli.options import Options
from edgegw.config import Sensor
from edgegw.driver import Notice
from edgegw.sensing.sensing import Sensing
from edgegw.views import View

if TYPE_CHECKING:
    from collections.abc import Callable


def seen(**more: Any) -> dict[str, Any]:
    """One sensor of a status document."""
    view = View("air-1", "sps30", stale_after=30.0, since=0.0, simulated=False)
    return {**view.as_dict(1.0), **more}


def test_a_sensor_is_told_in_words_with_each_reason_and_what_to_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sensors._show(
        seen(
            errors={"crc": 3, "modbus_exception_2": 40, "flux_capacitor": 1},
            notices={"settings": "it does not measure; with allow_setup = true the gateway starts it"},
            facts=[],
            why="Unit 1 does not answer.",
            todo="Check the wires A and B.",
            checks=["warm_up"],
        )
    )
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    assert said.index("modbus_exception_2: the device refused") < said.index("crc: an answer's CRC was wrong")
    assert "flux_capacitor: only its driver knows" in said
    for part in (
        "age ",
        "never",
        "settings",
        "allow_setup = true",
        "Unit 1 does not answer.",
        "warm_up (the",
    ):
        assert part in said


def test_a_sensor_that_gave_nothing_says_why_in_words_and_what_to_do() -> None:
    found = seen(
        errors={"device_state_43": 3},
        notices={"settings": "it does not measure; with allow_setup = true the gateway starts it"},
        why="",
        todo="",
        stored=False,
    )
    error = sensors._unread(found, 30.0)
    assert "It said no value: the device refused, with state 0x43." in error.why
    assert error.todo == ("write allow_setup = true into [sensor.air-1], then test again",)
    slow = sensors._unread({**found, "errors": {}, "notices": {}, "stored": True}, 3.0)
    assert slow.why == "It said nothing within 3 s."
    assert slow.todo[-1].startswith("edgegw sensors test air-1 --wait 5m")


def test_what_one_radio_tells_all_its_sensors_is_said_once_and_facts_are_not() -> None:
    told = {"bluetooth_scanning": "Scanning is active.", "device": "serial 7"}
    rows = [seen(id=name, notices=told, facts=["device"]) for name in ("a", "b")]
    assert status._notices([*rows, seen()]) == {("bluetooth_scanning", "Scanning is active."): ["a", "b"]}


def test_a_row_shows_a_few_values_and_how_many_more() -> None:
    last = {"pm1": 1.0, "pm2_5": 2.0, "pm4": 3.0, "pm10": 4.0, "co2": 5.0, "humidity": 6.0}
    assert status.sensor_row(seen(last=last))[-1] == "pm1 1 pm2_5 2 pm4 3 pm10 4 +2"
    assert status.sensor_row(seen(last={"co2": 415.0}))[-1] == "co2 415"


@pytest.mark.parametrize(
    ("value", "text"),
    [(6.675000190734863, "6.675"), (52.3, "52.3"), (0.1 + 0.2, "0.3"), (12.0, "12"), (1013.25, "1013.25")],
)
def test_a_number_is_what_the_device_meant(value: float, text: str) -> None:
    assert printing.number(value) == text


def test_away_from_a_terminal_each_step_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with printing.progress(Options()) as said:
        for share in (0.0, 0.5):
            said("listening at 9600 baud", share, "unit 3")
        said("asking as sps30")
    assert capsys.readouterr().err == "listening at 9600 baud …\nasking as sps30 …\n"
    with printing.progress(Options(quiet=True)) as said:
        said("listening")
    assert capsys.readouterr().err == ""


def test_a_wait_ends_with_what_it_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    with printing.waiting(Options(), "reading air-1, at most 1 min", 60.0):
        pass
    assert capsys.readouterr().err == "reading air-1, at most 1 min …\n"


def test_a_notice_is_shown_until_it_is_cured_and_said_once_each_time() -> None:
    said: list[tuple[str, str]] = []

    def log(level: str) -> Callable[..., None]:
        return lambda _event, **more: said.append((level, more["text"]))

    logger: Any = type(
        "Logger", (), {"info": staticmethod(log("info")), "warning": staticmethod(log("warning"))}
    )
    view = View("x-1", "sps30", 30.0, 0.0, simulated=False)
    nobody: Any = None
    sensing = Sensing(
        "x-1", Sensor(driver="sps30"), view, nobody, nobody, FakeClock(), logger, lambda *_: None
    )
    for _ in range(2):
        sensing.notice(Notice("fault", "the fan stands still"))
    sensing.notice(Notice("device", "serial 7"))
    assert view.as_dict(0.0)["notices"] == {"fault": "the fan stands still", "device": "serial 7"}
    assert view.as_dict(0.0)["facts"] == ["device"], "who it is, is nobody's task"
    sensing.notice(Notice("device", "serial 8"))
    assert view.as_dict(0.0)["facts"] == [], "another one is"
    for _ in range(2):
        sensing.notice(Notice("fault", "none any more", cured=True))
    assert "fault" not in view.notices
    assert said == [
        ("warning", "the fan stands still"),
        ("info", "serial 7"),
        ("warning", "serial 8"),
        ("info", "none any more"),
    ]
