"""Bluetooth devices that advertise: every sensor hears what the one radio hears."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any, Final

from edgegw.driver import FrameError, KeyedAdvertDecoder
from edgegw.ports.ble.patterns import Wants
from edgegw.sampling import Sampler
from edgegw.sensing.overwrite import overwrite_freed_texts
from edgegw.sensing.sensing import until_first_ends
from edgegw.views import State

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from edgegw.driver import Advert, AdvertDecoder, AdvertDriver, Notice, Outcome
    from edgegw.ports.errors import PortError
    from edgegw.sensing.sensing import Sensing

# How often a decoder is asked what time alone brings, in seconds (`AdvertDecoder.due`).
BEAT_S: Final = 1.0
# Bytes of a key under which senders are counted: as many as the hash behind it has.
KEY_BYTES: Final = 32


async def run(sensing: Sensing, driver: AdvertDriver) -> None:
    """Hear the device for ever; a radio that fails costs what was not heard, not the sensor.

    Raises whatever the driver raises, and ends when the radio's own part has a defect.
    """
    listener = _Listener(sensing, driver)
    radio = sensing.wires.radio()
    sensing.view.bluetooth = radio.facts
    together: list[Coroutine[Any, Any, None]] = [radio.listen(listener), listener.beat(), listener.fault()]
    if listener.sampler is not None and sensing.sensor.interval is not None:
        together.append(sensing.sample(listener.sampler, sensing.sensor.interval))
    try:
        await until_first_ends(together)
    finally:
        listener.forget()


class _Listener:
    """One sensor's ear on the radio, and its decoder."""

    def __init__(self, sensing: Sensing, driver: AdvertDriver) -> None:
        self.wants = Wants(
            frozenset(driver.company_ids), frozenset(driver.service_ids), everything=driver.everything
        )
        interval = sensing.sensor.interval
        self.sampler = Sampler(interval) if interval is not None else None
        self._sensing = sensing
        self._driver = driver
        self._decoder = self._fresh()
        self._hearing = False
        self._fault: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def heard(self, advert: Advert, now: float) -> None:
        """Decode an advertisement that is for this sensor."""
        # A defect of this driver ends its own sensor, and reaches neither the radio nor the others.
        try:
            if not self._fault.done() and self._driver.hears(advert):
                self._take(self._decoder.decode(advert, now), now)
        except FrameError as error:
            self._sensing.view.error(error.reason)
        except Exception as error:  # noqa: BLE001 -- see above
            self._fault.set_exception(error)

    def hearing(self) -> None:
        """The radio hears again: what it was to blame for is over."""
        self._hearing = True
        view = self._sensing.view
        if view.trouble is State.UNPLUGGED:
            view.trouble, view.why, view.todo = None, "", ""
            self._sensing.log.info("the radio hears again", sensor=self._sensing.name)

    def deaf(self, error: PortError | None) -> None:
        """Silence means nothing from now on; what counts who is there begins anew afterwards."""
        self._hearing = False
        if self.wants.everything:
            # A window with a hole in it would count too few.
            self.forget()
            self._decoder = self._fresh()
        if error is not None:
            self._sensing.fails(error)

    def notice(self, notice: Notice, *, first: bool) -> None:
        """Keep what the radio has to say; the first sensor says it aloud for all."""
        if first:
            self._sensing.notice(notice)
        else:
            self._sensing.view.notices[notice.name] = notice.text

    async def beat(self) -> None:
        """Each second, while the radio hears: what time alone brings."""
        async for _ in self._sensing.ticks(BEAT_S):
            # A deaf radio must not make a window without advertisements look like a place without devices.
            if self._hearing:
                now = self._sensing.clock.monotonic()
                self._rekey(self._decoder)
                outcomes = self._decoder.due(now)
                if outcomes and isinstance(self._decoder, KeyedAdvertDecoder):
                    overwrite_freed_texts()
                self._take(outcomes, now)

    def forget(self) -> None:
        """Let a decoder that counts under a key overwrite it."""
        if isinstance(self._decoder, KeyedAdvertDecoder):
            self._decoder.forget()

    def _fresh(self) -> AdvertDecoder:
        decoder = self._driver.decoder()
        self._rekey(decoder)
        return decoder

    @staticmethod
    def _rekey(decoder: AdvertDecoder) -> None:
        if isinstance(decoder, KeyedAdvertDecoder):
            # Byte by byte: a whole key in `bytes` would stay in freed memory.
            decoder.rekey(bytearray(secrets.randbits(8) for _ in range(KEY_BYTES)))

    async def fault(self) -> None:
        """Raise what the driver has raised."""
        await self._fault

    def _take(self, outcomes: Sequence[Outcome], now: float) -> None:
        readings = self._sensing.readings(outcomes)
        if not readings:
            return
        if self.sampler is not None:
            self.sampler.feed(readings, now)
        else:
            self._sensing.emit(readings, now)
