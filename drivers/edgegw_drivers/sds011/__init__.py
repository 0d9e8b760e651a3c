"""Nova SDS011 and its relatives: particulate matter over a serial line."""

from edgegw_drivers.sds011.driver import Sds011

__all__ = ["Sds011"]
