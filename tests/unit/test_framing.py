import re
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegw.framing import FixedLength, FrameError, Framer

# Six bytes with one check byte: small enough that hypothesis hits every corner.
FRAMING = FixedLength(start=b"\xaa\xc0", length=6, end=b"\xab")
TWO_KINDS = FixedLength(start=(b"\xaa\xc0", b"\xaa\xc5"), length=6, end=b"\xab")


def frame(value: int) -> bytes:
    return bytes([0xAA, 0xC0, value, 7, (value + 7) % 256, 0xAB])


def checked(data: bytes) -> int:
    if (data[2] + data[3]) % 256 != data[4]:
        raise FrameError("checksum")
    return data[2]


class Line:
    """A framer with its refusals kept."""

    def __init__(self, framing: FixedLength = FRAMING, decode: Callable[[bytes], int] = checked) -> None:
        self.framer = Framer(framing)
        self.decode = decode
        self.reasons: list[str] = []

    def feed(self, *chunks: bytes) -> list[int]:
        found: list[int] = []
        for chunk in chunks:
            found += self.framer.feed(chunk, self.decode, lambda error: self.reasons.append(error.reason))
        return found


def cut(data: bytes, at: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(edge % (len(data) + 1) for edge in at), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges)]


hostile = st.lists(
    st.one_of(
        st.binary(max_size=8),
        st.sampled_from([b"\xaa", b"\xaa\xc0", b"\xab", b"\xaa\xc0\xaa\xc0\xaa\xc0"]),
        st.integers(0, 255).map(frame),
    ),
    max_size=12,
).map(b"".join)


@given(hostile, st.lists(st.integers(0, 1000), max_size=8))
def test_any_chunking_gives_the_same_frames_and_the_same_refusals(data: bytes, at: list[int]) -> None:
    whole, pieces = Line(), Line()
    assert whole.feed(data) == pieces.feed(*cut(data, at))
    assert whole.reasons == pieces.reasons
    assert whole.framer.dropped == pieces.framer.dropped


@given(st.binary(max_size=20).filter(lambda noise: b"\xaa" not in noise), st.lists(st.integers(0, 255)))
def test_every_frame_behind_noise_is_found(noise: bytes, values: list[int]) -> None:
    line = Line()
    assert line.feed(noise, *map(frame, values)) == values
    assert line.framer.accepted == len(values)


@given(hostile)
def test_every_byte_is_in_a_frame_or_dropped_or_pending(data: bytes) -> None:
    line = Line()
    found = line.feed(data)
    pending = len(data) - line.framer.dropped - len(found) * FRAMING.length
    assert 0 <= pending < FRAMING.length


@given(hostile)
def test_markers_are_where_a_regular_expression_finds_them(data: bytes) -> None:
    accepted = Line(decode=lambda found: found[2]).feed(data)
    assert accepted == [found[2] for found in re.findall(rb"(?s)\xaa\xc0...\xab", data)]


def test_a_refused_frame_costs_one_byte_so_that_the_good_frame_inside_it_is_found() -> None:
    lost_its_end = frame(5)[:3]
    line = Line()
    assert line.feed(lost_its_end + frame(9) + frame(3)) == [9, 3]
    assert line.framer.dropped == 3


def test_a_whole_frame_without_a_value_is_refused_and_passed_over() -> None:
    def warming(data: bytes) -> int:
        del data
        raise FrameError("warming_up", whole=True)

    line = Line(decode=warming)
    assert line.feed(frame(1), frame(2)) == []
    assert line.reasons == ["warming_up", "warming_up"]
    assert line.framer.dropped == 0


def test_frames_of_several_kinds_on_one_line_are_found_in_order() -> None:
    reply = b"\xaa\xc5\x01\x02\x03\xab"
    line = Line(TWO_KINDS, decode=lambda data: data[1])
    assert line.feed(frame(1) + reply + frame(2)) == [0xC0, 0xC5, 0xC0]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (frame(1), None),
        (b"", "truncated"),
        (frame(1)[:-1], "truncated"),
        (frame(1) + b"\x00", "framing"),
        (b"\xab" + frame(1)[1:], "header"),
        (frame(1)[:-1] + b"\xaa", "footer"),
    ],
)
def test_what_is_not_exactly_one_frame_is_named(data: bytes, reason: str | None) -> None:
    assert FRAMING.refusal(data) == reason


@pytest.mark.parametrize("start", [b"", (), (b"\xaa", b""), b"123456"])
def test_a_framing_that_fits_no_frame_is_refused_when_it_is_made(start: bytes | tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match="no frame of 6 bytes"):
        FixedLength(start=start, length=6, end=b"\xab")


class Counted:
    """A framing that counts how often the stream is searched for a start marker."""

    def __init__(self, framing: FixedLength) -> None:
        self.searches = 0
        search = framing._search

        def counting(buffer: bytes, start: int) -> re.Match[bytes] | None:
            self.searches += 1
            return search(buffer, start)

        vars(framing)["_search"] = counting


@pytest.mark.parametrize("chunk", [1, 7, 4096])
@pytest.mark.parametrize(
    "motif", [b"\xaa\xc0", b"\xaa\xc0\xab", b"\xaa", b"\xaa\xc0\x00\x00\x00\xab", b"\xab"]
)
def test_the_work_on_a_hostile_stream_grows_with_its_bytes_and_not_faster(motif: bytes, chunk: int) -> None:
    framing = FixedLength(start=b"\xaa\xc0", length=6, end=b"\xab")
    counted = Counted(framing)
    decoded: list[bytes] = []

    def refused(data: bytes) -> int:
        decoded.append(data)
        raise FrameError("checksum")

    line = Line(framing, decode=refused)
    data = (motif * 20_000)[:20_000]
    chunks = [data[begin : begin + chunk] for begin in range(0, len(data), chunk)]
    assert line.feed(*chunks) == []
    # A byte begins one candidate at most, and each chunk ends in one search that finds nothing.
    assert len(decoded) <= len(data)
    assert counted.searches <= len(data) + len(chunks)


@given(st.lists(hostile, max_size=20))
def test_less_than_one_frame_stays_pending(chunks: list[bytes]) -> None:
    line = Line()
    for chunk in chunks:
        line.feed(chunk)
        assert len(line.framer._pending) < FRAMING.length


def test_memory_stays_bounded_under_a_framing_that_keeps_everything() -> None:
    class Keeper(FixedLength):
        def find(self, buffer: bytes, start: int) -> tuple[int, int]:
            del buffer
            return start, start

    line = Line(Keeper(start=b"\xaa", length=10))
    line.feed(*[bytes(1000)] * 10)
    assert len(line.framer._pending) <= 10
    assert line.framer.dropped + len(line.framer._pending) == 10_000
