import ctypes
import subprocess
import sys

import pytest

# Threads that hold blocks which Python leaves to malloc; then the C library says how many heaps it has.
HEAPS = """
import ctypes, sys, threading
from edgegw import memory

if sys.argv[1] == "shared":
    memory.share_one_heap()
together, held = threading.Barrier(4), []

def hold():
    held.append(bytes(2000))
    together.wait()

threads = [threading.Thread(target=hold) for _ in range(4)]
for each in threads:
    each.start()
for each in threads:
    each.join()
memory.settle()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
libc.malloc_info(0, ctypes.c_void_p(libc.fdopen(1, b"w")))
libc.fflush(None)
"""


def heaps(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", HEAPS, how], check=True, capture_output=True, text=True)
    return done.stdout.count("<heap nr=")


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="a C library other than glibc")
def test_threads_share_one_heap() -> None:
    assert heaps("shared") == 1
    assert heaps("alone") > 1
