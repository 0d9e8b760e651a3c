"""What is made of a found device: its drop-in, its stable name, what it is on a sound card or a broker."""

from __future__ import annotations

import asyncio
import json
import tomllib
from typing import TYPE_CHECKING, Any

from edgegw import config
from edgegw.driver import SerialLine
from edgegw.probe import broker, dropin, ports, sound
from edgegw.probe.candidates import Wish
from edgegw.probe.find import target
from edgegw.probe.guess import Guess, Sureness, devices
from edgegw.probe.progress import timed
from edgegw.reading import QUANTITIES, Reading

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def guess(driver: str = "sds011", unit: int | None = None, **rest: Any) -> Guess:
    given = {"options": {}, "sureness": Sureness.SURE, "about": "3 good frames", **rest}
    return Guess(driver, unit=unit, **given)


def drop_in(tmp_path: Path, found: Guess, *others: Guess, setup: bool = False) -> tuple[str, Any]:
    """The text of a drop-in and the sensor that the gateway reads from it."""
    file = tmp_path / "x.toml"
    where = {} if "address" in found.options else {"port": "/dev/ttyUSB0"}
    file.write_text(dropin.text("x-1", where, found, others, setup=setup))
    return file.read_text(), config.load(file, {}, role="drop-in").sensor["x-1"]


def test_a_drop_in_says_what_was_found_and_holds_the_interval(tmp_path: Path) -> None:
    value = Reading(QUANTITIES["pm2_5"], 8.5)
    text, sensor = drop_in(tmp_path, guess(sample={"pm2_5": value}))
    assert text.startswith("# sds011 (sure): 3 good frames.\n# It said pm2_5 8.5 ug/m3.\n[sensor.x-1]\n")
    assert (sensor.driver, str(sensor.port), sensor.interval) == ("sds011", "/dev/ttyUSB0", 10.0)
    assert '# mode = "listen"' in text, "every other option of the driver, with its default"
    assert '# site = "Pole 17"' in text
    assert max(map(len, text.splitlines())) <= 80


def test_what_a_device_says_of_itself_stays_inside_the_comments(tmp_path: Path) -> None:
    evil = 'x\n[sensor.evil]\ndriver = "sds011"\n'
    _, sensor = drop_in(tmp_path, guess(about=evil, notices=(evil, "\x1b[2J")))
    assert sensor.driver == "sds011"
    assert list(tomllib.loads((tmp_path / "x.toml").read_text())["sensor"]) == ["x-1"]
    assert "\x1b" not in (tmp_path / "x.toml").read_text()


def test_a_device_that_wants_to_be_started_is_started_only_when_somebody_says_so(tmp_path: Path) -> None:
    found = guess("sps30", notices=("it does not measure; with allow_setup = true the gateway starts it",))
    text, sensor = drop_in(tmp_path, found)
    assert not sensor.allow_setup
    assert "# allow_setup = true" in text
    _, sensor = drop_in(tmp_path, found, setup=True)
    assert sensor.allow_setup


def test_an_encrypted_device_gets_a_reference_to_its_key(tmp_path: Path) -> None:
    found = guess("bthome", options={"address": "AA:BB:CC:DD:EE:FF"}, secret="key")
    text, sensor = drop_in(tmp_path, found)
    assert 'key = "file:x-1.key"' in text
    assert sensor.options["address"] == "AA:BB:CC:DD:EE:FF"


def test_profiles_that_fit_too_stand_there_with_what_they_would_say(tmp_path: Path) -> None:
    best = guess("modbus", 1, options={"profile": "xy-md02"})
    other = guess(
        "modbus",
        1,
        options={"profile": "rs485-th"},
        sample={"temperature": Reading(QUANTITIES["temperature"], 76.0)},
    )
    text, sensor = drop_in(tmp_path, best, other)
    assert sensor.options["profile"] == "xy-md02"
    assert '## Fits too, and then says temperature 76 Cel:\n# profile = "rs485-th"\n' in text


