"""What every driver keeps to, whoever wrote it: one suite over all that are installed.

Good inputs come from `facts/NAME.json` beside this file or from `facts.json` in the driver's own folder, in the form
of the published vectors; what needs one is skipped for a driver without.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import json
import math
import re
import subprocess
import sys
import tomllib
import tracemalloc
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgegw import registry
from edgegw.driver import (
    QUANTITIES,
    AskDriver,
    AudioDriver,
    Driver,
    FrameError,
    MessageDriver,
    Outcome,
    PollDriver,
    Pull,
    Push,
    Reading,
    StreamDriver,
    Subscription,
)
from edgegw.framing import Framer, Lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NAMES = registry.names()
FACTS = Path(__file__).parent / "facts"
# The driver of many devices keeps facts by device: this one is its sample's.
FACTS_OF = {
    "ble_env": "xiaomi-atc-pvvx",
    "ble_presence": "ble-presence",
    "bthome": "bthome-v2",
    "modbus": "renke-noise",
    "nsrt": "nsrt-mk3",
    "plantower": "plantower-pms",
    "terabee": "terabee-evo",
    "usb_slm": "usb-ble-slm",
    "winsen": "mhz19",
}
# Messages of objects one after the other: cut between two of them, one is a shorter message, and whole.
OF_OBJECTS = {"bthome"}
HEADINGS = ["What it measures", "Wiring", "Options", "Readings", "Known limits", "Source", "Maturity"]
# A driver waits for nothing, opens nothing and knows no clock.
IMPURE = {"asyncio", "bleak", "pymodbus", "random", "serial", "socket", "subprocess", "threading", "time"}
# Keys of a sensor's table that are the gateway's own.
GATEWAYS = {"driver", "port", "host", "unit", "interval", "average", "allow_setup", "stale_after"}

each_driver = pytest.mark.parametrize("name", NAMES)


def folder(name: str) -> Path:
    """Where the driver's code, README.md and sample.toml lie."""
    return Path(str(sys.modules[registry.load(name).__module__].__file__)).parent


def sample(name: str) -> dict[str, dict[str, Any]]:
    """The sensors of sample.toml by id."""
    found: dict[str, dict[str, Any]] = tomllib.loads((folder(name) / "sample.toml").read_text())["sensor"]
    return found


def made(name: str) -> Driver:
    """The driver as the first sensor of its sample configures it."""
    table = next(iter(sample(name).values()))
    return registry.make(name, {key: value for key, value in table.items() if key not in GATEWAYS})


def facts(name: str) -> list[dict[str, Any]]:
    for file in (FACTS / f"{FACTS_OF.get(name, name)}.json", folder(name) / "facts.json"):
        if file.exists():
            found: list[dict[str, Any]] = json.loads(file.read_text())
            return found
    return []


def good(name: str) -> list[tuple[str, bytes]]:
    """Layers and inputs that give readings."""
    found = [
        (fact["layer"], octets(fact))
        for fact in facts(name)
        if "expect" in fact
        and fact["layer"] != "uart-stream"
        and ("hex" in fact or is_line(name, fact))
        # The sample has no secret.
        and "key" not in fact.get("context", {})
    ]
    if not found:
        pytest.skip(f"driver {name} brings no facts")
    return found


def octets(fact: dict[str, Any]) -> bytes:
    return bytes.fromhex(fact["hex"]) if "hex" in fact else fact["text"].encode()


def is_line(name: str, fact: dict[str, Any]) -> bool:
    """Whether a fact is a line of text that a device says by itself."""
    return fact["layer"] == "ascii-line" and issubclass(registry.load(name), StreamDriver)


def talker(name: str) -> StreamDriver:
    driver = made(name)
    if not isinstance(driver, StreamDriver):
        pytest.skip(f"driver {name} reads no stream")
    return driver


def result(driver: Driver, layer: str, data: bytes) -> Sequence[Outcome]:
    """What one input gives by itself; FrameError when it is refused."""
    if isinstance(driver, StreamDriver) and layer == "uart":
        reason = driver.framing.refusal(data)
        if reason:
            raise FrameError(reason)
        return driver.decoder().decode(data, 0.0)
    found = driver.decode_layer(layer, data, {})
    assert found is not None, f"facts of a layer that {driver} does not know: {layer}"
    return found


