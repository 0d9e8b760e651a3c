"""`edgegw simulate` in life: the real daemon reads virtual sensors, marks what it stores, and everything ends."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgegw.simulate.simulation import Options, Simulation
from edgegw.wire import cose, log

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE_S = 120.0
RUN = """
import sys
from pathlib import Path
from edgegw.problems import GatewayError
from edgegw.simulate.run import Options, simulate
try:
    code = simulate(Options(Path(sys.argv[1]), **eval(sys.argv[2])))
except GatewayError as error:
    print(error.text(), file=sys.stderr)
    code = error.exit_code
sys.exit(code)
"""
needs_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin") is None,
    reason="mosquitto is not installed",
)


def start(directory: Path, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(directory), repr(options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    return process.returncode, out, err


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    pause = threading.Event()
    while not true():
        assert time.monotonic() < deadline, "not within the deadline"
        pause.wait(0.05)


def programs_in(directory: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            found += [line] if str(directory) in line else []
    return found


def test_once_reads_every_virtual_sensor_through_the_real_daemon(tmp_path: Path) -> None:
    code, out, err = finish(start(tmp_path, once=True, broker=False, numbered=True))
    assert code == 0, err
    said = {line.split()[0]: line for line in out.splitlines() if line.split()[0][-2:] in {"-1", "-2"}}
    assert "pm2_5" in said["air-1"]
    assert "la_sampled 30" in said["sound-1"]
    assert "la_sampled 30" in said["sound-2"]
    assert "targets" in said["flow-1"]
    assert f"edgegw -c {tmp_path / 'edgegw.toml'} status" in out
    assert not programs_in(tmp_path)


def test_what_is_stored_carries_the_mark_of_a_simulation(tmp_path: Path) -> None:
    finish(start(tmp_path, once=True, broker=False, numbered=True))
    with closing(sqlite3.connect(tmp_path / "store" / "edgegw.db")) as db:
        messages = [
            message for (message,) in db.execute("SELECT message FROM batch UNION SELECT message FROM head")
        ]
    assert messages
    assert {log.private(cose.parse(message)).get(log.SIMULATED) for message in messages} == {1}


def test_a_second_run_in_the_same_directory_goes_on_with_the_same_log(tmp_path: Path) -> None:
    sizes = []
    for _ in range(2):
        assert finish(start(tmp_path, once=True, broker=False, numbered=True))[0] == 0
        with closing(sqlite3.connect(tmp_path / "store" / "edgegw.db")) as db:
            sizes.append(db.execute("SELECT max(first + count) FROM batch").fetchone()[0])
    assert sizes[1] > sizes[0] > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything(tmp_path: Path, number: signal.Signals) -> None:
    process = start(tmp_path, broker=False)
    assert process.stdout is not None
    while "Ctrl-C" not in process.stdout.readline():
        assert process.poll() is None
    assert len(programs_in(tmp_path)) == 2
    process.send_signal(number)
    code, _, err = finish(process)
    assert code == 130
    assert err == "stopped\n"
    assert not programs_in(tmp_path)
    assert not list((tmp_path / "dev").iterdir())


def test_a_gateway_that_dies_ends_the_simulation_with_its_last_words(tmp_path: Path) -> None:
    simulation = Simulation(Options(tmp_path, broker=False))
    with simulation:
        simulation.check()
        simulation.gateway.kill()
        with pytest.raises(Exception, match="the gateway has ended"):
            simulation.check()


@needs_mosquitto
def test_the_script_takes_the_link_away_and_brings_it_back(tmp_path: Path) -> None:
    options = Options(tmp_path, broker=True, faults=("link-down@8s+4s",))
    with Simulation(options) as simulation:
        done: list[str] = []

        def follow(word: str) -> Callable[[], bool]:
            def look() -> bool:
                simulation.check()
                done.append(simulation.follow_script())
                return word in done

            return look

        eventually(follow("link down"))
        eventually(lambda: simulation.status()["link"]["state"] != "online")
        eventually(follow("link up again"))
        eventually(lambda: simulation.status()["link"]["state"] == "online")
        size = simulation.status()["log"]["size"]
        eventually(lambda: simulation.status()["log"]["receipted"] > size)
    assert not programs_in(tmp_path)
