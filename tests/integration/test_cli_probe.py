"""Finding out which device is on a port, as a technician does, with devices on real wires."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tty
from typing import TYPE_CHECKING, Any

import pytest
from modbus_device import Device, SerialDevices, holding

from edgegw import config
from edgegw.probe.find import target
from edgegw.problems import Exit
from edgegw.simulate import scenario
from edgegw.simulate.model import VirtualSensor
from edgegw.simulate.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE_S = 180.0


def edgegw(*arguments: object, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgegw.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        env=environment,
    )


@pytest.fixture
def silent() -> Iterator[str]:
    """A port on which nobody says anything."""
    master, slave = os.openpty()
    tty.setraw(slave)
    yield os.ttyname(slave)
    os.close(master)
    os.close(slave)


@pytest.mark.parametrize(
    ("model", "driver", "baudrate"), [("sds011", "sds011", 9600), ("ld2450", "ld2450", 256_000)]
)
def test_a_talker_is_recognised_by_listening_and_becomes_a_sensor(
    tmp_path: Path, model: str, driver: str, baudrate: int
) -> None:
    file = tmp_path / "edgegw.toml"
    file.write_text('[gateway]\nid = "box-1"\n')
    with Stage(tmp_path, scenario.load("city-night"), sensors=[VirtualSensor("x-1", model, 0.1)]) as stage:
        port = stage.addresses["x-1"]
        done = edgegw("sensors", "probe", port, "--listen", "--write", "new-1", "--json", "-c", file)
        assert stage.received("x-1") == 0
    assert done.returncode == Exit.DONE, done.stderr
    best: dict[str, Any] = json.loads(done.stdout)[0]
    assert (best["driver"], best["sure"]) == (driver, "sure")
    assert best["line"] == f"{baudrate} 8N1"
    sensor = config.load(file).sensor["new-1"]
    assert (sensor.driver, str(sensor.port)) == (driver, port)


def test_a_silent_port_is_said_to_be_silent_and_no_byte_goes_out_when_only_listening(silent: str) -> None:
    done = edgegw("sensors", "probe", silent, "--listen", "--driver", "sds011")
    assert done.returncode == Exit.SENSOR
    assert f"no driver recognises what is on {silent}" in done.stderr


def test_the_port_of_a_configured_sensor_is_not_probed(tmp_path: Path, silent: str) -> None:
    file = tmp_path / "edgegw.toml"
    file.write_text(f'[gateway]\nid = "box-1"\n[sensor.air-1]\ndriver = "sds011"\nport = "{silent}"\n')
    done = edgegw("sensors", "probe", silent, "-c", file)
    assert done.returncode == Exit.SENSOR
    assert "edgegw sensors test air-1" in done.stderr


def test_a_port_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    done = edgegw("sensors", "probe", tmp_path / "ttyUSB9", "--listen")
    assert done.returncode == Exit.SENSOR
    assert "ttyUSB9 is not there" in done.stderr


def test_a_drop_in_that_exists_is_never_replaced(tmp_path: Path) -> None:
    file = tmp_path / "edgegw.toml"
    file.write_text('[gateway]\nid = "box-1"\n')
    (tmp_path / "conf.d").mkdir()
    kept = tmp_path / "conf.d" / "new-1.toml"
    kept.write_text("# mine\n")
    with Stage(tmp_path, scenario.load("city-night"), sensors=[VirtualSensor("x-1", "sds011", 0.1)]) as stage:
        port = stage.addresses["x-1"]
        done = edgegw(
            "sensors", "probe", port, "--listen", "--driver", "sds011", "--write", "new-1", "-c", file
        )
    assert done.returncode == Exit.REFUSED
    assert kept.read_text() == "# mine\n"


def test_scan_lists_the_ports_of_the_machine_without_a_configuration() -> None:
    done = edgegw("sensors", "scan", "--json")
    assert done.returncode == Exit.DONE
    found = json.loads(done.stdout)
    for port in found["serial"]:
        assert set(port) == {"name", "device", "what", "sensors"}


def probed(tmp_path: Path, model: str, *more: object) -> list[dict[str, Any]]:
    """What `sensors probe` makes of a virtual device; it says nothing but the guesses."""
    street = [VirtualSensor("x-1", model, 0.3)]
    with Stage(tmp_path, scenario.load("city-night"), sensors=street) as stage:
        environment = {**os.environ, **stage.environment}
        done = edgegw("sensors", "probe", stage.addresses["x-1"], "--json", *more, environment=environment)
    assert done.returncode == Exit.DONE, done.stderr
    guesses: list[dict[str, Any]] = json.loads(done.stdout)
    return guesses


def test_a_device_that_waits_for_questions_is_asked_as_its_driver_asks(tmp_path: Path) -> None:
    best = probed(tmp_path, "mh-z19", "--driver", "winsen")[0]
    assert (best["driver"], best["options"], best["sure"]) == ("winsen", {"model": "mhz19"}, "sure")
    assert best["readings"][0]["quantity"] == "co2"


def test_a_device_that_must_be_started_is_recognised_and_not_started(tmp_path: Path) -> None:
    best = probed(tmp_path, "sps30", "--driver", "sps30")[0]
    assert (best["driver"], best["sure"], best["readings"]) == ("sps30", "likely", [])
    assert "0x43" in best["about"]
    assert "allow_setup" in best["notices"][0]


def test_a_modbus_device_is_found_with_its_profile_line_and_unit(tmp_path: Path) -> None:
    best, *others = probed(tmp_path, "renke-rtu", "--driver", "modbus")
    assert others == [], "it told its own address, as only this maker's devices do"
    assert (best["options"], best["sure"]) == ({"profile": "renke-noise"}, "sure")
    assert (best["line"], best["unit"]) == ("9600 8N1", 1)


def test_a_modbus_host_is_found_with_its_profile(tmp_path: Path) -> None:
    best = probed(tmp_path, "weather-station")[0]
    assert (best["driver"], best["options"]) == ("modbus", {"profile": "weather-station"})
    assert {each["quantity"] for each in best["readings"]} > {"temperature", "wind_speed"}


def test_a_web_device_is_recognised_by_its_document(tmp_path: Path) -> None:
    best = probed(tmp_path, "airgradient")[0]
    assert best["driver"] == "json_http"
    assert best["options"]["map"] == "airgradient"
    assert best["sure"] == "sure"


def test_a_meter_with_a_raw_tcp_port_is_asked_as_its_driver_asks(tmp_path: Path) -> None:
    best = probed(tmp_path, "rion-nl53", "--driver", "ascii_slm", "-o", "model=rion-nl43")[0]
    assert (best["driver"], best["sure"], best["line"]) == ("ascii_slm", "sure", None)
    assert 'host = "127.0.0.1:' in best["toml"]


@pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed")
def test_a_camera_is_found_on_the_broker_of_the_site(tmp_path: Path) -> None:
    best = probed(tmp_path, "axis-camera")[0]
    assert best["driver"] == "json_mqtt"
    assert best["options"]["map"] == "axis-object-analytics"
    assert best["options"]["topic"].startswith("axis/")


def test_what_is_shown_is_what_would_be_written_and_the_next_command_is_said(tmp_path: Path) -> None:
    file = tmp_path / "edgegw.toml"
    file.write_text('[gateway]\nid = "box-1"\n')
    with Stage(tmp_path, scenario.load("city-night"), sensors=[VirtualSensor("x-1", "sds011", 0.1)]) as stage:
        port = stage.addresses["x-1"]
        probe = ("sensors", "probe", port, "--driver", "sds011", "-c", file)
        shown = edgegw(*probe)
        written = edgegw(*probe, "--write", "air-1")
    assert '[sensor.ID]\ndriver = "sds011"\n' in shown.stdout
    assert "--write ID" in shown.stderr
    # The port's name is as long as this machine makes it.
    assert max(len(line.replace(port, "/dev/x")) for line in shown.stdout.splitlines()) <= 80
    assert written.returncode == Exit.DONE, written.stderr
    assert [line.strip() for line in written.stderr.splitlines()[-3:]] == [
        "next: edgegw check",
        "systemctl reload edgegw",
        "edgegw sensors test air-1",
    ]


def test_an_id_that_cannot_be_is_refused_before_anything_is_searched(tmp_path: Path) -> None:
    done = edgegw("sensors", "probe", tmp_path / "ttyUSB9", "--write", "Air 1")
    assert done.returncode == Exit.USAGE
    assert "lower-case letters" in done.stderr


def test_devices_of_one_line_get_a_drop_in_each(tmp_path: Path) -> None:
    file = tmp_path / "edgegw.toml"
    file.write_text('[gateway]\nid = "box-1"\n')
    line = SerialDevices({})
    line.devices[1] = Device(holding(713) | holding(1, 1, start=0x07D0))
    line.devices[2] = Device(holding(624) | holding(2, 1, start=0x07D0))
    try:
        narrow = ("--unit", 1, "--unit", 2, "-o", "profile=renke-noise")
        probe = ("sensors", "probe", line.path, "--driver", "modbus", *narrow, "-c", file)
        done = edgegw(*probe, "--write", "sound")
    finally:
        line.stop()
    assert done.returncode == Exit.DONE, done.stderr
    assert "2 devices are on this line" in done.stderr
    sensors = config.load(file).sensor
    assert {name: sensor.unit for name, sensor in sensors.items()} == {"sound-1": 1, "sound-2": 2}


def test_where_only_a_person_can_tell_the_profile_nothing_is_written_until_they_do(tmp_path: Path) -> None:
    file = tmp_path / "edgegw.toml"
    file.write_text('[gateway]\nid = "box-1"\n')
    with Stage(tmp_path, scenario.load("city-night"), sensors=[VirtualSensor("x-1", "renke-tcp")]) as stage:
        probe = ("sensors", "probe", stage.addresses["x-1"], "--unit", 1, "--write", "sound-1", "-c", file)
        open_ = edgegw(*probe)
        decided = edgegw(*probe, "-o", "profile=renke-noise")
    assert open_.returncode == Exit.USAGE
    assert "--unit 1 -o profile=renke-noise --write sound-1" in open_.stderr
    assert decided.returncode == Exit.DONE, decided.stderr
    assert config.load(file).sensor["sound-1"].options["profile"] == "renke-noise"


def test_a_device_that_must_be_started_says_so_when_it_is_tested_and_speaks_once_it_may_be(
    tmp_path: Path,
) -> None:
    file = tmp_path / "edgegw.toml"
    file.write_text('[gateway]\nid = "box-1"\n[control]\nsocket = "none.sock"\n')
    with Stage(tmp_path, scenario.load("city-night"), sensors=[VirtualSensor("x-1", "sps30")]) as stage:
        probe = ("sensors", "probe", stage.addresses["x-1"], "--driver", "sps30", "-c", file)
        shown = edgegw(*probe)
        assert "--write ID --allow-setup" in shown.stderr
        written = edgegw(*probe, "--write", "dust-1")
        assert written.returncode == Exit.DONE, written.stderr
        silent = edgegw("sensors", "test", "dust-1", "--wait", "4s", "-c", file)
        drop_in = tmp_path / "conf.d" / "dust-1.toml"
        drop_in.write_text(drop_in.read_text().replace("# allow_setup = true", "allow_setup = true"))
        speaks = edgegw("sensors", "test", "dust-1", "--wait", "60s", "-c", file)
    assert silent.returncode == Exit.SENSOR
    assert "write allow_setup = true into [sensor.dust-1]" in silent.stderr
    assert speaks.returncode == Exit.DONE, speaks.stderr
    assert "pm2_5" in speaks.stdout


def test_a_device_that_posts_is_heard_by_the_test_itself_or_it_is_said_what_is_missing(
    tmp_path: Path,
) -> None:
    file = tmp_path / "edgegw.toml"
    file.write_text(
        '[gateway]\nid = "box-1"\n[control]\nsocket = "none.sock"\n'
        '[sensor.gate]\ndriver = "json_http"\nmap = "airgradient"\n'
    )
    deaf = edgegw("sensors", "test", "gate", "--wait", "2s", "-c", file)
    assert deaf.returncode == Exit.SENSOR
    assert "[endpoint] listen" in deaf.stderr


@pytest.mark.skipif(shutil.which("dbus-daemon") is None, reason="dbus-daemon is not installed")
def test_an_encrypted_tag_says_where_its_key_goes(tmp_path: Path) -> None:
    file = tmp_path / "edgegw.toml"
    file.write_text('[gateway]\nid = "box-1"\n')
    street = [VirtualSensor("x-1", "bthome-encrypted", 0.3)]
    with Stage(tmp_path, scenario.load("city-night"), sensors=street) as stage:
        environment = {**os.environ, **stage.environment}
        address = stage.addresses["x-1"]
        done = edgegw("sensors", "probe", address, "--write", "tag-1", "-c", file, environment=environment)
        unread = edgegw("sensors", "test", "tag-1", "--wait", "2s", "-c", file, environment=environment)
    assert done.returncode == Exit.DONE, done.stderr
    assert "32 hexadecimal digits, into" in done.stderr
    assert "chmod 0600" in done.stderr
    assert unread.returncode == Exit.SENSOR
    assert "tag-1.key" in unread.stderr, "the test says which file is missing"


@pytest.mark.skipif(shutil.which("dbus-daemon") is None, reason="dbus-daemon is not installed")
def test_a_tag_is_recognised_by_what_it_advertises(tmp_path: Path) -> None:
    best = probed(tmp_path, "ruuvi")[0]
    assert (best["driver"], best["sure"]) == ("ruuvi", "sure")


@pytest.mark.skipif(shutil.which("dbus-daemon") is None, reason="dbus-daemon is not installed")
def test_scan_hears_tags_and_says_what_reads_them(tmp_path: Path) -> None:
    street = [VirtualSensor("x-1", "bthome", 0.3), VirtualSensor("x-2", "bthome-encrypted", 0.3)]
    with Stage(tmp_path, scenario.load("city-night"), sensors=street) as stage:
        environment = {**os.environ, **stage.environment}
        done = edgegw("sensors", "scan", "--json", environment=environment)
        addresses = stage.addresses
    heard = {each["address"]: each["guesses"][0] for each in json.loads(done.stdout)["bluetooth"]}
    assert heard[addresses["x-1"]]["sure"] == "sure"
    assert "key" in heard[addresses["x-2"]]["about"]


def test_scan_asks_a_named_network_for_documents(tmp_path: Path) -> None:
    # Nobody serves HTTP on port 80 of this address of the loopback.
    done = edgegw("sensors", "scan", "--json", "--no-bluetooth", "--network", "127.7.7.7/32")
    assert json.loads(done.stdout)["network"] == []
    wide = edgegw("sensors", "scan", "--no-bluetooth", "--network", "10.0.0.0/8")
    assert wide.returncode == Exit.USAGE
    assert "more than 256" in wide.stderr
    del tmp_path


@pytest.mark.parametrize(
    ("text", "kind", "keys"),
    [
        ("/dev/ttyUSB0", "serial", {"port": "/dev/ttyUSB0"}),
        ("10.0.0.5:502", "host", {"host": "10.0.0.5:502"}),
        ("[fd00::5]:502", "host", {"host": "[fd00::5]:502"}),
        ("http://10.0.0.7", "url", {}),
        ("mqtt://10.0.0.2:1883", "broker", {}),
        ("plughw:CARD=Device,DEV=0", "sound", {}),
        ("microphone", "sound", {}),
        ("aa:bb:cc:dd:ee:ff", "bluetooth", {}),
    ],
)
def test_what_is_probed_is_known_by_its_form(text: str, kind: str, keys: dict[str, str]) -> None:
    found = target(text)
    assert (found.kind, dict(found.keys)) == (kind, keys)
