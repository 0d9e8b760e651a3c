"""Published vectors of devices on serial lines whose files say things in their own way; see `test_vectors`.

`plantower-pms` names a part of what a frame holds; `ld2410` lists what the gateway keeps beside one value; `ops243` has
speeds without a sign and the direction as a word; frames that hold no measurement give no reading, and the shell alone
shows what they say.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgegw import registry
from edgegw.decode import FRAME, STREAM, decode
from edgegw.driver import QUANTITIES, FrameError, Reading, StreamDriver
from edgegw.framing import Framer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgegw.driver import Outcome

FACTS = Path(__file__).parent / "facts"
PUBLISHED = Path(__file__).parents[3] / "shared" / "vectors"
DRIVERS = {"plantower-pms": "plantower", "ld2410": "ld2410", "terabee-evo": "terabee", "ops243": "ops243"}
UNITS = {"{count}": "count", "{#}/cm3": "1/cm3", "%": "%RH"}
# What the gateway has no name for.
NAMELESS = ("range",)

Vector = dict[str, Any]


def vectors(kind: str) -> list[Any]:
    """The vectors that are decoded (`decode`), made (`encode`) or found in a stream (`uart-stream`)."""
    found = []
    for file in DRIVERS:
        for folder in (FACTS, PUBLISHED):
            path = folder / f"{file}.json"
            if not path.exists():
                skip = pytest.mark.skip(reason=f"no ../shared/vectors/{file}.json beside the checkout")
                found.append(pytest.param(file, {}, marks=skip, id=f"{file}-published"))
                continue
            for vector in json.loads(path.read_text()):
                is_kind = "encode" if "encode" in vector else "decode"
                if (STREAM if vector["layer"] == STREAM else is_kind) == kind:
                    found.append(pytest.param(file, vector, id=f"{file}-{folder.name}-{vector['name']}"))
    return found


def driver_of(file: str, vector: Vector) -> StreamDriver:
    name = DRIVERS[file]
    made = registry.make(name, {**registry.load(name).decode_options, **vector.get("context", {})})
    assert isinstance(made, StreamDriver)
    return made


def shown(file: str, vector: Vector) -> list[dict[str, Any]]:
    """What `edgegw drivers decode` prints."""
    given = str(vector["text"] if "text" in vector else vector["hex"])
    return list(decode(DRIVERS[file], [given], layer=vector["layer"], options=vector.get("context", {})))


def alone(file: str, vector: Vector) -> Sequence[Outcome]:
    """What the driver makes of one input, without the shell."""
    driver = driver_of(file, vector)
    if vector["layer"] == FRAME:
        data = bytes.fromhex(vector["hex"])
        reason = driver.framing.refusal(data)
        if reason:
            raise FrameError(reason)
        return driver.decoder().decode(data, 0.0)
    found = driver.decode_layer(vector["layer"], vector["text"].encode(), {})
    assert found is not None
    return found


def lines_of(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    return [
        {
            "quantity": each.quantity.name,
            "value": each.value,
            "unit": each.quantity.unit,
            "meta": dict(each.meta or {}),
        }
        for each in outcomes
        if isinstance(each, Reading)
    ]


def agree(lines: list[dict[str, Any]], expect: dict[str, Any]) -> None:
    """Whether lines say what a vector expects, under the gateway's names and units."""
    expect = {name: wanted for name, wanted in expect.items() if name not in NAMELESS}
    meta = expect.pop("meta", {})
    if "values" in expect:
        (line,) = lines
        seen = list(line["meta"].values())
        assert seen[: len(expect["values"])] == expect.pop("values")
        assert line["value"] == (seen[0] or seen[1])
    elif not expect:
        assert lines == []
    measured = {line["quantity"]: line for line in lines}
    for name, wanted in expect.items():
        assert measured[name]["value"] == wanted["value"]
        assert measured[name]["unit"] == UNITS.get(wanted["unit"], wanted["unit"])
    for line in lines:
        assert meta.items() <= line["meta"].items()


@pytest.mark.parametrize(("file", "vector"), vectors("decode"))
def test_an_input_is_decoded_to_what_was_published_or_refused(file: str, vector: Vector) -> None:
    lines = shown(file, vector)
    if "error" in vector:
        assert lines == [{"error": vector["error"]}]
        with pytest.raises(FrameError) as refused:
            alone(file, vector)
        assert refused.value.reason == vector["error"]
        return
    outcomes = alone(file, vector)
    assert all(each.flag is None for each in outcomes if isinstance(each, Reading))
    found = lines_of(outcomes)
    agree(found, vector["expect"])
    if found:
        assert [line for line in lines if "error" not in line] == json.loads(json.dumps(found))
    else:
        says_besides(lines, vector["expect"])


def says_besides(lines: list[dict[str, Any]], expect: dict[str, Any]) -> None:
    """A frame without a measurement: the shell shows what it says, under a name that is no quantity's."""
    (line,) = lines
    assert line["quantity"] not in QUANTITIES
    wanted = {name: each["value"] for name, each in expect.items() if name != "meta"}
    assert {**wanted, **expect.get("meta", {})}.items() <= line["meta"].items()


def heard(driver: StreamDriver, chunks: Sequence[bytes]) -> list[Sequence[Outcome]]:
    decoder, framer = driver.decoder(), Framer(driver.framing)
    found: list[Sequence[Outcome]] = []
    for chunk in chunks:
        found += framer.feed(chunk, lambda frame: decoder.decode(frame, 0.0), lambda _: None)
    return found


@pytest.mark.parametrize(("file", "vector"), vectors(STREAM))
def test_a_stream_gives_the_published_frames_in_any_chunks(file: str, vector: Vector) -> None:
    driver = driver_of(file, vector)
    data = bytes.fromhex(vector["hex"])
    for size in (1, 7, len(data)):
        found = heard(driver, [data[at : at + size] for at in range(0, len(data), size)])
        assert len(found) == len(vector["expect"]["frames"])
        for outcomes, expect in zip(found, vector["expect"]["frames"], strict=True):
            agree(lines_of(outcomes), expect)
    assert [line["value"] for line in shown(file, vector)] == [
        line["value"] for outcomes in found for line in lines_of(outcomes)
    ]


@pytest.mark.parametrize(("file", "vector"), vectors("encode"))
def test_a_driver_makes_exactly_the_published_bytes_of_a_command(file: str, vector: Vector) -> None:
    assert driver_of(file, {}).encode(vector["encode"]["command"], vector["encode"]).hex() == vector["hex"]


@pytest.mark.parametrize("file", DRIVERS)
def test_the_own_facts_are_published_ones(file: str) -> None:
    path = PUBLISHED / f"{file}.json"
    if not path.exists():
        pytest.skip(f"no ../shared/vectors/{file}.json beside the checkout")
    published = {vector["name"]: vector for vector in json.loads(path.read_text())}
    for vector in json.loads((FACTS / f"{file}.json").read_text()):
        assert vector == published[vector["name"]]
