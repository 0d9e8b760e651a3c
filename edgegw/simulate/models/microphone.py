"""A microphone on a sound card that ALSA makes of a named pipe: a tone whose level follows the street's."""

from __future__ import annotations

import array
import asyncio
import fcntl
import math
import os
import struct
import termios
from typing import TYPE_CHECKING, Final

from edgegw.simulate.model import Model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgegw.simulate.model import Setting

RATE: Final = 48_000
# ALSA's plug-in for files reads whole periods, and takes what is missing for sound.
PERIOD: Final = 12_000
# Periods that may wait in the pipe: a card's buffer holds a second.
MOST_WAITING: Final = 4
# 1 Pa, which is 94 dB, in dB below full scale: a usual MEMS microphone.
SENSITIVITY: Final = -26.0
TONE_HZ: Final = 1000
_PIPE_BYTES: Final = 1 << 18
_CONFIGURATION: Final = """\
pcm.microphone {{
    type file
    file "/dev/null"
    infile "{pipe}"
    format raw
    slave {{ pcm {{ type null }} }}
}}
"""


class Microphone:
    """One microphone; pulled out while it is silent or unplugged."""

    address: Final = "microphone"

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._folder = setting.directory / f"{setting.sensor.id}-card"
        self._pipe = self._folder / "pipe"
        self._fd = -1

    @property
    def environment(self) -> Mapping[str, str]:
        """What makes the ALSA library of another process find this card."""
        return {"ALSA_CONFIG_PATH": str(self._folder / "asound.conf")}

    async def plug(self) -> None:
        """See `Device.plug`."""
        if self._fd >= 0:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "asound.conf").write_text(_CONFIGURATION.format(pipe=self._pipe))
        self._pipe.unlink(missing_ok=True)
        os.mkfifo(self._pipe, 0o600)
        # Open on both sides: opening does not block, and no reader sees an end.
        self._fd = os.open(self._pipe, os.O_RDWR | os.O_NONBLOCK)
        fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def _unplug(self) -> None:
        if self._fd >= 0:
            self._pipe.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = -1

    async def run(self) -> None:
        """See `Device.run`."""
        around, number = self._setting.around, 0
        loop = asyncio.get_running_loop()
        due = loop.time()
        try:
            while True:
                condition = around.condition(number, around.second())
                if condition.silent or condition.unplugged:
                    self._unplug()
                else:
                    await self.plug()
                    self._play(number, around.second())
                    number += 1
                due = max(due + PERIOD / RATE, loop.time() - 1)
                await asyncio.sleep(due - loop.time())
        finally:
            self._unplug()
            around.ledger.close()

    def _play(self, number: int, t: float) -> None:
        """A quarter of a second of the tone; nothing while nobody listens, as a card does not wait either."""
        (waiting,) = struct.unpack("i", fcntl.ioctl(self._fd, termios.FIONREAD, bytes(4)))
        if waiting > (MOST_WAITING - 1) * 4 * PERIOD:
            return
        level = self._setting.street.level(number, t) / 10
        full_scale = 2**31 * math.sqrt(2) * 10 ** ((level - 94 + SENSITIVITY) / 20)
        step = math.tau * TONE_HZ / RATE
        # The tone has whole periods in each piece: it goes on without a click.
        samples = array.array("i", (int(full_scale * math.sin(step * place)) for place in range(PERIOD)))
        os.write(self._fd, samples.tobytes())


def _microphone(setting: Setting) -> Microphone:
    return Microphone(setting)


MODELS: Final[Mapping[str, Model]] = {
    "microphone": Model(
        "alsa_slm",
        _microphone,
        "device",
        "1s",
        numbered_interval="1s",
        keys={"sensitivity": SENSITIVITY, "calibration_db": 0.0},
    ),
}
