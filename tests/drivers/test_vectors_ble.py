"""Published vectors of Bluetooth devices, through the driver itself and through `edgegw drivers decode`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgegw import registry
from edgegw.decode import decode
from edgegw.driver import QUANTITIES, AdvertDriver, FrameError, Reading

FACTS = Path(__file__).parent / "facts"
PUBLISHED = Path(__file__).parents[3] / "shared" / "vectors"
#: Which driver a file of vectors is for.
DRIVERS = {
    "bthome-v2": "bthome",
    "ruuvi": "ruuvi",
    "xiaomi-atc-pvvx": "ble_env",
    "qingping": "ble_env",
    "ble-others": "ble_env",
    "aranet": "aranet",
    "ble-presence": "ble_presence",
}
# UCUM units of the vectors, and the gateway's with the factor between them.
UNITS = {"[ppm]": ("ppm", 1.0), "{index}": ("/", 1.0), "nSv/h": ("Sv/h", 1e-9)}
# Published without all of their values.
PARTIAL = {"DF3 minimum", "DF5 one acceleration axis invalid"}
# Percent are three things.
PERCENT = {"humidity": "%RH", "battery": "%EL"}
# BTHome's names of what the gateway calls otherwise.
BTHOME = {"voltage": "battery_voltage", "direction": "wind_direction"}

Vector = dict[str, Any]
Line = dict[str, Any]


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


def shown(file: str, vector: Vector) -> list[Line]:
    """What `edgegw drivers decode` prints."""
    context = {key: str(value) for key, value in vector.get("context", {}).items()}
    return list(decode(DRIVERS[file], [vector["hex"]], layer=vector["layer"], options=context))


def alone(file: str, vector: Vector) -> list[Line]:
    """The same, of the driver without the shell."""
    kind = registry.load(DRIVERS[file])
    own = {option.name for option in registry.options(kind)}
    context = vector.get("context", {})
    driver = registry.make(
        DRIVERS[file],
        {**kind.decode_options, **{key: value for key, value in context.items() if key in own}},
        text=True,
    )
    assert isinstance(driver, AdvertDriver)
    try:
        outcomes = driver.decode_layer(vector["layer"], bytes.fromhex(vector["hex"]), context)
    except FrameError as error:
        return [{"error": error.reason}]
    assert outcomes is not None
    return [as_line(each) for each in outcomes if isinstance(each, Reading | FrameError)]


def as_line(outcome: Reading | FrameError) -> Line:
    if isinstance(outcome, FrameError):
        return {"error": outcome.reason}
    unit = outcome.quantity.unit
    return {
        "quantity": outcome.quantity.name,
        "value": outcome.value,
        "unit": unit,
        "meta": dict(outcome.meta or {}),
    }


def agrees_with_objects(found: list[Line], expect: dict[str, Any], tolerance: float) -> None:
    """BTHome: a reading for each object that is a quantity, and every object in `meta`."""
    objects = [each for each in expect["objects"] if not each[0].startswith("!")]
    lines = [line for line in found if "error" not in line]
    measured = [(line["quantity"], line["value"]) for line in lines if line["quantity"] in QUANTITIES]
    wanted = [(BTHOME.get(name, name), value) for name, value in objects]
    wanted = [each for each in wanted if each[0] in QUANTITIES]
    assert [name for name, _ in measured] == [name for name, _ in wanted]
    assert [value for _, value in measured] == pytest.approx([value for _, value in wanted], abs=tolerance)
    for line in lines:
        assert [name for name, _ in line["meta"]["objects"]] == [name for name, _ in objects]
        for (_, value), (_, said) in zip(line["meta"]["objects"], objects, strict=True):
            assert value == pytest.approx(said, abs=tolerance)
        assert expect.get("meta", {}).items() <= line["meta"].items()
    cut = ["!truncated", None] in expect["objects"]
    assert [line for line in found if "error" in line] == (
        [{"error": "truncated"}] if cut else [] if objects else [{"error": "unknown_object"}]
    )


def agrees(name_of: str, found: list[Line], expect: dict[str, Any], tolerance: float) -> None:
    """Each value under its name and unit, a counted reason for each that is not available, nothing besides."""
    expect = dict(expect)
    meta = expect.pop("meta", {})
    lines = {line["quantity"]: line for line in found if "error" not in line}
    missing = [name for name, wanted in expect.items() if wanted["value"] is None]
    measured = lines.keys() & QUANTITIES.keys()
    assert measured == expect.keys() - set(missing) or (name_of in PARTIAL and measured > expect.keys())
    assert [line for line in found if "error" in line] == [{"error": "not_available"}] * len(missing)
    for line in lines.values():
        assert meta.items() <= line["meta"].items()
    for name, wanted in expect.items():
        if name in missing:
            assert name not in lines
            continue
        unit, factor = UNITS.get(wanted["unit"], (wanted["unit"], 1.0))
        assert lines[name]["value"] == pytest.approx(wanted["value"] * factor, abs=tolerance * factor, rel=0)
        assert lines[name]["unit"] == PERCENT.get(name, unit)


@pytest.mark.parametrize("way", [shown, alone])
@pytest.mark.parametrize(("file", "vector"), vectors())
def test_an_advertisement_says_what_was_published_or_is_refused(file: str, vector: Vector, way: Any) -> None:
    found = way(file, vector)
    if "error" in vector:
        assert found == [{"error": vector["error"]}]
    elif "objects" in vector["expect"]:
        agrees_with_objects(found, vector["expect"], vector.get("tolerance", 0))
    else:
        agrees(vector["name"], found, vector["expect"], vector.get("tolerance", 0))


def test_the_own_facts_are_the_published_ones() -> None:
    for file in DRIVERS:
        own = json.loads((FACTS / f"{file}.json").read_text())
        assert own
        path = PUBLISHED / f"{file}.json"
        if path.exists():
            published = {vector["name"]: vector for vector in json.loads(path.read_text())}
            for vector in own:
                assert vector.items() <= published[vector["name"]].items()
