"""Inside a booted Debian: proves that the gateway's unit works under all its restrictions.

Started by rig.service as root. Each proof is a function whose name is the sentence that is printed; they run
in their order, on one daemon. Waiting is polling with a generous deadline.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
import traceback
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from edgegw import control
from edgegw.clock import SystemClock
from edgegw.problems import GatewayError
from edgegw.simulate.authority import Authority, write_private

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 30.0  # seconds for one thing; all of them together take less on a free machine
PORT = Path("/run/rig/air")
DROP_INS = Path("/etc/systemd/system/edgegw.service.d")
ETC = Path("/etc/edgegw")
SIGNING_KEY = Path("/root/sign.key")
WORLD = Path("/run/rig/world")
UPSTREAM = WORLD / "upstream.db"
ENDS = "select size, receipted, gaps from gateways"
SOCKET = Path("/run/edgegw/control.sock")
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
port = "{PORT}"
interval = "1s"
"""
# The watchdog's own interval is a minute; each proof of it would take two.
DROP_IN = f"""[Service]
DeviceAllow=char-pts rw
RestartSec=1
WatchdogSec=6
LoadCredential=sign.key:{SIGNING_KEY}
"""
BROKER = f"""
listener 8883 127.0.0.1
cafile {ETC}/ca.crt
certfile {WORLD}/server.crt
keyfile {WORLD}/server.key
tls_version tlsv1.3
require_certificate true
use_identity_as_username true
user root
"""
PYTHON = "/opt/edgegw/bin/python"

PROOFS: list[Callable[[], None]] = []


