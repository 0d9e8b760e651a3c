"""The catalogue of virtual devices, by name: each speaks its real protocol on a real wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgegw.simulate.models import (
    documents,
    dust,
    gas,
    meters,
    microphone,
    noise,
    people,
    tags,
    traffic,
    weather,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgegw.simulate.model import Model

#: Every model that can be simulated.
MODELS: Final[Mapping[str, Model]] = {
    **documents.MODELS,
    **dust.MODELS,
    **gas.MODELS,
    **meters.MODELS,
    **microphone.MODELS,
    **noise.MODELS,
    **people.MODELS,
    **tags.MODELS,
    **traffic.MODELS,
    **weather.MODELS,
}
