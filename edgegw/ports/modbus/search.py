"""Find out which Modbus devices are on a line or behind a host: only ever by reading, within a bounded time."""

from __future__ import annotations

import asyncio
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from edgegw.driver import Discovery, FrameError, Reading
from edgegw.ports.errors import PortError
from edgegw.ports.modbus.rtu import RtuBus
from edgegw.ports.modbus.tcp import TcpBus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgegw.driver import Answer, Block, PollDriver, SerialLine

#: Longest search: a person waits for it in front of an open cabinet.
LIMIT_S: Final = 120.0
# A unit that is asked for what it does not have may need as long to say so as to measure; longer costs every empty
# address that much.
TIMEOUT_S: Final = 0.3
# Different first questions to one address: devices that do not know a register often say nothing at all.
QUESTIONS: Final = 4
# Whoever used the port just before gives it back in a thread of its own, which may take a moment.
BUSY_S: Final = 3.0
# How often a unit that somebody named is asked each question: a busy device, or a busy machine, may miss one.
NAMED_TRIES: Final = 3
#: Addresses that are searched unless told otherwise, after those that the devices leave their makers with.
USUAL: Final = tuple(range(1, 17))


class Sure(IntEnum):
    """How sure it is that a device is of a profile."""

    #: It answers, and no profile reads it.
    UNKNOWN = 0
    #: It has the registers, and some of their values can be.
    POSSIBLE = 1
    #: It has the registers, and every value can be.
    LIKELY = 2
    #: And it told its own address in a way that only this maker's devices do.
    CERTAIN = 3


class Found(NamedTuple):
    """One device: the profile that reads it best (empty for none), its line (None on a network), its address.

    `readings` are what it says with that profile, `identity` who it says that it is; `others` are profiles that
    fit as well, and `alternatives` what it says with each of them.
    """

    profile: str
    line: SerialLine | None
    unit: int
    readings: Sequence[Reading]
    sure: Sure
    identity: str = ""
    others: tuple[str, ...] = ()
    alternatives: Mapping[str, Sequence[Reading]] = MappingProxyType({})


class Progress(NamedTuple):
    """How far a search is: questions asked and at most to be asked, what is being tried, devices found so far."""

    asked: int
    most: int
    line: SerialLine | None
    unit: int
    found: int


class Bus(Protocol):
    """What a search needs of a bus."""

    async def poll(
        self,
        unit: int,
        blocks: Sequence[Block],
        *,
        timeout_s: float,
        min_gap_s: float,
        lines: Sequence[SerialLine] = (),
    ) -> Sequence[Answer]:
        """Read blocks."""
        ...


async def discover(
    where: str | tuple[str, int],
    candidates: Mapping[str, PollDriver],
    *,
    lines: Sequence[SerialLine] = (),
    units: Sequence[int] = (),
    limit_s: float = LIMIT_S,
    progress: Callable[[Progress], None] = lambda _: None,
) -> list[Found]:
    """The devices on a serial port (`where` is its path) or behind a host (`where` is host and port).

    `candidates` are drivers by the names of their profiles. `lines` and `units` narrow the search; by default all
    line settings of the candidates are tried, and the addresses that their devices have by default, then USUAL.
    A line on which somebody answers ends the search for others: all devices of a line share one. What was found in
    `limit_s` seconds is returned. It never writes.

    Raises:
        PortError: The port or host cannot be used.
    """
    usual = [unit for driver in candidates.values() for unit in driver.units]
    search = _Search(
        candidates,
        tuple(dict.fromkeys(units or [*usual, *USUAL])),
        progress,
        NAMED_TRIES if units else 1,
    )
    try:
        async with asyncio.timeout(limit_s):
            if isinstance(where, str):
                possible = [line for driver in candidates.values() for line in driver.lines()]
                often = sorted(dict.fromkeys(possible), key=possible.count, reverse=True)
                await search.on_lines(where, lines or often)
            else:
                bus = TcpBus(*where)
                try:
                    await search.on(bus, None)
                finally:
                    await bus.close()
    except TimeoutError:
        pass  # what was found in time stands
    return search.found


