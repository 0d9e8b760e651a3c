from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edgegw.clock import BOOT_ID_VARIABLE

SYSTEMD = Path(__file__).resolve().parents[2] / "systemd"
UNIT = SYSTEMD / "edgegw.service"

needs_systemd_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze is not installed (Debian: apt install systemd)",
)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


def settings(name: str) -> list[str]:
    """The values of one setting of the unit, in their order."""
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), flags=re.MULTILINE)


@needs_systemd_analyze
def test_systemd_finds_nothing_to_say_against_the_unit(tmp_path: Path) -> None:
    for program in ("opt/edgegw/bin/python", "bin/sh"):
        (tmp_path / program).parent.mkdir(parents=True)
        (tmp_path / program).touch(mode=0o755)
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    copy = shutil.copy(UNIT, tmp_path / "etc/systemd/system")
    found = analyze("verify", f"--root={tmp_path}", "--man=no", "--recursive-errors=no", str(copy))
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


@needs_systemd_analyze
def test_the_exposure_of_the_unit_is_at_most_2_0() -> None:
    found = analyze("security", "--offline=true", "--no-pager", "--threshold=20", str(UNIT))
    assert found.returncode == 0, found.stdout


def test_the_clock_may_be_read_and_not_set() -> None:
    filters = settings("SystemCallFilter")
    assert filters[-1].split() == ["adjtimex", "clock_adjtime"]
    assert "~@privileged" in filters[1]
    assert settings("ProtectClock") == ["no"]
    assert settings("CapabilityBoundingSet") == [""]


def test_the_unit_hands_over_the_boot_id_that_it_hides() -> None:
    assert settings("ProcSubset") == ["pid"]
    assert settings("Environment") == [f"{BOOT_ID_VARIABLE}=%b"]


def test_each_kind_of_adapter_that_the_unit_allows_is_loaded_before_it_starts() -> None:
    assert settings("DeviceAllow") == ["char-tty* rw"]
    modules = (SYSTEMD / "modules-load.d/edgegw.conf").read_text().splitlines()
    assert [line for line in modules if not line.startswith("#")] == ["usbserial", "cdc_acm"]


def test_the_user_of_the_unit_is_the_one_that_is_made() -> None:
    (user,) = settings("User")
    (group,) = settings("SupplementaryGroups")
    made = (SYSTEMD / "sysusers.d/edgegw.conf").read_text().splitlines()
    assert any(line.startswith(f"u {user} ") for line in made)
    assert f"m {user} {group}" in made
