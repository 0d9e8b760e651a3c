"""Nobody has to believe us: bytes taken from the broker by mosquitto_sub verify with libraries that are not ours."""

from __future__ import annotations

import hashlib
import hmac
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import cbor2
import pymerkle
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pycose.headers import Algorithm
from pycose.keys.curves import P256
from pycose.keys.ec2 import EC2Key
from pycose.messages.sign1message import Sign1Message
from world import GATEWAY, World, until

if TYPE_CHECKING:
    from pathlib import Path

    from broker import Broker


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> tuple[EC2Key, list[bytes], list[bytes]]:
    """The gateway's public key, and the batches and heads that mosquitto_sub printed in a run with a kill."""
    if shutil.which("mosquitto_sub") is None:
        pytest.skip("mosquitto_sub is not installed")
    from broker import Broker

    from edgegw.simulate.authority import Authority

    directory = tmp_path_factory.mktemp("strangers")
    broker = Broker(directory / "broker", Authority())
    broker.start()
    world = World(directory, broker)
    try:
        lines = _listen(broker, world, directory)
    finally:
        world.close()
        broker.stop()
    public = load_pem_public_key((world.directory / "keys" / f"{GATEWAY}.pem").read_bytes())
    numbers = public.public_numbers()  # type: ignore[union-attr]
    key = EC2Key(crv=P256, x=numbers.x.to_bytes(32), y=numbers.y.to_bytes(32))  # type: ignore[union-attr]
    batches = [data for topic, data in lines if topic.endswith("/main/batch")]
    heads = [data for topic, data in lines if topic.endswith("/main/head")]
    return key, batches, heads


def _listen(broker: Broker, world: World, directory: Path) -> list[tuple[str, bytes]]:
    spy = broker.client("spy")
    output = directory / "captured"
    with output.open("wb") as file:
        listener = subprocess.Popen(
            [
                *("mosquitto_sub", "-h", "localhost", "-p", str(broker.port), "-V", "5", "-q", "1"),
                *("--cafile", str(broker.ca), "--cert", str(spy.certificate), "--key", str(spy.key)),
                *("-t", f"edgegw/1/{GATEWAY}/main/+", "-F", "%t %x"),
            ],
            stdout=file,
        )
        try:
            until("the spy listens", lambda: "SUBSCRIBE" in broker.log or "Received SUBSCRIBE" in broker.log)
            world.start_receiver()
            world.start_gateway()
            until("something is receipted", lambda: world.status().get("log", {}).get("receipted", 0) > 100)
            world.kill_gateway()
            world.start_gateway()
            until("the gateway is back", lambda: bool(world.status()))
            world.frames(40)
            world.settled()
            assert world.stop_gateway() == 0
        finally:
            listener.terminate()
            listener.wait(30)
    lines = [line.split(" ") for line in output.read_text().splitlines()]
    return [(topic, bytes.fromhex(payload)) for topic, payload in lines]


def signed(message: bytes, key: EC2Key) -> bool:
    protected, unprotected, payload, signature = cbor2.loads(message).value
    found = Sign1Message.from_cose_obj([protected, dict(unprotected), payload, signature], True)
    found.key = key
    assert found.get_attr(Algorithm) is not None
    return bool(found.verify_signature())


def parts(message: bytes) -> tuple[dict[Any, Any], dict[Any, Any], bytes]:
    protected, unprotected, payload, _ = cbor2.loads(message).value
    return cbor2.loads(protected), unprotected, payload


def leaves(message: bytes) -> tuple[int, list[bytes]]:
    """First index and log entries of a batch, worked out with cbor2 and hmac alone."""
    header, _, payload = parts(message)
    fields = header["edgegw"]
    first, seed = fields[1], fields[3]
    entries = []
    for index, record in enumerate(cbor2.loads(payload), first):
        salt = hmac.new(seed, index.to_bytes(8, "big"), hashlib.sha256).digest()[:16]
        encoded = cbor2.dumps(record, canonical=True)
        assert encoded in payload, "the record's bytes are deterministic CBOR"
        entries.append(b"\x82\x50" + salt + encoded)
    return first, entries


def test_every_signature_verifies_with_pycose(captured: tuple[EC2Key, list[bytes], list[bytes]]) -> None:
    key, batches, heads = captured
    assert len(batches) > 5
    assert heads
    assert all(signed(message, key) for message in [*batches, *heads])


def test_every_root_is_the_root_of_pymerkles_tree(
    captured: tuple[EC2Key, list[bytes], list[bytes]],
) -> None:
    _, batches, heads = captured
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    by_first = dict(sorted((leaves(message)[0], message) for message in batches))
    roots = {}
    for first, message in by_first.items():
        assert tree.get_size() == first, "the log has no hole"
        for entry in leaves(message)[1]:
            tree.append_entry(entry)
        assert tree.get_root() == parts(message)[0]["edgegw"][2]
        roots[tree.get_size()] = tree.get_root()
    for message in heads:
        header, _, root = parts(message)
        assert roots[header["edgegw"][4]] == root


def test_one_flipped_bit_in_any_field_fails(captured: tuple[EC2Key, list[bytes], list[bytes]]) -> None:
    key, batches, _ = captured
    message = batches[0]
    protected, _, payload, signature = cbor2.loads(message).value
    for field in (protected, payload, signature):
        at = message.index(field)
        for position in range(at, at + len(field), max(1, len(field) // 40)):
            flipped = bytearray(message)
            flipped[position] ^= 1
            try:
                verdict = signed(bytes(flipped), key)
            except Exception:  # noqa: BLE001 -- a stranger's library refuses damage in its own ways
                verdict = False
            assert not verdict, f"byte {position}"
