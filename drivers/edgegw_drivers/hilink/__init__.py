"""What the radars of Hi-Link have in common: their commands, and the conversation about their set-up."""

from edgegw_drivers.hilink.commands import COMMON, REPLIES, REPLY_START, Reply, encode, parse_reply, shown
from edgegw_drivers.hilink.conversation import BLUETOOTH_OFF, Conversation, conversation

__all__ = [
    "BLUETOOTH_OFF",
    "COMMON",
    "REPLIES",
    "REPLY_START",
    "Conversation",
    "Reply",
    "conversation",
    "encode",
    "parse_reply",
    "shown",
]
