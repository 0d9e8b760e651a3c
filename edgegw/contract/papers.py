"""Rules about what lies beside a driver's code, and what the code says about itself."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import re
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgegw import config, registry
from edgegw.contract import tables
from edgegw.contract.rule import rule
from edgegw.contract.subject import GATEWAYS, ContractError, sample
from edgegw.driver import QUANTITIES, AskDriver, AudioDriver, PollDriver, StreamDriver

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from random import Random

    from edgegw.contract.subject import Subject
    from edgegw.driver import Request

HEADINGS: Final = (
    "What it measures",
    "Wiring",
    "Options",
    "Readings",
    "Known limits",
    "Source",
    "Maturity",
)
# Words of a page that nobody has finished.
_UNFINISHED: Final = re.compile(r"\b(TODO|TBD|FIXME|XXX|lorem ipsum)\b", re.IGNORECASE)
# A driver waits for nothing, opens nothing, knows no clock and throws no dice.
_IMPURE: Final = frozenset(
    {
        "aiohttp",
        "asyncio",
        "bleak",
        "builtins",
        "concurrent",
        "ctypes",
        "ftplib",
        "h11",
        "http",
        "httpx",
        "io",
        "logging",
        "mmap",
        "multiprocessing",
        "paho",
        "pickle",
        "pty",
        "pymodbus",
        "queue",
        "random",
        "requests",
        "sched",
        "secrets",
        "select",
        "selectors",
        "serial",
        "shelve",
        "signal",
        "smtplib",
        "socket",
        "socketserver",
        "sqlite3",
        "ssl",
        "subprocess",
        "tempfile",
        "termios",
        "threading",
        "time",
        "tty",
        "usb",
        "uuid",
        "websockets",
    }
)
_IMPURE_CALLS: Final = frozenset(
    {"__import__", "breakpoint", "compile", "eval", "exec", "exit", "input", "open", "print", "quit"}
)
_CLOCKS: Final = frozenset({"now", "utcnow", "today", "localtime", "monotonic", "urandom"})


def _readme(subject: Subject) -> str:
    file = subject.folder / "README.md"
    if not file.is_file():
        raise ContractError(f"there is no {file}")
    return file.read_text(encoding="utf-8")


@rule()
def the_readme_has_the_fixed_headings_with_something_below_each(subject: Subject, _: Random) -> Iterator[str]:
    """In their order, so that a technician finds the wiring where it always stands."""
    text = _readme(subject)
    if not re.match(rf"# {re.escape(subject.name)}: \S", text):
        yield f"README.md begins with '# {subject.name}: ' and the devices that it reads"
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    if [heading for heading in headings if heading in HEADINGS] != [*HEADINGS]:
        yield f"README.md has the headings {', '.join(HEADINGS)}, once each and in this order"
    for heading in HEADINGS:
        if not re.search(r"\w{3}", tables.section(text, heading)):
            yield f"README.md says nothing below {heading}"
    for word in _UNFINISHED.findall(text):
        yield f"README.md is not finished: {word}"


@rule()
def the_readmes_options_are_those_of_the_code(subject: Subject, _: Random) -> Iterator[str]:
    """Each with its default; `python -m edgegw.contract NAME --write` writes the table."""
    yield from tables.wrong_options(subject.kind, _readme(subject))


@rule()
def the_readmes_readings_are_those_of_the_code(subject: Subject, _: Random) -> Iterator[str]:
    """Each with its unit and what becomes of several values."""
    emits = subject.made().emits()
    yield from tables.wrong_readings(
        subject.kind.quantities or emits, not subject.kind.quantities, _readme(subject)
    )


@rule()
def the_readme_names_every_reason_for_no_reading(subject: Subject, _: Random) -> Iterator[str]:
    """A reason that is counted is what a technician searches for; those that the code spells out are looked for."""
    text = _readme(subject)
    reasons = {
        argument.value
        for file in subject.folder.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "FrameError"
        for branch in node.args[:1]
        for argument in ast.walk(branch)
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }
    for reason in sorted(reasons):
        if re.fullmatch(r"[a-z]\w+", reason) and f"`{reason}" not in text:
            yield f"README.md does not say when `{reason}` is counted"


@rule()
def the_sample_shows_every_option_and_each_line_of_it_is_accepted(
    subject: Subject, _: Random
) -> Iterator[str]:
    """`# key = value` is an option that may be uncommented; `##` begins an explanation."""
    text = (subject.folder / "sample.toml").read_text(encoding="utf-8")
    shown = tomllib.loads(re.sub(r"^# (?=\w+ = )", "", text, flags=re.MULTILINE))["sensor"]
    known = registry.options(subject.kind)
    seen = {key for each in shown.values() for key in each}
    for option in known:
        if option.name not in seen:
            yield f"sample.toml does not show the option {option.name}"
    for each in (*sample(subject.folder).values(), *shown.values()):
        given = {key: value for key, value in each.items() if key not in GATEWAYS}
        if each.get("driver") != subject.name:
            yield f"sample.toml is of driver {each.get('driver')!r}"
        else:
            registry.make(subject.name, given)


@rule()
def edgegw_check_accepts_the_sample(subject: Subject, _: Random) -> Iterator[str]:
    """As a drop-in of its own: a technician copies it as it stands."""
    try:
        found = config.load(subject.folder / "sample.toml", {}, role="drop-in")
    except config.ConfigError as error:
        yield f"sample.toml: {error.text()}"
    else:
        if not found.sensor:
            yield "sample.toml has no sensor"


@rule()
def an_option_that_the_readme_calls_required_is(subject: Subject, _: Random) -> Iterator[str]:
    """Where the code has a default for the shell's sake, a sensor without it must still be refused."""
    found = tables.table(_readme(subject), "Options", "option")
    said = {row[0].strip("`") for row in found.rows if row[1] == "required"} if found else set()
    for option in registry.options(subject.kind):
        if option.name not in said or option.required:
            continue
        for key, each in sample(subject.folder).items():
            given = {name: value for name, value in each.items() if name not in GATEWAYS | {option.name}}
            try:
                registry.make(subject.name, given)
            except registry.OptionsError:
                continue
            yield f"README.md calls {option.name} required, and sensor {key} of the sample is taken without it"


