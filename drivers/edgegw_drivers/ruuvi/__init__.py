"""RuuviTag and Ruuvi Air: temperature, humidity, pressure, particles and gases, advertised in the open."""

from edgegw_drivers.ruuvi.driver import Ruuvi

__all__ = ["Ruuvi"]
