from __future__ import annotations

import dataclasses
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from edgegw import registry
from edgegw.config import Address, ConfigError, Reference, Server, digest, load
from edgegw.config.sources import MAX_DROPINS, MAX_FILE_BYTES, MAX_MISTAKES
from edgegw.config.tables import MAX_SENSORS
from edgegw.driver import (
    AskDecoder,
    AskDriver,
    Block,
    FixedLength,
    PollDecoder,
    PollDriver,
    SerialLine,
    StreamDriver,
)
from edgegw.problems import Exit, GatewayError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgegw.config import Config
    from edgegw.driver import Driver, Reading

GATEWAY = '[gateway]\nid = "box-1"\n'
UPLINK = '[uplink]\nserver = "mqtts://b.example"\nca = "file:ca.crt"\nreceipt_keys = ["file:city.pub"]\n'
PEM = "-----BEGIN PRIVATE KEY-----\\nMIGHAgEAMBMG\\n-----END PRIVATE KEY-----"


@dataclass(frozen=True)
class Talker(StreamDriver):
    mode: str = "listen"
    line: ClassVar[SerialLine] = SerialLine(9600)
    framing: ClassVar[FixedLength] = FixedLength(start=b"\xaa", length=10, end=b"\xab")

    def decode(self, frame: bytes) -> Sequence[Reading]:
        raise AssertionError(f"the configuration decodes nothing: {frame!r}")


@dataclass(frozen=True)
class Polled(PollDriver):
    baudrate: int = 4800

    def lines(self) -> Sequence[SerialLine]:
        return [SerialLine(self.baudrate)]

    def blocks(self) -> Sequence[Block]:
        return [Block(3, 0, 1)]

    def decoder(self) -> PollDecoder:
        raise AssertionError("the configuration decodes nothing")


@dataclass(frozen=True)
class Asked(AskDriver):
    line: ClassVar[SerialLine] = SerialLine(9600)
    framing: ClassVar[FixedLength] = FixedLength(start=b"\xff", length=9)

    def decoder(self) -> AskDecoder:
        raise AssertionError("the configuration asks nothing")


def make(name: str, options: Mapping[str, Any]) -> Driver:
    kinds: dict[str, type[Driver]] = {"talker": Talker, "polled": Polled, "asked": Asked}
    if name not in kinds:
        raise registry.DriverError(f"no driver {name!r} is installed")
    known = {field.name for field in dataclasses.fields(kinds[name])}
    mistakes = [registry.Mistake((key,), "unknown option") for key in options if key not in known]
    if mistakes:
        raise registry.OptionsError(name, mistakes)
    return kinds[name](**options)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "edgegw.toml"


def loaded(file: Path, text: str, env: Mapping[str, str] | None = None, **kwargs: Any) -> Config:
    file.write_text(text, encoding="utf-8")
    return load(file, env or {}, make=make, **kwargs)


def mistakes(file: Path, text: str, env: Mapping[str, str] | None = None, **kwargs: Any) -> list[str]:
    with pytest.raises(ConfigError) as refusal:
        loaded(file, text, env, **kwargs)
    assert refusal.value.exit_code is Exit.CONFIGURATION
    return [str(mistake).replace(f"{file.parent}/", "") for mistake in refusal.value.mistakes]


# What is not said has the default of the contract.


def test_a_gateway_needs_nothing_but_its_name(file: Path) -> None:
    config = loaded(file, GATEWAY)
    assert config.gateway.id == "box-1"
    assert config.gateway.pen == 32473
    assert config.gateway.simulated is False
    assert config.uplink.servers == ()
    assert config.uplink.prefix == "edgegw/1"
    assert config.uplink.keepalive == 15.0
    assert config.uplink.window == 20
    assert config.uplink.in_flight == 4 * 2**20
    assert (config.uplink.retry.min, config.uplink.retry.max) == (1.0, 300.0)
    assert config.uplink.receipts == "required"
    assert config.uplink.drain_rate is None
    assert str(config.store.path) == "/var/lib/edgegw"
    assert config.store.max_size == 2 * 2**30
    assert config.store.keep_free == 256 * 2**20
    assert config.store.keep == 604_800.0
    assert dataclasses.astuple(config.store.batch) == (100, 1.0, 65_536)
    assert config.store.when_full == "drop-oldest"
    assert config.store.require_persistent is True
    assert (config.clock.max_error, config.clock.holdover) == (0.5, 172_800.0)
    assert (config.log.level, config.log.format) == ("info", "auto")
    assert config.metrics.textfile is None
    assert str(config.control.socket) == "/run/edgegw/control.sock"
    assert not config.sensor
    assert config.receive is None


