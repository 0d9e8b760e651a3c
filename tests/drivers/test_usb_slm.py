from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegw import registry
from edgegw.decode import decode
from edgegw.driver import FrameError, Notice, Outcome, Reading, StreamDriver
from edgegw.framing import Framer

DISPLAY = "a502a51ba530a50ea511"
NOTIFICATION = "aabb10013b202033382e396442413d3400041b"


def shown(data: str, layer: str) -> list[dict[str, Any]]:
    return list(decode("usb_slm", [data], layer=layer))


def heard(*chunks: str) -> list[Outcome]:
    """What the driver on the wire makes of these bytes."""
    driver = registry.make("usb_slm", {})
    assert isinstance(driver, StreamDriver)
    decoder, framer, found = driver.decoder(), Framer(driver.framing), list[Outcome]()
    for chunk in chunks:
        framer.feed(
            bytes.fromhex(chunk), lambda frame: found.extend(decoder.decode(frame, 0.0)), found.append
        )
    return found


def levels(found: list[Outcome]) -> list[float]:
    return [each.value for each in found if isinstance(each, Reading)]


def reasons(found: list[Outcome]) -> list[str]:
    return [each.reason for each in found if isinstance(each, FrameError)]


# DT-8852


def test_a_display_with_a_weighting_is_read_cut_anywhere() -> None:
    stream = DISPLAY + "a50d0653" + "a50b" + "a50d0654"
    for cut in range(0, len(stream), 2):
        found = heard(stream[:cut], stream[cut:])
        assert levels(found) == [65.3, 65.4]
        assert reasons(found) == []


def test_digits_are_decimals_and_damage_costs_one_value() -> None:
    assert levels(heard(DISPLAY + "a50d1027")) == [102.7]
    found = heard(DISPLAY + "a50d0a53" + "a50d06a50d0653")
    assert levels(found) == [65.3]
    assert reasons(found) == ["malformed", "malformed"]


def test_the_time_is_skipped_and_a_torn_one_does_not_swallow_a_level() -> None:
    assert levels(heard(DISPLAY + "a506102030" + "a50d0653")) == [65.3]
    assert levels(heard(DISPLAY + "a5061020" + "a50d0653")) == [65.3]


@pytest.mark.parametrize(("token", "reason"), [("a507", "overload"), ("a508", "under_range")])
def test_outside_the_range_there_is_no_value_until_the_meter_says_so(token: str, reason: str) -> None:
    found = heard(DISPLAY + token + "a50d0802" + "a511" + "a50d0653")
    assert (levels(found), reasons(found)) == ([65.3], [reason])


def test_a_level_before_its_weighting_is_none() -> None:
    found = heard("a50d0653" + DISPLAY + "a50d0653")
    assert (levels(found), reasons(found)) == ([65.3], ["undefined"])


@pytest.mark.parametrize("token", ["a51c", "a504", "a505"])
def test_what_no_quantity_fits_does_not_go_out_and_the_technician_is_told(token: str) -> None:
    found = heard(DISPLAY + token + "a50d0653")
    assert (levels(found), reasons(found)) == ([], ["settings"])
    (notice,) = [each for each in found if isinstance(each, Notice)]
    assert "set it to A and to its live display" in notice.text
    found = heard(DISPLAY + token + "a50d0653" + DISPLAY + "a50d0653")
    assert levels(found) == [65.3]
    last = [each for each in found if isinstance(each, Notice)][-1]
    assert last.text == "the meter weights with A and shows the live level"


def test_the_shell_shows_what_no_quantity_fits_as_a_level() -> None:
    (line,) = shown("a51ba504a50d0653", "uart-stream")
    assert (line["quantity"], line["value"]) == ("level", 65.3)
    assert line["meta"] == {"frequency_weighting": "A", "hold": "max"}
    assert shown("00ff", "uart-stream") == [{"error": "no_data"}]
    assert shown("ff" + DISPLAY + "a50dff53a50d0653", "uart-stream")[0] == {"error": "malformed"}


