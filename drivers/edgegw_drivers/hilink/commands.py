"""Frames of commands and their replies: FD FC FB FA, length, command, value, 04 03 02 01; no checksum.

Source: HLK-LD2450 and HLK-LD2410 serial protocol manuals (csRon/HLK-LD2450); morian/aio-ld2410 (captured replies).
A reply repeats the command with 01 in the second byte, then says in two bytes whether it succeeded (0) or not.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from edgegw.driver import QUANTITIES, FrameError, LengthPrefixed, Reading, spelt

if TYPE_CHECKING:
    from collections.abc import Mapping

REPLY_START: Final = b"\xfd\xfc\xfb\xfa"
_END: Final = b"\x04\x03\x02\x01"
# The shortest reply is its command and its status; the longest known has 28 bytes (LD2410, parameters).
REPLIES: Final = LengthPrefixed(
    start=REPLY_START, at=4, order="little", lengths=frozenset(range(4, 65)), extra=10, end=_END
)
_ACKNOWLEDGED: Final = 0x01

FIRMWARE: Final = 0xA0
MAC: Final = 0xA5

#: Commands that every radar of the maker knows: command word and value. Factory reset is not among them.
COMMON: Final[Mapping[str, bytes]] = {
    "enable configuration": b"\xff\x00\x01\x00",
    "end configuration": b"\xfe\x00",
    "read firmware": b"\xa0\x00",
    "read firmware version": b"\xa0\x00",
    "restart": b"\xa3\x00",
    "Bluetooth off": b"\xa4\x00\x00\x00",
    "read MAC address": b"\xa5\x00\x01\x00",
}


class Reply(NamedTuple):
    """What a radar answered: the command's first byte, whether it was carried out, and what it tells."""

    command: int
    done: bool
    payload: bytes


def encode(commands: Mapping[str, bytes], command: str) -> bytes:
    """The bytes of a command of this table; ValueError for one that is not in it."""
    content = commands[spelt(command, commands)]
    return REPLY_START + struct.pack("<H", len(content)) + content + _END


def parse_reply(frame: bytes) -> Reply:
    """The content of a reply; FrameError when length or markers are wrong, or it answers no command."""
    reason = REPLIES.refusal(frame)
    if reason:
        raise FrameError(reason)
    command, second, status = struct.unpack_from("<BBH", frame, 6)
    if second != _ACKNOWLEDGED:
        raise FrameError("malformed")
    return Reply(command, status == 0, frame[10 : -len(_END)])


def shown(frame: bytes) -> Reading:
    """A reply as the shell shows it: its content in `meta`, under a name that no quantity of the gateway has."""
    reply = parse_reply(frame)
    bare = QUANTITIES["targets"]._replace(name="reply", unit="/")
    return Reading(bare, reply.command, meta={"payload": frame[6 : -len(_END)].hex()})


def firmware(payload: bytes) -> str:
    """The version in the reply to `read firmware`, such as 1.02.22062416; empty when it holds none.

    Two bytes of type, minor and major number, and a number of four bytes, all written in hexadecimal.
    """
    if len(payload) < 8:
        return ""
    _, version, build = struct.unpack_from("<HHI", payload)
    return f"{version >> 8:x}.{version & 0xFF:02x}.{build:08x}"
