"""What decoding gave, where a test expects readings and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgegw.driver import Reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edgegw.driver import Outcome


def readings(outcomes: Iterable[Outcome]) -> Sequence[Reading]:
    """The outcomes, each of which must be a reading."""
    found = tuple(outcomes)
    for each in found:
        assert isinstance(each, Reading), each
    return found  # type: ignore[return-value]  # just looked at
