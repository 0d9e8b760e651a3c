"""An SDS011 on a pty that talks at a given rate."""

from __future__ import annotations

import os
import threading
import time
import tty
from typing import TYPE_CHECKING, Final

from edgegw.simulate.frames import sds011_frame

if TYPE_CHECKING:
    from typing import Self

#: Readings of one frame: PM2.5 and PM10.
READINGS: Final = 2
#: Different frames, so that the values in a batch differ as a device's do.
_FRAMES: Final = 997
_TICK_S: Final = 0.01


def frames() -> list[bytes]:
    """Some hundred frames with ordinary values, below the device's saturation."""
    return [sds011_frame(n * 37 % 1500, n * 61 % 3000) for n in range(1, _FRAMES + 1)]


class Talker:
    """A pty whose far end is `path`; it says `rate` readings a second, and does not wait for a listener."""

    def __init__(self, rate: float) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        self._rate = rate
        self._frames = frames()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._talk, name="talker")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        os.close(self._master)
        os.close(self._slave)

    def stop(self) -> None:
        """Say no more."""
        self._stopped.set()
        self._thread.join()

    def _talk(self) -> None:
        began, said = time.monotonic(), 0
        while not self._stopped.wait(_TICK_S):
            wanted = int((time.monotonic() - began) * self._rate / READINGS)
            for number in range(said, wanted):
                try:
                    os.write(self._master, self._frames[number % _FRAMES])
                except BlockingIOError:
                    continue  # nobody reads: a device does not wait
            said = wanted
