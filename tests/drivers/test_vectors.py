"""Published vectors, through the driver itself and through `edgegw drivers decode`.

The facts beside this file are a few of them; all of them are taken where the vectors lie beside the checkout.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from outcomes import readings

from edgegw import registry
from edgegw.decode import FRAME, STREAM, decode
from edgegw.driver import QUANTITIES, FrameError, Outcome, Reading, StreamDriver
from edgegw.framing import Framer

if TYPE_CHECKING:
    from collections.abc import Sequence

FACTS = Path(__file__).parent / "facts"
PUBLISHED = Path(__file__).parents[3] / "shared" / "vectors"
#: Which driver a file of vectors is for, and the options of its own that the vectors take for granted.
DRIVERS: dict[str, tuple[str, dict[str, str]]] = {
    "sds011": ("sds011", {}),
    "ld2450": ("ld2450", {}),
    "renke-noise": ("modbus", {"profile": "renke-noise"}),
    "software-slm": ("alsa_slm", {}),
    "modbus-generic": ("modbus", {}),
    "svantek": ("ascii_slm", {}),
    "nti-xl2": ("ascii_slm", {}),
    "rion-nl43": ("ascii_slm", {}),
    "nsrt-mk3": ("nsrt", {}),
    "usb-ble-slm": ("usb_slm", {}),
    "modbus-weather": ("modbus", {}),
    "scd30-modbus": ("modbus", {"profile": "scd30"}),
    "senseair-modbus": ("modbus", {"profile": "senseair"}),
    "pulse-counter": ("modbus", {}),
    "sps30": ("sps30", {}),
    "mhz19": ("winsen", {"model": "mhz19"}),
    "dfrobot-gas": ("winsen", {"model": "dfrobot"}),
}
#: Where a file holds vectors of several devices: the option that a vector needs, by how its name begins.
DEVICES: dict[str, dict[str, str]] = {
    "RS-FSJT": {"profile": "renke-wind-speed"},
    "RS-FXJT": {"profile": "renke-wind-direction"},
    "RS485-TH": {"profile": "rs485-th"},
    "SEN0483": {"profile": "dfrobot-wind-speed"},
    "integrated station": {"profile": "weather-station"},
}
#: What the vectors of sound level meters call a level, and the gateway; an exposure level it has no name for.
LEVELS = {
    "leq": "laeq",
    "lmax": "lafmax",
    "lmin": "lafmin",
    "lpeak": "lcpeak",
    "lp": "la_sampled",
    "level": "la_sampled",
}
METERS = ("ascii_slm", "nsrt", "usb_slm")
# The vectors' names and UCUM units, and the gateway's.
RENAMED = {"noise": "la_sampled", "leq": "laeq", "relative_humidity": "humidity"}
UNITS = {"[ppm]": "ppm", "{count}": "count", "%": "%RH", "{#}/cm3": "1/cm3"}
# What a vector measures that has no row among the quantities: the gateway shows it in `meta`.
NAMELESS = ("typical_size",)

Vector = dict[str, Any]


def vectors() -> list[Any]:
    found = []
    for file in DRIVERS:
        for folder in (FACTS, PUBLISHED):
            path = folder / f"{file}.json"
            if not path.exists():
                skip = pytest.mark.skip(reason=f"no ../shared/vectors/{file}.json beside the checkout")
                found.append(pytest.param(file, {}, marks=skip, id=f"{file}-published"))
                continue
            found += [
                pytest.param(file, vector, id=f"{file}-{folder.name}-{vector['name']}")
                for vector in json.loads(path.read_text())
            ]
    return found


def kept(*layers: str) -> list[Any]:
    """The vectors of these layers; `encode` stands for those that a driver has to make."""
    return [
        case
        for case in vectors()
        if not case.values[1]
        or ("encode" if "encode" in case.values[1] else case.values[1]["layer"]) in layers
    ]


def of_device(vector: Vector) -> dict[str, str]:
    """The options of the device that a vector is of."""
    return next((options for name, options in DEVICES.items() if vector["name"].startswith(name)), {})


def typed(vector: Vector) -> str:
    """How somebody writes a vector's input: numbers as they stand, all else in hexadecimal."""
    return json.dumps(vector["registers"]) if vector["layer"] == "numeric" else octets(vector).hex()