def test_keys_and_certificate_lie_beside_the_file_where_nothing_is_said(file: Path) -> None:
    identity = loaded(file, GATEWAY).identity
    assert identity.tls_key == Reference("file", str(file.parent / "tls.key"))
    assert identity.tls_cert.path({}) == file.parent / "tls.crt"
    assert str(identity.signing_key) == f"file:{file.parent}/sign.key"


def test_a_sensor_needs_a_driver_and_its_wire(file: Path) -> None:
    sensor = loaded(file, GATEWAY + '[sensor.air-1]\ndriver = "talker"\nport = "/dev/x"\n').sensor["air-1"]
    assert sensor.interval == 10.0
    assert sensor.average is None
    assert sensor.stale_after == 30.0
    assert sensor.unit == 1
    assert (sensor.site, sensor.position, sensor.calibration) == ("", (), "")
    assert (sensor.allow_setup, sensor.enabled) == (False, True)
    assert sensor.options == {}


# What is said is read.


def test_every_key_of_a_sensor_is_read_and_the_rest_goes_to_its_driver(file: Path) -> None:
    text = """
        [sensor.sound-1]
        driver = "polled"
        host = "10.0.0.5"
        unit = 255
        interval = "1s"
        average = "1m"
        stale_after = "5x"
        site = "Pole 17"
        position = [50.466, 30.515, 4]
        calibration = "2026-03, certificate 1234"
        allow_setup = true
        enabled = false
        baudrate = 9600
    """
    sensor = loaded(file, GATEWAY + text).sensor["sound-1"]
    assert sensor.host == Address("10.0.0.5", 502)
    assert (sensor.unit, sensor.interval, sensor.average) == (255, 1.0, 60.0)
    assert sensor.stale_after == 300.0  # a mean appears once in its window
    assert sensor.position == (50.466, 30.515, 4.0)
    assert sensor.options == {"baudrate": 9600}
    assert not sensor.enabled


def test_interval_all_makes_every_frame_a_reading(file: Path) -> None:
    sensor = loaded(
        file, GATEWAY + '[sensor.a]\ndriver = "talker"\nport = "/dev/x"\ninterval = "all"'
    ).sensor["a"]
    assert sensor.interval is None
    assert sensor.stale_after == 30.0


def test_a_sensor_overrides_the_default_quality(file: Path) -> None:
    text = """
        [quality]
        stale_after = "1m"
        [sensor.a]
        driver = "talker"
        port = "/dev/a"
        [sensor.b]
        driver = "talker"
        port = "/dev/b"
        stale_after = "2m"
    """
    config = loaded(file, GATEWAY + text)
    assert (config.sensor["a"].stale_after, config.sensor["b"].stale_after) == (60.0, 120.0)


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("mqtts://broker.example:8884", Server("broker.example", 8884)),
        ("mqtts://broker.example", Server("broker.example", 8883)),
        ("mqtts://10.0.0.1:1", Server("10.0.0.1", 1)),
        ("mqtts://[2001:db8::1]:8883", Server("2001:db8::1", 8883)),
        ("mqtts://[fe80::1%eth0]/", Server("fe80::1%eth0", 8883)),
    ],
)
def test_a_server_is_a_host_and_a_port(file: Path, text: str, server: Server) -> None:
    config = loaded(file, GATEWAY + UPLINK.replace("mqtts://b.example", text))
    assert config.uplink.servers == (server,)
    assert config.uplink.server == server


