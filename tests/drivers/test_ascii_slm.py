from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meters import Meter, RionMeter, SvantekMeter, Xl2Meter, on_a_terminal, on_the_network, reading

from edgegw import registry
from edgegw.decode import decode
from edgegw.driver import AskDriver, FrameError, Notice, Outcome, Reading
from edgegw.framing import Framer
from edgegw.views import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.driver import AskDecoder, Request


def made(model: str, **options: Any) -> AskDriver:
    driver = registry.make("ascii_slm", {"model": model, **options})
    assert isinstance(driver, AskDriver)
    return driver


def shown(text: str, **context: str) -> list[tuple[str, float] | str]:
    lines = decode("ascii_slm", [text], options=dict(context))
    return [line["error"] if "error" in line else (line["quantity"], line["value"]) for line in lines]


def answered(driver: AskDriver, decoder: AskDecoder, request: Request, said: bytes) -> list[Outcome]:
    """What these bytes give while the request is open, and why they do not."""
    found: list[Outcome] = []

    def take(frame: bytes) -> None:
        found.extend(decoder.decode(request, frame, 0.0))

    framer = Framer(driver.framing)
    framer.feed(said, take, found.append)
    assert len(framer._pending) < driver.framing.longest
    return found


def asked(driver: AskDriver, decoder: AskDecoder, meter: Meter, requests: Sequence[Request]) -> list[Outcome]:
    """What a meter that answers at once says to these; what would change it is not sent."""
    found = []
    for request in requests:
        if not request.changes:
            found += answered(driver, decoder, request, b"".join(meter.take(request.data)))
    return found


def talk(driver: AskDriver, meter: Meter) -> list[Outcome]:
    """The opening of a conversation and its first cycle."""
    decoder = driver.decoder()
    opening = asked(driver, decoder, meter, decoder.opening())
    return opening + asked(driver, decoder, meter, decoder.cycle())


def values(found: Sequence[Outcome]) -> dict[str, float]:
    return {each.quantity.name: each.value for each in found if isinstance(each, Reading)}


def reasons(found: Sequence[Outcome]) -> set[str]:
    return {each.reason for each in found if isinstance(each, FrameError)}


def notices(found: Sequence[Outcome]) -> dict[str, str]:
    return {each.name: each.text for each in found if isinstance(each, Notice)}


# What an answer says


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("53,8 dB, OK", [("level", 53.8)]),
        ("53.8 dB, ok", [("level", 53.8)]),
        ("-3.2 dB, OK", [("level", -3.2)]),
        ("55,5,34,4,44,0 dB, OK", [("level", 55.5), ("level", 34.4), ("level", 44.0)]),
        ("-999 dB, OK", ["undefined"]),
        ("-999.0 dB, UNDEF", ["undefined"]),
        ("-999 dB, NO_DT_VALUE", ["no_dt_value"]),
        ("NO_DT_VALUE", ["no_dt_value"]),
        ("OPTION_REQUIRED", ["option_required"]),
        ("612.0 dB, OK", ["implausible"]),
        ("55,5,34 dB, OK", ["malformed"]),
        ("53.8 dB, MAYBE", ["malformed"]),
        ("53.8 dB, OK, OK", ["malformed"]),
        ("53.8 dB,", ["truncated"]),
        ("53.8 d", ["truncated"]),
        ("53.8", ["truncated"]),
        ("52.1 dB, OK\r\n54.8 dB, OVLD", [("level", 52.1), "overload"]),
        ("NTiAudio,XL2,A2A-02943-D1,FW4.71", [("identity", 1.0)]),
        ("RUNNING", [("running", 1.0)]),
        ("STOPPED", [("running", 0.0)]),
    ],
)
def test_an_xl2_states_numbers_and_whether_they_are_good(text: str, expected: list[object]) -> None:
    assert shown(text) == expected


