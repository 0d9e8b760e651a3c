"""The frequency weightings as filters for a stream of samples, true up to half the sample rate.

Filters with a few feedback terms need a loop over the samples, which numpy has not, and made by the bilinear
transform they fall short by 5 dB at 16 kHz. Here each weighting is a finite impulse response that is applied with
Fourier transforms (overlap-save). Two properties of that are worth more than its speed: it deviates by less than
0.01 dB from 10 Hz to 20 kHz, and 0.17 s after a gap it has forgotten all that was before.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from edgegw_drivers.alsa_slm.curves import LOW_POLES, RAISED_DB, high

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Numbers: TypeAlias = NDArray[np.float64]

RATE: Final = 48_000
#: Samples that are weighted at once: 100 ms, the shortest time that any level is taken over.
BLOCK: Final = 4_800
# Length of a transform; 2^5 x 3^4 x 5 is quick. What a block does not need of it is the length of the responses:
# 170 ms, 22 time constants of the lowest poles, so what is cut off lies 160 dB down (A weights 10 Hz by -70 dB).
TRANSFORM: Final = 12_960
#: Samples of the impulse responses.
LENGTH: Final = TRANSFORM - BLOCK + 1
#: Blocks after a gap in which the filters still remember what was before it.
MEMORY_BLOCKS: Final = -(-(LENGTH - 1) // BLOCK)
# Points of the design, half of them above 0 Hz: four times the response, so that nothing of it wraps around.
_DESIGN: Final = 32_768


class Weighting:
    """Weights one stream of samples by A and by C, a block at a time."""

    def __init__(self, response: Sequence[tuple[float, float]] = ()) -> None:
        """`response`: what the microphone deviates by, as (Hz, dB) rising in Hz; it is taken back."""
        self._filters = [_transformed(weighting, tuple(response)) for weighting in ("A", "C")]
        self._heard = np.zeros(TRANSFORM)

    def feed(self, block: Numbers) -> tuple[Numbers, Numbers]:
        """The next BLOCK samples, weighted by A and by C."""
        self._heard[: LENGTH - 1] = self._heard[BLOCK:].copy()
        self._heard[LENGTH - 1 :] = block
        spectrum = np.fft.rfft(self._heard)
        a, c = (np.fft.irfft(spectrum * each, TRANSFORM)[LENGTH - 1 :] for each in self._filters)
        return a, c


def impulse_response(weighting: str, response: Sequence[tuple[float, float]] = ()) -> Numbers:
    """The first LENGTH samples of the filter's answer to one sample of 1.

    The low poles are exact, by the bilinear transform, which is true far below the sample rate. What is missing
    to the curve (the high poles, the transform's own error, the microphone) has no zeros and is made to the
    magnitude that is wanted, with the least phase that belongs to it (Oppenheim and Schafer, Discrete-Time Signal
    Processing, on the complex cepstrum): no sound comes out before it went in.
    """
    turns = np.arange(_DESIGN // 2 + 1) / _DESIGN
    hertz = turns * RATE
    # tan() of a quarter turn is infinite, and a high-pass lets that pass as it is.
    warped = RATE / np.pi * np.tan(np.pi * turns[:-1])
    low = np.ones(_DESIGN // 2 + 1, complex)
    wanted = 10 ** (RAISED_DB[weighting] / 20) * np.array([high(each) for each in hertz])
    for pole in LOW_POLES[weighting]:
        low[:-1] *= 1j * warped / (1j * warped + pole)
        wanted[1:] *= hertz[1:] / np.hypot(hertz[1:], pole)
    missing = wanted[1:] / np.abs(low[1:])
    if response:
        at, deviation = np.array(response).T
        missing /= 10 ** (np.interp(np.log(hertz[1:]), np.log(at), deviation) / 20)
    missing = np.concatenate((missing[:1], missing))  # 0 by 0 at 0 Hz: both fall alike
    cepstrum = np.fft.irfft(np.log(missing))
    cepstrum[1 : _DESIGN // 2] *= 2
    cepstrum[_DESIGN // 2 + 1 :] = 0
    found: Numbers = np.fft.irfft(low * np.exp(np.fft.rfft(cepstrum)))[:LENGTH]
    return found


def gain_db(weighting: str, hertz: float) -> float:
    """What the filter really does to a steady tone, in dB."""
    angles = -2j * np.pi * hertz / RATE * np.arange(LENGTH)
    return float(20 * np.log10(np.abs(np.sum(impulse_response(weighting) * np.exp(angles)))))


@lru_cache(maxsize=8)  # several microphones of one kind share theirs: 104 kB each
def _transformed(weighting: str, response: tuple[tuple[float, float], ...]) -> NDArray[np.complex128]:
    return np.fft.rfft(impulse_response(weighting, response), TRANSFORM)