def test_several_servers_are_kept_in_their_order(file: Path) -> None:
    text = UPLINK.replace('server = "mqtts://b.example"', 'servers = ["mqtts://a", "mqtts://b"]')
    assert [str(server) for server in loaded(file, GATEWAY + text).uplink.servers] == [
        "mqtts://a:8883",
        "mqtts://b:8883",
    ]


def test_a_receivers_file_needs_no_gateway(file: Path) -> None:
    text = """
        [receive]
        server = "mqtts://b"
        ca = "file:ca.crt"
        cert = "file:r.crt"
        key = "cred:r.key"
        keys = "gateways"
        signing_key = "file:sign.key"
        store = "sqlite:///readings.db"
    """
    receive = loaded(file, text, role="receiver").receive
    assert receive is not None
    assert receive.keys == file.parent / "gateways"
    assert receive.prefix == "edgegw/1"
    assert not receive.accept_simulated
    assert receive.key.path({"CREDENTIALS_DIRECTORY": "/run/c"}).as_posix() == "/run/c/r.key"


def test_a_credential_without_systemd_says_what_is_missing() -> None:
    with pytest.raises(LookupError, match="LoadCredential="):
        Reference("cred", "tls.key").path({})


# Drop-ins and the environment.


def dropin(file: Path, name: str, text: str) -> None:
    (file.parent / "conf.d").mkdir(exist_ok=True)
    (file.parent / "conf.d" / name).write_text(text, encoding="utf-8")


def test_drop_ins_are_laid_over_the_main_file_by_name(file: Path) -> None:
    dropin(file, "20-b.toml", '[uplink]\nkeepalive = "20s"\n[sensor.b]\ndriver = "talker"\nport = "usb"')
    dropin(file, "10-a.toml", '[uplink]\nkeepalive = "10s"\nwindow = 7')
    dropin(file, "30-c.toml.off", "not TOML")
    config = loaded(file, GATEWAY + UPLINK)
    assert (config.uplink.keepalive, config.uplink.window) == (20.0, 7)
    assert config.uplink.servers == (Server("b.example", 8883),)
    assert config.sensor["b"].port == file.parent / "conf.d" / "usb"  # relative to the file that names it
    assert config.origin("uplink.keepalive") == f"{file.parent}/conf.d/20-b.toml:2"
    assert config.origin("uplink.server") == f"{file}:4"
    assert config.origin("uplink.prefix") == "default"


def test_one_sensor_in_two_files_names_both(file: Path) -> None:
    sensor = '[sensor.air-1]\ndriver = "talker"\nport = "/dev/x"\n'
    dropin(file, "air.toml", "\n" + sensor)
    assert mistakes(file, GATEWAY + sensor) == [
        "conf.d/air.toml:2: sensor.air-1: is configured twice: here and in edgegw.toml:3"
    ]


def test_a_broken_drop_in_does_not_hide_the_mistakes_of_the_others(file: Path) -> None:
    dropin(file, "a.toml", "[uplink\n")
    dropin(file, "b.toml", "[uplink]\nwindow = 0\n")
    found = mistakes(file, GATEWAY)
    assert found[0].startswith("conf.d/a.toml:1: is not TOML: ")
    assert found[1:] == ["conf.d/b.toml:2: uplink.window: must be from 1 to 65535"]


def test_a_lone_drop_in_is_checked_by_itself(file: Path) -> None:
    config = loaded(file, '[sensor.a]\ndriver = "talker"\nport = "/dev/x"\n', role="drop-in")
    assert list(config.sensor) == ["a"]
    assert config.gateway.id == ""
    assert config.notes == ()