def test_the_query_says_what_an_xl2_answers() -> None:
    query = "MEAS:SLM:123? LAEQ LAFMIN L90% LCPKMAX LASMAX"
    text = "\r\n".join(f"{value} dB, OK" for value in (61.3, 41.0, 45.2, 101.2, 77.7))
    assert shown(text, query=query) == [
        ("laeq", 61.3),
        ("lafmin", 41.0),
        ("la90", 45.2),
        ("lcpeak", 101.2),
        ("lasmax", 77.7),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("#2,1,V1,T7,R85.86;", ["overload"]),
        ("#2,1,V0,v2,T7,R25.86;", ["under_range"]),
        ("#2,1,V0,v3,T7,R25.86;", ["under_range"]),
        ("#2,1,V0,v0,T7,R65.86;", [("laeq", 65.86)]),
        ("#2,a,1,V0,R65.86;", [("laeq", 65.86)]),
        ("#2,asf,1,V0,R65.86;", [("laeq", 65.86)]),
        ("#2,3,R65.86;", [("laeq", 65.86)]),
        ("#2,1,V0,X12,R65.86;", [("laeq", 65.86)]),
        ("#2,1,R65.8x;", ["malformed"]),
        ("#2,1,R?;", ["not_available"]),
        ("#2,1,R-999.00;", ["undefined"]),
        ("#2,1,R999.00;", ["implausible"]),
        ("#2,R65.86;", ["malformed"]),
        ("#2;", ["truncated"]),
        ("#2,1,R65.86;#2,1,R65.86;", ["framing"]),
        ("#7,BS,85;", [("battery", 85.0)]),
        ("#7,BS,?;", ["unknown_parameter"]),
        ("#7,?;", ["unknown_parameter"]),
        ("#7,BS,185;", ["implausible"]),
        ("#3;", ["unsupported_format"]),
        ("#1,U971,N1234,S1;", [("running", 1.0)]),
        ("#1,U971;", ["malformed"]),
        ("#2,1,U80.10;", [("le", 80.1)]),
    ],
)
def test_a_svantek_states_results_by_letters(text: str, expected: list[object]) -> None:
    assert shown(text) == expected


def test_a_svantek_states_all_profiles_and_the_one_that_is_asked_for_is_taken() -> None:
    text = "#2,a,1,V0,R61.00,2,V0,R71.00,3,V1,R81.00;"
    assert shown(text) == [("laeq", 61.0)]
    assert shown(text, profile="2", frequency_weighting="C") == [("lceq", 71.0)]
    assert shown(text, profile="3") == ["overload"]
    assert shown("#2,1,R61.00;", profile="2") == ["layout"]


def test_the_settings_of_a_svantek_say_who_it_is_and_how_it_weights() -> None:
    (line,) = decode("ascii_slm", ["#1,U971,N1234,W1.05.1,Q0.01,F2:1,F3:2,J2:1,J3:2,C1:1,C2:2,XD-1:1,S0;"])
    assert line["meta"] == {
        "model": "971",
        "serial": "1234",
        "running": False,
        "frequency_weighting": "A",
        "time_weighting": "F",
        "peak_weighting": "A",
    }


DOD = "62.4, 60.1, 88.9, 71.3, 48.2, 66.0, 64.2, 58.8, 50.3, 49.1, 85.5, 61.0, 60.0, 63.0, 0, 0"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("R+0001", "command"),
        ("R+0002", "unknown_parameter"),
        ("R+0003", "command"),
        ("$R+0004\r\n", "state"),
        ("R+0009", "malformed"),
        ("R+0000", "truncated"),
        (f"R+0000\r\n{DOD[:-3]}, 1", "under_range"),
        (f"R+0000\r\n{DOD}, 0", "layout"),
        ("R+0000\r\n62.4, 60.1", "layout"),
        ("R+0000\r\n1, 62.4, 60.1, 71.3, 48.2, 85.5, 61.0", "layout"),
        (f"R+0000\r\n{DOD[:-1]}2", "layout"),
    ],
)
def test_a_rion_says_by_code_and_flags_why_there_is_no_value(text: str, reason: str) -> None:
    assert shown(text) == [reason]


