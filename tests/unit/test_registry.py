import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from edgegw import registry
from edgegw.registry import DriverError, Mistake, OptionsError

TALKER = """
from __future__ import annotations
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal
from edgegw.driver import QUANTITIES, FixedLength, Reading, SerialLine, StreamDriver

@dataclass(frozen=True)
class Talker(StreamDriver):
    line = SerialLine(baudrate=9600)
    framing = FixedLength(start=b"T", length=2)
    quantities = ("temperature",)
    place: str = field(metadata={"doc": "where it hangs"})
    scale: float = 1.0
    corners: tuple[tuple[float, float], ...] = ()
    mode: Literal["fast", "slow"] = "fast"
    wire: int | None = field(default=None, metadata={"option": "line"})

    def __post_init__(self) -> None:
        if self.scale == 0:
            raise ValueError("scale: 0 would hide every value")
        if self.mode == "slow" and self.wire:
            raise ValueError("a slow one has no line")

    def decode(self, frame: bytes) -> Sequence[Reading]:
        return [Reading(QUANTITIES["temperature"], frame[1] * self.scale)]
"""

POLL_WITHOUT_PARTS = """
from dataclasses import dataclass
from edgegw.driver import PollDriver

@dataclass(frozen=True)
class Half(PollDriver): ...
"""

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a package with drivers where Python finds it, as pip leaves it."""

    def put(package: str, drivers: Mapping[str, str], source: str, module: str = "") -> Path:
        module = module or package
        folder = tmp_path / package
        info = folder / f"{package}-1.2.dist-info"
        info.mkdir(parents=True)
        (folder / f"{module}.py").write_text(source)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        lines = [f"{name} = {module}:{attribute}" for name, attribute in drivers.items()]
        (info / "entry_points.txt").write_text("\n".join(["[edgegw.drivers]", *lines, ""]))
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delitem(sys.modules, module, raising=False)
        return folder

    return put


@pytest.fixture
def talker(install: Install) -> None:
    install("talking", {"talker": "Talker"}, TALKER)


def mistakes(name: str, options: Mapping[str, Any], *, text: bool = False) -> tuple[Mistake, ...]:
    with pytest.raises(OptionsError) as raised:
        registry.make(name, options, text=text)
    return raised.value.mistakes


def entry(name: str) -> list[registry.Installed]:
    return [found for found in registry.installed() if found.name == name]


@pytest.mark.usefixtures("talker")
def test_a_foreign_driver_is_found_and_made_like_one_of_ours() -> None:
    driver = registry.make("talker", {"place": "roof", "scale": 2, "line": 3})
    assert driver == registry.load("talker")(place="roof", scale=2.0, wire=3)  # type: ignore[call-arg]
    assert entry("talker") == [registry.Installed("talker", "talking", "1.2", "stream", "")]


def test_the_drivers_that_ship_are_installed() -> None:
    assert {"ld2450", "modbus", "sds011"} <= set(registry.names())


@pytest.mark.usefixtures("talker")
def test_all_mistakes_are_told_at_once_each_with_its_place() -> None:
    given = {"scael": 1, "mode": "quick", "corners": [[0, 0], [1, "x"]], "scale": "wide"}
    found = dict(mistakes("talker", given))
    assert found[("scael",)] == "unknown option; did you mean 'scale'?"
    assert found[("place",)] == "missing: where it hangs"
    assert found[("mode",)] == "should be 'fast' or 'slow', not 'quick'"
    assert "not 'x'" in found[("corners", 1, 1)]
    assert "valid number" in found[("scale",)]
    assert len(found) == 5


@pytest.mark.usefixtures("talker")
def test_what_a_driver_itself_refuses_points_at_the_option_that_its_sentence_names() -> None:
    assert mistakes("talker", {"place": "", "scale": 0}) == (Mistake(("scale",), "0 would hide every value"),)
    assert mistakes("talker", {"place": "", "mode": "slow", "line": 1}) == (
        Mistake((), "a slow one has no line"),
    )


@pytest.mark.usefixtures("talker")
def test_typed_text_becomes_what_the_option_wants() -> None:
    given = {"place": "12", "scale": "0.5", "corners": "[[0, 1], [2, 3]]", "line": "7"}
    expected = {"place": "12", "scale": 0.5, "corners": [[0, 1], [2, 3]], "line": 7}
    assert registry.make("talker", given, text=True) == registry.make("talker", expected)
    assert mistakes("talker", {"place": "", "scale": "[1"}, text=True)[0].path == ("scale",)


HINTS = (
    str,
    int,
    float,
    bool,
    int | None,
    str | float,
    int | float,
    Literal["fast", 2],
    tuple[()],
    tuple[str, ...],
    tuple[float, float],
    tuple[tuple[float, float], ...],
    tuple[tuple[str, tuple[float, int]], ...] | None,
    dict[str, int],
    dict[str, tuple[float, ...]],
)
SINGLE = st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(["fast", "2", ""])
TOML = st.recursive(
    SINGLE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
)


@given(hint=st.sampled_from(HINTS), value=TOML)
def test_what_is_taken_without_pydantic_is_what_pydantic_makes_of_it(hint: Any, value: Any) -> None:
    found = registry._plainly(hint, value)
    if found is not registry._ODD:
        # Their representations tell 1 from 1.0 and from True, and a tuple from a list.
        assert repr(found) == repr(TypeAdapter(hint).validate_python(value))


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        (
            tuple[tuple[float, float], tuple[float, float]] | None,
            [[-2, 3.0], [2, 3]],
            ((-2.0, 3.0), (2.0, 3.0)),
        ),
        (tuple[tuple[str, tuple[float, float]], ...], [["door", [0.5, 2]]], (("door", (0.5, 2.0)),)),
        (tuple[str, ...], ["laeq", "lafmax"], ("laeq", "lafmax")),
        (dict[str, int], {"unit": 3}, {"unit": 3}),
    ],
)
def test_containers_of_plain_values_do_without_pydantic(hint: Any, value: Any, expected: Any) -> None:
    found = registry._plainly(hint, value)
    assert repr(found) == repr(expected)


@pytest.mark.usefixtures("talker")
def test_options_are_described_for_people() -> None:
    place, scale, *_, wire = registry.options(registry.load("talker"))
    assert place == registry.Option("place", "str", None, required=True, doc="where it hangs")
    assert (scale.default, scale.required) == (1.0, False)
    assert wire.name == "line"


def test_an_unknown_driver_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(DriverError, match=r"no driver 'sds01' is installed; did you mean 'sds011'\?"):
        registry.load("sds01")


@pytest.mark.parametrize(
    ("source", "attribute", "why"),
    [
        ("import no_such_module", "X", "ModuleNotFoundError"),
        ("this is no python", "X", "SyntaxError"),
        ("raise SystemExit(3)", "X", "SystemExit: 3"),
        ("raise RuntimeError('a\\nb' * 1000)", "X", "RuntimeError: a ba"),
        ("X = 7", "X", "7 is none of StreamDriver, AskDriver"),
        ("X = 7", "Y", "AttributeError"),
        (TALKER.replace("@dataclass(frozen=True)", ""), "Talker", "is no dataclass"),
        (TALKER.replace('"temperature",', '"warmth",'), "Talker", "gives warmth"),
        (TALKER.replace("    line = ", "    wires = "), "Talker", "has no line"),
        (TALKER.replace("import Literal", "import Any"), "Talker", "imported at run time"),
        (POLL_WITHOUT_PARTS, "Half", "lacks blocks, decoder, lines"),
    ],
)
def test_a_broken_package_is_listed_with_its_error_and_the_others_work(
    install: Install, source: str, attribute: str, why: str
) -> None:
    install("broken_package", {"wreck": attribute}, source)
    (wreck,) = entry("wreck")
    assert wreck.kind == ""
    assert wreck.error.startswith("driver 'wreck' of broken_package 1.2 is broken: ")
    assert why in wreck.error
    assert len(wreck.error) < 300
    assert "\n" not in wreck.error
    assert [found.error for found in entry("sds011")] == [""]


def test_no_package_can_take_the_name_of_a_driver_that_ships(install: Install) -> None:
    install("shadow", {"sds011": "Talker"}, TALKER)
    with pytest.raises(DriverError, match=r"claimed by edgegw .* and shadow 1\.2: remove one"):
        registry.load("sds011")
    assert [(found.package, found.kind) for found in entry("sds011")] == [("edgegw", ""), ("shadow", "")]


def test_only_the_driver_that_is_asked_for_is_imported(install: Install) -> None:
    folder = install("loud", {"loud": "Loud"}, "raise RuntimeError('imported')")
    program = (
        f"import sys; sys.path.insert(0, {str(folder)!r})\n"
        "from edgegw import registry\n"
        "assert {'loud', 'sds011'} <= set(registry.names())\n"
        "assert 'pydantic' not in sys.modules and 'edgegw_drivers' not in sys.modules\n"
        "registry.load('sds011')\n"
        "assert 'pydantic' not in sys.modules\n"
        "print(sorted(name for name in sys.modules if name.startswith(('loud', 'edgegw_drivers.'))))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.split() == [
        "['edgegw_drivers.sds011',",
        "'edgegw_drivers.sds011.driver',",
        "'edgegw_drivers.sds011.frame']",
    ]
