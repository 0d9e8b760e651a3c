"""Somebody who listens to the virtual radio, and times that make a test short."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from edgegw.ports.ble import Pace, Scanner
from edgegw.ports.ble.patterns import Wants

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from edgegw.driver import Advert, Notice
    from edgegw.ports.errors import PortError

# The machines that run the tests are slow and busy: nothing here is a measure of time.
PATIENCE_S = 60.0
# Long silences, so that the watchdog stays out of what is tested; everything else at once.
BRISK = Pace(quiet=3600, check=0.05, first_pause=0.05, longest_pause=0.2)
# The watchdog's first steps come at once, the later ones never.
NERVOUS = Pace(quiet=0.3, longest_quiet=3600, power_pause=0, check=0.05, first_pause=0.05, longest_pause=0.2)

# The same, where a machine that stands still for a moment must not look like a silent radio.
SUSPICIOUS = Pace(quiet=3, longest_quiet=3600, check=0.05, first_pause=0.05, longest_pause=0.2)

COMPANY = 0x0499
SERVICE = 0xFCD2
TAG = "C0:FF:EE:00:00:01"


class Ear:
    """Notes what it hears and is told."""

    def __init__(self, *companies: int, services: tuple[int, ...] = (), everything: bool = False) -> None:
        self.wants = Wants(frozenset(companies), frozenset(services), everything=everything)
        self.adverts: list[Advert] = []
        self.errors: list[PortError | None] = []
        self.notices: dict[str, list[str]] = {}
        self.aloud: list[str] = []
        self.hears = False

    def heard(self, advert: Advert, now: float) -> None:
        assert now <= time.monotonic()
        self.adverts.append(advert)

    def hearing(self) -> None:
        self.hears = True

    def deaf(self, error: PortError | None) -> None:
        self.hears = False
        self.errors.append(error)

    def notice(self, notice: Notice, *, first: bool) -> None:
        self.notices.setdefault(notice.name, []).append(notice.text)
        if first:
            self.aloud.append(notice.text)

    @property
    def reasons(self) -> list[str]:
        """The reasons of the failures that it was told."""
        return [error.reason for error in self.errors if error is not None]

    def said(self, words: str) -> bool:
        """Whether a notice with these words came."""
        return any(words in text for texts in self.notices.values() for text in texts)


async def until(condition: Callable[[], object]) -> None:
    """Wait until it holds; TimeoutError when it never does."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 -- what is waited for has no event of its own
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def listening(scanner: Scanner, *ears: Ear) -> AsyncIterator[None]:
    """These ears listen for as long as the context lasts."""
    tasks = [asyncio.create_task(scanner.listen(ear)) for ear in ears]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(ended, asyncio.CancelledError):
                assert ended is None, ended