def is_refused(driver: Driver, layer: str, data: bytes) -> bool:
    try:
        errors = [each for each in result(driver, layer, data) if isinstance(each, FrameError)]
    except FrameError as error:
        errors = [error]
    # A reason is one word that can be counted.
    return bool(errors) and all(re.fullmatch(r"[a-z]\w*", error.reason) for error in errors)


def is_part(driver: Driver, layer: str, data: bytes, whole: bytes) -> bool:
    """Whether `data` says nothing that `whole` does not say."""

    def values(of: bytes) -> list[tuple[str, float]]:
        found = result(driver, layer, of)
        return [(each.quantity.name, each.value) for each in found if isinstance(each, Reading)]

    said = values(whole)
    return all(value in said or value[0] not in QUANTITIES for value in values(data))


def are_sound(driver: Driver, outcomes: Iterable[Outcome]) -> None:
    for reading in outcomes:
        if not isinstance(reading, Reading):
            continue
        assert reading.quantity == QUANTITIES[reading.quantity.name]
        assert reading.quantity.name in {*driver.emits(), *driver.quantities}
        assert math.isfinite(reading.value)
        assert reading.flag in (None, 1, 2, 3, 4)


def are_finite(outcomes: Iterable[Outcome]) -> None:
    assert all(math.isfinite(each.value) for each in outcomes if isinstance(each, Reading))


def comparable(outcomes: Iterable[Outcome]) -> list[Outcome | str]:
    """Outcomes with the reason in the place of a refusal, which equals itself alone."""
    return [each.reason if isinstance(each, FrameError) else each for each in outcomes]


class Ear:
    """One opened device: a framer and a decoder, what they found and how often the framing was asked."""

    def __init__(self, driver: StreamDriver) -> None:
        self.driver = driver
        self.asked = 0
        self.longest = driver.framing.longest
        self.refusal = driver.framing.refusal
        self.framer = Framer(self)
        self.found: list[Sequence[Outcome]] = []
        self._decoder = driver.decoder()

    def find(self, buffer: bytes, start: int) -> tuple[int, int]:
        self.asked += 1
        return self.driver.framing.find(buffer, start)

    def hear(self, chunk: bytes) -> None:
        def refuse(error: FrameError) -> None:
            assert error.reason

        self.found += self.framer.feed(chunk, lambda frame: self._decoder.decode(frame, 0.0), refuse)
        assert len(self.framer._pending) < self.longest


def heard(driver: StreamDriver, chunks: Iterable[bytes]) -> Ear:
    ear = Ear(driver)
    for chunk in chunks:
        ear.hear(chunk)
    return ear


# What lies in the folder


def test_every_installed_driver_can_be_used() -> None:
    assert [found.error for found in registry.installed() if found.error] == []


@each_driver
def test_the_readme_has_the_fixed_headings_in_order(name: str) -> None:
    text = (folder(name) / "README.md").read_text()
    assert re.findall(r"^# .*", text)[0].startswith(f"# {name}: ")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert [heading for heading in headings if heading in HEADINGS] == HEADINGS


def section(name: str, heading: str) -> str:
    text = (folder(name) / "README.md").read_text()
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


