"""The suite itself: a driver that breaks a rule is refused by that rule, and a whole one by none.

The drivers are those that `edgegw drivers new` writes, each with one thing wrong in it.
"""

from __future__ import annotations

import importlib
import re
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from edgegw import contract, skeleton

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# What is wrong, by the rule that must say so: the kind of driver, the file, and what is replaced by what. An empty
# text to replace is the end of the file.
WRONG: list[tuple[str, str, str, str, str]] = [
    # Papers
    ("headings", "stream", "README.md", "## Wiring\n", "## Cabling\n"),
    ("headings", "stream", "README.md", "In fog the values run high.", ""),
    ("headings", "stream", "README.md", "In fog the values run high.", "TODO: find out."),
    ("headings", "stream", "README.md", "# acme: an", "# another: an"),
    ("readmes options", "stream", "README.md", '`"flag"` | `"flag"`', '`"drop"` | `"flag"`'),
    ("readmes options", "stream", "README.md", "| `warm_up` |", "| `warmup` |"),
    (
        "readmes options",
        "stream",
        "README.md",
        " no reading |\n\n## Readings",
        " no reading |\n| `more` | none | nothing |\n\n## Readings",
    ),
    ("readmes readings", "stream", "README.md", "`ug/m3`", "`mg/m3`"),
    ("readmes readings", "stream", "README.md", "| mean |", "| sum |"),
    ("readmes readings", "stream", "README.md", "| `pm2_5` |", "| `pm10` |"),
    ("readmes readings", "poll", "README.md", "| `humidity` | `%RH` | mean |\n", ""),
    ("every reason for no reading", "stream", "README.md", "`not_available`", "nothing"),
    ("sample shows", "stream", "sample.toml", '# warm_up = "flag"\n', ""),
    ("sample shows", "stream", "sample.toml", '# warm_up = "flag"', '# warm_up = "often"'),
    ("sample shows", "stream", "sample.toml", 'driver = "acme"', 'driver = "sds011"'),
    ("edgegw check accepts", "stream", "sample.toml", 'interval = "10s"', 'interval = "10 parrots"'),
    ("edgegw check accepts", "advert", "sample.toml", '"AA:BB:CC:DD:EE:FF"', '"AA:BB"'),
    ("calls required", "advert", "README.md", "| `address` | none |", "| `address` | required |"),
    # What it is
    ("imports the contract alone", "stream", "driver.py", "\nNO_VALUE", "\nimport time\n\nNO_VALUE"),
    (
        "imports the contract alone",
        "stream",
        "driver.py",
        "\nNO_VALUE",
        "\nfrom edgegw import clock\n\nNO_VALUE",
    ),
    (
        "imports the contract alone",
        "stream",
        "driver.py",
        'raise FrameError("ch',
        "open('/x')\n            raise FrameError(\"ch",
    ),
    ("frozen and hashable", "stream", "driver.py", '"doc": "what becomes', '"": "what becomes'),
    (
        "frozen and hashable",
        "stream",
        "driver.py",
        '    """An invented dust sensor, which says PM2.5 once a second."""\n',
        "",
    ),
    (
        "command that it does not have",
        "stream",
        "driver.py",
        "",
        '\n    def encode(self, command: str, options: object) -> bytes:\n        return b"\\0"\n',
    ),
    ("well formed", "stream", "driver.py", "baudrate=9600", "baudrate=0"),
    ("well formed", "ask", "driver.py", "timeout_s=0.5", "timeout_s=50"),
    ("well formed", "ask", "driver.py", "return (READ,)", "return ()"),
    ("well formed", "poll", "driver.py", "function=4", "function=6"),
    ("well formed", "poll", "driver.py", "count=2)", "count=200)"),
    # What it decodes
    ("a fact that gives a reading", "stream", "facts.json", '"expect"', '"expected"'),
    ("a fact that is refused", "stream", "facts.json", '"error"', '"err"'),
    ("decoded to what it says", "stream", "driver.py", "tenths / 10", "tenths / 100"),
    ("decoded to what it says", "stream", "facts.json", '"unit": "ug/m3"', '"unit": "mg/m3"'),
    (
        "decoded to what it says",
        "stream",
        "driver.py",
        "NO_VALUE: Final = 0xFFFF",
        "NO_VALUE: Final = 0xFFFE",
    ),
    ("every truncation", "advert", "driver.py", "len(data) != LENGTH", "len(data) < LENGTH"),
    (
        "every truncation",
        "message",
        "driver.py",
        "json.loads(message.body)",
        "json.loads(message.body + b'}')",
    ),
    ("every flipped bit", "stream", "driver.py", "!= frame[-1]", "> frame[-1]"),
    ("every flipped bit", "ask", "driver.py", "!= frame[-1]", "& 0x7F != frame[-1] & 0x7F"),
    ("or read as something", "advert", "driver.py", "temperature / 100,", 'float("nan"),'),
    ("any bytes give", "message", "driver.py", "(ValueError, RecursionError)", "UnicodeError"),
    (
        "same inputs",
        "stream",
        "driver.py",
        'return [Reading(QUANTITIES["pm2_5"], tenths / 10)]',
        'NOISE.append(0)\n            return [Reading(QUANTITIES["pm2_5"], len(NOISE))]',
    ),
    # Streams
    ("between noise in any chunking", "stream", "driver.py", "from __future__", "from __future__"),
    ("however it is cut", "stream", "driver.py", "from __future__", "from __future__"),
    ("false starts", "stream", "driver.py", "from __future__", "from __future__"),
    (
        "one device does not change",
        "stream",
        "driver.py",
        'return [Reading(QUANTITIES["pm2_5"], tenths / 10)]',
        'NOISE.append(0)\n            return [Reading(QUANTITIES["pm2_5"], len(NOISE))]',
    ),
    # Devices
    ("in a conversation", "ask", "driver.py", 'raise FrameError("checksum")', 'raise ValueError("checksum")'),
    ("answers to a poll", "poll", "driver.py", "if isinstance(answer, FrameError):", "if answer is None:"),
    ("answers to a poll", "poll", "driver.py", "return [answer]", "return []"),
    ("answers to a poll", "poll", "driver.py", "signed / 10", "signed / (signed - signed)"),
    ("any advertisements", "advert", "driver.py", "len(data) != LENGTH", "len(data) == LENGTH + 1"),
    ("any advertisements", "advert", "driver.py", '("unauthenticated",)', '("nobody knows who",)'),
    ("any documents", "message", "driver.py", "(ValueError, RecursionError)", "ValueError"),
    (
        "any documents",
        "message",
        "driver.py",
        "not isinstance(value, int | float) or not math.isfinite(value)",
        'value == "nan"',
    ),
    ("any documents", "message", "driver.py", "if not isinstance(document, dict) or", "if"),
    (
        "no growing memory",
        "stream",
        "driver.py",
        "tenths = int",
        "NOISE.append(frame * 1000)\n        tenths = int",
    ),
    (
        "no growing memory",
        "advert",
        "driver.py",
        "data = advert.companies[COMPANY]",
        "data = advert.companies[COMPANY]\n        NOISE.append(data * 1000)",
    ),
]
# Faults that are a framing of its own, which no template has: by the rule, the class.
FRAMINGS = {
    "between noise in any chunking": """
class Deaf(FixedLength):
    def find(self, buffer: bytes, start: int) -> tuple[int, int]:
        begin, end = super().find(buffer, start)
        return (begin, end) if begin == 0 or begin == end else (len(buffer), len(buffer))
""",
    "however it is cut": """
class Deaf(FixedLength):
    def find(self, buffer: bytes, start: int) -> tuple[int, int]:
        begin, end = super().find(buffer, start)
        return (begin, end) if begin != end else (len(buffer), len(buffer))
""",
    "false starts": """
class Deaf(FixedLength):
    @property
    def longest(self) -> int:
        return self.length // 2
""",
}