@pytest.mark.parametrize(
    ("name", "value", "path", "expected"),
    [
        ("EDGEGW__UPLINK__SERVER", "mqtts://other:1", "uplink.server", Server("other", 1)),
        ("EDGEGW__UPLINK__WINDOW", "9", "uplink.window", 9),
        ("EDGEGW__STORE__BATCH__MAX_AGE", "100ms", "store.batch.max_age", 0.1),
        ("EDGEGW__STORE__REQUIRE_PERSISTENT", "false", "store.require_persistent", False),
        ("EDGEGW__GATEWAY__ID", "0042", "gateway.id", "0042"),
        ("EDGEGW__SENSOR__AIR_1__SITE", "17", "sensor.air-1.site", "17"),
        ("EDGEGW__SENSOR__AIR_1__POSITION", "[1, 2, 3]", "sensor.air-1.position", (1.0, 2.0, 3.0)),
        ("EDGEGW__SENSOR__AIR_1__MODE", "ask", "sensor.air-1.options.mode", "ask"),
    ],
)
def test_the_environment_overrides_every_file(
    file: Path, name: str, value: str, path: str, expected: object
) -> None:
    text = GATEWAY + UPLINK + '[sensor.air-1]\ndriver = "talker"\nport = "/dev/x"\n'
    found: Any = loaded(file, text, {name: value, "EDGEGW_OTHER": "x"})
    for part in path.split("."):
        found = found[part] if hasattr(found, "keys") else getattr(found, part)
    assert found == expected


def test_a_mistake_in_the_environment_names_the_variable(file: Path) -> None:
    env = {
        "EDGEGW__UPLINK__WINDOW": "many",
        "EDGEGW__UPLINK__SEVER": "x",
        "EDGEGW__STORE": "x",
        "EDGEGW__GATEWAY__ID__X": "x",
        "EDGEGW__A" + "__A" * 5000: "x",
    }
    found = mistakes(file, GATEWAY, env)
    assert (
        "environment variable EDGEGW__UPLINK__WINDOW: uplink.window: must be a whole number, not a text"
        in found
    )
    assert (
        "environment variable EDGEGW__UPLINK__SEVER: uplink.sever: unknown key; did you mean 'server'?"
        in found
    )
    assert "environment variable EDGEGW__STORE: does not name a key; write EDGEGW__TABLE__KEY" in found
    assert (
        "environment variable EDGEGW__GATEWAY__ID__X: gateway.id.x: is inside a key that is no table" in found
    )
    assert len(found) == 5


# Mistakes: all at once, with file and line, and what to write instead.


