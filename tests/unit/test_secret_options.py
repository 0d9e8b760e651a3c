"""Secret options: the configuration refers to them, the driver gets what is behind, and nothing ever shows it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from fakes_clock import FakeClock

from edgegw import keys, registry
from edgegw.config import ConfigError, Sensor, digest, load
from edgegw.decode import decode
from edgegw.driver import Advert, AdvertDriver
from edgegw.events import sensor_event
from edgegw.problems import GatewayError
from edgegw.registry import Mistake, OptionsError
from edgegw.sensors import Sensors
from edgegw.views import State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from edgegw.driver import AdvertDecoder, Reading
    from edgegw.ports.ble import Ear

# The key, the address and the capture of Bluetooth-Devices/bthome-ble tests/test_parser_v2.py.
KEY = "231d39c1d7cc1ab1aee224cd096db932"
ADDRESS = "54:48:E6:8F:80:A5"
CAPTURED = bytes.fromhex("41a47266c95f730011223378237214")
GATEWAY = '[gateway]\nid = "box-1"\n'


def sensor(key: str, **more: str) -> str:
    extra = "".join(f'{name} = "{value}"\n' for name, value in more.items())
    return f'[sensor.room-1]\ndriver = "bthome"\naddress = "{ADDRESS}"\nkey = {key}\n{extra}'


def write(directory: Path, text: str) -> Path:
    file = directory / "edgegw.toml"
    file.write_text(GATEWAY + text)
    return file


def secret_file(directory: Path, text: str = KEY + "\n", mode: int = 0o600) -> Path:
    file = directory / "room.key"
    file.write_text(text)
    file.chmod(mode)
    return file


# In the configuration


@pytest.mark.parametrize(
    "pasted", [f'"{KEY}"', f'"key:{KEY}"', '""', f"0x{KEY[:12]}", f'["{KEY}"]', f'{{ hex = "{KEY}" }}']
)
def test_a_pasted_secret_is_refused_with_its_line_and_not_shown(tmp_path: Path, pasted: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(write(tmp_path, sensor(pasted)), {})
    (mistake,) = refused.value.mistakes
    assert (mistake.path, mistake.line) == ("sensor.room-1.key", 6)
    assert 'must be "file:PATH" or "cred:NAME"' in mistake.text or "must be a reference" in mistake.text
    shown = refused.value.text() + refused.value.json() + repr(refused.value)
    assert KEY not in shown
    assert str(int(KEY[:12], 16)) not in shown


def test_a_pasted_secret_is_refused_in_the_environment_and_beside_other_mistakes(tmp_path: Path) -> None:
    file = write(tmp_path, sensor('"file:room.key"', instance="two"))
    with pytest.raises(ConfigError) as refused:
        load(file, {"EDGEGW__SENSOR__ROOM_1__KEY": KEY})
    assert {mistake.path for mistake in refused.value.mistakes} == {
        "sensor.room-1.key",
        "sensor.room-1.instance",
    }
    assert KEY not in refused.value.text()


def test_a_reference_is_relative_to_the_file_that_holds_it_and_need_not_exist_yet(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    file = write(tmp_path, "")
    (tmp_path / "conf.d" / "room.toml").write_text(sensor('"file:room.key"'))
    config = load(file, {})
    assert config.sensor["room-1"].options["key"] == f"file:{tmp_path}/conf.d/room.key"
    (tmp_path / "conf.d" / "room.toml").write_text(sensor('"cred:room"'))
    assert load(file, {}).sensor["room-1"].options["key"] == "cred:room"


def test_check_shows_the_reference_and_nobody_reads_the_file(tmp_path: Path) -> None:
    secret_file(tmp_path)
    file = write(tmp_path, sensor('"file:room.key"'))
    for words in ([], ["--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "edgegw.cli", "check", str(file), *words],
            capture_output=True,
            text=True,
            check=True,
        )
        assert KEY not in done.stdout + done.stderr
    assert json.loads(done.stdout)["sensors"][0]["options"]["key"] == f"file:{tmp_path}/room.key"


def test_what_is_signed_about_a_sensor_does_not_change_with_its_secret(tmp_path: Path) -> None:
    file = write(tmp_path, sensor('"file:room.key"'))
    found = []
    for text in (KEY, KEY[::-1]):
        secret_file(tmp_path, text)
        config = load(file, {})
        found.append((digest(config), sensor_event("room-1", config.sensor["room-1"]), repr(config)))
    assert found[0] == found[1]
    assert KEY not in repr(found)


# In the registry


def test_the_driver_gets_what_is_behind_the_reference_and_does_not_show_it() -> None:
    driver = registry.make(
        "bthome", {"address": ADDRESS, "key": "file:/somewhere"}, secret={"file:/somewhere": KEY}.__getitem__
    )
    assert driver.key == KEY  # type: ignore[attr-defined]
    assert KEY not in repr(driver)
    assert driver == registry.make("bthome", {"address": ADDRESS, "key": KEY}, text=True)


def test_whoever_only_checks_options_needs_no_secret() -> None:
    driver = registry.make("bthome", {"address": ADDRESS, "key": "file:/nowhere"})
    assert driver.key == ""  # type: ignore[attr-defined]
    with pytest.raises(OptionsError) as refused:
        registry.make("bthome", {"address": ADDRESS, "key": KEY})
    assert refused.value.mistakes == (Mistake(("key",), registry.NO_REFERENCE),)


def test_which_options_are_secret_is_known_and_said() -> None:
    assert registry.secrets("bthome") == {"key"}
    assert registry.secrets("sds011") == registry.secrets("not-installed") == frozenset()
    assert [option.name for option in registry.options(registry.load("bthome")) if option.secret] == ["key"]


@pytest.mark.parametrize("text", ["nothing hexadecimal", KEY + "0"])
def test_a_secret_that_cannot_be_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(OptionsError) as refused:
        registry.make("bthome", {"address": ADDRESS, "key": "file:x"}, secret=lambda _: text)
    assert "key: is not written in hexadecimal digits" in str(refused.value)
    assert text not in str(refused.value)
    with pytest.raises(GatewayError) as shell:
        list(decode("bthome", ["40"], options={"key": text}))
    assert text not in shell.value.text()


@dataclass(frozen=True)
class Careless(AdvertDriver):
    """Would print its secret."""

    layer = "ble"
    quantities = ("temperature",)
    company_ids = frozenset({1})
    token: str = field(default="", metadata={"doc": "a token", "secret": True})

    def decoder(self) -> AdvertDecoder:
        raise NotImplementedError


def test_a_driver_that_would_print_its_secret_is_broken() -> None:
    assert registry._fault(Careless) == 'Careless: token is secret: a str with default "" and repr=False'


# Files and credentials


def test_a_secret_is_the_text_of_its_file_without_the_line_end(tmp_path: Path) -> None:
    file = secret_file(tmp_path, f"  {KEY}\r\n\n")
    assert keys.secret(f"file:{file}", {}) == KEY
    assert keys.secret("cred:room.key", {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == KEY


@pytest.mark.parametrize(
    ("mode", "text", "code"),
    [
        (0o644, KEY, "EG-IDENTITY-MODE"),
        (0o640, KEY, "EG-IDENTITY-MODE"),
        (0o600, KEY + "é", "EG-IDENTITY-KEY"),
    ],
)
def test_a_file_that_others_can_read_or_that_is_no_text_is_refused(
    tmp_path: Path, mode: int, text: str, code: str
) -> None:
    file = secret_file(tmp_path, text, mode)
    with pytest.raises(GatewayError) as refused:
        keys.secret(f"file:{file}", {})
    assert refused.value.code == code
    assert KEY not in refused.value.text()


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    for reference in (f"file:{tmp_path}/none", "cred:none"):
        with pytest.raises(GatewayError) as refused:
            keys.secret(reference, {})
        assert refused.value.code == "EG-IDENTITY-MISSING"


# In a running sensor


class World:
    """A radio, a sink and a clock in the test's hands."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.ear: Ear | None = None
        self.taken: list[Reading] = []

    def radio(self) -> World:
        return self

    def facts(self) -> dict[str, Any]:
        return {}

    async def listen(self, ear: Ear) -> None:
        self.ear = ear
        ear.hearing()
        await asyncio.Event().wait()

    def readings(self, sensor: str, readings: Sequence[Reading], monotonic: float) -> int:
        del sensor, monotonic
        self.taken += readings
        return len(readings)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def log() -> structlog.testing.CapturingLogger:
    return structlog.testing.CapturingLogger()


