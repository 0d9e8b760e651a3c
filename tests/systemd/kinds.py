"""Every kind of sensor under the unit's restrictions, and the two drop-ins that give what it has not by default."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from systemd.rig import (
    CONFIGURATION,
    DROP_INS,
    ENDPOINT,
    ETC,
    NODE,
    PATIENCE,
    SERIAL_SERVER,
    TAG,
    WEB,
    proof,
    run,
    sensors,
    show,
    until,
)
from systemd.rights import REFUSED, sandboxed
from systemd.world import upstream

SHIPPED = Path("/usr/share/edgegw/systemd/edgegw.service.d")
BY_DEFAULT = f"""
[sensor.tag-1]
driver = "ruuvi"
address = "{TAG}"
interval = "1s"
[sensor.dust-1]
driver = "sds011"
host = "{SERIAL_SERVER[0]}:{SERIAL_SERVER[1]}"
interval = "1s"
[sensor.web-1]
driver = "json_http"
map = "airgradient"
url = "http://{WEB[0]}:{WEB[1]}/measures/current"
interval = "1s"
[sensor.camera-1]
driver = "json_mqtt"
map = "airgradient"
server = "mqtt://127.0.0.1:1883"
topic = "site/node"
interval = "1s"
[sensor.sound-1]
driver = "alsa_slm"
device = "microphone"
calibration_db = 0.0
interval = "1s"
"""
WITH_ENDPOINT = f"""
[endpoint]
listen = "{ENDPOINT}"
[sensor.post-1]
driver = "json_http"
map = "airgradient"
interval = "10s"
"""


def state(sensor: str) -> dict[str, Any]:
    """What the daemon says of a sensor; of one that it does not know yet, that nothing has happened."""
    found: dict[str, Any] = sensors().get(sensor, {"last": {}, "errors": {}})
    return found


def last(sensor: str, quantity: str) -> float | None:
    """The newest value of a sensor; None before the first one."""
    value: float | None = state(sensor)["last"].get(quantity)
    return value


def heard() -> dict[str, Any] | None:
    """The state of the tag's sensor once it has a value."""
    found = state("tag-1")
    return found if found["last"] else None


def ports() -> list[str]:
    """The addresses on which the daemon listens."""
    mine = re.compile(rf"\bpid={show('MainPID')},")
    return [line.split()[4] for line in run("ss", "-Hlntup").splitlines() if mine.search(line)]


@proof
def as_it_ships_it_reads_each_kind_but_microphones_and_what_is_posted() -> None:
    ETC.joinpath("edgegw.toml").write_text(CONFIGURATION + BY_DEFAULT)
    run("systemctl", "start", "edgegw")
    assert until("the serial port", lambda: last("air-1", "pm10")) == 41.0
    assert until("the serial server", lambda: last("dust-1", "pm10")) == 41.0
    assert until("the web device", lambda: last("web-1", "temperature")) == 20.5
    assert until("the device on the site's broker", lambda: last("camera-1", "temperature")) == 20.5


@proof
def it_hears_a_bluetooth_tag_though_bluez_lets_only_a_group_in() -> None:
    tag = until("the tag", heard)
    assert tag["last"]["temperature"] == 24.3, tag
    assert tag["bluetooth"]["scanning"] == "passive", tag


@proof
def a_microphone_is_refused() -> None:
    until("the refusal", lambda: "permission" in state("sound-1")["errors"])
    assert last("sound-1", "laeq") is None


@proof
def no_port_is_open_while_no_endpoint_is_configured() -> None:
    assert ports() == []
    run("systemctl", "stop", "edgegw")


@proof
def with_the_drop_in_for_sound_it_measures_a_microphone() -> None:
    for name in ("audio", "endpoint"):
        shutil.copy(SHIPPED / f"{name}.conf", DROP_INS)
    run("systemctl", "daemon-reload")
    ETC.joinpath("edgegw.toml").write_text(CONFIGURATION + BY_DEFAULT + WITH_ENDPOINT)
    run("systemctl", "start", "edgegw")
    level = until("the microphone", lambda: last("sound-1", "laeq"))
    assert abs(level - 94.0) < 0.2, level


@proof
def with_the_drop_in_for_the_endpoint_it_is_posted_to_there_and_nowhere_else() -> None:
    assert until("the endpoint", ports) == [ENDPOINT]
    document = Request(f"http://{ENDPOINT}/push/post-1", data=json.dumps(NODE).encode(), method="POST")
    with urlopen(document, timeout=PATIENCE) as answer:
        assert answer.status == 200
    assert until("what was posted", lambda: last("post-1", "temperature")) == 20.5


@proof
def all_of_them_arrive_upstream() -> None:
    kinds = {"air-1", "dust-1", "web-1", "camera-1", "tag-1", "sound-1", "post-1"}
    until("each", lambda: kinds <= {sensor for (sensor,) in upstream("select distinct sensor from readings")})


@proof
def with_both_drop_ins_everything_else_stays_refused() -> None:
    run("systemctl", "stop", "edgegw")
    may = sandboxed("# with the drop-ins")
    for refused in REFUSED:
        assert "Error" in may[refused], (refused, may)
    assert may["listen"] == "True", may
    assert may["capabilities"] == "0000000000000000", may
