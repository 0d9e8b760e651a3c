"""Known inputs of every installed driver, each put through what the daemon runs for it.

The inputs are the tests' own: the facts, and the worked examples of profiles and maps. Only inputs that give a reading
are measured; a refusal is cheaper.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from random import Random
from typing import TYPE_CHECKING, Any, Final

from contract_subjects import devices

from edgegw import registry
from edgegw.driver import (
    Advert,
    AdvertDriver,
    AskDriver,
    AudioDriver,
    FrameError,
    KeyedAdvertDecoder,
    Message,
    MessageDriver,
    PollDriver,
    Pull,
    Reading,
    StreamDriver,
)
from edgegw.framing import Framer, Lines
from edgegw.simulate.models import meters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from edgegw.contract import Fact, Subject
    from edgegw.driver import AskDecoder, Block, Driver, Framing, Outcome, Request, SerialLine
    from edgegw.simulate.answering import Behaviour

#: Legacy advertisements come 20 ms apart at most often (Bluetooth Core 5.4, Vol 6 Part B, 4.4.2.2.1). Per second.
ADVERTS: Final = 50.0
#: A document is fetched each 50 ms at most often: the shortest `interval`. Per second.
FETCHES: Final = 20.0
#: Passers-by whose phones are counted in one turn, with addresses of their own.
PHONES: Final = 1000
#: Pieces of sound, in seconds: what a sound card gives at once.
PIECE_S: Final = 0.1
#: Devices whose answers mean nothing without those before them: the simulation's say them all.
TALKING: Final[Mapping[str, Callable[[Any], Behaviour]]] = {
    "ascii_slm-nti-xl2": meters.Xl2,
    "ascii_slm-rion-nl43": meters.Rion,
    "ascii_slm-svantek": meters.Svantek,
    "nsrt-nsrt-mk3": meters.Nsrt,
}


@dataclass(frozen=True)
class Work:
    """One device: `turn` decodes each of its `inputs` once and returns how many frames (or seconds of sound) that was.

    `most` is how many a second can come at most, for the reason `why`; None where nothing limits them.
    """

    driver: str
    kind: str
    label: str
    inputs: int
    turn: Callable[[], float]
    most: float | None = None
    why: str = ""


def works() -> Iterator[Work]:
    """Everything that can be measured; a driver may have several devices."""
    for subject in devices():
        driver = _made(subject, subject.facts[0]) if subject.facts else subject.made()
        found = _of(subject, driver)
        if found is not None:
            yield found


def _of(subject: Subject, driver: Driver) -> Work | None:
    """The work of one device; None where none of its inputs gives a reading by itself."""
    if isinstance(driver, StreamDriver):
        return _stream(subject, driver)
    if isinstance(driver, AskDriver):
        return _ask(subject, driver)
    if isinstance(driver, PollDriver):
        return _poll(subject)
    if isinstance(driver, AdvertDriver):
        return _phones(subject, driver) if driver.everything else _adverts(subject)
    if isinstance(driver, MessageDriver):
        return _documents(subject)
    if isinstance(driver, AudioDriver):
        return _sound(subject, driver)
    return None


def _made(subject: Subject, fact: Fact) -> Driver:
    """The driver as a sensor has it, with the options that the fact needs."""
    own = {option.name for option in registry.options(subject.kind)}
    given = {key: value for key, value in fact.context.items() if key in own}
    return registry.make(subject.name, {**subject.options, **given}, text=True)


def _reads(outcomes: Sequence[Outcome]) -> bool:
    return any(isinstance(each, Reading) for each in outcomes)


def _tried(decode: Callable[[], Sequence[Outcome]]) -> bool:
    try:
        return _reads(decode())
    except FrameError:
        return False


def _good(subject: Subject) -> Iterator[Fact]:
    return (fact for fact in subject.facts if fact.expect is not None)


def _on_wire(fact: Fact, framing: Framing) -> bytes:
    """The bytes of a fact as the device sends them: lines of text were published without their end."""
    if fact.layer == "ascii-line":
        return fact.data + (framing.end if isinstance(framing, Lines) else b"\r\n")
    return fact.data


def _refused(_: FrameError) -> None:
    return None


# -- serial lines


def _fed(
    framing: Framing, decode: Callable[[bytes], Sequence[Outcome]], data: bytes
) -> Callable[[], Sequence[Outcome]]:
    return lambda: [each for frame in Framer(framing).feed(data, decode, _refused) for each in frame]


def _per_s(line: SerialLine, octets: float) -> float:
    """Frames of so many bytes that the line carries in a second."""
    return line.baudrate / (octets * (1 + line.bytesize + (line.parity != "N") + line.stopbits))


def _is_heard(driver: StreamDriver, fact: Fact) -> bool:
    """Whether a fact is a reading when it comes over the line."""
    decoder = driver.decoder()
    data = _on_wire(fact, driver.framing)
    return _tried(_fed(driver.framing, lambda frame: decoder.decode(frame, 0.0), data))


def _stream(subject: Subject, driver: StreamDriver) -> Work | None:
    facts = list(_good(subject))
    chunks = [_on_wire(fact, driver.framing) for fact in facts if _is_heard(driver, fact)]
    # A capture with noise in it is no measure of how many frames a line carries, where there are frames alone.
    captures = [fact.data for fact in facts if fact.layer == "uart-stream"]
    chunks = [chunk for chunk in chunks if chunk not in captures] or chunks
    if not chunks:
        return None
    framer, decoder = Framer(driver.framing), driver.decoder()
    now = 0.0

    def decode(frame: bytes) -> Sequence[Outcome]:
        return decoder.decode(frame, now)

    def turn() -> float:
        nonlocal now
        before = framer.accepted
        for chunk in chunks:
            now += driver.period_s
            framer.feed(chunk, decode, _refused)
        return framer.accepted - before

    most = _per_s(driver.line, sum(map(len, chunks)) / turn())
    return Work(
        subject.name,
        subject.kind.kind,
        subject.label,
        len(chunks),
        turn,
        most,
        f"{driver.line.baudrate} baud",
    )


def _ask(subject: Subject, driver: AskDriver) -> Work | None:
    """Single answers that stand for themselves; else the answers of a whole cycle of a simulated device."""
    if subject.label in TALKING:
        decoder, pairs = _conversation(driver, TALKING[subject.label](_Setting()))
    else:
        decoder, pairs = driver.decoder(), list(_answers(subject, driver))
    if not pairs:
        return None

    def turn() -> float:
        decoder.cycle()
        for request, data in pairs:
            Framer(driver.framing).feed(data, partial(_answered, decoder, request), _refused)
        return len(pairs)

    octets = sum(len(request.data) + len(data) for request, data in pairs) / len(pairs)
    most, why = _per_s(driver.line, octets), f"{driver.line.baudrate} baud, asked"
    return Work(subject.name, subject.kind.kind, subject.label, len(pairs), turn, most, why)


def _answered(decoder: AskDecoder, request: Request, frame: bytes) -> Sequence[Outcome]:
    return decoder.decode(request, frame, 0.0)


def _answers(subject: Subject, driver: AskDriver) -> Iterator[tuple[Request, bytes]]:
    """The facts that are an answer to the first request of a cycle that takes them for one."""
    for fact in _good(subject):
        data = _on_wire(fact, driver.framing)
        for request in driver.decoder().cycle():
            if _tried(_fed(driver.framing, partial(_answered, driver.decoder(), request), data)):
                yield request, data
                break


class _Setting:
    """As much of a simulation's setting as its meters look at."""

    numbered = True

    def blank(self, number: int, t: float) -> bool:
        """They always have a value."""
        del number, t
        return False


