"""Drivers of other people: installed, found, decoded, run by the real daemon; and the broken ones, named."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
import tomllib
import tty
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgegw import control
from edgegw.problems import Exit, GatewayError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TESTS = Path(__file__).parents[1]
PACKAGE = TESTS / "foreign_driver"
#: Far longer than a healthy machine needs.
PATIENCE_S = 60.0
FRAME = bytes.fromhex("57007bd2")  # 12.3 m/s

# Packages that are wrong, each in its own way.
THIEF = (PACKAGE / "breeze" / "__init__.py").read_text()
WRONG = {
    "thief": ("sds011 = thief:Breeze", THIEF),
    "absent": ("absent = absent:Absent", "import a_library_that_nobody_installed\n"),
    "silent": ("silent = silent:Breeze", THIEF.partition("    def decode")[0]),
}


def put(target: Path, package: Path) -> Path:
    """Install a package as pip leaves it: its code and its metadata, from its own pyproject.toml."""
    project = tomllib.loads((package / "pyproject.toml").read_text())
    about, wheel = project["project"], project["tool"]["hatch"]["build"]["targets"]["wheel"]
    for name in wheel["packages"]:
        for file in (package / name).iterdir():
            if file.is_file():
                (target / name).mkdir(parents=True, exist_ok=True)
                (target / name / file.name).write_bytes(file.read_bytes())
    lines = [f"{name} = {value}" for name, value in about["entry-points"]["edgegw.drivers"].items()]
    describe(target, about["name"], about["version"], *lines)
    return target


def describe(target: Path, name: str, version: str, *drivers: str) -> None:
    info = target / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text("\n".join(["[edgegw.drivers]", *drivers, ""]))


def put_wrong(target: Path, *names: str) -> Path:
    for name in names:
        entry, code = WRONG[name]
        target.mkdir(exist_ok=True)
        (target / f"{name}.py").write_text(code)
        describe(target, f"edgegw-{name}", "0.1", entry)
    return target


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    return put(tmp_path / "site", PACKAGE)


def python(site: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * PATIENCE_S,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(site)},
    )


def edgegw(site: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return python(site, "-m", "edgegw.cli", *arguments)


def listed(site: Path) -> tuple[int, dict[tuple[str, str], dict[str, Any]]]:
    """Exit code of `drivers list`, and its rows by name and package."""
    done = edgegw(site, "drivers", "list", "--json")
    return done.returncode, {(row["name"], row["package"]): row for row in json.loads(done.stdout)}


class Vane:
    """A Breeze on a pty: 12.3 m/s ten times a second."""

    def __init__(self) -> None:
        self._master, self._slave = os.openpty()  # held open: frames before the daemon comes hang up no line
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.port = os.ttyname(self._slave)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._talk, name="vane")
        self._thread.start()

    def _talk(self) -> None:
        while not self._stop.wait(0.1):
            with suppress(BlockingIOError):  # nobody reads: a device does not wait
                os.write(self._master, b"\0" + FRAME)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        os.close(self._master)
        os.close(self._slave)


@pytest.fixture
def vane() -> Iterator[Vane]:
    made = Vane()
    yield made
    made.close()


def configured(folder: Path, *tables: str) -> Path:
    file = folder / "edgegw.toml"
    file.write_text(
        '[gateway]\nid = "box-1"\n[store]\npath = "store"\nrequire_persistent = false\nkeep_free = "1MiB"\n'
        'batch = { max_age = "100ms" }\n[control]\nsocket = "c.sock"\n' + "\n".join(tables)
    )
    return file


def wind(vane: Vane) -> str:
    return f'[sensor.wind-1]\ndriver = "breeze"\nport = "{vane.port}"\ninterval = "all"\n'


# One that is right


def test_the_driver_that_contributing_writes_is_the_one_that_is_tested_here() -> None:
    text = (TESTS.parent / "CONTRIBUTING.md").read_text()
    (block,) = re.findall(r"^ *```python\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    code = (PACKAGE / "breeze" / "__init__.py").read_text()
    assert code.partition("\n\n")[2].strip() == textwrap.dedent(block).strip()
    assert f"edgegw drivers decode breeze {FRAME.hex()}" in text


def test_an_installed_driver_is_listed_with_its_package_and_decodes(installed: Path) -> None:
    code, rows = listed(installed)
    assert code == Exit.DONE
    assert rows["breeze", "edgegw-breeze"] == {
        "name": "breeze",
        "package": "edgegw-breeze",
        "version": "1.2.3",
        "kind": "stream",
        "error": "",
        "reads": "a wind sensor",
    }
    assert ("sds011", "edgegw") in rows
    assert "wind_speed" in edgegw(installed, "drivers", "info", "breeze").stdout
    done = edgegw(installed, "drivers", "decode", "breeze", FRAME.hex())
    assert json.loads(done.stdout) == {"quantity": "wind_speed", "value": 12.3, "unit": "m/s", "meta": {}}
    done = edgegw(installed, "drivers", "decode", "breeze", "57007bd3")
    assert (done.returncode, json.loads(done.stdout)) == (Exit.SENSOR, {"error": "checksum"})


def test_the_contract_suite_holds_the_foreign_driver_too(installed: Path) -> None:
    suite = TESTS / "drivers" / "test_contract.py"
    done = python(
        installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", suite, "-k", "breeze or every_installed"
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert re.search(r"[1-9]\d* passed", done.stdout)


@pytest.mark.skipif(
    not (importlib.util.find_spec("hatchling") and importlib.util.find_spec("pip")),
    reason="pip and hatchling are not in this environment: the package is installed by hand only",
)
def test_pip_installs_the_package_and_it_is_found(tmp_path: Path) -> None:
    source = tmp_path / "source"  # a build writes beside the sources
    for file in PACKAGE.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            copy = source / file.relative_to(PACKAGE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    options = ["--no-index", "--no-build-isolation", "--no-deps", "--disable-pip-version-check"]
    done = python(tmp_path, "-m", "pip", "install", *options, "--target", tmp_path / "site", source)
    assert done.returncode == 0, done.stderr
    assert listed(tmp_path / "site")[1]["breeze", "edgegw-breeze"]["error"] == ""
    assert (tmp_path / "site" / "breeze" / "sample.toml").exists()


def test_the_daemon_runs_a_foreign_driver_on_a_real_line_with_broken_ones_beside_it(
    installed: Path, tmp_path: Path, vane: Vane
) -> None:
    put_wrong(installed, *WRONG)
    bad = '[sensor.bad-1]\ndriver = "absent"\nport = "/dev/ttyUSB9"\n'
    file = configured(tmp_path, wind(vane), bad)
    assert edgegw(installed, "identity", "init", "-c", file).returncode == Exit.DONE
    log = tmp_path / "daemon.log"
    with log.open("wb") as output:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "edgegw.daemon", "--config", str(file)],
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONPATH": str(installed)},
        )
    try:
        found = status_when(
            tmp_path / "c.sock",
            daemon,
            lambda seen: seen["sensors"][0]["readings"] and seen["log"]["size"] > 4,
        )
    finally:
        daemon.terminate()
        code = daemon.wait(PATIENCE_S)
    assert code == 0, log.read_text()
    sensor, broken = found["sensors"]
    assert (broken["id"], broken["state"]) == ("bad-1", "driver_failed")
    assert (sensor["id"], sensor["driver"], sensor["state"]) == ("wind-1", "breeze", "ok")
    assert sensor["last"] == {"wind_speed": 12.3}
    assert sensor["errors"] == {}
    # What it read was accepted, signed and stored like anybody's.
    inspected = edgegw(installed, "spool", "verify", "-c", file)
    assert inspected.returncode == Exit.DONE, inspected.stderr


def status_when(
    socket: Path, daemon: subprocess.Popen[bytes], holds: Callable[[dict[str, Any]], object]
) -> dict[str, Any]:
    deadline, pause = time.monotonic() + PATIENCE_S, threading.Event()
    while time.monotonic() < deadline and daemon.poll() is None:
        with suppress(GatewayError):
            seen: dict[str, Any] = control.request(socket, "status")
            if holds(seen):
                return seen
        pause.wait(0.05)
    pytest.fail("the daemon does not measure")


# Those that are wrong


@pytest.mark.parametrize(
    ("package", "name", "why"),
    [
        ("absent", "absent", "driver 'absent' of edgegw-absent 0.1 is broken: ModuleNotFoundError"),
        ("silent", "silent", "driver 'silent' of edgegw-silent 0.1 is broken: TypeError"),
        ("thief", "sds011", "driver 'sds011' is claimed by edgegw "),
    ],
)
def test_a_package_that_is_wrong_is_named_and_costs_no_other_driver(
    installed: Path, tmp_path: Path, vane: Vane, package: str, name: str, why: str
) -> None:
    put_wrong(installed, package)
    code, rows = listed(installed)
    assert code == Exit.PROBLEMS
    assert rows[name, f"edgegw-{package}"]["error"].startswith(why)
    wrong = {row for row in rows if rows[row]["error"]}
    assert {row[0] for row in wrong} == {name}
    assert {"breeze", "ld2450", "modbus", "sds011"} - {name} <= {row[0] for row in rows if row not in wrong}
    # Whoever asks for it is told the same, on the line of the configuration that does.
    done = edgegw(installed, "drivers", "decode", name, "00")
    assert (done.returncode, done.stdout) == (Exit.SENSOR, "")
    assert why in done.stderr
    bad = f'[sensor.bad-1]\ndriver = "{name}"\nport = "/dev/ttyUSB9"\n'
    file = configured(tmp_path, wind(vane), bad)
    done = edgegw(installed, "check", file)
    assert done.returncode == Exit.CONFIGURATION
    line = file.read_text().splitlines().index(f'driver = "{name}"') + 1
    assert f"edgegw.toml:{line}: " in done.stderr
    assert why in done.stderr
    assert edgegw(installed, "check", configured(tmp_path, wind(vane))).returncode == Exit.DONE


def test_a_driver_without_decode_says_what_it_lacks(installed: Path) -> None:
    _, rows = listed(put_wrong(installed, "silent"))
    assert rows["silent", "edgegw-silent"]["error"].endswith("has no decode() or decoder()")


def test_the_contract_suite_catches_a_driver_that_takes_everything(installed: Path) -> None:
    file = installed / "breeze" / "__init__.py"
    file.write_text(file.read_text().replace("!= frame[3]", "> 255"))
    suite = TESTS / "drivers" / "test_contract.py"
    done = python(
        installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", suite, "-k", "breeze and every_flipped"
    )
    assert done.returncode == 1, done.stdout[-4000:]
    assert "1 failed" in done.stdout


def test_the_suite_in_the_wheel_says_the_same_without_pytest(installed: Path) -> None:
    done = python(installed, "-m", "edgegw.contract", "breeze")
    assert done.returncode == 0, done.stdout
    assert "broken" not in done.stdout
    file = installed / "breeze" / "__init__.py"
    file.write_text(file.read_text().replace("!= frame[3]", "> 255"))
    done = python(installed, "-m", "edgegw.contract", "breeze")
    assert done.returncode == 1
    broken = [line for line in done.stdout.splitlines() if line.startswith("broken")]
    assert "broken  breeze: every flipped bit is refused where the device has a checksum" in broken
    done = python(installed, "-m", "edgegw.contract", "breze")
    assert done.returncode == 2
    assert "did you mean 'breeze'" in done.stderr
