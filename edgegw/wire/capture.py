"""Messages out of saved bytes: a CBOR sequence (RFC 8742) of messages and proofs, or lines of hexadecimal text.

Lines are those of `mosquitto_sub -F '%t %x'` or `-F %x`: a topic, a blank, the payload; the topic may be left out.
Between messages as bytes a line feed may stand, as `mosquitto_sub` writes it. Where bytes are no message, the next
message is looked for, so that one damaged place does not hide the rest. Memory stays below a megabyte or two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from edgegw.wire import cbor, log
from edgegw.wire.seen import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# The beginnings of a tagged COSE_Sign1 (tag 18, array of four) and of a proof (array of two, a byte string).
_MESSAGE: Final = b"\xd2\x84"
_PROOF: Final = 0x82
_BEGINNINGS: Final = (_MESSAGE, b"\x82\x58", b"\x82\x59")
_CONTROLS: Final = frozenset({*range(0x20), 0x7F}) - frozenset(b"\t\r\n")
# Enough of a file to tell text from bytes; the shortest message is not much longer.
_LOOK_BYTES: Final = 160
# A topic has at most 65 535 bytes (MQTT 5.0 §1.5.4), then a blank and two digits for each byte of a message.
MAX_LINE: Final = 65_535 + 1 + 2 * log.MAX_MESSAGE
# Looking for the next message costs a structural check at each place that resembles one. A file with more false
# starts is no capture, and hostile bytes could make each of them dear.
MAX_FALSE_STARTS: Final = 10_000
# The two bytes of a beginning stand in 64 KiB once by chance: so many are looked at in a message that seems torn.
_MAX_INNER: Final = 8
# Nothing in a message but the range of a head has more items: 64 hashes and the maps around them.
_MAX_ITEMS: Final = 256


class Saved(NamedTuple):
    """One message: where it stood, its bytes, and the gateway in its topic if that is known.

    `fault` is `malformed` or `too_large` where the bytes are no message; `data` is then empty.
    """

    place: Place
    data: bytes
    topic_gateway: str | None = None
    fault: str = ""


def messages(source: str, chunks: Iterable[bytes]) -> Iterator[Saved]:
    """The messages in the bytes of one file, in order; `at` counts bytes from 0, or lines from 1 in a text."""
    window = _Window(chunks)
    while window.rest < _LOOK_BYTES and window.more():
        pass
    start = window.buffer[:_LOOK_BYTES]
    # A text has no control characters but line feeds; the header of any message has a dozen. A damaged byte or
    # two decide nothing.
    is_text = not start.startswith(_BEGINNINGS) and sum(byte in _CONTROLS for byte in start) <= 2
    return _lines(source, window) if is_text else _sequence(source, window)


class _Window:
    """The part of a stream that is looked at: `at` is the place in `buffer`, which begins at `offset`."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self.buffer = b""
        self.offset = self.at = 0

    @property
    def rest(self) -> int:
        """Bytes from `at` on that were read."""
        return len(self.buffer) - self.at

    def more(self) -> bool:
        """Read on, forgetting what lies before `at`; False at the end of the stream."""
        for chunk in self._chunks:
            if chunk:
                self.buffer = self.buffer[self.at :] + chunk
                self.offset, self.at = self.offset + self.at, 0
                return True
        return False

    def message_end(self) -> int | None:
        """Where the message at `at` ends; None when there is none. Reads on while it may only be cut off."""
        while (end := _end(self.buffer, self.at)) is None:
            # Twice the largest message tells a large one from a torn one.
            if self.rest > 2 * log.MAX_MESSAGE or not self.more():
                return None
        return end

    def torn_at(self, length: int) -> int | None:
        """Where a message begins inside the `length` bytes that look like one, when something else follows them.

        A message that was cut off takes the beginning of the next one for its own end.
        """
        while self.rest <= length and self.more():
            pass
        if self._begins(self.at + length):
            return None
        while self.rest <= length + 2 * log.MAX_MESSAGE and self.more():
            pass
        end = inner = self.at + length
        for _ in range(_MAX_INNER):
            inner = self.buffer.rfind(_MESSAGE, self.at + 1, inner + 1)
            if inner < 0:
                return None
            inner_end = _end(self.buffer, inner)
            if inner_end is not None and inner_end > end and self._begins(inner_end):
                return inner
        return None

    def _begins(self, at: int) -> bool:
        """Whether a message, a line feed or nothing stands at `at`."""
        return at >= len(self.buffer) or self.buffer[at] in b"\xd2\x82\r\n"