def test_each_unit_of_a_line_is_a_device_and_the_best_guess_stands_for_it() -> None:
    line = SerialLine(9600)
    first, second = guess("modbus", 3, line=line), guess("modbus", 1, line=line)
    also = guess("modbus", 3, sureness=Sureness.POSSIBLE)
    assert devices([first, second, also]) == [second, first]
    assert devices([guess(), guess("ld2450")]) == [guess()], "guesses without a unit are of one device"
    assert devices([]) == []


def test_a_wish_narrows_by_driver_and_by_options() -> None:
    assert Wish().fits("modbus", {"profile": "a"})
    assert not Wish(driver="sds011").fits("modbus", {})
    assert Wish(options={"profile": "a"}).fits("modbus", {"profile": "a"})
    assert not Wish(options={"profile": "a"}).fits("modbus", {"profile": "b"})


def test_the_kernels_name_becomes_the_one_that_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path / "ttyUSB0"
    device.touch()
    named = tmp_path / "by-id" / "usb-Maker_Adapter_0001-if00-port0"
    named.parent.mkdir()
    named.symlink_to(device)
    monkeypatch.setattr(ports, "BY_ID", named.parent)
    monkeypatch.setattr(ports, "BY_PATH", tmp_path / "nothing")
    assert ports.stable_name(str(device)) == str(named)
    assert target(str(device)).keys == {"port": str(named)}
    assert ports.stable_name(str(named)) == str(named)
    assert ports.stable_name(str(tmp_path / "ttyS0")) == str(tmp_path / "ttyS0"), "no name, nothing to change"


def test_sound_cards_that_record_are_listed_with_their_sensors(tmp_path: Path) -> None:
    cards, streams = tmp_path / "cards", tmp_path / "pcm"
    cards.write_text(
        " 0 [vc4hdmi        ]: vc4-hdmi - vc4-hdmi\n                      vc4-hdmi\n"
        " 1 [Device         ]: USB-Audio - USB PnP Sound Device\n                      C-Media at usb-1\n"
    )
    streams.write_text(
        "00-00: MAI PCM i2s-hifi-0 : MAI PCM i2s-hifi-0 : playback 1\n"
        "01-00: USB Audio : USB Audio : playback 1 : capture 1\n"
    )
    ear = config.Sensor(driver="alsa_slm", options={"device": "hw:CARD=Device,DEV=0"})
    assert sound.sound_cards({"mic-1": ear}, cards, streams) == [
        ("plughw:CARD=Device", "USB PnP Sound Device", ("mic-1",))
    ]
    assert sound.sound_cards({}, tmp_path / "none", streams) == [], "a machine without sound"


def test_what_is_published_is_recognised_by_its_content_topic_by_topic() -> None:
    document = json.dumps({"pm02": 7, "rco2": 410, "atmp": 6.6, "rhum": 43, "serialno": "84fce612f5b8"})
    heard = {"home/light": [b"on", b'{"on": true}'], "air/1": [document.encode()]}
    found = broker.recognised("mqtt://10.0.0.2", heard)
    assert {each.options["topic"] for each in found} == {"air/1"}
    assert found[0].options["map"] == "airgradient"
    assert found[0].sample["co2"].value == 410
    assert broker.recognised("mqtt://10.0.0.2", heard, Wish(options={"map": "xovis"})) == []


async def test_a_wait_is_told_while_it_lasts_and_no_longer() -> None:
    told: list[tuple[str, float]] = []
    first = asyncio.Event()

    def said(text: str, share: float = 0.0, detail: str = "") -> None:
        del detail
        told.append((text, share))
        first.set()

    async with timed(said, "listening", 60.0):
        await first.wait()
    assert told[0][0] == "listening"
    assert 0 <= told[0][1] <= 1
    assert len(asyncio.all_tasks()) == 1
