"""Rules about devices that are asked, polled, heard by radio, read over the network, or listened to."""

from __future__ import annotations

import json
import math
import tracemalloc
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from edgegw.contract.hostile import mangled
from edgegw.contract.rule import rule
from edgegw.contract.subject import unsound
from edgegw.driver import (
    Advert,
    AdvertDriver,
    AskDriver,
    AudioDriver,
    FrameError,
    KeyedAdvertDecoder,
    Message,
    MessageDriver,
    Outcome,
    PollDriver,
    StreamDriver,
)
from edgegw.framing import Framer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from random import Random

    from edgegw.contract.subject import Subject

# What one opened device may hold after thousands of hostile inputs: a generous window of samples, and no more.
MOST_KEPT: Final = 1 << 20
HOSTILE_INPUTS: Final = 1500
# How deep a document may be nested by somebody who wants the decoder to fall over.
DEEP: Final = 100_000


def _heard(decode: Callable[[], Sequence[Outcome]], what: object = "") -> Sequence[Outcome]:
    """What decoding gives; whatever else it raises names the input, `what`."""
    try:
        return decode()
    except FrameError as error:
        return [error]
    except Exception as error:
        error.add_note(f"{what!s:.2000}")
        raise


def _seeds(subject: Subject) -> list[bytes]:
    return [fact.data for fact in subject.facts] or [b"\0" * 16]


@rule(AskDriver, tries=40)
def any_answers_in_a_conversation_give_readings_or_refusals(
    subject: Subject, random: Random
) -> Iterator[str]:
    """Answers, torn ones, those of another question, and silence, in any order."""
    driver, now = subject.made(), 0.0
    if not isinstance(driver, AskDriver):
        return
    decoder = driver.decoder()
    for asked in (decoder.opening, *[decoder.cycle] * random.randint(1, 3)):
        for request in asked():
            for _ in range(random.randint(0, 3)):
                now += random.choice((0.0, 0.05, 3.0, 4000.0))
                for frame in _framed(driver, mangled(random, random.choice(_seeds(subject)))):
                    found = _heard(
                        partial(decoder.decode, request, frame, now),
                        f"{request.name}: {frame.hex()}",
                    )
                    for sentence in unsound(driver, found):
                        yield f"{request.name}: {frame.hex()}: {sentence}"
            if random.randint(0, 1):
                yield from unsound(driver, decoder.silent(request, now))


def _framed(driver: AskDriver, data: bytes) -> list[bytes]:
    """The candidates that the framing finds in it: a decoder never sees anything else."""
    return Framer(driver.framing).feed(data + b"\r\n", lambda frame: frame, lambda _: None)


@rule(PollDriver, tries=60)
def any_answers_to_a_poll_give_readings_or_refusals(subject: Subject, random: Random) -> Iterator[str]:
    """Any registers, and blocks that were not answered."""
    driver = subject.made()
    if not isinstance(driver, PollDriver):
        return
    decoder = driver.decoder()
    for poll in range(random.randint(1, 3)):
        answers: list[list[int] | FrameError] = []
        for block in driver.blocks():
            highest = 1 if block.function in {1, 2} else 0xFFFF
            style = random.choice(("any", "low", "same", "none"))
            top = min(highest, 40) if style == "low" else highest
            words = [random.randint(0, top) for _ in range(block.count)]
            words = [words[0]] * block.count if style == "same" else words
            answers.append(FrameError("no_reply") if style == "none" else words)
        found = _heard(partial(decoder.decode, answers, float(poll)), answers)
        if not found:
            yield f"registers {answers} give nothing, and no reason either"
        for sentence in unsound(driver, found):
            yield f"registers {answers}: {sentence}"


@rule(AdvertDriver, tries=60)
def any_advertisements_give_readings_or_refusals(subject: Subject, random: Random) -> Iterator[str]:
    """Of any content behind the ids that the driver names, from anybody, weak and strong."""
    driver, now = subject.made(), 0.0
    if not isinstance(driver, AdvertDriver):
        return
    decoder = driver.decoder()
    for _ in range(random.randint(1, 12)):
        now += random.choice((0.0, 0.1, 61.0, 1000.0))
        advert = advertised(subject, driver, random)
        if isinstance(decoder, KeyedAdvertDecoder):
            decoder.rekey(bytearray(random.randbytes(32)))
        found = [
            *_heard(partial(decoder.decode, advert, now), advert),
            *_heard(partial(decoder.due, now), advert),
        ]
        for sentence in unsound(driver, found):
            yield f"{advert}: {sentence}"


def advertised(subject: Subject, driver: AdvertDriver, random: Random) -> Advert:
    """An advertisement that is for the driver, with mangled data behind one of its ids."""
    data = mangled(random, random.choice(_seeds(subject)))[:250]
    ids = [*((True, each) for each in driver.company_ids), *((False, each) for each in driver.service_ids)]
    company, number = random.choice(sorted(ids)) if ids else (True, random.randint(0, 0xFFFF))
    sender = driver.address or ":".join(f"{random.randint(0, 255):02X}" for _ in range(6))
    return Advert(
        sender,
        random.choice((None, True, False)),
        random.choice((-127, -90, -40, 0, 20, 127)),
        {number: data} if company else {},
        {} if company else {number: data},
    )


