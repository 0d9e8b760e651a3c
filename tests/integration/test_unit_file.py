from __future__ import annotations

import errno
import re
import shutil
import socket
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NoReturn

import pytest

from edgegw.clock import BOOT_ID_VARIABLE
from edgegw.ports.audio.faults import refused
from edgegw.ports.errors import PortError
from edgegw.ports.http import Endpoint

SYSTEMD = Path(__file__).resolve().parents[2] / "systemd"
UNIT = SYSTEMD / "edgegw.service"
DROP_INS = sorted((SYSTEMD / "edgegw.service.d").glob("*.conf"))
POLICY = SYSTEMD / "dbus-1/system.d/org.edgegw.conf"

needs_systemd_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze is not installed (Debian: apt install systemd)",
)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


def settings(name: str, file: Path = UNIT) -> list[str]:
    """The values of one setting of the unit, in their order."""
    return re.findall(rf"^{name}=(.*)$", file.read_text(), flags=re.MULTILINE)


def content(file: Path) -> list[str]:
    """The lines of a file that are neither comments nor empty."""
    return [line for line in file.read_text().splitlines() if line and not line.startswith("#")]


def installed(root: Path) -> Path:
    """The unit with all its drop-ins in a tree of its own."""
    for program in ("opt/edgegw/bin/python", "bin/sh"):
        (root / program).parent.mkdir(parents=True)
        (root / program).touch(mode=0o755)
    place = root / "etc/systemd/system"
    (place / "edgegw.service.d").mkdir(parents=True)
    for each in DROP_INS:
        shutil.copy(each, place / "edgegw.service.d")
    return Path(shutil.copy(UNIT, place))


@needs_systemd_analyze
def test_systemd_finds_nothing_to_say_against_the_unit(tmp_path: Path) -> None:
    copy = installed(tmp_path)
    found = analyze("verify", f"--root={tmp_path}", "--man=no", "--recursive-errors=no", str(copy))
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


@needs_systemd_analyze
def test_the_exposure_of_the_unit_is_at_most_1_7_with_its_drop_ins_too(tmp_path: Path) -> None:
    for given in ((str(UNIT),), (f"--root={tmp_path}", str(installed(tmp_path)))):
        found = analyze("security", "--offline=true", "--no-pager", "--threshold=17", *given)
        assert found.returncode == 0, found.stdout


def test_the_clock_may_be_read_and_not_set() -> None:
    filters = settings("SystemCallFilter")
    assert filters[-1].split() == ["adjtimex", "clock_adjtime"]
    assert "~@privileged" in filters[1]
    assert settings("ProtectClock") == ["no"]
    assert settings("CapabilityBoundingSet") == [""]


def test_the_unit_hands_over_the_boot_id_that_it_hides() -> None:
    assert settings("ProcSubset") == ["pid"]
    assert settings("Environment")[0] == f"{BOOT_ID_VARIABLE}=%b"


def test_each_kind_of_adapter_that_the_unit_allows_is_loaded_before_it_starts() -> None:
    assert settings("DeviceAllow") == ["char-tty* rw"]
    assert content(SYSTEMD / "modules-load.d/edgegw.conf") == ["usbserial", "cdc_acm"]
    assert settings("DeviceAllow", SYSTEMD / "edgegw.service.d/audio.conf") == ["char-alsa rw"]
    assert content(SYSTEMD / "modules-load.d/edgegw-audio.conf") == ["snd"]


def test_the_user_of_the_unit_is_the_one_that_is_made() -> None:
    (user,) = settings("User")
    (group,) = settings("SupplementaryGroups")
    made = (SYSTEMD / "sysusers.d/edgegw.conf").read_text().splitlines()
    assert any(line.startswith(f"u {user} ") for line in made)
    assert f"m {user} {group}" in made


def test_whatever_the_unit_can_write_it_cannot_run() -> None:
    (state,), (runtime,) = settings("StateDirectory"), settings("RuntimeDirectory")
    assert settings("PrivateTmp") == ["yes"]
    assert settings("NoExecPaths") == [f"/var/lib/{state} /run/{runtime} /tmp /var/tmp"]
    # Either would take what it names out of ProtectSystem=strict.
    assert settings("ExecPaths") == settings("ReadWritePaths") == []


def test_a_drop_in_gives_rights_and_takes_none_of_the_restrictions_away() -> None:
    given = {each.name: content(each) for each in DROP_INS}
    assert given == {
        "audio.conf": ["[Service]", "DeviceAllow=char-alsa rw", "SupplementaryGroups=audio"],
        "endpoint.conf": ["[Service]", "SocketBindAllow=tcp"],
    }


async def test_who_is_refused_for_want_of_a_drop_in_is_told_what_stands_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def deny(*_: object) -> NoReturn:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(socket.socket, "bind", deny)
    with pytest.raises(PortError) as endpoint:
        await Endpoint("127.0.0.1", 8080).receive("gate", "", lambda _body, _now: "")
    for drop_in, todo in (
        ("audio.conf", refused("hw:0", 48000, -errno.EPERM).todo),
        ("endpoint.conf", endpoint.value.todo),
    ):
        for line in content(SYSTEMD / "edgegw.service.d" / drop_in):
            assert line in todo


def test_on_the_system_bus_the_gateway_listens_to_bluetooth_and_does_nothing_else() -> None:
    (policy,) = ET.parse(POLICY).getroot()
    assert policy.attrib == {"user": settings("User")[0]}
    first, *others = policy
    assert (first.tag, first.attrib) == ("deny", {"send_type": "method_call"})
    bluez = [each.attrib for each in others if each.get("send_destination") == "org.bluez"]
    assert all("send_interface" in each for each in bluez), "a destination alone is everything it can do"
    assert {each.get("send_destination") for each in others} == {"org.freedesktop.DBus", "org.bluez"}
