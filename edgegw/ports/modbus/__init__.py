"""Modbus: registers of RTU and TCP devices, each answer proven to belong to its question.

pymodbus encodes and decodes the PDUs and knows the CRC; the exchange is ours, because its clients take an
answer for what it is not: on RTU a late one for the next question, on TCP one with transaction 0 for any, and
neither compares function and byte count with the question (3.16; its own issue 2636 says why on RTU).
"""

from edgegw.ports.errors import PortError
from edgegw.ports.modbus.rtu import RtuBus
from edgegw.ports.modbus.search import Found, Progress, Sure, discover
from edgegw.ports.modbus.tcp import TcpBus

__all__ = ["Found", "PortError", "Progress", "RtuBus", "Sure", "TcpBus", "discover"]
