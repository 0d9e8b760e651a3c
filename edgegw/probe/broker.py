"""Devices that publish on a broker of the local network, recognised by what they say."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from edgegw import registry
from edgegw.driver import FrameError, Message, MessageDriver, Subscription
from edgegw.ports.documents import LocalNetwork
from edgegw.probe.candidates import ANYTHING, Wish
from edgegw.probe.guess import Guess, Sureness, best_first, sampled
from edgegw.probe.progress import timed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edgegw.driver import Outcome
    from edgegw.ports.mqtt_local import Arrived
    from edgegw.probe.progress import Said

#: How long is listened: cameras publish with each passer-by or each minute, retained messages come at once.
LISTEN_S: Final = 20.0
#: Topics that are looked at, each with its newest messages: a site has tens, and a person reads no more.
MOST_TOPICS: Final = 200
MOST_MESSAGES: Final = 3


async def listen(server: str, said: Said, wish: Wish = ANYTHING) -> list[Guess]:
    """What a driver reads among all that is published; PortError when the broker cannot be used."""
    heard: dict[str, list[bytes]] = {}

    def take(message: Arrived) -> None:
        if message.topic in heard or len(heard) < MOST_TOPICS:
            kept = heard.setdefault(message.topic, [])
            kept.append(message.payload)
            del kept[:-MOST_MESSAGES]

    source = Subscription(server, (wish.options.get("topic", "#"),))
    async with timed(said, f"listening on {server}", LISTEN_S):
        listening = asyncio.ensure_future(LocalNetwork().listen(source, take, lambda _: None))
        try:
            await asyncio.wait([listening], timeout=LISTEN_S)
        finally:
            if not listening.done():
                listening.cancel()
            (result,) = await asyncio.gather(listening, return_exceptions=True)
    if isinstance(result, Exception):
        raise result
    return recognised(server, heard, wish)


def recognised(server: str, heard: Mapping[str, Iterable[bytes]], wish: Wish = ANYTHING) -> list[Guess]:
    """The drivers that read what came on each topic, those with most values first. Pure."""
    found: list[Guess] = []
    for name, options in _ways(server, wish):
        for topic, bodies in heard.items():
            given = {**options, "topic": topic}
            try:
                driver = registry.make(name, given)
            except registry.OptionsError:
                continue
            if isinstance(driver, MessageDriver) and (guess := _read(name, given, driver, topic, bodies)):
                found.append(guess)
    return best_first(found)


def _read(
    name: str, options: Mapping[str, Any], driver: MessageDriver, topic: str, bodies: Iterable[bytes]
) -> Guess | None:
    """What a driver makes of the messages of one topic; None when they are not for it."""
    decoder, understood = driver.decoder(), 0
    outcomes: list[Outcome] = []
    for body in bodies:
        try:
            outcomes += decoder.decode(Message(body, topic), 0.0)
        except FrameError:
            continue
        understood += 1
    if not understood:
        return None
    sample = sampled(outcomes)
    # A running total gives its first reading with the second message: the map fits all the same.
    sureness = Sureness.SURE if sample else Sureness.LIKELY
    what = "message" if understood == 1 else "messages"
    return Guess(name, options, sureness, f"{understood} {what} on {topic}", sample=sample)


def _ways(server: str, wish: Wish) -> list[tuple[str, dict[str, Any]]]:
    """Drivers of broker devices under each set of options to try, without the topic."""
    found: list[tuple[str, dict[str, Any]]] = []
    for name in registry.names():
        try:
            driver = registry.load(name)
        except registry.DriverError:
            continue
        if not issubclass(driver, MessageDriver) or "topic" not in {
            each.name for each in registry.options(driver)
        }:
            continue
        found += [
            (name, {**options, "server": server})
            for options in driver.candidates()
            if wish.fits(name, {**options, "topic": wish.options.get("topic", "")})
        ]
    return found