def test_a_rion_leaves_out_what_it_does_not_have() -> None:
    text = "R+0000\r\n" + DOD.replace("60.1", "--.-").replace("85.5", "")
    found = shown(text)
    assert "laeq" not in [each[0] for each in found]
    assert found.count("not_available") == 2


def test_a_rion_without_its_code_and_by_channel_and_weighting() -> None:
    assert ("laeq", 60.1) in shown(DOD)
    two = DOD + ", " + DOD.replace("60.1", "65.5")
    assert ("lceq", 65.5) in shown(two, channel="2", frequency_weighting="C", model="NL-53")
    assert ("laeq", 65.5) in shown(two, channel="sub1")
    (line, *_) = decode("ascii_slm", [DOD], options={"time_weighting": "S"})
    assert (line["meta"]["le"], line["meta"]["lmax"]) == (88.9, 71.3)


def test_the_stream_of_a_rion_has_another_layout() -> None:
    text = "17, 62.4, 60.1, 71.3, 48.2, 85.5, 61.0"
    expected = {"la_sampled": 62.4, "laeq": 60.1, "lafmax": 71.3, "lafmin": 48.2, "lcpeak": 85.5}
    assert dict(shown(text, query="DRD?")) == expected  # type: ignore[arg-type]  # no refusal among them
    assert shown(text) == ["layout"]


