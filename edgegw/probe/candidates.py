"""What can be tried on an unknown device: every installed driver, under the options that it offers for that."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edgegw import registry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgegw.driver import Driver


class Candidate(NamedTuple):
    """A driver with one set of options to try."""

    name: str
    options: Mapping[str, Any]
    driver: Driver

    @property
    def shown(self) -> str:
        """Its name and options in one line."""
        return " ".join((self.name, *(f"{key}={value}" for key, value in self.options.items())))


@dataclass(frozen=True)
class Wish:
    """What somebody knows about the device already: its driver (empty: any), options, Modbus units (none: any)."""

    driver: str = ""
    options: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    units: Sequence[int] = ()

    def fits(self, name: str, options: Mapping[str, Any]) -> bool:
        """Whether a driver with these options may be it."""
        return self.driver in {"", name} and all(
            str(options.get(key, "")) == value for key, value in self.options.items()
        )


#: Nothing is known.
ANYTHING: Final = Wish()


def candidates(kind: type[Driver], wish: Wish = ANYTHING) -> list[Candidate]:
    """Every installed driver of a kind under each set of options that it offers; broken ones are left out."""
    found: list[Candidate] = []
    for name in [wish.driver] if wish.driver else registry.names():
        with contextlib.suppress(registry.DriverError):
            driver = registry.load(name)
            for options in driver.candidates() if issubclass(driver, kind) else ():
                if not wish.fits(name, options):
                    continue
                with contextlib.suppress(registry.OptionsError):
                    found.append(Candidate(name, options, registry.make(name, options)))
    return found
