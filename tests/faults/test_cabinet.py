"""Every kind of sensor in one daemon: what hits one of them is seen, ends by itself, and costs the others nothing.

Each device is hit once here, by a fault that a seed chooses; `scripts/sensor_faults.py` takes every fault for every device.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from cabinet import WELL, Cabinet, Usage, present, until

from edgegw import control
from edgegw.simulate.faults import Condition
from edgegw.simulate.models import MODELS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

#: Devices are hit in so many groups, one after the other.
ROUNDS = 2
#: Which fault hits which device.
SEED = os.environ.get("EDGEGW_SEED", "cabinet")
#: A device that waits to be asked can be late; these are later than its driver waits, and come while it rests.
LATE_S = {
    "airgradient": 6.0,
    "airrohr": 6.0,
    "rion-nl53": 5.0,
    "svantek": 2.5,
    "nti-xl2": 1.5,
    "nsrt": 1.5,
    "sps30": 0.75,
    "mh-z19": 1.5,
    "dfrobot-no2": 1.5,
    "renke-rtu": 1.2,
    "renke-tcp": 1.2,
    "senseair-s8": 1.2,
    "weather-station": 1.2,
    "xy-md02": 1.2,
}
#: Its samples carry no check and its levels are computed: nothing of it can be damaged, and it has no ledger.
UNDAMAGED = frozenset(("microphone",))
#: Their texts and objects have no check: what the noise left whole is what the device said.
UNCHECKED = frozenset(("bthome", "nti-xl2", "ops243", "rion-nl53", "nsrt"))
#: They say totals: what passed while they could not be heard is in the next step.
TOTALS = frozenset(("axis-camera", "terabee"))
FAULTS = ("unplugged", "silent", "checksum", "late")


def faults_of(model: str) -> list[str]:
    """The faults that can happen to it."""
    found = ["unplugged", "silent"]
    if model not in UNDAMAGED:
        found.append("checksum")
    return [*found, "late"] if model in LATE_S else found


def condition(model: str, fault: str) -> Condition:
    return {
        "unplugged": Condition(unplugged=True),
        "silent": Condition(silent=True),
        "checksum": Condition(damaged=True),
        "late": Condition(late_s=LATE_S.get(model, 0.0)),
    }[fault]


def noticed(model: str, fault: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether the status says what happens to a device: its state, why, and a count of what was refused."""
    wire = MODELS[model].wire
    newly = {reason for reason, count in now["errors"].items() if count > before["errors"].get(reason, 0)}
    if fault == "checksum":
        # Where there is no check, values may still come; where there is one, each frame is counted.
        return bool(newly) or model in UNCHECKED
    if now["state"] in WELL or not now.get("why") or not now.get("todo"):
        return False
    gone = wire in {"port", "host", "url", "device"}
    if fault == "unplugged" or model == "microphone":
        return bool(newly) and now["state"] == "unplugged" if gone else now["state"] == "stale"
    if model in LATE_S:
        # A web server that takes a connection and says nothing is one that cannot be reached.
        return now["state"] in {"no_answer", "stale", "unplugged" if wire == "url" else ""} and bool(
            newly & {"no_reply", "timeout"}
        )
    return bool(now["state"] == "stale")


def hit(cabinet: Cabinet, plan: Mapping[str, str]) -> None:
    """Let these faults happen to these models until the status says so; then they end, and all heal by themselves."""
    before = cabinet.views()
    cabinet.switches.now = {f"{model}-1": condition(model, fault) for model, fault in plan.items()}
    wrong: list[Any] = []

    def all_noticed() -> bool:
        views = cabinet.views()
        wrong[:] = [
            (fault, views[f"{model}-1"])
            for model, fault in plan.items()
            if not noticed(model, fault, before[f"{model}-1"], views[f"{model}-1"])
        ]
        return not wrong

    try:
        until("the status says what happens", all_noticed)
    except AssertionError as error:
        raise AssertionError(f"not said by the status: {wrong}") from error
    cabinet.switches.now = {}
    cabinet.read([f"{model}-1" for model in plan])


