"""The driver of a microphone; what calculates is imported when a meter is made, numpy with it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

from edgegw.driver import SECONDS, AudioDriver, amount, numbers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgegw.driver import AudioDecoder, Outcome

# Level of 1 Pa, which makers and calibrators call 94 dB: 20 lg(1 Pa / 20 uPa).
_PASCAL_DB: Final = 93.9794
# A full-scale sine, 0 dBFS by convention (AES17), has half the power of a full-scale square wave.
_SINE_DB: Final = -3.0103
# Beyond these no microphone and no calibration lies; what does is a slip of the pen.
_SENSITIVITY: Final = (-120.0, 0.0)
_CALIBRATION_DB: Final = 60.0
_FLOOR_DB: Final = (0.0, 100.0)
_RESPONSE_DB: Final = 40.0
_BLOCK_S: Final = 0.1
_LONGEST_S: Final = 86400.0


@dataclass(frozen=True)
class AlsaSlm(AudioDriver):
    """A microphone on a sound card as a sound level meter. No sound is kept, only levels leave it."""

    quantities: ClassVar[Sequence[str]] = ("laeq", "lafmax", "lafmin", "lcpeak", "la10", "la50", "la90")

    sensitivity: float = field(
        default=-26.0,
        metadata={
            "doc": "dBFS that 1 Pa (94 dB) gives at 1 kHz, from the data sheet; a full-scale sine is 0 dBFS"
        },
    )
    calibration_db: float | None = field(
        default=None,
        metadata={
            "doc": "dB added to every level: what a calibrator says less what is read; 0.0 also says calibrated"
        },
    )
    floor_db: float = field(
        default=30.0, metadata={"doc": "self-noise of the microphone in dB(A); below, levels are flagged"}
    )
    statistics: str | float | None = field(
        default=None,
        metadata={"doc": "time over which la10, la50 and la90 are taken; the interval unless given"},
    )
    response: tuple[tuple[float, float], ...] = field(
        default=(),
        metadata={
            "doc": "[[Hz, dB], ...]: what the microphone deviates by, from its data sheet; it is taken back"
        },
    )

    def __post_init__(self) -> None:
        """ValueError for options that cannot be."""
        _within("sensitivity", self.sensitivity, *_SENSITIVITY)
        if self.calibration_db is not None:
            _within("calibration_db", self.calibration_db, -_CALIBRATION_DB, _CALIBRATION_DB)
        _within("floor_db", self.floor_db, *_FLOOR_DB)
        if self.statistics is not None:
            try:
                _within("statistics", amount(self.statistics, SECONDS), _BLOCK_S, _LONGEST_S)
            except ValueError as error:
                raise ValueError(f"statistics: {str(error).removeprefix('statistics: ')}") from error
        at = [hertz for hertz, _ in self.response]
        if at != sorted(set(at)) or not all(0 < hertz < math.inf for hertz in at):
            raise ValueError("response: frequencies above 0 Hz, each higher than the one before")
        for _, deviation in self.response:
            _within("response", deviation, -_RESPONSE_DB, _RESPONSE_DB)

    def decoder(self, interval: float) -> AudioDecoder:
        """A meter; RuntimeError, with what to do, when numpy is not installed."""
        try:
            from edgegw_drivers.alsa_slm.meter import Meter, Terms  # noqa: PLC0415 -- 16 MB, for meters only
            from edgegw_drivers.alsa_slm.weighting import Weighting  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise _without(error) from error
        reference = _PASCAL_DB - self.sensitivity - _SINE_DB + (self.calibration_db or 0.0)
        checks = ("uncalibrated",) if self.calibration_db is None else ()
        statistics = amount(self.statistics, SECONDS) if self.statistics is not None else interval
        return Meter(
            Terms(reference, self.floor_db, checks),
            _blocks(interval),
            _blocks(statistics),
            Weighting(self.response),
        )

    def decode_layer(self, layer: str, data: bytes, options: Mapping[str, Any]) -> Sequence[Outcome] | None:
        """See `figures.figures`."""
        if layer != self.layer:
            return None
        try:
            from edgegw_drivers.alsa_slm.figures import figures  # noqa: PLC0415 -- numpy
        except ModuleNotFoundError as error:
            raise _without(error) from error
        return figures(numbers(data), options)


def _blocks(seconds: float) -> int:
    """Blocks of 100 ms in a window, at least one."""
    return max(1, round(seconds / _BLOCK_S))


def _within(name: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:
        raise ValueError(f"{name}: {value} is not from {lowest:g} to {highest:g}")


def _without(error: ModuleNotFoundError) -> RuntimeError:
    return RuntimeError(f"{error.name} is not installed; pip install 'edgegw[audio]' brings it")
