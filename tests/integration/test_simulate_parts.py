"""What a simulation is made of: processes that end for certain, a real broker, a directory that explains itself."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import stat
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edgegw import config
from edgegw.problems import GatewayError
from edgegw.simulate import broker as broker_module
from edgegw.simulate.broker import Broker
from edgegw.simulate.children import Child
from edgegw.simulate.layout import GATEWAY, STORE, Layout, configure, make_identities
from edgegw.simulate.simulation import Options, Simulation
from edgegw.simulate.stage import STREET

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

DEADLINE_S = 30.0
needs_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin") is None,
    reason="mosquitto is not installed",
)


def python(code: str, log: Path) -> Child:
    return Child("program", [sys.executable, "-c", code], log)


@contextmanager
def running(broker: Broker) -> Iterator[Broker]:
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    make_identities(made)
    return made


def test_a_program_that_ends_while_starting_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    child = python("raise SystemExit('no port')", tmp_path / "log" / "program.log")
    with pytest.raises(GatewayError, match="the program ended with 1 while starting") as caught:
        child.start(lambda: False)
    assert caught.value.why == "no port"


def test_a_program_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(GatewayError, match="cannot be started"):
        Child("program", [str(tmp_path / "nothing")], tmp_path / "log").start()


def test_a_program_can_be_killed_and_started_again(tmp_path: Path) -> None:
    child = python("import signal; signal.pause()", tmp_path / "log")
    child.start()
    first = child.pid
    child.kill()
    child.start()
    assert child.running
    assert child.pid != first
    assert child.stop() == -signal.SIGTERM
    assert child.pid is None
    assert child.stop() == -signal.SIGTERM


def test_a_program_that_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgegw.simulate.children.STOP_S", 0.3)
    deaf = "import signal, sys; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"
    child = python(deaf, tmp_path / "log")
    child.start(lambda: (tmp_path / "log").read_text() == "deaf\n")
    assert child.stop() == -signal.SIGKILL


def test_a_ctrl_c_of_the_terminal_reaches_only_the_parent(tmp_path: Path) -> None:
    child = python("import signal; signal.pause()", tmp_path / "log")
    child.start()
    assert child.pid is not None
    assert os.getsid(child.pid) != os.getsid(0)
    child.stop()


def connect(layout: Layout, broker: Broker, certificate: Path | None, key: Path | None) -> str:
    """The broker's answer to a client, in a word."""
    said = threading.Event()
    answer: list[str] = []

    def on_connect(
        client: mqtt.Client, data: object, flags: mqtt.ConnectFlags, code: ReasonCode, more: Properties | None
    ) -> None:
        del client, data, flags, more
        answer.append(str(code))
        said.set()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(layout.broker / "ca.crt")
    if certificate:
        context.load_cert_chain(certificate, key)
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5, reconnect_on_failure=False)
    client.tls_set_context(context)
    client.on_connect = on_connect
    client.on_disconnect = lambda *_: said.set()
    try:
        client.connect(broker.host, broker.port)
        client.loop_start()
        assert said.wait(DEADLINE_S)
    finally:
        client.disconnect()
        client.loop_stop()
    return answer[0] if answer else "refused"


@needs_mosquitto
def test_the_broker_takes_only_clients_of_its_own_authority_and_keeps_its_port(layout: Layout) -> None:
    with running(Broker(layout.broker, GATEWAY, STORE)) as broker:
        own = layout.directory / "tls.crt", layout.directory / "tls.key"
        assert connect(layout, broker, *own) == "Success"
        assert connect(layout, broker, None, None) == "refused"
        port = broker.port
        broker.kill()
        broker.start()
        assert broker.port == port
        assert connect(layout, broker, *own) == "Success"


@needs_mosquitto
def test_a_port_that_is_taken_meanwhile_is_given_up(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    real = broker_module.free_port
    with running(Broker(layout.broker, GATEWAY, STORE)) as first:
        ports = iter([first.port])
        monkeypatch.setattr(broker_module, "free_port", lambda: next(ports, 0) or real())
        monkeypatch.setattr(Broker, "_answers", lambda self: self.port != first.port)
        second = Broker(layout.broker, GATEWAY, STORE)
        try:
            second.start()
            assert second.port != first.port
        finally:
            second.stop()


def test_a_machine_without_mosquitto_is_told_what_to_do(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "find_mosquitto", lambda: None)
    with pytest.raises(GatewayError, match="mosquitto is not installed") as caught:
        Broker(layout.broker, GATEWAY, STORE).start()
    assert "sudo apt-get install mosquitto" in caught.value.todo


def test_keys_are_for_their_owner_alone_and_a_second_run_keeps_them(layout: Layout) -> None:
    keys = sorted(layout.directory.rglob("*.key"))
    assert [path.relative_to(layout.directory).as_posix() for path in keys] == [
        "broker/server.key",
        "receiver/sign.key",
        "receiver/tls.key",
        "sign.key",
        "tls.key",
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}
    before = [path.read_bytes() for path in keys]
    make_identities(layout)
    assert [path.read_bytes() for path in keys] == before


def test_nobody_can_join_later_because_the_authoritys_key_is_nowhere(layout: Layout) -> None:
    assert not [path for path in layout.directory.rglob("*ca*") if path.suffix != ".crt"]


@pytest.mark.parametrize("numbered", [False, True])
@pytest.mark.parametrize("server", ["", "mqtts://localhost:18883"])
def test_the_written_configuration_has_no_mistake(layout: Layout, server: str, numbered: bool) -> None:
    addresses = {"sound-2": "127.0.0.1:5020"}
    configure(
        layout,
        STREET,
        {sensor.id: addresses.get(sensor.id, f"/dev/{sensor.id}") for sensor in STREET},
        server=server,
        numbered=numbered,
    )
    settings = config.load(layout.config)
    assert settings.gateway.simulated
    assert set(settings.sensor) == {sensor.id for sensor in STREET}
    assert settings.control.socket == layout.socket
    assert bool(settings.uplink.servers) == bool(server)
    if numbered:
        assert settings.sensor["flow-1"].interval is None


def test_the_written_receiver_configuration_has_no_mistake(layout: Layout) -> None:
    configure(layout, (), {}, server="mqtts://localhost:18883")
    receive = config.load(layout.receiver_config, role="receiver").receive
    assert receive is not None
    assert receive.store == f"sqlite:///{layout.readings}"
    assert receive.accept_simulated


@pytest.mark.parametrize(
    ("scenario", "fault", "hint"),
    [
        ("parade", "silent:air-1@1+1", "there are blast, city-night, crowd"),
        ("crowd", "silent:air-7@1+1", "there are air-1, flow-1, sound-1, sound-2"),
        ("crowd", "noise", "KIND"),
    ],
)
def test_a_wrong_option_is_wrong_usage_in_words(tmp_path: Path, scenario: str, fault: str, hint: str) -> None:
    with pytest.raises(GatewayError, match=hint) as caught:
        Simulation(Options(tmp_path, scenario=scenario, faults=(fault,)))
    assert caught.value.exit_code == 2
