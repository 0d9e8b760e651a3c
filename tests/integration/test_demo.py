"""The demonstration as a newcomer runs it: to the proof, and out of it again with Ctrl-C."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "scripts" / "demo.py"
DEADLINE_S = 280.0

pytestmark = pytest.mark.skipif(
    shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin") is None,
    reason="mosquitto is not installed",
)


def processes_about(directory: Path) -> list[str]:
    """Command lines of running programs that name the directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            found += [line] if str(directory) in line else []
    return found


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    pause = threading.Event()
    while not true():
        assert time.monotonic() < deadline, "not within the deadline"
        pause.wait(0.05)


def demonstrate(directory: Path, log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, str(DEMO), "--dir", str(directory)],
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def test_a_run_with_a_dead_broker_and_a_killed_gateway_is_proven(tmp_path: Path) -> None:
    directory, log = tmp_path / "demo", tmp_path / "said"
    demo = demonstrate(directory, log)
    try:
        code = demo.wait(DEADLINE_S)
    finally:
        demo.kill()
    said = log.read_text()
    logs = "\n".join(path.read_text()[-2000:] for path in (directory / "log").glob("*.log"))
    assert code == 0, said + logs
    for step in ("broker killed", "broker back", "gateway killed", "sensors off", "PROVEN", "kill 1: "):
        assert step in said, said
    assert not processes_about(directory)


def test_ctrl_c_stops_everything_that_was_started(tmp_path: Path) -> None:
    directory, log = tmp_path / "demo", tmp_path / "said"
    demo = demonstrate(directory, log)
    try:
        eventually(lambda: demo.poll() is not None or "everything works" in log.read_text())
        assert len(processes_about(directory)) >= 4  # itself, broker, gateway, receiver
        demo.send_signal(signal.SIGINT)
        assert demo.wait(DEADLINE_S) == 130, log.read_text()
    finally:
        demo.kill()
    assert not processes_about(directory)
    assert f"what was written is in {directory}" in log.read_text()


def test_a_directory_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    done = subprocess.run(
        [sys.executable, str(DEMO), "--dir", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "is not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def without(directory: Path, *names: str) -> dict[str, str]:
    """An environment whose programs are this machine's, except those named."""
    for folder in ("/usr/bin", "/bin", "/usr/sbin", "/sbin"):
        for program in Path(folder).iterdir():
            link = directory / program.name
            if program.name not in names and not link.is_symlink():
                link.symlink_to(program)
    return {"PATH": str(directory), "HOME": str(directory)}


@pytest.fixture
def public_directory() -> Iterator[Path]:
    """A directory that another user can read, as pytest's own is not."""
    with tempfile.TemporaryDirectory(prefix="edgegw-demo-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes a user without rights, which root alone can")
def test_a_machine_without_a_broker_and_without_root_is_told_the_one_command(public_directory: Path) -> None:
    checkout, programs = public_directory / "scripts", public_directory / "programs"
    checkout.mkdir()
    programs.mkdir()
    # The script looks into the sbin folders itself; here they must not hold a broker.
    text = (ROOT / "scripts" / "demo").read_text().replace(":/usr/local/sbin:/usr/sbin:/sbin", "")
    (checkout / "demo").write_text(text)
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "bash", str(checkout / "demo")],
        env=without(programs, "mosquitto", "sudo"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "sudo apt-get install --yes --no-install-recommends" in done.stderr
    assert "mosquitto" in done.stderr
