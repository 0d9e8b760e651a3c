"""Freed memory, overwritten as far as Python lets one.

A text that nobody holds any more stays in memory until something else is put there. Python has no way to overwrite
it in place; but its allocator gives out freed blocks of a size before it asks for new memory.
"""

from __future__ import annotations

from typing import Final

# Texts of this many bytes with what Python puts in front: an address (66), and a D-Bus path with one in it (86), up
# to the size classes around them.
_SIZES: Final = range(64, 129, 16)
# Blocks of each size: more than lie free in a daemon that was busy, and 2 MB for a moment.
_BLOCKS: Final = 4096
# What Python puts in front of the content of a bytes object, and the zero behind it.
_OVERHEAD: Final = 33


def overwrite_freed_texts() -> None:
    """Put zeros over the freed texts of the length of a Bluetooth address; it takes about a millisecond.

    What is larger or lies with other libraries (D-Bus, bleak) is out of reach.
    """
    for size in _SIZES:
        # Kept until the last is made, or each would get the block of the one before it.
        _ = [bytes(size - _OVERHEAD) for _ in range(_BLOCKS)]