def rounds(models: Sequence[str], seed: str) -> list[dict[str, str]]:
    """Each model once, in ROUNDS groups."""
    random = Random(seed)
    shuffled = random.sample(list(models), len(models))
    return [
        {model: random.choice(faults_of(model)) for model in shuffled[first::ROUNDS]}
        for first in range(ROUNDS)
    ]


def assert_nothing_foreign(cabinet: Cabinet) -> None:
    """Every stored value is one that its device said, whole and in time."""
    stored = cabinet.stored()
    for sensor in cabinet.sensors:
        fates = {"sent", "damaged"} if sensor.model in UNCHECKED else {"sent"}
        book: dict[str, set[float]] = {}
        for said in cabinet.said(sensor.id):
            if said.fate in fates:
                for quantity, value in said.values.items():
                    book.setdefault(quantity, set()).add(value)
        for quantity, values in stored[sensor.id].items():
            if quantity in book and sensor.model not in TOTALS:
                assert set(values) <= book[quantity], (sensor.id, quantity, set(values) - book[quantity])


def assert_unaffected(cabinet: Cabinet, others: Sequence[str], begin: float, end: float) -> None:
    """Of what these said between two monotonic seconds, at least 95 % was stored."""
    stored = cabinet.stored()
    for model in others:
        said = [
            each
            for each in cabinet.said(f"{model}-1")
            if each.fate == "sent" and each.values and begin <= each.at < end
        ]
        if model in TOTALS or not said:
            continue
        quantity = next(iter(said[0].values))
        sent = Counter(each.values[quantity] for each in said if quantity in each.values)
        found = sent & stored[f"{model}-1"][quantity]
        assert found.total() >= 0.95 * sent.total(), (model, quantity, found.total(), sent.total())


def reload_all(cabinet: Cabinet) -> None:
    """Reload without the radio's sensors, without any, with half of them switched off, and as it was."""
    names = [sensor.id for sensor in cabinet.sensors]
    radio = [sensor.id for sensor in cabinet.sensors if MODELS[sensor.model].wire == "address"]
    for without in (radio, names):
        cabinet.write(without=without)
        cabinet.reload()
    off = dict.fromkeys(names[::2], "enabled = false")
    cabinet.write(also=off)
    cabinet.reload()
    until(
        "half are off",
        lambda: {name for name, each in cabinet.views().items() if each["state"] == "disabled"} == set(off),
    )
    cabinet.write()
    cabinet.reload()
    until("all are on", lambda: all(each["state"] != "disabled" for each in cabinet.views().values()))
    cabinet.read(names)


def unplug_all(cabinet: Cabinet) -> None:
    """Pull everything out and plug it in again."""
    hit(cabinet, {sensor.model: "unplugged" for sensor in cabinet.sensors})


def lend_each(cabinet: Cabinet) -> None:
    """Lend each wire and take it back."""
    lent = [sensor.id for sensor in cabinet.sensors if MODELS[sensor.model].wire in {"port", "host"}]
    for name in lent:
        with control.held(cabinet.layout.socket, "lend", sensor=name) as loan:
            assert loan["paused"] == [name]
            assert cabinet.views()[name]["state"] == "paused"
        until("it is given back", lambda name=name: cabinet.views()[name]["state"] != "paused")  # type: ignore[misc]
    cabinet.read(lent)


@pytest.mark.timeout(600)
def test_what_hits_one_kind_is_seen_and_heals_and_costs_the_others_nothing(tmp_path: Path) -> None:
    models = present()
    marks: list[tuple[float, float, dict[str, str]]] = []
    with Cabinet(tmp_path, models) as cabinet:
        cabinet.read([sensor.id for sensor in cabinet.sensors])
        for plan in rounds(models, SEED):
            begin = time.monotonic()
            hit(cabinet, plan)
            marks.append((begin, time.monotonic(), plan))
        # What was said last has to reach the store too.
        cabinet.read([sensor.id for sensor in cabinet.sensors])
    assert_nothing_foreign(cabinet)
    for begin, end, plan in marks:
        assert_unaffected(cabinet, [model for model in models if model not in plan], begin, end)