def test_a_lone_token_is_a_frame() -> None:
    driver = registry.make("usb_slm", {})
    assert isinstance(driver, StreamDriver)
    refusal = driver.framing.refusal
    assert [
        refusal(bytes.fromhex(each)) for each in ("a50d0653", "", "a5", "a50d06", "0d", "a50da5065300")
    ] == [
        None,
        "truncated",
        "truncated",
        "truncated",
        "header",
        "framing",
    ]


@given(
    data=st.lists(st.binary(max_size=4) | st.sampled_from([b"\xa5\x0d", b"\xa5", b"\xa5\x1b"])).map(b"".join)
)
def test_any_stream_gives_levels_that_the_display_can_show(data: bytes) -> None:
    for level in levels(heard(data.hex())):
        assert 0 <= level <= 999.9
    # The shell finds the same levels and more: those without a name.
    seen = [line["value"] for line in shown(data.hex(), "uart-stream") if "value" in line]
    assert [value for value in levels(heard(data.hex())) if value not in seen] == []


# GM1356


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ("0292749b90ddc0ff", ("level", 65.8, "F", "C", True, 4)),
        ("01f5000000000000", ("la_sampled", 50.1, "S", "A", False, 0)),
        ("01f5400000000000", ("la_sampled", 50.1, "F", "A", False, 0)),
        ("01f5210000000000", ("level", 50.1, "S", "A", True, 1)),
    ],
)
def test_a_report_says_level_and_settings(report: str, expected: tuple[object, ...]) -> None:
    (line,) = shown(report, "hid-report")
    meta = line["meta"]
    assert (
        line["quantity"],
        line["value"],
        meta["time_weighting"],
        meta["frequency_weighting"],
        meta["max_hold"],
        meta["range_index"],
    ) == expected


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        ("01f50000000000", "truncated"),
        ("01f500000000000000", "framing"),
        ("0000000000000000", "implausible"),
        ("ffff000000000000", "implausible"),
        ("01f50f0000000000", "malformed"),
    ],
)
def test_a_report_that_cannot_be_gives_no_level(report: str, reason: str) -> None:
    assert shown(report, "hid-report") == [{"error": reason}]


# UT353BT


def notification(text: bytes) -> str:
    body = b"\x01\x3b" + text + b"\0"
    frame = b"\xaa\xbb" + bytes((len(body) + 2,)) + body
    return (frame + (sum(frame) & 0xFFFF).to_bytes(2, "big")).hex()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (NOTIFICATION, ("la_sampled", 38.9)),
        (notification(b"  38.9dBA=4"), ("la_sampled", 38.9)),
        (notification(b" 101.2dBA=4"), ("la_sampled", 101.2)),
        (notification(b"  60.0dBC=4"), ("level", 60.0)),
    ],
)
def test_a_notification_says_its_level_in_text(data: str, expected: tuple[str, float]) -> None:
    (line,) = shown(data, "ble-notification")
    assert (line["quantity"], line["value"]) == expected


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (notification(b"  OL  dBA=4"), "overload"),
        (notification(b"  --.-dBA=4"), "malformed"),
        (notification(b" 999.9dBA=4"), "implausible"),
        ("ab" + NOTIFICATION[2:], "header"),
        (NOTIFICATION[:-2], "truncated"),
        (NOTIFICATION + "00", "framing"),
        ("aabb00", "framing"),
        ("", "truncated"),
    ],
)
def test_a_notification_that_cannot_be_gives_no_level(data: str, reason: str) -> None:
    assert shown(data, "ble-notification") == [{"error": reason}]


def test_every_flipped_bit_of_a_notification_is_refused() -> None:
    for bit in range(8 * len(NOTIFICATION) // 2):
        flipped = bytearray.fromhex(NOTIFICATION)
        flipped[bit // 8] ^= 1 << bit % 8
        (line,) = shown(flipped.hex(), "ble-notification")
        assert "error" in line