def _conversation(driver: AskDriver, device: Behaviour) -> tuple[AskDecoder, list[tuple[Request, bytes]]]:
    """A decoder that knows its device, and one cycle's requests with their answers."""
    decoder = driver.decoder()

    def said(requests: Sequence[Request]) -> list[tuple[Request, bytes]]:
        found = []
        for request in requests:
            data = b"".join(answer.data for answer in device.asked(request.data, 0, 0.0))
            if request.replies and data:
                Framer(driver.framing).feed(data, partial(_answered, decoder, request), _refused)
                found.append((request, data))
        return found

    said(decoder.opening())
    return decoder, said(decoder.cycle())


# -- Modbus


def _poll(subject: Subject) -> Work | None:
    """The worked examples of a profile, through one decoder as the daemon polls it."""
    driver = subject.made()
    assert isinstance(driver, PollDriver)
    blocks = driver.blocks()
    bounds = [0, *accumulate(block.count for block in blocks)]
    polls = []
    for fact in _good(subject):
        if fact.layer == "modbus-registers" and len(fact.data) == 2 * bounds[-1]:
            words = [int.from_bytes(fact.data[at : at + 2]) for at in range(0, len(fact.data), 2)]
            answers = [words[begin:end] for begin, end in pairwise(bounds)]
            if _tried(partial(driver.decoder().decode, answers, 0.0)):
                polls.append(answers)
    if not polls:
        return None
    decoder = driver.decoder()
    now = 0.0

    def turn() -> float:
        nonlocal now
        for answers in polls:
            now += 1.0
            decoder.decode(answers, now)
        return len(polls)

    line = max(driver.lines(), key=lambda line: line.baudrate)
    most = _per_s(line, sum(map(_octets, blocks)))
    why = f"{line.baudrate} baud, polled"
    return Work(subject.name, subject.kind.kind, subject.label, len(polls), turn, most, why)