def test_all_mistakes_come_at_once_in_the_order_of_the_file(file: Path) -> None:
    text = """[gateway]
id = "Box 1"
[uplink]
sever = "mqtts://b"
keepalive = 15
window = true
batch = 1
[store]
max_size = "2GB/s"
when_full = "drop-oldes"
batch.max_readings = 1001
batch.max_bytes = "1MiB"
[sensors.a]
[sensor.a]
driver = "nobody"
interval = "10"
[sensor."A B"]
driver = "talker"
port = "/dev/x"
prot = 1
position = [91, 0, 0]
"""
    assert mistakes(file, text) == [
        (
            "edgegw.toml:2: gateway.id: is 'Box 1', but must be 3 to 63 lower-case letters, digits and -, "
            "which is neither first nor last"
        ),
        "edgegw.toml:4: uplink.sever: unknown key; did you mean 'server'?",
        'edgegw.toml:5: uplink.keepalive: has no unit; write "10s", "500ms", "5m", "2h" or "7d"',
        "edgegw.toml:6: uplink.window: must be a whole number, not true or false",
        "edgegw.toml:7: uplink.batch: unknown key",
        'edgegw.toml:9: store.max_size: is not understood; write "64KiB", "256MiB" or "2GiB"',
        (
            "edgegw.toml:10: store.when_full: is 'drop-oldes', but must be one of: drop-oldest, stop; "
            "did you mean 'drop-oldest'?"
        ),
        "edgegw.toml:11: store.batch.max_readings: must be from 1 to 1000",
        "edgegw.toml:12: store.batch.max_bytes: must be from 4KiB to 240KiB",
        "edgegw.toml:13: sensors: unknown table or key; did you mean 'sensor'?",
        "edgegw.toml:15: sensor.a.driver: no driver 'nobody' is installed",
        'edgegw.toml:16: sensor.a.interval: has no unit; write "10s", "500ms", "5m", "2h" or "7d"',
        (
            "edgegw.toml:17: sensor.'A B': is not a name for a sensor; use 1 to 63 lower-case letters, digits and -, "
            "which is neither first nor last"
        ),
        "edgegw.toml:20: sensor.'A B'.prot: unknown option; did you mean 'port'?",
        "edgegw.toml:21: sensor.'A B'.position: has a latitude that is not a number from -90 to 90",
    ]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("", "edgegw.toml: gateway.id: is missing"),
        ("gateway = 1", "edgegw.toml:1: gateway: must be a table: [gateway]"),
        (GATEWAY + "[store]\nbatch = 5", "edgegw.toml:4: store.batch: must be a table: [store.batch]"),
        (GATEWAY + "[sensor]\na = 5", "edgegw.toml:4: sensor.a: must be a table: [sensor.a]"),
        (GATEWAY + '[control]\nsocket = "/' + "s" * 107 + '"', "limit for a Unix socket"),
        (GATEWAY + '[metrics]\ntextfile = "/x/edgegw.txt"', "must end in .prom"),
        (GATEWAY + '[store]\nmax_size = "1MiB"\nbatch = { max_bytes = "240KiB" }', "at least eight batches"),
        (GATEWAY + UPLINK + 'retry = { min = "1h", max = "5m" }', "has a min that is longer than its max"),
        (GATEWAY + UPLINK + 'servers = ["mqtts://x"]', "stands beside server"),
        (GATEWAY + UPLINK.replace('ca = "file:ca.crt"', ""), "uplink.ca: is missing"),
        (GATEWAY + UPLINK.replace('"file:ca.crt"', '"cred:ca"'), 'must be a reference, "file:PATH";'),
        (GATEWAY + UPLINK.replace('receipt_keys = ["file:city.pub"]', ""), "uplink.receipt_keys: is missing"),
        (GATEWAY + '[uplink]\nprefix = "a/#"', "without + and #"),
        (GATEWAY + '[uplink]\nprefix = "$SYS/x"', "not beginning with $"),
        (GATEWAY + '[uplink]\nprefix = "/a"', "levels of a topic"),
        (GATEWAY + '[uplink]\nserver = "mqtt://b"', "which is not encrypted; only mqtts:// is spoken"),
        (GATEWAY + '[uplink]\nserver = "b:8883"', 'must look like "mqtts://broker.example:8883"'),
        (GATEWAY + '[uplink]\nserver = "mqtts://me:secret@b"', "holds a name or password"),
        (GATEWAY + '[uplink]\nserver = "mqtts://b:70000"', "a port that is not a number from 1 to 65535"),
        (GATEWAY + '[uplink]\nserver = "mqtts://2001:db8::1"', "stands in brackets"),
        (GATEWAY + '[identity]\ntls_key = "cred:../x"', "must name a credential without a slash"),
        (GATEWAY + '[store]\npath = ""', "is empty; name a file or directory"),
        (GATEWAY + "[gateway.x]", "gateway.x: unknown key"),
        (GATEWAY + "[identity]\ntls_key = 1979-05-27", "not a date"),
    ],
)  # fmt: skip
def test_a_mistake_says_what_is_wrong(file: Path, text: str, mistake: str) -> None:
    (found,) = mistakes(file, text)
    assert mistake in found


