"""`edgegw uplink test` against a real mosquitto with mutual TLS, and against what can be wrong with one."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from keeping import GATEWAY, KEY, fill, keeper

from edgegw.problems import Exit
from edgegw.simulate.authority import EXPIRED, Authority, Validity, write_private

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from broker import Broker

ACL = "pattern readwrite edgegw/1/%u/#\nuser city\ntopic readwrite edgegw/1/#\n"
VALID = Validity(-1, 365)


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """A directory with a gateway's configuration (the broker's port comes later), key and a store with a head."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    write_private(tmp_path / "sign.key", KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    log = keeper(tmp_path / "store")
    fill(log, 10)
    log.close()
    return tmp_path


def outcome(
    box: Path, server: str, authority: Authority, *, validity: Validity = VALID
) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """Exit code, step → (ok, text), and the error."""
    authority.client(GATEWAY, validity).write(box, "tls")
    authority.write(box / "ca.crt")
    (box / "edgegw.toml").write_text(
        f'[gateway]\nid = "{GATEWAY}"\n[uplink]\nserver = "{server}"\nca = "file:ca.crt"\nreceipts = "none"\n'
        '[store]\npath = "store"\n[control]\nsocket = "c.sock"\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "edgegw.cli", "uplink", "test", "--json", "-c", str(box / "edgegw.toml")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    (found,) = json.loads(done.stdout)
    steps = {step["name"]: (step["ok"], step["text"]) for step in found["steps"]}
    return done.returncode, steps, json.loads(done.stderr) if done.stderr else {}


def test_a_good_uplink_is_ok_at_each_step(box: Path, make_broker: Callable[..., Broker]) -> None:
    broker = make_broker(acl=ACL)
    code, steps, error = outcome(box, f"mqtts://localhost:{broker.port}", broker.authority)
    assert (code, error) == (Exit.DONE, {})
    assert list(steps) == [
        "resolve",
        "connect",
        "tls",
        "client certificate",
        "mqtt 5",
        "subscribe",
        "publish",
    ]
    assert all(ok for ok, _ in steps.values())
    assert "TLSv1.3" in steps["tls"][1]


def test_a_name_that_does_not_exist_fails_at_resolving(box: Path) -> None:
    code, steps, error = outcome(box, "mqtts://broker.invalid", Authority())
    assert code == Exit.UPLINK
    assert steps["resolve"][0] is False
    assert steps["publish"] == (None, "not reached")
    assert error["code"] == "EG-UPLINK-DNS"
    assert "readings are stored" in error["safe"]


def test_a_closed_port_fails_at_connecting(box: Path) -> None:
    from broker import free_port

    code, steps, error = outcome(box, f"mqtts://127.0.0.1:{free_port()}", Authority())
    assert (code, steps["resolve"][0], steps["connect"][0]) == (Exit.UPLINK, True, False)
    assert error["code"] == "EG-UPLINK-UNREACHABLE"


def test_a_broker_of_another_ca_fails_at_tls(box: Path, make_broker: Callable[..., Broker]) -> None:
    broker = make_broker()
    code, steps, error = outcome(box, f"mqtts://localhost:{broker.port}", Authority("another"))
    assert (code, steps["connect"][0], steps["tls"][0]) == (Exit.UPLINK, True, False)
    assert error["code"] == "EG-UPLINK-TLS"


def test_an_expired_client_certificate_is_named(box: Path, make_broker: Callable[..., Broker]) -> None:
    broker = make_broker()
    code, steps, _ = outcome(box, f"mqtts://localhost:{broker.port}", broker.authority, validity=EXPIRED)
    assert (code, steps["tls"][0], steps["client certificate"][0]) == (Exit.UPLINK, True, False)


def test_where_our_own_certificate_cannot_be_used_no_step_counts_as_done(box: Path) -> None:
    from broker import free_port

    authority = Authority()
    authority.client(GATEWAY, VALID).write(box, "tls")
    authority.write(box / "ca.crt")
    (box / "tls.crt").write_text("garbage")
    (box / "edgegw.toml").write_text(
        f'[gateway]\nid = "{GATEWAY}"\n[uplink]\nserver = "mqtts://127.0.0.1:{free_port()}"\n'
        'ca = "file:ca.crt"\nreceipts = "none"\n[store]\npath = "store"\n[control]\nsocket = "c.sock"\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "edgegw.cli", "uplink", "test", "--json", "-c", str(box / "edgegw.toml")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    (found,) = json.loads(done.stdout)
    assert done.returncode == Exit.IDENTITY
    assert [step["ok"] for step in found["steps"]] == [None, None, None, False, None, None, None]
    assert "edgegw identity show" in json.loads(done.stderr)["todo"]


def test_a_topic_that_is_not_allowed_fails_at_publishing(
    box: Path, make_broker: Callable[..., Broker]
) -> None:
    broker = make_broker(acl="pattern read edgegw/1/%u/#\n")
    code, steps, error = outcome(box, f"mqtts://localhost:{broker.port}", broker.authority)
    assert (code, steps["mqtt 5"][0], steps["publish"][0]) == (Exit.UPLINK, True, False)
    assert "access list" in error["todo"][0]


def test_without_a_broker_there_is_nothing_to_try(box: Path) -> None:
    (box / "edgegw.toml").write_text(f'[gateway]\nid = "{GATEWAY}"\n[control]\nsocket = "c.sock"\n')
    done = subprocess.run(
        [sys.executable, "-m", "edgegw.cli", "uplink", "test", "--json", "-c", str(box / "edgegw.toml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == Exit.UPLINK
    assert json.loads(done.stderr)["code"] == "EG-UPLINK-NONE"
