"""Finding out which device is on a port, as a technician does, with devices on real wires."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tty
from typing import TYPE_CHECKING, Any

import pytest

from edgegw import config
from edgegw.problems import Exit
from edgegw.simulate import scenario
from edgegw.simulate.model import VirtualSensor
from edgegw.simulate.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE_S = 180.0


def edgegw(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgegw.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
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
    done = edgegw("sensors", "probe", silent, "--listen")
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
        done = edgegw("sensors", "probe", port, "--listen", "--write", "new-1", "-c", file)
    assert done.returncode == Exit.REFUSED
    assert kept.read_text() == "# mine\n"


def test_scan_lists_the_ports_of_the_machine_without_a_configuration() -> None:
    done = edgegw("sensors", "scan", "--json")
    assert done.returncode == Exit.DONE
    found = json.loads(done.stdout)
    for port in found["serial"]:
        assert set(port) == {"name", "device", "what", "sensors"}
