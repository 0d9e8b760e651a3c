"""The commands that ask a running daemon, with an SDS011 on a real pty."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import tty
from typing import TYPE_CHECKING, Any

import pytest

from edgegw import control
from edgegw.problems import Exit, GatewayError
from edgegw.simulate.frames import sds011_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE_S = 60.0


class Talker:
    """An SDS011 on a pty that says 12.3 and 45.6 ten times a second."""

    def __init__(self) -> None:
        self._master, slave = os.openpty()
        tty.setraw(slave)
        self.port = os.ttyname(slave)
        self._slave = slave  # held open, so that frames before the daemon comes do not hang up the line
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._talk)
        self._thread.start()

    def _talk(self) -> None:
        os.set_blocking(self._master, False)
        while not self._stop.wait(0.1):
            with contextlib.suppress(BlockingIOError):
                os.write(self._master, sds011_frame(123, 456))

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        os.close(self._master)
        os.close(self._slave)


def edgegw(config: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgegw.cli", *map(str, arguments), "-c", str(config)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


def test_run_once_shows_what_each_sensor_says(tmp_path: Path) -> None:
    talker = Talker()
    file = tmp_path / "edgegw.toml"
    file.write_text(
        '[gateway]\nid = "box-1"\n'
        f'[sensor.air-1]\ndriver = "sds011"\nport = "{talker.port}"\nwarm_up_time = "0s"\n'
    )
    done = edgegw(file, "run", "--once", "--no-uplink")
    talker.close()
    assert done.returncode == Exit.DONE
    assert [line.split()[:4] for line in done.stdout.splitlines()[1:]] == [
        ["air-1", "pm2_5", "12.3", "ug/m3"],
        ["air-1", "pm10", "45.6", "ug/m3"],
    ]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The configuration of a daemon that runs and has accepted readings; the tests only look at it."""
    tmp_path = tmp_path_factory.mktemp("gateway")
    talker = Talker()
    file = tmp_path / "edgegw.toml"
    file.write_text(
        '[gateway]\nid = "box-1"\n[store]\npath = "store"\nrequire_persistent = false\n'
        'batch = { max_age = "100ms" }\n[control]\nsocket = "c.sock"\n'
        f'[sensor.air-1]\ndriver = "sds011"\nport = "{talker.port}"\ninterval = "all"\n'
        'stale_after = "60s"\nwarm_up_time = "0s"\n'
    )
    assert edgegw(file, "identity", "init").returncode == 0
    daemon = subprocess.Popen([sys.executable, "-m", "edgegw.cli", "run", "-c", str(file)])
    try:
        _until_it_measures(tmp_path / "c.sock", daemon)
        yield file
    finally:
        daemon.terminate()
        assert daemon.wait(PATIENCE_S) == 0
        talker.close()


def _until_it_measures(socket: Path, daemon: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and daemon.poll() is None:
        with contextlib.suppress(GatewayError):
            status: dict[str, Any] = control.request(socket, "status")
            if status["sensors"][0]["readings"] and status["log"]["size"] > 3:
                return
        threading.Event().wait(0.05)
    pytest.fail("the daemon does not measure")


def test_a_running_daemon_is_asked(config: Path) -> None:
    done = edgegw(config, "status", "--json")
    assert (done.returncode, done.stderr) == (Exit.DONE, "")
    found = json.loads(done.stdout)
    assert found["gateway"] == {"id": "box-1", "version": found["gateway"]["version"]}
    assert found["sensors"][0]["last"] == {"pm2_5": 12.3, "pm10": 45.6}
    six = edgegw(config)
    assert len(six.stdout.splitlines()) == 6
    assert "1 of 1 measuring" in six.stdout
    assert "air-1" in edgegw(config, "status").stdout


def test_sensors_are_listed_and_followed(config: Path) -> None:
    (sensor,) = json.loads(edgegw(config, "sensors", "list", "--json").stdout)
    assert (sensor["id"], sensor["driver"]) == ("air-1", "sds011")
    done = edgegw(config, "sensors", "tail", "air-1", "-n", 2, "--json")
    assert done.returncode == Exit.DONE
    items = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(item["quantity"], item["value"], item["unit"]) for item in items] == [
        ("pm2_5", 12.3, "ug/m3"),
        ("pm10", 45.6, "ug/m3"),
    ]
    assert "12.3 ug/m3" in edgegw(config, "sensors", "tail", "-n", 1).stdout
    assert edgegw(config, "sensors", "tail", "nobody").returncode == Exit.SENSOR


def test_one_sensor_is_shown_whole(config: Path) -> None:
    found = json.loads(edgegw(config, "sensors", "show", "air-1", "--json").stdout)
    assert found["last"] == {"pm2_5": 12.3, "pm10": 45.6}
    assert "pm2_5 12.3, pm10 45.6" in edgegw(config, "sensors", "show", "air-1").stdout
    unknown = edgegw(config, "sensors", "show", "nobody")
    assert unknown.returncode == Exit.SENSOR
    assert "there are air-1" in unknown.stderr


def test_a_sensor_is_tested_with_the_port_that_the_daemon_lends_and_nothing_of_it_is_stored(
    config: Path,
) -> None:
    socket = config.parent / "c.sock"
    with control.held(socket, "lend", sensor="air-1") as item:
        assert item == {"paused": ["air-1"]}
        assert control.request(socket, "status")["sensors"][0]["state"] == "paused"
        busy = edgegw(config, "sensors", "test", "air-1")
        assert busy.returncode == Exit.SENSOR
        assert "lent to another command" in busy.stderr
    _until(lambda: control.request(socket, "status")["sensors"][0]["state"] != "paused")
    done = edgegw(config, "sensors", "test", "air-1", "--json")
    assert done.returncode == Exit.DONE
    found = json.loads(done.stdout)
    assert (found["paused"], found["stored"]) == (["air-1"], False)
    assert [(each["quantity"], each["value"]) for each in found["readings"]] == [
        ("pm2_5", 12.3),
        ("pm10", 45.6),
    ]
    before = control.request(socket, "status")["sensors"][0]["readings"]
    _until(lambda: control.request(socket, "status")["sensors"][0]["readings"] > before)


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)


def test_the_spool_of_a_running_daemon_is_inspected_and_verified(config: Path) -> None:
    assert json.loads(edgegw(config, "spool", "stats", "--json").stdout)["log"]["size"] > 3
    line = edgegw(config, "spool", "inspect", "--from", 0, "-n", 1, "--json").stdout.splitlines()[0]
    assert json.loads(line)["records"][0]["name"] == "urn:dev:ops:32473-box-1:_gateway:start"
    done = edgegw(config, "spool", "verify", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == Exit.DONE
    assert report["signed"] == report["proven"] == report["end"] > 3


def test_the_daemon_that_run_starts_carries_no_library_of_the_command_line(config: Path) -> None:
    # `run` puts the daemon in the place of the command: no child, and nothing of typer or rich mapped or open.
    import re
    from pathlib import Path as Real

    found = [
        process
        for process in Real("/proc").glob("[0-9]*")
        if str(config).encode() in _command_line(process) and b"edgegw.daemon" in _command_line(process)
    ]
    assert len(found) == 1
    assert not re.search(r"site-packages/(typer|rich)", (found[0] / "maps").read_text())


def _command_line(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:  # it ended meanwhile
        return b""
