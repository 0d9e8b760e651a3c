"""Inside the machine: the gateway's own scanner, and what it hears and says while everything around it breaks."""

# ruff: noqa: ASYNC221, ASYNC240, D102 -- nothing else runs here; the methods are those of `ports.ble.Ear`

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from edgegw.ports.ble import Scanner
from edgegw.ports.ble.patterns import Wants

if TYPE_CHECKING:
    from edgegw.driver import Advert, Notice
    from edgegw.ports.errors import PortError

COMPANY, SERVICE = 0x0499, 0xFCD2
CHANGING, CONSTANT = "F0:F1:F2:F3:F4:F5", "F0:F1:F2:F3:F4:F6"
DROP_IN = Path("/etc/systemd/system/bluetooth.service.d/experimental.conf")


class Ear:
    """Counts what it hears, and prints what it is told."""

    def __init__(self) -> None:
        self.wants = Wants(frozenset({COMPANY}), frozenset({SERVICE}))
        self.count: Counter[str] = Counter()
        self.values: set[bytes] = set()
        self.hears = False
        self.reasons: list[str] = []

    def heard(self, advert: Advert, now: float) -> None:
        del now
        self.count[advert.address] += 1
        if COMPANY in advert.companies:
            self.values.add(advert.companies[COMPANY])

    def hearing(self) -> None:
        self.hears = True

    def deaf(self, error: PortError | None) -> None:
        self.hears = False
        if error is not None:
            if self.reasons[-1:] != [error.reason]:
                print(f"    told: {error}", flush=True)
            self.reasons.append(error.reason)

    def notice(self, notice: Notice, *, first: bool) -> None:
        del first
        print(f"    notice: {notice.text}", flush=True)


def run(*command: str) -> None:
    """Run a program of the machine."""
    subprocess.run(command, check=False, capture_output=True, timeout=60)


class Trial:
    """The phases, one after the other; `failed` collects what did not go."""

    def __init__(self) -> None:
        self.scanner = Scanner()
        self.ear = Ear()
        self.failed: list[str] = []
        self.air = self.radio()

    def radio(self) -> subprocess.Popen[bytes]:
        """Plug a virtual adapter in."""
        with Path("air.log").open("ab") as log:
            return subprocess.Popen([sys.executable, "air.py"], stdout=log, stderr=log)

    async def listen(self, name: str, seconds: float) -> None:
        """Count for a while."""
        self.ear.count.clear()
        self.ear.values.clear()
        await asyncio.sleep(seconds)
        count = self.ear.count
        print(
            f"{name}: {self.scanner.facts()['scanning']}, in {seconds:.0f} s: changing {count[CHANGING]} times with "
            f"{len(self.ear.values)} values, constant {count[CONSTANT]} times",
            flush=True,
        )

    async def heals(self, name: str, limit: float = 60) -> None:
        """Wait until the changing device is heard anew, and say how long that took."""
        since = time.monotonic()
        self.ear.count.clear()
        while not self.ear.count[CHANGING]:
            if time.monotonic() - since > limit:
                self.failed.append(name)
                print(f"{name}: FAILED, nothing within {limit:.0f} s; {self.scanner.facts()}", flush=True)
                return
            await asyncio.sleep(0.1)
        print(f"{name}: heard again after {time.monotonic() - since:.1f} s", flush=True)

    async def told(self, reason: str, limit: float = 30) -> None:
        """Wait until the failure was named."""
        self.ear.reasons.clear()
        since = time.monotonic()
        while reason not in self.ear.reasons:
            if time.monotonic() - since > limit:
                self.failed.append(f"told {reason}")
                print(f"    FAILED: {reason} was not told, but {self.ear.reasons}", flush=True)
                return
            await asyncio.sleep(0.1)

    async def phases(self) -> None:
        """Everything that breaks."""
        await self.heals("first advertisement", 120)
        if self.failed:
            return
        await self.listen("BlueZ as Debian starts it", 30)
        await asyncio.to_thread(run, "systemctl", "restart", "bluetooth")
        await self.heals("bluetoothd restarted")
        DROP_IN.parent.mkdir(parents=True, exist_ok=True)
        DROP_IN.write_text(
            "[Service]\nExecStart=\nExecStart=/usr/libexec/bluetooth/bluetoothd --experimental\n"
        )
        await asyncio.to_thread(run, "systemctl", "daemon-reload")
        await asyncio.to_thread(run, "systemctl", "restart", "bluetooth")
        await self.heals("bluetoothd restarted with --experimental")
        await self.listen("BlueZ with --experimental", 30)
        await self.listen("and after a while", 120)
        await self.listen("and then", 30)
        await asyncio.to_thread(run, "bluetoothctl", "power", "off")
        await self.heals("adapter switched off")
        # No phase for rfkill: the adapter of hci_vhci does not come back from it.
        await asyncio.to_thread(run, "systemctl", "stop", "bluetooth")
        # Nobody starts it again but D-Bus, because the scanner asks for it.
        await self.heals("bluetoothd stopped")
        self.air.kill()
        self.air.wait()
        await self.told("missing")
        self.air = self.radio()
        await self.heals("adapter unplugged and plugged in", 120)
        await self.listen("at the end", 15)


async def main() -> int:
    """Run the trial; the exit code."""
    print(Path("/proc/version").read_text().split("(")[0].strip(), flush=True)
    print(
        "BlueZ",
        subprocess.run(
            ["bluetoothctl", "--version"], capture_output=True, text=True, check=False
        ).stdout.strip(),
    )
    trial = Trial()
    listening = asyncio.create_task(trial.scanner.listen(trial.ear))
    try:
        await trial.phases()
    finally:
        listening.cancel()
        await asyncio.wait({listening})
        trial.air.kill()
    print(trial.scanner.facts())
    print("FAILED: " + ", ".join(trial.failed) if trial.failed else "passed")
    return bool(trial.failed)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
