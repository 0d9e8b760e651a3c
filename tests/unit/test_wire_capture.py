from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_facts import sample

from edgegw.wire import capture, cbor, log, verify

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgegw.wire.capture import Saved


def a_log() -> list[bytes]:
    gateway, city = sample.Gateway(), sample.City()
    messages = [
        gateway.batch(3),
        gateway.head(),
        gateway.status(),
        gateway.batch(1),
        newest := gateway.head(),
    ]
    return [*messages, gateway.proof(2, newest), city.receipt(gateway.log, gateway.tree)]


MESSAGES = a_log()


def cut(data: bytes, size: int = 1 << 20) -> list[Saved]:
    return list(capture.messages("file", [data[at : at + size] for at in range(0, len(data), size)]))


def found(saved: list[Saved]) -> list[bytes | str]:
    return [each.data or each.fault for each in saved]


@pytest.mark.parametrize("between", [b"", b"\n", b"\r\n", b"\n\n"])
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_messages_as_bytes_are_found_one_after_the_other(between: bytes, size: int) -> None:
    data = between.join(MESSAGES) + between
    saved = cut(data, size)
    assert found(saved) == MESSAGES
    assert [data[each.place.at :][: len(each.data)] for each in saved] == MESSAGES
    assert not any(each.place.is_line for each in saved)
    assert {each.place.source for each in saved} == {"file"}


@pytest.mark.parametrize("size", [1, 1000, 1 << 20])
def test_messages_as_lines_are_found_with_the_gateway_of_their_topic(size: int) -> None:
    topics = [
        "edgegw/1/kyiv-podil-0042/main/batch",
        "edgegw/1/kyiv-podil-0042/main/head",
        "a/b/c/kyiv-podil-0042/status",
        "kyiv-podil-0042/main/receipt",
        "/kyiv-podil-0042/request",
        "another/topic with blanks",
        "",
    ]
    lines = [f"{topic} {message.hex()}".strip() for topic, message in zip(topics, MESSAGES, strict=True)]
    text = "\n".join([*lines[:3], "", "  ", *lines[3:]]).upper().replace("KYIV-PODIL", "kyiv-podil")
    for ending in ("", "\n"):
        for line_feed in ("\n", "\r\n"):
            saved = cut((text.lower() + ending).replace("\n", line_feed).encode(), size)
            assert found(saved) == MESSAGES
            assert [each.topic_gateway for each in saved] == ["kyiv-podil-0042"] * 5 + [None] * 2
            assert [each.place.at for each in saved] == [1, 2, 3, 6, 7, 8, 9]
            assert all(each.place.is_line for each in saved)
    assert found(cut(text.encode(), size)) == MESSAGES, "upper case digits are digits"


@pytest.mark.parametrize(
    "line", [b"topic/without/payload ", b"topic", b"abc", b"zz", b"a/b/main/batch 00 0g", b"\x7f", b"a b\xff"]
)
def test_a_line_that_is_no_message_is_malformed_and_the_rest_goes_on(line: bytes) -> None:
    data = MESSAGES[0].hex().encode()
    assert found(cut(b"\n".join([data, line, data]))) == [MESSAGES[0], "malformed", MESSAGES[0]]


def test_a_line_longer_than_any_message_is_too_large_and_the_rest_goes_on() -> None:
    data = MESSAGES[0].hex().encode()
    longest = b"t" * 65_535 + b" " + b"00" * log.MAX_MESSAGE
    assert len(longest) == capture.MAX_LINE
    for size in (4096, 1 << 20):
        assert found(cut(longest + b"\n" + data, size)) == [bytes(log.MAX_MESSAGE), MESSAGES[0]]
        for long in (longest + b"0", b"00" * log.MAX_MESSAGE + b"00", longest * 5):
            assert found(cut(b"\n".join([data, long, data]), size)) == [MESSAGES[0], "too_large", MESSAGES[0]]
            assert found(cut(long, size)) == ["too_large"]


def test_a_message_larger_than_allowed_is_too_large_and_the_rest_goes_on() -> None:
    for payload in (log.MAX_MESSAGE, int(1.5 * log.MAX_MESSAGE)):
        large = b"\xd2" + cbor.encode([b"", {}, bytes(payload), bytes(64)])
        for size in (4096, 1 << 20):
            saved = cut(MESSAGES[0] + large + MESSAGES[1], size)
            assert found(saved) == [MESSAGES[0], "too_large", MESSAGES[1]]
            assert saved[1].place.at == len(MESSAGES[0])


