"""What tests of the log share: a gateway's keys, records by number, and a keeper in a directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec

from edgegw.journal import Closed, Limits
from edgegw.keeper import Committed, Keeper, Policy
from edgegw.resume import Who
from edgegw.wire import batch, cose, receipt, senml
from edgegw.wire.verify import KeyRing, open_gateway_message

if TYPE_CHECKING:
    from pathlib import Path

GATEWAY = "kyiv-podil-0042"
ISS = f"urn:dev:ops:32473-{GATEWAY}"
STORE_ISS = "urn:dev:ops:32473-city"
START = 1_795_305_600.0
KEY = ec.derive_private_key(0x1234567, ec.SECP256R1())
STORE_KEY = ec.derive_private_key(0x7654321, ec.SECP256R1())
OWN = cose.verify_key(KEY.public_key())
STORE = cose.verify_key(STORE_KEY.public_key())
STORES = {STORE.kid: STORE}
RING = KeyRing({GATEWAY: [OWN]})
LIMITS = Limits(max_readings=100, max_age=1.0, max_bytes=64 * 1024)
WRITER = senml.RecordWriter(ISS)


def keeper(
    directory: Path, *, max_size: int = 64 << 20, keep: float = 7 * 86400.0, drop_oldest: bool = True
) -> Keeper:
    return Keeper(
        directory,
        Who(ISS, cose.signer(KEY), OWN),
        Policy(max_size, keep_free=0, keep=keep, drop_oldest=drop_oldest, limits=LIMITS),
    )


def closed(first: int, count: int = 100) -> Closed:
    """Records whose value is their number."""
    times = [START + number / 10 for number in range(first, first + count)]
    records = [
        WRITER.reading("air-1", "pm2_5", "ug/m3", number / 10, t)
        for number, t in zip(range(first, first + count), times, strict=True)
    ]
    return Closed(records, times, (1, 5), 0.0)


def fill(log: Keeper, batches: int, *, first: int = 0, heads: bool = True) -> list[Committed]:
    done = []
    for number in range(batches):
        done.append(log.commit(closed(first + number * 100), int(START)))
        if heads and (done[-1].head_wanted or number % 10 == 9):
            log.make_head(int(START))
    return done


def opened(log: Keeper) -> list[batch.Batch]:
    """Every stored batch, verified."""
    found: list[batch.Batch] = []
    at = 0
    while stored := log.batches_from(at, 1 << 20):
        for each in stored:
            message = open_gateway_message(each.message, RING)
            assert isinstance(message, batch.Batch)
            found.append(message)
        at = stored[-1].end
    return found


def signed_receipt(log: Keeper, size: int, root: bytes) -> bytes:
    return receipt.seal_receipt(
        log.log, size, root, store=STORE_ISS, by=cose.signer(STORE_KEY), issued=int(START)
    )
