from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edgegw.health import Facts, State, headline, published, state_of, status

WELL = Facts(
    gateway="kyiv-podil-0042",
    version="1",
    boot="b",
    simulated=False,
    uptime_s=10.0,
    stopping=False,
    link_state="online",
    link_since_s=5.0,
    link_receipts="required",
    log_epoch="01234567",
    log_size=100,
    log_receipted=90,
    backlog_batches=1,
    backlog_readings=10,
    backlog_bytes=900,
    backlog_oldest_s=0.5,
    lost=0,
    clock_state=1,
    clock_error_ms=5,
    tls_days_left=100.0,
    store_bytes=4096,
    store_written_bytes=900,
    store_failed=False,
    shedding=False,
    max_age_s=1.0,
    sensors=({"id": "air-1", "state": "ok"},),
)

# From the worst to the best: each row holds with all that follow it.
ROWS: list[tuple[State, dict[str, Any]]] = [
    (State.STOPPING, {"stopping": True}),
    (State.STORE_FAILED, {"store_failed": True}),
    (State.SHEDDING, {"shedding": True}),
    (State.NO_IDENTITY, {"tls_days_left": None}),
    (State.OFFLINE, {"link_state": "connecting"}),
    (State.CLOCK_UNTRUSTED, {"clock_state": 0}),
    (State.DRAINING, {"backlog_oldest_s": 3600.0}),
    (State.DEGRADED, {"sensors": ({"id": "air-1", "state": "unplugged"},)}),
]


@pytest.mark.parametrize(
    ("state", "fact"), ROWS, ids=lambda value: str(value) if isinstance(value, State) else ""
)
def test_the_state_names_the_worst_that_holds(state: State, fact: dict[str, Any]) -> None:
    assert state_of(replace(WELL, **fact)) is state
    better = dict(pair for other, row in ROWS[ROWS.index((state, fact)) :] for pair in row.items() if other)
    assert state_of(replace(WELL, **better)) is state


def test_a_gateway_that_lacks_nothing_is_ok() -> None:
    assert state_of(WELL) is State.OK


def test_an_unknown_clock_is_no_untrusted_one() -> None:
    assert state_of(replace(WELL, clock_state=2)) is State.OK


def test_the_document_has_every_promised_key_and_no_null() -> None:
    document = status(replace(WELL, tls_days_left=None))
    promised = (
        "gateway.id gateway.version state link.state link.since_s log.size log.receipted backlog.batches "
        "backlog.readings backlog.bytes backlog.oldest_s lost.total clock.state clock.error_ms "
        "identity.tls_days_left store.bytes store.written_bytes sensors problems"
    )
    for path in promised.split():
        value: Any = document
        for key in path.split("."):
            value = value[key]
        assert value is not None, path


def test_the_headline_fits_a_line() -> None:
    assert headline(status(WELL)) == "ok: 1 of 1 sensors, link online, 100 records, 10 not receipted"


def test_what_is_for_the_cabinet_does_not_go_upstream() -> None:
    told = {"id": "air-1", "state": "no_answer", "readings": 3, "errors": {"no_reply": 2}}
    local = {"why": "/dev/ttyUSB0 is gone", "todo": "plug it in", "notices": {"device": "serial 7"}}
    document = {**status(WELL), "sensors": [{**told, **local}]}
    assert published(document)["sensors"] == [told]
    assert published(document).keys() == document.keys()
    assert document["sensors"][0]["why"] == local["why"]
