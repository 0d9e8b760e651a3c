"""`edgegw drivers new`: what it writes works at once, as a package of somebody else or as a profile or map."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from edgegw import skeleton
from edgegw.problems import Exit

ROOT = Path(__file__).parents[2]
#: Far longer than a healthy machine needs.
PATIENCE_S = 240.0
NAME = "acme_air"
# What each kind's invented device says, for the shell, and the value of it.
SAID = {
    "stream": ("a55a007b007a", {"quantity": "pm2_5", "value": 12.3}),
    "ask": ("aa01029a47", {"quantity": "co2", "value": 666}),
    "poll": ("00e701f4", {"quantity": "temperature", "value": 23.1}),
    "advert": ("012a09605a07", {"quantity": "temperature", "value": 23.46}),
    "message": (
        '{"serial": "A1", "temperature": 21.5, "humidity": 48}',
        {"quantity": "temperature", "value": 21.5},
    ),
}

each_package = pytest.mark.parametrize("kind", skeleton.PACKAGES)


def python(
    *arguments: object, site: Path | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        stdin=subprocess.DEVNULL,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(site or "")},
    )


def edgegw(*arguments: object, site: Path | None = None) -> subprocess.CompletedProcess[str]:
    return python("-m", "edgegw.cli", *arguments, site=site)


def new(tmp_path: Path, kind: str, name: str = NAME) -> Path:
    done = edgegw("drivers", "new", name, "--kind", kind, "--dir", tmp_path, "--json")
    assert done.returncode == Exit.DONE, done.stderr
    found = json.loads(done.stdout)
    assert all(Path(file).is_file() for file in found["files"])
    assert found["todo"]
    return Path(found["path"])


def installed(package: Path, site: Path) -> Path:
    """Install a package as pip leaves it: its files and its metadata, from its own pyproject.toml."""
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    folder = package / f"edgegw_{NAME}"
    for file in folder.iterdir():
        if file.is_file():
            (site / folder.name).mkdir(parents=True, exist_ok=True)
            (site / folder.name / file.name).write_bytes(file.read_bytes())
    info = site / f"edgegw_{NAME}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1.0\n")
    lines = [f"{name} = {value}" for name, value in project["entry-points"]["edgegw.drivers"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[edgegw.drivers]", *lines, ""]))
    return site


def sensors(folder: Path, text: str) -> Path:
    file = folder / "edgegw.toml"
    file.write_text(f'[gateway]\nid = "box-1"\n\n{text}')
    return file


# Packages


@each_package
def test_a_new_package_is_listed_decodes_and_its_sample_is_accepted(tmp_path: Path, kind: str) -> None:
    package = new(tmp_path, kind)
    site = installed(package, tmp_path / "site")
    done = edgegw("drivers", "list", "--json", site=site)
    assert done.returncode == Exit.DONE, done.stdout
    (row,) = [each for each in json.loads(done.stdout) if each["name"] == NAME]
    assert (row["kind"], row["package"], row["error"]) == (kind, "edgegw-acme-air", "")
    given, said = SAID[kind]
    done = edgegw("drivers", "decode", NAME, given, site=site)
    assert done.returncode == Exit.DONE, done.stderr
    assert json.loads(done.stdout.splitlines()[0]).items() >= said.items()
    sample = (package / f"edgegw_{NAME}" / "sample.toml").read_text()
    done = edgegw("check", "--json", sensors(tmp_path, sample), site=site)
    assert done.returncode == Exit.DONE, done.stderr
    assert [each["driver"] for each in json.loads(done.stdout)["sensors"]] == [NAME]


@each_package
def test_its_own_tests_pass_at_once_with_pytest_alone(tmp_path: Path, kind: str) -> None:
    package = new(tmp_path, kind)
    site = installed(package, tmp_path / "site")
    # Without the plug-ins of this project: somebody else has none of them.
    plain = [
        "-p",
        "no:cacheprovider",
        "-p",
        "no:asyncio",
        "-p",
        "no:timeout",
        "-p",
        "no:xdist",
        "-p",
        "no:hypothesispytest",
    ]
    done = python("-m", "pytest", "-q", "-W", "error", *plain, site=site, cwd=package)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "skipped" not in done.stdout


@each_package
def test_the_contract_suite_of_this_project_holds_it_too(tmp_path: Path, kind: str) -> None:
    site = installed(new(tmp_path, kind), tmp_path / "site")
    suite = ROOT / "tests" / "drivers" / "test_contract.py"
    options = ["-q", "-p", "no:cacheprovider", "-k", f"{NAME} or every_installed"]
    done = python("-m", "pytest", *options, suite, site=site)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "skipped" not in done.stdout


@each_package
def test_its_code_is_clean_under_its_own_rules_and_ours(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("ruff")
    package = new(tmp_path, kind)
    ours = ["--config", ROOT / "pyproject.toml"]
    for options in (["check", "."], ["format", "--check", "."], ["check", *ours, f"edgegw_{NAME}"]):
        done = python("-m", "ruff", *options, "--no-cache", cwd=package)
        assert done.returncode == 0, done.stdout + done.stderr


def test_their_types_are_strict(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    packages = [new(tmp_path, kind, f"acme_{kind}") for kind in skeleton.PACKAGES]
    # One run for all: most of its time goes to the gateway's own modules.
    folders = [
        folder
        for package in packages
        for folder in (package / package.name.replace("-", "_"), package / "tests")
    ]
    config = ["--config-file", packages[0] / "pyproject.toml", "--cache-dir", tmp_path / "cache"]
    path = os.pathsep.join(map(str, packages))
    done = python("-m", "mypy", *config, *folders, cwd=tmp_path, site=Path(path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no issues found in 15 source files" in done.stdout


@pytest.mark.skipif(
    not (importlib.util.find_spec("hatchling") and importlib.util.find_spec("pip")),
    reason="pip and hatchling are not in this environment: the package is installed by hand only",
)
def test_pip_installs_it_and_it_is_found(tmp_path: Path) -> None:
    package = new(tmp_path, "stream")
    options = ["--no-index", "--no-build-isolation", "--no-deps", "--disable-pip-version-check"]
    done = python("-m", "pip", "install", *options, "--target", tmp_path / "site", package)
    assert done.returncode == 0, done.stderr
    listed = json.loads(edgegw("drivers", "list", "--json", site=tmp_path / "site").stdout)
    assert [each["error"] for each in listed if each["name"] == NAME] == [""]
    for file in ("README.md", "sample.toml", "facts.json", "py.typed"):
        assert (tmp_path / "site" / f"edgegw_{NAME}" / file).exists()


@pytest.mark.skipif(
    not (importlib.util.find_spec("hatchling") and importlib.util.find_spec("build")),
    reason="build and hatchling are not in this environment: no wheel can be made here",
)
def test_the_templates_are_in_the_wheel(tmp_path: Path) -> None:
    done = python("-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    templates = {file.relative_to(ROOT).as_posix() for file in skeleton.TEMPLATES.rglob("*.in")}
    assert templates
    assert templates <= names


def test_the_templates_are_data_of_the_package_and_no_code_of_it() -> None:
    # The wheel takes whatever lies in the folder of the package; what ends in .py would be imported and linted.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "edgegw" in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert skeleton.TEMPLATES.parent == ROOT / "edgegw"
    assert {file.suffix for file in skeleton.TEMPLATES.rglob("*") if file.is_file()} == {".in"}
    assert {file.name for file in skeleton.TEMPLATES.iterdir() if file.is_dir()} == set(skeleton.PACKAGES)


# Profiles and maps


def test_a_new_profile_is_taken_by_the_modbus_driver_with_its_examples(tmp_path: Path) -> None:
    file = new(tmp_path, "modbus-profile", "acme-th")
    assert file == tmp_path / "acme-th.toml"
    table = f'[sensor.a-1]\ndriver = "modbus"\nprofile = "file:{file}"\nport = "/dev/ttyUSB0"\nunit = 1\n'
    done = edgegw("check", sensors(tmp_path, table))
    assert done.returncode == Exit.DONE, done.stderr
    given = ["--layer", "modbus-registers", "-o", f"profile=file:{file}", "00e701f4"]
    done = edgegw("drivers", "decode", "modbus", *given)
    assert [json.loads(line)["value"] for line in done.stdout.splitlines()] == [23.1, 50.0]
    # Its examples are decoded: a wrong one is a mistake with its place.
    file.write_text(file.read_text().replace("temperature = 23.1", "temperature = 23.2"))
    done = edgegw("check", sensors(tmp_path, table))
    assert done.returncode == Exit.CONFIGURATION
    assert "acme-th.toml" in done.stderr


def test_a_new_map_is_taken_by_the_drivers_of_documents_with_its_examples(tmp_path: Path) -> None:
    file = new(tmp_path, "json-map", "acme-node")
    table = f'[sensor.a-1]\ndriver = "json_http"\nmap = "file:{file}"\nurl = "http://192.168.4.30/now"\n'
    done = edgegw("check", sensors(tmp_path, table))
    assert done.returncode == Exit.DONE, done.stderr
    document = '{"serial": "A1", "air": {"temperature": 21.5, "humidity": 480}}'
    done = edgegw("drivers", "decode", "json_http", "-o", f"map=file:{file}", document)
    assert [json.loads(line)["value"] for line in done.stdout.splitlines()] == [21.5, 48.0]


# What it refuses


@pytest.mark.parametrize("kind", [*skeleton.PACKAGES, *skeleton.FILES])
def test_nothing_is_overwritten(tmp_path: Path, kind: str) -> None:
    name = "acme" if kind in skeleton.PACKAGES else "acme-th"
    there = new(tmp_path, kind, name)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    done = edgegw("drivers", "new", name, "--kind", kind, "--dir", tmp_path)
    assert done.returncode == Exit.REFUSED
    assert "EG-REFUSED" in done.stderr
    assert str(there) in done.stderr
    assert done.stdout == ""
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [
        ("sds011", "stream", Exit.REFUSED),  # installed already
        ("drivers", "stream", Exit.REFUSED),  # the package of the drivers that ship
        ("Acme", "stream", Exit.USAGE),
        ("1acme", "stream", Exit.USAGE),
        ("acme-th", "stream", Exit.USAGE),
        ("acme__th", "stream", Exit.USAGE),
        ("class", "stream", Exit.USAGE),
        ("match", "ask", Exit.USAGE),
        ("../acme", "stream", Exit.USAGE),
        ("acmé", "poll", Exit.USAGE),
        ("a" * 33, "advert", Exit.USAGE),
        ("", "message", Exit.USAGE),
        ("acme_th", "modbus-profile", Exit.USAGE),
        ("../th", "json-map", Exit.USAGE),
        ("acme", "quantum", Exit.USAGE),
    ],
)
def test_a_name_or_kind_that_cannot_be_is_refused_in_words(
    tmp_path: Path, name: str, kind: str, code: Exit
) -> None:
    done = edgegw("drivers", "new", "--kind", kind, "--dir", tmp_path / "new", "--", name)
    assert done.returncode == code
    assert done.stderr.startswith("error: ")
    assert list(tmp_path.iterdir()) == []


def test_the_longest_name_is_taken(tmp_path: Path) -> None:
    assert new(tmp_path, "modbus-profile", "a" * 32).is_file()


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for kind in ("stream", "json-map"):
        done = edgegw("drivers", "new", "acme", "--kind", kind, "--dir", tmp_path / "file" / "below")
        assert done.returncode == Exit.PROBLEMS
        assert "cannot be written" in done.stderr


def test_what_to_do_next_is_said_to_the_person_and_the_files_are_data(tmp_path: Path) -> None:
    done = edgegw("drivers", "new", "acme", "--dir", tmp_path)
    assert done.returncode == Exit.DONE
    assert [Path(line).exists() for line in done.stdout.splitlines()] == [True] * 8
    assert "pip install" in done.stderr
    assert "python -m edgegw.contract acme" in done.stderr
    quiet = edgegw("drivers", "new", "acme_two", "--dir", tmp_path, "-q")
    assert quiet.stderr == ""
