"""Bluetooth LE: advertisements out of BlueZ, through one scanner that all sensors share.

From low to high: `adverts` (what BlueZ says becomes an Advert), `patterns` (what a passive scan lets through),
`watch` (what is due when nothing is heard), `failures` (sentences for what can be wrong), `bluez` (the adapter,
asked and switched over D-Bus), `scanner` (the one scanner with its listeners), `survey` (listen once, for
`edgegw sensors scan`). The sensor's entry in `status --json` holds what `Scanner.facts` returns, as `bluetooth`.

bleak is imported with the first scan: a gateway without Bluetooth sensors never loads it.
"""

from edgegw.ports.ble.scanner import Ear, Pace, Scanner

__all__ = ["Ear", "Pace", "Scanner"]
