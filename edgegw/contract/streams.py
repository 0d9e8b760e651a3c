"""Rules about what arrives on a serial line: frames in noise, in any chunking, and what only looks like them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgegw.contract.hostile import chunks, mangled, noise
from edgegw.contract.rule import rule
from edgegw.contract.subject import comparable, unsound
from edgegw.driver import AskDriver, FrameError, Lines, Outcome, StreamDriver
from edgegw.framing import Framer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from random import Random

    from edgegw.contract.subject import Subject
    from edgegw.driver import Framing, StreamDecoder

# How much of false starts is fed: far more than any buffer of a driver holds.
FLOOD: Final = 1 << 13


class Ear:
    """One opened device: a framer and a decoder, what they found, and how often the framing was asked."""

    def __init__(self, framing: Framing, decoder: StreamDecoder | None = None) -> None:
        self._framing = framing
        self._decoder = decoder
        self.asked = 0
        self.longest = framing.longest
        self.refusal = framing.refusal
        self.framer = Framer(self)
        self.found: list[Sequence[Outcome] | bytes] = []
        self.most_pending = 0

    def find(self, buffer: bytes, start: int) -> tuple[int, int]:
        """See `Framing.find`."""
        self.asked += 1
        return self._framing.find(buffer, start)

    def hear(self, pieces: Iterable[bytes]) -> Ear:
        """Feed all of them."""
        for piece in pieces:
            try:
                self.found += self.framer.feed(piece, self._decode, _refused)
            except Exception as error:
                error.add_note(f"uart-stream {piece.hex():.2000}")
                raise
            self.most_pending = max(self.most_pending, len(self.framer._pending))  # noqa: SLF001 -- what it is bounded by
        return self

    def counts(self) -> tuple[int, int, int]:
        """Frames accepted and refused, bytes dropped."""
        return self.framer.accepted, self.framer.refused, self.framer.dropped

    def _decode(self, frame: bytes) -> Sequence[Outcome] | bytes:
        return frame if self._decoder is None else self._decoder.decode(frame, 0.0)


def _refused(error: FrameError) -> None:
    if not error.reason:
        raise ValueError("a frame was refused without a reason")


def ear(subject: Subject) -> Ear:
    """An ear for the driver as a sensor has it; of a device that is asked, for its frames alone."""
    return Ear(_framing(subject), _decoder(subject))


def frames(subject: Subject) -> list[bytes]:
    """Known frames, as they stand on the line."""
    found = []
    for fact in subject.facts:
        line = fact.data + b"\r\n" if fact.layer == "ascii-line" else fact.data
        if fact.is_good and _framing(subject).refusal(line) is None:
            found.append(line)
    return found


def _framing(subject: Subject) -> Framing:
    driver = subject.made()
    if isinstance(driver, StreamDriver | AskDriver):
        return driver.framing
    raise TypeError(f"{driver} is on no serial line")


@rule(StreamDriver, AskDriver, tries=40)
def every_frame_is_found_between_noise_in_any_chunking(subject: Subject, random: Random) -> Iterator[str]:
    """Noise that holds the first byte of a marker may look like a frame, and be one: that is another rule's."""
    known = frames(subject)
    if not known:
        return
    sent = [random.choice(known) for _ in range(random.randint(0, 4))]
    stream = b"".join(_quiet(random, subject, known) + frame for frame in sent) + _quiet(
        random, subject, known
    )
    wanted = Ear(_framing(subject), _decoder(subject)).hear(sent).found
    heard = ear(subject).hear(chunks(random, stream))
    # Of a device that is asked, noise may be a line like any other: its decoder knows what it asked for.
    same = (
        _same(heard.found, wanted) if isinstance(subject.made(), StreamDriver) else _holds(heard.found, sent)
    )
    if len(wanted) == len(sent) and not same:
        yield f"uart-stream {stream.hex()}: {len(heard.found)} frames were found of {len(sent)}, or they differ"


def _decoder(subject: Subject) -> StreamDecoder | None:
    driver = subject.made()
    return driver.decoder() if isinstance(driver, StreamDriver) else None


