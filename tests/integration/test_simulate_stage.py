"""Virtual sensors on real wires: pyserial, libmodbus and plain sockets at the other end."""

from __future__ import annotations

import itertools
import json
import shutil
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import serial

from edgegw.simulate import scenario
from edgegw.simulate.faults import Fault, FaultKind, Faults, spoken
from edgegw.simulate.modbus_slave import crc
from edgegw.simulate.model import VirtualSensor
from edgegw.simulate.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

DEADLINE_S = 20.0
QUESTION = bytes.fromhex("010300000001840a")


def stage(directory: Path, sensors: Sequence[VirtualSensor], *faults: Fault, numbered: bool = True) -> Stage:
    script = scenario.load("city-night")
    return Stage(directory, script, sensors=sensors, faults=Faults(extra=faults), numbered=numbered)


def air(period_s: float = 0.02) -> VirtualSensor:
    return VirtualSensor("air-1", "sds011", period_s)


def ledger(directory: Path, sensor: str) -> list[dict[str, Any]]:
    book = directory / "ledger" / f"{sensor}.jsonl"
    # The sensor may be in the middle of its last line.
    lines = book.read_text().splitlines(keepends=True) if book.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def fates_of(directory: Path, sensor: str) -> list[str]:
    return [entry["fate"] for entry in ledger(directory, sensor)]


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    pause = threading.Event()
    while not true():
        assert time.monotonic() < deadline, "not within the deadline"
        pause.wait(0.01)


def open_line(path: str, baudrate: int = 9600) -> serial.Serial:
    return serial.Serial(path, baudrate, timeout=DEADLINE_S, write_timeout=DEADLINE_S, exclusive=True)


def hung_up(read: Callable[[], bytes]) -> bool:
    """Whether the other side ends the line instead of sending something."""
    try:
        return read() == b""
    except (ConnectionResetError, serial.SerialException):
        return True


def ask_tcp(line: socket.socket, pdu: bytes, unit: int = 1) -> bytes:
    line.sendall(b"\0\7\0\0" + (len(pdu) + 1).to_bytes(2) + bytes([unit]) + pdu)
    header = line.recv(7, socket.MSG_WAITALL)
    assert header[:4] == b"\0\7\0\0"
    return line.recv(int.from_bytes(header[4:6]) - 1, socket.MSG_WAITALL)


def test_a_talkers_frames_arrive_whole_and_its_ledger_says_what_they_carry(tmp_path: Path) -> None:
    with stage(tmp_path, [air()]) as sensors:
        assert sensors.addresses == {"air-1": str(tmp_path / "dev" / "air-1")}
        with open_line(sensors.addresses["air-1"]) as line:
            heard = [line.read(10) for _ in range(50)]
    assert all(frame[:2] == b"\xaa\xc0" and frame[-1:] == b"\xab" for frame in heard)
    sent = [entry["values"] for entry in ledger(tmp_path, "air-1") if entry["fate"] == "sent"]
    values = [
        {"pm2_5": int.from_bytes(f[2:4], "little") / 10, "pm10": int.from_bytes(f[4:6], "little") / 10}
        for f in heard
    ]
    start = sent.index(values[0])
    assert start < 5
    assert values == sent[start : start + 50]


def test_what_nobody_listens_to_is_in_the_ledger_as_unheard(tmp_path: Path) -> None:
    with stage(tmp_path, [air()]) as sensors:
        eventually(lambda: len(ledger(tmp_path, "air-1")) > 5)
        with open_line(sensors.addresses["air-1"]) as line:
            line.read(10)
        # What was read is noted after it was written: wait for that note first, then for the silence behind it.
        eventually(lambda: "sent" in fates_of(tmp_path, "air-1"))
        eventually(lambda: fates_of(tmp_path, "air-1")[-1] == "unheard")
    fates = fates_of(tmp_path, "air-1")
    assert fates[:5] == ["unheard"] * 5


def test_a_reader_that_sleeps_costs_frames_and_never_the_sensor(tmp_path: Path) -> None:
    # 10 bytes each 0.2 ms fill a pty's buffer of 16 KiB; the sensor talks on.
    with stage(tmp_path, [air(0.0002)]) as sensors, open_line(sensors.addresses["air-1"]) as line:
        eventually(lambda: any(entry["fate"] == "unheard" for entry in ledger(tmp_path, "air-1")[1000:]))
        line.reset_input_buffer()
        before = len(ledger(tmp_path, "air-1"))
        assert len(line.read(100)) == 100
        eventually(lambda: len(ledger(tmp_path, "air-1")) > before)


