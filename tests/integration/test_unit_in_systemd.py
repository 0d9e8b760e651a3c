from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/unit-in-systemd"
THIS_MACHINE_CANNOT = 77


@pytest.mark.timeout(900)  # the first run makes a Debian
def test_the_unit_works_under_all_its_restrictions_in_a_real_systemd() -> None:
    found = subprocess.run(
        [SCRIPT], env={**os.environ, "PYTHON": sys.executable}, capture_output=True, text=True, check=False
    )
    if found.returncode == THIS_MACHINE_CANNOT:
        pytest.skip(found.stderr.strip())
    assert found.returncode == 0, found.stdout + found.stderr
