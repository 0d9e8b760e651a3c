"""The daemon with a microphone: levels in, signed readings out, and no sound anywhere."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sound_card import RATE, SoundCard

from edgegw import control
from edgegw.ports.audio import alsa
from edgegw.problems import Exit, GatewayError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

with contextlib.suppress(OSError):
    alsa.library()
pytestmark = pytest.mark.skipif(not alsa.library.cache_info().currsize, reason="no libasound.so.2")

PATIENCE_S = 120
SENSOR = """
[sensor.sound-1]
driver = "alsa_slm"
device = "microphone"
interval = "500ms"
calibration_db = 0.0
stale_after = "1h"
"""


def voice() -> bytes:
    """Three seconds that nobody could mistake for anything else: a tone of 94 dB within noise."""
    time_s = np.arange(3 * RATE) / RATE
    tone = 10 ** (-26 / 20) * np.sin(2 * np.pi * 1000 * time_s)
    noise = np.random.default_rng(11).standard_normal(3 * RATE) * 1e-4
    return ((tone + noise) * 2**31).astype("<i4").tobytes()


class Daemon:
    """`edgegw.daemon` on a microphone, every file that it opens written down."""

    def __init__(self, folder: Path, card: SoundCard) -> None:
        self.folder = folder
        self.file = folder / "edgegw.toml"
        self.file.write_text(
            '[gateway]\nid = "box-1"\n[log]\nlevel = "debug"\n'
            '[store]\npath = "store"\nrequire_persistent = false\nkeep_free = "1MiB"\n'
            'batch = { max_age = "100ms" }\n[control]\nsocket = "c.sock"\n' + SENSOR
        )
        for name in ("tmp", "home"):
            (folder / name).mkdir()
        environment = {
            **os.environ,
            "ALSA_CONFIG_PATH": str(card.configuration),
            "TMPDIR": str(folder / "tmp"),
            "HOME": str(folder / "home"),
        }
        subprocess.run(
            [sys.executable, "-m", "edgegw.cli", "identity", "init", "-c", str(self.file)],
            check=True,
            capture_output=True,
            env=environment,
        )
        self.trace = folder / "trace"
        strace = [
            "strace",
            "-f",
            "-qq",
            "-e",
            "trace=openat,?open,?creat,memfd_create",
            "-o",
            str(self.trace),
        ]
        self.log = folder / "daemon.log"
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    *(strace if shutil.which("strace") else []),
                    *(sys.executable, "-m", "edgegw.daemon", "--config", str(self.file)),
                ],
                stdout=output,
                stderr=output,
                env=environment,
            )
        #: Everything that the control socket said.
        self.told: list[str] = []

    def until(self, holds: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The sensor in `status`, when it is so."""
        deadline, pause = time.monotonic() + PATIENCE_S, threading.Event()
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(GatewayError):
                seen: dict[str, Any] = control.request(self.folder / "c.sock", "status")
                self.told.append(json.dumps(seen))
                if holds(seen["sensors"][0]):
                    return dict(seen["sensors"][0])
            pause.wait(0.1)
        pytest.fail(f"{self.told[-1:]}\n{self.log.read_text()[-4000:]}")

    def stop(self) -> int:
        """End it, by the signal that systemd sends; strace passes its exit code on."""
        if self._process.poll() is None:
            children = f"/proc/{self._process.pid}/task/{self._process.pid}/children"
            with open(children) as found:  # noqa: PTH123 -- one line of /proc
                first = found.read().split()[:1]
            os.kill(int(first[0]) if shutil.which("strace") and first else self._process.pid, 15)
        return self._process.wait(PATIENCE_S)


@pytest.fixture
def card(tmp_path: Path) -> Iterator[SoundCard]:
    with SoundCard(tmp_path) as card:
        yield card


@pytest.fixture
def daemon(tmp_path: Path, card: SoundCard) -> Iterator[Daemon]:
    folder = tmp_path / "gateway"
    folder.mkdir()
    daemon = Daemon(folder, card)
    yield daemon
    daemon.stop()