def test_a_talker_counts_what_was_sent_to_it(tmp_path: Path) -> None:
    with stage(tmp_path, [air()]) as sensors, open_line(sensors.addresses["air-1"]) as line:
        line.write(b"hello")
        eventually(lambda: sensors.received("air-1") == 5)


def test_the_radar_talks_at_its_own_speed_on_its_own_line(tmp_path: Path) -> None:
    radar = VirtualSensor("flow-1", "ld2450", 0.02)
    with stage(tmp_path, [radar], numbered=False) as sensors:
        with open_line(sensors.addresses["flow-1"], 256_000) as line:
            frames = [line.read(30) for _ in range(20)]
        assert sensors.passed() >= (0, 0)
    assert all(frame[:4] == b"\xaa\xff\x03\x00" and frame[-2:] == b"\x55\xcc" for frame in frames)
    assert not (tmp_path / "ledger").exists()


@pytest.mark.skipif(shutil.which("mbpoll") is None, reason="mbpoll is not installed")
def test_an_independent_master_reads_the_transmitter_over_rtu(tmp_path: Path) -> None:
    with stage(tmp_path, [VirtualSensor("sound-1", "renke-rtu")]) as sensors:
        port = sensors.addresses["sound-1"]
        options = ["-m", "rtu", "-a", "1", "-b", "9600", "-P", "none", "-t", "4", "-0", "-r", "0", "-1", "-q"]
        done = subprocess.run(
            ["mbpoll", *options, port], capture_output=True, text=True, timeout=20, check=True
        )
    assert "[0]: \t300" in done.stdout


def test_each_answer_gets_the_next_number_and_other_registers_get_none(tmp_path: Path) -> None:
    with stage(tmp_path, [VirtualSensor("sound-1", "renke-rtu")]) as sensors:
        with open_line(sensors.addresses["sound-1"]) as line:
            levels = []
            for _ in range(3):
                line.write(QUESTION)
                levels.append(int.from_bytes(line.read(7)[3:5]))
            line.write(bytes.fromhex("ff0307d00002d158"))
            assert line.read(9).hex() == "01030400010002" + crc(bytes.fromhex("01030400010002")).hex()
        assert levels == [300, 301, 302]
        said = [(entry["number"], entry["values"]) for entry in ledger(tmp_path, "sound-1")]
    assert said == [(0, {"la_sampled": 30.0}), (1, {"la_sampled": 30.1}), (2, {"la_sampled": 30.2})]


def test_the_transmitter_answers_over_tcp_and_is_silent_for_other_units(tmp_path: Path) -> None:
    with stage(tmp_path, [VirtualSensor("sound-2", "renke-tcp")]) as sensors:
        host, port = sensors.addresses["sound-2"].split(":")
        with socket.create_connection((host, int(port)), DEADLINE_S) as line:
            line.sendall(bytes.fromhex("000100000006090300000001"))  # unit 9: nobody there
            assert ask_tcp(line, bytes.fromhex("0300000001")).hex() == "0302012c"
            assert ask_tcp(line, bytes.fromhex("0600000001")).hex() == "8601"


def test_a_master_that_speaks_nonsense_is_hung_up_on_and_the_next_one_is_served(tmp_path: Path) -> None:
    with stage(tmp_path, [VirtualSensor("sound-2", "renke-tcp")]) as sensors:
        address = ("127.0.0.1", int(sensors.addresses["sound-2"].split(":")[1]))
        with socket.create_connection(address, DEADLINE_S) as line:
            line.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert hung_up(lambda: line.recv(1))
        with socket.create_connection(address, DEADLINE_S) as line:
            assert ask_tcp(line, bytes.fromhex("0300000001"))[0] == 3


def test_an_unplugged_line_hangs_up_and_comes_back_under_its_name(tmp_path: Path) -> None:
    with stage(tmp_path, [air()], spoken("unplugged:air-1@1+1")) as sensors:
        name = sensors.addresses["air-1"]
        with open_line(name) as line:
            eventually(lambda: hung_up(lambda: line.read(10)))
        eventually((tmp_path / "dev" / "air-1").exists)
        with open_line(name) as line:
            assert len(line.read(10)) == 10


def test_a_network_device_that_is_unplugged_keeps_its_port(tmp_path: Path) -> None:
    with stage(tmp_path, [VirtualSensor("sound-2", "renke-tcp")], spoken("unplugged:sound-2@1+1")) as sensors:
        address = ("127.0.0.1", int(sensors.addresses["sound-2"].split(":")[1]))
        with socket.create_connection(address, DEADLINE_S) as line:
            assert hung_up(lambda: line.recv(1))

        def back() -> bool:
            try:
                with socket.create_connection(address, DEADLINE_S) as line:
                    return ask_tcp(line, bytes.fromhex("0300000001"))[0] == 3
            except OSError:
                return False

        eventually(back)


