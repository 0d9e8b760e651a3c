"""Cut a byte stream into frames, in bounded memory, resynchronising by one byte.

A framing only finds candidates by their markers and length; the decoder's verdict decides whether the
frame was real. A refused candidate costs one byte, not a frame, so that a good frame hidden behind a false
start is never lost. Each byte is looked at a constant number of times, whatever the stream holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, TypeVar

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


@dataclass(frozen=True)
class FixedLength:
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

    def find(self, buffer: bytes, start: int) -> tuple[int, int]:
        """See `Framing.find`."""
        search, size = self._search, len(buffer)
        while True:
            match = search(buffer, start)
            if match is None:
                # The stream may end inside a start marker: keep what could be its beginning.
                keep = max(start, size - self._widest + 1)
                return keep, keep
            begin = match.start()
            stop = begin + self.length
            if stop > size:
                return begin, begin
            if buffer.endswith(self.end, begin, stop):
                return begin, stop
            start = begin + 1

    def refusal(self, data: bytes) -> str | None:
        """`truncated`, `framing` (too long), `header` or `footer`; None for a whole frame."""
        if len(data) != self.length:
            return "truncated" if len(data) < self.length else "framing"
        if not data.startswith(self.start):
            return "header"
        return None if data.endswith(self.end) else "footer"

    @cached_property
    def _starts(self) -> tuple[bytes, ...]:
        return self.start if isinstance(self.start, tuple) else (self.start,)

    @cached_property
    def _widest(self) -> int:
        return max(map(len, self._starts), default=0)

    @cached_property
    def _search(self) -> Callable[[bytes, int], re.Match[bytes] | None]:
        return re.compile(b"|".join(map(re.escape, self._starts))).search


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
