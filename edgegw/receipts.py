"""What a receipt is to this log (WIRE §4). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgegw.wire.log import LogId
    from edgegw.wire.receipt import Receipt

#: The problem of a receipt that this log cannot have earned: evidence of an attack, or of a broken store.
FORGED: Final = "EG-RECEIPT-FORGED"


class Taken(NamedTuple):
    """What a receipt did: `size` is the receipted size now; `problem` is a code when it was refused."""

    size: int
    problem: str = ""
    text: str = ""
    progress: bool = False


def judge(
    receipt: Receipt, log: LogId, receipted: int, root: bytes | None, is_gone: Callable[[int], bool]
) -> Taken:
    """The verdict on a receipt whose signature holds and that is not beyond the end of the log.

    `receipted` is the size under the newest valid receipt so far, `root` what this log signed at the receipt's
    size (None: nothing), `is_gone(size)` whether what stood there was dropped.
    """
    size = receipt.size
    if receipt.log.iss != log.iss:
        return Taken(receipted, FORGED, "a receipt is for another gateway")
    if receipt.log.epoch != log.epoch:
        return Taken(receipted, text=f"a receipt is for another log, {receipt.log.epoch}")
    if root is None:
        if size <= receipted or is_gone(size):
            return Taken(receipted, text=f"a receipt for {size} records, which are no longer here")
        return Taken(receipted, FORGED, f"a receipt for {size} records is for no batch's end")
    if root != receipt.root:
        return Taken(receipted, FORGED, f"a receipt for {size} records has another root")
    return Taken(size, progress=True) if size > receipted else Taken(receipted)