def _quiet(random: Random, subject: Subject, known: Sequence[bytes]) -> bytes:
    if isinstance(_framing(subject), Lines) or all(frame.endswith(b"\n") for frame in known):
        # What has no end yet belongs to the next line, and any characters may be a line.
        return bytes(byte | 0x80 for byte in noise(random)) + b"\n"
    return noise(random, [frame[0] for frame in known])


def _same(one: Iterable[Sequence[Outcome] | bytes], two: Iterable[Sequence[Outcome] | bytes]) -> bool:
    def plain(found: Sequence[Outcome] | bytes) -> object:
        return found if isinstance(found, bytes) else comparable(found)

    return [plain(each) for each in one] == [plain(each) for each in two]


def _holds(found: Iterable[object], sent: Iterable[bytes]) -> bool:
    """Whether all frames that were sent are among the found ones, in their order."""
    left = iter(found)
    return all(frame in left for frame in sent)


@rule(StreamDriver, AskDriver, tries=60)
def any_stream_gives_the_same_readings_however_it_is_cut(subject: Subject, random: Random) -> Iterator[str]:
    """Torn frames and noise that looks like their beginning included."""
    known = frames(subject) or [b"\0"]
    parts = [
        random.choice((noise(random), mangled(random, random.choice(known)), random.choice(known)))
        for _ in range(random.randint(1, 8))
    ]
    parts = [part[: random.randint(0, len(part))] if random.randint(0, 2) == 0 else part for part in parts]
    stream = b"".join(parts)
    whole, cut = ear(subject).hear([stream]), ear(subject).hear(chunks(random, stream))
    if not _same(whole.found, cut.found) or whole.counts() != cut.counts():
        yield f"uart-stream {stream.hex()}: cut into pieces it gives something else"
    for found in whole.found:
        if not isinstance(found, bytes):
            for sentence in unsound(subject.made(), found):
                yield f"uart-stream {stream.hex()}: {sentence}"


@rule(StreamDriver, AskDriver)
def a_stream_of_false_starts_costs_bounded_memory_and_linear_work(
    subject: Subject, _: Random
) -> Iterator[str]:
    """The beginning of a frame again and again, in every length that a marker can have."""
    for frame in frames(subject)[:1]:
        for length, size in ((length, size) for length in range(1, 9) for size in (1, 997, FLOOD)):
            stream = (frame[:length] * FLOOD)[:FLOOD]
            heard = ear(subject).hear(stream[at : at + size] for at in range(0, len(stream), size))
            if heard.most_pending >= heard.longest:
                yield f"{heard.most_pending} bytes of {frame[:length].hex()} again and again wait for more"
            if heard.asked > len(stream) + -(-len(stream) // size):
                yield (
                    f"{len(stream)} bytes of {frame[:length].hex()} again and again were searched {heard.asked} times"
                )


@rule(StreamDriver, tries=20)
def one_device_does_not_change_what_another_says(subject: Subject, random: Random) -> Iterator[str]:
    """State lives in the decoder, one for each opened device."""
    driver, known = subject.made(), frames(subject)
    if not known or not isinstance(driver, StreamDriver):
        return
    one, two, alone = driver.decoder(), driver.decoder(), driver.decoder()
    for number in range(6):
        frame, other = random.choice(known), random.choice(known)
        found, _, wanted = (
            _answer(decoder, each, number * 0.1)
            for decoder, each in ((one, frame), (two, other), (alone, frame))
        )
        if found != wanted:
            yield f"frame {frame.hex()} gives {found}, and {wanted} where no other device is open"


def _answer(decoder: StreamDecoder, frame: bytes, now: float) -> object:
    try:
        return comparable(decoder.decode(frame, now))
    except FrameError as error:
        return error.reason


RULES: Final = (
    every_frame_is_found_between_noise_in_any_chunking,
    any_stream_gives_the_same_readings_however_it_is_cut,
    a_stream_of_false_starts_costs_bounded_memory_and_linear_work,
    one_device_does_not_change_what_another_says,
)
