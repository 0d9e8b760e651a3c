"""The real daemon with the real bleak, on a virtual radio."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from edgegw import control
from edgegw.problems import GatewayError
from edgegw.simulate.radio import VARIABLE, Radio

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PATIENCE_S = 120.0
TAG = "CB:B8:33:4C:88:4F"
DATA = "0512fc5394c37c0004fffc040cac364200cdcbb8334c884f"  # ruuvi/docs, data format 5: 24.3 °C


async def until(socket: Path, radio: Radio, holds: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """The sensor's entry of the status once `holds` says so, while the tag is on the air."""
    number = 0
    async with asyncio.timeout(PATIENCE_S):
        while True:
            number += 1
            # A tag's counter makes each advertisement another one.
            data = bytes.fromhex(DATA[:-16]) + number.to_bytes(2, "big") + bytes.fromhex(DATA[-12:])
            radio.advertise(TAG, True, -60, {0x0499: data}, {})
            with contextlib.suppress(GatewayError):
                status = await asyncio.to_thread(control.request, socket, "status")
                if holds(sensor := status["sensors"][0]):
                    return dict(sensor)
            await asyncio.sleep(0.05)


async def test_a_tag_on_the_air_is_read_and_bluetoothd_may_be_restarted(tmp_path: Path) -> None:
    file, socket = tmp_path / "edgegw.toml", tmp_path / "c.sock"
    file.write_text(
        '[gateway]\nid = "box-1"\n[store]\npath = "store"\nrequire_persistent = false\n'
        'batch = { max_age = "100ms" }\n[control]\nsocket = "c.sock"\n'
        f'[sensor.tag-1]\ndriver = "ruuvi"\naddress = "{TAG}"\ninterval = "all"\n'
    )
    async with Radio() as radio:
        edgegw = [sys.executable, "-m", "edgegw.cli"]
        config = ["-c", str(file)]
        await asyncio.to_thread(subprocess.run, [*edgegw, "identity", "init", *config], check=True)
        environment = {**os.environ, VARIABLE: radio.address}
        daemon = await asyncio.create_subprocess_exec(*edgegw, "run", *config, env=environment)
        try:
            found = await until(socket, radio, lambda sensor: sensor["readings"])
            assert found["last"]["temperature"] == 24.3
            assert found["bluetooth"]["scanning"] == radio.bluez.listened == "passive"
            assert found["bluetooth"]["adapter"] == "hci0"
            await radio.bluez.stop()
            gone = await until(socket, radio, lambda sensor: "no_bluez" in sensor["errors"])
            assert gone["bluetooth"]["scanning"] == "none"
            await radio.bluez.start(radio.address)
            count = gone["readings"]
            await until(socket, radio, lambda sensor: sensor["readings"] > count)
        finally:
            daemon.terminate()
            assert await daemon.wait() == 0
        assert not radio.bluez.listened