def _sequence(source: str, window: _Window) -> Iterator[Saved]:
    damaged: int | None = None
    false_starts = 0
    while (window.rest or window.more()) and false_starts <= MAX_FALSE_STARTS:
        if damaged is None and window.buffer[window.at] in b"\r\n":
            window.at += 1
            continue
        end = window.message_end()
        offset = window.offset + window.at
        if end is None:
            damaged = offset if damaged is None else damaged
            false_starts += 1
            found = window.buffer.find(_MESSAGE, window.at + 1)
            window.at = found if found >= 0 else max(window.at + 1, len(window.buffer) - 1)
            continue
        if damaged is not None:
            yield Saved(Place(source, damaged), b"", fault="malformed")
            damaged = None
        length = end - window.at
        torn = window.torn_at(length)
        if torn is not None:
            damaged, window.at = offset, torn
            continue
        data = window.buffer[window.at : window.at + length]
        window.at += length
        yield _sized(Place(source, offset), data)
    if damaged is not None:
        yield Saved(Place(source, damaged), b"", fault="malformed")


def _end(buffer: bytes, at: int) -> int | None:
    try:
        if buffer[at : at + 2] == _MESSAGE:
            return cbor.check(buffer, at + 1, items=_MAX_ITEMS)
        if buffer[at] == _PROOF:
            return cbor.check(buffer, at, items=3)
    except cbor.CborError:
        return None
    return None


def _sized(place: Place, data: bytes, topic_gateway: str | None = None) -> Saved:
    if len(data) > log.MAX_MESSAGE:
        return Saved(place, b"", topic_gateway, "too_large")
    return Saved(place, data, topic_gateway)


def _lines(source: str, window: _Window) -> Iterator[Saved]:
    number = 0
    while window.rest or window.more():
        number += 1
        while (end := window.buffer.find(b"\n", window.at)) < 0 and window.rest <= MAX_LINE and window.more():
            pass
        stop = end if end >= 0 else len(window.buffer)
        place, line = Place(source, number, is_line=True), window.buffer[window.at : stop]
        window.at = stop + (end >= 0)
        if len(line) > MAX_LINE:
            yield Saved(place, b"", None, "too_large")
            if end < 0:
                _skip_line(window)
        elif line.strip():
            yield _line(place, line)


def _skip_line(window: _Window) -> None:
    while window.more():
        end = window.buffer.find(b"\n", window.at)
        window.at = end + 1 if end >= 0 else len(window.buffer)
        if end >= 0:
            return


def _line(place: Place, line: bytes) -> Saved:
    topic, _, digits = line.strip().rpartition(b" ")
    gateway = _gateway(topic.decode(errors="replace"))
    try:
        return _sized(place, bytes.fromhex(digits.decode("ascii")), gateway)
    except ValueError:
        return Saved(place, b"", gateway, "malformed")


def _gateway(topic: str) -> str | None:
    """The gateway's level of a topic of the wire (WIRE §5); None when the topic is another one."""
    levels = topic.strip().split("/")
    if len(levels) > 2 and levels[-2:] in (["main", "batch"], ["main", "head"], ["main", "receipt"]):
        return levels[-3]
    return levels[-2] if len(levels) > 1 and levels[-1] in ("status", "request") else None
