"""What the daemon tells its allocator: it runs for months beside little else, and its threads mostly wait."""

from __future__ import annotations

import ctypes
import gc
import os
from contextlib import suppress
from typing import Final

#: mallopt(3), M_ARENA_MAX of <malloc.h>.
_ARENA_MAX: Final = -8


def share_one_heap() -> None:
    """Let all threads allocate from one heap. To be called before there are any, and before numpy is imported.

    glibc gives each of the first threads (eight for a core) a heap of its own, which is never given back; threads of
    Python take turns anyway. OpenBLAS would start a thread with a buffer for each core; levels use none of its
    functions. Where the C library is another one, its own rules stay.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


def settle() -> None:
    """Give back what importing and reading the configuration left free, and keep the collector off what stays."""
    gc.collect()
    # What was imported stays for good: the collector need not walk over it again each time.
    gc.freeze()
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