class _Search:
    """One search; `found` grows."""

    def __init__(
        self,
        candidates: Mapping[str, PollDriver],
        units: Sequence[int],
        progress: Callable[[Progress], None],
        tries: int,
    ) -> None:
        self.found: list[Found] = []
        self._tries = tries
        self._candidates = candidates
        self._units = units
        self._progress = progress
        self._asked = 0
        self._most = 0

    async def on_lines(self, path: str, lines: Sequence[SerialLine]) -> None:
        """One setting after the other, until somebody answers."""
        self._most = len(lines) * sum(len(self._questions(unit)) for unit in self._units)
        for line in lines:
            await self._on_line(path, line)
            if self.found:
                return

    async def _on_line(self, path: str, line: SerialLine) -> None:
        """Every address with these settings."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + BUSY_S
        while True:
            bus = RtuBus(path, line)
            try:
                await self._ask_anybody(bus, line)
                await self.on(bus, line)
                return
            except PortError as error:
                if error.reason != "busy" or loop.time() > give_up:
                    raise
            finally:
                await bus.close()
            await asyncio.sleep(BUSY_S / 10)

    async def on(self, bus: Bus, line: SerialLine | None) -> None:
        """Every address of one bus."""
        self._most = self._most or sum(len(self._questions(unit)) for unit in self._units)
        known = {found.unit for found in self.found}
        for unit in self._units:
            if unit in known or not await self._is_there(bus, unit, line):
                continue
            found = await self._identified(bus, unit, line)
            # On a network the host itself may answer for units that it does not have.
            if found.sure or line is not None:
                self.found.append(found)

    async def _ask_anybody(self, bus: RtuBus, line: SerialLine) -> None:
        """The one device on the line may say its address by itself."""
        asked: dict[tuple[int, Block], list[str]] = {}
        for name, driver in self._candidates.items():
            if (discovery := driver.discovery()) is not None:
                asked.setdefault((discovery.unit, discovery.block), []).append(name)
        for (unit, block), names in asked.items():
            self._progress(Progress(self._asked, self._most, line, unit, len(self.found)))
            answer = await bus.who(unit, block, timeout_s=TIMEOUT_S, min_gap_s=0.0)
            if isinstance(answer, FrameError):
                continue
            address, words = answer
            discovery = self._candidates[names[0]].discovery()
            told = discovery is not None and _tells(discovery, address, words)
            if told and address not in {found.unit for found in self.found}:
                self.found.append(await self._identified(bus, address, line, certain=names))

    async def _is_there(self, bus: Bus, unit: int, line: SerialLine | None) -> bool:
        """Whether somebody with this address answers anything at all."""
        for block in self._questions(unit):
            self._asked += 1
            self._progress(Progress(self._asked, self._most, line, unit, len(self.found)))
            (answer,) = await bus.poll(unit, [block], timeout_s=TIMEOUT_S, min_gap_s=0.0)
            if not isinstance(answer, FrameError) or _spoke(answer):
                return True
        return False

    def _questions(self, unit: int) -> list[Block]:
        """First questions to an address: what devices that come with it have, else what most of them have."""
        at_home = [driver for driver in self._candidates.values() if unit in driver.units]
        blocks = [block for driver in at_home or self._candidates.values() for block in driver.blocks()[:1]]
        often = sorted(dict.fromkeys(blocks), key=blocks.count, reverse=True)
        return often[: QUESTIONS if at_home else 1] * self._tries

    async def _identified(
        self, bus: Bus, unit: int, line: SerialLine | None, certain: Sequence[str] = ()
    ) -> Found:
        """The profile that fits best; those that the device named itself come first."""
        fits = []
        answered: dict[tuple[Block, ...], Sequence[Answer]] = {}
        for name, driver in self._candidates.items():
            blocks = tuple(driver.blocks())
            if blocks not in answered:  # many devices have the same first registers
                answered[blocks] = await bus.poll(
                    unit, blocks, timeout_s=driver.timeout_s, min_gap_s=driver.min_gap_s
                )
            readings, sure = _fit(driver, answered[blocks])
            if sure is Sure.LIKELY and name in certain:
                sure = Sure.CERTAIN
            if sure:
                at_home = unit in driver.units and tuple(driver.units) != (1,)
                fits.append((sure, at_home, len(readings), name, readings))
        if not fits:
            return Found("", line, unit, (), Sure.UNKNOWN)
        fits.sort(key=lambda fit: fit[:3], reverse=True)  # stable: of equals the first candidate wins
        sure, _, _, best, readings = fits[0]
        driver = self._candidates[best]
        answers = [
            (await bus.poll(unit, [block], timeout_s=driver.timeout_s, min_gap_s=driver.min_gap_s))[0]
            for block in driver.identity_blocks()
        ]
        identity = driver.identity(answers) if answers else ""
        others = {name: said for also, _, _, name, said in fits[1:] if also >= Sure.LIKELY}
        return Found(best, line, unit, readings, sure, identity, tuple(others), others)


def _fit(driver: PollDriver, answers: Sequence[Answer]) -> tuple[Sequence[Reading], Sure]:
    """What the device says with one driver, and how well that fits."""
    if any(isinstance(answer, FrameError) for answer in answers):
        return (), Sure.UNKNOWN
    outcomes = driver.decoder().decode(answers, 0.0)
    readings = [each for each in outcomes if isinstance(each, Reading)]
    refused = [each.reason for each in outcomes if isinstance(each, FrameError)]
    if "out_of_range" in refused or "implausible" in refused:
        return readings, Sure.POSSIBLE if readings else Sure.UNKNOWN
    # A counter has no first value, and a sensor that warms up none at all: both have the registers.
    return readings, Sure.LIKELY if readings else Sure.POSSIBLE


def _tells(discovery: Discovery, address: int, words: Sequence[int]) -> bool:
    """Whether the answer repeats the address that it came from."""
    return discovery.address_at is None or words[discovery.address_at] == address


def _spoke(error: FrameError) -> bool:
    """Whether the device itself refused: then it is there."""
    return error.reason.startswith("modbus_exception") and error.reason not in {
        "modbus_exception_10",
        "modbus_exception_11",
    }
