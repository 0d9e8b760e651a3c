"""What the contract suite is run on: every installed driver, with each of its devices.

The facts of the drivers that ship lie in `drivers/facts`, one file for each kind of device, in the form of the
published vectors; a Modbus profile and a JSON map bring theirs as worked examples. A driver of somebody else brings
`facts.json` in its own folder.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegw import contract, registry
from edgegw.contract.subject import checked, octets
from edgegw.driver import QUANTITIES
from edgegw_drivers.json_map import find as maps
from edgegw_drivers.modbus import find as profiles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgegw.contract import Fact, Subject

FACTS = Path(__file__).parent / "drivers" / "facts"
#: Each file of facts: of which driver, and with which options the shell decodes it.
FILES: dict[str, tuple[str, dict[str, Any]]] = {
    "airgradient": ("json_http", {"map": "airgradient"}),
    "airrohr": ("json_http", {"map": "airrohr"}),
    "aranet": ("aranet", {}),
    "ble-others": ("ble_env", {}),
    "ble-presence": ("ble_presence", {}),
    "bthome-v2": ("bthome", {}),
    "camera-counters": ("json_mqtt", {}),
    "dfrobot-gas": ("winsen", {"model": "dfrobot"}),
    "ld2410": ("ld2410", {}),
    "ld2450": ("ld2450", {}),
    "mhz19": ("winsen", {"model": "mhz19"}),
    "milesight-vs": ("json_mqtt", {}),
    "modbus-generic": ("modbus", {}),
    "modbus-weather": ("modbus", {}),
    "nsrt-mk3": ("nsrt", {}),
    "nti-xl2": ("ascii_slm", {"model": "nti-xl2"}),
    "ops243": ("ops243", {}),
    "plantower-pms": ("plantower", {}),
    "pulse-counter": ("modbus", {}),
    "qingping": ("ble_env", {}),
    "renke-noise": ("modbus", {"profile": "renke-noise"}),
    "rion-nl43": ("ascii_slm", {"model": "rion-nl43"}),
    "ruuvi": ("ruuvi", {}),
    "scd30-modbus": ("modbus", {"profile": "scd30"}),
    "sds011": ("sds011", {}),
    "senseair-modbus": ("modbus", {"profile": "senseair"}),
    "software-slm": ("alsa_slm", {}),
    "sps30": ("sps30", {}),
    "svantek": ("ascii_slm", {"model": "svantek"}),
    "terabee-evo": ("terabee", {}),
    "usb-ble-slm": ("usb_slm", {}),
    "xiaomi-atc-pvvx": ("ble_env", {}),
}
# Layers of devices that have a checksum which none of our few facts breaks.
CHECKED = {"mhz19": {"uart"}}
#: Devices whose bytes have no checksum, by the file of their facts. Any other must refuse each flipped bit.
UNCHECKED = {
    # Documents and lines of text.
    *(
        "airgradient",
        "airrohr",
        "camera-counters",
        "nti-xl2",
        "ops243",
        "rion-nl43",
        "software-slm",
        "svantek",
    ),
    # Advertisements: the radio's own checksum is gone before a driver sees them. Those with a key are checked by it.
    *("aranet", "ble-others", "ble-presence", "qingping", "ruuvi"),
    # Reports with markers at both ends, and nothing between them that tells; answers of a few bytes, bare.
    *("ld2410", "ld2450", "milesight-vs", "nsrt-mk3", "usb-ble-slm"),
}
# Messages of objects one after the other: cut between two of them, one is a shorter message, and whole.
DIVISIBLE = {"bthome-v2", "milesight-vs", "qingping"}
# A pvvx advertisement (15 bytes) that is cut to 13 is an atc1441 one: their lengths are what tells them apart.
LENGTHS = {"xiaomi-atc-pvvx": frozenset({13})}
# What the vectors call a quantity, and the gateway. Which level a sound level meter's is, `test_vectors.py` knows.
RENAMED = {"noise": "la_sampled", "relative_humidity": "humidity"}
# What a device says that is no measurement: the vectors name it, and the gateway gives no reading.
NO_READING = {
    "reply firmware version",
    "product line is no reading",
    "unit acknowledgement",
    "distance frame",
}
METERS = {"ascii_slm", "nsrt", "usb_slm"}
# By how a vector's name begins: the profile that reads its device.
PROFILES = {
    "RS-FSJT": "renke-wind-speed",
    "RS-FXJT": "renke-wind-direction",
    "RS485-TH": "rs485-th",
    "SEN0483": "dfrobot-wind-speed",
    "integrated station": "weather-station",
}


def usable() -> tuple[list[Subject], list[str]]:
    """Each installed driver once, as its sample has it, with all of its facts; and why others cannot be tested."""
    found, faults = [], []
    for name in registry.names():
        try:
            one = contract.subject(name)
            own = [fact for file, (of, _) in FILES.items() if of == name for fact in _of_file(file).facts]
        except (registry.DriverError, contract.ContractError, ValueError) as error:
            faults.append(f"{name}: {error}")
        else:
            found.append(replace(one, facts=(*one.facts, *own), _made={}))
    return found, faults


def devices() -> list[Subject]:
    """Each driver with each of the devices whose bytes are known, and each profile and map that ships."""
    shipped = {name for name, _ in FILES.values()}
    foreign = [one for one in usable()[0] if one.name not in shipped]
    return [*foreign, *(_of_file(file) for file in FILES), *_of_profiles(), *_of_maps()]


def _of_file(file: str) -> Subject:
    name, shell = FILES[file]
    driver = contract.subject(name)
    rows = json.loads((FACTS / f"{file}.json").read_text(encoding="utf-8"))
    facts = tuple(
        _fact(name, row)
        for row in rows
        if ("expect" in row or "error" in row) and row["name"] not in NO_READING
    )
    layers = checked(driver.kind, facts) | CHECKED.get(file, set())
    made = driver.options if name == "modbus" else {**driver.options, **shell}
    return replace(
        driver,
        label=f"{name}-{file}",
        options=made,
        shell=shell,
        facts=facts,
        checked=frozenset(layers),
        divisible=file in DIVISIBLE,
        lengths=LENGTHS.get(file, frozenset()),
        _made={},
    )


def _fact(name: str, row: dict[str, Any]) -> Fact:
    profile = next((each for begin, each in PROFILES.items() if row["name"].startswith(begin)), None)
    context = {**row.get("context", {}), **({"profile": profile} if profile else {})}
    expect, error = row.get("expect"), row.get("error", "")
    if expect is not None and _nothing(expect):
        expect, error = None, "not_available"
    found: dict[str, tuple[float, str | None]] = {}
    for key, each in (expect or {}).items():
        quantity = RENAMED.get(key, key.removeprefix("gas_"))
        if (
            name not in METERS
            and quantity in QUANTITIES
            and isinstance(each, dict)
            and each["value"] is not None
        ):
            found[quantity] = (each["value"], None)
    return contract.Fact(
        row["name"],
        row["layer"],
        octets(row),
        context,
        None if expect is None else found,
        error,
        row.get("tolerance", 0.0),
    )


def _nothing(expect: dict[str, Any]) -> bool:
    """Whether all that is expected is that there is no value."""
    if "values" in expect:
        return set(expect["values"]) == {None}
    values = [each["value"] for each in expect.values() if isinstance(each, dict) and "value" in each]
    return bool(values) and set(values) == {None}


def _of_profiles() -> Iterator[Subject]:
    driver = contract.subject("modbus")
    for file in sorted(profiles.SHIPPED.glob("*.toml")):
        examples = tomllib.loads(file.read_text(encoding="utf-8"))["example"]
        facts = tuple(_of_registers(number, each) for number, each in enumerate(examples))
        yield replace(
            driver,
            label=f"modbus-profile-{file.stem}",
            options={"profile": file.stem},
            shell={"profile": file.stem},
            facts=facts,
            _made={},
        )


def _of_registers(number: int, example: dict[str, Any]) -> Fact:
    words = example["registers"]
    flat = [word for each in words for word in (each if isinstance(each, list) else [each])]
    expect = {
        key: (float(value), None) for key, value in example["expect"].items() if not isinstance(value, str)
    }
    reasons = [value for value in example["expect"].values() if isinstance(value, str)]
    if "before" in example or "first_count" in reasons:
        expect, reasons = {}, []  # passages between two polls: alone, the shell shows the totals
    return contract.Fact(
        example.get("name", f"example {number}"),
        "modbus-registers",
        octets({"registers": flat, "layer": "modbus-registers"}),
        {},
        expect if expect or not reasons else None,
        reasons[0] if reasons and not expect else "",
        1e-5,  # single precision has seven digits
    )


def _of_maps() -> Iterator[Subject]:
    driver = contract.subject("json_mqtt")
    options = {key: value for key, value in driver.options.items() if key != "line"}
    for file in sorted(maps.SHIPPED.glob("*.toml")):
        examples = tomllib.loads(file.read_text(encoding="utf-8"))["example"]
        facts = [_of_document(each, f"example {number}") for number, each in enumerate(examples, 1)]
        yield replace(
            driver,
            label=f"json-map-{file.stem}",
            options={**options, "map": file.stem},
            shell={"map": file.stem},
            facts=tuple(facts),
            divisible=file.stem.startswith("milesight"),
            _made={},
        )


def _of_document(example: dict[str, Any], number: str) -> Fact:
    """A worked example; of several documents the last, which alone shows the totals as they stand."""
    expect = {key: (float(value), None) for key, value in example.get("expect", {}).items()}
    error = "" if expect else example.get("reasons", ["?"])[0]
    name = example.get("name", number)
    if "payload" in example:
        data = bytes.fromhex(example["payload"])
        return contract.Fact(name, "milesight-tlv", data, {}, expect or None, error)
    if isinstance(example["document"], str):
        return contract.Fact(name, "mqtt-json", example["document"].encode(), {}, expect or None, error)
    return contract.Fact(name, "mqtt-json", example["document"][-1].encode(), {}, {})
