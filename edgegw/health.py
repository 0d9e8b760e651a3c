"""The state of the gateway, as everybody sees it: one dictionary for CLI, control socket and the signed status.

Pure: what is known comes in as values. The keys are a promise (INTERFACE §2, `status --json`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from edgegw.views import State as SensorState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# A backlog whose oldest record is older than this is being drained; below it is what is on its way. Seconds.
DRAINING_S: Final = 30.0
# Days before the certificate's end from which on somebody has to act.
EXPIRES_DAYS: Final = 30


#: Keys of a sensor that are for whoever stands at the cabinet.
AT_THE_CABINET: Final = frozenset(("why", "todo", "facts", "notices", "bluetooth", "answer_ms"))


class State(StrEnum):
    """What the gateway is doing; the worst that holds."""

    STARTING = "starting"
    OK = "ok"
    DEGRADED = "degraded"
    OFFLINE = "offline"
    DRAINING = "draining"
    SHEDDING = "shedding"
    STORE_FAILED = "store_failed"
    CLOCK_UNTRUSTED = "clock_untrusted"
    NO_IDENTITY = "no_identity"
    STOPPING = "stopping"


@dataclass(frozen=True)
class Facts:
    """Everything that the status is made of. Times are seconds, sizes bytes."""

    gateway: str
    version: str
    boot: str
    simulated: bool
    uptime_s: float
    stopping: bool
    link_state: str
    link_since_s: float
    link_receipts: str
    log_epoch: str
    log_size: int
    log_receipted: int
    backlog_batches: int
    backlog_readings: int
    backlog_bytes: int
    backlog_oldest_s: float
    lost: int
    clock_state: int
    clock_error_ms: int
    tls_days_left: float | None
    store_bytes: int
    store_written_bytes: int
    store_failed: bool
    shedding: bool
    max_age_s: float
    sensors: Sequence[Mapping[str, Any]] = ()
    problems: Sequence[Mapping[str, Any]] = field(default=())


def state_of(facts: Facts) -> State:
    """The one word for all of it: the first row that holds."""
    troubled = {SensorState.UNPLUGGED, SensorState.NO_ANSWER, SensorState.DRIVER_FAILED, SensorState.STALE}
    rows = (
        (State.STOPPING, facts.stopping),
        (State.STORE_FAILED, facts.store_failed),
        (State.SHEDDING, facts.shedding),
        (State.NO_IDENTITY, facts.tls_days_left is None),
        (State.OFFLINE, facts.link_state != "online"),
        (State.CLOCK_UNTRUSTED, facts.clock_state == 0),
        (State.DRAINING, facts.backlog_oldest_s > DRAINING_S),
        (
            State.DEGRADED,
            any(sensor["state"] in troubled for sensor in facts.sensors) or bool(_errors(facts)),
        ),
    )
    return next((state for state, holds in rows if holds), State.OK)


def _errors(facts: Facts) -> list[Mapping[str, Any]]:
    return [problem for problem in facts.problems if problem.get("severity") == "error"]


def status(facts: Facts) -> dict[str, Any]:
    """The document of `status --json`; no value is ever null."""
    return {
        "gateway": {"id": facts.gateway, "version": facts.version},
        "boot": facts.boot,
        "simulated": facts.simulated,
        "uptime_s": round(facts.uptime_s, 1),
        "state": str(state_of(facts)),
        "link": {
            "state": facts.link_state,
            "since_s": round(facts.link_since_s, 1),
            "receipts": facts.link_receipts,
        },
        "log": {"epoch": facts.log_epoch, "size": facts.log_size, "receipted": facts.log_receipted},
        "backlog": {
            "batches": facts.backlog_batches,
            "readings": facts.backlog_readings,
            "bytes": facts.backlog_bytes,
            "oldest_s": round(facts.backlog_oldest_s, 1),
        },
        "lost": {"total": facts.lost},
        "clock": {
            "state": ("free_running", "synchronised", "unknown")[facts.clock_state],
            "error_ms": facts.clock_error_ms,
        },
        "identity": {"tls_days_left": int(facts.tls_days_left or 0)},
        "store": {
            "bytes": facts.store_bytes,
            "written_bytes": facts.store_written_bytes,
            "max_age_s": facts.max_age_s,
        },
        "sensors": [dict(sensor) for sensor in facts.sensors],
        "problems": [dict(problem) for problem in facts.problems],
    }


def headline(document: Mapping[str, Any]) -> str:
    """One line for systemd's STATUS and the log."""
    sensors = document["sensors"]
    talking = sum(sensor["state"] in ("ok", "simulated", "warm_up", "flagged") for sensor in sensors)
    return (
        f"{document['state']}: {talking} of {len(sensors)} sensors, link {document['link']['state']}, "
        f"{document['log']['size']} records, {document['backlog']['readings']} not receipted"
    )


def published(document: Mapping[str, Any]) -> dict[str, Any]:
    """The status document as it goes upstream: without the sentences for whoever stands at the cabinet.

    They name ports, paths and addresses of the box, and would make up most of a message that is sent each minute.
    """
    sensors = [
        {key: value for key, value in sensor.items() if key not in AT_THE_CABINET}
        for sensor in document["sensors"]
    ]
    return {**document, "sensors": sensors}
