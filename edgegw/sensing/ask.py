"""Devices that are asked: one request after the other, and what arrives in between is nobody's answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from edgegw.framing import Framer
from edgegw.sampling import Sampler
from edgegw.sensing.sensing import until_first_ends
from edgegw.views import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.driver import AskDriver, FrameError, Outcome, Reading, Request
    from edgegw.sensing.sensing import Sensing
    from edgegw.sensing.wires import Port

# What a device says that nobody asked for, or said too late or twice: counted by this word.
UNASKED: Final = "unasked"
_WHY: Final = "The device does not answer."
_TODO: Final = (
    "Check its power, both data wires (crossed?) and the line settings or the port of the serial server."
)


async def run(sensing: Sensing, driver: AskDriver) -> None:
    """Ask the device for ever, until its port goes: then PortError."""
    conversation = _Conversation(sensing, driver)
    opened = asyncio.Event()
    port = sensing.port(driver.line, conversation.hear, opened.set)
    await until_first_ends((port.run(), conversation.lead(port, opened)))


class _Conversation:
    """One opened device: the open request, the frames that answer it, what they give."""

    def __init__(self, sensing: Sensing, driver: AskDriver) -> None:
        self._sensing = sensing
        self._framing = driver.framing
        self._framer = Framer(driver.framing)
        self._decoder = driver.decoder()
        average = sensing.sensor.average
        self._averager = Sampler(average) if average is not None else None
        #: The request that waits for answers, the second it was sent and how many it still wants.
        self._open: Request | None = None
        self._sent_at = 0.0
        self._wanted = 0
        #: Until then nothing is sent: an answer that is late may still come.
        self._quiet_until = 0.0
        self._answered = asyncio.Event()
        self._arrived = 0.0
        #: What the cycle brought so far: answers, readings, answers that said "warming up".
        self._answers = self._readings = self._warming = 0

    async def lead(self, port: Port, opened: asyncio.Event) -> None:
        """The opening once, then a cycle each interval."""
        await opened.wait()
        sensing = self._sensing
        for request in self._decoder.opening():
            await self._ask(port, request)
        async for _ in sensing.ticks(sensing.sensor.interval or 1.0):
            self._answers = self._readings = self._warming = 0
            asked = False
            for request in self._decoder.cycle():
                asked = await self._ask(port, request) or asked
            if asked:
                self._judge()
            if self._averager is not None:
                now = sensing.clock.monotonic()
                if means := self._averager.due(now):
                    sensing.emit(means, now)

    def hear(self, chunk: bytes, now: float) -> None:
        """Take bytes that arrived at monotonic second `now`."""
        if self._open is None or now < self._sent_at:
            # The end of an answer that came too late, or a device that talks: never the next request's answer.
            self._sensing.view.error(UNASKED)
            return
        self._arrived = now
        found: list[Outcome] = []
        self._framer.feed(chunk, lambda frame: found.extend(self._decode(frame)), self._refuse)
        if found:
            self._take(found, now)
        if self._wanted <= 0:
            self._open = None
            self._answered.set()

    async def _ask(self, port: Port, request: Request) -> bool:
        """Send a request and wait for its answers; False when it may not be sent."""
        sensing = self._sensing
        if request.changes and not sensing.sensor.allow_setup:
            return False
        await sensing.clock.sleep(max(request.after_s, self._quiet_until - sensing.clock.monotonic()))
        # Two turns of the loop: what the kernel already holds is heard now, as nobody's answer.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self._framer = Framer(self._framing)
        self._answered.clear()
        self._wanted = request.replies
        self._sent_at = sensing.clock.monotonic()
        self._open = request if request.replies else None
        try:
            await port.write(request.data)
            if request.replies and not await self._answered_within(request.timeout_s):
                sensing.view.error("no_reply")
                self._open = None
                now = sensing.clock.monotonic()
                # A device that always takes a little too long would otherwise answer the next request with this
                # one's answer, for ever: it gets as long again, and what it says then is nobody's.
                self._quiet_until = now + request.timeout_s
                self._take(self._decoder.silent(request, now), now)
        finally:
            self._open = None
        return True

    async def _answered_within(self, seconds: float) -> bool:
        if not self._answered.is_set():
            await until_first_ends((self._answered_wait(), self._sensing.clock.sleep(seconds)))
        return self._answered.is_set()

    async def _answered_wait(self) -> None:
        await self._answered.wait()

    def _decode(self, frame: bytes) -> Sequence[Outcome]:
        """Outcomes of a frame; none when the request has all its answers already."""
        if self._wanted <= 0 or self._open is None:
            self._sensing.view.error(UNASKED)
            return ()
        outcomes = self._decoder.decode(self._open, frame, self._arrived)
        self._accept()
        return outcomes

    def _refuse(self, error: FrameError) -> None:
        self._sensing.view.error(error.reason)
        if error.whole:
            self._warming += error.reason == "warming_up"
            self._accept()

    def _accept(self) -> None:
        self._wanted -= 1
        self._answers += 1
        if not self._wanted:
            self._sensing.view.answered(self._arrived - self._sent_at)

    def _take(self, outcomes: Sequence[Outcome], now: float) -> None:
        self._warming += any(getattr(each, "reason", "") == "warming_up" for each in outcomes)
        readings: Sequence[Reading] = self._sensing.take(outcomes, now)
        self._readings += len(readings)
        if self._averager is not None:
            self._averager.feed(readings, now)

    def _judge(self) -> None:
        """What the cycle says about the device, where no reading says it."""
        view = self._sensing.view
        if not self._answers:
            if view.trouble in (None, State.WARM_UP):
                self._sensing.log.warning("sensor does not answer", sensor=self._sensing.name, why=_WHY)
            view.trouble, view.why, view.todo = State.NO_ANSWER, _WHY, _TODO
        elif not self._readings:
            # It answers: whatever trouble there was is over, and it may yet have nothing to say.
            view.trouble, view.why, view.todo = (State.WARM_UP if self._warming else None), "", ""