@rule()
def the_code_imports_the_contract_alone_and_nothing_that_waits(subject: Subject, _: Random) -> Iterator[str]:
    """Nor does what it imports of its own package; a driver opens nothing, waits for nothing and knows no clock."""
    for file in sorted(_files(subject)):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for module in _imported(tree):
            if module.split(".")[0] in _IMPURE or (
                module.split(".")[0] == "edgegw" and not _is_contract(module)
            ):
                yield f"{file.name} imports {module}: a driver imports edgegw.driver and what is pure"
        for node in ast.walk(tree):
            called = _called(node)
            if called:
                yield f"{file.name}:{getattr(node, 'lineno', 0)} calls {called}()"


def _called(node: ast.AST) -> str:
    """What no driver calls: a function that reaches outside, or the method of a clock; empty for anything else."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id if node.func.id in _IMPURE_CALLS else ""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr if node.func.attr in _CLOCKS else ""
    return ""


def _is_contract(module: str) -> bool:
    return module == "edgegw.driver"


def _files(subject: Subject) -> set[Path]:
    """The driver's own modules, and those of its package that they import."""
    package = subject.kind.__module__.partition(".")[0]
    # A driver that is one module lies among everybody's.
    alone = subject.folder in (Path(each) for each in sys.path)
    own = sys.modules[subject.kind.__module__].__file__ or ""
    waiting = [Path(own)] if alone else [*subject.folder.rglob("*.py")]
    found: set[Path] = set()
    while waiting:
        file = waiting.pop()
        if file in found or not file.is_file():
            continue
        found.add(file)
        for module in _imported(ast.parse(file.read_text(encoding="utf-8"))):
            if module.partition(".")[0] == package:
                spec = importlib.util.find_spec(module)
                waiting += [Path(spec.origin)] if spec is not None and spec.origin else []
    return found


