"""Drivers by name, from the entry points of whatever packages are installed.

Nothing is imported but the driver that is asked for, so that one broken package costs only its own sensors.
The drivers that ship with the gateway are found like anybody's, and no other package can take their names.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import json
import re
import sys
import types
import typing
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edgegw.driver import (
    QUANTITIES,
    AdvertDriver,
    AskDriver,
    AudioDriver,
    Driver,
    MessageDriver,
    PollDriver,
    StreamDriver,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pydantic import ValidationError

GROUP: Final = "edgegw.drivers"
#: The classes of which every driver extends one.
KINDS: Final = (StreamDriver, AskDriver, PollDriver, AdvertDriver, MessageDriver, AudioDriver)
# What a package says about its own failure is quoted so far: one line on a terminal.
LONGEST_QUOTE: Final = 200
# What a secret option may be in a configuration, and what is said where it is something else.
_REFERENCE: Final = re.compile(r"(file|cred):.+")
NO_REFERENCE: Final = (
    'must be a reference, "file:PATH" or "cred:NAME"; what stands there is not shown, it may be a secret'
)


# No value: what `_plainly` leaves to pydantic, which says what is wrong.
_ODD: Final = object()
# Whole numbers up to here are the same as floating point numbers.
_EXACT: Final = 2**53


class DriverError(LookupError):
    """A driver that cannot be used: not installed, installed twice, or broken; the text says which and why."""


class BrokenDriverError(DriverError):
    """A driver that is installed and cannot be used: its package's defect, not the configuration's."""


class Mistake(NamedTuple):
    """One mistake in a driver's options: `path` leads to the value (`()`: the options together)."""

    path: tuple[str | int, ...]
    message: str


