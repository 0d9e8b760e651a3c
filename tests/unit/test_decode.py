"""Decoding from the shell: what the pure function and the command around it make of typed input."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegw.cli.drivers import LONGEST_INPUT
from edgegw.decode import as_bytes, decode, joined
from edgegw.problems import Exit, GatewayError

# avaldebe/PyPMS (tests/sensors/test_message.py); lnxusr1/kenzy-ld2450; Renke RT-ZS-BZ manual V2.2.
AIR = "aac0d4043a0aa1601dab"
AIR_LINES = [
    {"quantity": "pm2_5", "value": 123.6, "unit": "ug/m3", "meta": {"device_id": "a160"}},
    {"quantity": "pm10", "value": 261.8, "unit": "ug/m3", "meta": {"device_id": "a160"}},
]
NOBODY = "aaff030000000000000000000000000000000000000000000000000055cc"
SOUND = "01030202c97972"

# A driver with a fault of each kind, and layers of its own.
ODD = """
from __future__ import annotations
from dataclasses import dataclass
from edgegw.driver import QUANTITIES, FixedLength, FrameError, Reading, SerialLine, StreamDriver

CO2 = QUANTITIES["co2"]

class State:
    last = 0.0

    def decode(self, frame, now):
        if frame[1:2] == b"!":
            raise RuntimeError("burst")
        if frame[1:2] == b"?":
            return None
        if frame[1:2] == b"n":
            return [Reading(CO2, float("nan"))]
        if frame[1:2] == b"b":
            return [Reading(CO2, 1.0, meta={"id": b"x"})]
        self.last, before = now, self.last
        return [Reading(CO2, now - before)]

@dataclass(frozen=True)
class Odd(StreamDriver):
    line = SerialLine(baudrate=9600)
    framing = FixedLength(start=b"O", length=2)
    period_s = 4.0
    corners: tuple[tuple[float, float], ...] = ()

    def decoder(self):
        return State()

    def decode_layer(self, layer, data, options):
        if layer == "ascii-line":
            return [Reading(CO2, float(len(data)), meta={"text": data.decode(), **options})]
        if layer == "http-json":
            if "key" not in options:
                raise FrameError("key_missing")
            if options["key"] != "k":
                raise ValueError("key is 'k' alone")
            return [Reading(CO2, 1.0)]
        return None