@pytest.mark.parametrize(
    ("sensor", "mistake"),
    [
        ('driver = "talker"', 'sensor.a: needs port = "/dev/serial/by-id/…"'),
        ('driver = "polled"', 'sensor.a: needs port = "/dev/serial/by-id/…" (RTU) or host'),
        ('driver = "polled"\nhost = "x"\nport = "/dev/x"', "sensor.a.host: stands beside port"),
        ('driver = "polled"\nport = "/dev/x"\nunit = 248', "sensor.a.unit: must be from 1 to 247"),
        ('driver = "polled"\nport = "/dev/x"\naverage = "15s"', "at least twice the interval of 10s"),
        ('driver = "polled"\nport = "/dev/x"\nspeed = 1', "sensor.a.speed: unknown option"),
        ('driver = "asked"', 'or host = "10.0.0.5:4001" behind a serial server'),
        ('driver = "asked"\nhost = "meter"', 'sensor.a.host: needs its port number: host = "meter:4001"'),
        ('driver = "talker"\nhost = "10.0.0.5"', "sensor.a.host: needs its port number"),
        ('driver = "asked"\nhost = "[2001:db8::1]"', "sensor.a.host: needs its port number"),
        ('driver = "polled"\nhost = "x:y"', "sensor.a.host: has a port that is not a number"),
        ('port = "/dev/x"', "sensor.a.driver: is missing"),
        ('driver = "talker"\nport = "/dev/x"\nposition = [1, 2]', "[latitude, longitude, height in metres]"),
        ('driver = "talker"\nport = "/dev/x"\nstale_after = "0x"', 'must be from "1x" to "1000x"'),
        ('driver = "talker"\nport = "/dev/x"\nsite = "a\\u001b[2J"', "holds a control character"),
    ],
)
def test_a_mistake_in_a_sensor_says_what_is_wrong(file: Path, sensor: str, mistake: str) -> None:
    (found,) = mistakes(file, f"{GATEWAY}[sensor.a]\n{sensor}\n")
    assert mistake in found


def test_what_talks_or_is_asked_may_be_behind_a_socket_with_its_port(file: Path) -> None:
    text = '[sensor.a]\ndriver = "asked"\nhost = "10.0.0.5:502"\n[sensor.b]\ndriver = "talker"\nhost = "[::1]:2255"'
    found = loaded(file, GATEWAY + text).sensor
    assert [str(found[name].host) for name in "ab"] == ["10.0.0.5:502", "[::1]:2255"]


def test_a_socket_serves_one_device_unless_it_speaks_modbus(file: Path) -> None:
    text = "".join(
        f'[sensor.{name}]\ndriver = "{driver}"\nhost = "{host}"\n'
        for name, driver, host in [
            ("a", "asked", "box:4001"),
            ("b", "talker", "box:4001"),
            ("c", "asked", "box:4002"),
            ("d", "polled", "box:502"),
            ("e", "polled", "box"),
        ]
    )
    assert mistakes(file, GATEWAY + text) == [
        (
            "edgegw.toml:8: sensor.b.host: is the host of sensor a too (edgegw.toml:5); "
            "only Modbus sensors can share one"
        )
    ]


def test_two_talkers_cannot_share_a_serial_port_under_any_name(file: Path) -> None:
    (file.parent / "by-id").symlink_to(file.parent / "ttyUSB0")
    text = (
        GATEWAY
        + '[sensor.a]\ndriver = "talker"\nport = "ttyUSB0"\n[sensor.b]\ndriver = "talker"\nport = "by-id"'
    )
    assert mistakes(file, text) == [
        (
            "edgegw.toml:8: sensor.b.port: is the port of sensor a too (edgegw.toml:5); "
            "only Modbus sensors can share one"
        )
    ]


def test_modbus_sensors_share_a_line_with_one_setting(file: Path) -> None:
    text = (
        GATEWAY
        + '[sensor.a]\ndriver = "polled"\nport = "/dev/x"\n[sensor.b]\ndriver = "polled"\nport = "/dev/x"\n'
    )
    assert len(loaded(file, text + "unit = 2").sensor) == 2
    assert mistakes(file, text + "baudrate = 9600") == [
        "edgegw.toml:8: sensor.b.port: is shared with sensor a (edgegw.toml:5), which has other line settings"
    ]


def test_a_disabled_sensor_holds_no_port(file: Path) -> None:
    text = (
        GATEWAY
        + '[sensor.a]\ndriver = "talker"\nport = "/dev/x"\n[sensor.b]\ndriver = "talker"\nport = "/dev/x"\n'
    )
    assert len(loaded(file, text + "enabled = false").sensor) == 2


