"""The memory of an interpreter that has only imported what a gateway of any make needs."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import ssl

import paho.mqtt.client
import pymodbus.client
from cryptography.hazmat.primitives.asymmetric import ec

from scripts.benchmarks import machine

if __name__ == "__main__":
    used = (asyncio, sqlite3, ssl, paho.mqtt.client, pymodbus.client, ec)
    print(json.dumps({"peak_mb": machine.peak_mb(os.getpid()), "modules": len(used)}))
