"""What the proofs share: the list of them, polling, the unit, and the daemon's own words."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegw import control
from edgegw.problems import GatewayError

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 30.0  # seconds for one thing; all of them together take less on a free machine
SERIAL_PORT = Path("/run/rig/air")
DROP_INS = Path("/etc/systemd/system/edgegw.service.d")
ETC = Path("/etc/edgegw")
SOCKET = Path("/run/edgegw/control.sock")
TAG = "CB:B8:33:4C:88:4F"
SERIAL_SERVER = ("127.0.0.1", 4001)
WEB = ("127.0.0.1", 8081)
ENDPOINT = "127.0.0.1:8080"
#: What an AirGradient says, whichever way it comes.
NODE = {"serialno": "a1", "pm01": 1, "pm02": 2, "pm10": 3, "atmp": 20.5, "rhum": 40}
PYTHON = "/opt/edgegw/bin/python"
CONFIGURATION = f"""
[gateway]
id = "rig-1"
[identity]
signing_key = "cred:sign.key"
[uplink]
server = "mqtts://localhost:8883"
ca = "file:ca.crt"
receipt_keys = ["file:city.pub"]
[sensor.air-1]
driver = "sds011"
port = "{SERIAL_PORT}"
interval = "1s"
"""

PROOFS: list[Callable[[], None]] = []


def proof(check: Callable[[], None]) -> Callable[[], None]:
    """Put `check` on the list."""
    PROOFS.append(check)
    return check


def run(*command: str) -> str:
    """Standard output of a program that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, f"{' '.join(command)}: {done.returncode} {done.stdout}{done.stderr}"
    return done.stdout.strip()


def until(what: str, happened: Callable[[], Any]) -> Any:
    """Poll until `happened` gives something true, and return that."""
    deadline = time.monotonic() + PATIENCE
    while not (found := happened()):
        assert time.monotonic() < deadline, f"not within {PATIENCE:.0f} s: {what}; {json.dumps(status())}"
        time.sleep(0.05)
    return found


def show(name: str) -> str:
    """One property of the unit."""
    return run("systemctl", "show", "-P", name, "edgegw")


def drop_in(name: str, text: str) -> None:
    """Change the unit as `systemctl edit` does; an empty text takes the change back."""
    DROP_INS.mkdir(exist_ok=True)
    (DROP_INS / f"{name}.conf").write_text(text)
    run("systemctl", "daemon-reload")


def background(name: str, *command: str) -> None:
    """Start a program as a transient unit."""
    run("systemd-run", "--quiet", f"--unit={name}", "--working-directory=/rig", "--collect", *command)


def status() -> Any:
    """The daemon's status document, or an empty one while it is away."""
    try:
        return control.request(SOCKET, "status")
    except GatewayError:
        return {"log": {"size": 0, "receipted": 0}, "sensors": [], "problems": [], "link": {"state": "away"}}


def sensors() -> dict[str, Any]:
    """The sensors of the status by their id, `air-1` always among them while the daemon is away."""
    return {each["id"]: each for each in status()["sensors"]} or {"air-1": {"last": {}, "state": "away"}}