def test_what_is_allowed_but_worth_knowing_is_a_note(file: Path) -> None:
    text = GATEWAY + 'simulated = true\n[sensor.a]\ndriver = "talker"\nport = "/dev/ttyUSB0"\n'
    assert [note.path for note in loaded(file, text).notes] == [
        "uplink",
        "gateway.simulated",
        "sensor.a.port",
    ]
    weaker = UPLINK.replace("receipt_keys", 'receipts = "none"\nreceipt_keys')
    assert [note.path for note in loaded(file, GATEWAY + weaker).notes] == ["uplink.receipts"]


def test_many_mistakes_are_cut_to_a_readable_number(file: Path) -> None:
    file.write_text(GATEWAY + "\n".join(f"x{number} = 1" for number in range(5000)))
    with pytest.raises(ConfigError) as refusal:
        load(file, {})
    assert len(refusal.value.mistakes) == 5000
    assert len(refusal.value.text().splitlines()) == MAX_MISTAKES + 3
    assert len(refusal.value.as_dict()["mistakes"]) == MAX_MISTAKES


def test_more_sensors_than_a_gateway_has_are_refused(file: Path) -> None:
    text = "".join(f'[sensor.s{n}]\ndriver = "talker"\nport = "/dev/p{n}"\n' for n in range(MAX_SENSORS + 1))
    assert mistakes(file, GATEWAY + text) == ["edgegw.toml:3: sensor: has more than 500 sensors"]


# Secrets.


@pytest.mark.parametrize(
    "text",
    [
        f'[identity]\ntls_key = "{PEM}"',
        f'[identity]\ntls_key = "file:{PEM}"',
        f'[identity]\nsigning_key = "{PEM.splitlines()[0]}"',
        f'[uplink]\nreceipt_keys = ["{PEM}"]',
        f'[sensor.a]\ndriver = "talker"\nport = "/dev/x"\nmode = "{PEM}"',
        f'[nonsense]\nx = [["{PEM}"]]',
        '[identity]\ntls_key = "MIGHAgEAMBMG"',
        '[identity]\ntls_key = "pkcs11:MIGHAgEAMBMG"',
        (
            '[receive]\nserver = "mqtts://x"\nca = "file:a"\ncert = "file:a"\nkey = "file:a"\nkeys = "a"\n'
            'signing_key = "file:a"\nstore = "postgresql://me:MIGHAgEAMBMG@db/x"'
        ),
        '[uplink]\nserver = "mqtts://me:MIGHAgEAMBMG@b"',
    ],
)
def test_a_pasted_secret_is_refused_and_never_shown(file: Path, text: str) -> None:
    file.write_text(GATEWAY + text)
    with pytest.raises(ConfigError) as refusal:
        load(file, {}, make=make)
    assert "MIGHAgEAMBMG" not in refusal.value.text()
    assert "MIGHAgEAMBMG" not in refusal.value.json()
    assert "MIGHAgEAMBMG" not in repr(refusal.value.mistakes)


def test_a_secret_pasted_into_the_environment_is_not_shown_either(file: Path) -> None:
    found = mistakes(file, GATEWAY, {"EDGEGW__IDENTITY__TLS_KEY": PEM})
    assert found[0].startswith(
        "environment variable EDGEGW__IDENTITY__TLS_KEY: identity.tls_key: holds a pasted"
    )
    assert "MIGHAgEAMBMG" not in found[0]


# Hostile files.


