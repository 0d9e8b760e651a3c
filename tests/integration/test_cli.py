from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from keeping import GATEWAY, KEY, fill, keeper

from edgegw import __version__
from edgegw.cli.main import main
from edgegw.control import ControlServer
from edgegw.problems import Exit
from edgegw.simulate.authority import Authority, Validity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

CONFIG = '[gateway]\nid = "box-1"\n[store]\npath = "store"\nrequire_persistent = false\n[control]\nsocket = "c.sock"\n'
SENSOR = '[sensor.air-1]\ndriver = "sds011"\nport = "/dev/serial/by-id/a"\n'


def edgegw(
    *arguments: object, env: dict[str, str] | None = None, **kwargs: Any
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgegw.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(env or {})},
        **kwargs,
    )


def error(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one JSON line on stderr."""
    (line,) = done.stderr.splitlines()
    found: dict[str, Any] = json.loads(line)
    assert found["type"] == "error"
    assert found["exit_code"] == done.returncode
    assert found.keys() >= {"type", "code", "exit_code", "what", "why", "todo"}
    return found


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "edgegw.toml"
    file.write_text(CONFIG)
    return file


# What every command has in common


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["spool", "-h"], ["identity", "install", "--help"]])
def test_help_is_printed_on_stdout(words: Sequence[str]) -> None:
    done = edgegw(*words)
    assert done.returncode == Exit.DONE
    assert done.stdout.startswith("Usage: edgegw")
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert done.stderr == ""


def test_the_version_is_printed() -> None:
    assert edgegw("--version").stdout == f"edgegw {__version__}\n"


def test_help_starts_without_heavy_libraries() -> None:
    code = (
        "import sys; from edgegw.cli.main import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"pymodbus", "paho", "cryptography", "rich", "pydantic", "serial", "sqlite3", "cbor2"}
    assert not heavy & set(done.stderr.split())


def test_every_command_that_help_names_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    for group in ([], ["sensors"], ["drivers"], ["spool"], ["identity"], ["uplink"]):
        assert main([*group, "--help"]) == Exit.DONE
        listed = capsys.readouterr().out.partition("Commands:\n")[2].partition("\n\n")[0]
        names = [line.split()[0] for line in listed.splitlines() if line[2] != " "]
        assert names
        for name in names:
            assert main([*group, name, "--help"]) == Exit.DONE
            assert capsys.readouterr().out.startswith(f"Usage: edgegw {' '.join([*group, name])} ")


@pytest.mark.parametrize(
    ("words", "what", "todo"),
    [
        (["nonsense"], "no such command 'nonsense'", "edgegw --help"),
        (["spool", "nonsense"], "no such command 'nonsense'", "edgegw spool --help"),
        (["spool"], "missing command", "edgegw spool --help"),
        (["check", "--stict"], "no such option: --stict", "edgegw check --help"),
        (["verify"], "missing", "edgegw verify --help"),
        (["spool", "inspect", "--count", "many"], "--count", "edgegw spool inspect --help"),
    ],
)
def test_wrong_usage_names_the_help_that_helps(words: Sequence[str], what: str, todo: str) -> None:
    done = edgegw(*words, "--json")
    assert done.returncode == Exit.USAGE
    found = error(done)
    assert found["code"] == "EG-USAGE"
    assert what in found["what"]
    assert found["todo"] == [todo]


@pytest.mark.parametrize(
    "words",
    [
        ["--json", "--config", "FILE", "check"],
        ["check", "--json", "--config", "FILE"],
        ["-c", "FILE", "check", "--json"],
        ["--json", "check", "--config=FILE"],
        ["--json", "identity", "-c", "FILE", "show"],
        ["identity", "show", "-c", "FILE", "--json"],
    ],
)
def test_common_options_stand_before_or_after_the_command(config: Path, words: Sequence[str]) -> None:
    done = edgegw(*[word.replace("FILE", str(config)) for word in words])
    assert json.loads(done.stdout)


def test_an_error_is_text_on_stderr_and_no_stack_trace(tmp_path: Path) -> None:
    done = edgegw("check", tmp_path / "missing.toml")
    assert done.returncode == Exit.CONFIGURATION
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {tmp_path}/missing.toml does not exist [EG-CONFIG-MISSING]\n")
    assert "Traceback" not in done.stderr
    assert "Traceback" in edgegw("-vv", "check", tmp_path / "missing.toml").stderr


def test_a_reader_that_leaves_early_is_no_error(config: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m edgegw.cli -c {config} check --json | true; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "EG-INTERNAL" not in done.stderr


@pytest.mark.parametrize("no_color", [True, False])
def test_colour_and_frames_only_on_a_terminal(config: Path, no_color: bool) -> None:
    config.write_text(CONFIG + SENSOR)
    assert "\x1b" not in edgegw("check", config).stdout
    master, slave = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", **({"NO_COLOR": "1"} if no_color else {})}
    done = subprocess.run(
        [sys.executable, "-m", "edgegw.cli", "check", str(config)], stdout=slave, env=env, check=False
    )
    os.close(slave)
    shown = b""
    try:
        while piece := os.read(master, 65536):
            shown += piece
    except OSError:  # a pty whose other end is closed says EIO when it is empty
        pass
    os.close(master)
    assert done.returncode == 0
    assert "air-1" in shown.decode()
    assert all(
        len(line) <= 80 for line in shown.decode().replace("\r", "").splitlines() if "\x1b" not in line
    )
    if no_color:
        assert b"\x1b[3" not in shown


# check


def test_check_prints_the_effective_sensors(config: Path) -> None:
    config.write_text(CONFIG + SENSOR + 'stale_after = "5x"\n')
    done = edgegw("check", config)
    assert done.returncode == Exit.DONE
    assert done.stdout.splitlines()[1].split() == ["air-1", "sds011", "/dev/serial/by-id/a", "10s", "50s"]
    found = json.loads(edgegw("check", config, "--json").stdout)
    assert found["valid"] is True
    assert found["sensors"][0] == {
        "id": "air-1",
        "driver": "sds011",
        "enabled": True,
        "port": "/dev/serial/by-id/a",
        "host": None,
        "unit": 1,
        "interval_s": 10.0,
        "stale_after_s": 50.0,
        "options": {},
    }


def test_check_lists_every_mistake_with_its_line(config: Path) -> None:
    config.write_text(CONFIG + "nonsense = 1\n" + SENSOR + 'interval = "10"\n')
    done = edgegw("check", config)
    assert done.returncode == Exit.CONFIGURATION
    assert f"{config}:8: control.nonsense: unknown key" in done.stderr
    assert f"{config}:12: sensor.air-1.interval: has no unit" in done.stderr
    found = error(edgegw("check", config, "--json"))
    assert [(each["line"], each["path"]) for each in found["mistakes"]] == [
        (8, "control.nonsense"),
        (12, "sensor.air-1.interval"),
    ]


def test_check_strict_refuses_notes(config: Path) -> None:
    done = edgegw("check", config)
    assert done.returncode == Exit.DONE
    assert "note:" in done.stderr  # no uplink
    assert edgegw("check", config, "--strict").returncode == Exit.CONFIGURATION
    assert "note:" not in edgegw("check", config, "-q").stderr


def test_check_takes_a_lone_drop_in(tmp_path: Path) -> None:
    (tmp_path / "air.toml").write_text(SENSOR)
    assert edgegw("check", tmp_path / "air.toml").returncode == Exit.DONE


def test_check_refuses_a_store_that_a_power_cut_empties(config: Path) -> None:
    config.write_text(
        CONFIG.replace("require_persistent = false\n", "").replace('"store"', '"/dev/shm/edgegw"')
    )
    done = edgegw("check", config)
    assert done.returncode == Exit.CONFIGURATION
    assert f"{config}:4: store.path: /dev/shm/edgegw is on tmpfs: a power cut takes everything" in done.stderr


# identity


def test_an_identity_is_made_requested_installed_and_shown(config: Path, tmp_path: Path) -> None:
    authority = Authority()
    authority.write(tmp_path / "ca.crt")
    config.write_text(CONFIG + '[uplink]\nserver = "mqtts://b"\nca = "file:ca.crt"\nreceipts = "none"\n')
    assert edgegw("identity", "show", "-c", config).returncode == Exit.IDENTITY
    made = json.loads(edgegw("identity", "init", "-c", config, "--json").stdout)
    assert made == {"gateway": "box-1", "made": [f"{tmp_path}/tls.key", f"{tmp_path}/sign.key"]}
    request = edgegw("identity", "csr", "-c", config).stdout
    (tmp_path / "new.crt").write_bytes(authority.sign_request(request.encode(), Validity(-1, 365)))
    done = edgegw("identity", "install", tmp_path / "new.crt", "-c", config, "--json")
    assert done.returncode == Exit.DONE
    assert json.loads(done.stdout)["installed"] == f"file:{tmp_path}/tls.crt"
    shown = edgegw("identity", "show", "-c", config, "--json")
    assert shown.returncode == Exit.DONE
    found = json.loads(shown.stdout)
    assert found["gateway"] == "box-1"
    assert found["tls"]["days_left"] in (364, 365)
    assert len(found["signing"]["kid"]) == 16
    public = edgegw("identity", "show", "--public-key", "-c", config).stdout
    assert public.startswith("-----BEGIN PUBLIC KEY-----\n")
    assert public.endswith("-----END PUBLIC KEY-----\n")


def test_a_second_init_is_refused_because_it_would_lose_something(config: Path) -> None:
    edgegw("identity", "init", "-c", config)
    done = edgegw("identity", "init", "-c", config, "--json")
    assert done.returncode == Exit.REFUSED
    assert error(done)["safe"] == "nothing was changed"
    assert edgegw("identity", "init", "--force", "-c", config).returncode == Exit.DONE


def test_a_foreign_certificate_is_refused(config: Path, tmp_path: Path) -> None:
    edgegw("identity", "init", "-c", config)
    (tmp_path / "foreign.crt").write_bytes(Authority().client("box-1").certificate)
    done = edgegw("identity", "install", tmp_path / "foreign.crt", "-c", config, "--json")
    assert done.returncode == Exit.IDENTITY
    assert "another key" in error(done)["what"]
    assert not (tmp_path / "tls.crt").exists()


def test_a_certificate_that_is_not_there_is_a_wrong_name_and_no_reason_to_make_new_keys(config: Path) -> None:
    edgegw("identity", "init", "-c", config)
    done = edgegw("identity", "install", "nothing.crt", "-c", config, "--json")
    assert done.returncode == Exit.USAGE
    assert error(done)["code"] == "EG-FILE"
    assert not [step for step in error(done)["todo"] if "init" in step]


# drivers


def test_drivers_are_listed_with_what_they_read_and_info_ends_with_a_table_to_begin_with() -> None:
    found = {each["name"]: each["reads"] for each in json.loads(edgegw("drivers", "list", "--json").stdout)}
    assert found["sds011"].startswith("Nova SDS011")
    assert all(found.values())
    shown = edgegw("drivers", "info", "ble_presence").stdout
    assert '[sensor.square-1]\ndriver = "ble_presence"\n' in shown


def test_drivers_are_listed_with_the_package_that_brings_them() -> None:
    found = json.loads(edgegw("drivers", "list", "--json").stdout)
    (sds011,) = [each for each in found if each["name"] == "sds011"]
    assert sds011["package"] == "edgegw"
    assert (sds011["kind"], sds011["error"]) == ("stream", "")


def test_a_driver_says_what_it_reads_and_which_options_it_has() -> None:
    found = json.loads(edgegw("drivers", "info", "sds011", "--json").stdout)
    assert {"name": "pm2_5", "unit": "ug/m3", "mean": "mean"} in found["quantities"]
    assert "mode" in [option["name"] for option in found["options"]]
    assert "pm2_5" in edgegw("drivers", "info", "sds011").stdout


def test_an_unknown_driver_is_named_with_a_suggestion() -> None:
    done = edgegw("drivers", "info", "sds01", "--json")
    assert done.returncode == Exit.SENSOR
    assert "did you mean 'sds011'?" in error(done)["what"]


FRAME = "aac0d4043a0aa1601dab"


@pytest.mark.parametrize(
    ("words", "piped"),
    [
        ([FRAME], ""),
        (["AA", "C0", "D4", "04", "3A", "0A", "A1", "60", "1D", "AB"], ""),
        (["aa:c0:d4:04:3a:0a:a1:60:1d:ab"], ""),
        (["-"], f"{FRAME}\n"),
        (["--layer", "uart-stream", f"00ff{FRAME}00"], ""),
        (["--option", "mode=listen", "--", FRAME], ""),
    ],
)
def test_captured_bytes_are_decoded_line_by_line(words: Sequence[str], piped: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgegw.cli", "drivers", "decode", "sds011", *words],
        capture_output=True,
        text=True,
        check=False,
        input=piped,
    )
    assert done.returncode == Exit.DONE
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(each["quantity"], each["value"], each["unit"]) for each in found] == [
        ("pm2_5", 123.6, "ug/m3"),
        ("pm10", 261.8, "ug/m3"),
    ]


def test_a_frame_that_gives_no_reading_says_why_and_exits_6() -> None:
    done = edgegw("drivers", "decode", "sds011", FRAME.replace("1dab", "1eab"), "--json")
    assert done.returncode == Exit.SENSOR
    assert json.loads(done.stdout) == {"error": "checksum"}
    assert error(done)["code"] == "EG-DECODE-NOTHING"


@pytest.mark.parametrize("words", [["nobody", "aa"], ["sds011", "xx"], ["sds011", "aa", "--option", "mode"]])
def test_what_cannot_be_decoded_at_all_is_an_error(words: Sequence[str]) -> None:
    done = edgegw("drivers", "decode", *words, "--json")
    assert error(done)["exit_code"] == (Exit.SENSOR if words[0] == "nobody" else Exit.USAGE)
    assert done.stdout == ""


# run --once


def test_each_sensor_is_read_once_and_a_silent_one_is_named(config: Path) -> None:
    config.write_text(CONFIG + '[sensor.air-1]\ndriver = "sds011"\nport = "/dev/none-of-it"\n')
    done = edgegw("run", "--once", "--no-uplink", "-c", config, "--json")
    assert done.returncode == Exit.SENSOR
    (found,) = json.loads(done.stdout)
    assert (found["id"], found["state"], found["readings"]) == ("air-1", "unplugged", [])
    assert not (config.parent / "store").exists()


async def test_a_port_that_the_daemon_holds_is_not_blamed_on_another_program(
    config: Path, tmp_path: Path
) -> None:
    text = CONFIG + '[sensor.air-1]\ndriver = "sds011"\nport = "/dev/none-of-it"\n'
    await asyncio.to_thread(config.write_text, text)

    async def status(_: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    daemon = ControlServer(tmp_path / "c.sock", {"status": status}, {})
    await daemon.start()
    done = await asyncio.to_thread(edgegw, "run", "--once", "--no-uplink", "-c", config)
    await daemon.stop()
    assert done.returncode == Exit.SENSOR
    assert "The daemon runs and holds the ports of its sensors." in done.stderr
    assert "systemctl stop edgegw" in done.stderr


# simulate


def test_the_directory_of_a_gateway_is_not_taken_for_a_simulation(config: Path, tmp_path: Path) -> None:
    edgegw("identity", "init", "-c", config)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    done = edgegw("simulate", "--dir", tmp_path, "--once", "--no-broker", "--json")
    assert done.returncode == Exit.REFUSED
    assert error(done)["safe"] == "nothing was changed"
    config.unlink()
    assert edgegw("simulate", "--dir", tmp_path, "--once", "--no-broker").returncode == Exit.REFUSED
    config.write_bytes(before[config.name])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_directory_that_cannot_be_made_is_a_wrong_name_and_no_defect(config: Path) -> None:
    done = edgegw("simulate", "--dir", config / "below-a-file", "--json")
    assert done.returncode == Exit.USAGE
    assert error(done)["code"] == "EG-FILE"


# Without a daemon


def test_without_a_daemon_status_shows_the_store_and_exits_3(config: Path) -> None:
    done = edgegw("status", "--json", "-c", config)
    assert done.returncode == Exit.NOT_RUNNING
    assert error(done)["code"] == "EG-NOT-RUNNING"
    assert json.loads(done.stdout)["link"]["state"] == "offline"
    plain = edgegw("-c", config)
    assert plain.returncode == Exit.NOT_RUNNING
    assert len(plain.stdout.splitlines()) == 6


def test_the_spool_is_inspected_and_verified_without_a_daemon(config: Path, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    from edgegw.simulate.authority import write_private

    config.write_text(CONFIG.replace("box-1", GATEWAY))
    write_private(tmp_path / "sign.key", KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert edgegw("spool", "verify", "-c", config).returncode == Exit.STORE  # there is none yet
    log = keeper(tmp_path / "store")
    fill(log, 3)
    log.close()
    stats = edgegw("spool", "stats", "-c", config, "--json")
    assert stats.returncode == Exit.NOT_RUNNING
    assert json.loads(stats.stdout)["backlog"]["readings"] == 300
    lines = edgegw("spool", "inspect", "--from", 100, "-n", 1, "--json", "-c", config).stdout.splitlines()
    assert [json.loads(line)["first"] for line in lines] == [100]
    assert json.loads(lines[0])["records"][0]["value"] == 10.0
    assert "100" in edgegw("spool", "inspect", "--records", "-c", config, "--from", 100).stdout
    done = edgegw("spool", "verify", "-c", config, "--json")
    assert done.returncode == Exit.DONE
    assert json.loads(done.stdout)["proven"] == 300
    import sqlite3

    with sqlite3.connect(tmp_path / "store" / "edgegw.db") as connection:
        connection.execute("UPDATE batch SET message = zeroblob(length(message)) WHERE first = 100")
    connection.close()
    done = edgegw("spool", "verify", "-c", config)
    assert done.returncode == Exit.VERIFICATION_FAILED
    assert "at 100: malformed" in done.stdout
    assert edgegw("spool", "inspect", "-c", config, "--from", 0).returncode == Exit.VERIFICATION_FAILED


def test_a_store_that_is_no_database_is_not_sent_round_in_circles(config: Path, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "edgegw.db").write_bytes(b"garbage" * 2000)
    done = edgegw("spool", "verify", "-c", config, "--json")
    assert done.returncode == Exit.STORE
    assert error(done)["code"] == "EG-STORE-DAMAGED"
    assert not [step for step in error(done)["todo"] if "spool verify" in step]


def test_without_a_daemon_that_is_said_once_and_nothing_is_invented(config: Path) -> None:
    done = edgegw("status", "-c", config)
    assert done.returncode == Exit.NOT_RUNNING
    assert (done.stdout + done.stderr).count("EG-NOT-RUNNING") == 1
    assert "link      offline; 0 of 0" in done.stdout


def test_a_daemon_that_cannot_start_tells_the_exit_code(config: Path) -> None:
    config.write_text(CONFIG + "nonsense = 1\n")
    assert edgegw("run", "-c", config).returncode == Exit.CONFIGURATION


# verify


def test_saved_messages_are_verified_offline(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    log = keeper(tmp_path / "store")
    fill(log, 3)
    found = [batch.message for batch in log.batches_from(0, 1 << 24)]
    log.close()
    folder = tmp_path / "keys"
    folder.mkdir()
    (folder / f"{GATEWAY}.pem").write_bytes(
        KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    for number, message in enumerate(found):
        (tmp_path / f"{number}.cose").write_bytes(message)
    files = [tmp_path / f"{number}.cose" for number in range(3)]
    done = edgegw("verify", *files, "--keys", folder)
    assert done.returncode == Exit.DONE
    assert "300 of 300 records proven" in done.stdout
    incomplete = edgegw("verify", files[0], files[2], "--keys", folder, "--json")
    assert incomplete.returncode == Exit.VERIFICATION_INCOMPLETE
    assert [
        each["gaps"] for each in map(json.loads, incomplete.stdout.splitlines()) if each["type"] == "log"
    ] == [[[100, 200]]]
    files[1].write_bytes(found[1][:-1] + bytes([found[1][-1] ^ 1]))
    failed = edgegw("verify", *files, "--keys", folder)
    assert failed.returncode == Exit.VERIFICATION_FAILED
    assert "1.cose at 0: refused (signature)" in failed.stdout
    assert edgegw("verify", tmp_path / "none", "--keys", folder).returncode == Exit.USAGE
    assert edgegw("verify", *files, "--keys", tmp_path / "none").returncode == Exit.USAGE


# receive and simulate: their own tests are elsewhere, here is what they are told


def test_receive_needs_all_of_its_options_or_a_file(tmp_path: Path) -> None:
    found = error(edgegw("receive", "--server", "mqtts://b", "--ca", "x", "--json"))
    assert found["what"] == "missing: --cert, --key, --keys, --signing-key, --store"
    done = edgegw("receive", "-c", tmp_path / "none.toml", "--json")
    assert error(done)["exit_code"] == Exit.CONFIGURATION
    words = [
        "--ca",
        "x",
        "--cert",
        "x",
        "--key",
        "x",
        "--keys",
        "x",
        "--signing-key",
        "x",
        "--store",
        "sqlite:///x",
    ]
    assert "--server is mqtt://" in error(edgegw("receive", "--server", "mqtt://b", *words, "--json"))["what"]


def test_simulate_needs_a_directory() -> None:
    assert edgegw("simulate").returncode == Exit.USAGE
