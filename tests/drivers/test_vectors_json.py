"""Published vectors of JSON devices, through the driver itself and through `edgegw drivers decode`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgegw import registry
from edgegw.decode import decode
from edgegw.driver import QUANTITIES, FrameError, MessageDriver, Reading

FACTS = Path(__file__).parent / "facts"
PUBLISHED = Path(__file__).parents[3] / "shared" / "vectors"
FILES = ("airgradient", "airrohr", "camera-counters", "milesight-vs")
UNITS = {"[ppm]": "ppm", "{#}/cm3": "1/cm3", "%": "%RH", "{index}": "/", "{count}": "count"}
# Sound levels of a weighting are named with it; what has no quantity stands in meta.
RENAMED = {"lamin": "lafmin", "lamax": "lafmax"}
IN_META = {"temperature_corrected", "humidity_corrected"}

Vector = dict[str, Any]


def vectors() -> list[Any]:
    found = []
    for file in FILES:
        for folder in (FACTS, PUBLISHED):
            path = folder / f"{file}.json"
            if not path.exists():
                skip = pytest.mark.skip(reason=f"no ../shared/vectors/{file}.json beside the checkout")
                found.append(pytest.param({}, marks=skip, id=f"{file}-published"))
                continue
            found += [
                pytest.param(vector, id=f"{file}-{folder.name}-{vector['name']}")
                for vector in json.loads(path.read_text())
            ]
    return found


def text_of(vector: Vector) -> str:
    return vector["hex"] if "hex" in vector else json.dumps(vector["json"])


def agrees(lines: list[dict[str, Any]], expect: Vector) -> None:
    """Each expected value is there under its name and unit, what is null is not, and meta goes with every line."""
    measured = {line["quantity"]: line for line in lines if "quantity" in line}
    # Only a device that has just started, where every value is null, may give no line at all.
    assert measured or all(wanted["value"] is None for name, wanted in expect.items() if name != "meta")
    assert measured or len(expect) > 1
    for name, wanted in expect.items():
        if name == "meta":
            for line in measured.values():
                assert wanted.items() <= line["meta"].items()
        elif wanted["value"] is None:
            assert name not in measured
            assert any("error" in line for line in lines)
        elif name in IN_META:
            assert all(line["meta"][name] == wanted["value"] for line in measured.values())
        else:
            line = measured[RENAMED.get(name, name)]
            assert line["value"] == wanted["value"]
            assert line["unit"] == UNITS.get(wanted["unit"], wanted["unit"])
            assert line["unit"] == QUANTITIES[line["quantity"]].unit


@pytest.mark.parametrize("name", ["json_http", "json_mqtt"])
@pytest.mark.parametrize("vector", vectors())
def test_the_shell_decodes_it_and_recognises_the_device_by_its_document(name: str, vector: Vector) -> None:
    context = {key: str(value) for key, value in vector.get("context", {}).items()}
    lines = list(decode(name, [text_of(vector)], layer=vector["layer"], options=context))
    if "error" in vector:
        assert lines == [{"error": vector["error"]}]
    else:
        agrees(lines, vector["expect"])


@pytest.mark.parametrize("vector", vectors())
def test_the_driver_alone_decodes_it(vector: Vector) -> None:
    driver = registry.make("json_http", registry.load("json_http").decode_options)
    assert isinstance(driver, MessageDriver)
    data = bytes.fromhex(vector["hex"]) if "hex" in vector else json.dumps(vector["json"]).encode()
    try:
        found = driver.decode_layer(vector["layer"], data, vector.get("context", {}))
    except FrameError as error:
        found = [error]
    assert found is not None
    if "error" in vector:
        assert [each.reason for each in found if isinstance(each, FrameError)] == [vector["error"]]
        assert not any(isinstance(each, Reading) for each in found)
        return
    lines: list[dict[str, Any]] = []
    for each in found:
        if isinstance(each, Reading):
            line = {"quantity": each.quantity.name, "value": each.value, "unit": each.quantity.unit}
            lines.append({**line, "meta": dict(each.meta or {})})
        elif isinstance(each, FrameError):
            lines.append({"error": each.reason})
    agrees(lines, vector["expect"])


def test_the_own_facts_are_the_published_ones() -> None:
    for file in FILES:
        path = PUBLISHED / f"{file}.json"
        if not path.exists():
            pytest.skip(f"no ../shared/vectors/{file}.json beside the checkout")
        published = {vector["name"]: vector for vector in json.loads(path.read_text())}
        for vector in json.loads((FACTS / f"{file}.json").read_text()):
            assert vector == published[vector["name"]]