@pytest.mark.parametrize(
    ("data", "mistake"),
    [
        (b"[gateway\n", "edgegw.toml:1: is not TOML: expected ']' at the end of a table declaration"),
        (b'[gateway]\nid = "x', "edgegw.toml:2: is not TOML: "),
        (b"[gateway]\nid = \xff\n", "edgegw.toml:2: is not UTF-8: byte 0xff"),
        (b"[gateway]\nid = 'a\x00b'\n", "edgegw.toml:2: is not TOML: found invalid character '\\x00'"),
        (b"a = 1\na = 2\n", "edgegw.toml:2: is not TOML: cannot overwrite a value"),
        (b"a = " + b"[" * 50_000, "edgegw.toml:1: is nested more than 10 levels deep"),
        (b"a" + b".a" * 50_000 + b" = 1", "edgegw.toml:1: is nested more than 10 levels deep"),
        (
            b"a = " + b"9" * 5000,
            "edgegw.toml:1: is not a configuration: a number or a nesting in it has no end",
        ),
        (b"#" * (MAX_FILE_BYTES + 1), "edgegw.toml:1: is larger than 512 KiB"),
        (bytes(range(256)) * 10, "edgegw.toml:"),
    ],
)
def test_a_hostile_file_is_one_clear_mistake(file: Path, data: bytes, mistake: str) -> None:
    file.write_bytes(data)
    with pytest.raises(ConfigError) as refusal:
        load(file, {})
    (found,) = refusal.value.mistakes
    assert str(found).replace(f"{file.parent}/", "").startswith(mistake)


def test_a_byte_order_mark_is_no_mistake(file: Path) -> None:
    assert loaded(file, "\ufeff" + GATEWAY).gateway.id == "box-1"


def test_a_missing_file_is_named(file: Path) -> None:
    with pytest.raises(GatewayError, match="does not exist") as refusal:
        load(file, {})
    assert (refusal.value.code, refusal.value.exit_code) == ("EG-CONFIG-MISSING", Exit.CONFIGURATION)


def test_a_directory_and_a_pipe_are_no_configuration(file: Path) -> None:
    with pytest.raises(GatewayError, match="cannot be read") as refusal:
        load(file.parent, {})
    assert refusal.value.why == "It is a directory."
    os.mkfifo(file)  # opening it must not wait for a writer
    with pytest.raises(GatewayError, match="cannot be read") as refusal:
        load(file, {})
    assert refusal.value.why == "It is not a regular file."


def test_a_file_that_may_not_be_read_is_a_matter_of_permission(file: Path) -> None:
    file.write_text(GATEWAY)
    file.chmod(0)
    root = os.geteuid() == 0
    if root:
        file.parent.chmod(0o755)
        os.seteuid(65534)
    try:
        with pytest.raises(GatewayError) as refusal:
            load(file, {})
    finally:
        if root:
            os.seteuid(0)
    assert (refusal.value.code, refusal.value.exit_code) == ("EG-PERMISSION", Exit.PERMISSION)


def test_a_dangling_drop_in_is_named(file: Path) -> None:
    (file.parent / "conf.d").mkdir()
    (file.parent / "conf.d" / "a.toml").symlink_to("nowhere")
    with pytest.raises(GatewayError, match=r"conf\.d/a\.toml does not exist"):
        loaded(file, GATEWAY)


def test_more_drop_ins_than_sensors_are_refused(file: Path) -> None:
    for number in range(MAX_DROPINS + 1):
        dropin(file, f"{number}.toml", "")
    assert mistakes(file, GATEWAY) == ["conf.d: holds more than 500 files"]


# The digest that goes into the log.


def test_the_digest_follows_what_is_effective_and_nothing_else(file: Path) -> None:
    plain = digest(loaded(file, GATEWAY + UPLINK))
    assert len(bytes.fromhex(plain)) == 32
    assert digest(loaded(file, "# note\n" + GATEWAY + UPLINK + 'keepalive = "15000ms"\n')) == plain
    assert digest(loaded(file, GATEWAY + UPLINK + 'keepalive = "16s"\n')) != plain
    sensor = '[sensor.a]\ndriver = "talker"\nport = "/dev/x"\n'
    assert digest(loaded(file, GATEWAY + sensor + 'mode = "ask"\n')) != digest(loaded(file, GATEWAY + sensor))


def test_the_configuration_needs_no_heavy_library(tmp_path: Path) -> None:
    import subprocess

    code = "import sys, edgegw.config; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert not {"pydantic", "typer", "rich", "cryptography", "tomlkit"} & set(done.stdout.split())
