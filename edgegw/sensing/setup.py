"""Who a Modbus device is and how it is set: looked at when it first answers, and again after it was away.

What differs is told. It is written only where the sensor says `allow_setup = true`, only when reading says that it
differs (the memory of such devices wears out), and read back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgegw.driver import FrameError, Notice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.driver import Answer, Block, PollDriver, Setting
    from edgegw.sensing.sensing import Sensing
    from edgegw.sensing.wires import Bus

# A device that forgets what it was told is told again once an hour: 100,000 writes of its memory then last 11 years.
AGAIN_S: Final = 3600.0
# Pause between two looks at a device that takes its time to show a new state.
LOOK_S: Final = 0.5


class Setup:
    """One device's identity and settings."""

    def __init__(self, sensing: Sensing, driver: PollDriver, bus: Bus) -> None:
        self._sensing = sensing
        self._driver = driver
        self._bus = bus
        self._identity = ""
        self._written: dict[str, float] = {}
        self._pending = True

    def again(self) -> None:
        """The device was away: it may be another one, or have forgotten."""
        self._pending = True

    async def settle(self) -> bool:
        """Look at a device that answers, once; whether it is another one than before. PortError from the bus."""
        if not self._pending:
            return False
        other = await self._identify()
        if not await self._set():
            return other
        self._pending = False
        return other

    async def _identify(self) -> bool:
        # Asked once: a device that lacks such a register may say nothing at all, and that costs its line time.
        answers = [await self._read(block, 1) for block in self._driver.identity_blocks()]
        found = self._driver.identity(answers) if answers else ""
        before, notices = self._identity, self._sensing.view.notices
        if not found or found == before:
            return False
        self._identity = found
        if not before:
            notices["device"] = found
            self._sensing.view.facts.add("device")
            return False
        self._sensing.notice(Notice("device", f"another device answers: {found}; before it was {before}"))
        self._written.clear()
        return True

    async def _set(self) -> bool:
        """Compare and write all settings; False when the device went away meanwhile."""
        said, whole = [], True
        for setting in self._driver.settings():
            found = await self._shown(setting)
            if isinstance(found, FrameError) and not _refused(found):
                whole = False
                break
            if isinstance(found, FrameError):
                said.append(f"{setting.name} cannot be read: {found.reason}")
            elif found != setting.values:
                said.append(await self._change(setting, found))
        if said:
            self._sensing.notice(Notice("settings", "; ".join(said)))
        elif whole:
            self._sensing.view.notices.pop("settings", None)
        return whole

    async def _change(self, setting: Setting, found: Sequence[int]) -> str:
        """Write a setting and read it back; what came of it."""
        sensing, name = self._sensing, setting.name
        shown, wanted = _spelt(found), _spelt(setting.values)
        if not sensing.sensor.allow_setup:
            return f"{name} reads {shown}, not {wanted}: allow_setup = true would have it written"
        now = sensing.clock.monotonic()
        if now - self._written.get(name, -AGAIN_S) < AGAIN_S:
            return f"{name} reads {shown} again, not {wanted}: the device does not keep it"
        self._written[name] = now
        refused = await self._bus.write(
            sensing.sensor.unit,
            setting.write,
            timeout_s=self._driver.timeout_s,
            min_gap_s=self._driver.min_gap_s,
        )
        # An answer that is lost says nothing about the write: reading does.
        if refused is not None and _refused(refused):
            return (
                f"{name} reads {shown}, not {wanted}, and the device refuses to change it: {refused.reason}"
            )
        after = await self._shown(setting)
        if isinstance(after, FrameError):
            return f"{name} was written and cannot be read back: {after.reason}"
        if after != setting.values:
            return f"{name} was written and still reads {_spelt(after)}, not {wanted}"
        return f"{name} was {shown} and is {wanted} now"

    async def _shown(self, setting: Setting) -> Sequence[int] | FrameError:
        """What the device shows of a setting, as soon as it is right, at the latest after its time."""
        clock = self._sensing.clock
        end = clock.monotonic() + setting.settle_s
        while True:
            answer = await self._read(setting.block, self._driver.retries + 1)
            found = answer if isinstance(answer, FrameError) else tuple(answer)
            if found == setting.values or clock.monotonic() >= end:
                return found
            await clock.sleep(LOOK_S)

    async def _read(self, block: Block, tries: int) -> Answer:
        """The answer to one block, asked for up to so many times."""
        for _ in range(tries):
            (answer,) = await self._bus.poll(
                self._sensing.sensor.unit,
                [block],
                timeout_s=self._driver.timeout_s,
                min_gap_s=self._driver.min_gap_s,
            )
            if not isinstance(answer, FrameError) or _refused(answer):
                return answer
        return answer


def _refused(error: FrameError) -> bool:
    """Whether the device itself said no."""
    return error.reason.startswith("modbus_exception")


def _spelt(words: Sequence[int]) -> str:
    return " ".join(map(str, words))
