"""Cut a byte stream into frames, in bounded memory, resynchronising by one byte.

A framing only finds candidates by their markers and length; the decoder's verdict decides whether the
frame was real. A refused candidate costs one byte, not a frame, so that a good frame hidden behind a false
start is never lost. Each byte is looked at a constant number of times, whatever the stream holds.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class FrameError(ValueError):
    """A frame that gives no reading; `reason` is one counted word such as `checksum` or `truncated`.

    `whole` says that the frame is genuine and only holds no value (a sensor that warms up): the search for
    the next one goes on behind it. Otherwise it goes on one byte after the frame's first byte.
    """

    def __init__(self, reason: str, *, whole: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.whole = whole


class Framing(Protocol):
    """How frames are found in a stream."""

    @property
    def longest(self) -> int:
        """Length in bytes of the longest frame."""
        ...

    def find(self, buffer: bytes, start: int) -> tuple[int, int]:
        """Bounds `(begin, end)` of the first candidate at or after `start`.

        `begin == end` says that no whole candidate is there and that bytes before `begin` can be dropped;
        at most `longest - 1` bytes may then be left.
        """
        ...

    def refusal(self, data: bytes) -> str | None:
        """Why `data` is not exactly one frame: one word; None when its length and markers are right."""
        ...


class _Marked(ABC):
    """Frames that begin with one of the markers `_starts`; what follows a marker says where the frame ends."""

    @property
    @abstractmethod
    def _starts(self) -> tuple[bytes, ...]: ...

    @abstractmethod
    def _end(self, buffer: bytes, begin: int) -> int:
        """Where the candidate that begins here ends; 0 when it is none, -1 when bytes are still to come."""

    def find(self, buffer: bytes, start: int) -> tuple[int, int]:
        """See `Framing.find`."""
        search = self._search
        while (match := search(buffer, start)) is not None:
            begin = match.start()
            end = self._end(buffer, begin)
            if end:
                return begin, (end if end > 0 else begin)
            start = begin + 1
        # The stream may end inside a start marker: keep what could be its beginning.
        keep = max(start, len(buffer) - self._widest + 1)
        return keep, keep

    @cached_property
    def _widest(self) -> int:
        return max(map(len, self._starts), default=0)

    @cached_property
    def _search(self) -> Callable[[bytes, int], re.Match[bytes] | None]:
        return re.compile(b"|".join(map(re.escape, self._starts))).search


@dataclass(frozen=True)
class FixedLength(_Marked):
    """Frames of one length with a start marker and, where the device has one, an end marker.

    `start` is the marker, or all markers of one line (each kind of frame has its own).
    """

    start: bytes | tuple[bytes, ...]
    length: int
    end: bytes = b""

    def __post_init__(self) -> None:
        """ValueError when no frame could look like that."""
        if not self._starts or not all(self._starts) or self._widest + len(self.end) > self.length:
            raise ValueError(f"no frame of {self.length} bytes begins {self.start!r} and ends {self.end!r}")

    @property
    def longest(self) -> int:
        """The frame's length in bytes."""
        return self.length

    def _end(self, buffer: bytes, begin: int) -> int:
        end = begin + self.length
        if end > len(buffer):
            return -1
        return end if buffer.endswith(self.end, begin, end) else 0

    def refusal(self, data: bytes) -> str | None:
        """`truncated`, `framing` (too long), `header` or `footer`; None for a whole frame."""
        if len(data) != self.length:
            return "truncated" if len(data) < self.length else "framing"
        if not data.startswith(self.start):
            return "header"
        return None if data.endswith(self.end) else "footer"

    @cached_property
    def _starts(self) -> tuple[bytes, ...]:
        return _markers(self.start)


@dataclass(frozen=True)
class LengthPrefixed(_Marked):
    """Frames that state their own length: a marker, a length field, perhaps an end marker.

    The field lies `at` bytes from the frame's begin, has `size` bytes in `order`, and with `extra` bytes that it
    does not count it gives the length of the whole frame. Only the `lengths` that the field may hold make a
    candidate: a frame of another length belongs to another model, or is noise.
    """

    start: bytes | tuple[bytes, ...]
    at: int
    lengths: frozenset[int]
    extra: int
    size: int = 2
    order: Literal["big", "little"] = "big"
    end: bytes = b""

    def __post_init__(self) -> None:
        """ValueError when no frame could look like that."""
        starts = self._starts
        head = max(self.at + self.size, *map(len, starts), 0)
        if not starts or not all(starts) or not self.lengths or min(self.lengths) < 0 or self.at < 0:
            raise ValueError(f"no frame begins {self.start!r} and states one of {sorted(self.lengths)}")
        if max(self.lengths) >= 256**self.size or min(self.lengths) + self.extra < head + len(self.end):
            raise ValueError(f"lengths {sorted(self.lengths)} do not fit {self.size} bytes at {self.at}")

    @cached_property
    def longest(self) -> int:
        """Length in bytes of the longest frame."""
        return max(self.lengths) + self.extra

    def _end(self, buffer: bytes, begin: int) -> int:
        head = begin + self.at + self.size
        if head > len(buffer):
            return -1
        stated = int.from_bytes(buffer[begin + self.at : head], self.order)
        if stated not in self.lengths:
            return 0
        end = begin + stated + self.extra
        if end > len(buffer):
            return -1
        return end if buffer.endswith(self.end, begin, end) else 0

    def refusal(self, data: bytes) -> str | None:
        """`truncated`, `header` (also a length that does not exist), `footer`, `framing` (too long); or None."""
        starts = self._starts
        if not any(start.startswith(data[: len(start)]) for start in starts):
            return "header"
        head = self.at + self.size
        if len(data) < head or not data.startswith(starts):
            return "truncated"
        stated = int.from_bytes(data[self.at : head], self.order)
        if stated not in self.lengths:
            return "header"
        length = stated + self.extra
        if len(data) < length:
            return "truncated"
        if not data.endswith(self.end, 0, length):
            return "footer"
        return "framing" if len(data) > length else None

    @cached_property
    def _starts(self) -> tuple[bytes, ...]:
        return _markers(self.start)


