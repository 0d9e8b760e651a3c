"""What can be tried on an unknown device: every installed driver, under the options that it offers for that."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

from edgegw import registry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgegw.driver import Driver


class Candidate(NamedTuple):
    """A driver with one set of options to try."""

    name: str
    options: Mapping[str, Any]
    driver: Driver


def candidates(kind: type[Driver], only: str = "") -> list[Candidate]:
    """Every installed driver of a kind under each set of options that it offers; broken ones are left out.

    `only` names a single driver.
    """
    found: list[Candidate] = []
    for name in [only] if only else registry.names():
        with contextlib.suppress(registry.DriverError):
            driver = registry.load(name)
            for options in driver.candidates() if issubclass(driver, kind) else ():
                with contextlib.suppress(registry.OptionsError):
                    found.append(Candidate(name, options, registry.make(name, options)))
    return found
