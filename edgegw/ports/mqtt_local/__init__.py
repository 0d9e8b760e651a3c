"""Brokers of the local network, to which devices publish; one connection serves all sensors of a broker.

The uplink has nothing to do with it: it speaks MQTT 5 over mutual TLS and never subscribes to a stranger's words.
"""

from edgegw.ports.mqtt_local.brokers import Brokers
from edgegw.ports.mqtt_local.worker import Arrived

__all__ = ["Arrived", "Brokers"]