@pytest.fixture
async def sensors(world: World, log: Any) -> AsyncIterator[Sensors]:
    made = Sensors(
        world,  # type: ignore[arg-type]  # no other wire than the radio
        world,
        world.clock,
        structlog.wrap_logger(log),
        simulated=False,
        listen=lambda *_: None,
    )
    yield made
    await made.stop()


def room(reference: str) -> dict[str, Sensor]:
    options = {"address": ADDRESS, "key": reference}
    return {"room-1": Sensor(driver="bthome", interval=None, stale_after=30.0, options=options)}


async def test_a_sensor_reads_its_secret_when_it_starts(
    sensors: Sensors, world: World, tmp_path: Path
) -> None:
    await sensors.apply(room(f"file:{secret_file(tmp_path)}"))
    await world.clock.run(1)
    assert world.ear is not None
    world.ear.heard(Advert(ADDRESS, False, -60, {}, {0xFCD2: CAPTURED}), world.clock.monotonic())
    assert [each.value for each in world.taken] == [25.06, 50.55]


async def test_a_secret_that_cannot_be_read_stops_its_sensor_alone_until_it_can(
    sensors: Sensors, world: World, log: Any, tmp_path: Path
) -> None:
    file = secret_file(tmp_path, mode=0o644)
    await sensors.apply(room(f"file:{file}"))
    await world.clock.run(1)
    view = sensors.views["room-1"]
    assert view.state(world.clock.monotonic()) is State.DRIVER_FAILED
    assert "can be read by others" in view.why
    assert view.todo == f"chmod 0600 {file}"
    assert view.errors["secret"] >= 1
    file.chmod(0o600)
    await world.clock.run(10)
    assert world.ear is not None
    world.ear.heard(Advert(ADDRESS, False, -60, {}, {0xFCD2: CAPTURED}), world.clock.monotonic())
    assert len(world.taken) == 2
    assert view.state(world.clock.monotonic()) is not State.DRIVER_FAILED
    assert KEY not in repr(log.calls) + repr(view)


async def test_a_key_of_the_wrong_length_is_said_and_not_shown(
    sensors: Sensors, world: World, log: Any, tmp_path: Path
) -> None:
    await sensors.apply(room(f"file:{secret_file(tmp_path, KEY[:-2])}"))
    await world.clock.run(1)
    view = sensors.views["room-1"]
    assert "15 bytes long" in view.why
    assert KEY[:-2] not in repr(log.calls) + repr(view) + json.dumps(view.as_dict(0.0))
