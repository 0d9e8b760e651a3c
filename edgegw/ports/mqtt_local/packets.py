"""Packets of a broker that speaks MQTT 3.1.1, checked before the MQTT library sees them.

Source: OASIS MQTT 3.1.1 §2.2 (fixed header), §3.2, §3.3, §3.9, §3.13.
"""

from __future__ import annotations

from typing import Final

from edgegw.packets import CONNACK, PINGRESP, PUBLISH, SUBACK, Note, PacketError

FROM_BROKER: Final = frozenset({CONNACK, PUBLISH, SUBACK, PINGRESP})
"""Packet types that a broker may send to a client that only subscribes, with QoS 1."""


def check_3_1_1(packet: bytes, body: int) -> Note:
    """Check one whole packet whose body starts at `body`; PacketError says what is wrong with it."""
    kind = packet[0] & 0xF0
    if kind not in FROM_BROKER:
        raise PacketError(f"a packet of type 0x{packet[0]:02x}, which no broker sends")
    if kind == CONNACK:
        if len(packet) < body + 2:
            raise PacketError("a CONNACK without a code")
        return Note(kind, packet[body + 1], packet)
    if kind == PUBLISH:
        qos = packet[0] >> 1 & 3
        if qos > 1:
            raise PacketError("a message with QoS 2, which nobody asked for")
        topic = int.from_bytes(packet[body : body + 2])
        if len(packet) < body + 2 + topic + 2 * qos:
            raise PacketError("a message that ends in its topic")
    return Note(kind, None, packet)
