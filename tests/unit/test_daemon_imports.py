from __future__ import annotations

import subprocess
import sys


def test_the_daemon_carries_no_library_of_the_command_line_in_its_memory() -> None:
    program = "import edgegw.daemon, sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "edgegw" in loaded
    assert not loaded & {"typer", "rich", "click", "pydantic", "sqlite_utils", "pymodbus", "bleak"}
