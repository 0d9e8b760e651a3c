"""How whoever waits for a search is told how far it is."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# A bar that moves each half second looks alive.
BEAT_S: Final = 0.5


class Said(Protocol):
    """Told what is being tried: `text` in few words, `share` of this part that is done (0 to 1), `detail` after it."""

    def __call__(self, text: str, share: float = 0.0, detail: str = "") -> None:
        """Take it."""
        ...


def unsaid(text: str, share: float = 0.0, detail: str = "") -> None:
    """Tell nobody."""
    del text, share, detail


@contextlib.asynccontextmanager
async def timed(said: Said, text: str, seconds: float) -> AsyncIterator[None]:
    """Tell how much of a wait of so many seconds has passed, while the context lasts."""
    began = time.monotonic()

    async def tell() -> None:
        while True:
            said(text, min(1.0, (time.monotonic() - began) / seconds))
            await asyncio.sleep(BEAT_S)

    telling = asyncio.create_task(tell())
    try:
        yield
    finally:
        telling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await telling