def _imported(tree: ast.AST) -> Iterable[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ""


@rule()
def it_is_frozen_and_hashable_and_says_what_it_is(subject: Subject, _: Random) -> Iterator[str]:
    """Two sensors with the same options have equal drivers; each option says what it means."""
    one, two = (registry.make(subject.name, subject.options, text=True) for _ in range(2))
    if one != two or hash(one) != hash(two):
        yield "two drivers with the same options differ"
    if not one.version.strip():
        yield "it has no version"
    if not (subject.kind.__doc__ or "").strip() or (subject.kind.__doc__ or "").startswith(
        f"{subject.kind.__name__}("
    ):
        yield f"{subject.kind.__name__} has no docstring that says which device it reads"
    if not one.emits():
        yield "it gives no quantity"
    for name in (*one.emits(), *one.quantities):
        if name not in QUANTITIES:
            yield f"it gives {name}, which the gateway has no unit for"
    yield from (
        f"the option {option.name} has no doc" for option in registry.options(subject.kind) if not option.doc
    )
    try:
        setattr(one, dataclasses.fields(one)[0].name if dataclasses.fields(one) else "kind", None)
    except dataclasses.FrozenInstanceError:
        pass
    else:
        yield "its options can be changed: write @dataclass(frozen=True)"


@rule()
def a_command_that_it_does_not_have_is_refused_in_words(subject: Subject, _: Random) -> Iterator[str]:
    """ValueError with the name of the command."""
    try:
        subject.made().encode("make coffee", {})
    except ValueError as error:
        if "make coffee" not in str(error):
            yield f"an unknown command is refused without its name: {error}"
    else:
        yield "it knows a command 'make coffee'"


@rule()
def what_it_would_send_and_ask_is_well_formed(subject: Subject, _: Random) -> Iterator[str]:
    """Rates that exist, requests with a name and an end, blocks that one Modbus request can read."""
    driver = subject.made()
    if (
        isinstance(driver, StreamDriver | AskDriver)
        and min(driver.line.baudrate, driver.framing.longest) <= 0
    ):
        yield "its line has no baud rate, or its frames no length"
    if isinstance(driver, StreamDriver):
        if not isinstance(driver.request(), bytes) or driver.period_s <= 0:
            yield "its request is no bytes, or its period no time"
        yield from _ill_formed(driver.setup())
    elif isinstance(driver, AskDriver):
        decoder = driver.decoder()
        opening, cycle = decoder.opening(), decoder.cycle()
        if not cycle:
            yield "a cycle asks nothing"
        yield from _ill_formed((*opening, *cycle))
        for request in (*opening, *cycle):
            if not 0 < request.timeout_s <= 10:
                yield f"{request.name} is waited for {request.timeout_s} s"
            if not request.replies and not request.changes:
                yield f"{request.name} is a question that nobody waits for the answer of"
    elif isinstance(driver, AudioDriver):
        if not driver.device or driver.rate <= 0:
            yield "its sound card has no name or no rate"
    elif isinstance(driver, PollDriver):
        yield from _unreadable(driver)


def _ill_formed(requests: Iterable[Request]) -> Iterator[str]:
    for request in requests:
        if not request.data or not request.name or not 0 <= request.after_s < 60:
            yield f"{request} sends nothing, has no name, or waits a minute"


def _unreadable(driver: PollDriver) -> Iterator[str]:
    if not driver.lines() or not driver.blocks() or driver.timeout_s <= 0 or driver.min_gap_s < 0:
        yield "it names no line, asks nothing, or waits for no time"
    for block in driver.blocks():
        # Modbus application protocol V1.1b3, 6.1 and 6.3: at most so many in one answer.
        most = 2000 if block.function in {1, 2} else 125
        if block.function not in {1, 2, 3, 4}:
            yield f"{block}: a driver never writes to a bus"
        if not 1 <= block.count <= most or not 0 <= block.address <= 0x10000 - block.count:
            yield f"{block} is more than one request can read"


RULES: Final = (
    the_readme_has_the_fixed_headings_with_something_below_each,
    the_readmes_options_are_those_of_the_code,
    the_readmes_readings_are_those_of_the_code,
    the_readme_names_every_reason_for_no_reading,
    the_sample_shows_every_option_and_each_line_of_it_is_accepted,
    edgegw_check_accepts_the_sample,
    an_option_that_the_readme_calls_required_is,
    the_code_imports_the_contract_alone_and_nothing_that_waits,
    it_is_frozen_and_hashable_and_says_what_it_is,
    a_command_that_it_does_not_have_is_refused_in_words,
    what_it_would_send_and_ask_is_well_formed,
)