@pytest.mark.parametrize("size", [1000, 1 << 20])
@pytest.mark.parametrize(
    "damage",
    [
        b"\xff",
        b"\x00" * 5000,
        b"garbage\n",
        b"\xd2",
        b"\xd2\x84",
        b"\xd2\x84" * 100,
        b"\xd2\x84\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x82",
        b"\xff" * 2_000_000,
        MESSAGES[0][:-1],
        MESSAGES[0][:200],
        MESSAGES[0][1:],
        MESSAGES[5][:-1],
    ],
    ids=lambda damage: f"{damage[:6].hex()} and {len(damage)} bytes",
)
def test_the_next_message_is_found_behind_bytes_that_are_none(damage: bytes, size: int) -> None:
    saved = cut(MESSAGES[0] + damage + MESSAGES[1] + MESSAGES[5], size)
    assert found(saved) == [MESSAGES[0], "malformed", MESSAGES[1], MESSAGES[5]]
    assert saved[1].place.at == len(MESSAGES[0])
    assert found(cut(MESSAGES[0] + damage, size)) == [MESSAGES[0], "malformed"]


def test_a_damaged_place_swallows_at_most_the_message_it_stands_in() -> None:
    for bit in range(0, len(MESSAGES[0]) * 8, 5):
        data = MESSAGES[1] + sample.flipped(MESSAGES[0], bit) + MESSAGES[1] + MESSAGES[2]
        whole = found(cut(data))
        assert whole[0] == MESSAGES[1]
        assert whole[-1] == MESSAGES[2]
        assert len(whole) in (3, 4, 5), "one place, and at most what it left behind it"


@pytest.mark.parametrize("bit", range(16))
def test_a_damaged_first_byte_makes_no_text_of_bytes_and_no_bytes_of_text(bit: int) -> None:
    data = b"".join(MESSAGES)
    assert found(cut(sample.flipped(data, bit)))[1:] == MESSAGES[1:]
    lines = b"".join(b"edgegw/1/g/main/x %s\n" % message.hex().encode() for message in MESSAGES)
    read = found(cut(sample.flipped(lines, bit)))
    assert read[-len(MESSAGES) + 1 :] == MESSAGES[1:]


def test_a_file_of_false_starts_is_given_up_after_a_limit() -> None:
    junk = b"\xd2\x84\x40" * (capture.MAX_FALSE_STARTS - 1)
    assert found(cut(junk + MESSAGES[1])) == ["malformed", MESSAGES[1]]
    assert found(cut(junk + b"\xd2\x84\x40" * 2 + MESSAGES[1])) == ["malformed"]


@pytest.mark.parametrize("data", [b"", b"\n", b"\n\n \n"])
def test_nothing_is_in_an_empty_file(data: bytes) -> None:
    assert cut(data) == []


@given(st.binary(max_size=400), st.integers(1, 50))
@settings(max_examples=200)
def test_arbitrary_bytes_are_messages_and_faults_and_the_pieces_they_come_in_do_not_matter(
    data: bytes, size: int
) -> None:
    saved = cut(data, size)
    assert saved == cut(data)
    assert all(bool(each.data) != bool(each.fault) for each in saved)


@given(
    st.lists(st.sampled_from([*MESSAGES, b"\xff", b"\xd2", b"\n", MESSAGES[0][:90]]), max_size=8), st.data()
)
@settings(max_examples=100)
def test_what_is_between_damage_is_found_whatever_the_pieces(parts: list[bytes], data: st.DataObject) -> None:
    joined = b"\xd2" + b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(joined)), max_size=6)))
    pieces = [joined[a:b] for a, b in zip([0, *cuts], [*cuts, len(joined)], strict=True)]
    assert list(capture.messages("file", pieces)) == cut(joined)


def test_the_window_stays_small_however_long_the_file_is() -> None:
    count = 0

    def pieces() -> Iterator[bytes]:
        nonlocal count
        for _ in range(400):
            count += 1
            yield MESSAGES[0] * 50

    held = 0
    for number, _ in enumerate(capture.messages("file", pieces()), 1):
        held = max(held, count * 50 - number)
    assert held <= 2 * 50


def test_each_message_says_what_it_is() -> None:
    gateway, city = sample.Gateway(), sample.City()
    request = city.request(gateway.log, 0, 1)
    kinds = [verify.kind_of(message) for message in [*MESSAGES, request]]
    assert kinds == ["batch", "head", "status", "batch", "head", "proof", "receipt", "request"]
    bare = sample.resigned(request, city.by, h15=None)
    assert verify.kind_of(bare) == "request"
    for data in (b"", b"\xd2", b"\xff", b"\xd2" + cbor.encode([b"", {}, b"", b""])):
        assert not verify.kind_of(data)