"""


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    info = tmp_path / "odd-1.dist-info"
    info.mkdir()
    (tmp_path / "odd_driver.py").write_text(ODD)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[edgegw.drivers]\nodd = odd_driver:Odd\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "odd_driver", raising=False)
    return tmp_path


def lines(name: str, *inputs: str, layer: str = "", **options: object) -> list[dict[str, Any]]:
    return list(decode(name, inputs, layer=layer, options=options))


def values(found: Sequence[dict[str, Any]]) -> list[object]:
    return [line.get("value", line.get("error")) for line in found]


def problem(name: str, *inputs: str, layer: str = "", **options: object) -> tuple[str, str]:
    with pytest.raises(GatewayError) as raised:
        lines(name, *inputs, layer=layer, **options)
    return raised.value.code, raised.value.what


# One frame


def test_a_frame_gives_a_line_for_each_of_its_readings() -> None:
    assert lines("sds011", AIR) == AIR_LINES


def test_a_refused_frame_gives_its_reason_and_the_next_input_goes_on() -> None:
    assert values(lines("sds011", AIR[:-4] + "00ab", AIR[:8], AIR + "00", "", AIR)) == [
        "checksum",
        "truncated",
        "framing",
        "truncated",
        123.6,
        261.8,
    ]


def test_an_empty_scene_is_a_reading_of_no_targets() -> None:
    assert lines("ld2450", NOBODY) == [
        {"quantity": "targets", "value": 0, "unit": "count", "meta": {"targets": []}}
    ]


def test_a_whole_frame_without_a_value_says_no_data() -> None:
    reply = "aac507000000a16008ab"
    assert lines("sds011", reply) == [{"error": "no_data"}]


def test_what_a_frame_says_that_is_no_measurement_is_shown_to_whoever_looks() -> None:
    reply = "fdfcfbfa0c00a0010000000002011624062204030201"
    assert lines("ld2410", reply) == [
        {
            "quantity": "reply",
            "value": 0xA0,
            "unit": "/",
            "meta": {"payload": "a00100000000020116240622"},
        }
    ]
    assert lines("ld2450", reply) == lines("ld2410", reply)
    assert lines("terabee", "444404ba07f21b")[0]["meta"] == {"distance_mm": [1210, 2034]}
    (said,) = lines("ops243", '{"Product": NaN}', layer="ascii-line")
    assert said["meta"] == {"info": {"Product": "NaN"}}
    (far,) = lines("ops243", '"m",2.1', layer="ascii-line")
    assert far["meta"] == {"range": 2.1, "range_unit": "m"}


def test_what_the_driver_doubts_shows_flag_and_checks() -> None:
    saturated = "aac00f270f27a1606dab"
    assert [(line["value"], line["q"], line["qc"]) for line in lines("sds011", saturated)] == [
        (999.9, 3, ["saturated"])
    ] * 2


@pytest.mark.usefixtures("odd")
def test_several_inputs_go_through_one_decoder_a_usual_period_apart() -> None:
    assert values(lines("odd", *["4f20"] * 3)) == [0.0, 4.0, 4.0]
    assert values(lines("odd", "4f20" * 3, layer="uart-stream")) == [0.0, 4.0, 4.0]


@pytest.mark.usefixtures("odd")
def test_meta_that_json_does_not_know_is_shown_as_text_and_no_number_is_an_error() -> None:
    assert lines("odd", "4f62", "4f6e") == [
        {"quantity": "co2", "value": 1.0, "unit": "ppm", "meta": {"id": "b'x'"}},
        {"error": "not_a_number"},
    ]


@pytest.mark.usefixtures("odd")
@pytest.mark.parametrize(("frame", "why"), [("4f21", "RuntimeError: burst"), ("4f3f", "TypeError")])
@pytest.mark.parametrize("layer", ["uart", "uart-stream"])
def test_a_driver_that_fails_is_named_as_the_culprit(frame: str, why: str, layer: str) -> None:
    code, what = problem("odd", frame, layer=layer)
    assert (code, why in what) == ("EG-DRIVER-FAILED", True)


# A stream


def test_a_stream_is_searched_for_frames_and_refusals_stand_in_their_place() -> None:
    damaged = AIR[:-4] + "00ab"
    assert values(lines("sds011", "043a0aab" + AIR + damaged + AIR, layer="uart-stream")) == [
        123.6,
        261.8,
        "checksum",
        123.6,
        261.8,
    ]


def test_a_stream_may_be_cut_anywhere_into_inputs() -> None:
    assert lines("sds011", AIR[:6], AIR[6:], layer="uart-stream") == AIR_LINES


@pytest.mark.parametrize(
    ("stream", "reason"),
    [("", "truncated"), ("aac0", "truncated"), ("00" * 10, "header"), ("00" * 99, "framing")],
)
def test_a_stream_without_any_frame_says_why_it_is_none(stream: str, reason: str) -> None:
    assert lines("sds011", stream, layer="uart-stream") == [{"error": reason}]


# Other layers and options


def test_a_poll_driver_decodes_its_own_layer_unless_another_is_named() -> None:
    assert lines("modbus", SOUND, profile="renke-noise") == [
        {"quantity": "la_sampled", "value": 71.3, "unit": "dB", "meta": {}}
    ]
    assert values(lines("modbus", "02c9", layer="modbus-registers", scale="0.1")) == [71.3]


def test_typed_and_plain_options_say_the_same() -> None:
    typed = lines("modbus", "ff9b", layer="modbus-registers", type="s16", scale=0.1)
    assert values(typed) == values(lines("modbus", "ff9b", layer="modbus-registers", type="s16", scale="0.1"))
    far = "aaff0300589be883008064000000000000000000000000000000000055cc"
    assert values(lines("ld2450", far)) == [1]
    assert values(lines("ld2450", far, filter="plausibility")) == [0]
    assert values(lines("ld2450", NOBODY, line="[[-1, 2], [1, 2]]")) == [0, 0, 0]


def test_the_kind_of_a_device_may_be_named_as_documents_name_it() -> None:
    climate = "424d001c001700270029001600230029100804a90116000c00d400e09a0004aa"
    known = lines("plantower", climate, variant="pms5003t")
    assert {line["quantity"] for line in known} >= {"temperature", "humidity"}
    for option in ("model", "variant", "profile"):
        assert lines("plantower", climate, **{option: "PMS5003T"}) == known
    dust = "ff86008500960065fa"
    assert values(lines("winsen", dust, model="mhz19", profile="winsen-zh0x")) == [101, 133, 150]
    assert values(lines("winsen", dust, profile="winsen-zh0x")) == [101, 133, 150]
    fast = lines("ops243", "36.0", layer="ascii-line", unit="km/h")
    assert values(fast) == [10.0]


def test_what_a_vector_says_besides_is_taken_where_nobody_needs_it() -> None:
    assert lines("sds011", AIR, model="SDS018", mac="a4c1380283f4", unit="1") == AIR_LINES


@pytest.mark.usefixtures("odd")
def test_layers_of_text_take_the_text_itself_and_the_context() -> None:
    assert lines("odd", "7.1 m\r\n", layer="ascii-line", mac="aa:bb", corners="[[1, 2]]") == [
        {"quantity": "co2", "value": 7.0, "unit": "ppm", "meta": {"text": "7.1 m\r\n", "mac": "aa:bb"}}
    ]
    assert values(lines("odd", "{}", layer="http-json", key="k")) == [1.0]
    assert lines("odd", "{}", layer="http-json") == [{"error": "key_missing"}]
    assert problem("odd", "{}", layer="http-json", key="x") == ("EG-USAGE", "key is 'k' alone")


def test_what_cannot_be_decoded_is_a_usage_error_in_words() -> None:
    assert problem("sds011", AIR, warm_upp="drop") == (
        "EG-USAGE",
        "sds011.warm_upp: unknown option; did you mean 'warm_up'?",
    )
    assert problem("sds011", AIR, warm_up="x")[0] == "EG-USAGE"
    assert problem("sds011", AIR, layer="uart-steam") == (
        "EG-USAGE",
        "driver 'sds011' does not decode 'uart-steam'; it decodes uart and uart-stream",
    )
    assert problem("modbus", SOUND, layer="uart") == (
        "EG-USAGE",
        "driver 'modbus' does not decode 'uart'; it decodes modbus-rtu",
    )
    assert problem("sds01", AIR) == (
        "EG-DRIVER-UNKNOWN",
        "no driver 'sds01' is installed; did you mean 'sds011'?",
    )


# Hexadecimal


@pytest.mark.parametrize(
    "text",
    ["aac0d4", "AAC0D4", "aa c0 d4", "aa:c0:d4", "AA-C0-D4", "0xaac0d4", "0xAA, 0xC0, 0xD4", " aa\nc0d4\r\n"],
)
def test_bytes_may_be_pasted_as_other_tools_print_them(text: str) -> None:
    assert as_bytes(text, "uart") == b"\xaa\xc0\xd4"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("aac", "'aac' has an odd number of digits, a byte has two"),
        ("0xa 0xc0", "'0xa' has an odd number of digits, a byte has two"),
        ("aac0zz", "'aac0zz' is not hexadecimal"),
        ("aa0xc0", "'aa0xc0' is not hexadecimal"),
        ("٣٣", "'٣٣' is not hexadecimal"),
        ("x" * 99, f"'{'x' * 40}...' is not hexadecimal"),
    ],
)
def test_what_is_no_whole_byte_is_refused_and_quoted(text: str, why: str) -> None:
    with pytest.raises(GatewayError) as raised:
        as_bytes(text, "uart")
    assert (raised.value.code, raised.value.what) == ("EG-USAGE", why)


@pytest.mark.parametrize(
    "texts",
    [
        ["43db8c2e"],
        ["43DB 8C2E"],
        ["43DB", "8C2E"],
        ["0x43db", "0x8c2e"],
        ["0x43db,0x8c2e"],
        ["43", "db", "8c", "2e"],
        ["[17371, 35886]"],
        ["[17371,35886]\n"],
    ],
)
def test_registers_may_be_written_as_words_as_bytes_or_as_a_list_of_numbers(texts: list[str]) -> None:
    (text,) = joined(texts, "modbus-registers")
    assert as_bytes(text, "modbus-registers") == b"\x43\xdb\x8c\x2e"
    assert as_bytes("0x1F 0x2", "modbus-registers") == b"\x00\x1f\x00\x02"


@pytest.mark.parametrize("text", ["[65536]", "[1, 123456789012345678901234567890]", "[-1]", "[1.5]", "[]"])
def test_a_list_of_what_is_no_register_is_refused(text: str) -> None:
    with pytest.raises(GatewayError) as raised:
        as_bytes(text, "modbus-registers")
    assert raised.value.code == "EG-USAGE"


def test_arguments_are_one_input_where_each_is_only_part_of_one() -> None:
    assert joined(["aa", "c0"], "uart") == ["aa c0"]
    assert joined([AIR, AIR], "uart") == [AIR, AIR]
    assert joined(["aac0", "d404"], "uart") == ["aac0", "d404"]
    assert joined(["60", "80"], "numeric") == ["60 80"]
    assert joined(["60", "80"], "ascii-line") == ["60", "80"]
    assert joined(["02c9"], "modbus-registers") == ["02c9"]


@given(st.binary(max_size=99), st.sampled_from(["", " ", ":", ", "]))
def test_bytes_survive_being_written_in_hexadecimal(data: bytes, separator: str) -> None:
    assert as_bytes(separator.join(f"{byte:02x}" for byte in data), "uart") == data


@given(st.text(max_size=40), st.sampled_from(["uart", "uart-stream"]))
def test_any_text_gives_lines_or_a_usage_error(text: str, layer: str) -> None:
    try:
        found = lines("sds011", text, layer=layer)
    except GatewayError as error:
        found = [{"error": error.code}] if error.code == "EG-USAGE" else []
    assert found
    json.dumps(found, allow_nan=False)


# The command


def command(*arguments: str, stdin: str | bytes = b"") -> tuple[int, list[dict[str, Any]], str]:
    done = subprocess.run(
        [sys.executable, "-m", "edgegw.cli", "drivers", "decode", *arguments],
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        check=False,
        timeout=60,
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr.decode()


def test_the_command_prints_a_line_of_json_for_each_reading() -> None:
    assert command("sds011", AIR) == (Exit.DONE, AIR_LINES, "")


@pytest.mark.parametrize("arguments", [["-"], []])
def test_the_command_takes_standard_input(arguments: list[str]) -> None:
    assert command("sds011", *arguments, stdin="0x" + AIR + "\n") == (Exit.DONE, AIR_LINES, "")
    dump = "043a0aab\n" + AIR[:10] + "\n" + AIR[10:] + "\n"
    assert command("sds011", *arguments, "--layer", "uart-stream", stdin=dump)[:2] == (Exit.DONE, AIR_LINES)


def test_the_command_exits_6_when_no_reading_came_out_and_0_when_one_did() -> None:
    code, found, talk = command("sds011", AIR[:8])
    assert (code, found) == (Exit.SENSOR, [{"error": "truncated"}])
    assert "EG-DECODE-NOTHING" in talk
    code, found, talk = command("sds011", AIR[:8], AIR)
    assert (code, found, talk) == (Exit.DONE, [{"error": "truncated"}, *AIR_LINES], "")
    assert command("ld2450", NOBODY)[0] == Exit.DONE


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["sds011", "aac"], "EG-USAGE"),
        (["sds011", "zz"], "EG-USAGE"),
        (["sds011", AIR, "--option", "mode"], "EG-USAGE"),
        (["sds011", AIR, "--option", "=ask"], "EG-USAGE"),
        (["sds011", AIR, "-o", "mode=ask", "-o", "mode=listen"], "EG-USAGE"),
        (["sds011", AIR, "--layer", "semaphore"], "EG-USAGE"),
        (["nobody", AIR], "EG-DRIVER-UNKNOWN"),
    ],
)
def test_the_command_says_what_was_wrong_and_prints_nothing(arguments: list[str], code: str) -> None:
    status, found, talk = command(*arguments, "--json")
    assert found == []
    error = json.loads(talk)
    assert (error["code"], error["exit_code"]) == (code, status)
    assert status == (Exit.SENSOR if code == "EG-DRIVER-UNKNOWN" else Exit.USAGE)


def test_text_is_taken_as_it_stands_but_for_the_line_end_of_echo(
    odd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(odd))
    for stdin, text in (("-3.1\n", "-3.1"), ("-3.1\r\n", "-3.1\r\n"), ("-3.1", "-3.1")):
        _, found, _ = command("odd", "--layer", "ascii-line", "-", stdin=stdin)
        assert found[0]["meta"] == {"text": text}
    _, found, _ = command("odd", "--layer", "ascii-line", "--", "-3.1")
    assert found[0]["meta"] == {"text": "-3.1"}


def test_standard_input_without_end_is_refused() -> None:
    code, found, talk = command("sds011", "-", stdin=b"0" * (LONGEST_INPUT + 1))
    assert (code, found) == (Exit.USAGE, [])
    assert "longer than 64.0 MiB" in talk


def test_a_terminal_without_input_is_told_what_to_give_and_not_left_waiting() -> None:
    master, slave = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "edgegw.cli", "drivers", "decode", "sds011"],
            stdin=slave,
            capture_output=True,
            check=False,
            timeout=60,
        )
    finally:
        os.close(master)
        os.close(slave)
    assert done.returncode == Exit.USAGE
    assert b"nothing to decode" in done.stderr