class OptionsError(ValueError):
    """Options that a driver does not take; `mistakes` holds all of them."""

    def __init__(self, name: str, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        lines = (".".join(map(str, (name, *path))) + f": {message}" for path, message in mistakes)
        super().__init__("\n".join(lines))


class Installed(NamedTuple):
    """A driver name and where it comes from; `error` says why it cannot be used, `kind` is then empty."""

    name: str
    package: str
    version: str
    kind: str
    error: str


class Option(NamedTuple):
    """One option of a driver: its name in the configuration, its type in words, default and meaning.

    The configuration refers to a secret one and never holds it.
    """

    name: str
    type: str
    default: Any
    required: bool
    doc: str
    secret: bool = False


def names() -> list[str]:
    """The names of all installed drivers, sorted; nothing is imported."""
    return sorted({entry.name for entry in _entries()})


def installed() -> list[Installed]:
    """Every installed driver, by name; a name that two packages claim stands there twice.

    Each driver is imported; what goes wrong in it becomes its `error` and nothing more.
    """
    found = []
    for entry in sorted(_entries(), key=lambda entry: (entry.name, _package(entry))):
        try:
            kind, error = load(entry.name).kind, ""
        except DriverError as failure:
            kind, error = "", str(failure)
        found.append(Installed(entry.name, *_package(entry), kind, error))
    return found


def load(name: str) -> type[Driver]:
    """The driver class of that name; imports its package and no other. DriverError when there is none."""
    claims = [entry for entry in _entries() if entry.name == name]
    if not claims:
        raise DriverError(f"no driver {name!r} is installed{_suggestion(name, names())}")
    if len(claims) > 1:
        owners = " and ".join(sorted(" ".join(_package(entry)) for entry in claims))
        raise DriverError(f"driver {name!r} is claimed by {owners}: remove one of the packages")
    try:
        found = claims[0].load()
    except (Exception, SystemExit) as error:  # a foreign package may fail in any way, on import even exit
        raise _broken(claims[0], f"{type(error).__name__}: {error}") from error
    fault = _fault(found)
    if fault:
        raise _broken(claims[0], fault)
    return typing.cast("type[Driver]", found)


def options(driver: type[Driver]) -> list[Option]:
    """The options of a driver class, in the order in which it declares them."""
    return [
        Option(
            _option(field),
            field.type if isinstance(field.type, str) else inspect.formatannotation(field.type),
            None if _required(field) else _default(field),
            _required(field),
            field.metadata.get("doc", ""),
            _is_secret(field),
        )
        for field in _fields(driver)
    ]


def make(
    name: str,
    given: Mapping[str, Any],
    *,
    text: bool = False,
    secret: Callable[[str], str] | None = None,
) -> Driver:
    """The driver of that name with those options.

    With `text` each value is what somebody typed: a string, or JSON where the option is no string, and a secret
    itself. Otherwise a secret option is a reference (`file:PATH`, `cred:NAME`): `secret` gives what is behind it,
    and without `secret` the option stays at its default, so that anybody may check a configuration. Raises
    DriverError for the driver and OptionsError, with every mistake at once, for the options; none holds a secret.
    Whatever `secret` raises is passed on.
    """
    driver = load(name)
    fields = {_option(field): field for field in _fields(driver)}
    mistakes = [
        Mistake((key,), f"unknown option{_suggestion(key, fields)}") for key in given if key not in fields
    ]
    values: dict[str, Any] = {}
    for key, field in fields.items():
        if key in given and _is_secret(field) and not text:
            if not _REFERENCE.fullmatch(str(given[key])):
                mistakes.append(Mistake((key,), NO_REFERENCE))
            elif secret is not None:
                values[field.name] = secret(given[key])
        elif key in given:
            try:
                values[field.name] = _checked(driver, field, given[key], text=text)
            except _InvalidError as error:
                found = {(): "must be a text"} if _is_secret(field) else error.found
                mistakes += [Mistake((key, *path), message) for path, message in found.items()]
        elif _required(field):
            mistakes.append(Mistake((key,), f"missing: {field.metadata.get('doc', 'the driver needs it')}"))
    if mistakes:
        raise OptionsError(name, mistakes)
    try:
        return driver(**values)
    except ValueError as error:
        key, colon, sentence = str(error).partition(": ")
        mistake = Mistake((key,), sentence) if colon and key in fields else Mistake((), str(error))
        raise OptionsError(name, [mistake]) from error


def secrets(name: str) -> frozenset[str]:
    """The names of the secret options of a driver; none for a driver that cannot be used."""
    try:
        return frozenset(option.name for option in options(load(name)) if option.secret)
    except DriverError:
        return frozenset()


def paths(name: str) -> Mapping[str, str]:
    """The options of a driver that may hold a path, each with the prefix before it; none for a broken driver."""
    try:
        fields = _fields(load(name))
    except DriverError:
        return {}
    return {_option(field): field.metadata["path"] for field in fields if "path" in field.metadata}


class _InvalidError(ValueError):
    """A value of the wrong type: messages by the path inside the value."""

    def __init__(self, found: dict[tuple[int, ...], str]) -> None:
        super().__init__(found)
        self.found = found


def _checked(driver: type[Driver], field: dataclasses.Field[Any], value: Any, *, text: bool) -> Any:
    """`value` as the field's type has it; `_InvalidError` with all that is wrong in it."""
    hint = _hint(driver, field)
    if not text and (plain := _plainly(hint, value)) is not _ODD:
        return plain
    # Heavy (7 MB), and only needed for the rest: a configuration without mistakes does without.
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415

    adapter = TypeAdapter(hint)
    if text and typing.get_origin(hint) is typing.Literal and isinstance(value, str):
        # People write a model as it stands on the device: PMS5003T.
        value = next((each for each in typing.get_args(hint) if str(each).lower() == value.lower()), value)
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        if text:
            try:
                return adapter.validate_python(json.loads(value))
            except (ValueError, TypeError):
                pass  # neither is it JSON of the right type: the first complaint stands
        raise _InvalidError(_complaints(error)) from error


def _plainly(hint: Any, value: Any) -> Any:
    """`value` of a plain type, or of a container of those, as `hint` has it; `_ODD` for what wants a closer look."""
    origin, of = typing.get_origin(hint), typing.get_args(hint)
    if hint in (str, int, float, bool):
        # TOML tells 1 from 1.0, people do not.
        whole = hint is float and type(value) is int and abs(value) <= _EXACT
        return float(value) if whole else value if type(value) is hint else _ODD
    if origin is typing.Literal:
        return value if any(type(value) is type(each) and value == each for each in of) else _ODD
    if origin in (typing.Union, types.UnionType):
        if type(value) in of:
            return value
        return next((found for each in of if (found := _plainly(each, value)) is not _ODD), _ODD)
    if origin is tuple and of and isinstance(value, list | tuple):
        each_of = (of[0],) * len(value) if of[-1] is Ellipsis else of
        items = [_plainly(*pair) for pair in zip(each_of, value, strict=False)]
        fits = len(each_of) == len(value) and _ODD not in items
        return tuple(items) if fits else _ODD
    if origin is dict and isinstance(value, dict):
        pairs = [(_plainly(of[0], key), _plainly(of[1], each)) for key, each in value.items()]
        return _ODD if any(_ODD in pair for pair in pairs) else dict(pairs)
    return _ODD


def _complaints(error: ValidationError) -> dict[tuple[int, ...], str]:
    """What is wrong, by the path inside the value; the branches of a union make one sentence."""
    found: dict[tuple[int, ...], tuple[list[str], Any]] = {}
    for detail in error.errors(include_url=False):
        # Only indices lead to a place in the configuration; words there name the branches of a union.
        path = tuple(part for part in detail["loc"] if isinstance(part, int))
        messages, _ = found.setdefault(path, ([], detail["input"]))
        messages.append(detail["msg"].removeprefix("Input ").removeprefix("Value error, "))
    return {
        path: f"{' or '.join(messages)}, not {repr(value)[:LONGEST_QUOTE]}"
        for path, (messages, value) in found.items()
    }


def _hint(driver: type[Driver], field: dataclasses.Field[Any]) -> Any:
    """The field's type, its words looked up in the module that declared it."""
    owner = next(base for base in driver.__mro__ if field.name in inspect.get_annotations(base))
    declared = SimpleNamespace(__annotations__={field.name: field.type})
    hints = typing.get_type_hints(declared, vars(sys.modules[owner.__module__]), include_extras=True)
    return hints[field.name]


def _fields(driver: type[Driver]) -> list[dataclasses.Field[Any]]:
    return [field for field in dataclasses.fields(driver) if field.init]


def _option(field: dataclasses.Field[Any]) -> str:
    """An option's name: the field's, or another where the field could not bear it."""
    return str(field.metadata.get("option", field.name))


def _is_secret(field: dataclasses.Field[Any]) -> bool:
    return bool(field.metadata.get("secret"))


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _fault(found: object) -> str:
    """Why an entry point is no driver; empty when it is one."""
    if not isinstance(found, type) or not issubclass(found, KINDS):
        return f"{found!r} is none of {', '.join(kind.__name__ for kind in KINDS)}"
    if "__dataclass_fields__" not in vars(found):
        return f"{found.__qualname__} is no dataclass: write @dataclass(frozen=True) above it"
    missing: frozenset[str] = getattr(found, "__abstractmethods__", frozenset())
    if missing:
        return f"{found.__qualname__} lacks {', '.join(sorted(missing))}"
    unknown = [name for name in found.quantities if name not in QUANTITIES]
    if unknown:
        return f"{found.__qualname__} gives {', '.join(unknown)}, which the gateway has no unit for"
    try:
        for field in _fields(found):
            if _is_secret(field) and (_hint(found, field) is not str or field.repr or field.default != ""):
                return f'{found.__qualname__}: {field.name} is secret: a str with default "" and repr=False'
            _hint(found, field)
    except NameError as error:
        return f"{found.__qualname__}: {error}: the types of options must be imported at run time"
    return ""


def _broken(entry: EntryPoint, why: str) -> BrokenDriverError:
    said = " ".join(why.split())[:LONGEST_QUOTE]
    return BrokenDriverError(f"driver {entry.name!r} of {' '.join(_package(entry))} is broken: {said}")


def _package(entry: EntryPoint) -> tuple[str, str]:
    """Name and version of the distribution that brought an entry point."""
    return (entry.dist.name, entry.dist.version) if entry.dist else ("an unnamed package", "")


def _entries() -> tuple[EntryPoint, ...]:
    return _scan(tuple(sys.path))


@lru_cache(maxsize=1)  # a scan reads the metadata of every installed package: once, not once per sensor
def _scan(path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    del path
    return tuple(entry_points(group=GROUP))


def _suggestion(word: str, known: Iterable[str]) -> str:
    """What to write instead, as the end of a sentence."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; there are {', '.join(known)}" if known else "; there are none"