@each_driver
def test_the_readme_explains_exactly_the_options_that_there_are(name: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \|", section(name, "Options"), re.MULTILINE)
    assert sorted(rows) == sorted(option.name for option in registry.options(registry.load(name)))


@each_driver
def test_the_readme_names_every_quantity_with_its_unit(name: str) -> None:
    driver = made(name)
    assert driver.emits(), "a driver that gives nothing"
    rows = [line for line in section(name, "Readings").splitlines() if line.startswith("|")]
    for quantity in driver.quantities:
        assert any(f"`{quantity}`" in row and f"`{QUANTITIES[quantity].unit}`" in row for row in rows)
    for quantity in driver.emits():
        assert f"`{quantity}`" in (folder(name) / "README.md").read_text()


@each_driver
def test_the_sample_shows_every_option_and_each_line_of_it_is_accepted(name: str) -> None:
    text = (folder(name) / "sample.toml").read_text()
    options = {option.name for option in registry.options(registry.load(name))}
    # "# key = value" is a default that may be uncommented; "##" begins an explanation.
    shown = re.sub(r"^# (?=\w+ = )", "", text, flags=re.MULTILINE)
    tables = list(tomllib.loads(shown)["sensor"].values())
    assert options <= set().union(*tables)
    for table in (*sample(name).values(), *tables):
        assert table["driver"] == name
        registry.make(name, {key: value for key, value in table.items() if key not in GATEWAYS})


def test_edgegw_check_accepts_the_samples_of_all_drivers_together(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    for name in NAMES:
        (tmp_path / "conf.d" / f"{name}.toml").write_text((folder(name) / "sample.toml").read_text())
    file = tmp_path / "edgegw.toml"
    file.write_text('[gateway]\nid = "box-1"\n')
    done = subprocess.run(
        [sys.executable, "-m", "edgegw.cli", "check", "--json", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {sensor["driver"] for sensor in json.loads(done.stdout)["sensors"]} == set(NAMES)


@each_driver
def test_the_code_imports_the_contract_alone_and_nothing_that_waits(name: str) -> None:
    for file in folder(name).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            for module in modules:
                assert module == "edgegw.driver" or module.split(".")[0] not in {"edgegw", *IMPURE}, file


# What it says about itself


@each_driver
def test_a_driver_is_frozen_hashable_and_every_option_says_what_it_means(name: str) -> None:
    driver = made(name)
    assert hash(driver) == hash(made(name))
    assert driver == made(name)
    assert driver.version
    assert (type(driver).__doc__ or "").strip()
    for option in registry.options(type(driver)):
        assert option.doc
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(driver, option.name if hasattr(driver, option.name) else "version", None)


@each_driver
def test_a_command_that_it_does_not_have_is_refused_in_words(name: str) -> None:
    with pytest.raises(ValueError, match="no command 'make coffee'"):
        made(name).encode("make coffee", {})


@each_driver
def test_what_it_would_send_and_ask_is_well_formed(name: str) -> None:
    driver = made(name)
    if isinstance(driver, StreamDriver):
        assert type(driver.request()) is bytes
        for request in driver.setup():
            assert request.data
            assert request.name
            assert 0 <= request.after_s < 60
        assert driver.line.baudrate > 0
        assert driver.framing.longest > 0
        assert driver.period_s > 0
    elif isinstance(driver, AskDriver):
        assert driver.line.baudrate > 0
        assert driver.framing.longest > 0
        decoder = driver.decoder()
        assert decoder.cycle()
        for request in (*decoder.opening(), *decoder.cycle()):
            assert request.data
            assert request.name
            assert 0 <= request.after_s < 60
            assert 0 < request.timeout_s <= 10
            assert request.replies or request.changes, "a question that nobody waits for the answer of"
    elif isinstance(driver, AudioDriver):
        assert driver.device
        assert driver.rate > 0
    elif isinstance(driver, PollDriver):
        assert driver.lines()
        assert driver.timeout_s > 0
        assert driver.min_gap_s >= 0
        for block in driver.blocks():
            assert block.function in {1, 2, 3, 4}, "a driver never writes to a bus"
            # Modbus application protocol V1.1b3, 6.1 and 6.3: at most so many in one answer.
            assert 1 <= block.count <= (2000 if block.function in {1, 2} else 125)
            assert 0 <= block.address <= 0x10000 - block.count
    elif isinstance(driver, MessageDriver):
        assert isinstance(driver.source(), Pull | Push | Subscription)
        assert driver.layer in driver.layers


# Damaged input


@each_driver
def test_every_truncation_of_a_good_input_is_refused_and_so_is_one_byte_more(name: str) -> None:
    driver = made(name)
    for layer, data in good(name):
        result(driver, layer, data)
        for length in range(len(data)):
            assert is_refused(driver, layer, data[:length]) or (
                name in OF_OBJECTS and is_part(driver, layer, data[:length], data)
            )
        assert is_refused(driver, layer, data + b"\0")


@each_driver
def test_every_flipped_bit_is_refused_where_the_device_has_a_checksum(name: str) -> None:
    if not {"checksum", "crc"} & {fact.get("error") for fact in facts(name)}:
        pytest.skip(f"the facts of driver {name} know no checksum")
    driver = made(name)
    for layer, data in good(name):
        for bit in range(8 * len(data)):
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            assert is_refused(driver, layer, bytes(flipped)), f"bit {bit} of {data.hex()}"


@each_driver
def test_a_flipped_bit_is_refused_or_read_as_something_that_can_be(name: str) -> None:
    driver = made(name)
    for layer, data in good(name):
        for bit in range(8 * len(data)):
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            if not is_refused(driver, layer, bytes(flipped)):
                are_finite(result(driver, layer, bytes(flipped)))


@each_driver
@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_bytes_give_readings_or_a_frame_error_and_nothing_else(name: str, data: st.DataObject) -> None:
    driver = made(name)
    if isinstance(driver, StreamDriver):
        layer, longest, seeds = "uart", driver.framing.longest, [bytes(driver.framing.longest)]
    else:
        layer, longest, seeds = driver.layer, 300, [b""]
    seeds += [good_one for of, good_one in facts_of(name) if of == layer]
    # A genuine input with a part overwritten gets deeper into a decoder than noise does.
    hostile = bytearray(data.draw(st.sampled_from(seeds)))
    for _ in range(data.draw(st.integers(0, 3))):
        where = data.draw(st.integers(0, len(hostile)))
        part = data.draw(st.binary(max_size=8))
        hostile[where : where + len(part)] = part
    for each in (bytes(hostile), data.draw(st.binary(max_size=longest + 2))):
        try:
            readings = result(driver, layer, each)
        except FrameError:
            continue
        if isinstance(driver, StreamDriver):
            are_sound(driver, readings)
        else:  # other layers are the shell's: they may show what has no row among the quantities
            are_finite(readings)


def facts_of(name: str) -> list[tuple[str, bytes]]:
    return [(fact["layer"], bytes.fromhex(fact["hex"])) for fact in facts(name) if "hex" in fact]


# Streams


def chunked(data: st.DataObject, stream: bytes) -> list[bytes]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    return [stream[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


def frames(name: str) -> list[bytes]:
    found = [frame for layer, frame in good(name) if layer == "uart"]
    found += [line + b"\r\n" for layer, line in good(name) if layer == "ascii-line"]
    if not found:
        pytest.skip(f"driver {name} has no frame that is a reading by itself")
    return found


@each_driver
@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_every_frame_is_found_between_noise_in_any_chunking(name: str, data: st.DataObject) -> None:
    driver, known = talker(name), frames(name)
    # Noise with the first byte of a marker in it may look like a frame, and be one: it is the next test's.
    quiet = st.binary(max_size=40).map(lambda noise: noise.translate(None, bytes({f[0] for f in known})))
    if isinstance(driver.framing, Lines):
        # What has no end yet belongs to the next line, and any characters may be a line.
        quiet = st.binary(max_size=40).map(lambda noise: bytes(byte | 0x80 for byte in noise) + b"\n")
    sent = data.draw(st.lists(st.sampled_from(known), max_size=4))
    stream = b"".join(data.draw(quiet) + frame for frame in sent) + data.draw(quiet)
    decoder = driver.decoder()
    expected = [comparable(decoder.decode(frame, 0.0)) for frame in sent]
    ear = heard(driver, chunked(data, stream))
    assert [comparable(outcomes) for outcomes in ear.found] == expected
    assert ear.framer.accepted == len(sent)


@each_driver
@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_stream_gives_the_same_readings_however_it_is_cut(name: str, data: st.DataObject) -> None:
    driver, known = talker(name), frames(name)
    part = st.sampled_from(known).flatmap(lambda frame: st.integers(0, len(frame)).map(lambda n: frame[:n]))
    stream = b"".join(data.draw(st.lists(st.binary(max_size=20) | part, max_size=8)))
    whole = heard(driver, [stream])
    cut = heard(driver, chunked(data, stream))
    assert [comparable(found) for found in cut.found] == [comparable(found) for found in whole.found]
    for count in ("accepted", "refused", "dropped"):
        assert getattr(cut.framer, count) == getattr(whole.framer, count)
    for readings in whole.found:
        are_sound(driver, readings)


@each_driver
@pytest.mark.parametrize("chunk", [1, 997, 1 << 16])
def test_a_stream_of_false_starts_costs_bounded_memory_and_linear_work(name: str, chunk: int) -> None:
    driver = talker(name)
    # The beginning of a frame again and again, in every length that a marker can have.
    for length in range(1, 9):
        stream = (frames(name)[0][:length] * (1 << 16))[: 1 << 16]
        ear = heard(driver, (stream[at : at + chunk] for at in range(0, len(stream), chunk)))
        assert ear.asked <= len(stream) + -(-len(stream) // chunk)


@each_driver
def test_the_same_frames_give_the_same_readings_again(name: str) -> None:
    driver, known = talker(name), frames(name) * 3
    one, two = driver.decoder(), driver.decoder()
    for number, frame in enumerate(known):
        found, again = (decoder.decode(frame, number * 0.1) for decoder in (one, two))
        assert comparable(found) == comparable(again)


# Polls


@each_driver
@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_answers_to_a_poll_give_readings_or_refusals(name: str, data: st.DataObject) -> None:
    driver = made(name)
    if not isinstance(driver, PollDriver):
        pytest.skip(f"driver {name} is not polled")
    decoder = driver.decoder()
    for poll in range(data.draw(st.integers(1, 3))):
        answers: list[list[int] | FrameError] = []
        for block in driver.blocks():
            highest = 1 if block.function in {1, 2} else 0xFFFF
            words = st.lists(st.integers(0, highest), min_size=block.count, max_size=block.count)
            answers.append(data.draw(words | st.just(FrameError("no_reply"))))
        found = decoder.decode(answers, float(poll))
        assert found, "a poll that gives nothing, and no reason either"
        are_sound(driver, found)


# Microphones


def microphone(name: str) -> AudioDriver:
    driver = made(name)
    if not isinstance(driver, AudioDriver):
        pytest.skip(f"driver {name} hears no sound")
    return driver


def sound(seed: int, seconds: float, rate: int) -> bytes:
    """Noise, so that no part of it is like another."""
    return Random(seed).randbytes(4 * round(seconds * rate))


def in_samples(data: st.DataObject, stream: bytes) -> list[bytes]:
    """A stream cut between samples."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream) // 4), max_size=6)))
    bounds = [0, *(4 * cut for cut in cuts), len(stream)]
    return [stream[begin:end] for begin, end in pairwise(bounds)]


@each_driver
@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=30)
def test_any_samples_and_losses_give_levels_or_refusals(name: str, data: st.DataObject) -> None:
    driver = microphone(name)
    decoder = driver.decoder(data.draw(st.sampled_from([0.1, 0.37, 1.0, 60.0, 1e9])))
    samples = st.binary(max_size=40) | st.builds(
        lambda of, repeated: of * repeated, st.binary(min_size=1, max_size=8), st.integers(0, 30_000)
    )
    losses = st.just(0) | st.integers(0, 1 << 64)
    for _ in range(data.draw(st.integers(1, 8))):
        with contextlib.suppress(FrameError):
            are_sound(driver, decoder.decode(data.draw(samples), data.draw(losses), 0.0))


@each_driver
@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=30)
def test_levels_do_not_depend_on_how_the_samples_are_cut(name: str, data: st.DataObject) -> None:
    driver = microphone(name)
    # The same sound with the same gap in it, whole and in pieces.
    before, after = sound(1, 1.7, driver.rate), sound(2, 1.3, driver.rate)
    lost = data.draw(st.sampled_from([0, 1, 4_799, 4_800, 100_000]))
    whole, cut = driver.decoder(0.3), driver.decoder(0.3)
    expected = [*whole.decode(before, 0, 0.0), *whole.decode(after, lost, 0.0)]
    found: list[Outcome] = []
    for samples, gap in ((before, 0), (after, lost)):
        missing = gap
        for piece in in_samples(data, samples):
            found += cut.decode(piece, missing, 0.0)
            missing = 0
    assert comparable(found) == comparable(expected)
    assert any(isinstance(each, Reading) for each in expected)


@each_driver
def test_an_hour_of_sound_needs_no_more_memory_than_its_first_seconds(name: str) -> None:
    driver = microphone(name)
    # An hour of time: mostly lost, so that the test does not take one.
    decoder = driver.decoder(3600.0)
    second = sound(3, 1.0, driver.rate)
    for _ in range(5):
        decoder.decode(second, 0, 0.0)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(60):
            decoder.decode(second, 60 * driver.rate, 0.0)
        assert tracemalloc.get_traced_memory()[0] - before < 1 << 16
    finally:
        tracemalloc.stop()


@each_driver
def test_a_window_holds_as_many_levels_of_each_quantity_as_time_has_passed(name: str) -> None:
    driver = microphone(name)
    decoder = driver.decoder(0.5)
    found = [each for _ in range(6) for each in decoder.decode(sound(4, 1.0, driver.rate), 0, 0.0)]
    assert {each.quantity.name for each in found if isinstance(each, Reading)} == set(driver.emits())
    for quantity in driver.emits():
        count = sum(isinstance(each, Reading) and each.quantity.name == quantity for each in found)
        # It may settle at first; from then on a window is a window.
        assert 6 <= count <= 12