def say(text: str) -> None:
    """A line of the report, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


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
        assert time.monotonic() < deadline, f"not within {PATIENCE:.0f} s: {what}"
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
    run("systemd-run", "--quiet", f"--unit={name}", "--collect", *command)


# --- the proofs


def sandboxed(*settings: str) -> dict[str, Any]:
    """What a process may do in the unit, with further settings; see sandbox.py."""
    lines = "\n".join(settings)
    start = f"Type=oneshot\nRestart=no\nExecStart=\nExecStart={PYTHON} -I /rig/sandbox.py {PORT}"
    drop_in("sandbox", f"[Service]\n{start}\n{lines}\n")
    run("systemctl", "start", "edgegw")
    drop_in("sandbox", "")
    answer: dict[str, Any] = json.loads(Path("/var/lib/edgegw/sandbox.json").read_text())
    return answer


@proof
def the_unit_lets_through_what_the_gateway_needs() -> None:
    may = sandboxed()
    assert may["clock"] in {"FREE_RUNNING", "SYNCHRONISED"}, may
    assert may["boot id hidden"] == "FileNotFoundError 2", may
    assert may["boot id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip(), may
    assert may["store"] == "wal", may
    assert len(may["credential"]) == 16, may
    assert may["serial"] == "True", may
    assert may["bluez"] == "METHOD_RETURN", may
    assert may["callback"] == 7, may


@proof
def and_nothing_else() -> None:
    may = sandboxed()
    assert may["capabilities"] == "0000000000000000", may
    for refused in ("set the clock", "write /etc", "write /opt", "read /root", "raw packets", "radio"):
        assert "Error" in may[refused], (refused, may)


@proof
def a_unit_that_forbids_to_read_the_clock_would_be_noticed() -> None:
    assert sandboxed("ProtectClock=yes")["clock"] == "UNKNOWN"


@proof
def it_says_that_it_is_ready() -> None:
    run("systemctl", "log-level", "debug")  # systemd then tells each notification to the journal
    run("systemctl", "start", "edgegw")
    assert (show("ActiveState"), show("SubState")) == ("active", "running")
    assert "sensors" in show("StatusText"), show("StatusText")


@proof
def its_directories_are_closed_to_others() -> None:
    for directory, mode in (("/var/lib/edgegw", 0o700), ("/run/edgegw", 0o750)):
        assert (Path(directory).owner(), stat.S_IMODE(Path(directory).stat().st_mode)) == ("edgegw", mode)
    assert stat.S_IMODE(SOCKET.stat().st_mode) == 0o660


@proof
def it_reads_the_serial_port() -> None:
    until("a reading", lambda: sensors()["air-1"]["last"] == {"pm2_5": 30.8, "pm10": 41.0})
    assert sensors()["air-1"]["state"] in {"warm_up", "ok"}, sensors()


@proof
def it_knows_the_state_of_the_clock() -> None:
    assert status()["clock"]["state"] == SystemClock().discipline().sync.name.lower(), status()


@proof
def what_it_reads_arrives_upstream_and_comes_back_as_receipts() -> None:
    until("receipts", lambda: status()["log"]["receipted"] > 10)
    assert status()["link"]["state"] == "online"
    assert ("air-1", "pm2_5", 30.8) in upstream("select sensor, quantity, value from readings")


@proof
def a_good_configuration_is_taken_over_while_it_runs() -> None:
    pid = show("MainPID")
    second = CONFIGURATION.replace("[sensor.air-1]", "[sensor.air-2]")
    ETC.joinpath("edgegw.toml").write_text(second)
    run("systemctl", "reload", "edgegw")
    until("the new sensor", lambda: list(sensors()) == ["air-2"] and sensors()["air-2"]["last"])
    assert (show("MainPID"), show("ActiveState")) == (pid, "active")


@proof
def a_bad_configuration_is_refused_and_the_old_one_stays() -> None:
    pid = show("MainPID")
    ETC.joinpath("edgegw.toml").write_text("[gateway]\nid = 7\n[sensor.x]\n")
    run("systemctl", "reload", "edgegw")
    until("the problem", lambda: "EG-CONFIG-RELOAD" in [each["code"] for each in status()["problems"]])
    size = status()["log"]["size"]
    until("more readings of the old one", lambda: status()["log"]["size"] > size)
    assert list(sensors()) == ["air-2"]
    assert until("the end of the reload", lambda: show("ActiveState") == "active")
    assert show("MainPID") == pid
    ETC.joinpath("edgegw.toml").write_text(CONFIGURATION)


@proof
def killed_it_starts_again_and_what_was_accepted_arrives_once() -> None:
    size, restarts = status()["log"]["size"], int(show("NRestarts"))
    run("systemctl", "kill", "--kill-whom=main", "--signal=SIGKILL", "edgegw")
    restarted(restarts)
    until("receipts for all that was accepted", lambda: status()["log"]["receipted"] >= size)
    until("each record upstream once", lambda: held() >= size)


@proof
def hanging_it_is_restarted_by_the_watchdog() -> None:
    restarts = int(show("NRestarts"))
    run("systemctl", "kill", "--kill-whom=main", "--signal=SIGSTOP", "edgegw")
    restarted(restarts)
    said = run("journalctl", "--unit=edgegw", "--output=cat")
    assert "Watchdog timeout" in said
    assert "Fatal Python error: Aborted" in said
    assert 'File "/opt/edgegw/' in said, "where it hung"


@proof
def stopped_it_leaves_a_log_that_is_complete_upstream() -> None:
    until("readings of this run", lambda: sensors()["air-1"]["last"])
    run("systemctl", "stop", "edgegw")
    assert (show("Result"), show("ExecMainStatus")) == ("success", "0")
    assert not SOCKET.parent.exists()
    assert Path("/var/lib/edgegw").exists()
    until("the whole log upstream, with receipts", lambda: upstream(ENDS) == [(held(), held(), 0)])


@proof
def it_told_systemd_of_its_start_its_life_its_reloads_and_its_end() -> None:
    told = run("journalctl", "_PID=1", "-o", "cat", "--grep=Got notification message")
    for word in ("READY=1", "WATCHDOG=1", "RELOADING=1", "STOPPING=1", "STATUS="):
        assert word in told, f"{word} is not in: {told[-2000:]}"


def status() -> Any:
    """The daemon's status document, or an empty one while it is away."""
    try:
        return control.request(SOCKET, "status")
    except GatewayError:
        return {"log": {"size": 0, "receipted": 0}, "sensors": [], "problems": [], "link": {"state": "away"}}