@dataclass(frozen=True)
class EitherOf(_Marked):
    """Frames of several framings on one line, such as reports and the replies to commands."""

    framings: tuple[FixedLength | LengthPrefixed, ...]

    def __post_init__(self) -> None:
        """ValueError when there is none."""
        if not self.framings:
            raise ValueError("no framing to choose from")

    @cached_property
    def longest(self) -> int:
        """Length in bytes of the longest frame of all."""
        return max(framing.longest for framing in self.framings)

    def _end(self, buffer: bytes, begin: int) -> int:
        of = (each for each in self.framings if buffer.startswith(each._starts, begin))  # noqa: SLF001 -- its kin
        return next((end for each in of if (end := each._end(buffer, begin))), 0)  # noqa: SLF001 -- its kin

    def refusal(self, data: bytes) -> str | None:
        """The reason of the framing whose start marker it has, else the first one's; None for a frame of one."""
        begun = [each for each in self.framings if data.startswith(_markers(each.start))]
        return (begun or self.framings)[0].refusal(data)

    @cached_property
    def _starts(self) -> tuple[bytes, ...]:
        return tuple(marker for each in self.framings for marker in _markers(each.start))


@dataclass(frozen=True)
class Lines:
    """Lines of text, each up to and with its `end`, of `limit` bytes at most with it; `text()` strips one.

    The usual end is a line feed, with which CR LF ends too. Empty lines are skipped, and so is a line that is too
    long, wholly. A line that is refused is never tried again from its middle: its tail may look like a value.
    """

    limit: int
    end: bytes = b"\n"

    def __post_init__(self) -> None:
        """ValueError when no line could look like that."""
        if not self.end or self.limit <= len(self.end):
            raise ValueError(f"no line of {self.limit} bytes ends {self.end!r}")

    @property
    def longest(self) -> int:
        """One byte more than a line may have: as many bytes without an end are known to be too many."""
        return self.limit + 1

    def find(self, buffer: bytes, start: int) -> tuple[int, int]:
        """See `Framing.find`. A `start` that follows no end lies inside a line, but for that of the buffer."""
        width = len(self.end)
        if start and not buffer.endswith(self.end, 0, start):
            within = buffer.find(self.end, max(0, start - width + 1))
            start = within + width if within >= 0 else len(buffer)
        while (found := buffer.find(self.end, start)) >= 0:
            stop = found + width
            if stop - start <= self.limit and buffer[start:found].strip():
                return start, stop
            start = stop
        # What is left of a line that is too long stays too long: `limit` bytes, and its end is yet to come.
        keep = max(start, len(buffer) - self.limit)
        return keep, keep

    def refusal(self, data: bytes) -> str | None:
        """`truncated` (no end), `framing` (several lines, or one that is too long); None for one line."""
        if not data.endswith(self.end):
            return "truncated"
        return (
            "framing" if data.find(self.end) + len(self.end) < len(data) or len(data) > self.limit else None
        )

    def text(self, line: bytes) -> str:
        """The line without its end and the blanks around it; FrameError `malformed` for what is not ASCII."""
        try:
            return line.removesuffix(self.end).decode("ascii").strip()
        except UnicodeDecodeError:
            raise FrameError("malformed") from None


def _markers(start: bytes | tuple[bytes, ...]) -> tuple[bytes, ...]:
    return start if isinstance(start, tuple) else (start,)


class Framer:
    """The stream of one opened device, cut into frames.

    It counts since the device was opened: `accepted` and `refused` candidates, and `dropped`, the bytes that
    belonged to no genuine frame.
    """

    def __init__(self, framing: Framing) -> None:
        self._framing = framing
        self._pending = b""
        self.accepted = 0
        self.refused = 0
        self.dropped = 0

    def feed(
        self, data: bytes, decode: Callable[[bytes], T], refuse: Callable[[FrameError], None]
    ) -> list[T]:
        """Add bytes and return what `decode` made of each frame found, in order.

        `decode` raises FrameError to refuse a candidate: `refuse` is told, and the search goes on one byte
        later (behind it when the error says `whole`). Never more than one frame's length minus one byte
        stays pending.
        """
        buffer = self._pending + data if self._pending else data
        find = self._framing.find
        found: list[T] = []
        position = 0
        while True:
            begin, end = find(buffer, position)
            self.dropped += begin - position
            if begin == end:
                break
            try:
                found.append(decode(buffer[begin:end]))
            except FrameError as error:
                refuse(error)
                self.refused += 1
                if not error.whole:
                    self.dropped += 1
                    end = begin + 1
            position = end
        # A framing keeps less than one frame; memory stays bounded also under one that does not.
        keep = max(begin, len(buffer) - self._framing.longest)
        self.dropped += keep - begin
        self._pending = buffer[keep:]
        self.accepted += len(found)
        return found