@pytest.mark.parametrize(
    ("said", "parser"),
    [
        ("SVAN 971", "svantek"),
        ("SV 971A", "svantek"),
        ("Svantek", "svantek"),
        ("XL2", "nti-xl2"),
        ("NTi Audio XL2", "nti-xl2"),
        ("NL-43", "rion-nl43"),
        ("Rion NL-53", "rion-nl43"),
        ("rion", "rion-nl43"),
    ],
)
def test_a_meter_may_be_called_as_its_plate_says(said: str, parser: str) -> None:
    assert made(said).framing == made(parser).framing
    assert made(said).line == made(parser).line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "B&K 2250"}, "model: 'B&K 2250' is none of 'svantek', 'nti-xl2' and 'rion-nl43'"),
        ({"model": "XL2", "quantities": ("lden",)}, "quantities: no lden; there are laeq, "),
        ({"model": "XL2", "quantities": ("battery",)}, "quantities: an XL2 does not say its battery"),
        ({"model": "svantek", "profile": 4}, "profile: 1 to 3, not 4"),
        ({"model": "svantek", "baudrate": 0}, "baudrate: a rate such as 38400, not 0"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_opened(options: dict[str, Any], message: str) -> None:
    with pytest.raises(registry.OptionsError) as refused:
        registry.make("ascii_slm", options)
    assert message.partition(": ")[2] in str(refused.value)
    assert refused.value.mistakes[0].path == (message.partition(":")[0],)


PIECES = st.sampled_from(
    [
        "#2,1,",
        "#1,U971,",
        "#7,BS,",
        "R+0000\r\n",
        "R85.86,",
        "L(10)89.5,",
        ";",
        "?",
        "dB",
        ", OK",
        "-999",
        DOD,
        "\n",
    ]
)


@given(text=st.lists(PIECES | st.text(max_size=5)).map("".join), model=st.sampled_from(["sv", "xl2", "nl43"]))
def test_any_text_gives_readings_or_reasons(text: str, model: str) -> None:
    with contextlib.suppress(FrameError):
        assert made(model).decode_layer("ascii-line", text.encode(), {"query": text})


@given(
    data=st.lists(st.binary(max_size=20) | PIECES.map(str.encode)).map(b"".join),
    model=st.sampled_from(["sv", "xl2", "nl43"]),
)
def test_any_bytes_in_any_conversation_give_outcomes_or_reasons(data: bytes, model: str) -> None:
    driver = made(model, quantities=["laeq", "lcpeak"] if model == "xl2" else ["laeq", "battery"])
    decoder = driver.decoder()
    for request in (*decoder.opening(), *decoder.cycle()):
        answered(driver, decoder, request, data)


@given(cuts=st.lists(st.integers(0, 200), max_size=5).map(sorted))
def test_answers_of_a_rion_are_found_among_echoes_however_they_are_cut(cuts: list[int]) -> None:
    stream = f"DOD?\r\n$R+0000\r\n{DOD}\r\nx\r\n$ R+0004\r\n$R+0000\r\nR+0000\r\nStart\r\n".encode()
    framer, found = Framer(made("rion").framing), list[bytes]()
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += framer.feed(stream[begin:end], bytes, lambda _: None)
    answers = [f"$R+0000\r\n{DOD}\r\n", "$ R+0004\r\n", "$R+0000\r\n", "R+0000\r\nStart\r\n"]
    assert found == [each.encode() for each in answers]


def test_a_rion_that_never_ends_its_line_costs_bounded_memory() -> None:
    framer = Framer(made("rion").framing)
    for _ in range(100):
        framer.feed(b"$R+0000\r\n" + b"1" * 500, bytes, lambda _: None)
        framer.feed(b"1" * 5000, bytes, lambda _: None)
        assert len(framer._pending) < framer._framing.longest


# The conversation, without a wire


def test_nothing_but_questions_is_sent_without_leave() -> None:
    for model, harmless in (("svantek", "#"), ("xl2", "*IM"), ("rion", "TSFMDB")):
        decoder = made(model).decoder()
        for _ in range(2):
            for request in (*decoder.opening(), *decoder.cycle()):
                assert not request.changes
                assert request.data[:1].decode() in harmless


def test_a_rion_is_given_a_second_between_commands_and_time_to_answer() -> None:
    decoder = made("rion", quantities=("laeq", "battery")).decoder()
    for request in (*decoder.opening(), *decoder.cycle()):
        assert request.after_s >= 1.0
        assert request.timeout_s >= 3.0


def test_an_xl2_holds_one_instant_and_is_asked_for_one_result_after_the_other() -> None:
    driver = made("xl2", quantities=("laeq", "la90", "la_sampled"), over="interval")
    assert [request.data for request in driver.decoder().cycle()] == [
        b"INIT:STATE?\n",
        b"MEAS:INIT\nMEAS:SLM:123:DT? LAEQ\n",
        b"MEAS:SLM:123? L90%\n",
        b"MEAS:SLM:123? LAF\n",
    ]


def test_a_level_goes_by_the_weighting_that_the_meter_says() -> None:
    meter = SvantekMeter()
    wanted = ("laeq", "lceq", "lafmax", "lcpeak", "la10", "la_sampled", "battery")
    found = talk(made("svantek", quantities=wanted), meter)
    assert values(found) == {
        "laeq": 61.25,
        "lafmax": 78.3,
        "lcpeak": 101.2,
        "la10": 66.0,
        "la_sampled": 55.5,
        "battery": 87.0,
    }
    assert reasons(found) == {"settings"}
    assert "gives no lceq: change the profile in the meter" in notices(found)["settings"]
    meter.filters = "F3:1,J1:1,C2:1"
    assert values(talk(made("svantek", quantities=wanted), meter)) == {"lceq": 61.25, "battery": 87.0}


def test_a_meter_that_does_not_say_its_weighting_gives_nothing_until_somebody_does() -> None:
    meter = SvantekMeter()
    meter.filters = "R1"
    found = talk(made("svantek"), meter)
    assert (values(found), reasons(found)) == ({}, {"settings"})
    assert values(talk(made("svantek", weighting="A"), meter))["lafmax"] == 78.3
    rion = RionMeter()
    rion.replies["Frequency Weighting (Main)?"] = [b"R+0001\r\n"] * 2
    found = talk(made("rion"), rion)
    assert (values(found), reasons(found)) == ({}, {"command", "settings"})
    assert "unknown" in notices(found)["settings"]
    assert values(talk(made("rion", weighting="A"), rion)) == {"laeq": 60.1, "lafmax": 71.3, "lafmin": 48.2}


def test_a_rion_that_stood_still_may_be_set_otherwise_and_is_asked_again() -> None:
    meter = RionMeter()
    driver = made("rion", quantities=("laeq", "lceq"))
    decoder = driver.decoder()

    def cycle() -> list[Outcome]:
        return asked(driver, decoder, meter, decoder.cycle())

    asked(driver, decoder, meter, decoder.opening())
    assert values(cycle()) == {"laeq": 60.1}
    meter.running = False
    assert (values(cycle()), reasons(cycle())) == ({}, {"state"})
    meter.running, meter.weightings = True, ("C", "F")
    cycle()
    assert values(cycle()) == {"lceq": 60.1}


# On real wires


async def test_a_svantek_on_a_line_is_read_though_its_answers_come_in_pieces() -> None:
    meter = SvantekMeter()
    meter.torn = 7
    async with on_a_terminal(meter) as port, reading("ascii_slm", {"model": "SV 971A"}, port=port) as desk:
        await desk.until(lambda: len(desk.values("laeq")) >= 3)
        assert {each.quantity.name: each.value for each in desk.taken} == {
            "laeq": 61.25,
            "lafmax": 78.3,
            "lafmin": 41.1,
        }
        assert desk.view.notices == {"device": "Svantek 971, serial number 1234"}
        assert desk.taken[0].meta == {
            "model": "971",
            "serial": "1234",
            "profile": 1,
            "time_s": 60,
            "percentiles": {"10": 66.0, "50": 58.1, "90": 45.2},
        }
        meter.serial = "9876"
        await desk.until(lambda: "9876" in desk.view.notices["device"])


async def test_an_xl2_on_a_line_is_read_with_commas_and_unknown_parameters() -> None:
    meter = Xl2Meter()
    meter.comma, meter.torn = True, 3
    options = {"model": "nti-xl2", "quantities": ["laeq", "la50", "lcpeak"]}
    async with on_a_terminal(meter) as port, reading("ascii_slm", options, port=port) as desk:
        await desk.until(lambda: len(desk.values("lcpeak")) >= 2)
        assert {each.quantity.name: each.value for each in desk.taken} == {"laeq": 61.3, "lcpeak": 101.2}
        assert desk.reasons == {"unknown_parameter"}
        assert desk.view.notices == {"device": "NTi Audio XL2, serial number A2A-02943-D1"}


async def test_a_rion_on_the_network_is_read() -> None:
    meter = RionMeter()
    options = {"model": "NL-43", "quantities": ["laeq", "lafmax", "la90", "battery"]}
    async with on_the_network(meter) as host, reading("ascii_slm", options, host=host) as desk:
        await desk.until(lambda: desk.values("battery"))
        assert {each.quantity.name: each.value for each in desk.taken} == {
            "laeq": 60.1,
            "lafmax": 71.3,
            "la90": 50.3,
            "battery": 64.0,
        }
        assert desk.view.notices == {"device": "Rion NL-43, serial number 00123456"}
        assert desk.reasons == set()


async def test_an_answer_that_comes_too_late_never_becomes_another_results_value() -> None:
    meter = Xl2Meter()
    meter.late = ["MEAS:SLM:123? LAFMAX"]
    options = {"model": "nti-xl2", "quantities": ["laeq", "lafmax", "lafmin"]}
    async with on_a_terminal(meter) as port, reading("ascii_slm", options, port=port) as desk:
        await desk.until(lambda: len(desk.values("lafmax")) >= 2)
        for quantity, value in (("laeq", 61.3), ("lafmax", 78.4), ("lafmin", 41.0)):
            assert set(desk.values(quantity)) == {value}
        assert desk.view.errors["no_reply"] >= 1
        assert desk.view.errors["late"] >= 1


async def test_the_late_results_of_a_svantek_are_not_taken_for_newer_ones() -> None:
    meter = SvantekMeter()
    question = "#2,1,V?,v?,T?,P?,M?,N?,S?,R?,L?"
    meter.late = [question]
    meter.replies[question] = [b"#2,1,V0,v0,R11.00,M11.00,N11.00;"]
    async with on_a_terminal(meter) as port, reading("ascii_slm", {"model": "svantek"}, port=port) as desk:
        await desk.until(lambda: desk.values("laeq"))
        assert set(desk.values("laeq")) == {61.25}
        assert desk.view.errors["no_reply"] >= 1
        assert desk.view.errors["late"] >= 1


@pytest.mark.parametrize("model", ["svantek", "nti-xl2"])
async def test_a_meter_that_stands_still_gives_no_value_and_says_what_to_do(model: str) -> None:
    meter = SvantekMeter() if model == "svantek" else Xl2Meter()
    if isinstance(meter, SvantekMeter):
        meter.running = False
    else:
        meter.state = "STOPPED"
    async with on_a_terminal(meter) as port, reading("ascii_slm", {"model": model}, port=port) as desk:
        await desk.until(lambda: desk.view.errors.get("state", 0) >= 2)
        assert desk.taken == []
        assert "press its START key, or set allow_setup = true" in desk.view.notices["state"]
        assert not {"#1,S1", "INIT START"} & set(meter.heard)
        if isinstance(meter, SvantekMeter):
            meter.running = True
        else:
            meter.state = "RUNNING"
        await desk.until(lambda: desk.values("laeq"))
        assert "state" not in desk.view.notices, "what is cured is shown no longer"


async def test_with_leave_the_gateway_starts_what_stands_still() -> None:
    svantek, xl2, rion = SvantekMeter(), Xl2Meter(), RionMeter()
    svantek.running, xl2.state, rion.running = False, "STOPPED", False
    async with (
        on_a_terminal(svantek) as one,
        on_a_terminal(xl2) as two,
        on_the_network(rion) as three,
        reading("ascii_slm", {"model": "svantek"}, port=one, allow_setup=True) as first,
        reading("ascii_slm", {"model": "nti-xl2"}, port=two, allow_setup=True) as second,
        reading("ascii_slm", {"model": "rion-nl43"}, host=three, allow_setup=True) as third,
    ):
        for desk, value in ((first, 61.25), (second, 61.3), (third, 60.1)):
            await desk.until(partial(desk.values, "laeq"))
            assert set(desk.values("laeq")) == {value}
    assert "#1,S1" in svantek.heard
    assert "INIT START" in xl2.heard
    assert "Measure,Start" in rion.heard


async def test_an_xl2_that_settles_is_warming_up_and_is_not_started_again() -> None:
    meter = Xl2Meter()
    meter.state = "SETTLING"
    options = {"model": "nti-xl2"}
    async with (
        on_a_terminal(meter) as port,
        reading("ascii_slm", options, port=port, allow_setup=True) as desk,
    ):
        await desk.until(lambda: desk.view.trouble is State.WARM_UP)
        await desk.until(lambda: desk.view.errors.get("warming_up", 0) >= 6)
        assert "INIT START" not in meter.heard
        assert desk.taken == []


async def test_what_a_meter_flags_gives_no_value() -> None:
    meter = Xl2Meter()
    meter.statuses = {"LAFMAX": "OVLD", "LAFMIN": "LOW"}
    async with on_a_terminal(meter) as port, reading("ascii_slm", {"model": "nti-xl2"}, port=port) as desk:
        await desk.until(lambda: len(desk.values("laeq")) >= 2)
        assert {each.quantity.name for each in desk.taken} == {"laeq"}
        assert desk.reasons == {"overload", "under_range"}


async def test_a_meter_that_says_nothing_does_not_answer() -> None:
    meter = Xl2Meter()
    meter.replies = {question: [b""] * 9 for question in ("*IDN?", "INIT:STATE?", "MEAS:SLM:123? LAEQ")}
    options = {"model": "nti-xl2", "quantities": ["laeq"]}
    async with on_a_terminal(meter) as port, reading("ascii_slm", options, port=port) as desk:
        await desk.until(lambda: desk.view.trouble is State.NO_ANSWER)
        assert desk.taken == []
        meter.replies.clear()
        await desk.until(lambda: desk.values("laeq"))
