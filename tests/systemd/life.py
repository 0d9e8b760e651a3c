"""The daemon's life under systemd: it starts, reads, is reloaded, killed, hangs, stops. In this order, on one daemon."""

from __future__ import annotations

import stat
from pathlib import Path

from systemd.rig import CONFIGURATION, ETC, SOCKET, proof, run, sensors, show, status, until
from systemd.world import ENDS, held, upstream

from edgegw.clock import SystemClock


@proof
def it_says_that_it_is_ready() -> None:
    run("systemctl", "log-level", "debug")  # systemd then tells each notification to the journal
    run("systemctl", "start", "edgegw")
    assert (show("ActiveState"), show("SubState")) == ("active", "running")
    assert "sensors" in show("StatusText"), show("StatusText")


@proof
def its_directories_are_closed_to_others() -> None:
    for directory, mode in (("/var/lib/edgegw", 0o700), ("/run/edgegw", 0o750)):
        assert (Path(directory).owner(), stat.S_IMODE(Path(directory).stat().st_mode)) == ("edgegw", mode)
    assert stat.S_IMODE(SOCKET.stat().st_mode) == 0o660


@proof
def it_reads_the_serial_port() -> None:
    until("a reading", lambda: sensors()["air-1"]["last"] == {"pm2_5": 30.8, "pm10": 41.0})
    assert sensors()["air-1"]["state"] in {"warm_up", "ok"}, sensors()


@proof
def it_knows_the_state_of_the_clock() -> None:
    assert status()["clock"]["state"] == SystemClock().discipline().sync.name.lower(), status()


@proof
def what_it_reads_arrives_upstream_and_comes_back_as_receipts() -> None:
    until("receipts", lambda: status()["log"]["receipted"] > 10)
    assert status()["link"]["state"] == "online"
    assert ("air-1", "pm2_5", 30.8) in upstream("select sensor, quantity, value from readings")


@proof
def a_good_configuration_is_taken_over_while_it_runs() -> None:
    pid = show("MainPID")
    second = CONFIGURATION.replace("[sensor.air-1]", "[sensor.air-2]")
    ETC.joinpath("edgegw.toml").write_text(second)
    run("systemctl", "reload", "edgegw")
    until("the new sensor", lambda: list(sensors()) == ["air-2"] and sensors()["air-2"]["last"])
    assert (show("MainPID"), show("ActiveState")) == (pid, "active")


@proof
def a_bad_configuration_is_refused_and_the_old_one_stays() -> None:
    pid = show("MainPID")
    ETC.joinpath("edgegw.toml").write_text("[gateway]\nid = 7\n[sensor.x]\n")
    run("systemctl", "reload", "edgegw")
    until("the problem", lambda: "EG-CONFIG-RELOAD" in [each["code"] for each in status()["problems"]])
    size = status()["log"]["size"]
    until("more readings of the old one", lambda: status()["log"]["size"] > size)
    assert list(sensors()) == ["air-2"]
    assert until("the end of the reload", lambda: show("ActiveState") == "active")
    assert show("MainPID") == pid
    ETC.joinpath("edgegw.toml").write_text(CONFIGURATION)


@proof
def killed_it_starts_again_and_what_was_accepted_arrives_once() -> None:
    size, restarts = status()["log"]["size"], int(show("NRestarts"))
    run("systemctl", "kill", "--kill-whom=main", "--signal=SIGKILL", "edgegw")
    restarted(restarts)
    until("receipts for all that was accepted", lambda: status()["log"]["receipted"] >= size)
    until("each record upstream once", lambda: held() >= size)


@proof
def hanging_it_is_restarted_by_the_watchdog() -> None:
    restarts = int(show("NRestarts"))
    run("systemctl", "kill", "--kill-whom=main", "--signal=SIGSTOP", "edgegw")
    restarted(restarts)
    said = run("journalctl", "--unit=edgegw", "--output=cat")
    assert "Watchdog timeout" in said
    assert "Fatal Python error: Aborted" in said
    assert 'File "/opt/edgegw/' in said, "where it hung"


@proof
def stopped_it_leaves_a_log_that_is_complete_upstream() -> None:
    until("readings of this run", lambda: sensors()["air-1"]["last"])
    run("systemctl", "stop", "edgegw")
    assert (show("Result"), show("ExecMainStatus")) == ("success", "0")
    assert not SOCKET.parent.exists()
    assert Path("/var/lib/edgegw").exists()
    until("the whole log upstream, with receipts", lambda: upstream(ENDS) == [(held(), held(), 0)])


@proof
def it_told_systemd_of_its_start_its_life_its_reloads_and_its_end() -> None:
    told = run("journalctl", "_PID=1", "-o", "cat", "--grep=Got notification message")
    for word in ("READY=1", "WATCHDOG=1", "RELOADING=1", "STOPPING=1", "STATUS="):
        assert word in told, f"{word} is not in: {told[-2000:]}"


def restarted(restarts: int) -> None:
    """Wait for one more restart than `restarts`, and for READY."""
    until("a restart", lambda: int(show("NRestarts")) > restarts and show("ActiveState") == "active")
    until("an answer", lambda: status()["log"]["size"])