def octets(vector: Vector) -> bytes:
    words = b"".join(word.to_bytes(2, "big") for word in vector.get("registers", ()))
    return bytes.fromhex(vector.get("hex", "")) + words


def shown(file: str, vector: Vector) -> list[dict[str, Any]]:
    """What `edgegw drivers decode` prints."""
    name, options = DRIVERS[file]
    given = {**options, **of_device(vector), **vector.get("context", {})}
    return list(decode(name, [typed(vector)], layer=vector["layer"], options=given))


def stream_driver(file: str, vector: Vector) -> StreamDriver:
    name, options = DRIVERS[file]
    given = {**registry.load(name).decode_options, **options, **vector.get("context", {})}
    driver = registry.make(name, given)
    assert isinstance(driver, StreamDriver)
    return driver


def alone(file: str, vector: Vector) -> Sequence[Outcome]:
    """What the driver makes of a frame, without the shell."""
    name, options = DRIVERS[file]
    if issubclass(registry.load(name), StreamDriver):
        return stream_driver(file, vector).decoder().decode(octets(vector), 0.0)
    driver = registry.make(name, {**registry.load(name).decode_options, **options})
    found = driver.decode_layer(FRAME, octets(vector), vector.get("context", {}))
    assert found is not None
    return found


def as_shown(found: Sequence[Reading]) -> list[dict[str, Any]]:
    return [
        {
            "quantity": reading.quantity.name,
            "value": reading.value,
            "unit": reading.quantity.unit,
            "meta": dict(reading.meta or {}),
        }
        for reading in found
    ]


def agrees(found: list[dict[str, Any]], expect: dict[str, Any], tolerance: float) -> None:
    """Whether lines say what a vector expects: each value under its name and unit, and nothing besides."""
    expect = dict(expect)
    meta = expect.pop("meta", {})
    for key, value in meta.items():
        assert all(line["meta"][key] == value for line in found)
    tracks = expect.pop("targets", None)
    if tracks is not None:
        (line,) = found
        assert (line["quantity"], line["value"], line["unit"]) == ("targets", len(tracks), "count")
        assert line["meta"] == {"targets": tracks}
        return
    values = expect.pop("values", None)
    if values is not None:
        assert [line.get("value") for line in found] == pytest.approx(values, abs=tolerance)
        return
    # Lden is a figure of the shell's alone: a gateway measures no years.
    measured = {
        line["quantity"]: line for line in found if line["quantity"] in {*QUANTITIES, "lday_evening_night"}
    }
    for name in NAMELESS:
        if name in expect:
            wanted = expect.pop(name)["value"]
            assert [line["meta"][name] for line in found] == pytest.approx(
                [wanted] * len(found), abs=tolerance
            )
    # The one frame with an error flag was published with one of its values.
    assert len(measured) == len(expect) or "device_error_flag" in meta
    for name, wanted in expect.items():
        line = measured[RENAMED.get(name, name.removeprefix("gas_"))]
        assert line["value"] == pytest.approx(wanted["value"], abs=tolerance, rel=0)
        # The percent of a humidity is another one than that of oxygen.
        assert line["unit"] in {UNITS.get(wanted["unit"]), wanted["unit"]}
        if line["quantity"] in QUANTITIES:
            assert line["unit"] == QUANTITIES[line["quantity"]].unit


@pytest.mark.parametrize(("file", "vector"), kept(FRAME, "modbus-rtu", "modbus-registers", "numeric"))
def test_the_shell_decodes_one_input_to_what_was_published_or_refuses_it(file: str, vector: Vector) -> None:
    found = shown(file, vector)
    if "error" in vector:
        assert found == [{"error": vector["error"]}]
    elif vector["expect"].get("values") == [None]:
        assert found == [{"error": "not_available"}]
    else:
        agrees(found, vector["expect"], vector.get("tolerance", 0))


