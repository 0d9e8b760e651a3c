"""The few functions of the ALSA library that capture needs (alsa-lib reference: PCM interface, simple mixer).

Through ctypes: every call gives the interpreter free while it runs, and what went wrong comes as an errno.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
from functools import cache
from typing import Any, Final

from edgegw.ports.audio.faults import described, gone, refused

# Constants of <alsa/pcm.h>.
_CAPTURE: Final = 1
_NONBLOCK: Final = 1
_S32_LE: Final = 10
_INTERLEAVED: Final = 3
# What the card keeps while nobody reads, µs: longer than the interpreter is ever held up. Cards with less give less.
BUFFER_US: Final = 1_000_000
# Samples of one read, a quarter of that buffer: the thread wakes four times a second.
READ_SAMPLES: Final = 12_000
_BYTES: Final = 4
# Interrupted: samples were dropped (xrun), or the board slept.
_INTERRUPTED: Final = {-errno.EPIPE, -errno.ESTRPIPE}
# Switches that change the level by what it is, as drivers name them ("Auto Gain Control", "Mic AGC", "ALC").
_MEDDLING: Final = re.compile(
    r"auto.*gain|\b(agc|alc)\b|noise.*(supp|redu|cancel|gate)|\b(denoise|aec)\b", re.IGNORECASE
)

_P, _I, _L = ctypes.c_void_p, ctypes.c_int, ctypes.c_long
# Results and arguments: without them ctypes would cut pointers to 32 bits.
_SIGNATURES: Final[dict[str, tuple[Any, ...]]] = {
    "snd_pcm_open": (_I, _P, ctypes.c_char_p, _I, _I),
    "snd_pcm_set_params": (_I, _P, _I, _I, ctypes.c_uint, ctypes.c_uint, _I, ctypes.c_uint),
    "snd_pcm_start": (_I, _P),
    "snd_pcm_wait": (_I, _P, _I),
    "snd_pcm_readi": (_L, _P, _P, ctypes.c_ulong),
    "snd_pcm_prepare": (_I, _P),
    "snd_pcm_close": (_I, _P),
    "snd_pcm_info_malloc": (_I, _P),
    "snd_pcm_info": (_I, _P, _P),
    "snd_pcm_info_get_card": (_I, _P),
    "snd_pcm_info_free": (None, _P),
    "snd_mixer_open": (_I, _P, _I),
    "snd_mixer_attach": (_I, _P, ctypes.c_char_p),
    "snd_mixer_selem_register": (_I, _P, _P, _P),
    "snd_mixer_load": (_I, _P),
    "snd_mixer_first_elem": (_P, _P),
    "snd_mixer_elem_next": (_P, _P),
    "snd_mixer_selem_get_name": (ctypes.c_char_p, _P),
    "snd_mixer_selem_has_capture_switch": (_I, _P),
    "snd_mixer_selem_has_playback_switch": (_I, _P),
    "snd_mixer_selem_get_capture_switch": (_I, _P, _I, _P),
    "snd_mixer_selem_get_playback_switch": (_I, _P, _I, _P),
    "snd_mixer_close": (_I, _P),
}


@cache
def library() -> Any:
    """The library, loaded once; OSError when it is not installed."""
    found = ctypes.CDLL("libasound.so.2")
    for name, (result, *arguments) in _SIGNATURES.items():
        function = getattr(found, name)
        function.restype, function.argtypes = result, arguments
    # It would print each failure to standard error, at every try to open. It takes any function for its messages:
    # this one of its own looks at no argument and does nothing. (A Python one would need writable code in memory.)
    found.snd_lib_error_set_handler(ctypes.cast(found.snd_asoundlib_version, _P))
    return found


class Card:
    """An open capture device with one channel of 32 bits; it belongs to the thread that opened it.

    Raises:
        PortError: `no_library`, `missing`, `permission`, `busy`, `settings` or `rate` when it does not open,
            `unplugged` from then on.
    """

    def __init__(self, device: str, rate: int) -> None:
        self._device, self._rate = device, rate
        try:
            self._alsa = library()
        except OSError as error:
            raise described(device, rate, "no_library", str(error)) from error
        self._buffer = ctypes.create_string_buffer(READ_SAMPLES * _BYTES)
        handle = _P()
        code = self._alsa.snd_pcm_open(ctypes.byref(handle), os.fsencode(device), _CAPTURE, _NONBLOCK)
        if code < 0:
            raise refused(device, rate, code)
        self._pcm = handle
        try:
            self._set()
            self._check(self._alsa.snd_pcm_start(handle))
        except BaseException:
            self.close()
            raise

    def _set(self) -> None:
        code = self._params(resample=False)
        if code == -errno.EINVAL and self._params(resample=True) >= 0:
            raise described(self._device, self._rate, "rate")
        if code < 0:
            raise refused(self._device, self._rate, code)

    def _params(self, *, resample: bool) -> int:
        return int(
            self._alsa.snd_pcm_set_params(
                self._pcm, _S32_LE, _INTERLEAVED, 1, self._rate, resample, BUFFER_US
            )
        )

    def read(self, timeout_ms: int) -> bytes | None:
        """Samples that have come, empty when none came in time; None when some were dropped: capture goes on anew."""
        code = self._alsa.snd_pcm_wait(self._pcm, timeout_ms)
        if code > 0:
            code = self._alsa.snd_pcm_readi(self._pcm, self._buffer, READ_SAMPLES)
        if code in _INTERRUPTED:
            self._check(self._alsa.snd_pcm_prepare(self._pcm))
            self._check(self._alsa.snd_pcm_start(self._pcm))
            return None
        if code == -errno.EAGAIN:
            return b""
        return self._buffer.raw[: self._check(code) * _BYTES]

    def meddling(self) -> list[str]:
        """Names of the card's switches for automatic gain and the like that are on; empty where it has no mixer."""
        info = _P()
        if self._alsa.snd_pcm_info_malloc(ctypes.byref(info)) < 0:
            return []
        try:
            known = self._alsa.snd_pcm_info(self._pcm, info) >= 0
            number = self._alsa.snd_pcm_info_get_card(info) if known else -1
        finally:
            self._alsa.snd_pcm_info_free(info)
        return _switches_on(self._alsa, number) if number >= 0 else []

    def close(self) -> None:
        """Give the card back."""
        self._alsa.snd_pcm_close(self._pcm)

    def _check(self, code: int) -> int:
        if code < 0:
            raise gone(self._device, self._rate, code)
        return code