def _octets(block: Block) -> float:
    """Question and answer on an RTU line, each with the silence of 3.5 characters that ends it."""
    data = (block.count + 7) // 8 if block.function in {1, 2} else 2 * block.count
    return 8 + 3.5 + 5 + data + 3.5


# -- what comes through the air and over the network


def _repeated(
    subject: Subject, kept: list[Callable[[], Callable[[float], Sequence[Outcome]]]]
) -> tuple[Callable[[], float], str]:
    """A turn through inputs that may be refused when they come twice: each then gets a decoder of its own."""
    del subject
    ready = [make() for make in kept]
    alike = all(_tried(partial(decode, 0.0)) for decode in ready) and all(
        _tried(partial(decode, 1.0)) for decode in ready
    )
    now = 1.0

    def turn() -> float:
        nonlocal now
        for decode in ready:
            now += 1.0
            decode(now)
        return len(ready)

    def anew() -> float:
        for make in kept:
            make()(0.0)
        return len(kept)

    return (turn, "") if alike else (anew, "decoder made anew for each")


def _adverts(subject: Subject) -> Work | None:
    kept: list[Callable[[], Callable[[float], Sequence[Outcome]]]] = []
    for fact in _good(subject):
        driver = _made(subject, fact)
        assert isinstance(driver, AdvertDriver)
        advert = driver.advert_of(fact.layer, fact.data, fact.context)
        if advert is not None and _tried(partial(driver.decoder().decode, advert, 0.0)):
            kept.append(partial(_listening, driver, advert))
    if not kept:
        return None
    turn, note = _repeated(subject, kept)
    why = "20 ms between two" + (f"; {note}" if note else "")
    return Work(subject.name, subject.kind.kind, subject.label, len(kept), turn, ADVERTS, why)


def _listening(driver: AdvertDriver, advert: Advert) -> Callable[[float], Sequence[Outcome]]:
    return partial(driver.decoder().decode, advert)


def _phones(subject: Subject, driver: AdvertDriver) -> Work:
    """A crowd: a decoder that counts senders gives no reading before its window ends."""
    random = Random(1)
    phones = [
        Advert(random.randbytes(6).hex(":").upper(), True, -60, {0x004C: b"\x10\x05\x01\x18"}, {})
        for _ in range(PHONES)
    ]
    decoder = driver.decoder()
    assert isinstance(decoder, KeyedAdvertDecoder)
    decoder.rekey(bytearray(random.randbytes(32)))

    def turn() -> float:
        for advert in phones:
            decoder.decode(advert, 1.0)
        return len(phones)

    return Work(subject.name, subject.kind.kind, subject.label, len(phones), turn)


def _documents(subject: Subject) -> Work | None:
    kept: list[Callable[[], Callable[[float], Sequence[Outcome]]]] = []
    most: float | None = None
    for fact in _good(subject):
        driver = _made(subject, fact)
        assert isinstance(driver, MessageDriver)
        message = Message(fact.data, str(fact.context.get("topic", "")))
        if _tried(partial(driver.decoder().decode, message, 0.0)):
            kept.append(partial(_reading, driver, message))
            most = FETCHES if isinstance(driver.source(), Pull) else None
    if not kept:
        return None
    turn, note = _repeated(subject, kept)
    why = "; ".join(filter(None, ("interval = 50ms" if most else "", note)))
    return Work(subject.name, subject.kind.kind, subject.label, len(kept), turn, most, why)


def _reading(driver: MessageDriver, message: Message) -> Callable[[float], Sequence[Outcome]]:
    return partial(driver.decoder().decode, message)


# -- microphones


def _sound(subject: Subject, driver: AudioDriver) -> Work:
    """A second of noise, in pieces as a sound card gives them."""
    size = round(driver.rate * PIECE_S) * 4
    noise = Random(1).randbytes(round(1 / PIECE_S) * size)
    pieces = [noise[at : at + size] for at in range(0, len(noise), size)]
    decoder = driver.decoder(1.0)
    now = 0.0

    def turn() -> float:
        nonlocal now
        for piece in pieces:
            now += PIECE_S
            decoder.decode(piece, 0, now)
        return 1.0

    return Work(subject.name, subject.kind.kind, subject.label, 1, turn, 1.0, "seconds of sound")
