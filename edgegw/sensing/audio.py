"""Microphones: samples in, levels out; the samples go to the driver's meter and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgegw.driver import FrameError, Notice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.driver import AudioDriver
    from edgegw.sensing.sensing import Sensing

# The window of a sensor whose interval is "all": what sound level meters give.
ALL_S: Final = 1.0


async def run(sensing: Sensing, driver: AudioDriver) -> None:
    """Read the microphone until its card goes: then PortError."""
    decoder = driver.decoder(sensing.sensor.interval or ALL_S)

    def on_samples(samples: bytes, lost: int, now: float) -> None:
        try:
            sensing.take(decoder.decode(samples, lost, now), now)
        except FrameError as error:
            sensing.view.error(error.reason)

    def on_open(switches: Sequence[str]) -> None:
        if switches:
            names = ", ".join(switches)
            text = f"{names}: on, and changes the level by what it is; switch it off with alsamixer"
            sensing.notice(Notice("gain", text))
        else:
            sensing.view.notices.pop("gain", None)

    await sensing.wires.microphone(driver.device, driver.rate, on_samples, on_open).run()
