"""The page that a technician reads says what the drivers, profiles and maps are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from driver_page import PAGE, page

from edgegw import registry
from edgegw_drivers.json_map import find as maps
from edgegw_drivers.modbus import find as profiles

ROOT = Path(__file__).parents[2]
SHIPPED = [found.name for found in registry.installed() if found.package == "edgegw"]


def test_the_page_is_what_the_drivers_say_of_themselves() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: scripts/driver-tables --write"


@pytest.mark.parametrize("name", SHIPPED)
def test_every_driver_is_on_the_page_with_a_link_that_leads_somewhere(name: str) -> None:
    (row,) = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if f"[`{name}`](" in line]
    target = row.partition(f"[`{name}`](")[2].partition(")")[0]
    assert (PAGE.parent / target).is_file()
    assert all(cell.strip() for cell in row.split("|")[1:-1])


@pytest.mark.parametrize("folder", [profiles.SHIPPED, maps.SHIPPED])
def test_every_profile_and_map_is_on_the_page_under_all_of_its_names(folder: Path) -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    files = list(folder.glob("*.toml"))
    assert files
    for file in files:
        (row,) = [line for line in rows if f" `{file.stem}` " in line]
        if folder == profiles.SHIPPED:
            assert all(alias in row for alias in profiles.load(file.stem).model.split())


def test_the_script_finds_nothing_to_write() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "driver-tables"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_the_readmes_of_devices_in_toml_name_every_quantity_and_every_profile() -> None:
    folder = ROOT / "drivers" / "edgegw_drivers"
    modbus = (folder / "modbus" / "README.md").read_text(encoding="utf-8")
    documents = (folder / "json_http" / "README.md").read_text(encoding="utf-8")
    for file in profiles.SHIPPED.glob("*.toml"):
        assert f"`{file.stem}`" in modbus
        for read in profiles.load(file.stem).reads:
            assert f"`{read.quantity.name}`" in modbus, file.stem
    for file in maps.SHIPPED.glob("*.toml"):
        for each in maps.load(file.stem).reads:
            assert f"`{each.quantity.name}`" in documents, file.stem