@rule(MessageDriver, tries=60)
def any_documents_give_readings_or_refusals(subject: Subject, random: Random) -> Iterator[str]:
    """Broken ones, huge ones, deep ones, and whole ones in which anything stands."""
    driver = subject.made()
    if not isinstance(driver, MessageDriver):
        return
    decoder = driver.decoder()
    for number in range(random.randint(1, 4)):
        body = document(random, random.choice(_seeds(subject)))
        message = Message(body, random.choice(("", "a/b", "\0", "x" * 300)))
        found = _heard(partial(decoder.decode, message, float(number)), body)
        if not found:
            yield f"{body[:200]!r} gives nothing, and no reason either"
        for sentence in unsound(driver, found):
            yield f"{body[:200]!r}: {sentence}"


def document(random: Random, seed: bytes) -> bytes:
    """A document that no device sends: a genuine one with damage, with other values, or none at all."""
    style = random.choice(("mangled", "swapped", "swapped", "deep", "noise"))
    if style == "deep":
        return random.choice((b"[", b'{"a":')) * random.choice((20, DEEP))
    if style == "noise":
        return random.randbytes(random.randint(0, 60))
    with suppress(ValueError):
        if style == "swapped":
            return json.dumps(_swapped(random, json.loads(seed))).encode()
    return mangled(random, seed)


def _swapped(random: Random, value: Any) -> Any:
    if random.randint(0, 7) == 0:
        nothing: tuple[object, ...] = (None, True, "", "nan", "-1", [], {}, [[]])
        return random.choice((*nothing, -1, 1e308, math.inf, math.nan, 10**30, "9" * 400))
    if isinstance(value, dict):
        return {key: _swapped(random, each) for key, each in value.items()}
    return [_swapped(random, each) for each in value] if isinstance(value, list) else value


@rule(AudioDriver, tries=20)
def any_samples_and_losses_give_levels_or_refusals(subject: Subject, random: Random) -> Iterator[str]:
    """Any bytes, whole samples or not, and any number of lost ones before them."""
    driver = subject.made()
    if not isinstance(driver, AudioDriver):
        return
    decoder = driver.decoder(random.choice((0.1, 0.37, 1.0, 60.0, 1e9)))
    for _ in range(random.randint(1, 8)):
        samples = random.randbytes(random.randint(1, 8)) * random.choice((1, 100, 30_000))
        lost = random.choice((0, 0, 1, 48_000, 1 << 64))
        found = _heard(
            partial(decoder.decode, samples, lost, 0.0), f"{len(samples)} bytes behind {lost} lost"
        )
        for sentence in unsound(driver, found):
            yield f"{len(samples)} bytes of samples behind {lost} lost ones: {sentence}"


@rule(StreamDriver, PollDriver, AdvertDriver, MessageDriver)
def thousands_of_hostile_inputs_leave_no_growing_memory(subject: Subject, random: Random) -> Iterator[str]:
    """One opened device, fed by somebody who wants the gateway to run out of memory."""
    feed = _feeder(subject, random)
    for number in range(HOSTILE_INPUTS // 10):  # what is made once is not what grows
        feed(float(number))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(HOSTILE_INPUTS):
            feed(1000.0 + number)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    if grown > MOST_KEPT:
        yield f"{HOSTILE_INPUTS} inputs left {grown} bytes behind, more than {MOST_KEPT}"


def _feeder(subject: Subject, random: Random) -> Callable[[float], object]:
    """Feeds one more hostile input to one opened device."""
    driver, seeds = subject.made(), _seeds(subject)
    if isinstance(driver, StreamDriver):
        talker, framer = driver.decoder(), Framer(driver.framing)
        return lambda now: framer.feed(
            mangled(random, random.choice(seeds)), lambda frame: talker.decode(frame, now), lambda _: None
        )
    if isinstance(driver, AdvertDriver):
        tag = driver.decoder()
        if isinstance(tag, KeyedAdvertDecoder):
            tag.rekey(bytearray(32))
        return lambda now: _heard(lambda: tag.decode(advertised(subject, driver, random), now))
    if isinstance(driver, MessageDriver):
        reader = driver.decoder()
        return lambda now: _heard(lambda: reader.decode(Message(document(random, random.choice(seeds))), now))
    if isinstance(driver, PollDriver):
        polled, blocks = driver.decoder(), driver.blocks()
        return lambda now: polled.decode([[random.randint(0, 1)] * block.count for block in blocks], now)
    raise TypeError(f"{driver} is fed in no known way")


RULES: Final = (
    any_answers_in_a_conversation_give_readings_or_refusals,
    any_answers_to_a_poll_give_readings_or_refusals,
    any_advertisements_give_readings_or_refusals,
    any_documents_give_readings_or_refusals,
    any_samples_and_losses_give_levels_or_refusals,
    thousands_of_hostile_inputs_leave_no_growing_memory,
)