def test_a_technician_hears_a_second_of_it_after_wiring(tmp_path: Path, card: SoundCard) -> None:
    card.plug()
    card.play(voice())
    file = tmp_path / "edgegw.toml"
    # An hour's window is not waited for.
    file.write_text(
        '[gateway]\nid = "box-1"\n' + SENSOR.replace('"500ms"', '"1h"').replace("stale_after", "# ")
    )
    done = subprocess.run(
        [sys.executable, "-m", "edgegw.cli", "run", "--once", "--no-uplink", "--json", "-c", str(file)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ALSA_CONFIG_PATH": str(card.configuration)},
    )
    assert done.returncode == Exit.DONE, done.stdout + done.stderr
    values = {each["quantity"]: each["value"] for each in json.loads(done.stdout)[0]["readings"]}
    assert values["laeq"] == pytest.approx(93.98, abs=0.1)
    assert len(values) == 7


def holds_sound(data: bytes, sound: bytes, width: int) -> bool:
    """Whether any 16 bytes of the sound, from a sample on, stand anywhere in the data."""
    pieces = {sound[at : at + 16] for at in range(0, len(sound) - 15, width)}
    return any(data[at : at + 16] in pieces for at in range(len(data) - 15))


def renderings(samples: bytes) -> Iterator[tuple[bytes, int]]:
    """The sound as anybody might have written it, with the width of a sample."""
    values = np.frombuffer(samples, "<i4")
    yield samples, 4
    yield (values >> 16).astype("<i2").tobytes(), 2
    yield (values / 2**31).astype("<f4").tobytes(), 4
    yield (values / 2**31).astype("<f8").tobytes(), 8
    yield " ".join(map(str, values[:20_000])).encode(), 1
    yield samples[:100_000].hex().encode(), 1


def test_the_search_for_sound_would_find_it() -> None:
    samples = voice()
    for sound, width in renderings(samples):
        assert holds_sound(b"prefix" + sound[8000 : 8000 + 64] + b"suffix", sound, width)
        assert not holds_sound(os.urandom(5000), sound, width)


def test_levels_are_signed_and_stored_and_no_sound_is_written_logged_or_told(
    daemon: Daemon, card: SoundCard
) -> None:
    samples = voice()
    # It is not there yet: the sensor says so, and heals by itself.
    missing = daemon.until(lambda sensor: sensor["errors"].get("missing"))
    assert (missing["state"], missing["readings"]) == ("unplugged", 0)
    card.plug()
    card.play(samples)
    sensor = daemon.until(lambda sensor: sensor["readings"] >= 7 * 4)
    assert set(sensor["last"]) == {"laeq", "lafmax", "lafmin", "lcpeak", "la10", "la50", "la90"}
    assert sensor["last"]["laeq"] == pytest.approx(93.98, abs=0.1)
    # Pulled out (the pipe repeats itself faster than any card), and in again.
    card.unplug()
    daemon.until(lambda sensor: sensor["state"] == "unplugged" and sensor["errors"]["missing"] > 1)
    card.plug()
    card.play(samples)
    daemon.until(lambda again: again["state"] == "ok" and again["readings"] > sensor["readings"] + 7 * 2)
    assert daemon.stop() == 0, daemon.log.read_text()

    done = subprocess.run(
        [sys.executable, "-m", "edgegw.cli", "spool", "verify", "-c", str(daemon.file)], check=False
    )
    assert done.returncode == Exit.DONE
    files = [path for path in daemon.folder.rglob("*") if path.is_file() and path != daemon.trace]
    assert {path.suffix for path in files} <= {
        ".toml",
        ".log",
        ".sock",
        ".db",
        ".db-wal",
        ".db-shm",
        ".key",
        ".pem",
        "",
    }
    everything = b"".join(path.read_bytes() for path in files) + "\n".join(daemon.told).encode()
    for sound, width in renderings(samples):
        assert not holds_sound(everything, sound, width)
    for name in ("tmp", "home"):
        assert list((daemon.folder / name).iterdir()) == []


WRITTEN = re.compile(r'(?:open(?:at)?\((?:AT_FDCWD, )?|creat\()"([^"]+)", (?:O_(?:WRONLY|RDWR)[A-Z_|]*|0)')


@pytest.mark.skipif(not shutil.which("strace"), reason="no strace")
def test_nothing_is_opened_for_writing_but_the_store_and_its_neighbours(
    daemon: Daemon, card: SoundCard
) -> None:
    card.plug()
    card.play(voice())
    daemon.until(lambda sensor: sensor["readings"] >= 7)
    daemon.stop()
    trace = daemon.trace.read_text()
    assert "memfd_create" not in trace
    written = {path for path in WRITTEN.findall(trace) if not path.startswith(str(daemon.folder / "store"))}
    assert written <= {"/dev/null"}  # what the ALSA configuration of these tests asks for
    assert any(str(daemon.folder / "store") in path for path in WRITTEN.findall(trace))
