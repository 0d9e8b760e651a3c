"""The configuration: TOML and environment in, frozen tables or every mistake with its file and line out.

From low to high: `units`, `positions` (lines of a TOML document), `kinds` (what a value may be), `models` (every
key with its default), `sources` (files and environment), `tables` (values into models), `rules` (between keys),
`load`, `examine` (what `edgegw check` asks). The rest of the gateway imports from here.
"""

from edgegw.config.examine import examine
from edgegw.config.kinds import Address, Multiple, Reference, Server
from edgegw.config.load import Config, ConfigError, digest, load, receive_options
from edgegw.config.models import (
    DEFAULT_FILE,
    Batch,
    Bluetooth,
    Clock,
    Control,
    Endpoint,
    Gateway,
    Identity,
    Log,
    Metrics,
    Quality,
    Receive,
    Retry,
    Sensor,
    Store,
    Uplink,
)
from edgegw.config.sources import Mistake

__all__ = [
    "DEFAULT_FILE",
    "Address",
    "Batch",
    "Bluetooth",
    "Clock",
    "Config",
    "ConfigError",
    "Control",
    "Endpoint",
    "Gateway",
    "Identity",
    "Log",
    "Metrics",
    "Mistake",
    "Multiple",
    "Quality",
    "Receive",
    "Reference",
    "Retry",
    "Sensor",
    "Server",
    "Store",
    "Uplink",
    "digest",
    "examine",
    "load",
    "receive_options",
]