def _switches_on(alsa: Any, card: int) -> list[str]:
    mixer = _P()
    if alsa.snd_mixer_open(ctypes.byref(mixer), 0) < 0:
        return []
    try:
        if (
            alsa.snd_mixer_attach(mixer, f"hw:{card}".encode()) < 0
            or alsa.snd_mixer_selem_register(mixer, None, None) < 0
            or alsa.snd_mixer_load(mixer) < 0
        ):
            return []
        found = []
        element = alsa.snd_mixer_first_elem(mixer)
        while element:
            name = (alsa.snd_mixer_selem_get_name(element) or b"").decode("ascii", "replace")
            if _MEDDLING.search(name) and _is_on(alsa, element):
                found.append(name)
            element = alsa.snd_mixer_elem_next(element)
        return found
    finally:
        alsa.snd_mixer_close(mixer)


def _is_on(alsa: Any, element: int) -> bool:
    """Whether a switch is on; drivers of USB cards make a playback switch of a control without direction."""
    state = _I()
    for side in ("capture", "playback"):
        if getattr(alsa, f"snd_mixer_selem_has_{side}_switch")(element):
            get = getattr(alsa, f"snd_mixer_selem_get_{side}_switch")
            return get(element, 0, ctypes.byref(state)) >= 0 and bool(state.value)
    return False
