"""Frames that state their length, and lines of text: found like frames of one length, bounded, in any chunking."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegw.framing import EitherOf, FixedLength, FrameError, Framer, Framing, LengthPrefixed, Lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Marker, length of what follows it but the end marker (two or four bytes), end marker.
STATED = LengthPrefixed(start=b"BM", at=2, size=1, lengths=frozenset((2, 4)), extra=4, end=b"\xab")
# Reports of five bytes beside them: they may hold a stated frame, or its beginning.
EITHER = EitherOf((FixedLength(b"R", 6, b"\xab"), STATED))
LINES = Lines(limit=8)
CRLF = Lines(limit=8, end=b"\r\n")


def frame(content: bytes) -> bytes:
    return b"BM" + bytes((len(content),)) + content + b"\xab"


class Wire:
    """A framer with what it found, what was refused and why."""

    def __init__(self, framing: Framing, decode: Callable[[bytes], bytes] = bytes) -> None:
        self.framer = Framer(framing)
        self.decode = decode
        self.longest = framing.longest
        self.refused: list[str] = []

    def feed(self, *chunks: bytes) -> list[bytes]:
        found = []
        for chunk in chunks:
            found += self.framer.feed(chunk, self.decode, lambda error: self.refused.append(error.reason))
            assert len(self.framer._pending) < self.longest
        return found


def cut(data: bytes, at: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(edge % (len(data) + 1) for edge in at), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges)]


def odd(data: bytes) -> bytes:
    """Refuses what has an even number of bytes."""
    if len(data) % 2 == 0:
        raise FrameError("even")
    return data


pieces = st.lists(
    st.binary(max_size=6)
    | st.sampled_from(
        [
            b"R",
            b"R12345",
            b"R1234\xab",
            b"B",
            b"BM",
            b"BM\x02",
            b"BM\x03",
            b"BM\x04",
            b"\xab",
            b"\n",
            b"\r",
            b"\r\n",
            b"12.5\n",
        ]
    )
    | st.binary(min_size=2, max_size=2).map(frame),
    max_size=16,
).map(b"".join)


@pytest.mark.parametrize("framing", [STATED, EITHER, LINES, CRLF])
@given(data=pieces, at=st.lists(st.integers(0, 1000), max_size=10))
def test_any_chunking_gives_the_same_frames_refusals_and_dropped_bytes(
    framing: Framing, data: bytes, at: list[int]
) -> None:
    whole, parts = Wire(framing, odd), Wire(framing, odd)
    found = whole.feed(data)
    assert found == parts.feed(*cut(data, at))
    assert whole.refused == parts.refused
    # Of a line without an end, how much waits depends on nothing but the bytes.
    assert whole.framer.dropped == parts.framer.dropped
    assert whole.framer.dropped + sum(map(len, found)) + len(whole.framer._pending) == len(data)


@pytest.mark.parametrize("framing", [STATED, EITHER, LINES, CRLF])
@given(data=st.binary(max_size=14) | pieces)
def test_what_is_found_is_exactly_one_frame_by_itself(framing: Framing, data: bytes) -> None:
    assert all(framing.refusal(found) is None for found in Wire(framing).feed(data))
    if framing.refusal(data) is None and data.strip():
        assert Wire(framing).feed(data) == [data]


@given(
    st.binary(max_size=20).filter(lambda noise: b"B" not in noise),
    st.lists(st.binary(min_size=2, max_size=2) | st.binary(min_size=4, max_size=4)),
)
def test_frames_of_different_lengths_are_found_behind_noise(noise: bytes, contents: list[bytes]) -> None:
    wire = Wire(STATED)
    assert wire.feed(noise, *map(frame, contents)) == [frame(content) for content in contents]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (frame(b"12"), None),
        (frame(b"1234"), None),
        (b"", "truncated"),
        (b"B", "truncated"),
        (b"BM", "truncated"),
        (frame(b"1234")[:-1], "truncated"),
        (frame(b"12") + b"\0", "framing"),
        (b"BN\x0212\xab", "header"),
        (frame(b"123"), "header"),
        (b"BM\x0212\xac", "footer"),
        (b"BM\x021234\xab", "footer"),
    ],
)
def test_what_is_not_exactly_one_frame_with_a_length_is_named(data: bytes, reason: str | None) -> None:
    assert STATED.refusal(data) == reason


@pytest.mark.parametrize(
    ("start", "lengths", "at"),
    [(b"", (2,), 2), ((), (2,), 2), (b"BM", (), 2), (b"BM", (300,), 2), (b"BM", (2,), 6), (b"BM", (2,), -1)],
)
def test_a_framing_with_a_length_that_fits_no_frame_is_refused_when_it_is_made(
    start: bytes | tuple[bytes, ...], lengths: tuple[int, ...], at: int
) -> None:
    with pytest.raises(ValueError, match=r"lengths|no frame"):
        LengthPrefixed(start=start, at=at, size=1, lengths=frozenset(lengths), extra=4, end=b"\xab")


# Several kinds on one line


def test_frames_of_each_kind_are_found_in_order_and_the_outer_one_of_two() -> None:
    assert Wire(EITHER).feed(b"R1234\xab", frame(b"12"), b"x", b"RBM\x02\x01\xab") == [
        b"R1234\xab",
        frame(b"12"),
        b"RBM\x02\x01\xab",
    ]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"R1234\xab", None),
        (frame(b"12"), None),
        (b"R1234\xac", "footer"),
        (b"BM\x0212\xac5", "footer"),
        (b"XYZ123", "header"),
        (b"R", "truncated"),
    ],
)
def test_what_is_a_frame_of_no_kind_is_named_by_the_kind_that_it_begins_like(
    data: bytes, reason: str | None
) -> None:
    assert EITHER.refusal(data) == reason


def test_a_choice_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no framing"):
        EitherOf(())


# Lines


def test_lines_are_found_with_either_end_and_empty_ones_are_none() -> None:
    wire = Wire(LINES)
    assert wire.feed(b"a\r\n\r\n \n\nbc\n") == [b"a\r\n", b"bc\n"]
    assert [LINES.text(line) for line in (b"a\r\n", b" bc\n", b"d")] == ["a", "bc", "d"]


def test_a_line_of_the_longest_length_is_found_and_one_byte_more_is_skipped_wholly() -> None:
    for chunk in (1, 3, 100):
        stream = b"1234567\n12345678\n0.5\n"
        wire = Wire(LINES)
        found = wire.feed(*(stream[at : at + chunk] for at in range(0, len(stream), chunk)))
        assert found == [b"1234567\n", b"0.5\n"]
        assert wire.framer.dropped == 9


def test_the_tail_of_a_refused_line_is_not_taken_for_a_value() -> None:
    def number(line: bytes) -> bytes:
        try:
            float(line)
        except ValueError:
            raise FrameError("malformed") from None
        return line

    wire = Wire(LINES, number)
    assert wire.feed(b"x12.5\n3.", b"5\n") == [b"3.5\n"]
    assert wire.refused == ["malformed"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"a\r\n", None),
        (b"1234567\n", None),
        (b"12345678\n", "framing"),
        (b"a", "truncated"),
        (b"", "truncated"),
        (b"a\nb\n", "framing"),
    ],
)
def test_what_is_not_exactly_one_line_is_named(data: bytes, reason: str | None) -> None:
    assert LINES.refusal(data) == reason


def test_a_line_that_is_no_text_is_malformed() -> None:
    with pytest.raises(FrameError, match="malformed"):
        LINES.text(b"\xff\xfe\x00~\n")


@pytest.mark.parametrize(("limit", "end"), [(8, b""), (1, b"\n"), (2, b"\r\n")])
def test_lines_that_cannot_be_are_refused_when_they_are_made(limit: int, end: bytes) -> None:
    with pytest.raises(ValueError, match="no line of"):
        Lines(limit, end)