SOUND = "any samples and losses give levels or refusals"
# No template is a microphone: a level is a calculation, which nobody writes in an hour.
MICROPHONE = """
from dataclasses import dataclass
from typing import ClassVar

from edgegw.driver import QUANTITIES, AudioDriver, Reading


@dataclass(frozen=True)
class Acme(AudioDriver):
    quantities: ClassVar = ("laeq",)

    def decoder(self, interval):
        return self

    def decode(self, samples, lost, now):
        return [Reading(QUANTITIES["laeq"], RETURNED)]
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages; what is imported from it is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path / "site")
    yield tmp_path / "site"
    for name in [name for name in sys.modules if name.partition(".")[0] == "edgegw_acme"]:
        del sys.modules[name]


def install(site: Path, kind: str, change: Callable[[Path], None]) -> contract.Subject:
    written = skeleton.new("acme", kind, site.parent / "source")
    package = written.path / "edgegw_acme"
    change(package)
    shutil.copytree(package, site / "edgegw_acme")
    info = site / "edgegw_acme-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: edgegw-acme\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[edgegw.drivers]\nacme = edgegw_acme:Acme\n")
    importlib.invalidate_caches()
    clear_scan()
    return contract.subject("acme")


def clear_scan() -> None:
    from edgegw import registry

    registry._scan.cache_clear()


def replaced(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    text = text.replace(old, new) if old else text.replace("\n    def decode(", f"{new}\n    def decode(", 1)
    if "NOISE" in text:  # what a module must not have: something that is remembered by all of its decoders
        text = re.sub(r"\n(NO_VALUE|NO_TEMPERATURE): Final", r"\nNOISE: list[object] = []\n\1: Final", text)
    file.write_text(text, encoding="utf-8")


def said(subject: contract.Subject) -> dict[str, list[str]]:
    """What each rule that is broken says, by its name."""
    found = {rule.name: rule.broken(subject) for rule in contract.RULES if rule.is_for(subject)}
    return {name: sentences for name, sentences in found.items() if sentences}


@pytest.mark.parametrize("kind", skeleton.PACKAGES)
def test_a_driver_in_which_nothing_is_wrong_breaks_no_rule(site: Path, kind: str) -> None:
    assert said(install(site, kind, lambda _: None)) == {}


@pytest.mark.parametrize(
    ("rule", "kind", "file", "old", "new"),
    WRONG,
    ids=[f"{n}-{w[0].replace(' ', '_')}" for n, w in enumerate(WRONG)],
)
def test_a_driver_that_breaks_a_rule_is_refused_by_it(
    site: Path, rule: str, kind: str, file: str, old: str, new: str
) -> None:
    def change(package: Path) -> None:
        replaced(package / file, old, new)
        if rule in FRAMINGS:
            replaced(package / file, "\n\n\n@dataclass", f"\n\n{FRAMINGS[rule]}\n\n@dataclass")
            replaced(package / file, "= FixedLength(", "= Deaf(")

    subject = install(site, kind, change)
    assert [name for name in said(subject) if rule in name]


def test_almost_every_rule_is_shown_to_refuse_something() -> None:
    names = [rule.name for rule in contract.RULES]
    for rule, *_ in WRONG:
        assert len([name for name in names if rule in name]) == 1, rule
    shown = {name for name in names for rule, *_ in WRONG if rule in name}
    assert set(names) - shown == {SOUND}


@pytest.mark.parametrize(
    ("returned", "refused"), [("0.0", False), ("float(lost)", False), ("1 / (len(samples) % 4 - 1)", True)]
)
def test_a_microphone_that_takes_not_any_samples_is_refused(site: Path, returned: str, refused: bool) -> None:
    def change(package: Path) -> None:
        (package / "driver.py").write_text(MICROPHONE.replace("RETURNED", returned), encoding="utf-8")

    assert (SOUND in said(install(site, "stream", change))) == refused


@pytest.mark.parametrize(
    ("kind", "old", "new", "rule"),
    [
        ("stream", "tenths = int", "tenths = frame[7] + int", "any stream"),
        ("ask", "ppm = int", "ppm = frame[7] + int", "in a conversation"),
        ("poll", "temperature, humidity = answer", "temperature, humidity, _ = answer", "answers to a poll"),
        ("advert", "data[0] != 1", "data[7] != 1", "any advertisements"),
        ("message", "isinstance(document, dict)", "document + ''", "any documents"),
    ],
)
def test_a_driver_that_raises_is_told_the_exception_and_the_input(
    site: Path, kind: str, old: str, new: str, rule: str
) -> None:
    found = said(install(site, kind, lambda package: replaced(package / "driver.py", old, new)))
    (name,) = [name for name in found if rule in name]
    assert re.search(r"(IndexError|ValueError|TypeError): .* \((.{6,})\)", found[name][0], re.DOTALL)
    assert "raised by itself" not in found[name][0]


def test_what_is_missing_altogether_is_said_in_words(site: Path) -> None:
    with pytest.raises(contract.ContractError, match=r"sample\.toml"):
        install(site, "stream", lambda package: (package / "sample.toml").unlink())


def test_without_a_readme_each_of_its_rules_says_so(site: Path) -> None:
    found = said(install(site, "stream", lambda package: (package / "README.md").unlink()))
    assert len(found) == 5
    assert all("README.md" in sentences[0] for sentences in found.values())


def test_the_tables_of_a_readme_are_written_from_the_code_and_the_words_of_people_kept(site: Path) -> None:
    def change(package: Path) -> None:
        replaced(package / "README.md", '| `warm_up` | `"flag"` |', '| `warm_up` | `"drop"` |')
        replaced(package / "README.md", "| `pm2_5` | `ug/m3` | mean |\n", "| `pm10` | `ug/m3` | mean |\n")

    subject = install(site, "stream", change)
    assert len(said(subject)) == 2
    from edgegw.contract.__main__ import write

    assert write("acme")
    assert said(subject) == {}
    text = (subject.folder / "README.md").read_text(encoding="utf-8")
    assert "values while the fan runs up go out with `q` 3" in text
    assert not write("acme")