def sensors() -> dict[str, Any]:
    """The sensors of the status by their id, `air-1` always among them while the daemon is away."""
    return {each["id"]: each for each in status()["sensors"]} or {"air-1": {"last": {}, "state": "away"}}


def restarted(restarts: int) -> None:
    """Wait for one more restart than `restarts`, and for READY."""
    until("a restart", lambda: int(show("NRestarts")) > restarts and show("ActiveState") == "active")
    until("an answer", lambda: status()["log"]["size"])


def upstream(query: str) -> list[tuple[Any, ...]]:
    """What the receiver's database says."""
    with closing(sqlite3.connect(f"file:{UPSTREAM}?mode=ro", uri=True, timeout=PATIENCE)) as database:
        return database.execute(query).fetchall()


def held() -> int:
    """How many records upstream holds, each once, from the first on; 0 while one is missing or doubled."""
    [(count, distinct, end)] = upstream("select count(*), count(distinct idx), max(idx) + 1 from readings")
    return int(count) if count == distinct == end else 0


def receiver() -> tuple[str, ...]:
    """The options of the upstream side."""
    options = {
        "server": "mqtts://localhost:8883",
        "ca": f"{ETC}/ca.crt",
        "cert": f"{WORLD}/city.crt",
        "key": f"{WORLD}/city.key",
        "keys": f"{WORLD}/keys",
        "signing-key": f"{WORLD}/city.pem",
        "store": f"sqlite:///{UPSTREAM}",
    }
    return tuple(word for name, value in options.items() for word in (f"--{name}", value))


def private_key() -> bytes:
    """A new P-256 key as the gateway reads it."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_key(private: bytes) -> bytes:
    """Its public half."""
    key = load_pem_private_key(private, password=None).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def prepare() -> None:
    """Make the unit's surroundings as its header names them, and the world around the gateway."""
    run("systemd-sysusers")
    run("systemd-tmpfiles", "--create", "/usr/lib/tmpfiles.d/edgegw.conf")
    ETC.joinpath("edgegw.toml").write_text(CONFIGURATION)
    WORLD.mkdir(parents=True)
    authority = Authority()
    authority.write(ETC / "ca.crt").chmod(0o644)
    authority.server().write(WORLD, "server")
    authority.client("city").write(WORLD, "city")
    for path in authority.client("rig-1").write(ETC, "tls"):
        shutil.chown(path, "edgegw", "edgegw")
    for place, public in (
        (SIGNING_KEY, WORLD / "keys/rig-1.pem"),
        (WORLD / "city.pem", ETC / "city.pub"),
    ):
        private = private_key()
        write_private(place, private)
        public.parent.mkdir(exist_ok=True)
        public.write_bytes(public_key(private))
        public.chmod(0o644)
    (WORLD / "mosquitto.conf").write_text(BROKER)
    drop_in("rig", DROP_IN)
    background("rig-broker", "mosquitto", "-c", f"{WORLD}/mosquitto.conf")
    background("rig-upstream", "/opt/edgegw/bin/edgegw", "receive", *receiver())
    for part in ("sensor", "bluez"):
        background(f"rig-{part}", PYTHON, "-I", "/rig/neighbour.py", part, str(PORT))
    until("the sensor's port", PORT.exists)
    until("the name of BlueZ", lambda: "org.bluez" in run("busctl", "list", "--acquired"))


def prove() -> int:
    """Run the proofs up to the first that fails (the next ones need it); 1 when one failed."""
    prepare()
    for check in PROOFS:
        began = time.monotonic()
        sentence = check.__name__.replace("_", " ")
        try:
            check()
        except Exception:  # noqa: BLE001 - whatever a proof raises is its failure
            say(f"FAIL {sentence}\n{traceback.format_exc()}")
            say(run("journalctl", "--priority=info", "--lines=100", "--no-pager", "--output=short-monotonic"))
            return 1
        say(f"ok   {sentence} ({time.monotonic() - began:.1f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(prove())
