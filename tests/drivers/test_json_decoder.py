"""What the decoder of JSON devices remembers, and what it does not believe."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgegw import registry
from edgegw.driver import (
    QUANTITIES,
    FrameError,
    Login,
    Message,
    MessageDriver,
    Notice,
    Outcome,
    Pull,
    Push,
    Reading,
    Subscription,
)
from edgegw_drivers.json_map import find, milesight
from edgegw_drivers.json_map.decoder import SEEN, Decoder
from edgegw_drivers.json_map.driver import JsonDriver
from edgegw_drivers.json_map.schema import parse


def driver(name: str = "json_http", **options: Any) -> JsonDriver:
    given = {"url": "http://10.0.0.7/"} if name == "json_http" else {"server": "mqtt://broker", "topic": "#"}
    made = registry.make(name, {**given, **options}, text=True)
    assert isinstance(made, JsonDriver)
    return made


def said(decoder: Decoder, document: Any) -> list[Outcome]:
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    try:
        return list(decoder.decode(Message(text), 0.0))
    except FrameError as error:
        return [error]


def values(outcomes: list[Outcome]) -> dict[str, float]:
    return {each.quantity.name: each.value for each in outcomes if isinstance(each, Reading)}


def reasons(outcomes: list[Outcome]) -> list[str]:
    return [each.reason for each in outcomes if isinstance(each, FrameError)]


def notices(outcomes: list[Outcome]) -> list[str]:
    return [each.name for each in outcomes if isinstance(each, Notice)]


# Numbers


@pytest.mark.parametrize(
    ("stands", "value"),
    [(523, 52.3), (523.0, 52.3), ("523", 52.3), (" 5.23e2 ", 52.3), ("-3.25", -0.325), (0, 0.0), ("+7", 0.7)],
)
def test_a_number_or_the_text_of_one_is_scaled_in_decimals(stands: object, value: float) -> None:
    plan = parse("t", MAP)
    assert values(said(Decoder(plan), {"id": 1, "t": stands})) == {"temperature": value}


@pytest.mark.parametrize(
    ("stands", "reason"),
    [
        (None, "not_available"),
        ("nan", "not_available"),
        ("NaN", "not_available"),
        ("", "not_available"),
        ("null", "not_available"),
        (-999, "not_available"),
        ("-999.00", "not_available"),
        ("err", "not_available"),
        ("warm", "not_a_number"),
        ("1_000", "not_a_number"),
        ("0x10", "not_a_number"),
        ("१२", "not_a_number"),
        ("1,5", "not_a_number"),
        (True, "not_a_number"),
        ([1], "not_a_number"),
        ({"v": 1}, "not_a_number"),
        (1e300, "out_of_range"),
        (10**30, "out_of_range"),
        (9000, "out_of_range"),
    ],
)
def test_what_is_no_value_gives_no_reading_and_a_reason(stands: object, reason: str) -> None:
    found = said(Decoder(parse("t", MAP)), {"id": 1, "t": stands})
    assert (values(found), reasons(found)) == ({}, [reason])


def test_numbers_that_json_writes_and_python_cannot_hold_are_no_defect() -> None:
    for text in (b'{"id": 1, "t": 1e999999999}', b'{"id": 1, "t": -Infinity}', b'{"id": 1, "t": 1e-9999999}'):
        found = said(Decoder(parse("t", MAP)), text)
        assert not values(found)
        assert len(reasons(found)) == 1


def test_an_absent_key_is_counted_and_an_optional_one_only_after_it_was_there() -> None:
    decoder = Decoder(parse("t", MAP))
    assert reasons(said(decoder, {"id": 1, "h": 50})) == ["not_available"]
    assert reasons(said(decoder, {"id": 1, "t": 1})) == ["not_available"]  # h was there before
    fresh = Decoder(parse("t", MAP))
    assert reasons(said(fresh, {"id": 1, "t": 1})) == []
    assert reasons(said(Decoder(parse("t", MAP)), {"id": 1})) == ["not_available"]


def test_several_values_for_one_are_ambiguous_and_some_may_be_added() -> None:
    decoder = Decoder(parse("t", MAP))
    found = said(decoder, {"id": 1, "t": 1, "many": [{"v": 1}, {"v": 2}], "added": [{"v": 1}, {"v": "2"}]})
    assert values(found) == {"temperature": 0.1, "count_out": 3.0}
    assert reasons(found) == ["ambiguous"]
    # One part that is missing makes the whole sum missing.
    found = said(decoder, {"id": 1, "t": 1, "added": [{"v": 1}, {"v": None}]})
    assert values(found) == {"temperature": 0.1}


MAP = """
[device]
model = "t"
[match]
present = "id"
[[read]]
quantity = "temperature"
path = "t"
scale = 0.1
missing = [-999, "err"]
valid = [-40, 85]
[[read]]
quantity = "humidity"
path = "h"
optional = true
[[read]]
quantity = "pressure"
path = "many[].v"
optional = true
[[read]]
quantity = "count_out"
path = "added[].v"
sum = true
optional = true
[[example]]
document = '{"id": 1, "t": 1}'
expect = { temperature = 0.1 }
"""

# Running totals


def live(total: object, out: object = 0, serial: str = "A") -> dict[str, Any]:
    return {"serial": serial, "timestamp": "20240101", "in": total, "out": out}


def test_a_running_total_gives_what_was_added_and_tells_first_reset_and_jump_apart() -> None:
    decoder = driver(map="axis-people-counter").decoder()
    assert reasons(said(decoder, live(12))) == ["first_count"]
    assert values(said(decoder, live(12)))["count_in"] == 0
    assert values(said(decoder, live("15")))["count_in"] == 3
    found = said(decoder, live(4, 1))  # midnight
    assert (values(found), reasons(found)) == ({"count_out": 1.0}, ["counter_reset"])
    assert values(said(decoder, live(6, 1)))["count_in"] == 2
    assert reasons(said(decoder, live(20_000, 1))) == ["counter_jump"]
    assert values(said(decoder, live(20_001, 1)))["count_in"] == 1


def test_a_total_that_is_missing_once_loses_nothing() -> None:
    decoder = driver(map="axis-people-counter").decoder()
    said(decoder, live(12))
    assert reasons(said(decoder, live(None))) == ["not_available"]
    assert values(said(decoder, live(20)))["count_in"] == 8


@pytest.mark.parametrize("total", [-1, 1.5, "2.5"])
def test_a_total_that_is_no_count_is_refused(total: object) -> None:
    decoder = driver(map="axis-people-counter").decoder()
    said(decoder, live(1))
    assert reasons(said(decoder, live(total))) == ["not_a_number"]


def test_a_counter_wraps_at_its_width_and_a_fall_from_the_middle_is_a_reset() -> None:
    decoder = driver("json_mqtt", map="milesight-vs350").decoder()

    def uplink(total: int) -> dict[str, Any]:
        import base64

        data = b"\x04\xcc" + total.to_bytes(2, "little") + bytes(2)
        return {"devEUI": "24E1", "data": base64.b64encode(data).decode()}

    said(decoder, uplink(65_530))
    assert values(said(decoder, uplink(4)))["count_in"] == 10
    said(decoder, uplink(30_000))
    assert "counter_reset" in reasons(said(decoder, uplink(3)))


def test_in_the_shell_a_total_stands_as_it_is_every_time() -> None:
    made = driver(map="axis-people-counter")
    for total in (12, 3):
        found = made.decode_layer("http-json", json.dumps(live(total)).encode(), {})
        assert values(list(found or ()))["count_in"] == total


# Identity


def test_another_device_is_told_of_and_its_totals_are_its_own() -> None:
    decoder = driver(map="axis-people-counter").decoder()
    said(decoder, live(12))
    found = said(decoder, live(500, serial="B"))
    assert (notices(found), reasons(found), values(found)) == (["device"], ["first_count"], {})
    assert notices(said(decoder, live(501, serial="B"))) == []


def test_with_a_serial_number_any_other_device_is_refused() -> None:
    decoder = driver(map="axis-people-counter", device="A").decoder()
    said(decoder, live(12))
    assert reasons(said(decoder, live(500, serial="B"))) == ["wrong_device"]
    assert reasons(said(decoder, {"serial": 5, "in": 1, "out": 1})) == ["wrong_device"]
    assert values(said(decoder, live(13)))["count_in"] == 1


def test_a_device_that_started_again_is_told_of() -> None:
    decoder = driver(map="airgradient").decoder()
    node = {"serialno": "a", "rco2": 400, "pm01": 1, "pm02": 1, "pm10": 1, "atmp": 20, "rhum": 50}
    assert notices(said(decoder, {**node, "boot": 7})) == []
    assert notices(said(decoder, {**node, "boot": "8"})) == []
    assert notices(said(decoder, {**node, "boot": 0})) == ["restart"]
    assert notices(said(decoder, {**node, "boot": "odd"})) == []


# Repetitions


def push(*rows: tuple[str, int], element: str = "Door", number: int = 0) -> dict[str, Any]:
    measurements = [
        {
            "from": f"{at}:00",
            "to": f"{at}:59",
            "value": [{"label": "fw", "value": n}, {"label": "bw", "value": 0}],
        }
        for at, n in rows
    ]
    about = {"element-id": number, "element-name": element, "measurement": measurements}
    return {"sensor-info": {"serial-number": "X"}, "content": {"element": [about]}}


def test_an_interval_that_was_counted_is_not_counted_again() -> None:
    decoder = driver(map="xovis").decoder()
    assert values(said(decoder, push(("08", 4), ("09", 5))))["count_in"] == 9
    found = said(decoder, push(("08", 4), ("09", 5)))
    assert (values(found), reasons(found)) == ({}, ["repeated"])
    assert values(said(decoder, push(("09", 5), ("10", 6))))["count_in"] == 6
    assert values(said(decoder, push(("08", 2), number=1)))["count_in"] == 2  # another line


def test_one_line_of_several_can_be_chosen_by_name() -> None:
    decoder = driver(map="xovis", line="Ramp").decoder()
    assert reasons(said(decoder, push(("08", 4)))) == ["no_data"]
    assert values(said(decoder, push(("08", 3), element="Ramp", number=1)))["count_in"] == 3


def test_an_interval_without_its_times_is_refused_because_it_could_not_be_told_from_a_repetition() -> None:
    document = push(("08", 4))
    del document["content"]["element"][0]["measurement"][0]["to"]
    assert reasons(said(driver(map="xovis").decoder(), document)) == ["malformed"]


def test_one_bad_row_spoils_the_sum() -> None:
    document = push(("08", 4), ("09", 5))
    document["content"]["element"][0]["measurement"][1]["value"][0]["value"] = None
    found = said(driver(map="xovis").decoder(), document)
    assert values(found) == {"count_out": 0.0}
    assert reasons(found) == ["not_available"]


def test_what_is_remembered_is_bounded() -> None:
    decoder = driver(map="xovis").decoder()
    for number in range(SEEN + 50):
        said(decoder, push((str(number), 1)))
    assert len(decoder._seen) == SEEN
    assert reasons(said(decoder, push((str(SEEN), 1)))) == ["repeated"]


# Conditions


def scenario(name: str, **data: str) -> dict[str, Any]:
    return {
        "topic": "axis:CameraApplicationPlatform/ObjectAnalytics/Device1Scenario1",
        "serial": "AX",
        "message": {"data": {"scenario": name, **data}},
    }


def test_the_name_of_a_scenario_says_what_it_counts() -> None:
    decoder = driver("json_mqtt", map="axis-object-analytics").decoder()
    said(decoder, scenario("In", total="7", totalHuman="5"))
    said(decoder, scenario("Out", total="1", totalHuman="1"))
    assert values(said(decoder, scenario("In", total="9", totalHuman="6"))) == {"count_in": 1.0}
    assert values(said(decoder, scenario("Out", total="3", totalHuman="2"))) == {"count_out": 1.0}
    assert values(said(decoder, scenario("Occupancy", total="6", human="5"))) == {"occupancy": 5.0}
    assert reasons(said(decoder, scenario("Parking", total="6"))) == ["no_data"]


def test_the_shell_shows_a_scenario_of_any_name() -> None:
    made = driver("json_mqtt", map="axis-object-analytics")
    (line,) = made.decode_layer("mqtt-json", json.dumps(scenario("Parking", total="6")).encode(), {}) or ()
    assert isinstance(line, Reading)
    assert line.quantity.name not in QUANTITIES
    assert line.meta == {"serial": "AX", "scenario": "Parking", "total": 6}


# Provenance, options


def test_readings_without_tls_are_marked_and_their_flag_is_left_alone() -> None:
    def checks(made: JsonDriver) -> set[tuple[int | None, tuple[str, ...]]]:
        document = {"serialno": "a", "pm01": 1, "pm02": 1, "pm10": 1, "atmp": 20, "rhum": 50}
        return {
            (each.flag, each.checks) for each in said(made.decoder(), document) if isinstance(each, Reading)
        }

    plain, proven = {(None, ("unauthenticated",))}, {(None, ())}
    assert checks(driver(map="airgradient")) == plain
    assert checks(driver(map="airgradient", url="")) == plain
    assert checks(driver(map="airgradient", url="", token="t")) == plain
    assert checks(driver(map="airgradient", url="https://a", ca="file:/ca")) == proven
    assert checks(driver("json_mqtt", map="airgradient")) == plain
    assert checks(driver("json_mqtt", map="airgradient", server="mqtts://b", ca="file:/ca")) == proven


def test_the_options_say_where_the_documents_come_from() -> None:
    made = driver(map="airgradient", url="http://n/d.json", timeout="2s", user="u", password="p")
    assert made.source() == Pull("http://n/d.json", 2.0, "", Login("u", "p"))
    assert driver(map="airgradient", url="", token="t").source() == Push("t")
    made = driver("json_mqtt", map="airgradient", server="mqtt://b:1", topic="a/+", protocol="3.1.1")
    assert made.source() == Subscription("mqtt://b:1", ("a/+",), 4, "", Login())
    for shown in (repr(driver(map="airgradient", user="u", password="p4ss")), repr(Login("u", "p4ss"))):
        assert "p4ss" not in shown


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("json_http", {"url": "ftp://x"}, "url: must look like"),
        ("json_http", {"url": "http://"}, "url: must look like"),
        ("json_http", {"url": "http://u:p@x/"}, "url: holds a name or password"),
        ("json_http", {"url": "http://x/a b"}, "url: holds a blank"),
        ("json_http", {"url": "http://x/\n"}, "url: holds a blank"),
        ("json_http", {"url": "http://x/#a"}, "url: has a part behind #"),
        ("json_http", {"url": "http://x:0/"}, "url: has port 0"),
        ("json_http", {"url": "http://x:99999/"}, "Port out of range"),
        ("json_http", {"url": "https://x/"}, "ca: is missing"),
        ("json_http", {"url": "http://x/", "ca": "file:/ca"}, "ca: is for https"),
        ("json_http", {"url": "", "user": "u"}, "url: is missing"),
        ("json_http", {"timeout": "0.1s"}, "timeout: must be from 0.5 to 60 s"),
        ("json_http", {"timeout": "soon"}, "no number with one of the units"),
        ("json_http", {"map": "airrohr", "line": "x"}, "line: this map tells no lines apart"),
        ("json_mqtt", {"server": "http://x"}, "server: must look like"),
        ("json_mqtt", {"server": "mqtt://u:p@x"}, "server: holds a name or password"),
        ("json_mqtt", {"server": "mqtt://x/topic"}, "server: has more than"),
        ("json_mqtt", {"server": "mqtts://x"}, "ca: is missing"),
        ("json_mqtt", {"server": "mqtt://x", "ca": "file:/ca"}, "ca: is for mqtts"),
        ("json_mqtt", {"topic": ""}, "topic: must be a text"),
        ("json_mqtt", {"topic": "a/#/b"}, "topic: # stands alone"),
        ("json_mqtt", {"topic": "a#"}, "topic: # stands alone"),
        ("json_mqtt", {"topic": "a/b+"}, "topic: \\+ stands for a whole level"),
        ("json_mqtt", {"protocol": "3.1"}, "protocol"),
    ],
)
def test_an_option_that_cannot_be_is_refused_in_words(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(registry.OptionsError, match=words):
        driver(name, **{"map": "airgradient", **options})


def test_a_driver_without_a_map_is_only_good_for_the_shell() -> None:
    made = registry.make("json_http", {"map": ""})
    assert isinstance(made, MessageDriver)
    assert made.emits() == ()
    with pytest.raises(ValueError, match="map: name one: air"):
        made.decoder()
    assert made.decode_layer("uart", b"", {}) is None


# Milesight


@pytest.mark.parametrize(
    ("model", "data", "expect"),
    [
        ("vs360", "03f4000103f40201", {"events": [{"type": 0, "status": 1}, {"type": 2, "status": 1}]}),
        ("vs360", "017564027550", {"battery": 100, "battery_node": 80}),
        ("vs351", "8367360101", {"temperature": 31, "temperature_alarm": 1}),
        ("vs350", "0aef7b3af164", {"timestamp": 1693530747}),
        ("VS133", "06d20a00000007d201000000", {"total_in_2": 10, "total_out_2": 1}),
        ("vs135", "0fe302100709", {"region_counts": {"1": 2, "2": 16, "3": 7, "4": 9}}),
        ("vs135", "10e40109101121", {"dwell": [{"region": 1, "avg": 4105, "max": 8465}]}),
        ("vs121", "05cc02000100", {"people_in": 2, "people_out": 1}),
        ("vs121", "ff086600b0940976", {"serial": "6600b0940976"}),
        ("vs121", "0ada0100020003000400", {"b_to_a": 1, "b_to_b": 2, "b_to_c": 3, "b_to_d": 4}),
    ],
)
def test_a_payload_of_each_model(model: str, data: str, expect: dict[str, Any]) -> None:
    assert milesight.decode(bytes.fromhex(data), model) == expect


@pytest.mark.parametrize(
    ("model", "data", "reason"),
    [
        ("vs350", "", "no_data"),
        ("vs350", "04", "truncated"),
        ("vs350", "04cc12001600ff", "truncated"),
        ("vs350", "20ce7b3af16400", "truncated"),
        ("vs350", "20ceff3df16401070002001d", "truncated"),
        ("vs350", "20ceff3df1640207000200", "unsupported_length"),
        ("vs350", "04cc120016009999", "unknown_channel"),
        ("vs132", "04cc12001600", "unknown_channel"),
        ("vs350", "017564" * 200, "unsupported_length"),
    ],
)
def test_a_payload_that_is_not_understood_gives_nothing_at_all(model: str, data: str, reason: str) -> None:
    with pytest.raises(FrameError) as refused:
        milesight.decode(bytes.fromhex(data), model)
    assert refused.value.reason == reason


def test_a_payload_in_hexadecimal_and_one_that_is_no_text() -> None:
    plan = parse("m", (find.SHIPPED / "milesight-vs360.toml").read_text().replace('"base64"', '"hex"'))
    assert values(said(Decoder(plan), {"devEUI": "1", "data": "01 75 5F"})) == {"battery": 95.0}
    for data in ("zz", 5, ["01"]):
        assert reasons(said(Decoder(plan), {"devEUI": "1", "data": data})) == ["malformed"]


# Hostile input

_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)


WITH_DOCUMENTS = [name for name in find.names() if any(each.documents for each in find.load(name).examples)]


@given(data=st.data(), name=st.sampled_from(WITH_DOCUMENTS))
def test_any_change_of_a_good_document_gives_readings_or_reasons(data: st.DataObject, name: str) -> None:
    plan = find.load(name)
    texts = [text for each in plan.examples for text in each.documents]
    decoder = Decoder(plan)
    for _ in range(3):
        whole = json.loads(data.draw(st.sampled_from(texts)))
        node: Any = whole
        while isinstance(node, dict | list) and node:
            keys = list(node) if isinstance(node, dict) else range(len(node))
            key = data.draw(st.sampled_from(keys))
            if not isinstance(node[key], dict | list) or data.draw(st.booleans()):
                node[key] = data.draw(_JSON)
                break
            node = node[key]
        outcomes = said(decoder, whole)
        assert values(outcomes) or reasons(outcomes)
        for each in outcomes:
            if isinstance(each, Reading):
                assert each.quantity == QUANTITIES[each.quantity.name]
                assert each.value == each.value
                assert abs(each.value) < 1e30
                json.dumps(each.meta)


@given(st.binary(max_size=300), st.sampled_from(find.names()))
@example(b"[" * 40_000, "xovis")
def test_any_bytes_give_reasons(text: bytes, name: str) -> None:
    assert reasons(said(Decoder(find.load(name)), text))


@given(st.binary(max_size=60), st.sampled_from(list(milesight.TABLES)))
def test_any_payload_gives_values_or_a_reason(payload: bytes, model: str) -> None:
    found, reason = {}, ""
    try:
        found = milesight.decode(payload, model)
    except FrameError as refused:
        reason = refused.reason
    assert bool(found) != bool(reason)
    assert reason in {"", "truncated", "unknown_channel", "no_data", "unsupported_length"}