def assert_kept(cabinet: Cabinet, before: Usage) -> None:
    """What was opened for a cycle is closed; a document that is fetched right now holds a descriptor for a moment."""

    def no_more() -> bool:
        now = cabinet.usage()
        return now.descriptors <= before.descriptors and now.threads <= before.threads

    until(f"the daemon holds no more than {before}", no_more)


def quick() -> list[str]:
    """The models that say something each second."""
    return [model for model in present() if model != "rion-nl53"]


@pytest.mark.timeout(600)
def test_reloads_and_pulled_plugs_leave_nothing_behind_and_a_stop_is_clean(tmp_path: Path) -> None:
    with Cabinet(tmp_path, quick()) as cabinet:
        cabinet.read([sensor.id for sensor in cabinet.sensors])
        unplug_all(cabinet)
        reload_all(cabinet)
        before = cabinet.usage()
        reload_all(cabinet)
        # Faster than they can be served: the last one counts.
        for _ in range(5):
            os.kill(cabinet.daemon.pid or 0, signal.SIGHUP)
        unplug_all(cabinet)
        assert_kept(cabinet, before)
        # SIGKILL after 20 s would be another code.
        assert cabinet.daemon.stop() == 0
    log = cabinet.layout.log("gateway").read_text()
    assert "Traceback" not in log, log
    assert "never retrieved" not in log, log


def test_a_wire_that_is_lent_costs_nobody_else_a_reading_and_is_given_back(tmp_path: Path) -> None:
    # One of each kind of wire; the others only have to go on.
    with Cabinet(tmp_path, ["sds011", "svantek", "renke-rtu", "renke-tcp", "airgradient"]) as cabinet:
        cabinet.read([sensor.id for sensor in cabinet.sensors])
        before = cabinet.usage()
        lend_each(cabinet)
        assert_kept(cabinet, before)
    assert_nothing_foreign(cabinet)
    assert_unaffected(cabinet, ["airgradient"], 0.0, time.monotonic() - 5.0)


def test_what_is_not_there_at_the_start_is_named_costs_no_time_and_is_read_once_it_is_there(
    tmp_path: Path,
) -> None:
    models = quick()
    cabinet = Cabinet(tmp_path, models)
    absent = [f"{model}-1" for model in models if model != "sds011"]
    cabinet.switches.now = {name: Condition(unplugged=True) for name in absent}
    with cabinet:
        # The only one that is there is read while the others are looked for.
        cabinet.read(["sds011-1"])

        def all_named() -> bool:
            views = cabinet.views()
            return all(
                views[name]["state"] in {"unplugged", "no_answer"}
                and views[name]["why"]
                and views[name]["todo"]
                for name in absent
            )

        until("each says what is missing and what to do", all_named)
        looking = cabinet.usage()
        begin = time.monotonic()
        cabinet.read(["sds011-1"], 10)
        # Looking for hardware is cheap: measured 1 % of a core.
        assert (cabinet.usage().cpu_s - looking.cpu_s) < 0.25 * (time.monotonic() - begin)
        cabinet.switches.now = {}
        cabinet.read([sensor.id for sensor in cabinet.sensors])


def test_after_a_kill_every_sensor_is_read_again_and_no_value_is_invented(tmp_path: Path) -> None:
    with Cabinet(tmp_path, quick()) as cabinet:
        names = [sensor.id for sensor in cabinet.sensors]
        cabinet.read(names)
        size = cabinet.status()["log"]["size"]
        cabinet.daemon.kill()
        cabinet.daemon.start(cabinet.answers)
        cabinet.read(names)
        assert cabinet.status()["log"]["size"] > size
    assert_nothing_foreign(cabinet)
