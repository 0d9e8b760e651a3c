"""Devices of the local network that serve a document, recognised by what it says."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from edgegw.driver import FrameError, Message, MessageDriver, Pull
from edgegw.ports.errors import PortError
from edgegw.ports.http.fetch import fetch
from edgegw.probe.candidates import ANYTHING, candidates
from edgegw.probe.guess import Guess, Sureness, best_first, sampled
from edgegw.probe.progress import unsaid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.probe.candidates import Wish
    from edgegw.probe.progress import Said

# A device of the same network answers within milliseconds, a slow camera within two seconds.
ANSWER_S: Final = 3.0
#: Hosts of one search: a /24, as a cabinet's own network has at most.
MOST_HOSTS: Final = 256
# Connections at once: enough for a /24 within half a minute, and no flood.
AT_ONCE: Final = 16


async def look(url: str, said: Said, wish: Wish = ANYTHING) -> list[Guess]:
    """What serves a document at `url`; a bare `http://HOST` is asked for each path that a driver knows.

    Raises PortError when nothing answers at all.
    """
    parts = urlsplit(url)
    bare = parts.path in {"", "/"} and not parts.query
    urls = [f"{url.rstrip('/')}{path}" for path in _paths()] if bare else [url]
    trouble: PortError | None = None
    for done, each in enumerate(urls):
        said(f"fetching {each}", done / len(urls))
        try:
            body = await fetch(Pull(each, ANSWER_S))
        except PortError as error:
            trouble = error
            continue
        trouble = None
        if found := recognised(each, body, wish):
            return found
    if trouble is not None:
        raise trouble
    return []


async def sweep(hosts: Sequence[str], said: Said) -> list[tuple[str, Guess]]:
    """The devices among these hosts (at most MOST_HOSTS), as (URL, guess)."""
    free = asyncio.Semaphore(AT_ONCE)
    found: list[tuple[str, Guess]] = []
    asked = 0

    async def one(host: str) -> None:
        nonlocal asked
        async with free:
            said("asking each address for a document", asked / len(hosts), host)
            asked += 1
            try:
                guesses = await look(f"http://{host}", unsaid)
            except PortError:
                return
        if guesses:
            found.append((str(guesses[0].options["url"]), guesses[0]))

    async with asyncio.TaskGroup() as group:
        for host in hosts[:MOST_HOSTS]:
            group.create_task(one(host))
    return sorted(found, key=lambda each: each[0])


def recognised(url: str, body: bytes, wish: Wish = ANYTHING) -> list[Guess]:
    """The drivers that read a document, the one with most values first. Pure."""
    found: list[Guess] = []
    for name, options, driver in candidates(MessageDriver, wish):
        if not isinstance(driver, MessageDriver) or not driver.paths:
            continue
        try:
            sample = sampled(driver.decoder().decode(Message(body), 0.0))
        except FrameError:
            continue
        # A running total gives its first reading with the second document: the map fits all the same.
        sureness = Sureness.SURE if sample else Sureness.LIKELY
        about = f"its document has {len(sample)} value{'s' if len(sample) != 1 else ''}"
        found.append(Guess(name, {**options, "url": url}, sureness, about, sample=sample))
    best = best_first(found)
    if len(best) > 1 and best[0].sureness is Sureness.SURE:
        best = [replace(each, sureness=Sureness.LIKELY) if each is not best[0] else each for each in best]
    return best


def _paths() -> list[str]:
    """Every path under which a driver's devices serve their document, each once."""
    paths = [
        path
        for each in candidates(MessageDriver)
        if isinstance(each.driver, MessageDriver)
        for path in each.driver.paths
    ]
    return list(dict.fromkeys(paths))