@pytest.mark.parametrize(("file", "vector"), kept(FRAME))
def test_the_driver_alone_decodes_a_frame_to_what_was_published_or_refuses_it(
    file: str, vector: Vector
) -> None:
    if "error" in vector:
        with pytest.raises(FrameError) as refused:
            alone(file, vector)
        assert refused.value.reason == vector["error"]
        return
    found = readings(alone(file, vector))
    flagged = vector["expect"].get("meta", {}).get("device_error_flag", False)
    assert {reading.flag for reading in found} == {3 if flagged else None}
    agrees(as_shown(found), vector["expect"], vector.get("tolerance", 0))


@pytest.mark.parametrize(
    ("file", "vector"), [case for case in kept(STREAM) if DRIVERS[case.values[0]][0] not in METERS]
)
def test_a_stream_gives_the_published_frames_and_at_least_the_published_errors(
    file: str, vector: Vector
) -> None:
    driver, errors = stream_driver(file, vector), []
    decoder, framer = driver.decoder(), Framer(driver.framing)
    frames = framer.feed(
        octets(vector), lambda frame: decoder.decode(frame, 0.0), lambda error: errors.append(error.reason)
    )
    assert len(frames) == len(vector["expect"]["frames"])
    for outcomes, expect in zip(frames, vector["expect"]["frames"], strict=True):
        agrees(as_shown(readings(outcomes)), expect, vector.get("tolerance", 0))
    for reason in vector["expect"]["errors"]:
        errors.remove(reason)
    lines = shown(file, vector)
    assert [line for line in lines if "error" not in line] == [
        line for outcomes in frames for line in as_shown(readings(outcomes))
    ]
    assert {line["error"] for line in lines if "error" in line} >= set(vector["expect"]["errors"])


@pytest.mark.parametrize(
    ("file", "vector"),
    [
        case
        for case in kept("ascii-line", "usb-cdc", "hid-report", "ble-notification", STREAM)
        if DRIVERS[case.values[0]][0] in METERS
    ],
)
def test_the_shell_shows_what_a_sound_level_meter_says_under_the_gateways_names(
    file: str, vector: Vector
) -> None:
    name, options = DRIVERS[file]
    given = {**options, **vector.get("context", {})}
    text = str(vector["text"] if "text" in vector else vector["hex"])
    found = list(decode(name, [text], layer=vector["layer"], options=given))
    if "error" in vector:
        assert found == [{"error": vector["error"]}]
        return
    expect = dict(vector["expect"])
    if "values" in expect:
        assert [line.get("value") for line in found] == expect["values"]
        return
    lines = {line["quantity"]: line for line in found if "quantity" in line}
    meta = expect.pop("meta", {})
    for line in lines.values():
        assert line["unit"] == "dB"
        assert line["meta"].items() >= meta.items()
    # What is no level of this moment with A weighting has no name here.
    nameless = meta.get("frequency_weighting") == "C" or meta.get("max_hold")
    for called, wanted in expect.items():
        ours = "level" if nameless else LEVELS.get(called)
        if wanted["value"] is None:
            assert ours not in lines
            assert {"error": "not_available"} in found
        elif ours is None:
            assert all(line["meta"][called] == wanted["value"] for line in lines.values())
        else:
            assert lines[ours]["value"] == wanted["value"]


@pytest.mark.parametrize(("file", "vector"), kept("encode"))
def test_a_driver_makes_exactly_the_published_bytes_of_a_command(file: str, vector: Vector) -> None:
    name, options = DRIVERS[file]
    driver = registry.make(name, {**registry.load(name).decode_options, **options})
    command = vector["encode"].get("command", "request")
    assert driver.encode(command, vector["encode"]).hex() == vector["hex"]


def test_the_own_facts_are_the_published_ones_and_every_kind_is_among_them() -> None:
    kinds = set()
    for file in DRIVERS:
        own = {vector["name"]: vector for vector in json.loads((FACTS / f"{file}.json").read_text())}
        kinds |= {key for vector in own.values() for key in ("expect", "error", "encode") if key in vector}
        path = PUBLISHED / f"{file}.json"
        if path.exists():
            published = {vector["name"]: vector for vector in json.loads(path.read_text())}
            for name, vector in own.items():
                assert vector.items() <= published[name].items()
    assert kinds == {"expect", "error", "encode"}