def test_damaged_frames_are_named_in_the_ledger_and_fail_their_check(tmp_path: Path) -> None:
    fault = Fault(kind=FaultKind.CHECKSUM, sensor="air-1", at=0, lasts=60, share=0.5)
    with stage(tmp_path, [air()], fault) as sensors, open_line(sensors.addresses["air-1"]) as line:
        heard = [line.read(10) for _ in range(50)]
        eventually(lambda: len(ledger(tmp_path, "air-1")) > 60)
    bad = [frame for frame in heard if sum(frame[2:8]) % 256 != frame[8]]
    assert 10 < len(bad) < 40
    named = {
        tuple(entry["values"].values()) for entry in ledger(tmp_path, "air-1") if entry["fate"] == "damaged"
    }
    for frame in bad:
        assert (int.from_bytes(frame[2:4], "little") / 10, int.from_bytes(frame[4:6], "little") / 10) in named


def test_a_silent_sensor_says_nothing_and_then_goes_on_counting(tmp_path: Path) -> None:
    with stage(tmp_path, [air()], spoken("silent:air-1@0.5+1")) as sensors:
        eventually(lambda: sensors.second() > 2)
    entries = ledger(tmp_path, "air-1")
    gaps = [b["mono"] - a["mono"] for a, b in itertools.pairwise(entries)]
    assert max(gaps) >= 0.9
    assert [entry["number"] for entry in entries] == list(range(len(entries)))


def test_a_late_answer_is_late_and_named_so(tmp_path: Path) -> None:
    fault = Fault(kind=FaultKind.LATE, sensor="sound-1", at=0, lasts=60, delay=0.3)
    with (
        stage(tmp_path, [VirtualSensor("sound-1", "renke-rtu")], fault) as sensors,
        open_line(sensors.addresses["sound-1"]) as line,
    ):
        line.write(QUESTION)
        began = time.monotonic()
        assert len(line.read(7)) == 7
        assert time.monotonic() - began >= 0.3
    assert [entry["fate"] for entry in ledger(tmp_path, "sound-1")] == ["late"]


def test_a_busy_slave_does_not_hear(tmp_path: Path) -> None:
    fault = Fault(kind=FaultKind.LATE, sensor="sound-1", at=0, lasts=60, delay=0.5)
    with (
        stage(tmp_path, [VirtualSensor("sound-1", "renke-rtu")], fault) as sensors,
        open_line(sensors.addresses["sound-1"]) as line,
    ):
        line.write(QUESTION)
        line.write(QUESTION)
        assert len(line.read(7)) == 7
        line.timeout = 1.0
        assert line.read(1) == b""


def test_late_answers_over_tcp_each_take_their_own_time(tmp_path: Path) -> None:
    fault = Fault(kind=FaultKind.LATE, sensor="sound-2", at=0, lasts=60, delay=0.5)
    with stage(tmp_path, [VirtualSensor("sound-2", "renke-tcp")], fault) as sensors:
        host, port = sensors.addresses["sound-2"].split(":")
        with socket.create_connection((host, int(port)), DEADLINE_S) as line:
            began = time.monotonic()
            for number in range(20):  # more than the device has open at once
                line.sendall(bytes([0, number, 0, 0, 0, 6, 1, 3, 0, 0, 0, 1]))
            answers = [line.recv(11, socket.MSG_WAITALL) for _ in range(20)]
            assert time.monotonic() - began >= 1.5
    assert {answer[1] for answer in answers} == set(range(20))
    assert {entry["fate"] for entry in ledger(tmp_path, "sound-2")} == {"late"}


def test_stopping_takes_every_wire_away_and_may_be_repeated(tmp_path: Path) -> None:
    sensors = stage(tmp_path, [air(), VirtualSensor("sound-2", "renke-tcp")])
    sensors.start()
    port = int(sensors.addresses["sound-2"].split(":")[1])
    sensors.stop()
    sensors.stop()
    assert not (tmp_path / "dev" / "air-1").is_symlink()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), DEADLINE_S)
    assert sensors.failure is None


def test_a_place_where_no_wire_can_be_made_is_an_error_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "dev").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="dev"):
        stage(tmp_path, [air()]).start()


def test_an_unknown_model_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there are .*ld2450.*sds011"):
        stage(tmp_path, [VirtualSensor("air-1", "sds1")])
