"""Input that no device sends: genuine input with a part overwritten, taken out or doubled."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random


def mangled(random: Random, data: bytes) -> bytes:
    """`data` after up to three accidents."""
    found = bytearray(data)
    for _ in range(random.randint(0, 3)):
        where = random.randint(0, len(found))
        part = random.choice((random.randbytes(random.randint(1, 8)), b"\0\0", b"\xff\xff", b"\x7f\xff"))
        accident = random.choice(("overwrite", "insert", "remove", "double"))
        if accident == "overwrite":
            found[where : where + len(part)] = part
        elif accident == "insert":
            found[where:where] = part
        elif accident == "remove":
            del found[where : where + len(part)]
        else:
            found[where:where] = found[where : where + 16]
    return bytes(found)


def chunks(random: Random, stream: bytes) -> list[bytes]:
    """A stream cut anywhere, also into nothing."""
    cuts = sorted(random.randint(0, len(stream)) for _ in range(random.randint(0, 6)))
    return [stream[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


def noise(random: Random, without: Sequence[int] = ()) -> bytes:
    """Up to 40 bytes, none of them one of `without`."""
    return random.randbytes(random.randint(0, 40)).translate(None, bytes(without))
